/**
 * The largest message between nodes, in bytes. What is larger is refused unread. Equal to the usual limit of
 * gossipsub (1 MiB), so that both ways of sending agree.
 */
export const MAX_MESSAGE_BYTES = 1024 * 1024

/** How much a node puts into one message of a sync, in bytes; what does not fit goes into the next. */
export const CHUNK_BYTES = 256 * 1024

/** The largest section, in bytes as sent: half a message. At about 95 to 130 bytes a registration, room for 4,000 or more. */
export const MAX_SECTION_BYTES = 512 * 1024

/** The most registrations one node may have. */
export const MAX_REGISTRATIONS = 4_000

/** The largest record of a node, in bytes as signed. */
export const MAX_RECORD_BYTES = 16 * 1024

/** How many subjects the members of a mesh may rule on: nodes that were removed, or let in again, and the key. */
export const MAX_RULINGS = 1_000

/** How many nodes one ruling may name as holders of a new mesh key. */
export const MAX_HOLDERS = 1_000

/** The largest ruling, in bytes as signed: one that names `MAX_HOLDERS` nodes. */
export const MAX_RULING_BYTES = 40 * 1024

/** The most members a node keeps, itself and the dead included. */
export const MAX_MEMBERS = 10_000

/** The most digests in one message; longer lists are continued. At about 90 bytes each: 180 kB. */
export const MAX_DIGESTS = 2_000

/** The most items of any other kind in one message. */
export const MAX_ITEMS = 4_000

/** The longest name, id, address or other short text, in UTF-16 units. */
export const MAX_TEXT = 256

/** The most entries of a list or map inside one record or registration. */
export const MAX_ENTRIES = 64

/** The greatest incarnation or version: far from what doubles can count exactly, so that adding one is always safe. */
export const MAX_COUNT = 2 ** 48

/** The most requests of one peer that are served at the same time; the next is refused. */
export const MAX_REQUESTS_PER_PEER = 32
