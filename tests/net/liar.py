#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A DNS server that does what the first label of a question says: drop, slow, truncate, answer from another
port, answer with another ID first, tell of names that nobody asked it for. UDP and TCP on ADDRESS PORT; with MS
behind it all over UDP takes so long, and nothing longer. Held is answered when the file LIAR_HELD is there."""
import os
import random
import socket
import socketserver
import sys
import threading
import time

import dns.flags
import dns.message
import dns.rrset

GOOD, BAD = "192.0.2.66", "203.0.113.6"


def answer(query, address=GOOD):
    a = dns.message.make_response(query)
    a.flags |= dns.flags.AA
    name = query.question[0].name
    label = name.labels[0].decode()
    if label.startswith("big"):
        a.answer.append(dns.rrset.from_text(name, 300, "IN", "TXT", " ".join(['"%s"' % ("x" * 200)] * 4)))
    else:
        a.answer.append(dns.rrset.from_text(name, 300, "IN", "A", address))
    if label == "bailiwick":
        a.additional.append(dns.rrset.from_text("victim.example.", 300, "IN", "A", BAD))
        a.authority.append(dns.rrset.from_text("example.", 300, "IN", "NS", "victim.example."))
    return a


class Udp(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        query = dns.message.from_wire(data)
        label = query.question[0].name.labels[0].decode().lower()
        if label.startswith("drop"):
            return
        if LATE:
            time.sleep(LATE)
        elif label.startswith("slow"):
            time.sleep(0.3)
        elif label.startswith("stall"):
            time.sleep(3)
        while label == "held" and not os.path.exists(os.environ["LIAR_HELD"]):
            time.sleep(0.02)
        if label == "trunc":
            a = dns.message.make_response(query)
            a.flags |= dns.flags.TC
            sock.sendto(a.to_wire(), self.client_address)
            return
        bad = answer(query, BAD)
        if label == "otherport":
            socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(bad.to_wire(), self.client_address)
        if label == "wrongid":
            for _ in range(20):
                bad.id = (query.id + random.randrange(1, 65535)) % 65536
                sock.sendto(bad.to_wire(), self.client_address)
        if label == "garbage":
            sock.sendto(data[:2] + b"\x81\x80" + b"\xff" * 40, self.client_address)
        if label in ("otherport", "wrongid"):
            time.sleep(0.05)
        sock.sendto(answer(query).to_wire(), self.client_address)


class Tcp(socketserver.BaseRequestHandler):
    def handle(self):
        while head := self.request.recv(2, socket.MSG_WAITALL):
            query = dns.message.from_wire(self.request.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL))
            data = answer(query).to_wire()
            self.request.sendall(len(data).to_bytes(2, "big") + data)


LATE = int(sys.argv[3]) / 1000 if len(sys.argv) > 3 else 0
at = (sys.argv[1], int(sys.argv[2]))
socketserver.ThreadingUDPServer.daemon_threads = socketserver.ThreadingTCPServer.daemon_threads = True
socketserver.ThreadingTCPServer.allow_reuse_address = True
threading.Thread(target=socketserver.ThreadingTCPServer(at, Tcp).serve_forever, daemon=True).start()
socketserver.ThreadingUDPServer(at, Udp).serve_forever()
