/** `name 0` to `name count-1`, each followed by `more`. */
export function numbered(name: string, count: number, more = ''): string[] {
  return Array.from({ length: count }, (_, n) => `${name} ${n}${more}`)
}

/** The first difference of two long lists, in words; a test runner would take minutes to show all of them. */
export function difference(found: readonly unknown[], wanted: readonly unknown[]): string | undefined {
  const length = Math.max(found.length, wanted.length)
  const at = Array.from({ length }, (_, n) => n).find((n) => found[n] !== wanted[n])
  if (at === undefined) return undefined
  return `${found.length} instead of ${wanted.length}; number ${at} is ${String(found[at])}, not ${String(wanted[at])}`
}
