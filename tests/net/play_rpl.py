#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Play a file of questions and of what other name servers answer, as Unbound's testbound has them. Its lines:

forward DOMAIN=SERVER...    what the agent is started with: dns.forward
set SETTING=VALUE           further settings; --settings prints both as options of waymarkd
server ADDRESS              on port 53, over UDP and TCP; the lines that follow say what it answers
NAME TYPE [udp|tcp]: WHAT   of a question: packets with "," between; after ";" what the next time, the last for good
ask NAME TYPE [tcp] = CODE [DATA...]   what a client of the agent is to get; over TCP, too, where it is told to
asked ADDRESS NAME TYPE <= N, >= N     how often the server was asked
clock SECONDS               the agent's wall clock steps (STEP_CLOCK, tests/fault/step_clock.c)

A packet is words: drop | delay MS | from ADDRESS | otherport | wrongid | othercase | noquestion | ttl S | tc |
cut OCTETS | raw HEX | also NAME TYPE DATA (in the additional section) | of NAME (a record of another name), and last
nothing, CODE (NXDOMAIN...), answer DATA|DATA..., cname NAME, or txt OCTETS (so many of them).
play_rpl.py FILE [STEP_FILE]: plays it, "ok: " or "FAILED: " a line."""
import collections
import re
import socket
import struct
import sys
import threading
import time

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.rdatatype
import dns.rrset

AGENT = "127.0.0.1"
PORT = 8600
NEGATIVE_TTL = 5


def swap(data):
    """The letters of the question in the other case."""
    end = 12
    while data[end]:
        end += 1 + data[end]
    return data[:12] + data[12:end].swapcase() + data[end:]


def absolute(name):
    return name + "." * (not name.endswith("."))


def rrset(name, ttl, kind, data):
    return dns.rrset.from_text(name, ttl, "IN", kind, *data)


class Server:
    def __init__(self, address):
        self.address, self.rules, self.asked = address, {}, collections.Counter()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind((address, 53))
        self.tcp = socket.create_server((address, 53), backlog=64)

    def start(self):
        threading.Thread(target=self.serve_udp, daemon=True).start()
        threading.Thread(target=self.serve_tcp, daemon=True).start()

    def packets(self, data, over):
        q = dns.message.from_wire(data)
        name, kind = q.question[0].name.to_text(True).lower(), dns.rdatatype.to_text(q.question[0].rdtype)
        key = (name, kind)
        rule = self.rules.get((*key, over)) or self.rules.get(key)
        if not rule:
            return q, ["NXDOMAIN"]
        n = self.asked[key]
        self.asked[key] += 1
        return q, rule[min(n, len(rule) - 1)]

    def play(self, data, over, send):
        q, packets = self.packets(data, over)
        for words in packets:
            made = self.make(q, data, words.split())
            if made:
                send(*made)

    def make(self, q, data, words):  # pylint: disable=too-many-branches,too-many-statements
        a = dns.message.make_response(q, recursion_available=True)
        name, kind, ttl, how, wire = q.question[0].name, dns.rdatatype.to_text(q.question[0].rdtype), 60, set(), None
        cut, source = None, None
        while words:
            word = words.pop(0)
            if word == "drop":
                return None
            if word == "delay":
                time.sleep(int(words.pop(0)) / 1000)
            elif word == "from":
                source = words.pop(0)
            elif word in ("otherport", "wrongid", "othercase", "noquestion"):
                how.add(word)
            elif word == "ttl":
                ttl = int(words.pop(0))
            elif word == "tc":
                a.flags |= dns.flags.TC
            elif word == "cut":
                cut = int(words.pop(0))
            elif word == "raw":
                wire = data[:2] + bytes.fromhex(words.pop(0))
            elif word == "of":
                name = dns.name.from_text(words.pop(0))
            elif word == "also":
                a.additional.append(rrset(absolute(words.pop(0)), ttl, words.pop(0), [words.pop(0)]))
            elif word == "answer":
                a.answer.append(rrset(name, ttl, kind, " ".join(words).split("|")))
                words = []
            elif word == "cname":
                a.answer.append(rrset(name, ttl, "CNAME", [absolute(words.pop(0))]))
            elif word == "txt":
                left = int(words.pop(0))
                a.answer.append(rrset(name, ttl, "TXT", ['"%07d%s"' % (i, "x" * 193) for i in range(left // 200)]))
            elif word != "nothing":
                a.set_rcode(dns.rcode.from_text(word))
                if word == "NXDOMAIN":
                    a.authority.append(rrset(name.parent(), ttl, "SOA", [f"ns. host. 1 2 3 4 {NEGATIVE_TTL}"]))
        if wire is None:
            if "noquestion" in how:
                a.question = []
            wire = a.to_wire(max_size=65535)
        if "wrongid" in how:
            wire = struct.pack("!H", q.id ^ 0x5555) + wire[2:]
        if "othercase" in how:
            wire = swap(wire)
        return wire[:cut], source, "otherport" in how

    def serve_udp(self):
        while True:
            data, client = self.udp.recvfrom(4096)

            def send(wire, source, otherport, client=client):
                if source or otherport:
                    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    s.bind((source or self.address, 53 if source else 0))
                    s.sendto(wire, client)
                    s.close()
                else:
                    self.udp.sendto(wire, client)

            threading.Thread(target=self.play, args=(data, "udp", send), daemon=True).start()

    def serve_tcp(self):
        while True:
            threading.Thread(target=self.serve_connection, args=self.tcp.accept()[:1], daemon=True).start()

    def serve_connection(self, s):
        def send(wire, _source, _otherport):
            s.sendall(len(wire).to_bytes(2, "big") + wire)

        try:
            while head := s.recv(2, socket.MSG_WAITALL):
                self.play(s.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL), "tcp", send)
        except OSError:
            pass
        s.close()


def ask(name, kind, over):
    q = dns.message.make_query(name, kind, use_edns=0, payload=1232)
    if over == "udp":
        a = dns.query.udp(q, AGENT, port=PORT, timeout=15)
    if over == "tcp" or a.flags & dns.flags.TC:
        a = dns.query.tcp(q, AGENT, port=PORT, timeout=15)
    texts = sorted(r.to_text() for s in a.answer for r in s)
    text = " ".join(texts)
    return dns.rcode.to_text(a.rcode()) + (" " + text if 0 < len(text) < 200 else f" {len(texts)} records" if texts else "")


class Player:
    def __init__(self, lines, step):
        self.lines, self.step, self.servers, self.skew, self.failed = lines, step, {}, 0, False

    def check(self, text, ok, seen):
        print(f"ok: {text}" if ok else f"FAILED: {text}, saw '{seen}'", flush=True)
        self.failed |= not ok

    def read(self):
        """The servers. @return what is to be done then."""
        at, todo = None, []
        for line in self.lines:
            word, _, rest = line.partition(" ")
            if word == "server":
                at = self.servers[rest] = Server(rest)
            elif word in ("ask", "asked", "clock"):
                todo.append((word, rest))
            elif word not in ("forward", "set"):
                question, _, what = line.partition(": ")
                name, kind, *over = question.split()
                at.rules[(name, kind, *over)] = [[p.strip() for p in t.split(",")] for t in what.split(";")]
        return todo

    def play(self):
        todo = self.read()
        for s in self.servers.values():
            s.start()
        for word, rest in todo:
            if word == "clock":
                self.skew += int(rest)
                with open(self.step, "w", encoding="ascii") as f:
                    f.write(str(self.skew))
            elif word == "ask":
                question, _, want = rest.partition(" = ")
                name, kind, *over = question.split()
                seen = ask(name, kind, over[0] if over else "udp")
                self.check(rest, seen == want, seen)
            else:
                address, name, kind, how, n = rest.split()
                seen = self.servers[address].asked[(name, kind)]
                self.check(f"asked {rest}", seen <= int(n) if how == "<=" else seen >= int(n), seen)
        return self.failed


def main():
    path = sys.argv[-1] if sys.argv[1] == "--settings" else sys.argv[1]
    with open(path, encoding="utf-8") as f:
        lines = [t for t in (re.sub(r"(^|\s)#.*", "", line).strip() for line in f) if t]
    if sys.argv[1] == "--settings":
        forwards = [t.split(" ", 1)[1] for t in lines if t.startswith("forward ")]
        print("--set\ndns.forward=" + ",".join(forwards))
        for t in lines:
            if t.startswith("set "):
                print("--set\n" + t[4:])
        return 0
    return Player(lines, sys.argv[2] if len(sys.argv) > 2 else "").play()


sys.exit(main())
