import { readFile } from 'node:fs/promises'
import { isAbsolute, join } from 'node:path'
import { HsuError, systemCode } from '../../base/error.ts'
import type { NodeSetup } from '../../node/index.ts'
import type { Breach, Script, Second } from '../../sim/index.ts'
import type { Command, CommandContext, Input } from '../command.ts'
import { configFiles, FILE_OPTION } from '../config-files.ts'
import { count, durationMs, text } from '../options.ts'
import { secondShape, SecondView } from '../sim-view.ts'

/** The simulator brings the whole node with it. */
type Simulator = typeof import('../../sim/index.ts')

export const simCommand: Command = {
  name: 'sim',
  summary: 'simulate what a configuration does when hosts crash and cables are cut; exits 1 when a rule was broken',
  description: `Runs whole nodes with their units on simulated time, network, processes and disks; nothing on this host is touched.
Prints, second by second, what happened and what changed. The same seed gives the same run; docs/SIM.md has the verbs of scripts.`,
  args: [{ name: 'file', summary: 'the same as -f', required: false, many: true }],
  options: [
    FILE_OPTION,
    {
      flags: '--nodes <names>',
      summary: 'names of the nodes, with commas; NAME=FILE = one with another configuration; default: a,b,c',
    },
    { flags: '--script <file>', summary: 'what happens to them; default: nothing' },
    { flags: '--seed <n>', summary: 'another one gives another run; default: HSU_SEED, else 1' },
    { flags: '--for <duration>', summary: 'how long is simulated; default: as the script says, else 60s' },
  ],
  json: `one object a second: {second, acts: [{at, what}], events: [{at, node, unit, instance, type, reason, details}],
nodes: [{node, state, sees: {NODE: status}, units: [{unit, replica, state, ready}]}], breaches: [{at, node, what}]}
at = seconds since the beginning`,
  examples: ['hsu sim hsu.yaml --nodes a,b,c --script crash.yaml', 'hsu sim --nodes a,b --for 5m --seed 7 -o json'],

  async run(input, context) {
    const sim = await import('../../sim/index.ts')
    const seed = count(input.options, 'seed') ?? Number(context.env['HSU_SEED'] ?? 1)
    const script = await scriptOf(sim, input, context)
    const files = [...input.args, ...configFiles(input)]
    const load = loader(sim, context, files)
    const setups = await load.all(nodesOf(input))
    const reloads = await load.reloads(script)
    const view = new SecondView()
    const { breaches } = await sim.simulate({
      ...{ seed, setups, script, signal: context.signal },
      setupOf: (node, file) => reloads.get(`${node} ${file ?? ''}`) ?? setupNamed(setups, node),
      onSecond: (second: Second) => context.output.line(secondShape(second), (_, style) => view.show(second, style)),
    })
    context.output.note(summary(breaches, seed))
    return breaches.length === 0 ? 0 : 1
  },
}

function summary(breaches: readonly Breach[], seed: number): string {
  if (breaches.length === 0) return `seed ${seed}: no rule was broken`
  const number = `${breaches.length} ${breaches.length === 1 ? 'rule was' : 'rules were'} broken`
  return `${number}; the same command with --seed ${seed} shows it again`
}

async function scriptOf(sim: Simulator, { options }: Input, { cwd }: CommandContext): Promise<Script> {
  const path = text(options, 'script')
  const script = path === undefined ? sim.parseScript('version: 1', '') : sim.parseScript(await read(cwd, path), path)
  return { ...script, forMs: durationMs(options, 'for') ?? script.forMs }
}

async function read(cwd: string, path: string): Promise<string> {
  try {
    return await readFile(isAbsolute(path) ? path : join(cwd, path), 'utf8')
  } catch (cause) {
    const why = systemCode(cause) === 'ENOENT' ? 'there is no such file' : String(cause)
    throw new HsuError('USAGE', `${path}: ${why}`, { cause })
  }
}

interface NamedNode {
  readonly name: string
  /** Its own configuration; undefined: that of all. */
  readonly file: string | undefined
}

const NODE_NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/

function nodesOf({ options }: Input): readonly NamedNode[] {
  const nodes = (text(options, 'nodes') ?? 'a,b,c').split(',').map((each) => {
    const [name = '', file] = each.trim().split('=')
    if (NODE_NAME.test(name)) return { name, file }
    throw new HsuError('USAGE', `--nodes: '${each}' is not the name of a node`)
  })
  const names = nodes.map(({ name }) => name)
  const twice = names.find((name, at) => names.indexOf(name) !== at)
  if (twice !== undefined) throw new HsuError('USAGE', `--nodes: '${twice}' is there twice`)
  return nodes
}

/** Reads all configurations before anything is simulated. What is not simulated is said once. */
function loader(sim: Simulator, { cwd, env, output }: CommandContext, files: readonly string[]) {
  const said = new Set<string>()
  const load = async ({ name, file }: NamedNode): Promise<NodeSetup> => {
    const sources = {
      files: file === undefined ? files : [file],
      cwd,
      env,
      readFile: (path: string) => readFile(path, 'utf8'),
    }
    const { setup, notes } = await sim.simSetup(sources, name)
    for (const note of notes.filter((each) => !said.has(each))) output.note(note)
    for (const note of notes) said.add(note)
    return setup
  }
  return {
    all: (nodes: readonly NamedNode[]) => Promise.all(nodes.map(load)),
    async reloads(script: Script): Promise<ReadonlyMap<string, NodeSetup>> {
      const asked = script.steps.flatMap(({ what }) => (what.act === 'reload' && what.file !== undefined ? [what] : []))
      const loaded = asked.map(
        async ({ node, file = '' }) => [`${node} ${file}`, await load({ name: node, file })] as const,
      )
      return new Map(await Promise.all(loaded))
    },
  }
}

function setupNamed(setups: readonly NodeSetup[], node: string): NodeSetup {
  const setup = setups.find(({ name }) => name === node)
  if (setup !== undefined) return setup
  throw new HsuError('NODE_NOT_FOUND', `no simulated node '${node}'`, { details: { node } })
}
