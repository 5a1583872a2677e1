import type { Side } from './side.ts'

/** Pieces that one side is sent before it is another's turn. */
const PIECES_PER_TURN = 4

/** The sides of a connection that have something to be sent and could not send it. */
export class StalledSides {
  readonly #connection: { readonly closed: boolean; readonly output: { readonly blocked: boolean } }
  #sides: Set<Side> | undefined

  constructor(connection: { readonly closed: boolean; readonly output: { readonly blocked: boolean } }) {
    this.#connection = connection
  }

  add(side: Side): void {
    if (side.stalled) return
    side.stalled = true
    this.#sides ??= new Set()
    this.#sides.add(side)
  }

  delete(side: Side): void {
    side.stalled = false
    this.#sides?.delete(side)
  }

  /** Lets each of them send a little in turn, so that none keeps the window to itself, while there is something to share. */
  pump(): void {
    let waiting = this.#sides
    while (waiting !== undefined && waiting.size > 0) {
      this.#sides = undefined
      let moved = false
      for (const side of waiting) {
        side.stalled = false
        if (side.call.pump(side, PIECES_PER_TURN)) moved = true
      }
      // Those who could go on are here again.
      waiting = moved && !this.#connection.output.blocked && !this.#connection.closed ? this.#sides : undefined
    }
  }
}
