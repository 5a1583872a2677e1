/**
 * `Promise.withResolvers` (ES2024), which libp2p's dependencies call and Node.js 20 lacks. Import before anything of
 * libp2p. A no-op where the engine has it.
 */
interface Resolvers<T> {
  promise: Promise<T>
  resolve: (value: T | PromiseLike<T>) => void
  reject: (reason?: unknown) => void
}

if (!('withResolvers' in Promise)) {
  Object.defineProperty(Promise, 'withResolvers', {
    configurable: true,
    writable: true,
    value<T>(this: PromiseConstructor): Resolvers<T> {
      const made = {} as Resolvers<T>
      made.promise = new this<T>((resolve, reject) => Object.assign(made, { resolve, reject }))
      return made
    },
  })
}
