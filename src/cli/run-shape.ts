import { type Run, rfc3339 } from './control.ts'
import { type ExitShape, exitShape } from './shapes.ts'

/** An element of `hsu runs -o json`, and the outcome that `hsu run -o json` prints. */
export interface RunShape {
  readonly run: string
  readonly unit: string
  readonly node: string
  readonly instance: string
  readonly state: string
  readonly cause: string
  readonly actor: string
  readonly args: readonly string[]
  readonly tick: string | null
  readonly startedAt: string | null
  readonly endedAt: string | null
  readonly durationMs: number | null
  readonly attempts: number
  readonly exit: ExitShape
  readonly reason: string
}

export function runShape(run: Run): RunShape {
  const { startedAt, endedAt } = run
  return {
    run: run.run,
    unit: run.unit,
    node: run.node,
    instance: run.instance,
    state: run.state,
    cause: run.cause,
    actor: run.actor,
    args: run.args,
    tick: rfc3339(run.tick),
    startedAt: rfc3339(startedAt),
    endedAt: rfc3339(endedAt),
    durationMs: startedAt === undefined || endedAt === undefined ? null : msOf(endedAt) - msOf(startedAt),
    attempts: run.attempts,
    exit: exitShape(run.exit),
    reason: run.reason,
  }
}

function msOf({ seconds, nanos }: { readonly seconds: bigint; readonly nanos: number }): number {
  return Number(seconds) * 1_000 + Math.floor(nanos / 1e6)
}
