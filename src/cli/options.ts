import { HsuError } from '../base/error.ts'
import { parseDurationMs } from '../base/quantity.ts'
import { parseRfc3339Ms } from '../base/system-date.ts'
import type { Input } from './command.ts'

type Options = Input['options']

/** Whether a switch was given. */
export function flag(options: Options, name: string): boolean {
  return options[name] === true
}

/** The value of an option; undefined when it was not given. */
export function text(options: Options, name: string): string | undefined {
  const value = options[name]
  return typeof value === 'string' ? value : undefined
}

/** All values of an option that may be repeated. */
export function list(options: Options, name: string): readonly string[] {
  const value = options[name]
  return Array.isArray(value) ? (value as readonly string[]) : []
}

/** A whole number of at least 0. @throws HsuError USAGE */
export function count(options: Options, name: string): number | undefined {
  const value = text(options, name)
  return value === undefined ? undefined : parseCount(value, `--${kebab(name)}`)
}

/** A whole number of at least 0 and at most 2^31 - 1. @throws HsuError USAGE naming `what` */
export function parseCount(value: string, what: string): number {
  const parsed = Number(value)
  if (/^\d+$/.test(value) && parsed <= 2_147_483_647) return parsed
  throw new HsuError('USAGE', `${what}: '${value}' is not a whole number`)
}

/** A duration such as `10s`. @throws HsuError USAGE */
export function durationMs(options: Options, name: string): number | undefined {
  const value = text(options, name)
  if (value === undefined) return undefined
  const parsed = parseDurationMs(value)
  if (parsed !== undefined) return parsed
  throw new HsuError('USAGE', `--${kebab(name)}: '${value}' is not a duration; write a number and a unit, such as 10s`)
}

/** A moment: a duration before `nowMs`, or an RFC 3339 time. Milliseconds since the epoch. @throws HsuError USAGE */
export function momentMs(options: Options, name: string, nowMs: number): number | undefined {
  const value = text(options, name)
  if (value === undefined) return undefined
  const ageMs = parseDurationMs(value)
  if (ageMs !== undefined) return nowMs - ageMs
  const wallMs = /^\d{4}-\d\d-\d\d/.test(value) ? parseRfc3339Ms(value) : undefined
  if (wallMs !== undefined) return wallMs
  throw new HsuError(
    'USAGE',
    `--${kebab(name)}: '${value}' is neither a duration, such as 5m, nor a time, such as 2025-01-31T12:00:00Z`,
  )
}

/** `NAME=value` pairs of an option that may be repeated. @throws HsuError USAGE */
export function pairs(options: Options, name: string): Record<string, string> {
  return Object.fromEntries(list(options, name).map((pair) => splitPair(pair, `--${kebab(name)}`)))
}

/** Cuts `NAME=value` at its first equals sign. @throws HsuError USAGE */
export function splitPair(pair: string, what: string): [name: string, value: string] {
  const at = pair.indexOf('=')
  if (at > 0) return [pair.slice(0, at), pair.slice(at + 1)]
  throw new HsuError('USAGE', `${what}: '${pair}' is not of the form NAME=value`)
}

function kebab(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
}
