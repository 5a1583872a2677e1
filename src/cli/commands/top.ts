import { messageOf } from '../../base/error.ts'
import { toRfc3339 } from '../../base/system-date.ts'
import type { Command, CommandContext } from '../command.ts'
import { callShapes } from '../call-shapes.ts'
import { type ControlClient, readOptions, SCOPE_MESH, SCOPE_NODE } from '../control.ts'
import { count, durationMs, flag } from '../options.ts'
import { styleFor } from '../style.ts'
import { parseUnitNames, type UnitName } from '../target.ts'
import type { Terminal } from '../terminal.ts'
import { FIRST_STATE, type Frame, KEYS, press, topScreen, topText } from '../top-view.ts'
import { UNITS_ARGUMENT } from '../unit-action.ts'
import { nodeUsageShape, type TopShape, unitUsageShape, USAGE_KEYS } from '../usage-shapes.ts'

/** Nodes read what their units use as often. */
const DELAY_MS = 2_000
const MIN_DELAY_MS = 200

export const topCommand: Command = {
  name: 'top',
  summary: 'show live what the units of all nodes use, the busiest first',
  description: `Keys: ${KEYS}. Without a terminal, and with \`-o json\`, it prints once.`,
  args: [{ ...UNITS_ARGUMENT, required: false }],
  options: [
    { flags: '-n, --times <n>', summary: 'print so many times and end' },
    { flags: '--once', summary: 'as -n 1' },
    { flags: '-d, --delay <duration>', summary: 'time between two looks; default 2s' },
  ],
  json: `{time, nodes: [{node, startedAt, usage}], units: [as in \`ps\`, and usage], calls: [as in \`services --calls\`], unreachable: [NODE]}, one line each with -n
usage: {${USAGE_KEYS}}
cpu in cores; a figure the system does not tell is null, and usage when there is no process; of a node, the node itself`,
  examples: ['hsu top', 'hsu top --once', 'hsu top -n 3 -d 5s -o json'],

  async run({ args, options }, context) {
    const names = parseUnitNames(args, context)
    const delayMs = Math.max(MIN_DELAY_MS, durationMs(options, 'delay') ?? DELAY_MS)
    const times = flag(options, 'once') ? 1 : count(options, 'times')
    const { global, output } = context
    const terminal = times === undefined && global.format === 'text' ? context.terminal() : undefined
    const client = await context.client()
    const look = (): Promise<TopShape> => lookAt(client, names, context)
    if (terminal !== undefined) {
      await live(look, delayMs, terminal, context)
      return undefined
    }
    let before: TopShape | undefined
    for (let left = times ?? 1; left > 0; left -= 1) {
      const now = await look()
      const frame = { now, before, fault: '' }
      if ((times ?? 1) === 1) await output.print(now, (_, style) => topText(frame, FIRST_STATE, style))
      else await output.line(now, (_, style) => `${topText(frame, FIRST_STATE, style)}\n`)
      before = now
      if (left > 1) await context.clock.sleep(delayMs, context.signal)
    }
    return undefined
  },
}

async function lookAt(client: ControlClient, names: readonly UnitName[], context: CommandContext): Promise<TopShape> {
  const scope = context.global.node === undefined ? SCOPE_MESH : SCOPE_NODE
  const units = [...new Set(names.map(({ unit }) => unit))]
  const [listed, own, counted] = await Promise.all([
    client.listUnits({ scope, units }, readOptions(context)),
    client.getUsage({ scope }, readOptions(context)),
    // A node of an earlier version counts no calls.
    client.getCalls({ scope }, readOptions(context)).catch(() => ({ calls: [] })),
  ])
  const isWanted = ({ unit, node }: { readonly unit: string; readonly node: string }): boolean =>
    names.length === 0 || names.some((name) => name.unit === unit && (name.node ?? node) === node)
  return {
    time: toRfc3339(context.clock.wallMs()),
    nodes: own.nodes.map(nodeUsageShape),
    units: listed.units.filter(isWanted).map(unitUsageShape),
    calls: callShapes(counted.calls),
    unreachable: [...new Set([...listed.unreachable, ...own.unreachable])],
  }
}

/** Shows it until the person has seen enough. A node that does not answer is asked again: it may come back. */
async function live(
  look: () => Promise<TopShape>,
  delayMs: number,
  terminal: Terminal,
  { clock, signal, env }: CommandContext,
): Promise<void> {
  const style = styleFor(true, env)
  const quit = new AbortController()
  const leave = (): void => quit.abort()
  let state = FIRST_STATE
  // The first look may fail: then there is nothing to show, and the error is the answer.
  let frame: Frame = { now: await look(), before: undefined, fault: '' }
  const draw = (): Promise<void> => terminal.show(topScreen(frame, state, terminal.size(), style))
  const redraw = (): void => void draw().catch(leave)
  const close = await terminal.open({
    resized: redraw,
    key(key) {
      const next = press(state, key)
      if (next === 'quit') {
        leave()
        return
      }
      state = next
      redraw()
    },
  })
  const pause = (): Promise<boolean> =>
    clock.sleep(delayMs, quit.signal).then(
      () => true,
      () => false,
    )
  signal.addEventListener('abort', leave)
  try {
    if (signal.aborted) leave()
    await draw()
    while (await pause()) {
      frame = await next(look, frame)
      await draw()
    }
  } finally {
    signal.removeEventListener('abort', leave)
    await close()
  }
}

async function next(look: () => Promise<TopShape>, { now, before }: Frame): Promise<Frame> {
  try {
    return { now: await look(), before: now, fault: '' }
  } catch (error) {
    return { now, before, fault: `no answer, shown is how it was at ${now.time}: ${messageOf(error)}` }
  }
}
