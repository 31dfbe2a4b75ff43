#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""slow_dns.py - a DNS server that answers names that begin with "slow" when a file is there: slow_dns.py ADDRESS FILE [lower]

lower: names come back in lower case."""
import os
import socket
import sys
import threading
import time

import dns.message
import dns.rrset

s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind((sys.argv[1], 53))


def answer(wire, client):
    q = dns.message.from_wire(wire)
    name = q.question[0].name
    while name.to_text().startswith("slow") and not os.path.exists(sys.argv[2]):
        time.sleep(0.02)
    r = dns.message.make_response(q)
    r.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.77"))
    wire, end = r.to_wire(), 12 + len(name.to_wire())
    if "lower" in sys.argv:
        wire = wire[:12] + wire[12:end].lower() + wire[end:]
    s.sendto(wire, client)


while True:
    threading.Thread(target=answer, args=s.recvfrom(4096), daemon=True).start()
