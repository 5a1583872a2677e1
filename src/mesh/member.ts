import type { MemberStatus } from './merge.ts'

/** Who a node is, where it is reached, and what it says of itself. Written and signed by the node alone. */
export interface NodeRecord {
  readonly nodeId: string
  readonly name: string
  /** Grows with each start and each refutation; never goes back. */
  readonly incarnation: number
  /** The incarnation with which this run of the node began; its section carries the same number. */
  readonly startedIncarnation: number
  /** Grows with each change of the record within an incarnation. */
  readonly recordVersion: number
  /** Multiaddresses of the mesh port. */
  readonly meshAddresses: readonly string[]
  /** `host:port` of the link port, best first. */
  readonly linkAddresses: readonly string[]
  /** SHA-256 of the link certificate in DER form, as 64 hex digits; empty when it has none. */
  readonly linkFingerprint: string
  /** Of certificates that count as well: the one before, for calls that began with it, and the next. Mostly left out. */
  readonly furtherLinkFingerprints?: readonly string[]
  readonly labels: Readonly<Record<string, string>>
  /** Version of HSU that the node runs. */
  readonly version: string
  /** What it registers is signed: what comes unsigned is not its own. Left out by earlier versions. */
  readonly signsSections?: boolean
  /** It takes a `SectionDelta` in place of the whole section. Left out by earlier versions. */
  readonly takesDeltas?: boolean
  /** It goes on in another process: so long from when this is heard, its silence is no sign of its end. */
  readonly awayMs?: number
  /** A `holderProof` for each mesh key it has, newest first; left out by earlier versions. */
  readonly keyProofs?: readonly string[]
}

/** A record with the bytes and signature it came with, which are passed on as they are. */
export interface SignedRecord {
  readonly record: NodeRecord
  readonly bytes: Uint8Array
  readonly signature: Uint8Array
}

/** A member as seen by whoever asks the mesh. */
export interface MemberView {
  readonly nodeId: string
  readonly status: MemberStatus | 'removed'
  readonly incarnation: number
  /** What the member last said of itself. */
  readonly record: NodeRecord | undefined
  /** True for the node that was asked. */
  readonly self: boolean
  /** Present when somebody removed it from the mesh. */
  readonly removal?: Removal
}

/** How a node came to be kept out. */
export interface Removal {
  /** What the node was called. */
  readonly name: string
  /** Node id of the member that it was done on. */
  readonly by: string
  /** Who asked for it, as they say of themselves. */
  readonly actor: string
  /** By the wall clock of that member. */
  readonly atMs: number
}

/** One place a unit is served, as its owner states it. */
export interface Registration {
  readonly unit: string
  readonly instance: string
  readonly replica: number
  readonly kind: string
  readonly state: string
  readonly ready: boolean
  readonly services: readonly string[]
  /** On the owner's own host: `host:port` or `unix:PATH`. Others reach it through the owner. */
  readonly address: string
  readonly ports: Readonly<Record<string, number>>
  /** Of a unit with a schedule that nodes share. */
  readonly schedule?: ScheduleClaim
  /** Of a unit that one of several nodes runs, in place of another that is missing. */
  readonly tenure?: Tenure
  /** It takes no new calls: it is about to be stopped. Left out = false. */
  readonly draining?: boolean
  /** Of a unit that calls wait for while it is not ready. */
  readonly onCall?: OnCall
  /** Of a unit that gets only a part of the calls to its services. */
  readonly canary?: Canary
  /** What its configuration says it is a version of. */
  readonly version?: string
}

/** Which calls a unit gets that offers services beside other units. */
export interface Canary {
  /** Of 10,000 calls. */
  readonly share: number
  /** Metadata by which a call asks for it: all of these, and equal. */
  readonly headers: Readonly<Record<string, string>>
}

