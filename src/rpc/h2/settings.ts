import { putUint32, uint32At } from './frame.ts'
import { ErrorCode, MAX_FRAME_BYTES, MAX_WINDOW_BYTES, Setting } from './protocol.ts'

const SETTING_BYTES = 6

/** Writes settings as the payload of a frame; returns where they end. */
export function putSettings(
  bytes: Uint8Array,
  at: number,
  settings: readonly (readonly [id: number, value: number])[],
): number {
  let next = at
  for (const [id, value] of settings) {
    bytes[next] = id >>> 8
    bytes[next + 1] = id
    next = putUint32(bytes, next + 2, value)
  }
  return next
}

/** Calls `take` with each setting of a payload, in order, until one is wrong; returns what the connection then ends with. */
export function readSettings(
  bytes: Uint8Array,
  at: number,
  length: number,
  take: (id: number, value: number) => void,
): number {
  for (let next = at; next + SETTING_BYTES <= at + length; next += SETTING_BYTES) {
    const id = ((bytes[next] ?? 0) << 8) | (bytes[next + 1] ?? 0)
    const value = uint32At(bytes, next + 2)
    const fault = settingFault(id, value)
    if (fault !== ErrorCode.none) return fault
    take(id, value)
  }
  return ErrorCode.none
}

/** RFC 9113 6.5.2; settings that nobody knows are no fault. */
function settingFault(id: number, value: number): number {
  if (id === Setting.enablePush && value > 1) return ErrorCode.protocol
  if (id === Setting.initialWindowSize && value > MAX_WINDOW_BYTES) return ErrorCode.flowControl
  if (id === Setting.maxFrameSize && (value < MAX_FRAME_BYTES || value > 0xff_ffff)) return ErrorCode.protocol
  return ErrorCode.none
}
