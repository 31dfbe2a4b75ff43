#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""hostile_dns.py - questions that nobody asks in good faith. Behind each a good one is asked on the same socket or
connection, and must be answered.

hostile_dns.py fixed|random|streams udp|tcp|tls ADDRESS PORT NAME ARGUMENT...
  NAME     of ours, which has one A record
  fixed    those below; prints what is answered otherwise
  random   SEED COUNT: NAME's questions with octets changed, cut, doubled, or put behind; each over UDP as over TCP
  streams  what else can be done to a connection: for tcp and tls
"""
import random
import socket
import ssl
import struct
import sys

from edns_probes import A, OPT, RD, SOA, TC, Answer, name_wire, opt, option, query

NOERROR, FORMERR, SERVFAIL, NXDOMAIN, NOTIMP, REFUSED = 0, 1, 2, 3, 4, 5
SILENCE = None
QR, SRV, TSIG, IXFR, AXFR, ANY, CH = 0x8000, 33, 250, 251, 252, 255, 3
FENCE = 0xFEED  # id of the good questions
PAUSE = 30  # seconds after which an answer does not come


def head(flags=RD, questions=1, answers=0, authorities=0, additionals=0, ident=0x1234):
    return struct.pack("!HHHHHH", ident, flags, questions, answers, authorities, additionals)


def ask(wire, rtype=A, rclass=1, **counts):
    return head(**counts) + wire + struct.pack("!HH", rtype, rclass)


def padded_name(name, octets):
    """A name below NAME of so many octets on the wire, in labels of 63 where they fit."""
    end, out = name_wire(name), b""
    left = octets - len(end)
    while left:
        n = min(left, 64)
        n -= left - n == 1  # no label is empty
        out += bytes([n - 1]) + b"x" * (n - 1)
        left -= n
    return out + end


def fixed(name):
    """what, message, RCODE or SILENCE."""
    good = name_wire(name)
    yield "nothing", b"", SILENCE
    yield "eleven octets", ask(good)[:11], SILENCE
    yield "a header alone", head(), FORMERR
    yield "a response", ask(good, flags=QR | RD), SILENCE
    for opcode in (1, 2, 3, 4, 5, 6, 15):
        yield f"opcode {opcode}", ask(good, flags=RD | opcode << 11), NOTIMP
    yield "a cut question", ask(good, flags=RD | TC), FORMERR
    yield "a pointer to the header", ask(b"\xc0\0"), FORMERR
    yield "a pointer to itself", ask(b"\xc0\x0c"), FORMERR
    yield "a pointer to the label before it", ask(b"\3web\xc0\x0c"), FORMERR
    yield "a pointer beyond the end", ask(b"\3web\xff\xff"), FORMERR
    yield "a label of 64 octets", ask(b"\x40" + b"x" * 64 + good), FORMERR
    yield "a label of a kind that is reserved", ask(b"\x80x" + good), FORMERR
    yield "a label of 63 octets", ask(b"\x3f" + b"x" * 63 + good), NXDOMAIN
    yield "a name of 255 octets", ask(padded_name(name, 255)), NXDOMAIN
    yield "a name of 256 octets", ask(padded_name(name, 256)), FORMERR
    yield "a name of 300 octets", ask(padded_name(name, 300)), FORMERR
    yield "as many labels as there can be", ask(b"\1x" * ((255 - len(good)) // 2) + good), NXDOMAIN
    yield "a name that does not end", head() + good[:-1], FORMERR
    yield "a label that does not end", head() + b"\x3fweb", FORMERR
    yield "a name without type", head() + good, FORMERR
    yield "half a class", ask(good)[:-1], FORMERR
    yield "octets behind the question", ask(good) + b"\0", FORMERR
    yield "octets behind the OPT", ask(good, additionals=1) + opt() + b"\0", FORMERR
    yield "two questions", head(questions=2) + (good + b"\0\1\0\1") * 2, FORMERR
    yield "65,535 questions", ask(good, questions=65535), FORMERR
    yield "an answer", ask(good, answers=1), FORMERR
    yield "an authority", ask(good, authorities=1), FORMERR
    yield "65,535 additionals", ask(good, additionals=65535) + opt(), FORMERR
    yield "an additional that is not there", ask(good, additionals=1), FORMERR
    yield "an additional that is no OPT", ask(good, additionals=1) + b"\0\0\1\0\1" + bytes(4) + b"\0\4abcd", FORMERR
    yield "a signed question", ask(good, additionals=1) + b"\0" + struct.pack("!HHIH", TSIG, 255, 0, 0), FORMERR
    yield "an OPT longer than the message", ask(good, additionals=1) + opt()[:-2] + b"\xff\xff", FORMERR
    yield "an OPT by a pointer", ask(good, additionals=1) + opt(owner=b"\xc0\x0c"), FORMERR
    yield "an option of three octets", ask(good, additionals=1) + opt(b"\0\x0a\0"), FORMERR
    yield "an option longer than the OPT", ask(good, additionals=1) + opt(b"\0\x0a\xff\xff"), FORMERR
    yield "options without data", ask(good, additionals=1) + opt(option(100) * 250), NOERROR
    yield "a subnet of 255 bits", ask(good, additionals=1) + opt(option(8, b"\0\1\xff\0" + bytes(32))), FORMERR
    for rclass in (0, CH, 254, 65535):
        yield f"class {rclass}", ask(good, rclass=rclass), REFUSED
    for rtype in (0, OPT, 128, 248, 254, 65280, 65535):
        yield f"type {rtype}", ask(good, rtype), NOERROR
    for rtype in (AXFR, IXFR):
        yield f"type {rtype}", ask(good, rtype), NOTIMP
    for label in (b"\0", b".", b"\\", b"\xff" * 63, b"a.b", b" ", b"%n%s", b'"'):
        yield f"a label {label[:4]}", ask(bytes([len(label)]) + label + good), NXDOMAIN


class Way:
    """A socket or connection over which whole messages go."""

    def __init__(self, kind, address, port):
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.kind, self.data, self.count = kind, b"", 0
        self.s = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
        self.s.settimeout(PAUSE)
        self.s.connect((address, port))
        if kind == "tls":
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            self.s = context.wrap_socket(self.s)

    def send(self, message):
        self.s.send(message) if self.kind == "udp" else self.s.sendall(struct.pack("!H", len(message)) + message)

    def octets(self, n):
        while len(self.data) < n:
            more = self.s.recv(65536)
            if not more:
                raise EOFError("the connection ended")
            self.data += more
        ret, self.data = self.data[:n], self.data[n:]
        return ret

    def receive(self):
        return self.s.recv(65535) if self.kind == "udp" else self.octets(struct.unpack("!H", self.octets(2))[0])

    def ended(self):
        """Nothing more comes: the end, or a reset."""
        try:
            return not self.data and not self.s.recv(65536)
        except (ConnectionError, ssl.SSLError):
            return True


def answers(way, name, message):
    """What comes of a message. Userspace may answer it after the kernel has answered the good question behind it: what
    is to be answered is waited for by its id, which is new each time."""
    way.count += 1
    waits, seen, fence = len(message) >= 12 and not message[2] & 0x80, [], False
    if message or way.kind == "udp":
        way.send((struct.pack("!H", way.count) + message[2:])[: len(message)])
    way.send(ask(name_wire(name), ident=FENCE))
    while not fence or len(seen) < waits:
        a = Answer(way.receive())
        if a.id == FENCE:
            assert not a.rcode and a.counts[1] == 1, f"the good question: RCODE {a.rcode}"
            fence = True
        else:
            assert a.id == way.count and len(seen) < waits, f"an answer to nothing: {a.raw.hex()}"
            seen.append(a)
    return seen


def wrong(seen, rcode):
    if not seen:
        return "" if rcode is SILENCE else "no answer"
    return "" if seen[0].flags & QR and seen[0].rcode == rcode else f"RCODE {seen[0].rcode}"


def run_fixed(way, name):
    failed = 0
    for what, message, rcode in fixed(name):
        said = wrong(answers(way, name, message), rcode)
        if said:
            failed += 1
            print(f"{what}: {said}")
    return failed


def changed(r, name):
    """A message that was a question."""
    names = [name_wire(name), name_wire("x." + name), name_wire(name.split(".", 1)[1]), name_wire("n1.node.mesh.internal")]
    options = [b"", option(10, bytes(range(8))), option(8, b"\0\1\x18\0\xc0\0\2"), option(100, bytes(r.randrange(40)))]
    m = bytearray(ask(r.choice(names), r.choice([A, SRV, SOA, 28, 16, ANY, 12, 65]), additionals=1))
    m += opt(b"".join(r.choices(options, k=r.randrange(4))))
    for _ in range(r.randrange(1, 4)):
        at = r.randrange(2, len(m)) if len(m) > 2 else len(m)
        how = r.randrange(5)
        if how == 0 and at < len(m):
            m[at] = r.randrange(256)
        elif how == 1 and at < len(m):
            m[at] ^= 1 << r.randrange(8)
        elif how == 2:
            del m[at:]
        elif how == 3:
            m += m[at:][: 4000 - len(m)]
        else:
            m[at:at] = r.choice([b"\xc0\x0c", b"\0", b"\xff" * 9, b"\x3f"])
    return bytes(m)


def run_random(way, other, name, seed, count):
    """Each way says the same of each, but for what does not fit a datagram."""
    r, failed = random.Random(seed), 0
    for _ in range(count):
        m = changed(r, name)
        one, two = answers(way, name, m), answers(other, name, m)
        if len(one) != len(two) or (one and not one[0].flags & TC and one[0].alike != two[0].alike):
            failed += 1
            print(f"{m.hex()}: {[a.raw.hex() for a in one]} {[a.raw.hex() for a in two]}")
    return failed


def run_streams(begin, name):
    """What is said before is answered, and then the connection ends; who is slow is cut."""
    good, failed = ask(name_wire(name)), []

    def case(what, rest, shut=False, before=1):
        way = begin()
        try:
            way.s.sendall((struct.pack("!H", len(good)) + good) * before + rest)
            if shut:
                way.s.shutdown(socket.SHUT_WR)
            for _ in range(before):
                assert Answer(way.receive()).counts[1] == 1, "no record"
            if not way.ended():
                failed.append(f"{what}: more comes")
        except (AssertionError, EOFError, OSError) as e:
            failed.append(f"{what}: {e}")
        way.s.close()

    case("a message of no octets", b"\0\0")
    case("a message of 64 KiB", b"\xff\xff" + bytes(65535))
    case("a message of 4,097 octets", struct.pack("!H", 4097) + good)
    case("half a length", b"\0")
    case("half a question", struct.pack("!H", len(good)) + good[:20])
    case("a thousand questions, and half of one", struct.pack("!H", len(good)) + good[:20], before=1000)
    way = begin()
    if way.kind == "tcp":
        case("half a length, and the end", b"\0", shut=True)
        case("a question, and the end", b"", shut=True)
        way.s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    way.send(good)  # and a reset, over TCP
    way.s.close()
    way = begin()
    try:
        for octet in struct.pack("!H", len(good)) + good + bytes(10000):
            way.s.settimeout(0.2)
            way.s.sendall(bytes([octet]))
            try:
                if not way.s.recv(1):
                    break
                failed.append("an octet at a time: it was answered")
            except socket.timeout:
                pass
    except OSError:
        pass
    print("\n".join(failed))
    return len(failed)


def main():
    how, kind, address, port, name, *rest = sys.argv[1:]

    def begin(kind=kind, port=int(port)):
        return Way(kind, address, port)

    if how == "streams":
        return run_streams(begin, name)
    if how == "fixed":
        return run_fixed(begin(), name)
    return run_random(begin(), begin("tcp", 8600), name, int(rest[0]), int(rest[1]))


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
