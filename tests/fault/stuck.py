#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The store's thread is stuck for as long as a file exists: stuck.py HOLD_FILE. Transactions come until the
queue of writes is full; whoever comes then is told, and everybody else is served. When the file goes, what
waited is answered and there, and what was refused is not. Prints a line a finding, exits with 1 when one is
not as expected. Nothing is timed: that it lasts 30 s is told by the agent."""
import http.client
import json
import os
import sys

HOLD = sys.argv[1]
STUCK_MS = 30000
SERVICES = 10  # of a transaction, of some 40 KiB each
META = {f"k{i}": "v" * 500 for i in range(60)}
failed = False


def check(what, want, have):
    global failed
    if want == have:
        print("ok:", what)
    else:
        print(f"FAILED: {what}: expected {want!r}, saw {have!r}")
        failed = True


def dial():
    return http.client.HTTPConnection("127.0.0.1", 8500, timeout=120)


def ask(method, path, body=None):
    c = dial()
    try:
        c.request(method, path, body)
        a = c.getresponse()
        return a.status, a.read().decode(), a.headers["Retry-After"]
    finally:
        c.close()


def registry():
    return json.loads(ask("GET", "/v1/waymark/status")[1])["registry"]


def transaction(n):
    """Its own node, with SERVICES services."""
    node = f"other-{n}"
    parts = [{"Node": {"Verb": "set", "Node": {"Node": node, "Address": "10.9.0.1"}}}]
    for i in range(SERVICES):
        service = {"ID": f"s{i}", "Service": "many", "Port": 80, "Meta": META}
        parts.append({"Service": {"Verb": "set", "Node": node, "Service": service}})
    c = dial()
    c.request("PUT", "/v1/txn", json.dumps(parts))
    return c


waiting = [transaction(0)]
while registry()["storing_ms"] == 0:
    pass
while True:
    waiting.append(transaction(len(waiting)))
    while (now := registry())["queued"] + now["queue_full"] < len(waiting) - 1:
        pass
    if now["queue_full"]:
        break
a = waiting.pop().getresponse()
check("the queue is full: who comes is told, and when to try again",
      (503, b"Too many writes are waiting (limits: 65536, and 64 MiB of them), try again", "1"),
      (a.status, a.read(), a.headers["Retry-After"]))
check("and counted", 1, now["queue_full"])
check("the others wait", len(waiting) - 1, now["queued"])

beat = dial()
beat.request("PUT", "/v1/agent/check/warn/beat")
while json.loads(ask("GET", "/v1/agent/checks")[1])["beat"]["Status"] != "warning":
    pass
print("ok: a result is shown though its client waits")
looks, odd = 0, 0
while registry()["storing_ms"] < STUCK_MS:
    code, text, _ = ask("GET", "/v1/health/service/web")
    odd += code != 200 or len(json.loads(text)) != 1
    odd += ask("GET", "/v1/catalog/node/other-0")[1] != "null"
    looks += 1
check("stuck for 30 s: who reads sees what is durable", (0, True), (odd, looks > 0))

os.unlink(HOLD)
codes = [c.getresponse().status for c in waiting]
check("the disk goes on: who waited is answered", len(waiting), codes.count(200))
check("and the result", 200, beat.getresponse().status)
nodes = {n["Node"] for n in json.loads(ask("GET", "/v1/catalog/nodes")[1])}
check("what was answered is there, and what was refused is not", set(),
      nodes ^ ({f"other-{n}" for n in range(len(waiting))} | {"n1"}))
check("all of it", SERVICES * len(waiting), len(json.loads(ask("GET", "/v1/catalog/service/many")[1])))
check("nothing waits any more", 0, registry()["queued"])
check("who was refused tries again", 200, transaction(len(waiting)).getresponse().status)
sys.exit(failed)
