#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A client that goes on asking while servers of names of others die: outage.py PREFIX COUNT SECONDS [PID...]
asks the agent for PREFIX-0.example to PREFIX-COUNT.example in turn, one at a time, after it has killed the
processes. Prints {"asked", "failed", "first_ms", "max_ms"}: questions without a record within 5 s count as failed."""
import json
import os
import signal
import sys
import time

import dns.exception
import dns.message
import dns.query

prefix, count, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
for pid in sys.argv[4:]:
    os.kill(int(pid), signal.SIGKILL)
asked, failed, times = 0, 0, []
end = time.monotonic() + seconds
while asked < count or time.monotonic() < end:
    q = dns.message.make_query(f"{prefix}-{asked % count}.example", "A")
    began = time.monotonic()
    try:
        failed += not dns.query.udp(q, "127.0.0.1", port=8600, timeout=20).answer
    except dns.exception.Timeout:
        failed += 1
    times.append((time.monotonic() - began) * 1000)
    asked += 1
print(json.dumps({"asked": asked, "failed": failed, "first_ms": times[0], "max_ms": max(times)}))
