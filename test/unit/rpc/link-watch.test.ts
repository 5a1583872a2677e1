import { EventEmitter } from 'node:events'
import type { ClientHttp2Session } from 'node:http2'
import t from 'tap'
import { watchLink } from '../../../src/rpc/link-watch.ts'
import { SimClock, settle } from '../../../src/sim/sim-clock.ts'

/** A session that answers no ping and whose 'close' nobody hears. */
class SilentSession extends EventEmitter {
  readonly closed = false
  destroyed: boolean

  constructor(destroyed: boolean) {
    super()
    this.destroyed = destroyed
  }

  ping(): boolean {
    return true
  }

  destroy(): void {
    this.destroyed = true
  }
}

async function watch(clock: SimClock, session: SilentSession): Promise<{ over: boolean }> {
  const state = { over: false }
  const stopped = new AbortController().signal
  void watchLink(clock, session as unknown as ClientHttp2Session, () => undefined, stopped).then(() => {
    state.over = true
  })
  await settle()
  return state
}

t.test('a link that was closed before it is watched is not watched', async (t) => {
  const clock = new SimClock()
  t.ok((await watch(clock, new SilentSession(true))).over)
  t.equal(clock.sleeping, 0)
})

t.test('a link that is silent is ended, and watched no more', async (t) => {
  const clock = new SimClock()
  const session = new SilentSession(false)
  const state = await watch(clock, session)
  await clock.advance(4_900)
  t.notOk(session.destroyed)
  await clock.advance(100)
  t.ok(session.destroyed)
  t.ok(state.over)
  t.equal(clock.sleeping, 0)
})
