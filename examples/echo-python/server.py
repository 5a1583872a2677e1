"""An integrated unit in Python with only grpcio: the contract of units written for the upstream HSU.

It takes exactly `--port N`, serves proto.CoreService/Ping and proto.EchoService/Echo, and on SIGTERM finishes the
calls in flight and exits 0. The two messages hold one string at most, so no generated code is needed.
"""

import argparse
import signal
import sys
from concurrent import futures

import grpc

GRACE_S = 5


def decode_message(data):
    """Returns field 1 (a string) of a message; its length is a varint."""
    text, position = "", 0
    while position < len(data):
        key, position = read_varint(data, position)
        if key & 7 != 2:
            raise ValueError("only length-delimited fields are known")
        length, position = read_varint(data, position)
        if key >> 3 == 1:
            text = data[position : position + length].decode("utf-8")
        position += length
    return text


def read_varint(data, position):
    value, shift = 0, 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position += 1
        if byte < 0x80:
            return value, position
        shift += 7


def encode_message(text):
    body = text.encode("utf-8")
    length, size = len(body), bytearray()
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    size.append(length)
    return b"\x0a" + bytes(size) + body if body else b""


def echo(request, _context):
    return encode_message("python: " + decode_message(request))


def ping(_request, _context):
    return b""


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    port = parser.parse_args().port

    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
    for service, method, behaviour in (("proto.CoreService", "Ping", ping), ("proto.EchoService", "Echo", echo)):
        handler = grpc.method_handlers_generic_handler(service, {method: grpc.unary_unary_rpc_method_handler(behaviour)})
        server.add_generic_rpc_handlers((handler,))
    server.add_insecure_port(f"[::]:{port}")
    server.start()
    print(f"python echo listens on {port}")

    signal.signal(signal.SIGTERM, lambda *_: server.stop(GRACE_S))
    server.wait_for_termination()
    sys.exit(0)


if __name__ == "__main__":
    main()
