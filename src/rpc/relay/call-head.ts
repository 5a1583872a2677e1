import type { Field } from '../h2/field.ts'
import { Kind } from '../h2/field-kind.ts'
import type { FieldList } from '../h2/field-list.ts'
import type { CallCounter } from '../router/call-metrics.ts'

/** What of the fields of a request matters on its way. */
export class CallHead {
  /** Good for as long as the call is. */
  readonly fields: Field[] = []
  count = 0
  /** The same, when they are those of a block that is remembered. */
  list: FieldList | undefined
  /** False for a malformed request (RFC 9113 8.3). */
  sound = false
  pathField: Field | undefined
  authorityField: Field | undefined
  timeoutField: Field | undefined
  /** It speaks gRPC. */
  grpc = false
  /** It names a unit, a node, an instance or a version. */
  steered = false
  /** -1 when it is not told. */
  contentLength = -1
  /** Where calls of this head were counted last. */
  counter: CallCounter | undefined

  get path(): string {
    return this.pathField?.value ?? ''
  }

  get authority(): string | undefined {
    return this.authorityField?.value
  }

  /** The first value of a field. */
  text(name: string): string | undefined {
    for (let at = 0; at < this.count; at += 1) if (this.fields[at]?.name === name) return this.fields[at]?.value
    return undefined
  }

  /** The head that a list makes: for one that lasts always the same, else `spare`. */
  static of(list: FieldList, spare: CallHead): CallHead {
    if (!list.lasting) {
      spare.read(list.fields, list.count)
      return spare
    }
    if (list.memo !== undefined) return list.memo as CallHead
    const head = new CallHead()
    head.read(list.fields, list.count)
    head.list = list
    list.memo = head
    return head
  }

  read(fields: readonly Field[], count: number): void {
    this.#reset()
    this.sound = this.#read(fields, count)
  }

  #read(fields: readonly Field[], count: number): boolean {
    let methods = 0
    let schemes = 0
    let regular = false
    for (let at = 0; at < count; at += 1) {
      const field = fields[at]
      if (field === undefined) return false
      // eslint-disable-next-line @typescript-eslint/switch-exhaustiveness-check -- all others are regular fields
      switch (field.kind) {
        case Kind.method:
          methods += 1
          if (regular) return false
          break
        case Kind.scheme:
          schemes += 1
          if (regular) return false
          break
        case Kind.authority:
          if (regular || this.authorityField !== undefined) return false
          this.authorityField = field
          break
        case Kind.path:
          if (regular || this.pathField !== undefined) return false
          this.pathField = field
          break
        case Kind.status:
        case Kind.pseudo:
        case Kind.connection:
        case Kind.invalid:
          return false
        default:
          regular = true
          if (field.kind !== Kind.plain && !this.#special(field)) return false
      }
      this.fields[this.count++] = field.owned ? field : this.#own(field)
    }
    return methods === 1 && schemes === 1 && this.pathField !== undefined && this.path !== ''
  }

  #own(field: Field): Field {
    const owned = field.own()
    if (field === this.pathField) this.pathField = owned
    else if (field === this.authorityField) this.authorityField = owned
    else if (field === this.timeoutField) this.timeoutField = owned
    return owned
  }

  #special(field: Field): boolean {
    if (field.kind === Kind.te) return field.value === 'trailers'
    if (field.kind === Kind.routing) this.steered = true
    else if (field.kind === Kind.timeout) this.timeoutField = field
    else if (field.kind === Kind.contentType) this.grpc = field.value.startsWith('application/grpc')
    else if (field.kind === Kind.contentLength) {
      this.contentLength = /^\d{1,15}$/.test(field.value) ? Number(field.value) : -2
      return this.contentLength >= 0
    }
    return true
  }

  #reset(): void {
    this.counter = undefined
    this.count = 0
    this.pathField = undefined
    this.authorityField = undefined
    this.timeoutField = undefined
    this.grpc = false
    this.steered = false
    this.contentLength = -1
  }
}

/** Whether fields may end a request or a response: no pseudo-header fields, nothing that does not belong there (RFC 9113 8.1). */
export function areTrailers(fields: readonly Field[], count: number): boolean {
  for (let at = 0; at < count; at += 1) {
    const kind = fields[at]?.kind
    if (kind !== Kind.plain && kind !== Kind.grpcStatus && kind !== Kind.contentType && kind !== Kind.timeout) {
      if (kind !== Kind.routing && kind !== Kind.te && kind !== Kind.contentLength) return false
    }
  }
  return true
}
