#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""mixture.py - questions of every kind, so many of each: mixture.py ADDRESS PORT far|near|closing"""
import os
import socket
import struct
import sys

import dns.edns
import dns.message

AT = (sys.argv[1], int(sys.argv[2]))


def query(name, kind="A", cookie=False):
    options = [dns.edns.GenericOption(10, os.urandom(8))] if cookie else []
    return dns.message.make_query(name, kind, use_edns=0 if cookie else -1, options=options).to_wire()


def send(*queries):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for q in queries:
        s.sendto(q, AT)


def far():
    """Of another network: most of what is not there is held back, or cut, with a cookie or without."""
    for i in range(60):
        send(query(f"none-{i}.node.mesh.internal"), query(f"no-{i}.query.mesh.internal", cookie=True),
             query("n1.node.mesh.internal"))
    print(180, 0)


def near():
    """Of this node, which is not limited; each with a cookie has one answer that has one."""
    n = 0
    for i in range(5):
        good = [query("out.corp", cookie=True), query("n1.node.mesh.internal", cookie=True),
                query(f"none-{i}.query.mesh.internal"), query("a.example"), query(f"b-{i}.example", "AAAA"),
                query("out.corp", "TXT"), query("web.service.mesh.internal", "AXFR"), query("a.example", "ANY")]
        notify = bytearray(query("a.example"))
        notify[2] |= 4 << 3
        bad = [bytes(notify), good[1][:20], b"\0" * 5, good[2][:-1]]
        answer = bytearray(good[0])
        answer[2] |= 0x80
        send(*good, *bad, bytes(answer))
        n += len(good) + len(bad) + 1
    s = socket.create_connection(AT)
    for q in (query("a.example"), query("out.corp"), query("n1.node.mesh.internal")):
        s.sendall(struct.pack("!H", len(q)) + q)
    s.settimeout(60)
    left = 3
    while left:
        size = struct.unpack("!H", s.recv(2, socket.MSG_WAITALL))[0]
        s.recv(size, socket.MSG_WAITALL)
        left -= 1
    print(n, 3)


def closing():
    """Who asks what takes long, and breaks off before it is answered, when a line or the end comes."""
    s = socket.create_connection(AT)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    for i in range(4):
        q = query(f"slow-{i}.slow.test")
        s.sendall(struct.pack("!H", len(q)) + q)
    sys.stdin.readline()
    print(0, 4)


{"far": far, "near": near, "closing": closing}[sys.argv[3]]()
