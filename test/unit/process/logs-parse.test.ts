import t from 'tap'
import { isAtLeast, type Level, levelOf, parseLine, type ParseMode } from '../../../src/process/logs/parse.ts'

const CASES: readonly [mode: ParseMode, line: string, level: Level | undefined, message: string | undefined][] = [
  ['auto', '{"level":"info","msg":"up"}', 'info', 'up'],
  ['auto', '{"level":30,"msg":"pino"}', 'info', 'pino'],
  ['auto', '{"severity":"WARNING","message":"cloud"}', 'warn', 'cloud'],
  ['auto', '{"@l":"Error","@m":"serilog"}', 'error', 'serilog'],
  ['auto', '{"a":1}', undefined, undefined],
  ['auto', '{"level":"info",', undefined, undefined],
  ['auto', 'ts=1 level=error msg="it \\"broke\\"" n=3', 'error', 'it "broke"'],
  ['auto', 'a=b and c=d', undefined, undefined],
  ['logfmt', 'a=b', undefined, undefined],
  ['auto', '2025-01-31 12:00:00,123 ERROR [main] x', 'error', undefined],
  ['auto', '[warn] slow', 'warn', undefined],
  ['auto', 'warning: deprecated', 'warn', undefined],
  ['auto', 'E0102 15:04:05.000000 1 main.go:1] x', 'error', undefined],
  ['auto', '<3>kernel says', 'error', 'kernel says'],
  ['auto', 'no error happened', undefined, undefined],
  ['auto', `${'x'.repeat(80)} ERROR late`, undefined, undefined],
  ['json', 'level=error msg=x', undefined, undefined],
  ['none', '{"level":"error","msg":"x"}', undefined, undefined],
  ['auto', '', undefined, undefined],
]

t.test('the level and the message of a line', async (t) => {
  for (const [mode, line, level, message] of CASES) t.same(parseLine(line, mode), { level, message }, `${mode} ${line}`)
})

t.test('levels are in order, and a line without one is never severe enough', async (t) => {
  t.ok(isAtLeast('error', 'warn') && isAtLeast('warn', 'warn'))
  t.notOk(isAtLeast('info', 'warn') || isAtLeast(undefined, 'trace'))
  t.same([10, 29, 60, 99].map(levelOf), ['trace', 'debug', 'fatal', 'fatal'])
})
