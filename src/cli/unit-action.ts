import { HsuError } from '../base/error.ts'
import type { Command, CommandContext, Input, Option } from './command.ts'
import { actionOptions, ACTION_TIMEOUT_MS, type ControlClient, type Unit } from './control.ts'
import { errorLine } from './error-line.ts'
import type { CallOptions } from '../rpc/index.ts'
import { type UnitShape, unitShape } from './shapes.ts'
import { paintState, type Style } from './style.ts'
import { locate, nameOf, parseUnitNames, type Target, type UnitName } from './target.ts'
import { sorted } from './views.ts'

export type UnitCall = (client: ControlClient, unit: string, options: CallOptions) => Promise<{ instances: Unit[] }>

export interface UnitActionSpec {
  readonly name: string
  readonly summary: string
  readonly description?: string
  readonly options?: readonly Option[]
  readonly call: UnitCall
}

/** The argument of commands that act on units. */
export const UNITS_ARGUMENT = {
  name: 'unit',
  summary: 'UNIT, or UNIT@NODE for a certain node',
  required: true,
  many: true,
  choices: 'units',
} as const

/** What `-o json` prints after an action. */
export const INSTANCES_JSON = 'the instances of the units, each as in `ps`'

/** A command that asks one thing of each unit it is given: start, stop, restart, kill. */
export function unitAction({ name, summary, description, options, call }: UnitActionSpec): Command {
  return {
    name,
    summary,
    ...(description === undefined ? {} : { description }),
    args: [UNITS_ARGUMENT],
    options: options ?? [],
    json: INSTANCES_JSON,
    run: ({ args }: Input, context) => actOn(parseUnitNames(args, context), call, context),
  }
}

/**
 * Does `call` on each unit, all at the same time, and prints what became of their instances. A failure does not keep
 * the others from being done: each is reported, and the first one decides the exit code.
 */
export async function actOn(names: readonly UnitName[], call: UnitCall, context: CommandContext): Promise<undefined> {
  const { units, finish } = await callEach(names, call, context)
  if (units.length > 0 || context.global.format === 'json') await context.output.print(sorted(units), instanceLines)
  finish()
  return undefined
}

/** Does `call` on each unit; `finish` throws the first failure, after the units that it went well for were shown. */
export async function callEach(
  names: readonly UnitName[],
  call: UnitCall,
  context: CommandContext,
): Promise<{ units: UnitShape[]; finish: () => void }> {
  const client = await context.client()
  const targets = (await Promise.all(names.map((name) => locate(name, context)))).flat()
  const act = async (target: Target): Promise<Unit[]> => {
    const aim = { node: target.node, timeoutMs: ACTION_TIMEOUT_MS }
    return (await call(client, target.unit, actionOptions(context, aim))).instances
  }
  const results = await Promise.allSettled(targets.map(act))

  const units = results.flatMap((result) => (result.status === 'fulfilled' ? result.value : [])).map(unitShape)
  return { units, finish: () => throwFirst(results, targets, context) }
}

/** Throws the first failure, after the others were told, each with the unit it is about. */
function throwFirst(
  results: readonly PromiseSettledResult<unknown>[],
  targets: readonly Target[],
  context: CommandContext,
): void {
  const failures = results.flatMap((result, index) => {
    const target = targets[index]
    return result.status === 'rejected' && target !== undefined ? [about(target, result.reason)] : []
  })
  const [first, ...others] = failures
  for (const other of others) context.output.note(errorLine(other))
  if (first !== undefined) throw first
}

function about(target: Target, thrown: unknown): HsuError {
  const error = HsuError.from(thrown)
  if (error.message.split(/[^A-Za-z0-9-]+/).includes(target.unit)) return error
  const message = `${nameOf(target)}: ${error.message}`
  return new HsuError(error.reason, message, { details: error.details, cause: thrown })
}

/** `echo-0-3fa2b1@edge-a is up, pid 4711`: one line for each instance. */
export function instanceLines(units: readonly UnitShape[], style: Style): string {
  return units.map((unit) => instanceLine(unit, style)).join('\n')
}

export function instanceLine({ unit, instance, node, state, pid, ready, reason }: UnitShape, style: Style): string {
  return [
    `${instance || unit}@${node} is ${paintState(state, style)}`,
    ...(state === 'up' && !ready ? ['not ready'] : []),
    ...(pid === null ? [] : [`pid ${pid}`]),
    ...(reason === '' ? [] : [reason]),
  ].join(', ')
}
