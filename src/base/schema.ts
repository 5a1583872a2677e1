import * as z from 'zod'
import { parseDurationMs, parseSizeBytes } from './quantity.ts'

/** A value that is never changed after it was made, all the way down. */
export type DeepReadonly<T> = T extends readonly (infer Item)[]
  ? readonly DeepReadonly<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: DeepReadonly<T[Key]> }
    : T

/** Text; a number or true/false is taken as it is written, so that `["sleep", 60]` and `DEBUG: 1` need no quotes. */
export const text = z
  .union([z.string(), z.number(), z.boolean()])
  .transform(String)
  .meta({ id: 'text', title: 'text', description: 'Text; a number or true/false is taken as it is written' })

/** `"250ms"`, `"10s"`, `"5m"`, `"1h"`, `"7d"` in the file; milliseconds in code. */
export const duration = z
  .string()
  .transform((text, context) =>
    parsed(
      parseDurationMs(text),
      context,
      `'${text}' is not a duration; write a number and a unit, such as "250ms", "10s", "5m", "1h" or "7d"`,
    ),
  )
  .meta({
    id: 'duration',
    title: 'a duration, such as "10s"',
    description: 'A number and a unit: 250ms, 10s, 5m, 1h, 7d',
    pattern: '^\\d+(\\.\\d+)?(ms|s|m|h|d)$',
  })

/** `"64MiB"`, `"10MB"` in the file; bytes in code. */
export const size = z
  .string()
  .transform((text, context) =>
    parsed(
      parseSizeBytes(text),
      context,
      `'${text}' is not a size; write a number and a unit, such as "64MiB" or "10MB"`,
    ),
  )
  .meta({
    id: 'size',
    title: 'a size, such as "64MiB"',
    description: 'A number and a unit: 512B, 10MB, 64MiB, 1GiB',
    pattern: '^\\d+(\\.\\d+)?([kMGT]?B|[KMGT]iB)$',
  })

/** `"20%"` in the file; 0.2 in code. */
export const percentage = z
  .string()
  .regex(/^\d+(\.\d+)?%$/, 'must be a percentage, such as "20%"')
  .transform((text) => Number.parseFloat(text) / 100)
  .meta({ id: 'percentage', title: 'a percentage, such as "20%"', description: 'A number and a percent sign: 20%' })

/** `"500ms..60s"` in the file; both ends in milliseconds in code. */
export const durationRange = z
  .string()
  .transform((text, context) => {
    const [low = '', high = '', ...rest] = text.split('..')
    const minMs = parseDurationMs(low)
    const maxMs = parseDurationMs(high)
    const valid = rest.length === 0 && minMs !== undefined && maxMs !== undefined && minMs <= maxMs
    const fault = `'${text}' is not a range of durations; write the smaller, two dots, the larger, such as "500ms..60s"`
    return parsed(valid ? { minMs, maxMs } : undefined, context, fault)
  })
  .meta({
    id: 'range of durations',
    title: 'a range of durations, such as "500ms..60s"',
    description: 'Two durations with two dots between, the smaller first: 500ms..60s',
  })

function parsed<T>(value: T | undefined, context: z.RefinementCtx, message: string): T {
  if (value !== undefined) return value
  context.addIssue({ code: 'custom', message })
  return z.NEVER
}
