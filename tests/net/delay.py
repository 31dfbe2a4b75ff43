# SPDX-License-Identifier: Apache-2.0
# delay.py A B MS: what comes in at one of two interfaces leaves at the other MS milliseconds later, as if
# the way were so long. For kernels without netem.
import collections
import select
import socket
import sys
import time

SOL_PACKET, PACKET_VNET_HDR, PACKET_IGNORE_OUTGOING, ETH_P_ALL = 263, 15, 23, 3
FRAME_MAX = 1 << 17  # octets: what the kernel has not cut into packets yet, and its header


def end(name):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    s.setsockopt(SOL_PACKET, PACKET_VNET_HDR, 1)  # checksums are still to be made
    s.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
    s.bind((name, ETH_P_ALL))
    return s


a, b = end(sys.argv[1]), end(sys.argv[2])
delay = float(sys.argv[3]) / 1000
under_way = collections.deque()
while True:
    wait = max(0, under_way[0][0] - time.monotonic()) if under_way else None
    for s in select.select([a, b], [], [], wait)[0]:
        under_way.append((time.monotonic() + delay, b if s is a else a, s.recv(FRAME_MAX)))
    while under_way and under_way[0][0] <= time.monotonic():
        _, to, frame = under_way.popleft()
        try:
            to.send(frame)
        except OSError:  # it is gone, or its queue is full: lost, as on the way
            pass
