#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Blocking queries as clients make them, on many paths at once: watcher.py STOP-FILE PATH...

Each asks with the index of the answer before until STOP-FILE is there; an agent that is away is asked again.
It fails when an index goes back, is below 1, or is too large for a double; when an answer that is another has
the index of the one before; and when one comes back before its wait is over with an index that did not grow.
Prints a line a path: the answers, and how many indexes there were."""
import http.client
import os
import sys
import threading
import time

stop, paths = sys.argv[1], sys.argv[2:]
WAIT_S = 2
failed = []
lines = []


def ask(path, index):
    c = http.client.HTTPConnection("127.0.0.1", 8500, timeout=WAIT_S * 10)
    try:
        c.request("GET", f"{path}{'&' if '?' in path else '?'}wait={WAIT_S}s&index={index}")
        answer = c.getresponse()
        return answer.status, int(answer.headers["X-Consul-Index"]), answer.read()
    finally:
        c.close()


def watch(path):
    index, body, answers, indexes = 0, None, 0, 0
    while not os.path.exists(stop):
        began = time.monotonic()
        try:
            status, now, text = ask(path, index)
        except (OSError, http.client.HTTPException):
            time.sleep(0.05)
            continue
        took = time.monotonic() - began
        answers += 1
        if not 1 <= now < 1 << 53:
            failed.append(f"{path}: index {now}")
        if now < index:
            failed.append(f"{path}: index went from {index} to {now}")
        if now == index and body is not None and text != body:
            at = next((n for n, (a, b) in enumerate(zip(body, text)) if a != b), 0)
            seen = slice(max(at - 200, 0), at + 100)
            failed.append(f"{path}: another answer under index {now}: {body[seen]} {text[seen]}")
        if now == index and took < WAIT_S * 0.9:
            failed.append(f"{path}: {now} again after {took:.3f} s")
        indexes += now != index
        index, body = now, text
    lines.append(f"{path}: {answers} answers, {indexes} indexes")


threads = [threading.Thread(target=watch, args=(p,)) for p in paths]
for t in threads:
    t.start()
for t in threads:
    t.join()
print("\n".join(sorted(lines)))
for f in failed:
    print("FAILED:", f)
sys.exit(bool(failed))
