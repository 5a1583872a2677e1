import { existsSync, readdirSync, readFileSync, rmdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { until } from './until.ts'

/** Removes the control groups of the instances below `directory`, whose processes are gone; a killed node leaves them. */
export async function removeCells(directory: string): Promise<void> {
  const places = filesNamed('cell', directory).flatMap((file) => readFileSync(file, 'utf8').split('\n'))
  for (const place of places) {
    const path = place.slice(place.indexOf('/'))
    if (!place.includes(':/') || !basename(dirname(path)).startsWith('hsu-')) continue
    // Killed processes are in it a moment longer than they are to be seen.
    await until(`${path} to be empty`, () => {
      tryRemove(path)
      return !existsSync(path)
    })
    tryRemove(dirname(path))
  }
}

function filesNamed(name: string, directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name)
    if (entry.isDirectory()) return filesNamed(name, path)
    return entry.isFile() && entry.name === name ? [path] : []
  })
}

function tryRemove(path: string): void {
  try {
    rmdirSync(path)
  } catch {
    // Gone already, or not empty.
  }
}
