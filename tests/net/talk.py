# SPDX-License-Identifier: Apache-2.0
"""Lines that come back, on connections that stay.

talk.py serve ADDRESS PORT     say back what comes
talk.py hold VIP STOP_FILE     16 connections to port 80, a line each 20 ms until the file is there; prints
                               "held", then "lines resets addresses-that-getpeername-showed"
"""
import os
import socket
import sys
import threading
import time

if sys.argv[1] == "serve":
    v6 = ":" in sys.argv[2]
    with socket.create_server((sys.argv[2], int(sys.argv[3])), family=socket.AF_INET6 if v6 else socket.AF_INET,
                              backlog=64, dualstack_ipv6=v6) as s:
        def echo(c):
            while data := c.recv(4096):
                c.sendall(data)
        while True:
            threading.Thread(target=echo, args=(s.accept()[0],), daemon=True).start()
lines = resets = 0
shown = set()
held = [socket.create_connection((sys.argv[2], 80), timeout=60) for _ in range(16)]
print("held", flush=True)
while not os.path.exists(sys.argv[3]):
    for i, s in enumerate(held):
        try:
            shown.add(s.getpeername()[0])
            s.sendall(b"line\n")
            if s.recv(64) != b"line\n":
                raise OSError("closed")
            lines += 1
        except OSError as e:
            resets += 1
            print(f"{time.time()} {i} {e}", file=sys.stderr, flush=True)
            held[i] = socket.create_connection((sys.argv[2], 80), timeout=60)
    time.sleep(0.02)
print(lines, resets, *sorted(shown))
