#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A member of a mesh with a valid certificate that means harm: hostile_peer.py DIR NAME ADDRESS VICTIM OTHER

DIR has ca.pem and NAME's certificate and key, ADDRESS is ours, VICTIM the agent's that is spoken to, OTHER a member
"NAME ADDRESS ID" whose agent is none of ours. Reads lines "ATTACK WORD" and answers each with one: "closed" (the agent ended
the stream), "open" (it did not, and is not waited for where WORD is "open"). Messages are made here by hand: userspace/sync/*.proto."""
import hashlib
import os
import socket
import ssl
import struct
import subprocess
import sys
import time

folder, name, address, victim = sys.argv[1:5]
other_name, other_address, other_id = sys.argv[5].split()
other_id = bytes.fromhex(other_id.replace("-", ""))
OWN = hashlib.md5(name.encode()).digest()
HELLO, STATE, STATE_REPLY, TREE, UNTREE, SPREAD, REPLICA, REQUEST, REPLY, PAUSE, VERIFY, VERIFY_REPLY, KEYRING, KEYRING_REPLY, NEWS, INTEREST, NEWS_OF = range(1, 18)
FOR_PEER, FOR_PROBE, FOR_GREETING = range(3)
CLOSE_S = 8  # an agent that ends a stream has so long: machines of tests are slow
OPEN_S = 0.5  # what does not end a stream: the agent has read it by then, or reads it later
incarnation = 0


def varint(n):
    out = b""
    while n > 127:
        out += bytes([n & 127 | 128])
        n >>= 7
    return out + bytes([n])


def u(field, n):
    return varint(field << 3) + varint(n)


def b(field, octets):
    return varint(field << 3 | 2) + varint(len(octets)) + octets


def f64(field, n):
    return varint(field << 3 | 1) + struct.pack("<Q", n)


def at(a):
    return b"\0" * 10 + b"\xff\xff" + socket.inet_aton(a)


class Stream:
    def __init__(self, tls=True):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(f"{folder}/ca.pem")
        context.load_cert_chain(f"{folder}/{name}.pem", f"{folder}/{name}-key.pem")
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        raw = socket.create_connection((victim, 8301), CLOSE_S)
        self.s = context.wrap_socket(raw) if tls else raw
        self.s.sendall(b"WmF\1")

    def frame(self, channel, octets=b""):
        self.s.sendall(struct.pack(">IB", len(octets) + 1, channel) + octets)

    def octets_in(self, count):
        got = b""
        while len(got) < count:
            more = self.s.recv(count - len(got))
            if not more:
                raise OSError("the stream ended")
            got += more
        return got

    def frame_in(self):
        """Which channel the next frame is of."""
        head = self.octets_in(4)
        if head == b"WmF\1":
            head = self.octets_in(4)
        return self.octets_in(int.from_bytes(head, "big"))[0]

    def hello(self, purpose=FOR_PEER, version=1, dc=b"dc1", own=OWN, who=None):
        self.frame(HELLO, u(1, version) + b(2, dc) + b(3, own) + b(4, (who or name).encode()) + b(5, b"hostile") +
                   b(6, at(address)) + u(7, 8301) + u(8, purpose))

    def state(self, *members):
        self.frame(STATE, b"".join(b(1, m) for m in members))

    def ended(self, seconds=CLOSE_S):
        """Reads what comes until the agent ends the stream. False: it did not."""
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                self.s.settimeout(max(0.01, end - time.monotonic()))
                if not self.s.recv(65536):
                    return True
        except TimeoutError:
            return False
        except OSError:
            return True
        return False


def member(who, own, state=0, number=None, a=None, life=7):
    global incarnation
    if number is None:
        incarnation += 1
        number = incarnation
    return (b(1, own) + u(2, number) + u(3, state) + b(5, who.encode()) + b(6, b"0.1") +
            b(7, b(1, socket.inet_aton(a or address)) + u(2, 8301)) + u(8, 0) + f64(9, life))


def joined(purpose=FOR_GREETING):
    """A stream of ours as a member of the mesh."""
    s = Stream()
    s.hello(purpose)
    s.state(member(name, OWN))
    s.frame(TREE)
    return s


def change(key, seq, gone=False, writer=b"", octets=b"x", epoch=1):
    return (b(1, key) + u(2, epoch) + u(3, seq) + (b(4, writer) if writer else b"") + (u(5, 1) + u(6, 1) if gone else b(7, octets)))


def batch(origin, after, upto, *changes, epoch=1):
    return (b(1, origin) if origin else b"") + u(2, epoch) + u(3, after) + u(4, upto) + b(5, b"\0" * 16) + b"".join(b(6, c) for c in changes)


def news(octets, number):
    """Over the tree: kind 1, form 0, a message with a batch."""
    return f64(1, number) + b(2, b"\1\0" + b(1, octets))


def hello_only(**how):
    s = Stream()
    s.hello(**how)
    return s


def zstd_of_zeros(octets):
    """A frame of RLE blocks: four octets for each 128 KiB."""
    blocks = octets // (128 << 10)
    out = b"\x28\xb5\x2f\xfd" + bytes([0xa0]) + struct.pack("<I", octets)
    for n in range(blocks):
        out += struct.pack("<I", (128 << 10) << 3 | 2 | (n == blocks - 1))[:3] + b"\0"
    return out


def send(channel, octets):
    s = joined()
    s.frame(channel, octets)
    return s


def shared_ahead(ms):
    hlc = int(time.time() * 1000 + ms) << 16
    s = joined()
    for n in range(8):
        s.frame(SPREAD, news(batch(b"", 0, hlc + n, change(b"ahead%d\0ext" % n, hlc + n, writer=OWN)), 1000 + n))
    return s


def replay(times):
    s = joined()
    for n in range(times):
        s.frame(SPREAD, news(batch(other_id, 0, 1, change(b"s:replayed", 1)), 77))
    return s


def flood(frames):
    s = joined()
    try:
        for n in range(frames):
            s.frame(TREE if n & 1 else UNTREE)
            if n % 16 == 0:
                s.frame(VERIFY_REPLY, u(1, n))
    except OSError:
        pass
    return s


def connections(count):
    kept = []
    for _ in range(count):
        try:
            kept.append(socket.create_connection((victim, 8301), 2))
        except OSError:
            break
    time.sleep(1)
    return None


def pages(count):
    """Says that it has a log without end, and gives it, whatever is asked for."""
    s = joined()
    s.frame(REPLICA, b"\0" + b(2, b(1, b(1, OWN) + u(2, 1) + u(3, 1 << 40) + b(4, b"\1" * 16) + u(5, 0)) + u(2, 1) + u(3, 1) + u(4, 1)))
    try:
        for n in range(1, count):
            part = b(1, OWN) + u(2, 1) + u(3, 1 << 40) + b(4, b"\1" * 16) + b(9, change(b"s:p%d" % n, n, gone=True)) + u(10, 1) + u(11, n) + b(12, b"s:p%d" % n)
            s.frame(REPLICA, b"\0" + b(4, u(1, n) + b(2, part)))
    except OSError:
        pass
    return s


def fields(octets):
    """The fields of a message: number, then what it is."""
    n, out = 0, []

    def number():
        nonlocal n
        v = shift = 0
        while True:
            v |= (octets[n] & 127) << shift
            shift += 7
            n += 1
            if octets[n - 1] < 128:
                return v
    while n < len(octets):
        tag = number()
        if tag & 7 == 0:
            out.append((tag >> 3, number()))
        elif tag & 7 == 2:
            size = number()
            out.append((tag >> 3, octets[n:n + size]))
            n += size
        else:
            size = 8 if tag & 7 == 1 else 4
            out.append((tag >> 3, octets[n:n + size]))
            n += size
    return out


def log_of_other(s):
    """What the victim serves us of another's log, with its proof and card: epoch, number, the rest."""
    want = b(1, other_id) + u(5, 1)
    s.frame(REPLICA, b"\0" + b(3, u(1, 1) + b(2, want)))
    buffer, end = b"", time.monotonic() + CLOSE_S
    s.s.settimeout(CLOSE_S)
    skipped = False
    while time.monotonic() < end:
        buffer += s.s.recv(65536)
        if not skipped and len(buffer) >= 4:
            buffer, skipped = buffer[4:], True
        while len(buffer) >= 4 and len(buffer) >= 4 + struct.unpack(">I", buffer[:4])[0]:
            size = struct.unpack(">I", buffer[:4])[0]
            frame, buffer = buffer[4:4 + size], buffer[4 + size:]
            if frame[0] != REPLICA:
                continue
            octets = frame[2:]
            if frame[1] == 1:
                octets = subprocess.run(["zstd", "-dcq"], input=frame[6:], capture_output=True, check=True).stdout
            for kind, page in fields(octets):
                for field, part in fields(page) if kind == 4 else []:
                    if field == 2 and dict(fields(part)).get(1) == other_id:
                        return fields(part)
    raise OSError("no page of the other's log")


def forged_news(how):
    """News of another's log, as if it came next: with no proof, with the newest one that there is."""
    s = joined()
    part = log_of_other(s)
    known = dict(part)
    epoch, seq = known[2], known[3]
    c = change(b"web-2", seq + 1, gone=how == "removal", octets=[dict(fields(v))[7] for f, v in part if f == 9 and dict(fields(v)).get(1) == b"web-2"][0], epoch=epoch)
    octets = batch(other_id, seq, seq + 1, c, epoch=epoch) + (b"" if how == "unproved" else b(7, known[13]))
    s.frame(SPREAD, news(octets, int.from_bytes(os.urandom(7), "big")))
    return s


def raw(octets, tls=True):
    s = Stream(tls)
    s.s.sendall(octets)
    return s


def beside_a_probe():
    """No attack: a stream that only looks whether the agent answers gets its hello, and nothing that is for the other stream."""
    s = joined()
    s.s.settimeout(CLOSE_S)
    while s.frame_in() != STATE_REPLY:
        pass
    probe = hello_only(purpose=FOR_PROBE)
    probe.s.settimeout(CLOSE_S)
    seen = probe.s.recv(65536)
    for _ in range(3):
        s.frame(REPLICA, b"\0" + b(2, u(2, 1) + u(3, 1) + u(4, 1)))  # asks for its vector
    probe.s.settimeout(OPEN_S)
    try:
        while len(more := probe.s.recv(65536)):
            seen += more
    except TimeoutError:
        pass
    head, first = seen[:4], int.from_bytes(seen[4:8], "big")
    if head != b"WmF\1" or len(seen) != 8 + first:
        raise OSError("what is for a stream came over a probe")
    return None


ATTACKS = {
    "beside-a-probe": beside_a_probe,
    "another-name": lambda: hello_only(who=other_name),
    "another-id": lambda: hello_only(own=other_id),
    "another-datacenter": lambda: hello_only(dc=b"dc2"),
    "another-version": lambda: hello_only(version=9),
    "short-id": lambda: hello_only(own=b"x"),
    "long-hello": lambda: hello_only(dc=b"d" * 5000),
    "no-hello": lambda: raw(struct.pack(">IB", 1, TREE)),
    "no-frame": lambda: raw(b"\xff" * 8),
    "empty-frame": lambda: send(HELLO, b""),
    "frame-over-bound": lambda: raw(struct.pack(">IB", (4 << 20) + 1, REPLICA)),
    "plain": lambda: raw(b"", tls=False),
    "second-hello": lambda: send(HELLO, u(1, 1)),
    "name-in-state": lambda: send(STATE, b(1, member(other_name, b"\7" * 16))),
    "junk-state": lambda: send(STATE, b"\xff" * 64),
    "junk-spread": lambda: send(SPREAD, b"\xff" * 64),
    "junk-replica": lambda: send(REPLICA, b"\0" + b"\xff" * 64),
    "junk-request": lambda: send(REQUEST, b"\xff" * 64),
    "junk-reply": lambda: send(REPLY, b"\xff" * 64),
    "junk-verify": lambda: send(VERIFY, b"\xff" * 64),
    "junk-news-of": lambda: send(NEWS_OF, b"\xff" * 64),
    "bomb-news-of": lambda: send(NEWS_OF, b(6, b"") * (1 << 20)),
    "asks-as-a-leaf": lambda: send(INTEREST, b(1, b"web")),
    "another-stop": lambda: send(PAUSE, other_id + struct.pack(">Q", 30000)),
    "accuse": lambda: send(STATE, b(1, member(other_name, other_id, state=2, number=1000, a=other_address))),
    "claimed-size": lambda: send(REPLICA, b"\1" + struct.pack(">I", 1 << 31) + zstd_of_zeros(128 << 10)),
    "bomb": lambda: send(REPLICA, b"\1" + struct.pack(">I", 1 << 20) + zstd_of_zeros(1 << 30)),
    "clock-ahead": lambda: shared_ahead(3600 * 1000),
    "replay": lambda: replay(2000),
    "flood": lambda: flood(100000),
    "connections": lambda: connections(600),
    "forged-news": lambda: forged_news("unproved"),
    "forged-proof": lambda: forged_news("proved before"),
    "forged-removal": lambda: forged_news("removal"),
    "pages": lambda: pages(20000),
    "victims-log": lambda: send(SPREAD, news(batch(bytes.fromhex(sys.argv[6].replace("-", "")), 0, 1 << 40, change(b"s:web-1", 1 << 40, gone=True)), 55)),
}


def padded(octets, length):
    """The same message with a field that nobody knows, so that it has LENGTH octets."""
    head = varint(99 << 3 | 2)
    for size in range(1, 6):
        fill = length - len(octets) - len(head) - size
        if fill >= 0 and len(varint(fill)) == size:
            return octets + head + varint(fill) + b"\0" * fill
    raise ValueError(length)


def log(n):
    return b(1, OWN) + u(2, 1) + u(3, 1) + b(4, b"\0" * 16)


def news_of(octets):
    return b(1, b"web") + u(2, 1) + octets


REQUEST_OCTETS = (512 << 10) + (16 << 10) + 1024
WANT = b(1, b"\1" * 16) + u(2, 1) + u(3, 1)
# What a message may have: its channel, the message with so much of it, and how much.
BOUNDS = {
    "spread-octets": (SPREAD, lambda n: padded(b"", n), (256 << 10) + 1024),
    "spread-ids": (SPREAD, lambda n: b(3, b"\1" * 8 * n), 128),
    "spread-others": (SPREAD, lambda n: u(7, 1) + b(8, b"\1" * 16) * n, 4),
    "replica-octets": (REPLICA, lambda n: b"\0" + padded(b(2, u(2, 1)), n - 1), (2 << 20) + (256 << 10)),
    "replica-claims": (REPLICA, lambda n: b"\1" + struct.pack(">I", n) + zstd_of(b(2, u(2, 1)), n), (2 << 20) + (256 << 10)),
    "replica-logs": (REPLICA, lambda n: b"\0" + b(2, b(1, log(n)) * n + u(2, 1)), 1024),
    "replica-wants": (REPLICA, lambda n: b"\0" + b(3, u(1, 1) + b(2, WANT) * n), 64),
    "request-octets": (REQUEST, lambda n: padded(u(1, 1) + b(8, b"GET") + b(9, b"/v1/agent/self"), n), REQUEST_OCTETS),
    "reply-octets": (REPLY, lambda n: padded(u(1, 1), n), REQUEST_OCTETS),
    "pause-octets": (PAUSE, lambda n: OWN + b"\0" * (n - 16), 64),
    "verify-octets": (VERIFY, lambda n: padded(u(1, 1), n), 1 << 20),
    "verify-names": (VERIFY, lambda n: u(1, 1) + b(4, b(2, b"s:x")) * n, 256),
    "verify-reply-octets": (VERIFY_REPLY, lambda n: padded(u(1, 1), n), 1 << 20),
    "keyring-octets": (KEYRING, lambda n: padded(u(1, 1), n), 2048),
    "keyring-key": (KEYRING, lambda n: u(1, 1) + b(3, b"k" * n), 44),
    "keyring-fingerprint": (KEYRING, lambda n: u(1, 1) + b(4, b"f" * n), 32),
    "keyring-reply-octets": (KEYRING_REPLY, lambda n: padded(u(1, 1), n), 2048),
    "keyring-reply-fingerprints": (KEYRING_REPLY, lambda n: u(1, 1) + b(4, b"f" * 32) * n, 8),
    "news-octets": (NEWS, lambda n: padded(b"", n), 256 << 10),
    "state-name": (STATE, lambda n: b(1, member("n" * n, b"\7" * 16, state=4)), 63),
    "state-version": (STATE, lambda n: b(1, member("gone", b"\7" * 16, state=4) + b(6, b"1" * n)), 31),
    "interest-octets": (INTEREST, lambda n: padded(b(1, b"web"), n), 1024),
    "news-of-name": (NEWS_OF, lambda n: b(1, b"n" * n) + u(2, 1), 255),
    "news-of-items": (NEWS_OF, lambda n: news_of(b(6, b(1, OWN) + b(4, b"i")) * n), 1024),
    "news-of-names": (NEWS_OF, lambda n: news_of(b(7, b"web-x") * n), 4096),
    "news-of-a-name": (NEWS_OF, lambda n: news_of(b(7, b"n" * n)), 255),
    "news-of-node": (NEWS_OF, lambda n: news_of(b(6, b(1, OWN) + u(2, 1) + b(3, b"n" * n) + b(4, b"i"))), 63),
    "news-of-id": (NEWS_OF, lambda n: news_of(b(6, b(1, OWN) + b(4, b"i" * n))), 255),
    "news-of-origin": (NEWS_OF, lambda n: news_of(b(6, b(1, b"o" * n) + b(4, b"i"))), 16),
    "interest-name": (INTEREST, lambda n: b(1, b"n" * n), 255),
}


def zstd_of(octets, length):
    """A frame with OCTETS and a field of zeros behind them, LENGTH in all: a raw block, then ones that repeat."""
    first, rest = padded(octets, length)[:64], length - 64
    out = b"\x28\xb5\x2f\xfd" + bytes([0xa0]) + struct.pack("<I", length) + struct.pack("<I", 64 << 3)[:3] + first
    while rest:
        n = min(rest, 128 << 10)
        rest -= n
        out += struct.pack("<I", n << 3 | 2 | (not rest))[:3] + b"\0"
    return out


for bound, (channel, message, limit) in BOUNDS.items():
    ATTACKS["at-" + bound] = lambda c=channel, m=message, n=limit: send(c, m(n))
    ATTACKS["over-" + bound] = lambda c=channel, m=message, n=limit: send(c, m(n + 1))

for line in sys.stdin:
    try:
        attack, word = line.split()
        stream = ATTACKS[attack]()
        print("closed" if stream and stream.ended(OPEN_S if word == "open" else CLOSE_S) else "open", flush=True)
    except OSError as e:
        print("closed", e, flush=True)
