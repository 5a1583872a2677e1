import { formatSizeBytes } from '../../base/quantity.ts'

/** What a unit may be limited in. `io.read` and `io.write` are bytes a second. */
export const RESOURCES = ['memory', 'cpu', 'pids', 'files', 'io.read', 'io.write'] as const

export type Resource = (typeof RESOURCES)[number]

/** An amount for each resource that has one: bytes, cores, processes, open files, bytes a second. */
export type Amounts = { readonly [R in Resource]?: number | undefined }

/** `64.0MiB`, `0.5 cores`, `12 processes`, `3.1MiB/s`: as people read it. */
export function formatAmount(resource: Resource, amount: number): string {
  switch (resource) {
    case 'memory':
      return formatSizeBytes(Math.round(amount))
    case 'cpu':
      return `${Number(amount.toFixed(2))} cores`
    case 'pids':
      return `${amount} processes`
    case 'files':
      return `${amount} open files`
    case 'io.read':
    case 'io.write':
      return `${formatSizeBytes(Math.round(amount))}/s`
  }
}
