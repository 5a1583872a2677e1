import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { HsuError, messageOf } from '../../base/error.ts'
import type { CallOptions } from '../../rpc/index.ts'
import type { Command, CommandContext, Input } from '../command.ts'
import { type ControlClient, localOptions, type ServiceEntry } from '../control.ts'
import { pairs, text } from '../options.ts'
import { readAll } from '../stdin.ts'
import { parseUnitName } from '../target.ts'

export const callCommand: Command = {
  name: 'call',
  summary: 'call any gRPC method of any unit, through the node on this host',
  description:
    'The messages are described by the server reflection of the unit, or by --descriptor. ' +
    'A method that takes a stream gets the elements of a JSON array, or one JSON object a line. ' +
    'With --node, only instances on that node are called.',
  args: [
    { name: 'method', summary: 'SERVICE/METHOD, such as shop.v1.Orders/Get', required: true },
    { name: 'json', summary: 'the request; - reads it from stdin; default: an empty one', required: false },
  ],
  options: [
    { flags: '--metadata <k=v>', summary: 'metadata to send along; may be repeated', many: true },
    { flags: '--unit <unit>', summary: 'call only this unit, or unit@node' },
    { flags: '--descriptor <file>', summary: 'FileDescriptorSet that describes the method, instead of reflection' },
  ],
  json: 'the response message as proto3 JSON, one a line for streams; without -o json the same',
  examples: [
    `hsu call echo.v1.EchoService/Echo '{"message":"hi"}'`,
    'hsu call shop.v1.Orders/Upload - --metadata tenant=a --timeout 5s < orders.json',
  ],

  async run(input, context) {
    const [method = ''] = input.args
    const client = await context.client()
    const { ingress } = await client.getNode({}, localOptions(context))
    const { unit, node } = wantedOf(input, context)
    const descriptor = text(input.options, 'descriptor')
    const descriptors = descriptor === undefined ? undefined : await readBytes(resolve(context.cwd, descriptor))
    const describedBy = unit ?? (descriptors === undefined ? await offering(method, client, context, node) : undefined)
    const json = await requestOf(input, context)
    const caller = await context.dial(ingress, descriptors)
    try {
      for await (const answer of caller.call(method, json, optionsOf(input, { unit, node }, context), describedBy)) {
        await context.output.line(answer, (value) => JSON.stringify(value))
      }
      return undefined
    } catch (error) {
      return report(method, error, context)
    }
  },
}

/** Whom the caller wants: anybody who offers the service, unless `--unit` or `--node` narrow it. */
interface Wanted {
  readonly unit: string | undefined
  readonly node: string | undefined
}

function wantedOf({ options }: Input, { global }: CommandContext): Wanted {
  const named = text(options, 'unit')
  return named === undefined ? { unit: undefined, node: global.node } : parseUnitName(named, global.node)
}

/** An error of the unit's own is its answer, not a failure of HSU: exit 1, whatever status it has. */
function report(method: string, error: unknown, context: CommandContext): number {
  const ofUnit = error instanceof HsuError && typeof error.details['code'] === 'string'
  if (!ofUnit || error.reason === 'TIMED_OUT' || error.reason === 'CANCELLED') throw error
  context.output.note(`hsu: ${method} failed: ${error.message.replace(/\s*\n\s*/g, '; ')}`)
  return 1
}

/** A unit that offers the method's service. @throws HsuError SERVICE_NOT_FOUND naming what is offered */
async function offering(
  method: string,
  client: ControlClient,
  context: CommandContext,
  node: string | undefined,
): Promise<string | undefined> {
  const service = method.replace(/^\//, '').split('/')[0] ?? ''
  const { services } = await client.listServices({}, localOptions(context))
  const found = services.find((entry) => entry.service === service)
  if (found !== undefined) return readyFirst(found, node) ?? notThere(found, node ?? '')
  const known = services.map((entry) => entry.service).join(', ')
  throw new HsuError('SERVICE_NOT_FOUND', `no unit offers '${service}'; offered: ${known === '' ? 'nothing' : known}`, {
    details: { service, known },
  })
}

function readyFirst({ endpoints }: ServiceEntry, wantedNode: string | undefined): string | undefined {
  const near = endpoints.filter(({ node }) => wantedNode === undefined || node === wantedNode)
  return (near.find(({ ready }) => ready) ?? near[0])?.unit
}

/** @throws HsuError SERVICE_NOT_FOUND naming the nodes that offer it */
function notThere({ service, endpoints }: ServiceEntry, node: string): never {
  const nodes = [...new Set(endpoints.map((endpoint) => endpoint.node))].join(', ')
  throw new HsuError('SERVICE_NOT_FOUND', `no unit on a node '${node}' offers '${service}'; offered on: ${nodes}`, {
    details: { service, node },
  })
}

async function requestOf({ args: [, json = ''] }: Input, { stdin }: CommandContext): Promise<string> {
  return json === '-' ? readAll(stdin) : json
}

function optionsOf({ options }: Input, { unit, node }: Wanted, { global, signal }: CommandContext): CallOptions {
  const metadata = {
    ...pairs(options, 'metadata'),
    ...(unit === undefined ? {} : { 'hsu-unit': unit }),
    ...(node === undefined ? {} : { 'hsu-node': node }),
  }
  return { signal, metadata, ...(global.timeoutMs === undefined ? {} : { timeoutMs: global.timeoutMs }) }
}

async function readBytes(path: string): Promise<Uint8Array> {
  return readFile(path).catch((error: unknown) => {
    throw new HsuError('USAGE', `--descriptor: cannot read ${path}: ${messageOf(error)}`, { cause: error })
  })
}
