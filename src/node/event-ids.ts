/** Ids of events: the second in which the node began, and a count. Later events have later ids, over restarts too. */
export interface EventIds {
  next(): string
  /** What `next` will give. */
  peek(): string
}

/** `after`: the last id that an earlier node gave; a clock that went back does not make ids go back. */
export function eventIds(wallMs: number, after: string | undefined): EventIds {
  const epoch = Math.max(Math.floor(wallMs / 1_000), after === undefined ? 0 : partsOf(after)[0] + 1)
  let count = 0
  return {
    next: () => `${epoch}-${(count += 1)}`,
    peek: () => `${epoch}-${count + 1}`,
  }
}

/** Negative when `one` is the earlier. */
export function compareIds(one: string, other: string): number {
  const [oneEpoch, oneCount] = partsOf(one)
  const [otherEpoch, otherCount] = partsOf(other)
  return oneEpoch - otherEpoch || oneCount - otherCount
}

export function isEventId(text: string): boolean {
  return /^\d+-\d+$/.test(text)
}

function partsOf(id: string): [epoch: number, count: number] {
  const [epoch, count] = id.split('-').map(Number)
  return [epoch ?? 0, count ?? 0]
}
