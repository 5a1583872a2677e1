import { type HostNetwork, rankOf } from '../../base/host-networks.ts'
import { hostOf, mergeAddresses } from './address.ts'

/** Where a peer may be, by who says so. Addresses are plain: `/ip4/A/tcp/P`. Each list is bounded, newest first. */
export interface PeerAddresses {
  /** Where we last reached it. */
  readonly reached: string | undefined
  /** What the peer said of itself over a connection, in its signed record, or where we knew it before. */
  readonly stated: readonly string[]
  /** What anybody on the network may have said: multicast DNS. */
  readonly announced: readonly string[]
}

export const NO_ADDRESSES: PeerAddresses = { reached: undefined, stated: [], announced: [] }

/** Adds what was learnt; returns the very same object when it is not news. */
export function withAddresses(known: PeerAddresses, news: Partial<PeerAddresses>): PeerAddresses {
  const stated = mergeAddresses(known.stated, news.stated ?? [])
  const announced = mergeAddresses(known.announced, news.announced ?? [])
  const reached = news.reached ?? known.reached
  const isSame = stated === known.stated && announced === known.announced && reached === known.reached
  return isSame ? known : { reached, stated, announced }
}

/** All of them, each once, the likelier first as far as it depends on who said so. */
export function allAddresses({ reached, stated, announced }: PeerAddresses): string[] {
  return [...new Set([...(reached === undefined ? [] : [reached]), ...stated, ...announced])]
}

/**
 * In which order to try them: where it was reached before, then by the network (`rankOf`), then by who said so. Each
 * failed dial begins one further, since the time of one dial may not be enough for all.
 */
export function dialOrder(known: PeerAddresses, networks: readonly HostNetwork[], failures: number): string[] {
  const rank = (address: string): number => (address === known.reached ? -1 : rankOf(hostOf(address), networks))
  const sorted = allAddresses(known)
    .map((address) => ({ address, rank: rank(address) }))
    .toSorted((one, other) => one.rank - other.rank)
    .map(({ address }) => address)
  const start = sorted.length === 0 ? 0 : failures % sorted.length
  return [...sorted.slice(start), ...sorted.slice(0, start)]
}
