import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { repoRoot } from '../support/paths.ts'

/** What a mesh has to survive: each has a row in the table, as its first words. */
const ITEMS = [
  'Wrong key',
  'No key',
  'Removed node',
  'Forged records',
  'Replayed records',
  'Oversized messages',
  'Garbage',
  'A clock a year off',
  'Two nodes with one identity',
  'Two meshes on one LAN',
  '64 joins at once',
  'Half-open connections',
  'A peer that accepts and never reads',
  'MTU black hole',
  'Multicast filtered',
  'Wrong seeds',
  'One-way links',
  'A cut that heals',
  'Torn or damaged files',
]

interface Row {
  readonly item: string
  readonly proofs: readonly { readonly file: string; readonly title: string }[]
}

/** The rows below "## Bad luck": what, what happens, and the tests, each as `FILE`: TITLE. */
function rowsOf(document: string): readonly Row[] {
  const section = document.split(/^## /m).find((part) => part.startsWith('Bad luck\n')) ?? ''
  return section
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| what '))
    .map((line) => {
      const [item = '', , tests = ''] = line.slice(2, -2).split(' | ')
      const proofs = tests.split('<br>').map((proof) => {
        const [, file = '', title = ''] = /^`(test\/\S+)`: (.+)$/.exec(proof.trim()) ?? []
        return { file, title }
      })
      return { item, proofs }
    })
}

/** Whether a test of that title is in the source, however it is quoted and its line is broken. */
function hasTest(source: string, title: string): boolean {
  return ["'", '"', '`'].some((quote) => {
    const at = source.indexOf(`${quote}${title}${quote}`)
    return at >= 0 && /\btest\(\s*$/.test(source.slice(0, at))
  })
}

t.test('each misfortune that docs/MESH.md names is proved by a test that is there', async (t) => {
  const rows = rowsOf(readFileSync(join(repoRoot, 'docs/MESH.md'), 'utf8'))
  t.same(
    rows.map(({ item }) => item),
    ITEMS,
  )
  for (const { item, proofs } of rows) {
    for (const { file, title } of proofs) {
      const path = join(repoRoot, file)
      t.ok(file !== '' && existsSync(path), `${item}: there is a file ${file}`)
      if (file !== '') t.ok(hasTest(readFileSync(path, 'utf8'), title), `${item}: ${file} has '${title}'`)
    }
  }
})
