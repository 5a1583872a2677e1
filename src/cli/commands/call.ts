import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import { HsuError, messageOf } from '../../base/error.ts'
import type { CallOptions } from '../../rpc/index.ts'
import type { Command, CommandContext, Input } from '../command.ts'
import { type ControlClient, localOptions, type ServiceEntry } from '../control.ts'
import { pairs, text } from '../options.ts'
import { readAll } from '../stdin.ts'

export const callCommand: Command = {
  name: 'call',
  summary: 'call any gRPC method of any unit, through the node on this host',
  description:
    'The messages are described by the server reflection of the unit, or by --descriptor. ' +
    'A method that takes a stream gets the elements of a JSON array, or one JSON object after the other. ' +
    'With --node, only instances on that node are called.',
  args: [
    { name: 'method', summary: 'SERVICE/METHOD, such as shop.v1.Orders/Get', required: true },
    { name: 'json', summary: 'the request; - reads it from stdin; default: an empty one', required: false },
  ],
  options: [
    { flags: '--metadata <k=v>', summary: 'metadata to send along; may be repeated', many: true },
    { flags: '--unit <unit>', summary: 'call only this unit' },
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
    const unit = text(input.options, 'unit')
    const descriptor = text(input.options, 'descriptor')
    const descriptors = descriptor === undefined ? undefined : await readBytes(resolve(context.cwd, descriptor))
    const describedBy = unit ?? (descriptors === undefined ? await offering(method, client, context) : undefined)
    const json = await requestOf(input, context)
    const caller = await context.dial(ingress, descriptors)
    try {
      for await (const answer of caller.call(method, json, optionsOf(input, unit, context), describedBy)) {
        await context.output.line(answer, (value) => JSON.stringify(value))
      }
      return undefined
    } catch (error) {
      return report(method, error, context)
    }
  },
}

/** An error of the unit's own is its answer, not a failure of HSU: exit 1, whatever status it has. */
function report(method: string, error: unknown, context: CommandContext): number {
  const ofUnit = error instanceof HsuError && typeof error.details['code'] === 'string'
  if (!ofUnit || error.reason === 'TIMED_OUT' || error.reason === 'CANCELLED') throw error
  context.output.note(`hsu: ${method} failed: ${error.message.replace(/\s*\n\s*/g, '; ')}`)
  return 1
}

/** A unit that offers the method's service. @throws HsuError SERVICE_NOT_FOUND naming what is offered */
async function offering(method: string, client: ControlClient, context: CommandContext): Promise<string | undefined> {
  const service = method.replace(/^\//, '').split('/')[0] ?? ''
  const { services } = await client.listServices({}, localOptions(context))
  const found = services.find((entry) => entry.service === service)
  if (found !== undefined) return readyFirst(found, context.global.node)
  const known = services.map((entry) => entry.service).join(', ')
  throw new HsuError('SERVICE_NOT_FOUND', `no unit offers '${service}'; offered: ${known === '' ? 'nothing' : known}`, {
    details: { service, known },
  })
}

function readyFirst({ endpoints }: ServiceEntry, wantedNode: string | undefined): string | undefined {
  const near = endpoints.filter(({ node }) => wantedNode === undefined || node === wantedNode)
  return (near.find(({ ready }) => ready) ?? near[0])?.unit
}

async function requestOf({ args: [, json = ''] }: Input, { stdin }: CommandContext): Promise<string> {
  return json === '-' ? readAll(stdin) : json
}

function optionsOf({ options }: Input, unit: string | undefined, { global, signal }: CommandContext): CallOptions {
  const metadata = {
    ...pairs(options, 'metadata'),
    ...(unit === undefined ? {} : { 'hsu-unit': unit }),
    ...(global.node === undefined ? {} : { 'hsu-node': global.node }),
  }
  return { signal, metadata, ...(global.timeoutMs === undefined ? {} : { timeoutMs: global.timeoutMs }) }
}

async function readBytes(path: string): Promise<Uint8Array> {
  return readFile(path).catch((error: unknown) => {
    throw new HsuError('USAGE', `--descriptor: cannot read ${path}: ${messageOf(error)}`, { cause: error })
  })
}
