import { HsuError } from '../base/error.ts'

/** Requests larger than this are refused by gRPC servers long before. */
const MAX_BYTES = 64 * 1024 * 1024

/** All of standard input as text. @throws HsuError LIMIT_EXCEEDED */
export async function readAll(stdin: AsyncIterable<Uint8Array>): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of stdin) {
    bytes += chunk.length
    if (bytes > MAX_BYTES) throw new HsuError('LIMIT_EXCEEDED', `standard input is larger than ${MAX_BYTES} bytes`)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}
