import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import t from 'tap'
import { VERSION } from '../../src/base/version.ts'
import { repoRoot } from '../support/paths.ts'

const read = (path: string): string => readFileSync(join(repoRoot, path), 'utf8')

t.test('the version in the code is that of the package', async (t) => {
  t.equal((JSON.parse(read('package.json')) as { version: string }).version, VERSION)
})

t.test('every relative link in the documents leads somewhere', async (t) => {
  const folders = ['.', 'docs', 'docs/decisions']
  const files = folders.flatMap((folder) =>
    readdirSync(join(repoRoot, folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => join(folder, name)),
  )
  t.ok(files.length > 5)
  for (const file of files) {
    for (const [, target = ''] of read(file).matchAll(/\]\(([^)#\s]+)(?:#[^)]*)?\)/g)) {
      if (/^[a-z]+:/.test(target)) continue
      t.ok(existsSync(resolve(repoRoot, dirname(file), target)), `${file} links to ${target}`)
    }
  }
})

t.test('dependencies of the libraries that change under us are pinned exactly', async (t) => {
  const { dependencies } = JSON.parse(read('package.json')) as { dependencies: Record<string, string> }
  const pinned = Object.entries(dependencies).filter(([name]) => /libp2p|grpc|multicast-dns/.test(name))
  t.ok(pinned.length >= 10)
  for (const [name, range] of pinned) t.match(range, /^(npm:@libp2p\/gossipsub@)?\d+\.\d+\.\d+$/, name)
})

t.test('nothing we depend on at run time asks for a newer Node.js than we do', async (t) => {
  const lock = JSON.parse(read('package-lock.json')) as {
    packages: Record<string, { dev?: boolean; engines?: { node?: string } }>
  }
  for (const [path, { dev, engines }] of Object.entries(lock.packages)) {
    const range = engines?.node
    if (dev === true || range === undefined || path === '') continue
    const lowest = [...range.matchAll(/(?:>=|\^|~)?\s*v?(\d+)(?:\.\d+)*/g)].map(([, major]) => Number(major))
    t.ok(Math.min(...lowest) <= 20, `${path} needs Node ${range}`)
  }
})
