"""What grpcio (the C core) expects of a proxy before the interop server of grpc-go: `hazards.py PORT`. Prints `ok NAME` or `not ok NAME: why`."""
import sys
import threading
import time

import grpc

SERVICE = "/grpc.testing.TestService/"


def raw(data):
    return data


def sized(size, interval_us=0):
    """StreamingOutputCallRequest with one response of `size` bytes, by hand."""
    parameters = b"\x08" + varint(size) + (b"\x10" + varint(interval_us) if interval_us else b"")
    return b"\x12" + varint(len(parameters)) + parameters


def varint(value):
    out = b""
    while value >= 0x80:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


class Hazards:
    def __init__(self, port):
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_metadata_size", 1 << 20)]
        channel = grpc.insecure_channel(f"127.0.0.1:{port}", options=options)
        self.empty = channel.unary_unary(SERVICE + "EmptyCall", raw, raw)
        self.unary = channel.unary_unary(SERVICE + "UnaryCall", raw, raw)
        self.output = channel.unary_stream(SERVICE + "StreamingOutputCall", raw, raw)
        self.duplex = channel.stream_stream(SERVICE + "FullDuplexCall", raw, raw)

    def large_metadata(self):
        assert self.empty(b"", metadata=[("x-long", "q" * 16_000)], timeout=10) == b""

    def metadata_comes_back(self):
        sent = [("x-grpc-test-echo-initial", "first"), ("x-grpc-test-echo-trailing-bin", b"\x00\x01\xff")]
        _, call = self.empty.with_call(b"", metadata=sent, timeout=10)
        call_unary = self.unary.with_call(b"", metadata=sent, timeout=10)[1]
        assert ("x-grpc-test-echo-initial", "first") in [(k, v) for k, v in call_unary.initial_metadata()]
        assert ("x-grpc-test-echo-trailing-bin", b"\x00\x01\xff") in [(k, v) for k, v in call_unary.trailing_metadata()]

    def messages_in_turn(self):
        ready = threading.Semaphore(1)

        def requests():
            for size in (1, 1_000, 100_000):
                ready.acquire()
                yield sized(size)

        answers = self.duplex(requests(), timeout=20)
        for size in (1, 1_000, 100_000):
            assert len(next(answers)) >= size
            ready.release()
        assert list(answers) == []

    def deadline_ends_a_call(self):
        began = time.monotonic()
        try:
            list(self.output(sized(10, 20_000_000), timeout=0.5))
            raise AssertionError("it went on")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED, error
        assert time.monotonic() - began < 5

    def cancel_ends_a_call(self):
        call = self.output(sized(10, 20_000_000), timeout=30)
        time.sleep(0.1)
        call.cancel()
        try:
            list(call)
            raise AssertionError("it went on")
        except grpc.RpcError as error:
            assert error.code() == grpc.StatusCode.CANCELLED, error

    def slow_readers_hold_up_nobody(self):
        stalled = [self.output(sized(8_000_000) * 6, timeout=60) for _ in range(4)]
        for call in stalled:
            next(call)
        began = time.monotonic()
        for _ in range(50):
            self.empty(b"", timeout=5)
        assert time.monotonic() - began < 5
        for call in stalled:
            assert sum(len(part) for part in call) > 5 * 8_000_000

    def many_at_once(self):
        calls = [self.empty.future(b"", timeout=30) for _ in range(2_000)]
        assert all(call.result() == b"" for call in calls)


def main():
    hazards = Hazards(sys.argv[1])
    names = [name for name in vars(Hazards) if not name.startswith("_")]
    for name in names:
        try:
            getattr(hazards, name)()
            print(f"ok {name}", flush=True)
        except Exception as error:  # each is told, whatever it is
            print(f"not ok {name}: {error!r}", flush=True)


main()
