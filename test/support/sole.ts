import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repoRoot } from './paths.ts'
import type { SpawnedNode } from './spawned-node.ts'

/** Why units that cannot run twice cannot be made here; undefined when they can. */
export function soleMissing(): string | undefined {
  try {
    execFileSync('flock', ['--version'], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'needs flock(1) of util-linux'
  }
}

/** A unit that writes numbered lines and of which a second copy screams. */
export function soleUnit(home: string, name: string): { readonly run: readonly string[] } {
  return { run: ['sh', join(repoRoot, 'test/fixtures/sole.sh'), join(home, `${name}.lock`), screamsIn(home)] }
}

/** What second copies have said. */
export function screams(home: string): string {
  const path = screamsIn(home)
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}

function screamsIn(home: string): string {
  return join(home, 'screams')
}

/** Lines of a unit that are missing, doubled or out of order, in words; empty when the log is whole from the first to the last. */
export async function faultsOfLog(node: SpawnedNode, unit: string): Promise<readonly string[]> {
  const { stdout } = await node.hsu('logs', unit, '-o', 'json')
  const numbers = stdout
    .trim()
    .split('\n')
    .map((text) => Number(/^line (\d+)$/.exec((JSON.parse(text) as { line: string }).line)?.[1]))
  return numbers.flatMap((number, index) => (number === index + 1 ? [] : [`${unit}: line ${index + 1} is ${number}`]))
}
