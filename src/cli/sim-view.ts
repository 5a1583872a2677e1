import type { NodeState, Second } from '../sim/index.ts'
import { paintState, type Style } from './style.ts'
import { paintEvent } from './views.ts'

const seconds = (ms: number): number => ms / 1_000

/** A line of `hsu sim -o json`. Public API: add keys freely, never rename or remove one. */
export function secondShape({ atMs, acts, events, breaches, nodes }: Second) {
  return {
    second: seconds(atMs),
    acts: acts.map((act) => ({ at: seconds(act.atMs), what: act.what })),
    events: events.map((told) => {
      const { node, unit, instance, type, reason, details } = told.event
      return { at: seconds(told.atMs), node, unit, instance, type, reason, details }
    }),
    nodes,
    breaches: breaches.map((breach) => ({ at: seconds(breach.atMs), node: breach.node, what: breach.what })),
  }
}

/** Seconds as a person reads them: what happened, then the nodes that are not as they were. */
export class SecondView {
  readonly #shown = new Map<string, NodeState>()

  /** '' when nothing happened and nothing changed. */
  show({ atMs, acts, events, breaches, nodes }: Second, style: Style): string {
    const happened = [
      ...acts.map(({ atMs: at, what }) => ({ at, line: style.strong(`script  ${what}`) })),
      ...events.map(({ atMs: at, event }) => {
        const subject = event.instance || event.unit || event.details['name'] || ''
        const what = paintEvent(event.type, [event.type, subject].filter((part) => part !== '').join(' '), style)
        return { at, line: [event.node, what, event.reason].filter((part) => part !== '').join('  ') }
      }),
      ...breaches.map(({ atMs: at, node, what }) => ({ at, line: style.bad(`BROKEN  ${node}: ${what}`) })),
    ].toSorted((one, other) => one.at - other.at)
    const changed = nodes.filter((node) => this.#shown.get(node.node) !== node)
    for (const node of changed) this.#shown.set(node.node, node)
    return [
      ...happened.map(({ at, line }) => `${seconds(at).toFixed(3).padStart(9)}  ${line}`),
      ...changed.map((node) => `${String(seconds(atMs)).padStart(7)} s  ${stateLine(node, style)}`),
    ].join('\n')
  }
}

function stateLine({ node, state, sees, units }: NodeState, style: Style): string {
  const others = Object.entries(sees).map(([name, status]) => `${name} ${paintState(status, style)}`)
  const slots = units.map((unit) => {
    const what = unit.ready ? style.good('ready') : paintState(unit.state, style)
    return `${unit.unit}/${unit.replica} ${what}`
  })
  const parts = [others.length === 0 ? '' : `sees ${others.join(', ')}`, slots.join(', ')]
  return [`${node} is ${style.strong(state)}`, ...parts.filter((part) => part !== '')].join('; ')
}
