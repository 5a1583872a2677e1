/**
 * Lengths in bits of the codes of RFC 7541 Appendix B, by symbol; the end of a string (30 bits) left out. The code is
 * canonical: codes grow with their length, and with the symbol where lengths are equal, so that lengths are enough.
 */
const CODE_LENGTHS: readonly number[] = (
  '13 23 28 28 28 28 28 28 28 24 30 28 28 30 28 28 ' +
  '28 28 28 28 28 28 30 28 28 28 28 28 28 28 28 28 ' +
  '6 10 10 12 13 6 8 11 10 10 8 11 8 6 6 6 ' +
  '5 5 5 6 6 6 6 6 6 6 7 8 15 6 12 10 ' +
  '13 6 7 7 7 7 7 7 7 7 7 7 7 7 7 7 ' +
  '7 7 7 7 7 7 7 7 8 7 8 13 19 13 14 6 ' +
  '15 5 6 5 6 5 6 6 6 5 7 7 6 6 6 5 ' +
  '6 7 6 5 5 6 7 7 7 7 7 15 11 14 13 28 ' +
  '20 22 20 20 22 22 22 23 22 23 23 23 23 23 24 23 ' +
  '24 24 22 23 24 23 23 23 23 21 22 23 22 23 23 24 ' +
  '22 21 20 22 22 23 23 21 23 22 22 24 21 22 23 23 ' +
  '21 21 22 21 23 22 23 23 20 22 22 22 23 22 22 23 ' +
  '26 26 20 19 22 23 22 25 26 26 26 27 27 26 24 25 ' +
  '19 21 26 27 27 26 27 24 21 21 26 26 28 27 27 27 ' +
  '20 24 20 21 22 21 21 23 22 22 25 25 24 24 26 23 ' +
  '26 27 26 26 27 27 27 27 27 28 27 27 27 27 27 26'
)
  .split(' ')
  .map(Number)

/** Characters that no field may have anywhere (RFC 9113 8.2.1): a receiver could take them for the end of the field. */
const isForbidden = (symbol: number): boolean => symbol === 0 || symbol === 10 || symbol === 13

const INVALID = -1

/** Bits of a step: the state to go on in, whether the symbol is forbidden, whether there is one, and the symbol. */
const STATE_SHIFT = 10
const FORBIDDEN = 0x200
const HAS_SYMBOL = 0x100

interface Machine {
  /** What follows from a state and four bits. */
  readonly steps: Int32Array
  /** States in which a string may end: whole symbols, then fewer than eight bits of the longest code. */
  readonly ends: Uint8Array
}

/** The decoder as a machine that eats four bits at a time; a state is a node of the tree of codes. */
function buildMachine(): Machine {
  const nodes = treeOfCodes()
  const steps = new Int32Array(nodes.length * 16)
  for (let state = 0; state < nodes.length; state += 1) {
    for (let bits = 0; bits < 16; bits += 1) steps[state * 16 + bits] = stepOf(nodes, state, bits)
  }
  const ends = new Uint8Array(nodes.length)
  let padding = 0
  for (let depth = 0; depth < 8; depth += 1) {
    ends[padding] = 1
    padding = nodes[padding]?.[1] ?? 0
  }
  return { steps, ends }
}

type Node = [zero: number, one: number]

const NO_NODE = -1

/** Below it, `LEAF - symbol`. */
const LEAF = -2

function treeOfCodes(): readonly Node[] {
  const nodes: Node[] = [[NO_NODE, NO_NODE]]
  const symbols = [...CODE_LENGTHS.keys()].sort((a, b) => lengthOf(a) - lengthOf(b) || a - b)
  let code = 0
  let length = 0
  for (const symbol of symbols) {
    code *= 2 ** (lengthOf(symbol) - length)
    length = lengthOf(symbol)
    let node = 0
    for (let bit = length - 1; bit > 0; bit -= 1) node = childOf(nodes, node, (code >>> bit) & 1)
    const last = nodes[node]
    if (last !== undefined) last[code & 1] = LEAF - symbol
    code += 1
  }
  // The end of a string is all ones, 30 bits: its nodes are there, so that padding can be told from nonsense.
  let node = 0
  for (let depth = 0; depth < 29; depth += 1) node = childOf(nodes, node, 1)
  return nodes
}

function childOf(nodes: Node[], node: number, bit: number): number {
  const parent = nodes[node]
  if (parent === undefined) throw new Error('no such node')
  const known = parent[bit === 0 ? 0 : 1]
  if (known !== NO_NODE) return known
  parent[bit === 0 ? 0 : 1] = nodes.length
  nodes.push([NO_NODE, NO_NODE])
  return nodes.length - 1
}

function lengthOf(symbol: number): number {
  return CODE_LENGTHS[symbol] ?? 0
}

/** No code has fewer than five bits, so that four of them end one symbol at most. */
function stepOf(nodes: readonly Node[], state: number, bits: number): number {
  let node = state
  let found = 0
  for (let bit = 3; bit >= 0; bit -= 1) {
    const next = nodes[node]?.[((bits >> bit) & 1) === 0 ? 0 : 1] ?? NO_NODE
    if (next === NO_NODE) return INVALID
    if (next <= LEAF) {
      const symbol = LEAF - next
      found = HAS_SYMBOL | symbol | (isForbidden(symbol) ? FORBIDDEN : 0)
      node = 0
    } else {
      node = next
    }
  }
  return (node << STATE_SHIFT) | found
}

const { steps: STEPS, ends: ENDS } = buildMachine()

/** The length of a Huffman-coded string when decoded; -1 when it is not well formed, -2 when it has a forbidden character. */
export function huffmanLength(bytes: Uint8Array, at: number, length: number): number {
  let state = 0
  let count = 0
  let seen = 0
  for (let next = at; next < at + length; next += 1) {
    const byte = bytes[next] ?? 0
    const high = STEPS[state * 16 + (byte >> 4)] ?? INVALID
    if (high < 0) return -1
    const low = STEPS[(high >> STATE_SHIFT) * 16 + (byte & 15)] ?? INVALID
    if (low < 0) return -1
    count += ((high & HAS_SYMBOL) >> 8) + ((low & HAS_SYMBOL) >> 8)
    seen |= high | low
    state = low >> STATE_SHIFT
  }
  if (ENDS[state] !== 1) return -1
  // The bits of a state may look like any other: only this one is kept apart.
  return (seen & FORBIDDEN) === 0 ? count : -2
}

/** Decodes a string that `huffmanLength` has found well formed. */
export function huffmanText(bytes: Uint8Array, at: number, length: number): string {
  const decoded = Buffer.allocUnsafe(length * 2)
  let state = 0
  let count = 0
  for (let next = at; next < at + length; next += 1) {
    const byte = bytes[next] ?? 0
    const high = STEPS[state * 16 + (byte >> 4)] ?? 0
    if ((high & HAS_SYMBOL) !== 0) decoded[count++] = high
    const low = STEPS[(high >> STATE_SHIFT) * 16 + (byte & 15)] ?? 0
    if ((low & HAS_SYMBOL) !== 0) decoded[count++] = low
    state = low >> STATE_SHIFT
  }
  return decoded.toString('latin1', 0, count)
}
