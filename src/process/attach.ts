import { isDeepStrictEqual } from 'node:util'
import type { Clock } from '../base/clock.ts'
import { messageOf } from '../base/error.ts'
import type { FindConfig } from './config.ts'
import { type FindSeams, findProcess, type Sighting } from './find.ts'
import type { ProcessIdentity } from './identity.ts'
import { isSame } from './process-table.ts'

/** What became of an unmanaged unit. `lost` = its process is gone; it is looked for again in the same moment. */
export type Transition =
  | Sighting
  | { readonly kind: 'lost'; readonly identity: ProcessIdentity; readonly reason: string }

export interface WatchConfig {
  readonly find: FindConfig
  /** Time between two looks. Default 2 s. */
  readonly intervalMs?: number
  /** As what it was found before. While that lives it is found as that again; by a bare pid, never as anything else. */
  readonly known?: ProcessIdentity | undefined
}

const INTERVAL_MS = 2_000

/**
 * Keeps an unmanaged unit found until aborted, and reports each change; the first look is always reported.
 * Once found it stays with that very process, also when others come to match, until the process is gone. A unit
 * described by a bare pid stays with it for ever: the system gives the pid to strangers later.
 * Only looks: nothing is ever signalled. Resolves, never rejects, when `signal` aborts.
 */
export async function watchUnmanaged(
  seams: FindSeams & { readonly clock: Clock },
  { find, intervalMs = INTERVAL_MS, known }: WatchConfig,
  onTransition: (transition: Transition) => void,
  signal: AbortSignal,
): Promise<void> {
  let present: Transition | undefined
  let meant = find.pid === undefined ? undefined : known
  const over = (): boolean => signal.aborted
  while (!over()) {
    for (const seen of await look(present, known, find, seams)) {
      if (over()) return
      const next = onlyThat(meant, seen)
      if (isNews(present, next)) onTransition(next)
      present = next
      if (find.pid !== undefined && next.kind === 'found') meant = next.identity
    }
    await seams.clock.sleep(intervalMs, signal).catch(() => undefined)
  }
}

/** A fault in looking (no permission, not supported here) is a reason for not finding, not the end of the watch. */
async function look(
  present: Transition | undefined,
  known: ProcessIdentity | undefined,
  find: FindConfig,
  seams: FindSeams,
): Promise<Transition[]> {
  try {
    if (present?.kind === 'found') {
      if (await isSame(seams.table, present.identity)) return [present]
      const { identity } = present
      return [{ kind: 'lost', identity, reason: `process ${identity.pid} is gone` }, await findProcess(find, seams)]
    }
    const isFirst = present === undefined
    if (isFirst && known !== undefined && (await isSame(seams.table, known)))
      return [{ kind: 'found', identity: known }]
    return [await findProcess(find, seams)]
  } catch (error) {
    // What was found stays found: not being able to look does not mean that it is gone.
    return [present?.kind === 'found' ? present : { kind: 'absent', reason: messageOf(error) }]
  }
}

/** What was seen, unless it is another process than the one that was meant. */
function onlyThat(meant: ProcessIdentity | undefined, seen: Transition): Transition {
  if (meant === undefined || seen.kind !== 'found' || isDeepStrictEqual(meant, seen.identity)) return seen
  const reason = `pid ${meant.pid} belongs to another process now; the one that was meant is gone`
  return { kind: 'absent', reason }
}

function isNews(present: Transition | undefined, next: Transition): boolean {
  if (present?.kind !== next.kind) return true
  if (present.kind === 'absent' && next.kind === 'absent') return present.reason !== next.reason
  if (present.kind === 'ambiguous' && next.kind === 'ambiguous') return pidsOf(present) !== pidsOf(next)
  return false
}

function pidsOf({ candidates }: Extract<Sighting, { kind: 'ambiguous' }>): string {
  return candidates
    .map(({ pid }) => pid)
    .sort((a, b) => a - b)
    .join(' ')
}
