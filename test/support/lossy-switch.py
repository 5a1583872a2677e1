"""A switch that loses and delays frames, where the kernel has no netem. Python 3, Linux, root.

lossy-switch.py switch LOSS DELAY_MS PORT...   passes frames on between the interfaces, until it is ended
lossy-switch.py plain INTERFACE                makes an interface send finished frames of at most its MTU
"""
import fcntl
import heapq
import random
import select
import socket
import struct
import sys
import time

ETH_P_ALL = 3
PACKET_OUTGOING = 4
PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC, SOL_PACKET = 1, 1, 263
SIOCETHTOOL = 0x8946
# What would leave checksums or segmentation to a network card: transmit checksums, scatter/gather, TSO, GSO, GRO.
OFFLOADS = (0x17, 0x19, 0x1F, 0x24, 0x2C)
MAX_WAITING = 100_000


def plain(interface):
    probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for command in OFFLOADS:
        import ctypes
        value = ctypes.create_string_buffer(struct.pack("II", command, 0))
        request = struct.pack("16sP", interface.encode(), ctypes.addressof(value))
        try:
            fcntl.ioctl(probe, SIOCETHTOOL, request)
        except OSError:
            pass


def open_port(name):
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
    port.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    port.bind((name, ETH_P_ALL))
    membership = struct.pack("iHH8s", socket.if_nametoindex(name), PACKET_MR_PROMISC, 0, b"")
    port.setsockopt(SOL_PACKET, PACKET_ADD_MEMBERSHIP, membership)
    port.setblocking(False)
    return port


def switch(loss, delay_ms, names):
    ports = [open_port(name) for name in names]
    behind = {}
    waiting = []
    count = 0
    print("ready", flush=True)
    while True:
        now = time.monotonic()
        while waiting and waiting[0][0] <= now:
            _, _, to, frame = heapq.heappop(waiting)
            try:
                ports[to].send(frame)
            except OSError:
                pass  # the cable is out
        timeout = max(0.0, waiting[0][0] - now) if waiting else None
        for port in select.select(ports, [], [], timeout)[0]:
            at = ports.index(port)
            for _ in range(64):
                try:
                    frame, origin = port.recvfrom(65_535)
                except OSError:
                    break
                if origin[2] == PACKET_OUTGOING or len(frame) < 14:
                    continue
                target, source = frame[:6], frame[6:12]
                behind[source] = at
                to = behind.get(target)
                targets = [to] if to is not None and not target[0] & 1 else range(len(ports))
                for other in targets:
                    if other == at or random.random() < loss or len(waiting) >= MAX_WAITING:
                        continue
                    count += 1
                    heapq.heappush(waiting, (time.monotonic() + delay_ms / 1000, count, other, frame))


if __name__ == "__main__":
    if sys.argv[1] == "plain":
        plain(sys.argv[2])
    else:
        switch(float(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
