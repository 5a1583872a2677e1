import type { ListenOptions, Server } from 'node:net'

/** Resolves when the server listens. @throws the system's error when it cannot */
export function bind(server: Server, to: ListenOptions | { readonly fd: number }): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error): void => {
      server.off('listening', done)
      reject(error)
    }
    const done = (): void => {
      server.off('error', fail)
      resolve()
    }
    server.once('error', fail)
    server.once('listening', done)
    server.listen(to)
  })
}
