import type { ProcessHost } from './host.ts'

/** How often a free port is asked for before giving the last answer: the system may name one that is already promised. */
const MAX_TRIES = 20

/** The ports of this node's instances, so that none is promised to two of them. */
export interface PortBook {
  /**
   * The ports of one slot: fixed ones as configured, `auto` ones as before when still free, else chosen by the host.
   * The slot keeps them until it releases them.
   */
  assign(
    slot: string,
    wanted: Readonly<Record<string, number | 'auto'>>,
    before: Readonly<Record<string, number>>,
  ): Promise<Record<string, number>>
  /** The slot of an adopted instance has these already. */
  claim(slot: string, ports: Readonly<Record<string, number>>): void
  release(slot: string): void
}

export function createPortBook(host: Pick<ProcessHost, 'freePort' | 'isPortFree'>): PortBook {
  const owners = new Map<number, string>()

  function release(slot: string): void {
    for (const [port, owner] of owners) if (owner === slot) owners.delete(port)
  }

  function claim(slot: string, ports: Readonly<Record<string, number>>): void {
    for (const port of Object.values(ports)) owners.set(port, slot)
  }

  async function choose(slot: string, before: number | undefined): Promise<number> {
    const isMine = (port: number): boolean => (owners.get(port) ?? slot) === slot
    if (before !== undefined && isMine(before) && (await host.isPortFree(before)) && isMine(before)) return before
    let port = await host.freePort()
    for (let tries = 1; owners.has(port) && tries < MAX_TRIES; tries += 1) port = await host.freePort()
    return port
  }

  return {
    claim,
    release,
    async assign(slot, wanted, before) {
      const assigned: Record<string, number> = {}
      for (const [name, want] of Object.entries(wanted)) {
        const port = want === 'auto' ? await choose(slot, before[name]) : want
        assigned[name] = port
        owners.set(port, slot)
      }
      const kept = new Set(Object.values(assigned))
      for (const [port, owner] of owners) if (owner === slot && !kept.has(port)) owners.delete(port)
      return assigned
    },
  }
}
