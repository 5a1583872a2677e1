// A gRPC unit that sends back what it gets, as fast as it can: looks at no header, heeds flow control. Usage: echo PORT
#include "wire.h"

#define BUCKETS 4096
#define MAX_STREAMS 10000
#define EVENTS 256

typedef struct Stream {
  uint32_t id;
  int64_t window;        // octets of data the caller takes
  uint32_t received;     // octets not given back to the caller's window yet
  Bytes echo;            // received and not sent back yet
  bool caller_ended;
  bool answering;        // its response headers are sent
  bool blocked;          // is in the connection's list of those that wait for a window
  struct Stream* next;   // in its bucket, or among the spare ones
  struct Stream* next_blocked;
} Stream;

typedef struct {
  Wire wire;
  bool greeted;  // the preface came
  Stream* buckets[BUCKETS];
  Stream* blocked;
} Connection;

static int poller;
/** Streams that ended, to be used again with their buffers. */
static Stream* spare;

// Headers without references to a table, so that their bytes are the same in each answer (RFC 7541, 6.2.2).
static const char RESPONSE_HEADERS[] =
    "\x88"  // :status: 200
    "\x0f\x10\x10"
    "application/grpc";  // content-type, name 31 of the static table
static const char TRAILERS[] =
    "\x00\x0bgrpc-status"
    "\x01"
    "0"
    "\x00\x0cgrpc-message\x00";

static void put_headers(Connection* connection, uint32_t stream, uint8_t flags, const char* block, uint32_t length) {
  put_frame(&connection->wire.out, FRAME_HEADERS, FLAG_END_HEADERS | flags, stream, block, length);
}

static Stream** bucket_of(Connection* connection, uint32_t id) { return &connection->buckets[(id >> 1) % BUCKETS]; }

static Stream* find_stream(Connection* connection, uint32_t id) {
  Stream* stream = *bucket_of(connection, id);
  while (stream != NULL && stream->id != id) stream = stream->next;
  return stream;
}

static Stream* open_stream(Connection* connection, uint32_t id) {
  Stream* stream = spare;
  Bytes buffer = {0};
  if (stream == NULL) {
    stream = malloc(sizeof *stream);
  } else {
    spare = stream->next;
    buffer = stream->echo;
    bytes_clear(&buffer);
  }
  Stream** bucket = bucket_of(connection, id);
  *stream = (Stream){.id = id, .window = connection->wire.first_window, .echo = buffer, .next = *bucket};
  *bucket = stream;
  return stream;
}

static void unblock(Connection* connection, Stream* stream) {
  Stream** place = &connection->blocked;
  while (*place != stream) place = &(*place)->next_blocked;
  *place = stream->next_blocked;
  stream->blocked = false;
}

static void end_stream(Connection* connection, Stream* stream) {
  if (stream->blocked) unblock(connection, stream);
  Stream** place = bucket_of(connection, stream->id);
  while (*place != stream) place = &(*place)->next;
  *place = stream->next;
  stream->next = spare;
  spare = stream;
}

/** Sends back what the windows take. True when the call is answered to its end. */
static bool answer(Connection* connection, Stream* stream) {
  Bytes* echo = &stream->echo;
  if (!stream->answering && (bytes_left(echo) > 0 || stream->caller_ended)) {
    put_headers(connection, stream->id, 0, RESPONSE_HEADERS, sizeof RESPONSE_HEADERS - 1);
    stream->answering = true;
  }
  echo->start +=
      wire_send(&connection->wire, stream->id, &stream->window, bytes_front(echo), bytes_left(echo), false);
  if (bytes_left(echo) > 0 || !stream->caller_ended) return false;
  put_headers(connection, stream->id, FLAG_END_STREAM, TRAILERS, sizeof TRAILERS - 1);
  return true;
}

static void pump(Connection* connection, Stream* stream) {
  if (answer(connection, stream)) {
    end_stream(connection, stream);
  } else if (bytes_left(&stream->echo) > 0 && !stream->blocked) {
    stream->blocked = true;
    stream->next_blocked = connection->blocked;
    connection->blocked = stream;
  }
}

static void pump_blocked(Connection* connection) {
  Stream* stream = connection->blocked;
  connection->blocked = NULL;
  while (stream != NULL) {
    Stream* next = stream->next_blocked;
    stream->blocked = false;
    pump(connection, stream);
    stream = next;
  }
}

static void on_data(Connection* connection, const Frame* frame) {
  Stream* stream = find_stream(connection, frame->stream);
  wire_received(&connection->wire, frame, stream == NULL ? NULL : &stream->received);
  if (stream == NULL) return;
  bool padded = frame_has(frame, FLAG_PADDED);
  bytes_put(&stream->echo, frame->payload + padded, frame->length - (padded ? 1 + frame->payload[0] : 0));
  if (frame_has(frame, FLAG_END_STREAM)) stream->caller_ended = true;
  pump(connection, stream);
}

