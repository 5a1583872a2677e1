import { parseRfc3339Ms } from '../../base/system-date.ts'
import type { Command } from '../command.ts'
import { readOptions, type Why } from '../control.ts'
import { dateTime } from '../moment.ts'
import { type EventShape, eventShape, unitShape } from '../shapes.ts'
import { paintState, type Style } from '../style.ts'
import { locate, parseUnitNames } from '../target.ts'
import { UNITS_ARGUMENT } from '../unit-action.ts'

/** An element of `hsu why -o json`. */
interface WhyShape {
  readonly unit: string
  readonly instance: string
  readonly replica: number
  readonly node: string
  readonly state: string
  readonly sentence: string
  readonly because: readonly { readonly text: string; readonly event: EventShape | null }[]
}

export const whyCommand: Command = {
  name: 'why',
  summary: 'tell why units are as they are: the chain of causes, newest first',
  description:
    'Each line is because of the next one. A chain may lead to other units, to the node, and to whoever asked. ' +
    'It ends where the cause came from outside, or is so old that its event is no longer kept.',
  args: [UNITS_ARGUMENT],
  options: [],
  json: `[{unit, instance, replica, node, state, sentence, because: [{text, event: as in \`events\`, or null}]}]
text is empty where the links around it say it already`,
  examples: ['hsu why api', 'hsu why api@edge-b -o json'],

  async run({ args }, context) {
    const client = await context.client()
    const targets = (await Promise.all(parseUnitNames(args, context).map((name) => locate(name, context)))).flat()
    const answers = await Promise.all(
      targets.map(({ unit, node }) => client.whyUnit({ unit }, readOptions(context, node))),
    )
    const shapes = answers.flatMap(({ instances }) => instances).flatMap(whyShape)
    await context.output.print(shapes, (all, style) => all.map((one) => told(one, style)).join('\n'))
    return undefined
  },
}

function whyShape({ instance, links, sentence }: Why): WhyShape[] {
  if (instance === undefined) return []
  const { unit, replica, node, state, instance: name } = unitShape(instance)
  const because = links.map(({ text, event }) => ({ text, event: event === undefined ? null : eventShape(event) }))
  return [{ unit, instance: name, replica, node, state, sentence, because }]
}

/** `api-0@edge-a is failed`, and under it a line for each cause. */
function told({ unit, replica, node, state, because }: WhyShape, style: Style): string {
  const lines = because
    .filter(({ text }) => text !== '')
    .map(({ text, event }) => `  because ${text}${event === null ? '' : `  ${style.faint(timeOf(event))}`}`)
  const head = `${unit}-${replica}@${node} is ${paintState(state, style)}`
  return [head, ...(lines.length === 0 ? ['  nothing is known of the cause'] : lines)].join('\n')
}

function timeOf({ time }: EventShape): string {
  const wallMs = time === null ? undefined : parseRfc3339Ms(time)
  return wallMs === undefined ? '' : dateTime(wallMs)
}
