#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients of the agent's DNS on 127.0.0.1:8600.
flood SOURCE COUNT [SOURCE COUNT]: that many questions at once whose answers never come, of one client after the other;
prints how many of each were SERVFAIL before a question behind them was answered.
names FIRST COUNT: that many names, 32 at a time, again and again; prints how many were answered.
between SECONDS: questions that nobody answers, and when they have waited so long, a hundred that the server does
answer; prints how many of these had none.
many LABEL COUNT: that many names at once, prints how many were answered.
pipeline FILE: on one connection a question that is answered when FILE is there, then quick ones; prints the order of the
answers."""
import select
import socket
import sys
import time

import dns.message
import dns.rcode

AGENT = ("127.0.0.1", 8600)
WAIT = 60  # seconds after which nothing comes any more


def query(name, kind="A"):
    return dns.message.make_query(name, kind, use_edns=0, payload=1232)


def flood(source, count):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((source, 0))
    for i in range(count):
        s.sendto(query(f"drop-{source.replace('.', '-')}-{i}.lies").to_wire(), AGENT)
        if i % 16 == 15:
            select.select([], [], [], 0.02)
    # userspace, which answers it, comes to it behind these
    s.sendto(query("mesh.internal", "AXFR").to_wire(), AGENT)
    failed = 0
    while select.select([s], [], [], WAIT)[0]:
        rcode = dns.message.from_wire(s.recv(4096)).rcode()
        if rcode == dns.rcode.NOTIMP:
            return failed
        failed += rcode == dns.rcode.SERVFAIL
    return "nothing"


def names(first, count):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    todo, waiting, answered, again = iter(range(first, first + count)), {}, 0, 20 * count

    def send(q):
        waiting[q.id] = q
        s.sendto(q.to_wire(), AGENT)

    while again:
        while len(waiting) < 32 and (n := next(todo, None)) is not None:
            q = query(f"big-{n}.lies", "TXT")
            q.id = n  # none twice among those that wait
            send(q)
        if not waiting:
            break
        if not select.select([s], [], [], 8)[0]:
            again -= 1
            for q in list(waiting.values()):
                send(q)
            continue
        a = dns.message.from_wire(s.recv(4096))
        q = waiting.pop(a.id, None)
        if q and a.answer:
            answered += 1
        elif q:  # its server was too slow
            again -= 1
            send(q)
    print(answered)


def between(seconds):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for i in range(40):
        s.sendto(query(f"drop-{seconds}-{i}.lies").to_wire(), AGENT)
    time.sleep(float(seconds))
    waits = set()
    for i in range(100):
        q = query(f"slow-{seconds}-{i}.lies")
        q.id = i
        waits.add(q.id)
        s.sendto(q.to_wire(), AGENT)
        time.sleep(0.0005)
    while waits and select.select([s], [], [], 8)[0]:
        a = dns.message.from_wire(s.recv(4096))
        if a.question[0].name.labels[0].startswith(b"slow"):
            waits.discard(a.id) if a.answer else print(dns.rcode.to_text(a.rcode()), end=" ")
    print(len(waits))


def many(label, count):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)  # SO_RCVBUFFORCE: nothing is read while it asks
    waits = set(range(count))
    for i in waits:
        q = query(f"{label}-{i}.lies")
        q.id = i
        s.sendto(q.to_wire(), AGENT)
        time.sleep(0.002)
    while waits and select.select([s], [], [], 20)[0]:
        a = dns.message.from_wire(s.recv(4096))
        if a.answer:
            waits.discard(a.id)
    print(count - len(waits))


def pipeline(path):
    s = socket.create_connection(AGENT)
    s.settimeout(WAIT)
    for name in ("held.lies", "quick-1.lies", "quick-2.lies", "web.service.mesh.internal"):
        data = query(name).to_wire()
        s.sendall(len(data).to_bytes(2, "big") + data)
    s.shutdown(socket.SHUT_WR)
    order = []
    while head := s.recv(2, socket.MSG_WAITALL):
        a = dns.message.from_wire(s.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
        order.append(a.question[0].name.labels[0].decode() + ":" + str(len(a.answer)))
        if len(order) == 3:
            with open(path, "w", encoding="ascii"):
                pass
    print(sorted(order[:3]), order[3])


{"flood": lambda: print(*(flood(sys.argv[i], int(sys.argv[i + 1])) for i in range(2, len(sys.argv), 2))), "names": lambda: names(int(sys.argv[2]), int(sys.argv[3])),
 "many": lambda: many(sys.argv[2], int(sys.argv[3])),
 "between": lambda: between(sys.argv[2]), "pipeline": lambda: pipeline(sys.argv[2])}[sys.argv[1]]()
