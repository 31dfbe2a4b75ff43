#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Questions by which servers are judged: RFC 8906 section 8 and ISC's EDNS compliance tester, the DNS
flag days of 2019 and 2020, and what is malformed. Each is sent over UDP and over TCP, and both must say
the same, but for what does not fit a datagram.

edns_probes.py own|other ADDRESS PORT NAME LARGE: LARGE has more A records than 1,232 octets hold, "-": none.
"""
import socket
import struct
import sys

A, SOA, OPT, TXT = 1, 6, 41, 16
NOERROR, FORMERR, NOTIMP, NXDOMAIN, BADVERS = 0, 1, 4, 3, 16
RD, CD, AD, Z, TC, AA, RA = 0x100, 0x10, 0x20, 0x40, 0x200, 0x400, 0x80
DO = 0x8000
NSID, ECS, EXPIRE, COOKIE, KEEPALIVE, PADDING = 3, 8, 9, 10, 11, 12
CLIENT = bytes(range(1, 9))
SUBNET = bytes([0, 1, 24, 0, 192, 0, 2])


def name_wire(name):
    return b"".join(bytes([len(x)]) + x.encode() for x in name.rstrip(".").split(".")) + b"\0"


def option(code, data=b""):
    return struct.pack("!HH", code, len(data)) + data


def opt(options=b"", version=0, flags=0, size=1232, owner=b"\0"):
    return owner + struct.pack("!HHBBHH", OPT, size, 0, version, flags, len(options)) + options


def query(name, rtype=A, flags=RD, opcode=0, opts=(), questions=1):
    head = struct.pack("!HHHHHH", 0x1234, flags | opcode << 11, questions, 0, 0, len(opts))
    return head + (name_wire(name) + struct.pack("!HH", rtype, 1)) * questions + b"".join(opts)


def skip_name(p, at):
    while p[at] and p[at] < 0xC0:
        at += p[at] + 1
    return at + (2 if p[at] >= 0xC0 else 1)


class Answer:
    """What is said, with what differs between two moments in `alike` left out."""

    def __init__(self, p):
        self.raw, self.alike = p, bytearray(p)
        (self.id, self.flags, *self.counts) = struct.unpack("!HHHHHH", p[:12])
        self.rcode, self.opt, self.options, self.records = self.flags & 15, None, {}, []
        at = 12
        for _ in range(self.counts[0]):
            at = skip_name(p, at) + 4
        for section in (1, 2, 3):
            for _ in range(self.counts[section]):
                begin = at
                at = skip_name(p, at)
                rtype, rclass, ttl, n = struct.unpack("!HHIH", p[at : at + 10])
                at += 10
                if rtype == OPT:
                    assert self.opt is None, "two OPTs"
                    assert at - begin == 11, "the OPT's name is the root"
                    self.opt = {"size": rclass, "version": ttl >> 16 & 255, "flags": ttl & 0xFFFF}
                    self.rcode |= ttl >> 24 << 4
                    self.read_options(at, at + n)
                elif rtype == SOA:
                    self.alike[at + n - 20 : at + n - 16] = bytes(4)  # the serial
                if rtype != OPT:
                    self.records.append((section, rtype))
                    self.alike[at - 6 : at - 2] = bytes(4)  # the TTL
                at += n
        assert at == len(p), "octets behind the last record"

    def read_options(self, at, end):
        while at < end:
            code, n = struct.unpack("!HH", self.raw[at : at + 4])
            assert at + 4 + n <= end, "an option does not end within the OPT"
            self.options[code] = self.raw[at + 4 : at + 4 + n]
            if code == COOKIE:
                self.alike[at + 12 : at + 4 + n] = bytes(n - 8)
            at += 4 + n


def send(address, port, message, tcp):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as s:
        s.settimeout(20)
        s.connect((address, port))
        if not tcp:
            s.send(message)
            return Answer(s.recv(65535))
        s.sendall(struct.pack("!H", len(message)) + message)
        octets = b""
        while len(octets) < 2 or len(octets) < 2 + struct.unpack("!H", octets[:2])[0]:
            more = s.recv(65535)
            assert more, "the connection ended"
            octets += more
        return Answer(octets[2:])


def probes(name, large):
    """what, message, rcode, what else is to be seen: opt: None no OPT, else its flags; options: their codes."""
    all_options = option(NSID) + option(COOKIE, CLIENT) + option(ECS, SUBNET) + option(EXPIRE)
    yield "plain DNS (8.1.1)", query(name), NOERROR, {"opt": None}
    yield "unknown type (8.1.2)", query(name, 1000), NOERROR, {"opt": None, "answers": 0}
    yield "CD (8.1.3.1)", query(name, flags=RD | CD), NOERROR, {"opt": None}
    yield "AD (8.1.3.2)", query(name, flags=RD | AD), NOERROR, {"opt": None, "clear": AD}
    yield "the reserved bit (8.1.3.3)", query(name, flags=RD | Z), NOERROR, {"opt": None}
    yield "no recursion (8.1.3.4)", query(name, flags=0), None, {"opt": None, "clear": RD}
    yield "unknown opcode (8.1.4)", query(name, opcode=15), NOTIMP, {"opt": None, "answers": 0, "aa": 0}
    yield "the same, with EDNS", query(name, opcode=15, opts=[opt(flags=DO)]), NOTIMP, {"opt": DO, "answers": 0}
    yield "EDNS (8.2.1)", query(name, opts=[opt()]), NOERROR, {"opt": 0}
    yield "EDNS 1 (8.2.2)", query(name, opts=[opt(version=1)]), BADVERS, {"opt": 0, "answers": 0}
    yield "unknown option (8.2.3)", query(name, opts=[opt(option(100))]), NOERROR, {"opt": 0}
    yield "unknown flag (8.2.4)", query(name, opts=[opt(flags=0x40)]), NOERROR, {"opt": 0}
    yield "EDNS 1, unknown flag (8.2.5)", query(name, opts=[opt(version=1, flags=0x40)]), BADVERS, {"opt": 0}
    yield "EDNS 1, unknown option (8.2.6)", query(name, opts=[opt(option(100), 1)]), BADVERS, {"opt": 0}
    yield "DO (8.2.8)", query(name, opts=[opt(flags=DO)]), NOERROR, {"opt": DO}
    yield "EDNS 1, DO (8.2.9)", query(name, opts=[opt(version=1, flags=DO)]), BADVERS, {"opt": DO}
    yield "several options (8.2.10)", query(name, opts=[opt(all_options)]), NOERROR, {
        "opt": 0,
        "options": {COOKIE, ECS},
    }
    yield "EDNS 1, cookie", query(name, opts=[opt(option(COOKIE, CLIENT), 1)]), BADVERS, {"opt": 0}
    yield "NSID", query(name, opts=[opt(option(NSID))]), NOERROR, {"opt": 0}
    yield "cookie", query(name, opts=[opt(option(COOKIE, CLIENT))]), NOERROR, {"opt": 0, "options": {COOKIE}}
    yield "another server's cookie", query(
        name, opts=[opt(option(COOKIE, CLIENT + b"x" * 32))]
    ), NOERROR, {"opt": 0, "options": {COOKIE}}
    yield "EXPIRE", query(name, SOA, opts=[opt(option(EXPIRE))]), NOERROR, {"opt": 0}
    yield "client subnet", query(name, opts=[opt(option(ECS, SUBNET))]), NOERROR, {"opt": 0, "options": {ECS}}
    yield "client subnet of nobody", query(
        name, opts=[opt(option(ECS, b"\0\1\0\0"))]
    ), NOERROR, {"opt": 0, "options": {ECS}}
    yield "padding", query(name, opts=[opt(option(PADDING, bytes(100)))]), NOERROR, {"opt": 0}
    yield "keepalive", query(name, opts=[opt(option(KEEPALIVE))]), NOERROR, {"opt": 0}
    yield "a size below 512", query(name, opts=[opt(size=0)]), NOERROR, {"opt": 0}
    yield "many options", query(name, opts=[opt(option(100) * 30)]), NOERROR, {"opt": 0}
    yield "long options", query(name, opts=[opt(option(100, bytes(1200)))]), NOERROR, {"opt": 0}
    yield "two OPTs", query(name, opts=[opt(), opt()]), FORMERR, {"opt": None, "answers": 0}
    yield "an OPT with a name", query(name, opts=[opt(owner=b"\1x\0")]), FORMERR, {"answers": 0}
    yield "a cookie of 7 octets", query(name, opts=[opt(option(COOKIE, CLIENT[1:]))]), FORMERR, {"answers": 0}
    yield "a cookie of 41 octets", query(name, opts=[opt(option(COOKIE, bytes(41)))]), FORMERR, {"answers": 0}
    yield "a subnet with bits behind it", query(
        name, opts=[opt(option(ECS, b"\0\1\x14\0\xc0\0\x2f"))]
    ), FORMERR, {"answers": 0}
    yield "an option that does not end", query(name, opts=[opt(b"\0\x64\0\x09abc")]), FORMERR, {"answers": 0}
    yield "no question", query(name, questions=0), FORMERR, {"opt": None, "answers": 0}
    yield "no question, a cookie", query(
        name, questions=0, opts=[opt(option(COOKIE, CLIENT))]
    ), NOERROR, {"opt": 0, "options": {COOKIE}, "answers": 0, "aa": 0}
    yield "two questions", query(name, questions=2), FORMERR, {"opt": None, "answers": 0}
    yield "two questions, with EDNS", query(name, questions=2, opts=[opt(flags=DO)]), FORMERR, {"opt": DO, "answers": 0}
    yield "no question, with EDNS", query(name, questions=0, opts=[opt()]), FORMERR, {"opt": 0, "answers": 0}
    if large != "-":
        yield "what 512 octets hold (8.2.7)", query(large, opts=[opt(flags=DO, size=512)]), NOERROR, {
            "opt": DO,
            "most": 512,
        }
        yield "no EDNS, 512 octets", query(large), NOERROR, {"opt": None, "most": 512}
        yield "no fragments (flag day 2020)", query(large, opts=[opt(size=4096)]), NOERROR, {
            "opt": 0,
            "most": 1232,
        }
        yield "cut, with a cookie", query(large, opts=[opt(option(COOKIE, CLIENT), size=512)]), NOERROR, {
            "opt": 0,
            "most": 512,
            "options": {COOKIE},
        }


def judge(own, message, a, rcode, want, tcp):
    """What is wrong, ""; nothing."""
    sent = struct.unpack("!H", message[2:4])[0]
    options = want.get("options", set()) - (set() if own else {ECS})
    if a.id != 0x1234 or not a.flags & 0x8000 or (a.flags ^ sent) & 0x7800:
        return "not an answer to it"
    if rcode is not None and a.rcode != rcode:
        return f"RCODE {a.rcode}"
    if a.flags & want.get("clear", 0) or a.flags & Z:
        return f"flags {a.flags:04x}"
    if a.flags & RD != sent & RD:
        return "RD is not as it was sent"
    if own and rcode == NOERROR and want.get("aa", 1) and not a.flags & AA:
        return "no AA"
    if not own and a.flags & AA:
        return "AA"
    if "opt" in want and (a.opt is None) != (want["opt"] is None):
        return "an OPT" if a.opt else "no OPT"
    if a.opt and (a.opt["version"] or a.opt["flags"] != want.get("opt", 0) or a.opt["size"] != 1232):
        return f"OPT {a.opt}"
    if a.opt and set(a.options) != options:
        return f"options {set(a.options)}"
    if COOKIE in a.options and (len(a.options[COOKIE]) != 24 or a.options[COOKIE][:8] != CLIENT):
        return "no cookie of this client"
    if a.options.get(ECS, SUBNET)[3]:
        return "a scope"
    if "answers" in want and a.counts[1] != want["answers"]:
        return "records"
    if "most" in want and not tcp and (len(a.raw) > want["most"] or not a.flags & TC):
        return f"{len(a.raw)} octets, not cut"
    if "most" in want and tcp and a.flags & TC:
        return "cut over TCP"
    return ""


def main():
    kind, address, port, name, large = sys.argv[1:]
    failed = 0
    for what, message, rcode, want in probes(name, large):
        seen = {}
        for tcp in (False, True):
            try:
                seen[tcp] = send(address, int(port), message, tcp)
                wrong = judge(kind == "own", message, seen[tcp], rcode, want, tcp)
            except (AssertionError, OSError) as e:
                wrong = str(e) or type(e).__name__
            if wrong:
                failed += 1
                print(f"{what}, {'TCP' if tcp else 'UDP'}: {wrong}")
        if len(seen) == 2 and "most" not in want and seen[False].alike != seen[True].alike:
            failed += 1
            print(f"{what}: UDP and TCP differ\n  {seen[False].raw.hex()}\n  {seen[True].raw.hex()}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