/** What becomes of a call that comes while its unit is not ready. */
export interface OnCall {
  /** How long it waits. */
  readonly holdMs: number
  /** It starts the unit when that sleeps; else it only waits for one that is on its way. */
  readonly starts: boolean
}

/** What a node says of a unit that only one of the nodes that have it runs. */
export interface Tenure {
  /** How it stands to the unit; the words are those of the floor that decides. */
  readonly stand: string
  /** Grows each time a person moves the unit to another node. */
  readonly term: number
}

/** What a node says of a schedule that several nodes have. */
export interface ScheduleClaim {
  /** Equal on all nodes that mean the same moments. */
  readonly schedule: string
  /** Moments up to this one, in ms since the epoch, were taken up by somebody. */
  readonly tickMs: number
  /** Node id of who took up the last one; empty when that is not known. */
  readonly by: string
  /** Runs on the owner that have not ended. */
  readonly active: number
}

/** All that one node registers. The owner is its only writer. */
export interface Section {
  readonly owner: string
  /** `startedIncarnation` of the owner's record. */
  readonly incarnation: number
  /** Grows with each change within a run of the owner. */
  readonly version: number
  readonly registrations: readonly Registration[]
  /** What its owner signed, and the signature; passed on as they are. Left out by earlier versions. */
  readonly signed?: { readonly bytes: Uint8Array; readonly signature: Uint8Array }
}

/** What changed in a section: the whole for those who hold the version before it. */
export interface SectionDelta {
  readonly owner: string
  readonly incarnation: number
  /** Of the section after the change. */
  readonly version: number
  /** Of the section that it changes. */
  readonly baseVersion: number
  readonly removed: readonly number[]
  readonly changed: readonly { readonly at: number; readonly item: SectionItem }[]
  /** Of the owner, over the section after the change. */
  readonly signature: Uint8Array
}

/** A registration, and its binary form as it stands in what is signed. */
export interface SectionItem {
  readonly registration: Registration
  readonly bytes: Uint8Array
}

/** Bad news of a member. Good news is a signed record, never a rumour. */
export interface Rumour {
  readonly nodeId: string
  readonly status: Exclude<MemberStatus, 'alive'>
  readonly incarnation: number
  /** Node id of who says so; empty when passed on by somebody who does not know it at first hand. */
  readonly from: string
  /** The voice lost its connection to the member, which says more than silence. */
  readonly linkLost: boolean
}

/** How new one's copy of a member is; 0 where there is none. */
export interface Digest {
  readonly owner: string
  readonly status: MemberStatus
  readonly incarnation: number
  readonly recordIncarnation: number
  readonly recordVersion: number
  readonly sectionIncarnation: number
  readonly sectionVersion: number
  /** First four bytes of the record's signature as a number; 0 = not known. */
  readonly recordCheck: number
}

/** News of any kind that travels in one message. Records are applied first: they prove what the rest refers to. */
export interface Batch {
  /** As received: not verified yet. */
  readonly records: readonly Unverified[]
  readonly rumours: readonly Rumour[]
  readonly sections: readonly Section[]
  readonly deltas?: readonly SectionDelta[]
  /** As received: not verified yet. */
  readonly rulings?: readonly Unverified[]
}

/** Something signed as it came over the wire. */
export interface Unverified {
  readonly bytes: Uint8Array
  readonly signature: Uint8Array
}

/** Something in the mesh that a person may want to know of. */
export interface MeshEvent {
  readonly type:
    | 'member.alive'
    | 'member.suspect'
    | 'member.dead'
    | 'member.left'
    | 'member.removed'
    | 'member.restored'
    | 'mesh.key-changed'
    | 'mesh.key-retired'
    | 'mesh.refused'
    | 'mesh.identity-conflict'
    | 'mesh.name-conflict'
  readonly nodeId: string
  /** The name of that node, empty when it is not known. */
  readonly name: string
  readonly reason: string
  /** What led to it: the node id of who said so, or empty. */
  readonly cause: string
}
