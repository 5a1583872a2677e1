// A gRPC unit that sends back what it gets, as fast as it can: looks at no header, heeds flow control. Usage: echo PORT
#include "http2.h"
typedef struct Conn Conn;
typedef struct Str {
  uint32_t id;
  int64_t win;
  Buf q;
  int endin, hdr;
  struct Str *next, *nb;
  int blocked;
  uint32_t recvd;
} Str;
#define HB 4096
struct Conn {
  int fd;
  Buf in, out;
  int pre;
  int64_t win;
  uint32_t iw, mfs;
  uint32_t recvd;
  Str* h[HB];
  Str* bl;
  int wantw;
  int dirty;
};
static int ep;
static Str* pool;
static int tronly;
static Str* sget(Conn* c, uint32_t id, int mk) {
  Str** p = &c->h[(id >> 1) % HB];
  for (Str* s = *p; s; s = s->next)
    if (s->id == id) return s;
  if (!mk) return 0;
  Str* s = pool;
  if (s) {
    pool = s->next;
    Buf q = s->q;
    memset(s, 0, sizeof *s);
    s->q = q;
    s->q.n = s->q.off = 0;
  } else
    s = calloc(1, sizeof *s);
  s->id = id;
  s->win = c->iw;
  s->next = *p;
  *p = s;
  return s;
}
static void sdel(Conn* c, Str* s) {
  for (Str** b = &c->bl; *b; b = &(*b)->nb)
    if (*b == s) {
      *b = s->nb;
      break;
    }
  Str** p = &c->h[(s->id >> 1) % HB];
  while (*p != s) p = &(*p)->next;
  *p = s->next;
  s->next = pool;
  pool = s;
}
static const uint8_t H200[] = {0x88, 0x5f, 0x10, 'a', 'p', 'p', 'l', 'i', 'c', 'a',
                               't',  'i',  'o',  'n', '/', 'g', 'r', 'p', 'c'};  // :status 200, content-type literal
                                                                                 // no-index (0x0f idx?) fixed below
