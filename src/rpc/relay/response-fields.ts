import type { Field } from '../h2/field.ts'
import { Kind } from '../h2/field-kind.ts'

/** The field that holds the HTTP status. */
export function statusOf(fields: readonly Field[], count: number): Field | undefined {
  for (let at = 0; at < count; at += 1) if (fields[at]?.kind === Kind.status) return fields[at]
  return undefined
}

/** An answer of 1xx, after which another one comes. */
export function isInterim(fields: readonly Field[], count: number): boolean {
  const status = statusOf(fields, count)
  return status !== undefined && status.index === 0 && status.value.startsWith('1')
}

/** Puts the fields that may be passed on into `out`; returns how many. */
export function filtered(fields: readonly Field[], count: number, head: boolean, out: Field[]): number {
  let kept = 0
  for (let at = 0; at < count; at += 1) {
    const field = fields[at]
    if (field === undefined) continue
    const { kind } = field
    if (kind === Kind.connection || kind === Kind.invalid || kind === Kind.pseudo) continue
    if (kind >= Kind.method && kind <= Kind.path) continue
    if (kind === Kind.status && !head) continue
    out[kept++] = field
  }
  return kept
}
