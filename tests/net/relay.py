#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A cable that is bad, for a node of a mesh: relay.py A B MIN MAX TWICE OUT

What comes in at the interface A leaves at B, and the other way round: each frame by itself after MIN to MAX
milliseconds, so that frames overtake each other, and TWICE of a hundred twice. It knows of no protocol: UDP, TCP and
ARP go alike. Ended by SIGTERM, it writes to OUT how many frames passed, overtook another and went twice.

relay.py offload INTERFACE: let the kernel finish what it sends there, as a frame that is passed on here is what a
cable would carry: cut to size, with its checksum."""
import array
import fcntl
import heapq
import random
import select
import signal
import socket
import struct
import sys
import time

SIOCETHTOOL = 0x8946
SET_TX_CHECKSUM, SET_TSO, SET_GSO = 0x17, 0x1F, 0x24
SOL_PACKET, PACKET_IGNORE_OUTGOING = 263, 23
FRAME_MAX = 65536


def offload(name):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for what in SET_TSO, SET_GSO, SET_TX_CHECKSUM:
            value = array.array("B", struct.pack("II", what, 0))
            at, _ = value.buffer_info()
            fcntl.ioctl(s, SIOCETHTOOL, struct.pack("16sP", name.encode(), at))


def opened(name):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
    s.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    s.bind((name, 3))
    s.setblocking(False)
    return s


def relay(a, b, least, most, twice, out):
    ends = {a: b, b: a}
    waiting, counts, number = [], {"passed": 0, "overtook": 0, "twice": 0}, 0
    newest = {a: 0, b: 0}  # number of the newest frame that left there
    stopped = []
    signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
    while not stopped:
        now = time.monotonic()
        ready, _, _ = select.select(list(ends), [], [], max(0.0, waiting[0][0] - now) if waiting else 0.2)
        now = time.monotonic()
        for end in ready:
            try:
                while frame := end.recv(FRAME_MAX):
                    copies = 1 + (random.random() * 100 < twice)
                    counts["twice"] += copies - 1
                    number += 1
                    for _ in range(copies):
                        heapq.heappush(waiting, (now + random.uniform(least, most) / 1000, number, id(end), ends[end], frame))
            except BlockingIOError:
                pass
        while waiting and waiting[0][0] <= now:
            _, n, _, to, frame = heapq.heappop(waiting)
            counts["overtook"] += n < newest[to]
            newest[to] = max(newest[to], n)
            counts["passed"] += 1
            try:
                to.send(frame)
            except OSError:  # its queue is full, or it is down: lost, as on a cable
                pass
    with open(out, "w") as f:
        f.write(f"{counts['passed']} {counts['overtook']} {counts['twice']}\n")


if sys.argv[1] == "offload":
    offload(sys.argv[2])
else:
    relay(opened(sys.argv[1]), opened(sys.argv[2]), *map(float, sys.argv[3:6]), sys.argv[6])
