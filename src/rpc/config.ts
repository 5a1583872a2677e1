import * as z from 'zod'
import { STATUS_NAMES } from './router/call-metrics.ts'
import { type DeepReadonly, duration, durationRange, percentage } from '../base/schema.ts'

const METHOD = /^[A-Za-z_][A-Za-z0-9_.]*\/([A-Za-z_][A-Za-z0-9_]*|\*)$/

/** Metadata keys by which one canary is asked for. */
const MAX_CANARY_HEADERS = 8

const METADATA_KEY = /^[a-z0-9_.-]+$/

const retries = z.int().min(0).max(5)

const hedging = z.strictObject({
  attempts: z.int().min(2).max(5).default(2).describe('Instances that get the call, at most'),
  delay: duration.prefault('50ms').describe('When no answer has come in this time, the next instance gets it too'),
  non_fatal: z
    .array(z.enum(STATUS_NAMES))
    .default(['UNAVAILABLE'])
    .describe('Statuses after which the next instance is asked at once, and the others go on'),
})

const methodShape = z.strictObject({
  idempotent: z
    .boolean()
    .default(false)
    .describe('A call that a unit may have seen can be sent again: after UNAVAILABLE, or when its connection broke'),
  retries: retries.optional().describe('Instead of those of the route'),
  timeout: duration.optional().describe('Instead of that of the route'),
  hedging: hedging
    .optional()
    .describe('Sends a call to several instances, one after the other, and takes the first answer; only if idempotent'),
})

const method = methodShape.superRefine(({ idempotent, hedging, retries }, context) => {
  const report = (message: string): void => context.addIssue({ code: 'custom', message, path: ['hedging'] })
  if (hedging !== undefined && !idempotent) report('is only for methods with idempotent: true')
  if (hedging !== undefined && retries !== undefined) report('and retries exclude each other')
})

const ejection = z.strictObject({
  failures: z
    .int()
    .min(1)
    .max(1_000)
    .default(5)
    .describe('Calls in a row that end with UNAVAILABLE or with a broken connection'),
  time: durationRange
    .prefault('1s..60s')
    .describe(
      'How long it gets no calls: the first time, and at most; twice as long each time it fails its trial call',
    ),
  max_share: percentage
    .prefault('50%')
    .describe('Of the instances that are ready, so many may be out for answering badly; the rest stays in'),
})

const limits = z.strictObject({
  concurrency: z
    .int()
    .min(1)
    .max(1_000_000)
    .optional()
    .describe('Calls under way at once, on each node that runs the unit. Default: no limit'),
  rate: z
    .number()
    .positive()
    .max(10_000_000)
    .optional()
    .describe('Calls a second, on each node that runs the unit. Default: no limit'),
  burst: z
    .int()
    .min(1)
    .max(10_000_000)
    .optional()
    .describe('Calls beyond the rate that may come at once. Default: those of a second'),
})

const retryBudget = z.strictObject({
  ratio: percentage.prefault('20%').describe('Retries for each call, over ten seconds'),
  min_per_second: z.number().min(0).max(10_000).default(10).describe('Retries that are allowed in any case'),
})

const canary = z.strictObject({
  share: percentage
    .prefault('0%')
    .describe(
      'Of the calls to its services that are not asked for by headers; the rest goes to the units without canary',
    ),
  headers: z
    .record(
      z.string().regex(METADATA_KEY, 'must be a metadata key, in lower case, such as x-canary'),
      z.string().regex(/^[ -~]{1,256}$/, 'must be 1 to 256 printable ASCII characters'),
    )
    .refine((headers) => Object.keys(headers).length <= MAX_CANARY_HEADERS, `has more than ${MAX_CANARY_HEADERS} keys`)
    .default({})
    .describe('Calls with all of this metadata go to it; by key and value, such as x-canary: "1"'),
})

/** The keys of a unit's `route`: how calls are spread over its instances, and what becomes of those that fail. */
const routeShape = {
  policy: z
    .enum(['least-request', 'round-robin', 'consistent-hash'])
    .default('least-request')
    .describe(
      'least-request = of two instances taken at random, the one with fewer calls in flight; round-robin = in turn; consistent-hash = calls of equal hash_on to the same instance',
    ),
  hash_on: z
    .string()
    .regex(METADATA_KEY, 'must be a metadata key, in lower case, such as x-user-id')
    .optional()
    .describe(
      'Metadata key whose value chooses the instance; for consistent-hash. A call without it goes by least-request',
    ),
  prefer: z
    .enum(['host', 'none'])
    .default('host')
    .describe('host = instances on the host of the caller first; none = all are equal'),
  spill_over: z
    .int()
    .min(1)
    .max(100_000)
    .default(100)
    .describe(
      'Calls in flight to an instance of this host beyond which those of other hosts take part; for prefer: host',
    ),
  canary: canary
    .optional()
    .describe(
      'Makes it a canary of the units that offer the same services: it gets a share of their calls, and those that ask for it. Told to all nodes',
    ),
  retries: retries
    .default(2)
    .describe('How many more instances are tried when a call failed and may be sent again; 0 = none'),
  retry_budget: retryBudget.prefault({}).describe('Keeps retries from making an overload worse'),
  timeout: duration.optional().describe('Time a call may take when its caller sets no deadline. Default: no limit'),
  hold: duration
    .optional()
    .describe(
      'How long a call waits for the unit while that starts or is restarted; 0s = it fails at once. Default: idle.hold, 10s',
    ),
  ejection: ejection
    .optional()
    .describe(
      'Which instances get no calls for a while. Default: 5 failures, 1s..60s, 50%; clients that call directly (xDS) only eject when it is written',
    ),
  limits: limits.prefault({}).describe('What is more is answered with RESOURCE_EXHAUSTED and the time to wait'),
  methods: z
    .record(z.string().regex(METHOD, 'must be SERVICE/METHOD, such as shop.v1.Orders/Get, or SERVICE/*'), method)
    .default({})
    .describe('Other terms for single methods, by SERVICE/METHOD or SERVICE/*'),
} as const

export const routeSchema = z.strictObject(routeShape).superRefine(({ policy, hash_on }, context) => {
  const report = (message: string): void => context.addIssue({ code: 'custom', message, path: ['hash_on'] })
  if (policy === 'consistent-hash' && hash_on === undefined) report('is required for policy: consistent-hash')
  if (policy !== 'consistent-hash' && hash_on !== undefined) report('is only for policy: consistent-hash')
})

/** How calls to one unit are routed; times in ms. */
export type RouteConfig = DeepReadonly<z.output<typeof routeSchema>>
export type HedgingConfig = NonNullable<RouteConfig['methods'][string]['hedging']>
export type EjectionConfig = NonNullable<RouteConfig['ejection']>
