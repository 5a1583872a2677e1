/** Frame types of RFC 9113 6. */
export const FrameType = {
  data: 0,
  headers: 1,
  priority: 2,
  reset: 3,
  settings: 4,
  pushPromise: 5,
  ping: 6,
  goaway: 7,
  windowUpdate: 8,
  continuation: 9,
} as const

/** Flags of frames; what one means depends on the type of its frame. */
export const Flag = { endStream: 0x1, ack: 0x1, endHeaders: 0x4, padded: 0x8, priority: 0x20 } as const

/** Error codes of RFC 9113 7. */
export const ErrorCode = {
  none: 0,
  protocol: 1,
  internal: 2,
  flowControl: 3,
  settingsTimeout: 4,
  streamClosed: 5,
  frameSize: 6,
  refusedStream: 7,
  cancel: 8,
  compression: 9,
  connect: 10,
  enhanceYourCalm: 11,
} as const

/** Identifiers of settings, RFC 9113 6.5.2. */
export const Setting = {
  headerTableSize: 1,
  enablePush: 2,
  maxConcurrentStreams: 3,
  initialWindowSize: 4,
  maxFrameSize: 5,
  maxHeaderListSize: 6,
} as const

/** What a client sends first, RFC 9113 3.4. */
export const PREFACE = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 'latin1')

export const FRAME_HEAD_BYTES = 9

/** The size of frames that everybody must take, and the largest that we take and send. */
export const MAX_FRAME_BYTES = 16_384

/** Of a connection always, of a stream until SETTINGS say otherwise; RFC 9113 6.9.2. */
export const DEFAULT_WINDOW_BYTES = 65_535

/** No window may grow beyond it, RFC 9113 6.9.1. */
export const MAX_WINDOW_BYTES = 0x7fff_ffff

export const MAX_STREAM_ID = 0x7fff_ffff
