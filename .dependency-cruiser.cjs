/** Floors of the house: a module may import its own folder and the folders listed for it, nothing else. */
const FLOORS = {
  'src/base': [],
  'src/process': ['src/base'],
  'src/mesh': ['src/base'],
  'src/rpc': ['src/base'],
  'src/node': ['src/base', 'src/process', 'src/mesh', 'src/rpc'],
  'src/sim': ['src/base', 'src/process', 'src/mesh', 'src/rpc', 'src/node'],
  'src/cli': ['src/base', 'src/rpc', 'src/node', 'src/sim'],
}

const floorRules = Object.entries(FLOORS).map(([floor, below]) => ({
  name: `floor-${floor.slice(4)}`,
  severity: 'error',
  from: { path: `^${floor}/` },
  to: { path: '^src/', pathNot: [floor, ...below].map((folder) => `^${folder}(/|$)`) },
}))

/** From outside, a floor is its index; base, a box of tools, is open. */
const faces = {
  name: 'face',
  severity: 'error',
  from: { path: '^src/([^/]+)/' },
  to: { path: '^src/(process|mesh|rpc|node|sim)/', pathNot: ['^src/$1/', '/index[.]ts$'] },
}

/** Each outside library and each dangerous Node module has one door. */
const door = (name, library, only) => ({
  name,
  severity: 'error',
  from: { path: '^src/', pathNot: only },
  to: { path: library },
})

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    ...floorRules,
    faces,
    door('door-child-process', '^(node:)?child_process$', '^src/process/(posix|windows)-host|^src/cli/detach'),
    door('door-grpc', 'node_modules/@grpc/', '^src/rpc/'),
    door('door-libp2p', 'node_modules/(@libp2p|libp2p|multicast-dns)', '^src/mesh/libp2p/'),
    door('door-chokidar', 'node_modules/(chokidar|picomatch)', '^src/process/watch/'),
    door('door-timers', '^(node:)?(timers|timers/promises|perf_hooks)$', '^src/base/system-'),
    door('door-prom-client', 'node_modules/prom-client', '^src/node/admin/'),
    door('door-pino', 'node_modules/pino', '^src/base/pino-log'),
  ],
  options: {
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    doNotFollow: { path: 'node_modules' },
    exclude: { path: '^dist/' },
  },
}
