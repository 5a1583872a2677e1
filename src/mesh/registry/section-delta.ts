/** What turns one list into another. Positions are those of the list before. */
export interface Edits<T> {
  /** What is taken out, ascending. */
  readonly removed: readonly number[]
  /** What takes the place of another, ascending; at the length of the list: added at its end, in this order. */
  readonly changed: readonly { readonly at: number; readonly item: T }[]
}

/** An entry of a list that is told apart from others by `key`. */
interface Keyed {
  readonly key: string
}

/**
 * Puts `wanted` into the order of `known`: what stays or is replaced by one of its key keeps its place, what is new comes last. So
 * a change is small however the wanted ones are ordered. Of equal ones, by `text`, one is left; if there is a known one, that.
 */
export function arrange<T extends Keyed & { readonly text: string }>(known: readonly T[], wanted: readonly T[]): T[] {
  const fresh = new Map(wanted.map((row) => [row.text, row]))
  const stays = known.map(({ text }) => fresh.delete(text))
  const byKey = new Map<string, T[]>()
  for (const row of fresh.values()) byKey.set(row.key, [...(byKey.get(row.key) ?? []), row])
  const arranged = known.flatMap((row, at) => (stays[at] === true ? [row] : (byKey.get(row.key)?.splice(0, 1) ?? [])))
  return [...arranged, ...[...byKey.values()].flat()]
}

/** The edits that turn `before` into `after`, which `arrange` made from it, perhaps in several steps. */
export function editsBetween<T extends Keyed>(before: readonly T[], after: readonly T[]): Edits<T> {
  const removed: number[] = []
  const changed: { at: number; item: T }[] = []
  let next = 0
  for (const [at, row] of before.entries()) {
    const item = after[next]
    if (item === undefined || (item !== row && item.key !== row.key)) removed.push(at)
    else next += 1
    if (item !== undefined && item !== row && item.key === row.key) changed.push({ at, item })
  }
  for (const item of after.slice(next)) changed.push({ at: before.length, item })
  return { removed, changed }
}

/** The list after the edits; undefined when they do not fit it. */
export function applyEdits<T>(before: readonly T[], { removed, changed }: Edits<T>): T[] | undefined {
  const gone = new Set(removed)
  const replaced = new Map(changed.filter(({ at }) => at < before.length).map(({ at, item }) => [at, item]))
  const added = changed.filter(({ at }) => at >= before.length)
  const fits =
    gone.size === removed.length &&
    replaced.size + added.length === changed.length &&
    added.every(({ at }) => at === before.length) &&
    removed.every((at) => at < before.length && !replaced.has(at))
  if (!fits) return undefined
  const left = before.flatMap((item, at) => (gone.has(at) ? [] : [replaced.get(at) ?? item]))
  return [...left, ...added.map(({ item }) => item)]
}
