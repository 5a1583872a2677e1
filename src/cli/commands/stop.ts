import { HsuError } from '../../base/error.ts'
import { formatDurationMs } from '../../base/quantity.ts'
import type { Command, CommandContext } from '../command.ts'
import { ACTION_TIMEOUT_MS, callOptions, type StoppedInstance } from '../control.ts'
import { flag } from '../options.ts'
import { type UnitShape, unitShape } from '../shapes.ts'
import type { Style } from '../style.ts'
import { parseUnitNames } from '../target.ts'
import { callEach, instanceLine, UNITS_ARGUMENT } from '../unit-action.ts'
import { sorted } from '../views.ts'

/** An element of `hsu stop -o json`: as in `ps`, and how long its end took; null when it did not run. */
interface StoppedShape extends UnitShape {
  readonly tookMs: number | null
}

export const stopCommand: Command = {
  name: 'stop',
  summary: 'stop units: drain, signal, and after their grace kill; returns when their processes are gone',
  description:
    'Units given by name are stopped side by side. With --all, all units of the node are, those that depend on others before them.',
  args: [{ ...UNITS_ARGUMENT, required: false }],
  options: [{ flags: '--all', summary: 'all units of the node that are not unmanaged' }],
  json: 'the instances of the units, each as in `ps` and with `tookMs`, the milliseconds its end took; null when it did not run',
  examples: ['hsu stop api', 'hsu stop --all --node edge-b'],

  async run({ args, options }, context) {
    const all = flag(options, 'all')
    if (all === args.length > 0) throw new HsuError('USAGE', 'name the units to stop, or give --all')
    const tooks = new Map<string, number>()
    const note = ({ stopped }: { readonly stopped: readonly StoppedInstance[] }): void => {
      for (const { instance, took } of stopped) tooks.set(instance, milliseconds(took))
    }
    const { units, finish } = all ? await stopAll(context, note) : await stopEach(args, context, note)
    const shapes = sorted(units).map((unit): StoppedShape => ({ ...unit, tookMs: tooks.get(unit.instance) ?? null }))
    if (shapes.length > 0 || context.global.format === 'json') await context.output.print(shapes, stoppedLines)
    finish()
    return undefined
  },
}

type Stopping = ReturnType<typeof callEach>
type Note = (answer: { readonly stopped: readonly StoppedInstance[] }) => void

async function stopAll(context: CommandContext, note: Note): Stopping {
  const client = await context.client()
  const answer = await client.stopAllUnits({}, callOptions(context, { timeoutMs: ACTION_TIMEOUT_MS }))
  note(answer)
  return { units: answer.instances.map(unitShape), finish: () => undefined }
}

function stopEach(args: readonly string[], context: CommandContext, note: Note): Stopping {
  return callEach(
    parseUnitNames(args, context),
    async (client, unit, options) => {
      const answer = await client.stopUnit({ unit }, options)
      note(answer)
      return answer
    },
    context,
  )
}

function milliseconds(took: StoppedInstance['took']): number {
  return took === undefined ? 0 : Number(took.seconds) * 1_000 + Math.round(took.nanos / 1e6)
}

/** `echo-0-3fa2b1@edge-a is down, stopped, ended by SIGTERM after 120ms`: one line for each instance. */
function stoppedLines(units: readonly StoppedShape[], style: Style): string {
  return units.map((unit) => `${instanceLine(unit, style)}${ending(unit)}`).join('\n')
}

function ending({ exit, tookMs }: StoppedShape): string {
  if (tookMs === null) return ''
  const how = exit === null ? 'ended' : 'code' in exit ? `exited with code ${exit.code}` : `ended by ${exit.signal}`
  return `, ${how} after ${formatDurationMs(tookMs)}`
}
