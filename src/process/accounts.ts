import { readFile } from 'node:fs/promises'
import { HsuError } from '../base/error.ts'

/** A user of this host, as passwd(5) has it. */
export interface Account {
  readonly name: string
  readonly uid: number
  readonly gid: number
  readonly home: string
  readonly shell: string
}

/** Finds a user by name or by number in the text of /etc/passwd (passwd(5)). @throws HsuError `SPAWN_FAILED` when there is none */
export function findAccount(passwd: string, user: string, unit: string): Account {
  const account = lookUp(passwd, user)
  if (account !== undefined) return account
  throw new HsuError('SPAWN_FAILED', `cannot run unit '${unit}' as '${user}': no such user in /etc/passwd`, {
    details: { unit, user },
  })
}

/**
 * The account to run a short command as; undefined when that is who the node is.
 * @throws HsuError `SPAWN_FAILED` when there is no such user or the node may not become it
 */
export async function accountToRun(program: string, user: string | undefined): Promise<Account | undefined> {
  if (user === undefined) return undefined
  const account = lookUp(await readFile('/etc/passwd', 'utf8'), user)
  const own = process.getuid?.()
  if (own !== undefined && own === account?.uid) return undefined
  if (own === 0 && account !== undefined) return account
  const why = account === undefined ? 'no such user in /etc/passwd' : 'only a node that runs as root can'
  throw new HsuError('SPAWN_FAILED', `cannot run ${program} as '${user}': ${why}`, { details: { program, user } })
}

/** What the environment of a process says of its user. */
export function variablesOf({ name, home, shell }: Account): Readonly<Record<string, string>> {
  return { HOME: home, USER: name, LOGNAME: name, SHELL: shell }
}

/** The name of a user; the number itself when passwd(5) has none. */
export async function userNamed(uid: number): Promise<string> {
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '')
  return lookUp(passwd, String(uid))?.name ?? String(uid)
}

function lookUp(passwd: string, user: string): Account | undefined {
  for (const line of passwd.split('\n')) {
    const [name = '', , uid = '', gid = '', , home = '/', shell = '/bin/sh'] = line.split(':')
    if (gid !== '' && (name === user || uid === user)) return { name, uid: Number(uid), gid: Number(gid), home, shell }
  }
  return undefined
}
