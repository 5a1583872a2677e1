import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { splitCommand } from '../../src/process/command-line.ts'
import { faultsOf } from '../support/config.ts'
import { repoRoot } from '../support/paths.ts'
import { codeBlocks, shellCommands } from '../support/readme.ts'
import { hsu } from '../unit/cli/fake-world.ts'

for (const file of ['docs/PROCESS.md', 'docs/MESH.md', 'docs/CALLS.md']) {
  const text = readFileSync(join(repoRoot, file), 'utf8')

  t.test(`every configuration in ${file} is a right one`, async (t) => {
    const blocks = codeBlocks(text, 'yaml')
    t.ok(blocks.length > 0)
    for (const block of blocks) t.same(await faultsOf(block), [], block)
  })

  t.test(`every command in ${file} is a command with the arguments it takes`, async (t) => {
    const commands = shellCommands(text).filter((line) => /^hsu /.test(line))
    t.ok(commands.length > 0)
    for (const command of commands) {
      // Nothing answers here; only a mistake in what was typed is an error of usage.
      const { code, stderr } = await hsu(splitCommand(command).slice(1))
      t.not(code, 2, `${command}: ${stderr}`)
    }
  })
}
