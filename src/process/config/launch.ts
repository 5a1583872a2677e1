import * as z from 'zod'
import { text } from '../../base/schema.ts'
import { splitCommand } from '../command-line.ts'

const commandLine = z
  .string()
  .regex(/\S/, 'must not be empty')
  .transform((line) => splitCommand(line))

/** What is run: argv, never a shell. */
export const command = z
  .union([z.array(text).min(1), commandLine])
  .describe('Program and arguments. A list is taken as it is; a string is split as a shell would, without a shell')

export const environment = z
  .union([
    z.record(z.string().regex(/^[^=]+$/, 'must be a name without ='), text),
    z
      .array(z.string().regex(/^[^=]+=/, 'must be NAME=value'))
      .transform((entries) => Object.fromEntries(entries.map(splitEntry))),
  ])
  .describe('Environment of the unit, as a map or as a list of NAME=value')

function splitEntry(entry: string): [name: string, value: string] {
  const at = entry.indexOf('=')
  return [entry.slice(0, at), entry.slice(at + 1)]
}

export const port = z.int().min(1).max(65_535)
