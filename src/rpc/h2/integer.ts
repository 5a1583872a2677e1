/** Writes an integer with a prefix of `bits` bits (RFC 7541 5.1) after the pattern `pattern`; returns where it ends. */
export function putInteger(bytes: Uint8Array, at: number, pattern: number, bits: number, value: number): number {
  const max = (1 << bits) - 1
  if (value < max) {
    bytes[at] = pattern | value
    return at + 1
  }
  bytes[at] = pattern | max
  let next = at + 1
  let left = value - max
  for (; left >= 0x80; left = Math.floor(left / 0x80)) bytes[next++] = (left % 0x80) | 0x80
  bytes[next] = left
  return next + 1
}

/** No header has anything that long; larger integers are refused (RFC 7541 5.1 asks for a limit). */
const MAX_INTEGER = 0xff_ffff

/** Reads integers; `next` is where the last one ended, -1 when it was cut off or too large. */
export class IntegerReader {
  next = 0

  read(bytes: Uint8Array, at: number, end: number, bits: number): number {
    const max = (1 << bits) - 1
    let value = (bytes[at] ?? 0) & max
    this.next = at + 1
    if (at >= end) this.next = -1
    if (value < max) return value
    for (let shift = 0; ; shift += 7) {
      const byte = bytes[this.next]
      if (this.next >= end || byte === undefined || shift > 21) break
      this.next += 1
      value += (byte & 0x7f) << shift
      if ((byte & 0x80) === 0) {
        if (value > MAX_INTEGER) break
        return value
      }
    }
    this.next = -1
    return 0
  }
}
