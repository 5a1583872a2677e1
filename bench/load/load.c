// Calls over HTTP/2 with gRPC framing in a closed loop: heeds flow control, compresses headers with a table as gRPC
// libraries do, and keeps a histogram of latencies. Usage: load PORT CONNECTIONS STREAMS BYTES SECONDS; prints JSON.
#include <math.h>

#include "http2.h"
typedef struct {
  uint32_t id;
  int64_t win;
  uint32_t sent;
  uint32_t got;
  int active;
  double t0;
  uint32_t recvd;
  int hdrs;
} Str;
typedef struct {
  char n[64], v[256];
} HF;
typedef struct {
  int fd;
  Buf in, out;
  int64_t win;
  uint32_t iw, mfs, maxc;
  uint32_t next;
  Str* s;
  int wantw;
  uint32_t recvd;
  HF tab[128];
  int tn, tsz, tmax;
  int gotset;
  int upd;
} Conn;
static int ep, M, stream, usetmo, stopq;
static uint32_t PL;
static uint8_t* body;
static char path[256] = "/echo.Echo/Unary", extra[256] = "";
static uint64_t done, bad, rst;
static uint32_t hist[4000];
static double tend;
static int measuring = 1;
static int hbin(double us) {
  int b = us < 1 ? 0 : (int)(log2(us) * 128);
  if (b > 3999) b = 3999;
  return b;
}
static void put(Buf* b, int pre, int bits, uint32_t v) {
  uint32_t m = (1 << bits) - 1;
  uint8_t x;
  if (v < m) {
    x = pre | v;
    bput(b, &x, 1);
    return;
  }
  x = pre | m;
  bput(b, &x, 1);
  v -= m;
  while (v >= 128) {
    x = v | 128;
    bput(b, &x, 1);
    v >>= 7;
  }
  x = v;
  bput(b, &x, 1);
}
static void pstr(Buf* b, const char* s) {
  uint32_t l = strlen(s);
  put(b, 0, 7, l);
  bput(b, s, l);
}
static void enc(Conn* c, Buf* b, const char* n, const char* v, int sn) {
  for (int i = c->tn - 1; i >= 0; i--)
    if (!strcmp(c->tab[i].v, v) && !strcmp(c->tab[i].n, n)) {
      put(b, 0x80, 7, 62 + (c->tn - 1 - i));
      return;
    }
  int sz = strlen(n) + strlen(v) + 32;
  int idx = c->tmax >= sz ? 1 : 0;
  int ni = sn;
  if (!ni)
    for (int i = c->tn - 1; i >= 0; i--)
      if (!strcmp(c->tab[i].n, n)) {
        ni = 62 + (c->tn - 1 - i);
        break;
      }
  if (idx)
    put(b, 0x40, 6, ni);
  else
    put(b, 0, 4, ni);
  if (!ni) pstr(b, n);
  pstr(b, v);
  if (idx) {
    while (c->tsz + sz > c->tmax || c->tn >= 128) {
      c->tsz -= strlen(c->tab[0].n) + strlen(c->tab[0].v) + 32;
      memmove(c->tab, c->tab + 1, sizeof(HF) * --c->tn);
    }
    strcpy(c->tab[c->tn].n, n);
    strcpy(c->tab[c->tn].v, v);
    c->tn++;
    c->tsz += sz;
  }
}
static void sends(Conn* c, Str* s) {
  while (s->sent < PL) {
    int64_t k = PL - s->sent;
    if (k > c->mfs) k = c->mfs;
    if (k > s->win) k = s->win;
    if (k > c->win) k = c->win;
    if (k <= 0) return;
    int end = !stream && s->sent + k == PL;
    fhdr(&c->out, k, 0, end, s->id);
    bput(&c->out, body + s->sent, k);
    s->sent += k;
    s->win -= k;
    c->win -= k;
  }
}
static void newreq(Conn* c, Str* s) {
  static Buf h;
  h.n = h.off = 0;
  if (c->upd) {
    put(&h, 0x20, 5, c->tmax);
    c->upd = 0;
  }
  uint8_t x = 0x83;
  bput(&h, &x, 1);
  x = 0x86;
  bput(&h, &x, 1);
  enc(c, &h, ":path", path, 4);
  enc(c, &h, ":authority", "127.0.0.1:50051", 1);
  enc(c, &h, "content-type", "application/grpc", 31);
  enc(c, &h, "user-agent", "grpc-go/1.60.0", 58);
  enc(c, &h, "te", "trailers", 0);
  if (extra[0]) enc(c, &h, "authorization", extra, 23);
  if (usetmo) {
    static int z;
    char t[32];
    sprintf(t, "%dm", 4000 + (z++ * 7) % 997);
    enc(c, &h, "grpc-timeout", t, 0);
  }
  s->id = c->next;
  c->next += 2;
  s->win = c->iw;
  s->sent = 0;
  s->got = 0;
  s->active = 1;
  s->recvd = 0;
  s->hdrs = 0;
  s->t0 = nowus();
  fhdr(&c->out, h.n, 1, 4, s->id);
  bput(&c->out, h.p, h.n);
  sends(c, s);
}
static Str* find(Conn* c, uint32_t id) {
  for (int i = 0; i < M; i++)
    if (c->s[i].active && c->s[i].id == id) return &c->s[i];
  return 0;
}
static void fin(Conn* c, Str* s, int ok) {
  if (ok) {
    done++;
    hist[hbin(nowus() - s->t0)]++;
  } else
    bad++;
  s->active = 0;
  if (!stopq) newreq(c, s);
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
  while (e - p >= 9) {
    uint32_t len = p[0] << 16 | p[1] << 8 | p[2];
    if (e - p < 9 + len) break;
    uint8_t t = p[3], f = p[4];
    uint32_t id = r32(p + 5) & 0x7fffffff;
    uint8_t* d = p + 9;
    if (t == 0) {
      Str* s = find(c, id);
      c->recvd += len;
      if (c->recvd > (1 << 24)) {
        uint8_t w[4] = {c->recvd >> 24, c->recvd >> 16, c->recvd >> 8, c->recvd};
        fhdr(&c->out, 4, 8, 0, 0);
        bput(&c->out, w, 4);
        c->recvd = 0;
      }
      if (s) {
        s->got += len;
        s->recvd += len;
        if (s->recvd >= (1 << 19) && !(f & 1)) {
          uint8_t w[4] = {s->recvd >> 24, s->recvd >> 16, s->recvd >> 8, s->recvd};
          fhdr(&c->out, 4, 8, 0, id);
          bput(&c->out, w, 4);
          s->recvd = 0;
        }
        if (stream && s->got == PL) {
          done++;
          double n = nowus();
          hist[hbin(n - s->t0)]++;
          s->t0 = n;
          s->got = 0;
          s->sent = 0;
          if (!stopq) sends(c, s);
        }
        if (f & 1) fin(c, s, 0);
      }
    } else if (t == 1) {
      Str* s = find(c, id);
      if (s && (f & 1)) fin(c, s, s->got == PL);
    } else if (t == 3) {
      Str* s = find(c, id);
      rst++;
      if (s) fin(c, s, 0);
    } else if (t == 4 && !(f & 1)) {
      for (uint32_t i = 0; i + 6 <= len; i += 6) {
        uint16_t k2 = d[i] << 8 | d[i + 1];
        uint32_t v = r32(d + i + 2);
        if (k2 == 1) {
          if (v < (uint32_t)c->tmax) {
            c->tmax = v;
            c->upd = 1;
            while (c->tsz > c->tmax) {
              c->tsz -= strlen(c->tab[0].n) + strlen(c->tab[0].v) + 32;
              memmove(c->tab, c->tab + 1, sizeof(HF) * --c->tn);
            }
          }
        }
        if (k2 == 3) c->maxc = v;
        if (k2 == 4) {
          int64_t df = (int64_t)v - c->iw;
          c->iw = v;
          for (int j = 0; j < M; j++) c->s[j].win += df;
        }
        if (k2 == 5) c->mfs = v;
      }
      fhdr(&c->out, 0, 4, 1, 0);
      if (!c->gotset) {
        c->gotset = 1;
        int m = M;
        if (c->maxc < (uint32_t)m) m = c->maxc;
        for (int j = 0; j < m; j++) newreq(c, &c->s[j]);
      }
      for (int j = 0; j < M; j++)
        if (c->s[j].active) sends(c, &c->s[j]);
    } else if (t == 6 && !(f & 1)) {
      fhdr(&c->out, 8, 6, 1, 0);
      bput(&c->out, d, 8);
    } else if (t == 7) {
      static int g;
      if (!g++) fprintf(stderr, "GOAWAY code %u\n", r32(d + 4));
    } else if (t == 8) {
      uint32_t v = r32(d) & 0x7fffffff;
      if (!id) {
        c->win += v;
        for (int j = 0; j < M; j++)
          if (c->s[j].active) sends(c, &c->s[j]);
      } else {
        Str* s = find(c, id);
        if (s) {
          s->win += v;
          sends(c, s);
        }
      }
    }
    p += 9 + len;
  }
  c->in.off = p - c->in.p;
  return 0;
}
static double pctl(double q) {
  uint64_t tot = 0, a = 0;
  for (int i = 0; i < 4000; i++) tot += hist[i];
  for (int i = 0; i < 4000; i++) {
    a += hist[i];
    if (a >= tot * q) return exp2((i + 0.5) / 128);
  }
  return 0;
}
int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  int C = atoi(argv[2]);
  M = atoi(argv[3]);
  uint32_t B = atoi(argv[4]);
  double secs = atof(argv[5]);
  for (int i = 6; i < argc; i++) {
    if (!strcmp(argv[i], "timeout")) usetmo = 1;
    if (!strcmp(argv[i], "stream")) stream = 1;
    if (!strncmp(argv[i], "path=", 5)) strcpy(path, argv[i] + 5);
    if (!strncmp(argv[i], "auth=", 5)) strcpy(extra, argv[i] + 5);
  }
  PL = B + 5;
  body = malloc(PL);
  memset(body, 'a', PL);
  body[0] = 0;
  body[1] = B >> 24;
  body[2] = B >> 16;
  body[3] = B >> 8;
  body[4] = B;
  ep = epoll_create1(0);
  Conn* cs = calloc(C, sizeof(Conn));
  int on = 1;
  for (int i = 0; i < C; i++) {
    Conn* c = &cs[i];
    if (!strncmp(argv[1], "unix:", 5)) {
      c->fd = socket(AF_UNIX, SOCK_STREAM, 0);
      struct sockaddr_un u = {AF_UNIX};
      strcpy(u.sun_path, argv[1] + 5);
      if (connect(c->fd, (void*)&u, sizeof u)) {
        perror("connect");
        return 1;
      }
    } else {
      c->fd = socket(AF_INET, SOCK_STREAM, 0);
      struct sockaddr_in a = {AF_INET, htons(atoi(argv[1]))};
      a.sin_addr.s_addr = htonl(0x7f000001);
      if (connect(c->fd, (void*)&a, sizeof a)) {
        perror("connect");
        return 1;
      }
      setsockopt(c->fd, 6, TCP_NODELAY, &on, 4);
    }
    nb(c->fd);
    c->win = 65535;
    c->iw = 65535;
    c->mfs = 16384;
    c->maxc = 1 << 30;
    c->next = 1;
    c->tmax = 4096;
    c->s = calloc(M, sizeof(Str));
    bput(&c->out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
    uint8_t s[] = {0, 2, 0, 0, 0, 0, 0, 4, 0, 0x10, 0, 0};
    fhdr(&c->out, 12, 4, 0, 0);
    bput(&c->out, s, 12);
    uint8_t w[4] = {0x3f, 0, 0, 0};
    fhdr(&c->out, 4, 8, 0, 0);
    bput(&c->out, w, 4);
    struct epoll_event e = {EPOLLIN, {.ptr = c}};
    epoll_ctl(ep, EPOLL_CTL_ADD, c->fd, &e);
    wr(c);
  }
  struct epoll_event ev[256];
  double t0 = nowus();
  double warm = t0 + 0.2e6 * (secs > 1);
  int w = 0;
  double ts = t0;
  int dead = 0;
  for (;;) {
    int n = epoll_wait(ep, ev, 256, 200);
    double t = nowus();
    if (!w && t >= warm) {
      w = 1;
      ts = t;
      done = bad = 0;
      memset(hist, 0, sizeof hist);
    }
    if (t >= ts + secs * 1e6 && w) break;
    for (int i = 0; i < n; i++) {
      Conn* c = ev[i].data.ptr;
      int b = 0;
      if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) b = rd(c);
      if (!b && c->out.n > c->out.off) b = wr(c);
      if (b) {
        epoll_ctl(ep, EPOLL_CTL_DEL, c->fd, 0);
        close(c->fd);
        dead++;
        for (int j = 0; j < M; j++)
          if (c->s[j].active) bad++;
        if (dead == C) goto out;
      }
    }
  }
out:;
  double el = (nowus() - ts) / 1e6;
  printf(
      "{\"rps\":%.1f,\"done\":%lu,\"bad\":%lu,\"rst\":%lu,\"dead\":%d,\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"mbps\":"
      "%.1f}\n",
      done / el, done, bad, rst, dead, pctl(.5), pctl(.99), pctl(.999), done / el * PL / 1e6);
  return 0;
}
