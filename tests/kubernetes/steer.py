# SPDX-License-Identifier: Apache-2.0
"""How long from an endpoint that is written to the API server to a connect() that is steered there:
steer.py NAMESPACE SERVICE ADDRESS ROUNDS CGROUP. The service has a slice of the test's own with one endpoint, which
each round is another of two addresses of this machine (a server on each says which; the API takes none of
loopback). A child in CGROUP dials without pause
and says when it was first answered by the new one. Prints milliseconds, from the request being sent and from its
answer, at percentiles."""
import json
import os
import random
import socket
import sys
import threading
import time

from kube import DISCOVERY, Kube, endpoint_slice

space, name, address, rounds, cgroup = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5]
TARGETS, PORT = ("172.31.254.1", "172.31.254.2"), 7070


def serve(which):
    s = socket.socket()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    s.bind((TARGETS[which], PORT))
    s.listen(1024)
    while True:
        conn, _ = s.accept()
        conn.send(b"01"[which:which + 1])
        conn.close()


def dial_for_ever(out):
    """In a process of its own: writes the moment and the answer when it changes."""
    with open(os.path.join(cgroup, "cgroup.procs"), "w", encoding="ascii") as f:
        f.write(str(os.getpid()))
    before = None
    while True:
        s = socket.socket()
        s.settimeout(5)
        try:
            s.connect((address, 80))
            said = s.recv(1)
        except OSError:
            said = b"-"
        s.close()
        if said != before:
            os.write(out, b"%d %s\n" % (time.monotonic_ns(), said))
            before = said


reader, writer = os.pipe()
child = os.fork()
if child == 0:
    time.sleep(0.5)
    dial_for_ever(writer)
for w in (0, 1):
    threading.Thread(target=serve, args=(w,), daemon=True).start()
kube, seen = Kube(), os.fdopen(reader)
path = f"{DISCOVERY}/namespaces/{space}/endpointslices"
kube.ask("POST", path, endpoint_slice(name + "-1", name, [TARGETS[0]], [("http", PORT)]))


def await_answer(which):
    while True:
        moment, said = seen.readline().split()
        if said == str(which):
            return int(moment)


try:
    await_answer(0)
    sent, answered = [], []
    for r in range(rounds):
        which = (r + 1) % 2
        time.sleep(0.02 + random.random() / 20)
        begin = time.monotonic_ns()
        kube.must("PUT", f"{path}/{name}-1", endpoint_slice(name + "-1", name, [TARGETS[which]], [("http", PORT)]))
        end = time.monotonic_ns()
        steered = await_answer(which)
        sent.append((steered - begin) / 1e6)
        answered.append(max(0, steered - end) / 1e6)
finally:
    os.kill(child, 9)
for times in (sent, answered):
    times.sort()


def at(times, percent):
    return round(times[min(len(times) - 1, len(times) * percent // 100)], 2)


print(json.dumps({f"{k}_p{p}_ms": at(t, p) for k, t in (("sent", sent), ("answered", answered)) for p in (50, 90, 99, 100)}))
