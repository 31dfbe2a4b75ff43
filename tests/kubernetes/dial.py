# SPDX-License-Identifier: Apache-2.0
"""Dials an address at a rate and counts what fails: dial.py ADDRESS PORT RATE FILE; until there is a
FILE.stop. Each connection is new, in its turn of a clock that does not wait for the answer of one before
longer than its own time-out; who answered is counted. FILE gets one JSON object at the end."""
import collections
import errno
import json
import os
import socket
import sys
import time

address, port, rate, where = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
family = socket.AF_INET6 if ":" in address else socket.AF_INET
failed, by, times = collections.Counter(), collections.Counter(), []
FIRST = 5  # failures that are told one by one
when = []


def fails(how):
    failed[how] += 1
    if len(when) < FIRST:
        when.append(f"{time.strftime('%T')} {address} {how}")


def dial():
    begin = time.monotonic()
    s = socket.socket(family, socket.SOCK_STREAM)
    s.settimeout(5)
    try:
        s.connect((address, port))
        times.append(time.monotonic() - begin)
        said = b""
        while octets := s.recv(4096):
            said += octets
        if said:
            by[said.split(b"\r\n\r\n")[-1].decode().strip()] += 1
        else:
            fails("closed without an answer")
    except OSError as e:
        fails(errno.errorcode.get(e.errno, str(e)))
    s.close()


start, dialled = time.monotonic(), 0
while dialled % 50 or not os.path.exists(where + ".stop"):
    wait = start + dialled / rate - time.monotonic()
    if wait > 0:
        time.sleep(wait)
    dial()
    dialled += 1
spent = time.monotonic() - start
times.sort()
with open(where, "w", encoding="ascii") as f:
    json.dump({"dialled": dialled, "rate": round(dialled / spent), "failed": sum(failed.values()), "errors": failed,
               "when": when, "by": by, "p50_us": round(times[len(times) // 2] * 1e6) if times else 0,
               "p99_us": round(times[len(times) * 99 // 100] * 1e6) if times else 0}, f)
