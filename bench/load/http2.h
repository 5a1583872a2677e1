// Frames of HTTP/2 (RFC 9113), as bytes and back.
#ifndef BENCH_HTTP2_H
#define BENCH_HTTP2_H

#include <stdbool.h>

#include "bytes.h"

#define PREFACE "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
#define PREFACE_LENGTH 24
#define FRAME_HEADER_LENGTH 9
#define DEFAULT_WINDOW 65535
#define DEFAULT_MAX_FRAME 16384
#define DEFAULT_HEADER_TABLE 4096

enum FrameType {
  FRAME_DATA = 0,
  FRAME_HEADERS = 1,
  FRAME_RST_STREAM = 3,
  FRAME_SETTINGS = 4,
  FRAME_PING = 6,
  FRAME_GOAWAY = 7,
  FRAME_WINDOW_UPDATE = 8,
};

enum FrameFlag {
  FLAG_ACK = 0x1,         // of SETTINGS and PING
  FLAG_END_STREAM = 0x1,  // of DATA and HEADERS
  FLAG_END_HEADERS = 0x4,
  FLAG_PADDED = 0x8,
};

enum Setting {
  SETTING_HEADER_TABLE_SIZE = 1,
  SETTING_ENABLE_PUSH = 2,
  SETTING_MAX_CONCURRENT_STREAMS = 3,
  SETTING_INITIAL_WINDOW_SIZE = 4,
  SETTING_MAX_FRAME_SIZE = 5,
};

typedef struct {
  uint8_t type;
  uint8_t flags;
  uint32_t stream;
  uint32_t length;
  const uint8_t* payload;
} Frame;

static inline uint32_t read_uint32(const uint8_t* from) {
  return (uint32_t)from[0] << 24 | (uint32_t)from[1] << 16 | (uint32_t)from[2] << 8 | from[3];
}

/** Takes a frame from the front of `in`; false when there is no whole one yet. Its payload lasts until the next read. */
static inline bool take_frame(Bytes* in, Frame* frame) {
  if (bytes_left(in) < FRAME_HEADER_LENGTH) return false;
  const uint8_t* head = bytes_front(in);
  uint32_t length = (uint32_t)head[0] << 16 | (uint32_t)head[1] << 8 | head[2];
  if (bytes_left(in) < FRAME_HEADER_LENGTH + length) return false;
  frame->length = length;
  frame->type = head[3];
  frame->flags = head[4];
  frame->stream = read_uint32(head + 5) & 0x7fffffff;
  frame->payload = head + FRAME_HEADER_LENGTH;
  in->start += FRAME_HEADER_LENGTH + length;
  return true;
}

static inline bool frame_has(const Frame* frame, uint8_t flag) { return (frame->flags & flag) != 0; }

static inline void put_frame_header(Bytes* out, uint32_t length, uint8_t type, uint8_t flags, uint32_t stream) {
  uint8_t head[FRAME_HEADER_LENGTH] = {length >> 16, length >> 8, length,      type,  flags,
                                       stream >> 24, stream >> 16, stream >> 8, stream};
  bytes_put(out, head, sizeof head);
}

static inline void put_frame(Bytes* out, uint8_t type, uint8_t flags, uint32_t stream, const void* payload,
                             uint32_t length) {
  put_frame_header(out, length, type, flags, stream);
  bytes_put(out, payload, length);
}

static inline void put_window_update(Bytes* out, uint32_t stream, uint32_t octets) {
  uint8_t payload[4] = {octets >> 24, octets >> 16, octets >> 8, octets};
  put_frame(out, FRAME_WINDOW_UPDATE, 0, stream, payload, sizeof payload);
}

/** Two settings in one frame: either end of the bench has two to tell. */
static inline void put_settings(Bytes* out, enum Setting first, uint32_t first_value, enum Setting second,
                                uint32_t second_value) {
  uint8_t payload[12] = {
      0, first,  first_value >> 24,  first_value >> 16,  first_value >> 8,  first_value,
      0, second, second_value >> 24, second_value >> 16, second_value >> 8, second_value,
  };
  put_frame(out, FRAME_SETTINGS, 0, 0, payload, sizeof payload);
}

#endif
