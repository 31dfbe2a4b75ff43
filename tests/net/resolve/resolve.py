#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# resolve.py - Python's getaddrinfo, until the file is there: NAME STOP. Prints "begun", and
# "<look-ups> <failures>".
import os
import socket
import sys
import time

name, stop = sys.argv[1:]
ops = failures = 0
while not os.path.exists(stop):
    try:
        socket.getaddrinfo(name, 80, type=socket.SOCK_STREAM)
    except OSError as e:
        print(ops, e, file=sys.stderr, flush=True)
        failures += 1
    if not ops:
        print("begun", flush=True)
    ops += 1
    time.sleep(0.005)
print(ops, failures)
