import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

/** The root of the repository, wherever the compiled test lies. */
export const repoRoot = findRoot(dirname(fileURLToPath(import.meta.url)))

function findRoot(directory: string): string {
  return existsSync(join(directory, 'package.json')) ? directory : findRoot(dirname(directory))
}

/** The path of a program in test/fixtures. */
export function fixture(name: string): string {
  return join(repoRoot, 'test', 'fixtures', name)
}

/** A path in the repository. */
export function fromRoot(path: string): string {
  return join(repoRoot, path)
}
