// One end of an HTTP/2 connection: its socket, what was read and what is to be written, and its flow control.
#ifndef BENCH_WIRE_H
#define BENCH_WIRE_H

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http2.h"

#define READ_SIZE (256 * 1024)
/** Of a stream that we receive on. */
#define OUR_STREAM_WINDOW (1024 * 1024)
/** Added to the connection's window at its begin, so that its streams alone bound what is under way. */
#define OUR_WINDOW_INCREMENT 0x3f000000
/** Received data is given back to a window once it comes to this much. */
#define CONNECTION_GIVES_BACK (16 * 1024 * 1024)
#define STREAM_GIVES_BACK (512 * 1024)

typedef struct {
  int fd;
  int poller;   // the epoll that waits for it
  void* owner;  // what the poller names when there is something to do
  bool waits_to_write;
  Bytes in;
  Bytes out;
  uint32_t received;      // octets of data not given back to the other end's window yet
  int64_t window;         // octets of data the other end takes, over all streams
  uint32_t first_window;  // the window a stream begins with
  uint32_t max_frame;
  uint32_t max_streams;
  uint32_t header_table;  // octets: the smallest table the other end has asked for
} Wire;

static inline struct sockaddr_in loopback(int port) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  return address;
}

static inline void set_nonblocking(int fd) { fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK); }

/** Begins a connection on `fd`. */
static inline void wire_open(Wire* wire, int fd, int poller, void* owner) {
  int on = 1;
  set_nonblocking(fd);
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  *wire = (Wire){.fd = fd,
                 .poller = poller,
                 .owner = owner,
                 .window = DEFAULT_WINDOW,
                 .first_window = DEFAULT_WINDOW,
                 .max_frame = DEFAULT_MAX_FRAME,
                 .max_streams = 1 << 30,
                 .header_table = DEFAULT_HEADER_TABLE};
  struct epoll_event event = {.events = EPOLLIN, .data.ptr = owner};
  epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
}

/** Closes the socket, which takes it out of its poller. */
static inline void wire_close(Wire* wire) {
  close(wire->fd);
  free(wire->in.data);
  free(wire->out.data);
}

static inline void wire_poll(Wire* wire, bool for_writing) {
  if (wire->waits_to_write == for_writing) return;
  struct epoll_event event = {.events = for_writing ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = wire->owner};
  epoll_ctl(wire->poller, EPOLL_CTL_MOD, wire->fd, &event);
  wire->waits_to_write = for_writing;
}

/** Writes what waits to be written, as far as the socket takes it. False when the connection is broken. */
static inline bool wire_write(Wire* wire) {
  while (bytes_left(&wire->out) > 0) {
    ssize_t written = write(wire->fd, bytes_front(&wire->out), bytes_left(&wire->out));
    if (written < 0 && errno != EAGAIN) return false;
    if (written < 0) {
      wire_poll(wire, true);
      return true;
    }
    wire->out.start += written;
  }
  bytes_clear(&wire->out);
  wire_poll(wire, false);
  return true;
}

/** Reads once. False when the connection is over. */
static inline bool wire_read(Wire* wire) {
  ssize_t count = read(wire->fd, bytes_reserve(&wire->in, READ_SIZE), READ_SIZE);
  if (count < 0) return errno == EAGAIN;
  wire->in.end += count;
  return count > 0;
}

/** Gives the windows of connection and stream (`*stream_received`) back what they have received, now and then. */
static inline void wire_received(Wire* wire, const Frame* frame, uint32_t* stream_received) {
  wire->received += frame->length;
  if (wire->received > CONNECTION_GIVES_BACK) {
    put_window_update(&wire->out, 0, wire->received);
    wire->received = 0;
  }
  if (stream_received == NULL) return;
  *stream_received += frame->length;
  if (*stream_received >= STREAM_GIVES_BACK && !frame_has(frame, FLAG_END_STREAM)) {
    put_window_update(&wire->out, frame->stream, *stream_received);
    *stream_received = 0;
  }
}

/** Sends as much of `data` as the windows of stream and connection take. Returns how much that was, in octets. */
static inline size_t wire_send(Wire* wire, uint32_t stream, int64_t* stream_window, const uint8_t* data, size_t length,
                               bool then_end) {
  size_t sent = 0;
  while (sent < length) {
    int64_t part = length - sent;
    if (part > wire->max_frame) part = wire->max_frame;
    if (part > *stream_window) part = *stream_window;
    if (part > wire->window) part = wire->window;
    if (part <= 0) break;
    bool last = then_end && sent + part == length;
    put_frame(&wire->out, FRAME_DATA, last ? FLAG_END_STREAM : 0, stream, data + sent, part);
    sent += part;
    *stream_window -= part;
    wire->window -= part;
  }
  return sent;
}

/** Takes over the other end's settings. Returns the octets to add to the window of each open stream; may be negative. */
static inline int64_t wire_apply_settings(Wire* wire, const Frame* frame) {
  int64_t added = 0;
  for (uint32_t at = 0; at + 6 <= frame->length; at += 6) {
    uint16_t setting = frame->payload[at] << 8 | frame->payload[at + 1];
    uint32_t value = read_uint32(frame->payload + at + 2);
    if (setting == SETTING_HEADER_TABLE_SIZE && value < wire->header_table) wire->header_table = value;
    if (setting == SETTING_MAX_CONCURRENT_STREAMS) wire->max_streams = value;
    if (setting == SETTING_MAX_FRAME_SIZE) wire->max_frame = value;
    if (setting == SETTING_INITIAL_WINDOW_SIZE) {
      added += (int64_t)value - wire->first_window;
      wire->first_window = value;
    }
  }
  put_frame_header(&wire->out, 0, FRAME_SETTINGS, FLAG_ACK, 0);
  return added;
}

static inline void wire_answer_ping(Wire* wire, const Frame* frame) {
  put_frame(&wire->out, FRAME_PING, FLAG_ACK, 0, frame->payload, frame->length);
}

#endif
