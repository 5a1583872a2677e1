import * as z from 'zod'
import { type DeepReadonly, duration, percentage, size, text } from '../../base/schema.ts'
import { MeshConfig } from '../../mesh/index.ts'
import { UNIT_NAME, unitShape } from '../../process/index.ts'
import { partition } from '../partition/config.ts'
import { listenSchema, routeSchema } from '../../rpc/index.ts'

/** Node names appear in `unit@node`, in metadata and in file names. */
const NODE_NAME = /^[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$/

const address = z
  .string()
  .regex(/^(\[[0-9a-fA-F:.]+\]|[^\s:[\]]+):\d{1,5}$/, {
    error: 'must be HOST:PORT, such as 127.0.0.1:9470',
    abort: true,
  })
  .refine((value) => Number(/\d+$/.exec(value)?.[0]) <= 65_535, 'the port must be at most 65535')

const listen = z.strictObject({
  ingress: address.default('127.0.0.1:9470').describe('Where gRPC clients of this host call any service of the mesh'),
  mesh: address.default('0.0.0.0:9471').describe('Where other nodes find this one'),
  link: address.default('0.0.0.0:9472').describe('Where calls and commands of other nodes arrive, over mutual TLS'),
  admin: z
    .union([z.literal('off'), address])
    .default('127.0.0.1:9473')
    .describe('Where monitoring reads /metrics (Prometheus) and /healthz, over plain HTTP; off = nowhere'),
  xds: z
    .union([z.literal('off'), address])
    .default('127.0.0.1:9474')
    .describe(
      'Where gRPC clients that cannot use the unix socket ask where services are (xDS), over plain HTTP/2; off = only the socket',
    ),
})

const node = z.strictObject({
  name: z
    .string()
    .regex(NODE_NAME, 'must be 1 to 63 letters, digits, dots, - or _, with a letter or digit at both ends')
    .optional()
    .describe("Name of this node in the mesh. Default: the host's name"),
  labels: z
    .record(z.string().min(1), text)
    .default({})
    .describe('Facts about this host; os, arch and hostname are always there'),
  data_dir: z
    .string()
    .min(1)
    .optional()
    .describe(
      'Directory of everything the node keeps. Default: /var/lib/hsu for root, else the state directory of the user',
    ),
  listen: listen
    .prefault({})
    .describe('HOST:PORT of each door; port 0 = a free one. A busy port is replaced by a free one, which is announced'),
  events: z
    .strictObject({
      max_size: size.prefault('16MiB').describe('Bytes on disk; the oldest go first'),
      max_age: duration.prefault('30d').describe('Older ones are removed'),
    })
    .prefault({})
    .describe('How much is kept of what happened, for `hsu events` and `hsu why`'),
  access_log: z
    .strictObject({
      to: z
        .string()
        .min(1)
        .default('off')
        .describe('File, relative to this one, or stdout; one JSON object a line for each call that is over'),
      sample: percentage.prefault('100%').describe('Of the calls that end with OK; all others are logged'),
      max_size: size.prefault('64MiB').describe('A file that would be larger is put aside'),
      keep: z.int().min(1).max(100).default(5).describe('Files that were put aside and are kept'),
    })
    .prefault({})
    .describe('A log of the calls through this node'),
  traces: z
    .strictObject({
      otlp: z
        .url({ protocol: /^https?$/, error: 'must be a http or https URL, such as http://127.0.0.1:4318' })
        .refine((url) => !/^https?:\/\/[^/?#]*@/i.test(url), 'must not hold a password: write it into headers')
        .describe('OpenTelemetry collector, spoken to as OTLP/HTTP with JSON; /v1/traces is added'),
      headers: z
        .record(z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'must be the name of an HTTP header'), text)
        .default({})
        .describe('HTTP headers, such as authorization'),
    })
    .optional()
    .describe('Where a span is sent for each call whose traceparent asks for that. Default: nowhere'),
  log_level: z.enum(['debug', 'info', 'warn', 'error']).default('info').describe("Least level of the node's own log"),
})

const SERVICE_NAME = /^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$/

const reference = z
  .union([
    z.string().min(1),
    z.strictObject({
      file: z
        .string()
        .min(1)
        .optional()
        .describe('File of the other unit, relative to this file; default: this configuration'),
      unit: z.string().min(1).describe('Name of the other unit'),
    }),
  ])
  .describe('Another unit whose keys this one takes over; its own keys win')

const unit = z.strictObject({
  extends: reference.optional(),
  ...unitShape,
  services: z
    .array(z.string().regex(SERVICE_NAME, 'must be a full gRPC service name, such as shop.v1.Orders'))
    .optional()
    .describe('Full names of the gRPC services it offers; else it is asked by server reflection'),
  version: z
    .string()
    .regex(/^[!-~]{1,100}$/, 'must be 1 to 100 printable ASCII characters without blanks')
    .optional()
    .describe('What it is a version of; the metadata hsu-version of a call asks for it'),
  route: routeSchema
    .prefault({})
    .describe(
      'How calls are spread over its instances, and what becomes of those that fail. Nodes without the unit in their file use the defaults, but for limits and timeout',
    ),
  listen: listenSchema
    .default({})
    .describe(
      'Where the node takes TCP connections for it and passes them on, by the name of its port: a port of 127.0.0.1, or HOST:PORT. They wait while it starts, and start it when it is started by calls',
    ),
  partition: partition.describe(
    'What becomes of it when nodes cannot reach each other: keep = it runs on; or a map, see docs/MESH.md',
  ),
  expose: z
    .enum(['private', 'lan'])
    .default('private')
    .describe('private = reachable through nodes only; lan = listens on the LAN. lan: not in this version'),
})

/** The keys of the whole file. Each floor owns the schema of its part. */
export const fileSchema = z.strictObject({
  version: z.literal(1).describe('Version of the form of this file; always 1'),
  node: node.prefault({}).describe('This host; every key is optional'),
  mesh: MeshConfig.optional().describe('The mesh this node belongs to; without it the host is alone'),
  units: z
    .record(z.string().regex(UNIT_NAME, 'must be 1 to 63 lower case letters, digits and -'), unit)
    .default({})
    .describe('What runs on this host, by name'),
})

/** The schema of one unit, for looking at a unit by itself. */
export const unitSchema = unit

/** A unit of the file, as the floors take it: durations in ms, sizes in bytes. */
export type NodeUnitConfig = DeepReadonly<Omit<z.output<typeof unit>, 'extends'>>

type ParsedFile = z.output<typeof fileSchema>

/** The whole configuration of a node, with all defaults; never changed after it was made. */
export interface NodeFileConfig {
  readonly version: 1
  readonly node: DeepReadonly<ParsedFile['node']> & { readonly name: string }
  readonly mesh: DeepReadonly<ParsedFile['mesh']>
  readonly units: Readonly<Record<string, NodeUnitConfig>>
}
