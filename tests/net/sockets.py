# SPDX-License-Identifier: Apache-2.0
# Holds sockets of many kinds for tests/net/test_abort.sh. A line of standard input each, an answer each:
#   open NAME KIND ADDRESS [ADDRESS2]   "ok" or the error
#   error NAME                          what became of it: "ok" or the name of the error
#   ask NAME                            the name of the server that answers, or the error
# Kinds: udp tcp (connected), loose (unconnected, has sent), moved (connected to ADDRESS, then to
# ADDRESS2), undone (connected, then not), mixed (connected to ADDRESS2, sent one datagram to ADDRESS).
import errno
import socket
import sys

PORT = 5000
held = {}


def udp(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(20)
    return s


def connected(address):
    s = udp(address)
    s.connect(target(address))
    return s


def target(address):
    host, _, port = address.partition("#")
    return (host, int(port or PORT))


def talk(s, to=None):
    s.sendto(b"?", target(to)) if to else s.send(b"?")
    return s.recv(100).decode()


def make(kind, address, other=None):
    if kind == "tcp":
        return socket.create_connection(target(address), timeout=20)
    if kind == "loose":
        s = udp(address)
        talk(s, address)
        return s
    if kind == "mixed":
        s = connected(other)
        s.sendto(b"?", target(address))
        return s
    s = connected(address)
    talk(s)
    if kind == "moved":
        s.connect(target(other))
    if kind == "undone":
        # AF_UNSPEC dissolves the association (connect(2)); Python's connect() cannot say it
        import ctypes

        ctypes.CDLL(None, use_errno=True).connect(s.fileno(), b"\0" * 16, 16)
    return s


def run(words):
    if words[0] == "open":
        held[words[1]] = make(*words[2:])
        return "ok"
    if words[0] == "error":
        e = held[words[1]].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return errno.errorcode[e] if e else "ok"
    return talk(held[words[1]])


for line in sys.stdin:
    try:
        print(run(line.split()), flush=True)
    except (OSError, KeyError) as e:
        print(errno.errorcode.get(getattr(e, "errno", 0), repr(e)), flush=True)
