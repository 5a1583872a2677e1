// Headers compressed with a table, as gRPC libraries do (HPACK, RFC 7541): what was sent once is a number from then on.
#ifndef BENCH_HEADER_ENCODER_H
#define BENCH_HEADER_ENCODER_H

#include <stdbool.h>

#include "bytes.h"

#define TABLE_ENTRIES 128
/** The static table has the numbers before. */
#define FIRST_DYNAMIC 62
/** Octets an entry takes of the table besides its name and value. */
#define ENTRY_OVERHEAD 32

typedef struct {
  char name[64];
  char value[256];
} Header;

typedef struct {
  Header entries[TABLE_ENTRIES];  // the oldest first
  int count;
  int size;      // octets, as the RFC counts them
  int max_size;  // octets
  bool shrunk;   // and the decoder must be told so
} HeaderEncoder;

/** An integer in the low `bits` of an octet whose high bits are `pattern`, and as many more octets as it takes. */
static inline void put_integer(Bytes* out, uint8_t pattern, int bits, uint32_t value) {
  uint32_t most = (1u << bits) - 1;
  if (value < most) {
    bytes_put_octet(out, pattern | value);
    return;
  }
  bytes_put_octet(out, pattern | most);
  for (value -= most; value >= 128; value >>= 7) bytes_put_octet(out, value | 128);
  bytes_put_octet(out, value);
}

static inline void put_string(Bytes* out, const char* text) {
  put_integer(out, 0, 7, strlen(text));
  bytes_put(out, text, strlen(text));
}

static inline int header_size(const char* name, const char* value) {
  return strlen(name) + strlen(value) + ENTRY_OVERHEAD;
}

static inline void forget_oldest_header(HeaderEncoder* encoder) {
  encoder->size -= header_size(encoder->entries[0].name, encoder->entries[0].value);
  encoder->count -= 1;
  memmove(encoder->entries, encoder->entries + 1, sizeof(Header) * encoder->count);
}

/** Heeds the size of the decoder's table, in octets, when it is smaller than ours. */
static inline void shrink_header_table(HeaderEncoder* encoder, uint32_t max_size) {
  if (max_size >= (uint32_t)encoder->max_size) return;
  encoder->max_size = max_size;
  encoder->shrunk = true;
  while (encoder->size > encoder->max_size) forget_oldest_header(encoder);
}

/** To be called before the headers of a block. */
static inline void begin_headers(HeaderEncoder* encoder, Bytes* out) {
  if (encoder->shrunk) put_integer(out, 0x20, 5, encoder->max_size);
  encoder->shrunk = false;
}

static inline int number_of_entry(const HeaderEncoder* encoder, int entry) {
  return FIRST_DYNAMIC + encoder->count - 1 - entry;
}

/** The number of a header that has the name and, unless that is NULL, the value; 0 for none. */
static inline int number_of_header(const HeaderEncoder* encoder, const char* name, const char* value) {
  for (int entry = encoder->count - 1; entry >= 0; entry--) {
    const Header* known = &encoder->entries[entry];
    if (strcmp(known->name, name) == 0 && (value == NULL || strcmp(known->value, value) == 0))
      return number_of_entry(encoder, entry);
  }
  return 0;
}

static inline void remember_header(HeaderEncoder* encoder, const char* name, const char* value) {
  int size = header_size(name, value);
  while (encoder->size + size > encoder->max_size || encoder->count >= TABLE_ENTRIES) forget_oldest_header(encoder);
  Header* entry = &encoder->entries[encoder->count];
  strcpy(entry->name, name);
  strcpy(entry->value, value);
  encoder->count += 1;
  encoder->size += size;
}

/** `static_name`: the number of the name in the static table, 0 where it has none. */
static inline void put_header(HeaderEncoder* encoder, Bytes* out, const char* name, const char* value,
                              int static_name) {
  int known = number_of_header(encoder, name, value);
  if (known != 0) {
    put_integer(out, 0x80, 7, known);
    return;
  }
  bool keep = header_size(name, value) <= encoder->max_size;
  int name_number = static_name != 0 ? static_name : number_of_header(encoder, name, NULL);
  put_integer(out, keep ? 0x40 : 0, keep ? 6 : 4, name_number);
  if (name_number == 0) put_string(out, name);
  put_string(out, value);
  if (keep) remember_header(encoder, name, value);
}

#endif
