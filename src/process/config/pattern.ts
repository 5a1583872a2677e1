import * as z from 'zod'

/** Longest regular expression that is taken, as for `hsu logs -g`. */
const MAX_PATTERN_CHARS = 1_000

/** What is filled in later; a digit stands in for it while the expression is judged. */
const TEMPLATE = /\{[a-z_]+(?:\.[A-Za-z0-9_-]+)?\}/g

/** A regular expression that a line of output is held against, as text: templates in it are filled in before it is used. */
export const linePattern = z
  .string()
  .min(1, 'must not be empty: every line would match')
  .max(MAX_PATTERN_CHARS, `must be at most ${MAX_PATTERN_CHARS} characters`)
  .superRefine((source, context) => {
    try {
      new RegExp(source.replace(TEMPLATE, '0'), 'u')
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error)
      context.addIssue({ code: 'custom', message: `is not a regular expression: ${why}` })
    }
  })
