import * as z from 'zod'
import type { Clock } from '../base/clock.ts'
import { HsuError } from '../base/error.ts'
import type { Log } from '../base/log.ts'
import { readJson, type Store, writeJson } from '../base/store.ts'
import {
  type Asker,
  type FindConfig,
  type Supervisor,
  theOnly,
  UNIT_NAME,
  type UnitSpec,
  unitShape,
} from '../process/index.ts'

/** What is attached at run time. */
export interface Attachment {
  readonly unit: string
  readonly find: FindConfig
  readonly allowSignal: boolean
}

/** The unmanaged units that people attached to this node. They are kept until they are detached, over restarts. */
export interface Attachments {
  /** Attaches again what earlier nodes with this data directory had attached. */
  restore(): Promise<void>
  /**
   * Looks for the process, and keeps it as a unit when it is exactly one.
   * @throws HsuError `UNIT_EXISTS`, `PROCESS_NOT_FOUND`, `PROCESS_AMBIGUOUS`, `USAGE`
   */
  attach(attachment: Attachment, exceptPids: readonly number[], asker: Asker, signal: AbortSignal): Promise<void>
  /** @throws HsuError `UNIT_NOT_FOUND`, `USAGE` for a unit of the configuration */
  detach(unit: string, asker: Asker): Promise<void>
}

export interface AttachmentsSeams {
  readonly clock: Clock
  readonly log: Log
  readonly store: Store
  readonly supervisor: Pick<Supervisor, 'attachUnit' | 'detachUnit' | 'lookFor' | 'spec' | 'tell'>
  readonly variables: UnitSpec['variables']
}

const PREFIX = 'attached/'
const keyOf = (unit: string): string => `${PREFIX}${unit}.json`

/** More are refused: each is looked for every few seconds. */
const MAX_ATTACHED = 1_000

const { allow } = unitShape
const find = unitShape.find.unwrap()
const record = z.object({
  format: z.literal(1),
  unit: z.string().regex(UNIT_NAME),
  find,
  allow,
  /** As what it was found when it was attached. */
  identity: z.object({ pid: z.number(), startTime: z.string(), bootId: z.string() }),
  by: z.string(),
  atMs: z.number(),
})
type AttachmentRecord = z.output<typeof record>

const attachedShape = z.strictObject(unitShape)

export function createAttachments(seams: AttachmentsSeams): Attachments {
  const { clock, log, store, supervisor, variables } = seams

  /** Names that are being attached at this moment. */
  const attaching = new Set<string>()

  const stored = async (): Promise<string[]> => (await store.list(PREFIX)).filter((key) => key.endsWith('.json'))

  return {
    async restore() {
      // Side by side: a systemd that does not answer costs two seconds, not two for each.
      const restored = (await stored()).map(async (key) => {
        const found = await readJson(store, key, (raw) => record.parse(raw), log)
        if (found !== undefined) await supervisor.attachUnit(specOf(found, variables), found.identity)
      })
      await Promise.all(restored)
    },

    async attach(attachment, exceptPids, asker, signal) {
      const { unit } = attachment
      if (!UNIT_NAME.test(unit)) throw new HsuError('USAGE', `'${unit}' cannot be a unit: ${NAME_RULE}`)
      if (supervisor.spec(unit) !== undefined || attaching.has(unit)) throw exists(unit)
      attaching.add(unit)
      try {
        await attach(attachment, exceptPids, asker, signal)
      } finally {
        attaching.delete(unit)
      }
    },

    async detach(unit, { actor }) {
      const wasAttached = await supervisor.detachUnit(unit)
      await store.delete(keyOf(unit))
      if (wasAttached) tell('unit.detached', unit, `detached by ${actor}`, actor, {})
      else if (supervisor.spec(unit) === undefined) {
        throw new HsuError('UNIT_NOT_FOUND', `no unit '${unit}' is attached to this node`, { details: { unit } })
      } else {
        const text = `unit '${unit}' is of the configuration; remove it there`
        throw new HsuError('USAGE', text, { details: { unit } })
      }
    },
  }

  async function attach(
    { unit, find, allowSignal }: Attachment,
    exceptPids: readonly number[],
    { actor }: Asker,
    signal: AbortSignal,
  ): Promise<void> {
    if ((await stored()).length >= MAX_ATTACHED) {
      throw new HsuError('LIMIT_EXCEEDED', `${MAX_ATTACHED} units are attached to this node; detach some`)
    }
    const look = await supervisor.lookFor(find, { baseDir: '/', notPids: exceptPids }, signal)
    const { identity } = theOnly(find, look)
    const made: AttachmentRecord = {
      format: 1,
      unit,
      find: { ...find, args: find.args && [...find.args] },
      allow: { signal: allowSignal },
      identity,
      by: actor,
      atMs: clock.wallMs(),
    }
    // On disk first: what is shown to be attached stays so.
    await writeJson(store, keyOf(unit), made)
    const spec = specOf(made, variables)
    if (!(await supervisor.attachUnit(spec, identity))) {
      await supervisor.detachUnit(unit)
      await store.delete(keyOf(unit))
      throw exists(unit)
    }
    tell('unit.attached', unit, `${spec.origin ?? ''}, found by ${look.method}`, actor, { pid: String(identity.pid) })
  }

  function tell(
    type: 'unit.attached' | 'unit.detached',
    unit: string,
    reason: string,
    actor: string,
    details: Readonly<Record<string, string>>,
  ): void {
    supervisor.tell({ type, unit, instance: '', reason, details, cause: '', actor })
  }
}

function specOf({ unit, find, allow, by }: AttachmentRecord, variables: UnitSpec['variables']): UnitSpec {
  const config = attachedShape.parse({ kind: 'unmanaged', find, allow })
  return { name: unit, config, baseDir: '/', variables, origin: `attached by ${by}` }
}

const NAME_RULE = 'names are 1 to 63 lower case letters, digits and -, with a letter or digit at both ends'

function exists(unit: string): HsuError {
  const text = `there is a unit '${unit}' on this node already; choose another name, or detach it first if it was attached`
  return new HsuError('UNIT_EXISTS', text, { details: { unit } })
}
