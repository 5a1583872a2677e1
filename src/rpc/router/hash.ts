import type { Endpoint } from '../endpoint-source.ts'

/** A 32-bit hash of a text: FNV-1a (Fowler, Noll, Vo), mixed at the end as in MurmurHash3. Not for secrets. */
function hashOf(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at += 1) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return mixed(hash)
}

function mixed(hash: number): number {
  let mix = hash
  mix = Math.imul(mix ^ (mix >>> 16), 0x85ebca6b)
  mix = Math.imul(mix ^ (mix >>> 13), 0xc2b2ae35)
  return (mix ^ (mix >>> 16)) >>> 0
}

/** Load that an endpoint may have above the mean before a call of its goes to the next: c = 1.25 (Mirrokni et al., section 1). */
const BOUND = 1.25

const seeds = new WeakMap<Endpoint, number>()

/**
 * Chooses for a key by rendezvous hashing (Thaler and Ravishankar 1996): all routers come to the same choice without talking, and
 * when an endpoint goes, only its keys move. Bounded loads (Mirrokni, Thorup, Zadimoghaddam 2018): an endpoint with more
 * than 1.25 times the mean of calls in flight is passed over for the next in the key's order.
 */
export function pickByHash(
  candidates: readonly Endpoint[],
  key: string,
  inFlight: (instance: string) => number,
): Endpoint | undefined {
  const keyHash = hashOf(key)
  let total = 1
  for (const { instance } of candidates) total += inFlight(instance)
  const most = Math.ceil((BOUND * total) / candidates.length)
  let best: Endpoint | undefined
  let bestScore = -1
  for (const endpoint of candidates) {
    if (inFlight(endpoint.instance) >= most) continue
    const score = mixed(keyHash ^ seedOf(endpoint))
    if (score > bestScore || (score === bestScore && best !== undefined && endpoint.instance < best.instance)) {
      best = endpoint
      bestScore = score
    }
  }
  return best
}

/** Of the slot, not of the instance in it: a restart moves no keys. */
function seedOf(endpoint: Endpoint): number {
  const known = seeds.get(endpoint)
  if (known !== undefined) return known
  const { nodeId, instance } = endpoint
  const seed = hashOf(`${nodeId}/${instance.slice(0, Math.max(0, instance.lastIndexOf('-')))}`)
  seeds.set(endpoint, seed)
  return seed
}
