import { HsuError } from '../../base/error.ts'
import { publicKeyOf } from '../identity.ts'
import { MAX_COUNT, MAX_TEXT } from '../limits.ts'

/** Characters that have no place in names and addresses: they would let a peer write into terminals and logs. */
// biome-ignore format: the rule is the comment
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/

/** A text of at least `min` and at most `MAX_TEXT` characters without control characters. @throws HsuError USAGE */
export function checkText(field: string, text: string, min = 0): string {
  if (text.length < min) throw new HsuError('USAGE', `${field} is empty`)
  if (text.length > MAX_TEXT)
    throw new HsuError('USAGE', `${field} has ${text.length} characters, more than ${MAX_TEXT}`)
  if (CONTROL.test(text)) throw new HsuError('USAGE', `${field} has control characters`)
  return text
}

/** A number that counts something, as a double that holds it exactly. @throws HsuError USAGE above `MAX_COUNT` */
export function checkCount(field: string, count: bigint): number {
  if (count > BigInt(MAX_COUNT)) throw new HsuError('USAGE', `${field} is above ${MAX_COUNT}`)
  return Number(count)
}

/** The id of an Ed25519 key. @throws HsuError USAGE when it is not one */
export function checkNodeId(field: string, nodeId: string): string {
  if (publicKeyOf(nodeId) === undefined) throw new HsuError('USAGE', `${field} is not a node id`)
  return nodeId
}

/** A list of at most `max` entries, each checked by `check`. @throws HsuError USAGE */
export function checkList<T, U>(field: string, list: readonly T[], max: number, check: (item: T) => U): U[] {
  if (list.length > max) throw new HsuError('USAGE', `${field} has ${list.length} entries, more than ${max}`)
  return list.map(check)
}
