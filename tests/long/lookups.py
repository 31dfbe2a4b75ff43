#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A pod that looks names up all the time: lookups.py ADDRESS STOP_FILE NAME=ADDRESS... asks the server at ADDRESS for
each in turn, as the C library does (a connected socket each time, twice with 5 s each), until the file is there. Prints
{"asked", "again", "failed", "when"}: again are look-ups that were sent twice, failed those that did not get the one
address wanted; when and what the first of these were."""
import json
import os
import socket
import sys
import time

import dns.message
import dns.rcode
import dns.rdatatype

address, stop, names = sys.argv[1], sys.argv[2], [a.split("=") for a in sys.argv[3:]]
ATTEMPTS, TIMEOUT = 2, 5  # of resolv.conf(5)
PAUSE = 0.005  # seconds
said = {"asked": 0, "again": 0, "failed": 0, "when": []}


def note(what):
    said["when"] = (said["when"] + [f"{time.strftime('%T')} {what}"])[:5]


def ask(q):
    """The response, or what kept it."""
    got = None
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(TIMEOUT)
        for attempt in range(ATTEMPTS):
            if attempt:
                said["again"] += 1
                note(f"again, after {got!r}: {q.question[0]}")
            try:
                s.connect((address, 53))
                s.send(q.to_wire())
                return dns.message.from_wire(s.recv(4096))
            except OSError as e:
                got = e
    return got


while not os.path.exists(stop):
    name, wanted = names[said["asked"] % len(names)]
    query = dns.message.make_query(name, "A")
    got = ask(query)
    if isinstance(got, dns.message.Message) and got.id == query.id:
        found = {i.address for rr in got.answer if rr.rdtype == dns.rdatatype.A for i in rr} or dns.rcode.to_text(got.rcode())
    else:
        found = got
    if found != {wanted}:
        said["failed"] += 1
        note(f"{name}: {found}")
    said["asked"] += 1
    time.sleep(PAUSE)
print(json.dumps(said))
