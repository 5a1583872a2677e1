// A growable run of bytes that is filled at its end and consumed from its front.
#ifndef BENCH_BYTES_H
#define BENCH_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
  uint8_t* data;
  size_t start;     // where what is left begins
  size_t end;       // where it ends
  size_t capacity;  // octets allocated
} Bytes;

static inline size_t bytes_left(const Bytes* bytes) { return bytes->end - bytes->start; }

static inline uint8_t* bytes_front(const Bytes* bytes) { return bytes->data + bytes->start; }

static inline void bytes_clear(Bytes* bytes) { bytes->start = bytes->end = 0; }

/** Apart, so that what does not need it stays small and is inlined. */
static __attribute__((noinline, unused)) void bytes_make_room(Bytes* bytes, size_t count) {
  if (bytes->start > 0) {
    memmove(bytes->data, bytes_front(bytes), bytes_left(bytes));
    bytes->end -= bytes->start;
    bytes->start = 0;
  }
  if (bytes->end + count <= bytes->capacity) return;
  bytes->capacity = (bytes->end + count) * 2 + 4096;
  bytes->data = realloc(bytes->data, bytes->capacity);
  if (bytes->data == NULL) {
    perror("realloc");
    exit(1);
  }
}

/** Makes room for `count` octets at the end; what is left moves to the front before anything is allocated. */
static inline uint8_t* bytes_reserve(Bytes* bytes, size_t count) {
  if (bytes->start == bytes->end) bytes_clear(bytes);
  if (bytes->end + count > bytes->capacity) bytes_make_room(bytes, count);
  return bytes->data + bytes->end;
}

static inline void bytes_put(Bytes* bytes, const void* from, size_t count) {
  memcpy(bytes_reserve(bytes, count), from, count);
  bytes->end += count;
}

static inline void bytes_put_octet(Bytes* bytes, uint8_t octet) { bytes_put(bytes, &octet, 1); }

#endif
