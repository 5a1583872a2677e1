import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repoRoot } from './paths.ts'

/** The commands of the shell blocks below a heading of the README, up to the next heading, one a line. */
export function readmeCommands(heading: string): string[] {
  const text = readFileSync(join(repoRoot, 'README.md'), 'utf8')
  const section = text.split(/^## /m).find((part) => part.startsWith(heading)) ?? ''
  return shellCommands(section)
}

/** The commands of all shell blocks of a text in Markdown, one a line. */
export function shellCommands(text: string): string[] {
  return codeBlocks(text, 'sh')
    .flatMap((block) => block.split('\n'))
    .map((line) => line.replace(/\s+#.*$/, '').trim())
    .filter((line) => line !== '')
}

/** The contents of all blocks of a language in a text in Markdown. */
export function codeBlocks(text: string, language: string): string[] {
  return [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([^]*?)^\`\`\``, 'gm'))].map(([, block = '']) => block)
}
