import type { Takeover } from '../call-listener.ts'
import type { DoorHandle } from '../door.ts'
import type { Joined } from '../join.ts'
import type { LinkCertificate } from '../link-certificate.ts'
import type { EndedCalls } from '../router/call-watch.ts'
import type { CallInterest } from '../router/ended-call.ts'
import type { Sleeper } from '../router/waking.ts'
import type { CallCounts } from './counted.ts'
import type { WorldChange } from './world.ts'

/** The doors that a thread may have. */
export type DoorName = 'ingress' | 'link'

/** What a door is told when it starts: plain data. */
export interface DoorSetup {
  readonly listen: string
  readonly nodeId: string
  /** Of the ingress. */
  readonly zone?: string | undefined
  readonly certificate: LinkCertificate | undefined
  readonly graceMs: number | undefined
  readonly takeover: Takeover | undefined
  /** Of the link. */
  readonly controlSocket: string | undefined
}

/** Where a door is. */
export interface DoorState {
  readonly address: string
  readonly handle: DoorHandle | undefined
}

/** An invitation that is open: the protocol its guests ask for. */
export interface OpenInvite {
  readonly protocol: string
  readonly secret: Uint8Array
}

/** What the node asks its thread. */
export type ThreadQuestion =
  | { readonly do: 'start'; readonly door: DoorName; readonly setup: DoorSetup }
  | { readonly do: 'open' | 'stop'; readonly door: DoorName }
  | { readonly do: 'retire'; readonly door: DoorName; readonly graceMs: number }
  | { readonly do: 'drained'; readonly instance: string }
  | { readonly do: 'count' }
  | { readonly do: 'faults' }

/** What the node tells its thread. */
export type ThreadNews =
  | { readonly news: 'world'; readonly change: WorldChange }
  | { readonly news: 'cut'; readonly nodeId: string }
  /** It is shown from now on. */
  | { readonly news: 'certificate'; readonly certificate: LinkCertificate }
  | { readonly news: 'invites'; readonly open: readonly OpenInvite[] }
  /** The calls that somebody wants to see. */
  | { readonly news: 'interest'; readonly interest: CallInterest | undefined }

/** What the thread asks its node. */
export type NodeQuestion =
  | { readonly want: 'gift'; readonly protocol: string }
  | { readonly want: 'wake'; readonly sleeper: Sleeper }

/** What the thread tells its node. */
export type NodeNews =
  | { readonly news: 'calls'; readonly counts: CallCounts }
  | { readonly news: 'ended'; readonly ended: EndedCalls }
  | { readonly news: 'log'; readonly level: LogLevel; readonly message: string; readonly fields: LogFields }
  | { readonly news: 'guest'; readonly protocol: string; readonly how: Joined; readonly from: string }

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'
export type LogFields = Readonly<Record<string, unknown>>
