import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { LanHost } from '../test/support/lan.ts'
import type { Cluster } from './lan.ts'

const POLL_MS = 20
const SEEN_WITHIN_MS = 120_000

/** Why Serf cannot be measured here; undefined when it can. */
export function serfMissing(): string | undefined {
  try {
    execFileSync('serf', ['version'], { stdio: 'ignore' })
    return undefined
  } catch {
    return 'the program serf is not there (Debian: apt-get install serf)'
  }
}

/** An agent of Serf on each host, with its own defaults for a LAN. */
export class SerfCluster implements Cluster {
  readonly name = 'Serf'
  readonly #lan: readonly LanHost[]
  readonly #home: string
  readonly #agents: (ChildProcess | undefined)[]

  constructor(lan: readonly LanHost[], home: string) {
    this.#lan = lan
    this.#home = home
    this.#agents = lan.map(() => undefined)
    // One line for each member in an event: when, what, who.
    const script = `#!/bin/sh\nat=$(date +%s%3N)\nwhile read -r name rest; do echo "$at $SERF_EVENT $name" >> ${home}/$SERF_SELF_NAME.seen; done\n`
    writeFileSync(join(home, 'seen.sh'), script, { mode: 0o755 })
    for (const { name } of lan) writeFileSync(join(home, `${name}.seen`), '')
  }

  launch(hosts: readonly number[]): void {
    const log = openSync(join(this.#home, 'serf.log'), 'a')
    for (const host of hosts) {
      const { name, address, prefix } = this.#lan[host] as LanHost
      const joins = this.#lan.slice(0, 3).flatMap((seed) => ['-retry-join', seed.address])
      const own = [
        '-node',
        name,
        '-bind',
        address,
        '-event-handler',
        join(this.#home, 'seen.sh'),
        '-retry-interval',
        '1s',
      ]
      const [file = '', ...rest] = [...prefix, 'serf', 'agent', ...own, ...joins]
      this.#agents[host] = spawn(file, rest, { stdio: ['ignore', log, log] })
    }
    closeSync(log)
  }

  async seen(by: readonly number[], of: readonly number[], status: 'alive' | 'dead', sinceMs: number): Promise<number> {
    const deadlineMs = Date.now() + SEEN_WITHIN_MS
    for (;;) {
      const times = by.flatMap((host) => {
        const last = this.#lastOf(host)
        return of
          .filter((other) => other !== host)
          .map((other) => {
            const sighting = last.get(`h${other}`)
            return sighting?.status === status && sighting.atMs >= sinceMs ? sighting.atMs : undefined
          })
      })
      if (times.every((atMs) => atMs !== undefined)) return Math.max(...times)
      if (Date.now() > deadlineMs)
        throw new Error(`bench: Serf: hosts ${by.join()} do not see ${of.join()} as ${status}`)
      await pause(POLL_MS)
    }
  }

  signal(host: number, signal: NodeJS.Signals): void {
    this.#agents[host]?.kill(signal)
  }

  pid(host: number): number {
    return this.#agents[host]?.pid ?? 0
  }

  async stop(): Promise<void> {
    for (const agent of this.#agents) {
      if (agent === undefined || agent.exitCode !== null || agent.signalCode !== null) continue
      const ended = new Promise((resolve) => agent.once('exit', resolve))
      agent.kill('SIGKILL')
      await ended
    }
  }

  #lastOf(host: number): Map<string, { status: 'alive' | 'dead'; atMs: number }> {
    const lines = readFileSync(join(this.#home, `h${host}.seen`), 'utf8').split('\n')
    const events = lines.map((line) => line.split(' ')).filter(([, event]) => event !== undefined)
    return new Map(
      events.flatMap(([at, event, name]) => {
        const status = event === 'member-join' ? 'alive' : event === 'member-failed' ? 'dead' : undefined
        return status === undefined || name === undefined ? [] : [[name, { status, atMs: Number(at) }] as const]
      }),
    )
  }
}
