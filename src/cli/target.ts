import { HsuError } from '../base/error.ts'
import type { CommandContext } from './command.ts'
import { type ControlClient, readOptions, SCOPE_MESH, SCOPE_NODE, type Unit } from './control.ts'

/** A unit as a person names it: `unit` or `unit@node`. */
export interface UnitName {
  readonly unit: string
  /** Undefined = wherever it is. */
  readonly node: string | undefined
}

/** A unit on a certain node; without a node, on the one of this host. */
export interface Target {
  readonly unit: string
  readonly node: string | undefined
}

/** Takes `unit` or `unit@node` apart; `defaultNode` is that of `--node`. @throws HsuError USAGE */
export function parseUnitName(text: string, defaultNode: string | undefined): UnitName {
  const at = text.indexOf('@')
  const unit = at < 0 ? text : text.slice(0, at)
  const node = at < 0 ? defaultNode : text.slice(at + 1)
  if (unit === '' || node === '') throw new HsuError('USAGE', `'${text}' names no unit; write UNIT or UNIT@NODE`)
  return { unit, node }
}

/** As `unit` or `unit@node`, the way it is typed. */
export function nameOf({ unit, node }: Target): string {
  return node === undefined ? unit : `${unit}@${node}`
}

/** All the names on a command line. @throws HsuError USAGE */
export function parseUnitNames(args: readonly string[], context: CommandContext): UnitName[] {
  return args.map((arg) => parseUnitName(arg, context.global.node))
}

/**
 * Where to send a request about a unit: to the node that was named, else to this host's if it has the unit, else to
 * every node that has it, and the person is told which. When no node has it, this host's node shall say so.
 */
export async function locate(name: UnitName, context: CommandContext): Promise<Target[]> {
  if (name.node !== undefined) return [name]
  const client = await context.client()
  if ((await find(name.unit, SCOPE_NODE, client, context)).length > 0) return [name]

  const elsewhere = await find(name.unit, SCOPE_MESH, client, context)
  const nodes = [...new Set(elsewhere.map(({ node }) => node))].sort()
  if (nodes.length === 0) return [name]
  if (nodes.length > 1) context.output.note(`${name.unit} is on ${nodes.length} nodes: ${nodes.join(', ')}`)
  return nodes.map((node) => ({ unit: name.unit, node }))
}

async function find(
  unit: string,
  scope: typeof SCOPE_NODE | typeof SCOPE_MESH,
  client: ControlClient,
  context: CommandContext,
): Promise<Unit[]> {
  const { units, unreachable } = await client.listUnits({ scope, units: [unit] }, readOptions(context))
  noteUnreachable(unreachable, context)
  return units
}

/** Tells the person that a list is not the whole truth. */
export function noteUnreachable(nodes: readonly string[], { output }: CommandContext): void {
  for (const node of nodes) output.note(`hsu: no answer from node ${node}; its units are missing here`)
}

/**
 * Units of a stream that comes either from one node or, with no node named, from the whole mesh.
 * @throws HsuError USAGE when the names are of several nodes
 */
export function oneNode(
  args: readonly string[],
  context: CommandContext,
): { units: string[]; node: string | undefined } {
  const names = parseUnitNames(args, context)
  const nodes = new Set(names.map(({ node }) => node))
  if (nodes.size > 1) {
    throw new HsuError('USAGE', 'the units are of different nodes; name one node for all of them, or none')
  }
  return { units: names.map(({ unit }) => unit), node: context.global.node ?? names[0]?.node }
}
