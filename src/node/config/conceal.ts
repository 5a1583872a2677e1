/** What stands for a value that is not shown. */
const HIDDEN = '(hidden)'

type PlainMap = Readonly<Record<string, unknown>>

/** The configuration as it is shown: the headers with which lines and traces are sent are tokens, and their values are hidden. */
export function conceal(config: PlainMap): PlainMap {
  const node = changed(config, 'node', (own) => changed(own, 'traces', withoutHeaders))
  return changed(node, 'units', (units) => mapValues(units, (unit) => concealUnit(unit as PlainMap)))
}

/** The same for the configuration of one unit. */
export function concealUnit(unit: PlainMap): PlainMap {
  return changed(unit, 'logs', (logs) => {
    if (!Array.isArray(logs['forward'])) return logs
    const forward = (logs['forward'] as PlainMap[]).map((destination) => withoutHeaders(destination))
    return { ...logs, forward }
  })
}

function withoutHeaders(destination: PlainMap): PlainMap {
  return changed(destination, 'headers', (headers) => mapValues(headers, () => HIDDEN))
}

/** `map` with the map at `key` changed, where there is one. */
function changed(map: PlainMap, key: string, change: (inner: PlainMap) => PlainMap): PlainMap {
  const inner = map[key]
  return typeof inner === 'object' && inner !== null ? { ...map, [key]: change(inner as PlainMap) } : map
}

function mapValues(map: PlainMap, change: (value: unknown) => unknown): PlainMap {
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, change(value)]))
}
