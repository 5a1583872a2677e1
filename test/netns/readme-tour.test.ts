import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { createLan, lanMissing } from '../support/lan.ts'
import { repoRoot } from '../support/paths.ts'
import { readmeCommands } from '../support/readme.ts'
import { processesOf } from '../support/spawned-node.ts'
import { until } from '../support/until.ts'

t.test(
  "every command of the README's tour works as written",
  { skip: lanMissing() ?? false, timeout: 180_000 },
  async (t) => {
    const [host] = createLan(t, ['tour'])
    if (host === undefined) throw new Error('no host')
    const home = mkdtempSync(join(tmpdir(), 'hsu-tour-'))
    t.teardown(async () => {
      for (const pid of processesOf(home)) process.kill(pid, 'SIGKILL')
      await until('nothing to be left', () => processesOf(home).length === 0)
      rmSync(home, { recursive: true, force: true })
    })
    const commands = readmeCommands('Ten-minute tour').filter((command) => !command.startsWith('npm '))
    t.ok(commands.length > 15)
    for (const written of commands) {
      // The tour's key and second data directory stay inside this test's home.
      const command = written
        .replaceAll('/tmp/hsu-edge-b', join(home, 'edge-b'))
        .replace('mesh.key', join(home, 'mesh.key'))
      const [file, ...args] = [...host.prefix, 'env', '-u', 'NODE_OPTIONS', 'sh', '-c', command]
      const env = {
        ...process.env,
        HSU_DATA_DIR: join(home, 'main'),
        HSU_MESH_KEY: join(home, 'mesh.key'),
        HSU_CONTROL: '',
      }
      const run = (): Promise<{ code: number; text: string }> =>
        new Promise((resolve) => {
          execFile(file, args, { cwd: repoRoot, env, timeout: 60_000 }, (error, stdout, stderr) => {
            resolve({ code: error === null ? 0 : Number(error.code ?? -1), text: stdout + stderr })
          })
        })
      // A person reads for a moment between two commands; discovery takes about as long.
      const { code, text } = /edge-b|nodes/.test(written)
        ? await until(`\`${written}\``, async () => {
            const ran = await run()
            return ran.code === 0 ? ran : undefined
          })
        : await run()
      t.equal(code, 0, `${written}\n${text}`)
    }
  },
)
