/** The fields of `/proc/<pid>/stat` that matter here, in the units of the kernel (proc_pid_stat(5)). */
export interface ProcStat {
  readonly pid: number
  readonly name: string
  readonly state: string
  readonly ppid: number
  readonly pgid: number
  readonly sessionId: number
  readonly cpuTicks: number
  readonly reapedCpuTicks: number
  /** Ticks since the start of the system; kept as text, because it is an identity. */
  readonly startTicks: string
  readonly rssPages: number
  readonly virtualBytes: number
  readonly threads: number
}

/** The last that is read, of fifty or so. */
const LAST_FIELD = 24

/**
 * Parses one line of `/proc/<pid>/stat`; undefined when it is none. The name stands in parentheses and may
 * itself hold spaces, parentheses and line ends, so it ends at the last `)`.
 */
export function parseProcStat(text: string): ProcStat | undefined {
  const open = text.indexOf('(')
  const close = text.lastIndexOf(')')
  if (open < 1 || close < open) return undefined
  // Field 3 of the manual, the state, is fields[0]; field n is fields[n - 3].
  const fields = text.slice(close + 2).split(' ', LAST_FIELD - 2)
  const startTicks = fields[19]
  if (startTicks === undefined) return undefined
  const number = (field: number): number => Number(fields[field - 3])
  return {
    pid: Number(text.slice(0, open)),
    name: text.slice(open + 1, close),
    state: fields[0] ?? '',
    ppid: number(4),
    pgid: number(5),
    sessionId: number(6),
    cpuTicks: number(14) + number(15),
    reapedCpuTicks: number(16) + number(17),
    startTicks,
    rssPages: number(24),
    virtualBytes: number(23),
    threads: number(20),
  }
}

/** Sizes that differ between kernels and machines. */
export interface KernelUnits {
  readonly pageBytes: number
  readonly ticksPerSecond: number
}

const AT_PAGESZ = 6
const AT_CLKTCK = 17

/**
 * Reads page size and clock tick from `/proc/self/auxv`, the pairs of native words that the kernel gave this
 * process (getauxval(3)). Falls back on 4 KiB and 100 per second, the values of nearly every machine.
 */
export function parseAuxv(
  auxv: Buffer,
  word: { readonly bytes: 4 | 8; readonly endianness: 'LE' | 'BE' },
): KernelUnits {
  const values = new Map<number, number>()
  // Both values fit in 32 bits, so only the low half of a word is read.
  const low = word.endianness === 'BE' ? word.bytes - 4 : 0
  const read = (at: number): number =>
    word.endianness === 'LE' ? auxv.readUInt32LE(at + low) : auxv.readUInt32BE(at + low)
  for (let at = 0; at + 2 * word.bytes <= auxv.length; at += 2 * word.bytes) values.set(read(at), read(at + word.bytes))
  return { pageBytes: values.get(AT_PAGESZ) ?? 4_096, ticksPerSecond: values.get(AT_CLKTCK) ?? 100 }
}
