import t from 'tap'
import { takeSignals } from '../../../src/cli/signals.ts'
import type { NodeRequest } from '../../../src/node/index.ts'

function setUp({ hasTerminal = false, isTerminalThere = false } = {}) {
  const taken = new Map<string, () => void>()
  const happened: string[] = []
  const requests = takeSignals({
    on: (signal, take) => void taken.set(signal, take),
    interrupt: () => void happened.push('interrupt'),
    hangUp: () => void happened.push('hang up'),
    hasTerminal,
    isTerminalThere: () => isTerminalThere,
  })
  const listen = (): (() => void) => requests.subscribe((request: NodeRequest) => void happened.push(request))
  return {
    happened,
    listen,
    isTaken: (signal: string) => taken.has(signal),
    send: (signal: string) => taken.get(signal)?.(),
  }
}

t.test('without a node, SIGHUP asks for the end as ^C does, and SIGQUIT keeps its meaning', async (t) => {
  const { happened, send, isTaken } = setUp()
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) send(signal)
  t.same(happened, ['interrupt', 'interrupt', 'hang up'])
  t.notOk(isTaken('SIGQUIT'))
})

t.test('a node in the background reloads on SIGHUP, leaves on SIGQUIT and does nothing on SIGUSR1', async (t) => {
  const { happened, send, listen, isTaken } = setUp()
  const unsubscribe = listen()
  for (const signal of ['SIGHUP', 'SIGQUIT', 'SIGUSR1']) send(signal)
  t.same(happened, ['reload', 'leave'])
  t.ok(isTaken('SIGUSR1'), 'or Node.js would open its debugger')
  unsubscribe()
  send('SIGHUP')
  t.same(happened, ['reload', 'leave', 'hang up'])
})

t.test(
  'a node at a terminal ends when the terminal is closed, however often that is told, and reloads while it is open',
  async (t) => {
    const closed = setUp({ hasTerminal: true })
    closed.listen()
    closed.send('SIGHUP')
    closed.send('SIGHUP')
    t.same(closed.happened, ['hang up', 'hang up'])
    const open = setUp({ hasTerminal: true, isTerminalThere: true })
    open.listen()
    open.send('SIGHUP')
    t.same(open.happened, ['reload'])
  },
)
