import { join } from 'node:path'
import type { Clock } from '../base/clock.ts'
import type { Log } from '../base/log.ts'
import type { Store } from '../base/store.ts'
import type { Child, Gone, InstancePlace, ProcessHost } from './host.ts'
import { KEEP_EVERYTHING } from './logs/keeping.ts'
import type { CaptureSource, Output } from './output.ts'
import { deleteSlotRecord, type SlotRecord } from './slot-record.ts'
import { killTree, sweep, terminate } from './terminate.ts'

export interface LeftoverSeams {
  readonly clock: Clock
  readonly log: Log
  readonly store: Store
  readonly host: ProcessHost
  readonly output: Pick<Output, 'capture'>
}

/**
 * Clears away an instance that no slot knows: the node died between starting it and writing that down, or
 * between its end and the end of reading its output. What it wrote is kept; should it live, it is killed.
 */
export async function clearStray(place: InstancePlace, seams: LeftoverSeams, signal: AbortSignal): Promise<void> {
  const { host, clock, log } = seams
  const found = await host.adopt({ directory: place.directory, leader: undefined, main: undefined })
  if (isChild(found)) {
    log.warn('instance that no record knows is ended', {
      unit: place.unit,
      instance: place.instance,
      pid: found.main.pid,
    })
    await killTree(host, found, [], clock, signal)
    found.release()
  } else await sweep(host, { directory: place.directory, leader: undefined, main: undefined }, clock, signal)
  await keepOutput(place, seams)
}

/** Ends what an earlier node ran and this one has no slot for. Resolves when its processes are gone. */
export async function clearRecord(
  record: SlotRecord,
  runDir: string,
  seams: LeftoverSeams,
  signal: AbortSignal,
): Promise<void> {
  const { host, clock, log, store } = seams
  const { unit, replica, instance, leader, main, stop } = record
  const directory = join(runDir, unit, String(replica), instance)
  if (instance !== '' && !record.closed) {
    const found = await host.adopt({ directory, leader, main })
    if (isChild(found)) {
      log.info('unit is no longer configured and is stopped', { unit, instance, pid: found.main.pid })
      const policy = { signal: stop.signal as NodeJS.Signals, graceMs: stop.graceMs }
      await terminate(host, found, policy, clock, signal)
      found.release()
    } else await sweep(host, { directory, leader, main }, clock, signal)
  }
  if (instance !== '') await keepOutput({ unit, replica, instance, directory }, seams)
  await deleteSlotRecord(store, unit, replica)
}

async function keepOutput(place: InstancePlace, seams: LeftoverSeams): Promise<void> {
  const { directory, ...whose } = place
  const [stdoutPath, stderrPath] = [join(directory, 'stdout'), join(directory, 'stderr')]
  await finishOutput(seams, { ...whose, pid: undefined, stdoutPath, stderrPath, ...KEEP_EVERYTHING }, directory)
}

/** Takes what an ended instance wrote and nobody read, and forgets its files; those that cannot be read stay for the next node. */
export async function finishOutput(
  { output, host }: Pick<LeftoverSeams, 'output' | 'host'>,
  source: CaptureSource,
  directory: string,
): Promise<void> {
  const isRead = await output.capture({ ...source, ended: true }).finish()
  if (isRead) await host.discard(directory)
}

function isChild(found: Child | Gone): found is Child {
  return !('gone' in found)
}
