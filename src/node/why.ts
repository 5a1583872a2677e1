import { formatDurationMs } from '../base/quantity.ts'
import type { NodeEvent } from './event.ts'

/** Longest chain that is told; what led to more than this is of no use to a person. */
const MAX_LINKS = 50

/** One link of a chain of causes: the event, and what a person is told of it. */
export interface Link {
  /** Undefined for the last cause of all, of which there is no event: `connection refused`. */
  readonly event: NodeEvent | undefined
  /** Empty when the links around it say it already. */
  readonly text: string
}

/** Where the events of a chain are found. */
export interface EventSource {
  readonly find: (id: string) => Promise<NodeEvent | undefined>
  /** Id of the event that explains the present state of a unit; undefined when nothing is known of it. */
  readonly latestOf: (unit: string) => string | undefined
}

/**
 * The events that led to the one named `head`, newest first, itself among them. It ends where the cause is not known
 * or is no longer kept. Who waits for another unit does so because of how that one is now.
 */
export async function chainOf(head: string, { find, latestOf }: EventSource): Promise<readonly NodeEvent[]> {
  const chain: NodeEvent[] = []
  const seen = new Set<string>()
  for (let id = head; id !== '' && !seen.has(id) && chain.length < MAX_LINKS; ) {
    seen.add(id)
    const event = await find(id)
    if (event === undefined) break
    chain.push(event)
    const awaited = event.type === 'unit.waiting' ? event.details['for'] : undefined
    id = (awaited === undefined ? undefined : latestOf(awaited)) ?? event.causedBy
  }
  return chain
}

/** The chain in words, as links that each answer "because of what?" of the one before. `unit` is the one that is asked about. */
export function explain(unit: string, chain: readonly NodeEvent[]): readonly Link[] {
  const links = chain.map((event, index): Link => ({ event, text: phrase(event, unit, index === 0) }))
  const [last] = chain.slice(-1)
  if (last === undefined || last.cause === '' || last.causedBy !== '') return links
  const isSaid = links.some(({ text }) => text.includes(last.cause))
  return isSaid ? links : [...links, { event: undefined, text: last.cause }]
}

/** `failed because crashed 5 times in 5m because exited with code 3`: a state and its chain on one line. */
export function sentence(state: string, links: readonly Link[]): string {
  return [state, ...links.map(({ text }) => text).filter((text) => text !== '')].join(' because ')
}

function phrase(event: NodeEvent, unit: string, isHead: boolean): string {
  const words = event.unit === '' || event.unit === unit ? ownWords(event, isHead) : othersWords(event)
  return words === '' && isOfTheNode(event) ? nodeWords(event) : words
}

/** Of the unit itself: what its state says already is not said again. */
function ownWords({ type, reason, details, causedBy }: NodeEvent, isHead: boolean): string {
  switch (type) {
    case 'unit.started':
    case 'unit.ready':
    case 'unit.down':
    case 'unit.completed':
      return ''
    case 'unit.stopping':
      return ['stopped', 'restart asked for'].includes(reason) || causedBy !== '' ? '' : reason
    case 'unit.exited':
      return causedBy === '' ? reason : ''
    case 'unit.adopted':
      return 'it was taken over from the node before'
    case 'unit.backoff':
      return isHead ? reason : `it was restarted after ${formatDurationMs(Number(details['waitMs'] ?? 0))}`
    default:
      return reason
  }
}

const VERBS: Readonly<Record<string, string>> = {
  'unit.started': 'was started',
  'unit.adopted': 'was taken over from the node before',
  'unit.ready': 'became ready',
  'unit.unready': 'became unready',
  'unit.down': 'was stopped',
  'unit.asleep': 'fell asleep',
  'unit.completed': 'completed',
  'unit.failed': 'failed',
  'unit.stopping': 'is being stopped',
  'unit.backoff': 'waits for its restart',
}

/** Of another unit: by name, and with what became of it. */
function othersWords({ unit, type, reason }: NodeEvent): string {
  // On its way up again: who asked for that comes next.
  if (type === 'unit.down' && reason !== 'stopped') return ''
  const verb = VERBS[type]
  if (verb === undefined) return `${unit}: ${reason || type.replace('unit.', '')}`
  return reason === '' || type === 'unit.down' ? `${unit} ${verb}` : `${unit} ${verb}: ${reason}`
}

function isOfTheNode({ type }: NodeEvent): boolean {
  return type.startsWith('node.')
}

function nodeWords({ type }: NodeEvent): string {
  return type === 'node.starting' ? 'the node started' : `the node: ${type.replace('node.', '')}`
}
