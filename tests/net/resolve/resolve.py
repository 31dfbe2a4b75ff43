#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
# resolve.py - Python's getaddrinfo, until the file is there: NAME STOP. Prints "begun", and
# "<look-ups> <failures>". all NAME TYPE prints what A or AAAA has, one a line. With "dnspython" before
# these it is that library, and all knows SRV.
import os
import socket
import sys
import time

import dns.exception
import dns.resolver


def addresses(name, kind):
    family = {"A": socket.AF_INET, "AAAA": socket.AF_INET6, "any": 0}[kind]
    return {a[4][0] for a in socket.getaddrinfo(name, 80, family, socket.SOCK_STREAM)}


def records(name, kind):
    if kind != "any":
        return [r.to_text() for r in dns.resolver.resolve(name, kind, search=False)]
    both = [r for k in ("A", "AAAA") for r in dns.resolver.resolve(name, k, search=False, raise_on_no_answer=False).rrset or []]
    if not both:
        raise dns.resolver.NoAnswer
    return both


words = sys.argv[1:]
ask = addresses
if words[0] == "dnspython":
    ask = records
    words = words[1:]
if words[0] == "all":
    try:
        print(*ask(*words[1:]), sep="\n")
    except (OSError, dns.exception.DNSException):
        sys.exit(1)
    sys.exit(0)
name, stop = words
ops = failures = 0
while not os.path.exists(stop):
    try:
        ask(name, "any")
    except (OSError, dns.exception.DNSException) as e:
        print(ops, e, file=sys.stderr, flush=True)
        failures += 1
    if not ops:
        print("begun", flush=True)
    ops += 1
    time.sleep(0.005)
print(ops, failures)
