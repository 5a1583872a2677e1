import * as z from 'zod'
import { type DeepReadonly, duration } from '../../base/schema.ts'

const terms = z.strictObject({
  stop_after: duration
    .optional()
    .describe('Time on the smaller side of a partition after which it is stopped, until that is over'),
  replace_after: duration
    .optional()
    .describe('One of the nodes that have the unit runs it; another one does when that is missing for so long'),
  order: z
    .array(z.string().min(1))
    .max(1_000)
    .default([])
    .describe('Names of nodes, the preferred first: who runs it, who replaces. Others follow by name'),
})

/** What becomes of a unit when nodes cannot reach each other. */
export const partition = z
  .union([z.literal('keep'), terms])
  .superRefine((policy, context) => {
    if (policy === 'keep') return
    const { stop_after, replace_after, order } = policy
    const report = (message: string, ...path: string[]): void => context.addIssue({ code: 'custom', message, path })
    if (stop_after === undefined && replace_after === undefined)
      report('needs stop_after or replace_after; or write keep')
    if (stop_after !== undefined && replace_after !== undefined && replace_after <= stop_after)
      report('must be longer than stop_after: until then it may run on the other side', 'replace_after')
    if (order.length > 0 && replace_after === undefined) report('is only for replace_after', 'order')
  })
  .default('keep')

/** `keep`, or what else is done and when; times in ms. */
export type PartitionPolicy = DeepReadonly<z.output<typeof partition>>
