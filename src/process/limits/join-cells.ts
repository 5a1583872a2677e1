import type { Cell, CellReading } from './backend.ts'

/** Several cells of one instance as one. The first one gathers its processes. */
export function joinCells(cells: readonly [Cell, ...Cell[]]): Cell {
  const [first] = cells
  return {
    places: cells.flatMap(({ places }) => places),
    gathers: first.gathers,
    async hold(caps) {
      for (const cell of cells) await cell.hold(caps)
    },
    async enter(pid) {
      for (const cell of cells) await cell.enter(pid)
    },
    prelude: (caps) => cells.flatMap((cell) => cell.prelude(caps) || []).join('; '),
    pids: () => first.pids(),
    kill: () => first.kill(),
    freeze: (frozen) => first.freeze(frozen),
    async read() {
      const readings = await Promise.all(cells.map((cell) => cell.read()))
      return Object.assign({}, ...readings) as CellReading
    },
    async remove() {
      const removed = await Promise.all(cells.map((cell) => cell.remove()))
      return removed.every(Boolean)
    },
  }
}
