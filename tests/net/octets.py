#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Asks 127.0.0.1:8600 over UDP, which the kernel may answer, and over TCP, which userspace does: octets.py NAME
TYPE. The answers are the same octets but for the serial of an SOA, which is the time: of that a minute is no
difference. Prints what differs."""
import socket
import struct
import sys

name, kind = sys.argv[1], int(sys.argv[2])
labels = b"".join(bytes([len(l)]) + l.encode() for l in name.rstrip(".").split("."))
query = struct.pack(">6H", 4711, 0x100, 1, 0, 0, 1) + labels + b"\0" + struct.pack(">2H", kind, 1)
query += b"\0" + struct.pack(">HHIH", 41, 1232, 0, 0)


def udp():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(10)
        s.sendto(query, ("127.0.0.1", 8600))
        return s.recv(4096)


def tcp():
    with socket.create_connection(("127.0.0.1", 8600), 10) as s:
        s.sendall(struct.pack(">H", len(query)) + query)
        f = s.makefile("rb")
        return f.read(struct.unpack(">H", f.read(2))[0])


def split(message):
    """Before the serial, the serial, behind it: its SOA's last name is "hostmaster" and a pointer."""
    at = message.find(b"\x0ahostmaster\xc0")
    at = at + 13 if at >= 0 else len(message) - 4
    return message[:at], struct.unpack(">I", message[at : at + 4])[0], message[at + 4 :]


a, b = udp(), tcp()
x, y = split(a), split(b)
if a != b and (x[0] != y[0] or x[2] != y[2] or abs(x[1] - y[1]) > 60 or b"hostmaster" not in a):
    print(f"{name} {kind}: {a.hex()} is not {b.hex()}")
    sys.exit(1)
