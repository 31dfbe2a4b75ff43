#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""dot_client.py - what clients of DNS over TLS do that dig does not: dot_client.py CA COMMAND [ARGUMENT...]"""
import ctypes
import os
import socket
import ssl
import struct
import sys

import dns.message
import dns.rcode

SERVER = ("127.0.0.1", 853)
CA = sys.argv[1]


def context():
    c = ssl.create_default_context(cafile=CA)
    c.set_alpn_protocols(["dot"])
    return c


def plain(source="127.0.0.1"):
    return socket.create_connection(SERVER, 30, (source, 0))


def dial(source="127.0.0.1"):
    return context().wrap_socket(plain(source), server_hostname="dns.test")


def framed(name, kind="A"):
    wire = dns.message.make_query(name, kind).to_wire()
    return struct.pack("!H", len(wire)) + wire


def exactly(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        if not more:
            raise EOFError
        data += more
    return data


def answer(s):
    return dns.message.from_wire(exactly(s, struct.unpack("!H", exactly(s, 2))[0]))


def told(m):
    first = m.answer[0][0].to_text() if m.answer else dns.rcode.to_text(m.rcode())
    return f"{m.question[0].name.to_text()} {first}"


def ends(s):
    """What the server ends a connection with: nothing, or a reset."""
    try:
        while s.recv(65536):
            pass
        return "closed"
    except (ConnectionError, ssl.SSLError):
        return "closed"
    except TimeoutError:
        return "open"


def pipeline(go, *names):
    """All in one write; answers as they come, GO is made before the last one is waited for."""
    s = dial()
    s.sendall(b"".join(framed(n) for n in names))
    for i in range(len(names)):
        if i == len(names) - 1:
            open(go, "w").close()
        print(told(answer(s)))


def padded(*names):
    """Lengths of answers to queries with padding, and at last to one without."""
    s = dial()
    lengths = []
    for n in names + (names[0],):
        q = dns.message.make_query(n, "A", use_edns=0, pad=128 if len(lengths) < len(names) else 0)
        wire = q.to_wire()
        s.sendall(struct.pack("!H", len(wire)) + wire)
        wire = exactly(s, struct.unpack("!H", exactly(s, 2))[0])
        dns.message.from_wire(wire)
        lengths.append(len(wire))
    print(*lengths)


def octets(name):
    """One octet a record; then a farewell, and the answer comes all the same."""
    s = dial()
    for o in framed(name):
        s.sendall(bytes([o]))
    print(told(answer(s)))


def silent():
    """Nothing is said: not the handshake, or nothing after it, or half of a query."""
    a, b, c = plain(), dial(), dial()
    c.sendall(framed("a.example")[:9])
    print(ends(a), ends(b), ends(c))


def garbage():
    s = plain()
    s.sendall(b"GET / HTTP/1.1\r\n\r\n" + os.urandom(200))
    print(ends(s))


class Raw:
    """A client that changes its keys, which Python's own cannot: OpenSSL, over memory."""

    def __init__(self):
        self.ssl, self.crypto = ctypes.CDLL("libssl.so.3"), ctypes.CDLL("libcrypto.so.3")
        for f in (self.ssl.TLS_client_method, self.ssl.SSL_CTX_new, self.ssl.SSL_new, self.crypto.BIO_new, self.crypto.BIO_s_mem):
            f.restype = ctypes.c_void_p
        context = ctypes.c_void_p(self.ssl.SSL_CTX_new(ctypes.c_void_p(self.ssl.TLS_client_method())))
        self.at = ctypes.c_void_p(self.ssl.SSL_new(context))
        self.i, self.o = (ctypes.c_void_p(self.crypto.BIO_new(ctypes.c_void_p(self.crypto.BIO_s_mem()))) for _ in range(2))
        self.ssl.SSL_set_bio(self.at, self.i, self.o)
        self.ssl.SSL_set_connect_state(self.at)
        self.socket = plain("127.0.0.3")
        while self.ssl.SSL_do_handshake(self.at) != 1:
            self.socket.sendall(self.out())
            self.take()
        self.socket.sendall(self.out())

    def take(self):
        data = self.socket.recv(65536)
        if not data:
            raise EOFError
        self.crypto.BIO_write(self.i, data, len(data))

    def out(self):
        data, part = b"", ctypes.create_string_buffer(65536)
        while (n := self.crypto.BIO_read(self.o, part, len(part))) > 0:
            data += part.raw[:n]
        return data

    def updates(self, count):
        for _ in range(count):
            self.ssl.SSL_key_update(self.at, 0)
            self.ssl.SSL_do_handshake(self.at)
        return self.out()

    def asked(self, name):
        wire, part = framed(name), ctypes.create_string_buffer(65536)
        self.ssl.SSL_write(self.at, wire, len(wire))
        self.socket.sendall(self.out())
        while (n := self.ssl.SSL_read(self.at, part, len(part))) <= 0:
            self.take()
        return dns.message.from_wire(part.raw[2:n])


def updates(name):
    """New keys before each question, as often as one likes; and then far more than before any."""
    s = Raw()
    for _ in range(5):
        s.socket.sendall(s.updates(20))
        m = s.asked(name)
    print(told(m), end=" ")
    try:
        s.socket.sendall(s.updates(2000))
        print(told(s.asked(name)))
    except (ConnectionError, EOFError):
        print("closed")


def deaf(name, count):
    """Asks and does not read."""
    s = dial()
    s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    s.settimeout(1)
    try:
        for _ in range(int(count)):
            s.sendall(framed(name))
    except (OSError, ssl.SSLError):
        pass
    s.settimeout(60)
    print(ends(s))


def flood(count, name):
    """Connections of one client, as many as it gets; another one is served."""
    held, refused = [], 0
    for _ in range(int(count)):
        try:
            s = dial()
            s.sendall(framed(name))
            answer(s)
            held.append(s)
        except (OSError, EOFError, ssl.SSLError):
            refused += 1
    other = dial("127.0.0.2")
    other.sendall(framed(name))
    print(len(held), refused, told(answer(other)))


def stay(name, ready, go):
    """One connection over a change: asks, makes READY, asks again when GO is there."""
    s = dial()
    s.sendall(framed(name))
    before = told(answer(s))
    open(ready, "w").close()
    while not os.path.exists(go):
        s.sendall(framed(name))
        answer(s)
    s.sendall(framed(name))
    print(before, told(answer(s)))


globals()[sys.argv[2]](*sys.argv[3:])
