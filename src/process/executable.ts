import { constants } from 'node:fs'
import { access, open, stat } from 'node:fs/promises'
import { delimiter, isAbsolute, join, resolve } from 'node:path'
import { HsuError, systemCode } from '../base/error.ts'

/** How much of a script is read to find its interpreter (Linux: BINPRM_BUF_SIZE). */
const MAX_SHEBANG_BYTES = 256

/** Where programs are looked for when a unit has no PATH (confstr _CS_PATH). */
const DEFAULT_PATH = '/usr/bin:/bin'

/**
 * The absolute path of a program, found as execvp(3) would, and able to run as far as can be seen.
 *
 * @throws HsuError `SPAWN_FAILED` that says what is wrong with it, before anything is started
 */
export async function resolveExecutable(
  program: string,
  cwd: string,
  path: string | undefined,
  unit: string,
): Promise<string> {
  const fail = (why: string): never => {
    throw new HsuError('SPAWN_FAILED', `cannot run ${program} of unit '${unit}': ${why}`, {
      details: { unit, program, cwd },
    })
  }
  const looking = program.includes('/')
    ? usable(isAbsolute(program) ? program : resolve(cwd, program))
    : lookUp(program, path ?? DEFAULT_PATH, cwd)
  const [hasDirectory, found] = await Promise.all([isDirectory(cwd), looking])
  if (!hasDirectory) fail(`its working directory ${cwd} does not exist; correct 'cwd' or make it`)
  if (typeof found !== 'string') return fail(found.fault)
  const interpreter = await interpreterOf(found)
  if (interpreter !== undefined && typeof (await usable(interpreter)) !== 'string') {
    fail(`its interpreter ${interpreter} does not exist or cannot be run`)
  }
  return found
}

interface Fault {
  readonly fault: string
}

async function lookUp(program: string, path: string, cwd: string): Promise<string | Fault> {
  let fault = `not found in the PATH of the unit (${path}); give its path, or set env.PATH`
  const directories = path.split(delimiter)
  const candidates = directories.map((directory) => usable(join(resolve(cwd, directory || '.'), program)))
  for (const candidate of await Promise.all(candidates)) {
    if (typeof candidate === 'string') return candidate
    if (!candidate.fault.startsWith('no such file')) fault = candidate.fault
  }
  return { fault }
}

async function usable(path: string): Promise<string | Fault> {
  try {
    const facts = await stat(path)
    if (facts.isDirectory()) return { fault: `${path} is a directory` }
    await access(path, constants.X_OK)
    return path
  } catch (error) {
    const code = systemCode(error)
    if (code === 'ENOENT' || code === 'ENOTDIR') return { fault: `no such file: ${path}` }
    if (code === 'EACCES')
      return { fault: `${path} may not be executed; chmod +x it, or check who may read its directory` }
    return { fault: `${path}: ${code ?? String(error)}` }
  }
}

/** The interpreter a script names in its first line; undefined for other programs and unreadable ones. */
async function interpreterOf(path: string): Promise<string | undefined> {
  const file = await open(path, 'r').catch(() => undefined)
  if (file === undefined) return undefined
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(MAX_SHEBANG_BYTES), 0, MAX_SHEBANG_BYTES, 0)
    return /^#![ \t]*(\/[^\s]+)/.exec(buffer.toString('latin1', 0, bytesRead))?.[1]
  } finally {
    await file.close()
  }
}

async function isDirectory(path: string): Promise<boolean> {
  return stat(path).then(
    (facts) => facts.isDirectory(),
    () => false,
  )
}
