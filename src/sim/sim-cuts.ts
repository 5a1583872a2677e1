/** Where nothing passes, by node id: between the groups of a partition, and one way between chosen nodes. */
export class SimCuts {
  #groups = new Map<string, number>()
  /** `FROM TO` for each way that nothing passes. */
  #oneWay = new Set<string>()
  #count = 0

  /** Cuts the network into groups; nodes in none are together in one more. Replaces an earlier partition. */
  partition(groups: readonly (readonly string[])[]): void {
    this.#groups = new Map(groups.flatMap((group, index) => group.map((nodeId) => [nodeId, index + 1])))
    this.#count += 1
  }

  /** Adds to what is cut already. */
  cutOneWay(from: readonly string[], to: readonly string[]): void {
    for (const one of from) for (const other of to) this.#oneWay.add(`${one} ${other}`)
  }

  heal(): void {
    this.#groups = new Map()
    this.#oneWay = new Set()
    this.#count += 1
  }

  /** Another number for each partition, and when it is healed. */
  get epoch(): number {
    return this.#count
  }

  passes(from: string, to: string): boolean {
    if (this.#oneWay.has(`${from} ${to}`)) return false
    return (this.#groups.get(from) ?? 0) === (this.#groups.get(to) ?? 0)
  }
}
