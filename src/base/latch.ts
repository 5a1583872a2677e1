/** Closed until it is opened, which happens once. */
export class Latch {
  #isOpen = false
  #wait: { readonly promise: Promise<void>; readonly resolve: () => void } | undefined

  get isOpen(): boolean {
    return this.#isOpen
  }

  /** Resolves when it is opened; undefined when it is open. */
  opening(): Promise<void> | undefined {
    if (this.#isOpen) return undefined
    if (this.#wait === undefined) {
      let resolve: () => void = () => undefined
      const promise = new Promise<void>((settle) => (resolve = settle))
      this.#wait = { promise, resolve }
    }
    return this.#wait.promise
  }

  open(): void {
    this.#isOpen = true
    this.#wait?.resolve()
    this.#wait = undefined
  }
}
