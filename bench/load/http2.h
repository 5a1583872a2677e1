#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>
typedef struct {
  uint8_t* p;
  size_t n, cap, off;
} Buf;
static inline void bneed(Buf* b, size_t k) {
  if (b->off == b->n) {
    b->off = b->n = 0;
  }
  if (b->n + k > b->cap) {
    if (b->off > 0) {
      memmove(b->p, b->p + b->off, b->n - b->off);
      b->n -= b->off;
      b->off = 0;
    }
    if (b->n + k > b->cap) {
      b->cap = (b->n + k) * 2 + 4096;
      b->p = realloc(b->p, b->cap);
    }
  }
}
static inline void bput(Buf* b, const void* s, size_t k) {
  bneed(b, k);
  memcpy(b->p + b->n, s, k);
  b->n += k;
}
static inline void fhdr(Buf* b, uint32_t len, uint8_t type, uint8_t flags, uint32_t sid) {
  uint8_t h[9] = {len >> 16, len >> 8, len, type, flags, sid >> 24, sid >> 16, sid >> 8, sid};
  bput(b, h, 9);
}
static inline double nowus() {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e6 + t.tv_nsec / 1e3;
}
static inline uint32_t r32(const uint8_t* p) { return (uint32_t)p[0] << 24 | p[1] << 16 | p[2] << 8 | p[3]; }
static int nb(int fd) { return fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }
