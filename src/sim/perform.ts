import { formatDurationMs } from '../base/quantity.ts'
import type { NodeSetup } from '../node/index.ts'
import type { Act } from './script.ts'
import type { SimWorld } from './world.ts'

/** The configuration in a file, for a node; undefined: that which the node has. */
export type SetupOf = (node: string, file: string | undefined) => NodeSetup

type Verb = Act['act']

/** How one verb is done, and put in a few words. */
interface Deed<Name extends Verb> {
  readonly perform: (world: SimWorld, what: Act & { readonly act: Name }, setupOf: SetupOf) => void
  readonly words: (what: Act & { readonly act: Name }) => string
}

const DEEDS: { readonly [Name in Verb]: Deed<Name> } = {
  partition: {
    perform: (world, { groups }) => world.partition(groups),
    words: ({ groups }) => `partition ${groups.map((group) => group.join(',')).join(' | ')} | the others`,
  },
  cut: {
    perform: (world, { from, to }) => world.cut(from, to),
    words: ({ from, to }) => `cut ${from.join(',')} -> ${to.join(',')}`,
  },
  repair: { perform: (world) => world.repair(), words: () => 'repair' },
  loss: {
    perform: (world, { share, from }) => world.lose(share, from),
    words: ({ share, from }) => `loss ${percent(share)}${from === undefined ? '' : ` of what ${from} sends`}`,
  },
  delay: {
    perform: ({ network }, { ms }) => {
      network.delayMs = ms
    },
    words: ({ ms }) => `delay ${formatDurationMs(ms)}`,
  },
  duplicate: {
    perform: ({ network }, { share }) => {
      network.duplicate = share
    },
    words: ({ share }) => `duplicate ${percent(share)}`,
  },
  reorder: {
    perform: ({ network }, { share }) => {
      network.reorder = share
    },
    words: ({ share }) => `reorder ${percent(share)}`,
  },
  mdns: {
    perform: ({ network }, { works }) => network.discover(works),
    words: ({ works }) => (works ? 'mdns heard' : 'mdns silent'),
  },
  freeze: {
    perform: (world, { node, forMs }) => world.freeze(node, forMs),
    words: ({ node, forMs }) => `freeze ${node}${forMs === undefined ? '' : ` for ${formatDurationMs(forMs)}`}`,
  },
  thaw: { perform: (world, { node }) => world.thaw(node), words: onNode },
  bounce: {
    perform: (world, { node, downMs }) => world.bounce(node, downMs),
    words: ({ node, downMs }) => `bounce ${node}, down for ${formatDurationMs(downMs)}`,
  },
  skew: {
    perform: (world, { node, byMs }) => world.skew(node, byMs),
    words: ({ node, byMs }) => `skew ${node} by ${byMs < 0 ? '-' : ''}${formatDurationMs(Math.abs(byMs))}`,
  },
  crash: { perform: (world, { node }) => world.crash(node), words: onNode },
  kill: { perform: (world, { node }) => world.kill(node), words: onNode },
  start: { perform: (world, { node }) => world.start(node), words: onNode },
  stop: { perform: (world, { node }) => world.stop(node), words: onNode },
  new_ip: { perform: (world, { node }) => world.move(node), words: onNode },
  disk_full: { perform: (world, { node }) => world.diskFull(node, true), words: onNode },
  disk_free: { perform: (world, { node }) => world.diskFull(node, false), words: onNode },
  reload: {
    perform: (world, { node, file }, setupOf) => world.reload(node, setupOf(node, file)),
    words: ({ node, file }) => `reload ${node}${file === undefined ? '' : ` with ${file}`}`,
  },
  exit: {
    perform: (world, { node, unit, code }) => world.exit(node, unit, code),
    words: ({ node, unit, code }) => `exit of ${unit} on ${node} with code ${code}`,
  },
  sick: {
    perform: (world, { node, unit }) => void world.machine(node).sick.add(unit),
    words: ({ node, unit }) => `${unit} on ${node} is sick`,
  },
  well: {
    perform: (world, { node, unit }) => void world.machine(node).sick.delete(unit),
    words: ({ node, unit }) => `${unit} on ${node} is well`,
  },
}

/** Does to the world what a script says. @throws HsuError NODE_NOT_FOUND */
export function perform(world: SimWorld, what: Act, setupOf: SetupOf): void {
  deedOf(what).perform(world, what, setupOf)
}

/** What is done, in a few words. */
export function describeAct(what: Act): string {
  return deedOf(what).words(what)
}

function deedOf(what: Act): Deed<Verb> {
  // Each deed takes the act it is filed under.
  return DEEDS[what.act] as Deed<Verb>
}

function onNode({ act, node }: { readonly act: Verb; readonly node: string }): string {
  return `${act.replace('_', ' ')} ${node}`
}

function percent(share: number): string {
  return `${Number((share * 100).toFixed(2))} %`
}
