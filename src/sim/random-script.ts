import { below, type Random, sample } from '../base/random.ts'
import { seeded } from './seeded.ts'
import type { Act, Script, Step } from './script.ts'

export interface RandomScriptOptions {
  readonly seed: number
  readonly nodes: readonly string[]
  /** Units that may be made to end, or fall sick. */
  readonly units: readonly string[]
  /** How long bad things happen, in ms. */
  readonly troubleMs: number
  /** How long after that is waited for all to be well, in ms. */
  readonly calmMs: number
  /** How many things happen. */
  readonly acts: number
}

/** Bad luck, the same for the same seed; in the end everything is mended. */
export function randomScript(options: RandomScriptOptions): Script {
  const { seed, troubleMs, calmMs, acts } = options
  const random = seeded(seed ^ 0x5eed)
  const steps: Step[] = Array.from({ length: acts }, () => ({
    atMs: START_MS + below(troubleMs - START_MS, random),
    what: anyAct(options, random),
  }))
  const mended = mending(options).map((what) => ({ atMs: troubleMs, what }))
  return {
    forMs: troubleMs + calmMs,
    steps: [...steps.toSorted((one, other) => one.atMs - other.atMs), ...mended],
    behaviours: new Map(),
  }
}

/** Time to find each other before anything happens. */
const START_MS = 3_000

function anyAct({ nodes, units }: RandomScriptOptions, random: Random): Act {
  const node = nodes[below(nodes.length, random)] ?? ''
  const unit = units[below(units.length, random)] ?? ''
  const some = (): string[] => sample(nodes, 1 + below(Math.max(1, nodes.length - 1), random), random)
  const upTo = (ms: number): number => 1 + below(ms, random)
  const kinds: readonly (() => Act)[] = [
    () => ({ act: 'partition', groups: [some()] }),
    () => ({ act: 'cut', from: some(), to: some() }),
    () => ({ act: 'repair' }),
    () => ({ act: 'loss', share: 0.2 * random.next() }),
    () => ({ act: 'loss', share: 0.5 * random.next(), from: node }),
    () => ({ act: 'delay', ms: upTo(100) }),
    () => ({ act: 'duplicate', share: 0.2 * random.next() }),
    () => ({ act: 'reorder', share: 0.2 * random.next() }),
    () => ({ act: 'mdns', works: random.next() < 0.5 }),
    () => ({ act: 'freeze', node, forMs: upTo(8_000) }),
    () => ({ act: 'skew', node, byMs: (random.next() - 0.5) * 2 * 31_536_000_000 }),
    () => ({ act: 'crash', node }),
    () => ({ act: 'bounce', node, downMs: upTo(5_000) }),
    () => ({ act: 'kill', node }),
    () => ({ act: 'start', node }),
    () => ({ act: 'stop', node }),
    () => ({ act: 'new_ip', node }),
    () => ({ act: 'disk_full', node }),
    () => ({ act: 'disk_free', node }),
    () => ({ act: 'reload', node }),
    () => ({ act: 'exit', node, unit, code: below(2, random) }),
    () => ({ act: 'sick', node, unit }),
    () => ({ act: 'well', node, unit }),
  ]
  return (kinds[below(kinds.length, random)] as () => Act)()
}

function mending({ nodes, units }: RandomScriptOptions): readonly Act[] {
  return [
    { act: 'repair' },
    { act: 'loss', share: 0 },
    { act: 'delay', ms: 0 },
    { act: 'duplicate', share: 0 },
    { act: 'reorder', share: 0 },
    { act: 'mdns', works: true },
    ...nodes.flatMap((node): Act[] => [
      { act: 'loss', share: 0, from: node },
      { act: 'thaw', node },
      { act: 'disk_free', node },
      { act: 'start', node },
      ...units.map((unit): Act => ({ act: 'well', node, unit })),
    ]),
  ]
}
