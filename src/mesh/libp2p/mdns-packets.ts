import type { ResponsePacket } from 'multicast-dns'

/** The service name of libp2p's mDNS (libp2p specs, discovery/mdns). */
export const SERVICE = '_p2p._udp.local'

/** How long, in seconds, what is answered holds (RFC 6762, section 10, for records with a host's address). */
const TTL_S = 120

type Answers = NonNullable<ResponsePacket['answers']>

/** The records that say where a peer is, as `@libp2p/mdns` makes them; with time to live 0 they say goodbye. */
export function recordsOf(instance: string, addresses: readonly string[], ttl = TTL_S): Answers {
  const name = `${instance}.${SERVICE}`
  const texts = addresses.map(
    (address) => ({ name, type: 'TXT', class: 'IN', ttl, data: `dnsaddr=${address}` }) as const,
  )
  return [{ name: SERVICE, type: 'PTR', class: 'IN', ttl, data: name }, ...texts]
}

/** The peer that says goodbye in a response (time to live 0); undefined for any other packet. */
export function goodbyeOf({
  answers = [],
  additionals = [],
}: Pick<ResponsePacket, 'answers' | 'additionals'>): string | undefined {
  const pointer = answers.find((answer) => answer.type === 'PTR' && answer.name === SERVICE)
  if (pointer?.type !== 'PTR' || pointer.ttl !== 0) return undefined
  for (const record of [...answers, ...additionals]) {
    if (record.type !== 'TXT') continue
    const peer = /^dnsaddr=.*\/p2p\/([1-9A-HJ-NP-Za-km-z]+)$/.exec(String(record.data))?.[1]
    if (peer !== undefined) return peer
  }
  return undefined
}
