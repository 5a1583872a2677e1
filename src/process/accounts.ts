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
  for (const line of passwd.split('\n')) {
    const [name = '', , uid = '', gid = '', , home = '/', shell = '/bin/sh'] = line.split(':')
    if (gid !== '' && (name === user || uid === user)) return { name, uid: Number(uid), gid: Number(gid), home, shell }
  }
  throw new HsuError('SPAWN_FAILED', `cannot run unit '${unit}' as '${user}': no such user in /etc/passwd`, {
    details: { unit, user },
  })
}
