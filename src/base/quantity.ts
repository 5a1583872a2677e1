const DURATION_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const
const SIZE_BYTES = {
  B: 1,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
  KiB: 1024,
  MiB: 1024 ** 2,
  GiB: 1024 ** 3,
  TiB: 1024 ** 4,
} as const

/** `"250ms"`, `"10s"`, `"5m"`, `"1h"`, `"7d"` as milliseconds; undefined when it is none of these. */
export function parseDurationMs(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text)
  if (match === null) return undefined
  return Math.round(Number(match[1]) * DURATION_MS[match[2] as keyof typeof DURATION_MS])
}

/** `"64MiB"`, `"10MB"`, `"512B"` as bytes; undefined when it is none of these. */
export function parseSizeBytes(text: string): number | undefined {
  const match = /^(\d+(?:\.\d+)?)([kMGT]?B|[KMGT]iB)$/.exec(text)
  if (match === null) return undefined
  return Math.round(Number(match[1]) * SIZE_BYTES[match[2] as keyof typeof SIZE_BYTES])
}

/** The largest two units of a duration, as people write them: `1h5m`, `12s`, `250ms`. */
export function formatDurationMs(ms: number): string {
  if (ms < 1_000) return `${Math.round(ms)}ms`
  const units = Object.entries(DURATION_MS).reverse()
  const parts: string[] = []
  let left = Math.round(ms / 1_000) * 1_000
  for (const [unit, size] of units) {
    const count = Math.floor(left / size)
    if (count > 0 && size >= 1_000) parts.push(`${count}${unit}`)
    left -= count * size
    if (parts.length === 2) break
  }
  return parts.join('')
}

/** `64.0MiB`, `1.2GiB`, `512B`. */
export function formatSizeBytes(bytes: number): string {
  for (const unit of ['TiB', 'GiB', 'MiB', 'KiB'] as const) {
    if (bytes >= SIZE_BYTES[unit]) return `${(bytes / SIZE_BYTES[unit]).toFixed(1)}${unit}`
  }
  return `${bytes}B`
}
