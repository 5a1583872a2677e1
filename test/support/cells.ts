import { readdirSync, readFileSync, rmdirSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'

/** Removes the control groups of the instances below `directory`, whose processes are gone; a killed node leaves them. */
export function removeCells(directory: string): void {
  for (const file of filesNamed('cell', directory)) {
    for (const place of readFileSync(file, 'utf8').split('\n')) {
      const path = place.slice(place.indexOf('/'))
      if (place.includes(':/') && basename(dirname(path)).startsWith('hsu-')) {
        tryRemove(path)
        tryRemove(dirname(path))
      }
    }
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
    // Gone already, or a process that was just killed is still in it.
  }
}
