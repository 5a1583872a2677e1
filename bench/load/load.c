// Calls over HTTP/2 with gRPC framing in a closed loop: heeds flow control, compresses headers with a table as gRPC
// libraries do, and keeps a histogram of latencies. Usage: load PORT CONNECTIONS STREAMS BYTES SECONDS; prints JSON.
#include <inttypes.h>
#include <time.h>

#include "header-encoder.h"
#include "latencies.h"
#include "wire.h"

#define EVENTS 256
#define POLL_MS 200
/** Not measured, where the run takes more than a second. */
#define WARM_UP_US 0.2e6
#define GRPC_PREFIX_LENGTH 5

/** A place for one call at a time; the next begins when one ends. */
typedef struct {
  uint32_t id;
  bool active;
  int64_t window;     // octets of data the other end takes
  uint32_t sent;      // octets of the request
  uint32_t answered;  // octets of the response
  uint32_t received;  // octets not given back to the other end's window yet
  double begun_us;
} Call;

typedef struct {
  Wire wire;
  HeaderEncoder encoder;
  uint32_t next_id;
  bool settled;  // the other end's settings came, and the calls have begun
  Call* calls;
} Connection;

static struct {
  int connections;
  int streams;        // calls at once on each connection
  uint8_t* message;   // with its gRPC prefix
  uint32_t length;    // octets of that
  double duration_us;
} plan;

static struct {
  uint64_t done;
  uint64_t bad;
  uint64_t reset;
  int dead;  // connections
  Latencies latencies;
} seen;

static double now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e6 + now.tv_nsec / 1e3;
}

static void send_message(Connection* connection, Call* call) {
  call->sent += wire_send(&connection->wire, call->id, &call->window, plan.message + call->sent,
                          plan.length - call->sent, true);
}

static void send_active(Connection* connection) {
  for (int i = 0; i < plan.streams; i++)
    if (connection->calls[i].active) send_message(connection, &connection->calls[i]);
}

static void begin_call(Connection* connection, Call* call) {
  static Bytes block;
  HeaderEncoder* encoder = &connection->encoder;
  bytes_clear(&block);
  begin_headers(encoder, &block);
  bytes_put_octet(&block, 0x83);  // :method: POST
  bytes_put_octet(&block, 0x86);  // :scheme: http
  put_header(encoder, &block, ":path", "/echo.Echo/Unary", 4);
  put_header(encoder, &block, ":authority", "127.0.0.1:50051", 1);
  put_header(encoder, &block, "content-type", "application/grpc", 31);
  put_header(encoder, &block, "user-agent", "grpc-go/1.60.0", 58);
  put_header(encoder, &block, "te", "trailers", 0);

  *call = (Call){.id = connection->next_id,
                 .active = true,
                 .window = connection->wire.first_window,
                 .begun_us = now_us()};
  connection->next_id += 2;
  put_frame(&connection->wire.out, FRAME_HEADERS, FLAG_END_HEADERS, call->id, block.data, block.end);
  send_message(connection, call);
}

static Call* find_call(Connection* connection, uint32_t id) {
  for (int i = 0; i < plan.streams; i++)
    if (connection->calls[i].active && connection->calls[i].id == id) return &connection->calls[i];
  return NULL;
}

static void end_call(Connection* connection, Call* call, bool good) {
  if (good) {
    seen.done++;
    note_latency(&seen.latencies, now_us() - call->begun_us);
  } else {
    seen.bad++;
  }
  begin_call(connection, call);
}

static void on_data(Connection* connection, const Frame* frame) {
  Call* call = find_call(connection, frame->stream);
  wire_received(&connection->wire, frame, call == NULL ? NULL : &call->received);
  if (call == NULL) return;
  call->answered += frame->length;
  // A gRPC response ends with trailers.
  if (frame_has(frame, FLAG_END_STREAM)) end_call(connection, call, false);
}

static void on_settings(Connection* connection, const Frame* frame) {
  Wire* wire = &connection->wire;
  int64_t added = wire_apply_settings(wire, frame);
  shrink_header_table(&connection->encoder, wire->header_table);
  for (int i = 0; i < plan.streams; i++) connection->calls[i].window += added;
  if (!connection->settled) {
    connection->settled = true;
    int streams = wire->max_streams < (uint32_t)plan.streams ? (int)wire->max_streams : plan.streams;
    for (int i = 0; i < streams; i++) begin_call(connection, &connection->calls[i]);
  }
  send_active(connection);
}

static void on_window_update(Connection* connection, const Frame* frame) {
  uint32_t octets = read_uint32(frame->payload) & 0x7fffffff;
  if (frame->stream == 0) {
    connection->wire.window += octets;
    send_active(connection);
    return;
  }
  Call* call = find_call(connection, frame->stream);
  if (call == NULL) return;
  call->window += octets;
  send_message(connection, call);
}

static void on_goaway(const Frame* frame) {
  static bool told;
  if (!told) fprintf(stderr, "GOAWAY code %u\n", read_uint32(frame->payload + 4));
  told = true;
}

