import * as z from 'zod'
import { duration } from '../../base/schema.ts'
import { linePattern } from './pattern.ts'

const dependency = z
  .strictObject({
    condition: z
      .enum(['started', 'healthy', 'completed', 'log'])
      .default('healthy')
      .describe('What the other unit must be; log = an instance of it that runs has written the line'),
    line: linePattern.optional().describe('For condition: log, a regular expression that a line must match'),
    scope: z
      .enum(['node', 'mesh'])
      .default('node')
      .describe('Where the other unit may run: mesh = on this node or any other'),
    timeout: duration
      .prefault('60s')
      .describe('How long to wait before it is reported as late; it is still waited for'),
    on_fail: z
      .enum(['keep', 'stop', 'restart'])
      .default('keep')
      .describe(
        'When it no longer is what it must be: keep = run on; stop = be stopped until it is again; restart = be restarted when it is again',
      ),
  })
  .superRefine(({ condition, line, scope, on_fail }, context) => {
    const fault = (path: string, message: string): void => context.addIssue({ code: 'custom', path: [path], message })
    if (condition === 'log') {
      if (line === undefined) fault('condition', 'log needs to know the line; add line: "ready to accept"')
      if (scope === 'mesh') fault('condition', 'log is for a unit of this node; use healthy with scope: mesh')
    } else if (line !== undefined) fault('line', 'is for condition: log')
    if (condition === 'completed' && on_fail !== 'keep')
      fault('on_fail', 'has no meaning for a unit that has completed: it does not fail afterwards; remove it')
  })

export const dependencies = z.union([
  z.record(z.string(), dependency),
  z.array(z.string()).transform((names) => Object.fromEntries(names.map((name) => [name, dependency.parse({})]))),
])
