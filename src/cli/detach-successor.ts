import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import type { DoorHandles, FromSuccessor, Successor } from '../node/index.ts'
import { LIFELINE_FD, LIFELINE_VARIABLE, SUCCESSION_VARIABLE } from './succession-channel.ts'

/** Where the doors are in a successor; 0 to 2 are as ours, 3 is the channel to us. */
const DOOR_FD = { ingress: 4, link: 5, admin: 6, xds: 7 } as const satisfies Record<
  Exclude<keyof DoorHandles, 'tcp'>,
  number
>

const DOORS = Object.keys(DOOR_FD) as (keyof typeof DOOR_FD)[]

/** Those of units come behind the lifeline. */
const FIRST_TCP_FD = LIFELINE_FD + 1

/**
 * Starts the program that is on disk now with the arguments of this process, in a session of its own, its output where
 * ours goes. It inherits the listening sockets: connections that come meanwhile wait in the kernel, whoever of us dies.
 */
export function spawnSuccessor(
  handles: DoorHandles,
  dataDir: string,
  lifeline: number | undefined,
): Promise<Successor> {
  const entry = process.argv[1] ?? ''
  const args = [...process.execArgv, entry, ...process.argv.slice(2)]
  const stdio: (number | 'ipc' | 'ignore' | 'inherit')[] = ['inherit', 'inherit', 'inherit', 'ipc']
  for (const door of DOORS) stdio[DOOR_FD[door]] = handles[door]?.fd ?? 'ignore'
  if (lifeline !== undefined || handles.tcp.length > 0) {
    for (let fd = stdio.length; fd < LIFELINE_FD; fd += 1) stdio[fd] = 'ignore'
    stdio[LIFELINE_FD] = lifeline ?? 'ignore'
  }
  stdio.push(...handles.tcp.map(({ fd }) => fd))
  const moved = {
    ...Object.fromEntries(DOORS.map((door) => [door, handles[door] && { ...handles[door], fd: DOOR_FD[door] }])),
    tcp: handles.tcp.map((handle, index) => ({ ...handle, fd: FIRST_TCP_FD + index })),
  }
  const env = {
    ...process.env,
    [SUCCESSION_VARIABLE]: JSON.stringify({ dataDir, handles: moved }),
    ...(lifeline === undefined ? {} : { [LIFELINE_VARIABLE]: String(LIFELINE_FD) }),
  }
  // A Node.js that was replaced on disk may be found under its name only.
  const program = existsSync(process.execPath) ? process.execPath : process.argv0
  const child = spawn(program, args, { detached: true, stdio, env })
  const ended = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('spawn', () => resolve(successorOf(child, ended)))
  })
}

function successorOf(child: ReturnType<typeof spawn>, ended: Promise<void>): Successor {
  const heard: FromSuccessor[] = []
  let wake = (): void => undefined
  child.on('message', (message) => {
    heard.push(message as FromSuccessor)
    wake()
  })
  // What it does not take any more is seen by its end.
  child.on('error', () => undefined)
  return {
    pid: child.pid ?? 0,
    async next() {
      if (heard.length === 0) {
        await Promise.race([ended, new Promise<void>((resolve) => (wake = resolve))])
      }
      return heard.shift()
    },
    give: (message) => void child.send(message, () => undefined),
    async kill() {
      child.kill('SIGKILL')
      await ended
    },
    release() {
      if (child.connected) child.disconnect()
      child.unref()
    },
  }
}