static void on_headers(Connection* connection, const Frame* frame) {
  Stream* stream = find_stream(connection, frame->stream);
  if (stream == NULL) stream = open_stream(connection, frame->stream);
  if (!frame_has(frame, FLAG_END_STREAM)) return;
  stream->caller_ended = true;
  pump(connection, stream);
}

static void on_settings(Connection* connection, const Frame* frame) {
  int64_t added = wire_apply_settings(&connection->wire, frame);
  for (int bucket = 0; added != 0 && bucket < BUCKETS; bucket++) {
    for (Stream* each = connection->buckets[bucket]; each != NULL; each = each->next) each->window += added;
  }
  pump_blocked(connection);
}

static void on_window_update(Connection* connection, const Frame* frame) {
  uint32_t octets = read_uint32(frame->payload) & 0x7fffffff;
  if (frame->stream == 0) {
    connection->wire.window += octets;
    pump_blocked(connection);
    return;
  }
  Stream* stream = find_stream(connection, frame->stream);
  if (stream == NULL) return;
  stream->window += octets;
  if (stream->blocked) pump(connection, stream);
}

static void on_frame(Connection* connection, const Frame* frame) {
  bool ack = frame_has(frame, FLAG_ACK);
  Stream* stream;
  switch (frame->type) {
    case FRAME_DATA:
      return on_data(connection, frame);
    case FRAME_HEADERS:
      return on_headers(connection, frame);
    case FRAME_RST_STREAM:
      stream = find_stream(connection, frame->stream);
      if (stream != NULL) end_stream(connection, stream);
      return;
    case FRAME_SETTINGS:
      if (!ack) on_settings(connection, frame);
      return;
    case FRAME_PING:
      if (!ack) wire_answer_ping(&connection->wire, frame);
      return;
    case FRAME_WINDOW_UPDATE:
      return on_window_update(connection, frame);
  }
}

/** Waits for the caller's preface and answers it with ours. False when something else came. */
static bool greet(Connection* connection) {
  Wire* wire = &connection->wire;
  if (bytes_left(&wire->in) < PREFACE_LENGTH) return true;
  if (memcmp(bytes_front(&wire->in), PREFACE, PREFACE_LENGTH) != 0) return false;
  wire->in.start += PREFACE_LENGTH;
  connection->greeted = true;
  put_settings(&wire->out, SETTING_MAX_CONCURRENT_STREAMS, MAX_STREAMS, SETTING_INITIAL_WINDOW_SIZE,
               OUR_STREAM_WINDOW);
  put_window_update(&wire->out, 0, OUR_WINDOW_INCREMENT);
  return true;
}

static bool on_readable(Connection* connection) {
  if (!wire_read(&connection->wire)) return false;
  if (!connection->greeted && !greet(connection)) return false;
  Frame frame;
  while (connection->greeted && take_frame(&connection->wire.in, &frame)) on_frame(connection, &frame);
  return true;
}

static void accept_all(int listener) {
  for (int fd = accept(listener, NULL, NULL); fd >= 0; fd = accept(listener, NULL, NULL)) {
    Connection* connection = calloc(1, sizeof *connection);
    wire_open(&connection->wire, fd, poller, connection);
  }
}

static void close_connection(Connection* connection) {
  for (int bucket = 0; bucket < BUCKETS; bucket++) {
    while (connection->buckets[bucket] != NULL) end_stream(connection, connection->buckets[bucket]);
  }
  wire_close(&connection->wire);
  free(connection);
}

static void serve(Connection* connection, uint32_t events) {
  bool open = true;
  if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) open = on_readable(connection);
  if (open && bytes_left(&connection->wire.out) > 0) open = wire_write(&connection->wire);
  if (!open) close_connection(connection);
}

static int listen_on(int port) {
  int on = 1;
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  struct sockaddr_in address = loopback(port);
  if (bind(listener, (struct sockaddr*)&address, sizeof address) != 0 || listen(listener, 4096) != 0) {
    perror("listen");
    exit(1);
  }
  set_nonblocking(listener);
  return listener;
}

int main(int argc, char** argv) {
  if (argc != 2) {
    fputs("usage: echo PORT\n", stderr);
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  int listener = listen_on(atoi(argv[1]));
  poller = epoll_create1(0);
  struct epoll_event listening = {.events = EPOLLIN, .data.ptr = NULL};
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &listening);
  struct epoll_event events[EVENTS];
  for (;;) {
    int count = epoll_wait(poller, events, EVENTS, -1);
    for (int i = 0; i < count; i++) {
      if (events[i].data.ptr == NULL)
        accept_all(listener);
      else
        serve(events[i].data.ptr, events[i].events);
    }
  }
}
