const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'

/** Bytes as base58btc text (the alphabet of Bitcoin and of libp2p peer ids). Each leading zero byte is one `1`. */
export function encodeBase58(bytes: Uint8Array): string {
  const digits: number[] = []
  for (const byte of bytes) {
    let carry = byte
    for (let index = 0; index < digits.length; index += 1) {
      carry += (digits[index] as number) * 256
      digits[index] = carry % 58
      carry = Math.floor(carry / 58)
    }
    for (; carry > 0; carry = Math.floor(carry / 58)) digits.push(carry % 58)
  }
  const zeros = bytes.findIndex((byte) => byte !== 0)
  const lead = '1'.repeat(zeros === -1 ? bytes.length : zeros)
  return (
    lead +
    digits
      .reverse()
      .map((digit) => ALPHABET[digit])
      .join('')
  )
}

/**
 * The bytes that base58btc `text` stands for; undefined when a character is not in the alphabet or the text is
 * longer than `maxLength` characters (decoding takes time quadratic in the length).
 */
export function decodeBase58(text: string, maxLength = 128): Uint8Array | undefined {
  if (text.length > maxLength) return undefined
  const bytes: number[] = []
  for (const letter of text) {
    let carry = ALPHABET.indexOf(letter)
    if (carry === -1) return undefined
    for (let index = 0; index < bytes.length; index += 1) {
      carry += (bytes[index] as number) * 58
      bytes[index] = carry & 0xff
      carry >>= 8
    }
    for (; carry > 0; carry >>= 8) bytes.push(carry & 0xff)
  }
  const zeros = text.length - text.replace(/^1+/, '').length
  return Uint8Array.from([...Array<number>(zeros).fill(0), ...bytes.reverse()])
}
