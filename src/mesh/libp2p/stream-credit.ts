/** How much is read before the sender is told that it may send as much again; a quarter of yamux's smallest window. */
const BATCH_BYTES = 64 * 1024

/** The two methods by which a yamux stream stops and resumes telling its sender that it may send more. */
interface Crediting {
  sendPause(): void
  sendResume(): void
}

/**
 * Makes a stream tell its sender once each 64 KiB that it may send more. yamux does so after each message, which for small
 * messages doubles the packets and the work of both ends. Call the returned function with the size of each message read.
 *
 * The two methods are public in libp2p's `AbstractMessageStream` but not part of the `Stream` interface; a stream without
 * them is left as it is. A test counts the packets.
 */
export function giveCreditInBatches(stream: object): (bytes: number) => void {
  if (!isCrediting(stream)) return () => undefined
  let read = BATCH_BYTES
  return (bytes) => {
    read += bytes
    if (read < BATCH_BYTES) return
    read = 0
    stream.sendResume()
    stream.sendPause()
  }
}

function isCrediting(stream: object): stream is Crediting {
  return (
    'sendPause' in stream &&
    typeof stream.sendPause === 'function' &&
    'sendResume' in stream &&
    typeof stream.sendResume === 'function'
  )
}