static uint8_t HB1[64];
static int HB1n;
static uint8_t TR[64];
static int TRn;
static uint8_t TO[96];
static int TOn;
static void mkhdr() {
  int n = 0;
  HB1[n++] = 0x88;
  HB1[n++] = 0x0f;
  HB1[n++] = 31 - 15;
  HB1[n++] = 16;
  memcpy(HB1 + n, "application/grpc", 16);
  n += 16;
  HB1n = n;
  n = 0;
  TR[n++] = 0x00;
  TR[n++] = 11;
  memcpy(TR + n, "grpc-status", 11);
  n += 11;
  TR[n++] = 1;
  TR[n++] = '0';
  TR[n++] = 0;
  TR[n++] = 12;
  memcpy(TR + n, "grpc-message", 12);
  n += 12;
  TR[n++] = 0;
  TRn = n;
  memcpy(TO, HB1, HB1n);
  memcpy(TO + HB1n, TR, TRn);
  TOn = HB1n + TRn;
}
static int sflush(Conn* c, Str* s) {  // returns 1 if stream finished
  if (!s->hdr && (s->q.n > s->q.off || s->endin)) {
    if (tronly && s->endin) {
      fhdr(&c->out, TOn, 1, 5, s->id);
      bput(&c->out, TO, TOn);
      return 1;
    }
    fhdr(&c->out, HB1n, 1, 4, s->id);
    bput(&c->out, HB1, HB1n);
    s->hdr = 1;
  }
  while (s->q.n > s->q.off) {
    int64_t k = s->q.n - s->q.off;
    if (k > c->mfs) k = c->mfs;
    if (k > s->win) k = s->win;
    if (k > c->win) k = c->win;
    if (k <= 0) return 0;
    fhdr(&c->out, k, 0, 0, s->id);
    bput(&c->out, s->q.p + s->q.off, k);
    s->q.off += k;
    s->win -= k;
    c->win -= k;
  }
  if (s->endin) {
    fhdr(&c->out, TRn, 1, 5, s->id);
    bput(&c->out, TR, TRn);
    return 1;
  }
  return 0;
}
static void pump(Conn* c, Str* s) {
  if (sflush(c, s))
    sdel(c, s);
  else if (s->q.n > s->q.off && !s->blocked) {
    s->blocked = 1;
    s->nb = c->bl;
    c->bl = s;
  }
}
static void pumpall(Conn* c) {
  Str* l = c->bl;
  c->bl = 0;
  while (l) {
    Str* n = l->nb;
    l->nb = 0;
    l->blocked = 0;
    pump(c, l);
    l = n;
  }
}
static void cclose(Conn* c) {
  close(c->fd);
  for (int i = 0; i < HB; i++) {
    Str* s = c->h[i];
    while (s) {
      Str* n = s->next;
      s->next = pool;
      pool = s;
      s = n;
    }
  }
  free(c->in.p);
  free(c->out.p);
  free(c);
}
static int wr(Conn* c) {
  while (c->out.off < c->out.n) {
    ssize_t k = write(c->fd, c->out.p + c->out.off, c->out.n - c->out.off);
    if (k < 0) {
      if (errno == EAGAIN) {
        if (!c->wantw) {
          struct epoll_event e = {EPOLLIN | EPOLLOUT, {.ptr = c}};
          epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
          c->wantw = 1;
        }
        return 0;
      }
      return -1;
    }
    c->out.off += k;
  }
  c->out.off = c->out.n = 0;
  if (c->wantw) {
    struct epoll_event e = {EPOLLIN, {.ptr = c}};
    epoll_ctl(ep, EPOLL_CTL_MOD, c->fd, &e);
    c->wantw = 0;
  }
  return 0;
}
static int rd(Conn* c) {
  bneed(&c->in, 262144);
  ssize_t k = read(c->fd, c->in.p + c->in.n, 262144);
  if (k <= 0) return (k < 0 && errno == EAGAIN) ? 0 : -1;
  c->in.n += k;
  uint8_t *p = c->in.p + c->in.off, *e = c->in.p + c->in.n;
  if (!c->pre) {
    if (e - p < 24) return 0;
    if (memcmp(p, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24)) return -1;
    p += 24;
    c->pre = 1;
    uint8_t s[] = {0, 3, 0, 0, 0x27, 0x10, 0, 4, 0, 0x10, 0, 0};
    fhdr(&c->out, 12, 4, 0, 0);
    bput(&c->out, s, 12);
    uint8_t w[4] = {0x3f, 0, 0, 0};
    fhdr(&c->out, 4, 8, 0, 0);
    bput(&c->out, w, 4);
  }
  while (e - p >= 9) {
    uint32_t len = p[0] << 16 | p[1] << 8 | p[2];
    if (e - p < 9 + len) break;
    uint8_t t = p[3], f = p[4];
    uint32_t id = r32(p + 5) & 0x7fffffff;
    uint8_t* d = p + 9;
    if (t == 0) {
      Str* s = sget(c, id, 0);
      uint32_t dl = len;
      if (f & 8) {
        dl -= 1 + d[0];
        d++;
      }
      c->recvd += len;
      if (c->recvd > (1 << 24)) {
        uint8_t w[4] = {c->recvd >> 24, c->recvd >> 16, c->recvd >> 8, c->recvd};
        fhdr(&c->out, 4, 8, 0, 0);
        bput(&c->out, w, 4);
        c->recvd = 0;
      }
      if (s) {
        s->recvd += len;
        if (s->recvd >= (1 << 19) && !(f & 1)) {
          uint8_t w[4] = {s->recvd >> 24, s->recvd >> 16, s->recvd >> 8, s->recvd};
          fhdr(&c->out, 4, 8, 0, id);
          bput(&c->out, w, 4);
          s->recvd = 0;
        }
        bput(&s->q, d, dl);
        if (f & 1) s->endin = 1;
        pump(c, s);
      }
    } else if (t == 1) {
      Str* s = sget(c, id, 1);
      if (f & 1) {
        s->endin = 1;
        pump(c, s);
      }
    } else if (t == 3) {
      Str* s = sget(c, id, 0);
      if (s) sdel(c, s);
    } else if (t == 4 && !(f & 1)) {
      for (uint32_t i = 0; i + 6 <= len; i += 6) {
        uint16_t k = d[i] << 8 | d[i + 1];
        uint32_t v = r32(d + i + 2);
        if (k == 4) {
          int64_t df = (int64_t)v - c->iw;
          c->iw = v;
          for (int j = 0; j < HB; j++)
            for (Str* s = c->h[j]; s; s = s->next) s->win += df;
        }
        if (k == 5) c->mfs = v;
      }
      fhdr(&c->out, 0, 4, 1, 0);
      pumpall(c);
    } else if (t == 6 && !(f & 1)) {
      fhdr(&c->out, 8, 6, 1, 0);
      bput(&c->out, d, 8);
    } else if (t == 8) {
      uint32_t v = r32(d) & 0x7fffffff;
      if (!id) {
        c->win += v;
        pumpall(c);
      } else {
        Str* s = sget(c, id, 0);
        if (s) {
          s->win += v;
          if (s->blocked) pumpall(c);
        }
      }
    }
    p += 9 + len;
  }
  c->in.off = p - c->in.p;
  return 0;
}
int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  mkhdr();
  tronly = argc > 2;
  int l, on = 1;
  if (!strncmp(argv[1], "unix:", 5)) {
    l = socket(AF_UNIX, SOCK_STREAM, 0);
    struct sockaddr_un u = {AF_UNIX};
    strcpy(u.sun_path, argv[1] + 5);
    unlink(u.sun_path);
    if (bind(l, (void*)&u, sizeof u)) return 1;
  } else {
    l = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(l, SOL_SOCKET, SO_REUSEADDR, &on, 4);
    struct sockaddr_in a = {AF_INET, htons(atoi(argv[1]))};
    a.sin_addr.s_addr = htonl(0x7f000001);
    if (bind(l, (void*)&a, sizeof a)) return 1;
  }
  listen(l, 4096);
  nb(l);
  ep = epoll_create1(0);
  struct epoll_event e = {EPOLLIN, {.ptr = 0}};
  epoll_ctl(ep, EPOLL_CTL_ADD, l, &e);
  struct epoll_event ev[256];
  for (;;) {
    int n = epoll_wait(ep, ev, 256, -1);
    for (int i = 0; i < n; i++) {
      Conn* c = ev[i].data.ptr;
      if (!c) {
        int fd;
        while ((fd = accept(l, 0, 0)) >= 0) {
          nb(fd);
          setsockopt(fd, 6, TCP_NODELAY, &on, 4);
          Conn* k = calloc(1, sizeof *k);
          k->fd = fd;
          k->win = 65535;
          k->iw = 65535;
          k->mfs = 16384;
          struct epoll_event e2 = {EPOLLIN, {.ptr = k}};
          epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e2);
        }
        continue;
      }
      int bad = 0;
      if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) bad = rd(c);
      if (!bad && c->out.n > c->out.off) bad = wr(c);
      if (bad) cclose(c);
    }
  }
}
