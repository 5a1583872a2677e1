/** Takes text for a terminal, a pipe or a file. Rejects with the system's error, such as EPIPE when the reader left. */
export type Sink = (chunk: string | Uint8Array) => Promise<void>

/** A stream of Node.js as a sink: each chunk is waited for, so that nothing is lost at exit and nothing piles up. */
export function sinkOf(stream: NodeJS.WritableStream): Sink {
  // Without a listener a broken pipe would end the process; the write's own callback reports it to whoever wrote.
  stream.on('error', () => undefined)
  return (chunk) =>
    new Promise((resolve, reject) => {
      stream.write(chunk, (error) => (error == null ? resolve() : reject(error)))
    })
}
