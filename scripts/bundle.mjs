// Bundles the command line and the library, so that a node starts in a fraction of a second: unbundled, importing
// libp2p alone takes over two. Shared and lazily imported parts become chunks; a node without a mesh never loads libp2p.
import { rmSync } from 'node:fs'
import { build } from 'esbuild'

// CommonJS dependencies inside an ES module bundle still call require() for Node's own modules.
const BANNER =
  "import { createRequire as createRequireForBundle } from 'node:module'; const require = createRequireForBundle(import.meta.url);"

export async function bundle() {
  rmSync('dist/bundle', { recursive: true, force: true })
  await build({
    entryPoints: {
      index: 'src/index.ts',
      hsu: 'src/cli/main.ts',
      'call-thread-main': 'src/rpc/thread/main.ts',
      resolver: 'src/rpc/xds/resolver.ts',
    },
    outdir: 'dist/bundle',
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'node',
    target: 'node20',
    minifyWhitespace: true,
    minifySyntax: true,
    legalComments: 'linked',
    banner: { js: BANNER },
    logLevel: 'warning',
  })
}