static void on_frame(Connection* connection, const Frame* frame) {
  bool ack = frame_has(frame, FLAG_ACK);
  Call* call;
  switch (frame->type) {
    case FRAME_DATA:
      return on_data(connection, frame);
    case FRAME_HEADERS:
      call = find_call(connection, frame->stream);
      if (call != NULL && frame_has(frame, FLAG_END_STREAM))
        end_call(connection, call, call->answered == plan.length);
      return;
    case FRAME_RST_STREAM:
      call = find_call(connection, frame->stream);
      seen.reset++;
      if (call != NULL) end_call(connection, call, false);
      return;
    case FRAME_SETTINGS:
      if (!ack) on_settings(connection, frame);
      return;
    case FRAME_PING:
      if (!ack) wire_answer_ping(&connection->wire, frame);
      return;
    case FRAME_GOAWAY:
      return on_goaway(frame);
    case FRAME_WINDOW_UPDATE:
      return on_window_update(connection, frame);
  }
}

static bool on_readable(Connection* connection) {
  if (!wire_read(&connection->wire)) return false;
  Frame frame;
  while (take_frame(&connection->wire.in, &frame)) on_frame(connection, &frame);
  return true;
}

static void open_connection(Connection* connection, int port, int poller) {
  int fd = socket(AF_INET, SOCK_STREAM, 0);
  struct sockaddr_in address = loopback(port);
  if (connect(fd, (struct sockaddr*)&address, sizeof address) != 0) {
    perror("connect");
    exit(1);
  }
  Wire* wire = &connection->wire;
  wire_open(wire, fd, poller, connection);
  connection->next_id = 1;
  connection->encoder.max_size = DEFAULT_HEADER_TABLE;
  connection->calls = calloc(plan.streams, sizeof(Call));
  bytes_put(&wire->out, PREFACE, PREFACE_LENGTH);
  put_settings(&wire->out, SETTING_ENABLE_PUSH, 0, SETTING_INITIAL_WINDOW_SIZE, OUR_STREAM_WINDOW);
  put_window_update(&wire->out, 0, OUR_WINDOW_INCREMENT);
  wire_write(wire);
}

static void lose_connection(Connection* connection) {
  wire_close(&connection->wire);
  seen.dead++;
  for (int i = 0; i < plan.streams; i++)
    if (connection->calls[i].active) seen.bad++;
}

static void serve(Connection* connection, uint32_t events) {
  bool open = true;
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) open = on_readable(connection);
  if (open && bytes_left(&connection->wire.out) > 0) open = wire_write(&connection->wire);
  if (!open) lose_connection(connection);
}

/** Calls until the time is over or no connection is left. Returns how long was measured, in us. */
static double run(int poller) {
  struct epoll_event events[EVENTS];
  double begun = now_us();
  double warm_until = begun + (plan.duration_us > 1e6 ? WARM_UP_US : 0);
  bool measuring = false;
  while (seen.dead < plan.connections) {
    int count = epoll_wait(poller, events, EVENTS, POLL_MS);
    double now = now_us();
    if (!measuring && now >= warm_until) {
      measuring = true;
      begun = now;
      seen.done = seen.bad = 0;
      seen.latencies = (Latencies){0};
    }
    if (measuring && now >= begun + plan.duration_us) break;
    for (int i = 0; i < count; i++) serve(events[i].data.ptr, events[i].events);
  }
  return now_us() - begun;
}

static void make_plan(char** words) {
  uint32_t bytes = atoi(words[3]);
  plan.connections = atoi(words[1]);
  plan.streams = atoi(words[2]);
  plan.duration_us = atof(words[4]) * 1e6;
  plan.length = GRPC_PREFIX_LENGTH + bytes;
  plan.message = malloc(plan.length);
  memset(plan.message, 'a', plan.length);
  uint8_t prefix[GRPC_PREFIX_LENGTH] = {0, bytes >> 24, bytes >> 16, bytes >> 8, bytes};
  memcpy(plan.message, prefix, sizeof prefix);
}

int main(int argc, char** argv) {
  if (argc != 6) {
    fputs("usage: load PORT CONNECTIONS STREAMS BYTES SECONDS\n", stderr);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  make_plan(argv + 1);
  int poller = epoll_create1(0);
  Connection* connections = calloc(plan.connections, sizeof(Connection));
  for (int i = 0; i < plan.connections; i++) open_connection(&connections[i], atoi(argv[1]), poller);

  double per_second = 1e6 / run(poller) * seen.done;
  const Latencies* latencies = &seen.latencies;
  printf("{\"rps\":%.1f,\"done\":%" PRIu64 ",\"bad\":%" PRIu64 ",\"rst\":%" PRIu64 ",\"dead\":%d", per_second, seen.done,
         seen.bad, seen.reset, seen.dead);
  printf(",\"p50\":%.1f,\"p99\":%.1f,\"p999\":%.1f,\"mbps\":%.1f}\n", latency_at(latencies, .5),
         latency_at(latencies, .99), latency_at(latencies, .999), per_second * plan.length / 1e6);
  return 0;
}
