#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a client on a node of a mesh sees: mesh_loop.py OUT STOP SERVICE...

Asks the agent's DNS for each SERVICE, and fetches a page from its virtual address, again and
again, until the file STOP is there. OUT has a line a service at any time: SERVICE, questions, of these without
an address, connects, of these failed, milliseconds of the longest that went well. Run it in the node's network
namespace and cgroup."""
import os
import random
import socket
import struct
import sys
import threading
import time

out, stop, services = sys.argv[1], sys.argv[2], sys.argv[3:]
counts = {s: [0, 0, 0, 0, 0] for s in services}
DNS_S, CONNECT_S, PAUSE_S = 5.0, 5.0, 0.02


def ask(name):
    """The first address of NAME, None without one."""
    number = random.randrange(1 << 16)
    labels = b"".join(bytes([len(l)]) + l.encode() for l in name.split("."))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(DNS_S)
        s.sendto(struct.pack(">6H", number, 0x100, 1, 0, 0, 0) + labels + b"\0\0\1\0\1", ("127.0.0.1", 8600))
        answer = s.recv(1500)
    got, flags, _, answers = struct.unpack(">4H", answer[:8])
    if got != number or flags & 15 or not answers:
        return None
    at = 12 + len(labels) + 5  # behind the question: a pointer, type, class, TTL, length
    return socket.inet_ntoa(answer[at + 12:at + 16])


def tried(function, *args):
    try:
        return function(*args)
    except OSError:
        return None


def fetch(address):
    with socket.create_connection((address, 80), CONNECT_S) as s:
        s.sendall(b"GET / HTTP/1.0\r\n\r\n")
        seen = b""
        while got := s.recv(4096):
            seen += got
        return seen


def loop(service):
    c = counts[service]
    vip = None
    while not vip:
        vip = tried(ask, service + ".virtual.mesh.internal")
    while not os.path.exists(stop):
        c[0] += 1
        c[1] += tried(ask, service + ".service.mesh.internal") is None
        began = time.monotonic()
        c[2] += 1
        if tried(fetch, vip):
            c[4] = max(c[4], int((time.monotonic() - began) * 1000))
        else:
            c[3] += 1
        time.sleep(PAUSE_S)


def write():
    with open(out + ".new", "w") as f:
        f.writelines(f"{s} {' '.join(map(str, c))}\n" for s, c in counts.items())
    os.rename(out + ".new", out)


threads = [threading.Thread(target=loop, args=(s,)) for s in services]
for t in threads:
    t.start()
while any(t.is_alive() for t in threads):
    write()
    time.sleep(0.1)
write()
