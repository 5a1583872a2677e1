import { ErrorCode } from '../h2/protocol.ts'

/** What a caller did that we put up with no longer; bounded, for it is a label of metrics. Public API: add freely, never rename. */
export type FaultReason =
  // Floods and the like, by which an attacker wants more work done than it has itself.
  | 'continuation_flood'
  | 'data_flood'
  | 'header_bomb'
  | 'ping_flood'
  | 'priority_flood'
  | 'rapid_reset'
  | 'rst_stream_flood'
  | 'settings_flood'
  | 'too_many_streams'
  | 'unknown_frame_flood'
  | 'window_update_flood'
  // Those who are slow on purpose, or gone.
  | 'no_answer_to_ping'
  | 'slow_greeting'
  | 'slow_headers'
  | 'slow_reader'
  // Whoever does not speak HTTP/2 as it is written.
  | 'compression'
  | 'flow_control'
  | 'frame_size'
  | 'malformed_request'
  | 'not_http2'
  | 'protocol'
  // A fault of ours.
  | 'internal'

/** A connection was ended, or one call of it was refused or reset. */
export interface Fault {
  readonly ends: 'connection' | 'call'
  readonly reason: FaultReason
}

const REASON_OF_CODE: Readonly<Record<number, FaultReason>> = {
  [ErrorCode.compression]: 'compression',
  [ErrorCode.flowControl]: 'flow_control',
  [ErrorCode.frameSize]: 'frame_size',
  [ErrorCode.internal]: 'internal',
}

/** For a fault of which nothing is known but its HTTP/2 code. */
export function reasonOfCode(code: number): FaultReason {
  return REASON_OF_CODE[code] ?? 'protocol'
}
