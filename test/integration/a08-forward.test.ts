import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { logTexts } from '../support/log-lines.ts'
import { collector, SyslogServer, udpServer } from '../support/log-receivers.ts'
import { aloneConfig } from '../support/node-configs.ts'
import { difference, numbered } from '../support/numbered.ts'
import { fixture } from '../support/paths.ts'
import { nodeHome } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

t.test('A08: lines are forwarded, through restarts of the node and of those who take them', async (t) => {
  const { home, node } = nodeHome(t)
  const over = join(home, 'over')
  const otlp = await collector(t)
  const udp = await udpServer(t)
  const deaf = new SyslogServer(t, { reads: false })
  const early = new SyslogServer(t)
  const port = await early.listen()
  await early.stop()
  const forward = [
    { otlp: otlp.url },
    { syslog: `tcp://127.0.0.1:${port}` },
    { syslog: `udp://127.0.0.1:${udp.port}` },
    { syslog: `tcp://127.0.0.1:${await deaf.listen()}` },
  ]
  const run = [fixture('count-lines.sh'), 'n', over]
  const edge = node('edge', {
    config: aloneConfig('edge', { counter: { run, restart: { policy: 'no' }, logs: { forward } } }),
  })
  await edge.start()
  await until('lines at the collector', () => otlp.taken().length > 100)
  await until('lines over udp', () => udp.messages.length > 100)

  const stopped = await edge.hsu('down', '--keep-units')
  t.equal(stopped.code, 0, stopped.stderr)
  await edge.ended()
  const before = otlp.taken().length
  await edge.start()
  await until('more of them after a restart', () => otlp.taken().length > before)
  const late = new SyslogServer(t)
  await late.listen(port)
  await until('those for the server that comes late', () => late.texts.length > 0)
  writeFileSync(over, '')
  await until(
    'the end to be stored',
    async () => (await logTexts(edge, '--stream', 'stdout', '-n', '1')).join() === 'n end',
  )
  const stored = (await logTexts(edge)).length
  for (const [name, texts] of [
    ['the collector', otlp.taken],
    ['the server that came late', () => late.texts],
  ] as const) {
    await until(`all at ${name}`, () => texts().length >= stored)
    const seen = texts().toSorted((a, b) => numberOf(a) - numberOf(b))
    t.equal(difference(seen, [...numbered('n', seen.length - 1), 'n end']), undefined, `each line once at ${name}`)
  }
  t.match(udp.messages[0], /^<14>1 \S+ edge counter \d+ stdout \[hsu@32473 instance="counter-0-\w+" seq="\d+"\] n \d+$/)
  t.equal((await edge.hsu('down')).code, 0, 'a server that does not read keeps nobody from ending')
})

/** The line that ends it comes last. */
const numberOf = (line: string): number => Number(line.split(' ')[1]?.replace('end', 'Infinity'))
