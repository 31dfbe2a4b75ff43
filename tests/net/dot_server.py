#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""dot_server.py - servers of DNS over TLS as they may be: dot_server.py ADDRESS CERTIFICATE KEY HOW

closing: ends a connection with each answer, before the next query is read. chopped: an octet a record. silent: says nothing.
garbage: what is no DNS. reversed: waits for three queries, and answers them last first. Each tells the length of what it is asked."""
import socket
import ssl
import struct
import sys
import threading

import dns.message
import dns.rrset

ADDRESS, CERT, KEY, HOW = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(CERT, KEY)
context.set_alpn_protocols(["dot"])
listener = socket.create_server((ADDRESS, 853))


def exactly(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def query(s):
    wire = exactly(s, struct.unpack("!H", exactly(s, 2))[0])
    print(len(wire), s.selected_alpn_protocol(), flush=True)
    return wire


def answer(wire):
    q = dns.message.from_wire(wire)
    r = dns.message.make_response(q)
    r.answer.append(dns.rrset.from_text(q.question[0].name, 1, "IN", "A", "192.0.2.78"))
    wire = r.to_wire()
    return struct.pack("!H", len(wire)) + wire


def serve(plain):
    s = context.wrap_socket(plain, server_side=True)
    while True:
        if HOW == "reversed":
            wires = [query(s) for _ in range(3)]
            for w in reversed(wires):
                s.sendall(answer(w))
            continue
        wire = query(s)
        if HOW == "closing":
            s.sendall(answer(wire))
            s.unwrap()
            return
        if HOW == "chopped":
            for o in answer(wire):
                s.sendall(bytes([o]))
        if HOW == "garbage":
            s.sendall(b"\0\2no")


def run(plain):
    try:
        serve(plain)
    except (OSError, EOFError, ssl.SSLError):
        pass
    plain.close()


while True:
    threading.Thread(target=run, args=(listener.accept()[0],), daemon=True).start()
