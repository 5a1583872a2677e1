import { formatSizeBytes } from '../../base/quantity.ts'
import { parseRfc3339Ms } from '../../base/system-date.ts'
import { HsuError } from '../../base/error.ts'
import type { Command } from '../command.ts'
import { type Process, readOptions, rfc3339 } from '../control.ts'
import { FIND_OPTIONS, findOf } from '../find-options.ts'
import { ago } from '../moment.ts'
import type { Style } from '../style.ts'
import { type Column, table } from '../table.ts'

/** An element of `hsu find -o json`. Public API: add keys freely, never rename or remove one. */
interface ProcessShape {
  readonly pid: number
  readonly startedAt: string | null
  readonly identity: string
  readonly user: string | null
  readonly cpu: number
  readonly rssBytes: number
  readonly treeRssBytes: number
  readonly processes: number
  readonly args: readonly string[]
  readonly listens: readonly { readonly protocol: string; readonly address: string; readonly port: number }[]
}

export const findCommand: Command = {
  name: 'find',
  summary: 'look once for a process that runs already, and show what hsu attach would attach',
  description:
    'When several processes match they are all shown and the exit code is 1; when none does it is 4. Nothing is attached.',
  args: [],
  options: FIND_OPTIONS,
  json: `[{pid, startedAt, identity, user, cpu, rssBytes, treeRssBytes, processes, args: [], listens: [{protocol, address, port}]}]
identity is the same for the same process however it was found; rssBytes of the process alone, cpu of the whole tree`,
  examples: ['hsu find --name postgres', 'hsu find --port tcp/6379', 'hsu find --name python3 --arg worker.py -o json'],

  async run(input, context) {
    const find = findOf(input, context.cwd)
    const client = await context.client()
    const request = { find, exceptPids: context.global.node === undefined ? [context.processes.ownPid] : [] }
    const { processes, method } = await client.findProcess(request, readOptions(context))
    const shapes = processes.map(processShape)
    await context.output.print(shapes, (rows, style) => processTable(rows, context.clock.wallMs(), style))
    if (shapes.length <= 1) return undefined
    const text = `${shapes.length} processes match by ${method}; add --arg, or use --pid-file or --port`
    throw new HsuError('PROCESS_AMBIGUOUS', text, { details: { method } })
  },
}

function processShape(found: Process): ProcessShape {
  const { pid, startedAt, startTime, bootId, user, cpu, processes, args, listens } = found
  return {
    pid,
    startedAt: rfc3339(startedAt),
    identity: `${pid} ${startTime} ${bootId}`,
    user: user === '' ? null : user,
    cpu,
    rssBytes: Number(found.rssBytes),
    treeRssBytes: Number(found.treeRssBytes),
    processes,
    args,
    listens: listens.map(({ protocol, address, port }) => ({ protocol, address, port })),
  }
}

function processTable(rows: readonly ProcessShape[], nowMs: number, style: Style): string {
  const columns: Column<ProcessShape>[] = [
    { title: 'PID', align: 'right', cell: ({ pid }) => String(pid) },
    { title: 'USER', cell: ({ user }) => user ?? '-' },
    { title: 'STARTED', cell: ({ startedAt }) => started(startedAt, nowMs) },
    { title: 'CPU', align: 'right', cell: ({ cpu }) => cpu.toFixed(2) },
    { title: 'RSS', align: 'right', cell: ({ rssBytes }) => formatSizeBytes(rssBytes) },
    {
      title: 'TREE',
      align: 'right',
      cell: ({ treeRssBytes, processes }) => `${formatSizeBytes(treeRssBytes)} (${processes})`,
    },
    { title: 'LISTENS', cell: ({ listens }) => listens.map(portText).join(' ') || '-' },
    { title: 'ARGS', cell: ({ args }) => args.join(' ').replace(/\p{C}/gu, '?') },
  ]
  return table(rows, columns, style)
}

function started(time: string | null, nowMs: number): string {
  const wallMs = time === null ? undefined : parseRfc3339Ms(time)
  return wallMs === undefined ? '-' : ago(wallMs, nowMs)
}

function portText({ protocol, address, port }: ProcessShape['listens'][number]): string {
  return `${protocol}/${address.includes(':') ? `[${address}]` : address}:${port}`
}
