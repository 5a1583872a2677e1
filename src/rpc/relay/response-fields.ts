import type { Field } from '../h2/field.ts'
import { Kind } from '../h2/field-kind.ts'
import type { FieldList } from '../h2/field-list.ts'

/** What a block of an answer is. */
export interface AnswerShape {
  /** It has an HTTP status, as the first block must. */
  readonly begins: boolean
  /** 1xx, after which another block comes. */
  readonly interim: boolean
  /** With which a unit ends the call; undefined where it is not told, as in answers that are not gRPC. */
  readonly grpcStatus: number | undefined
  /** Nothing in it must be left out when it is passed on as the first block, or as the last. */
  readonly soundHead: boolean
  readonly soundTrailers: boolean
}

export function answerShape(list: FieldList): AnswerShape {
  if (list.memo !== undefined) return list.memo as AnswerShape
  let status: Field | undefined
  let grpcStatus: number | undefined
  let sound = true
  for (let at = 0; at < list.count; at += 1) {
    const field = list.fields[at]
    if (field?.kind === Kind.grpcStatus) grpcStatus = Number(field.value)
    if (field?.kind === Kind.status) status = field
    else if (field === undefined || !passes(field)) sound = false
  }
  const shape: AnswerShape = {
    begins: status !== undefined,
    grpcStatus,
    interim: status !== undefined && status.index === 0 && status.value.startsWith('1'),
    soundHead: sound,
    soundTrailers: sound && status === undefined,
  }
  if (list.lasting) list.memo = shape
  return shape
}

/** Puts the fields that may be passed on into `out`; returns how many. `head`: of the first block. */
export function passableFields({ fields, count }: FieldList, head: boolean, out: Field[]): number {
  let kept = 0
  for (let at = 0; at < count; at += 1) {
    const field = fields[at]
    if (field !== undefined && (passes(field) || (head && field.kind === Kind.status))) out[kept++] = field
  }
  return kept
}

/** Pseudo-header fields, those of the connection and those that are none stay here. */
function passes({ kind }: Field): boolean {
  if (kind >= Kind.method && kind <= Kind.status) return false
  return kind !== Kind.connection && kind !== Kind.pseudo && kind !== Kind.invalid
}

/** How long a unit asks to be left alone, in ms; negative or senseless: it does not want to see the call again (gRFC A6). */
export function pushbackOf({ fields, count }: FieldList): number | 'never' | undefined {
  for (let at = 0; at < count; at += 1) {
    const field = fields[at]
    if (field?.kind !== Kind.plain || field.name !== 'grpc-retry-pushback-ms') continue
    return /^\d{1,9}$/.test(field.value) ? Number(field.value) : 'never'
  }
  return undefined
}
