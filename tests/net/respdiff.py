#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""respdiff.py - the same questions to us and to other name servers, answers compared field by field.

respdiff.py register API              services and nodes of every form, into the registry
respdiff.py zones API DIRECTORY       what the registry has, as zone files
respdiff.py compare DIRECTORY COUNT SEED OURS NAME=PORT...
                                      COUNT questions; a difference that no kind of KINDS explains fails

The method is that of respdiff (gitlab.nic.cz/knot/respdiff): each answer is taken apart into fields, fields
that differ are shown with the question, and each difference has a reason or is a bug."""
import collections
import glob
import ipaddress
import json
import os
import random
import re
import select
import socket
import sys
import time
import urllib.request

import dns.edns
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.reversename
import dns.zone

TTL = 60  # the settings of the test say so
NEGATIVE = 30
DOMAIN, DATACENTER = "mesh.internal", "dc1"


# --- what is registered -------------------------------------------------------------------------
def call(api, method, path, body=None):
    r = urllib.request.Request(api + path, json.dumps(body).encode() if body is not None else None, method=method)
    with urllib.request.urlopen(r, timeout=20) as f:
        return json.load(f) if method == "GET" else f.read()


def register(api):
    def put(node, address, service=None, status="passing", meta=None):
        body = {"Node": node, "Address": address, "NodeMeta": meta or {}}
        if service:
            body["Service"] = service
            body["Check"] = {"CheckID": f"service:{service['ID']}", "Name": "c", "ServiceID": service["ID"], "Status": status}
        call(api, "PUT", "/v1/catalog/register", body)

    for n in range(6):
        put(f"node-{n}", f"10.9.0.{n + 1}", meta={"rack": f"r{n}", "rfc1035-note": "as it is"})
    put("node.with.dots", "10.9.1.1")
    put("six", "fd00:9::1")
    for n in range(40):
        for i in range(n % 5 + 1):
            v6 = n % 4 == 3
            address = f"fd00:1::{n:x}:{i:x}" if v6 else f"10.1.{n}.{i + 1}"
            put(f"node-{n % 6}", f"10.9.0.{n % 6 + 1}", {
                "ID": f"s{n}-{i}", "Service": f"svc-{n}", "Address": address, "Port": 8000 + i,
                "Tags": ["a", f"t{i % 2}"] + (["x.y"] if n % 7 == 0 else [])},
                "critical" if n % 11 == 10 and i else "passing")
    put("node-1", "10.9.0.2", {"ID": "at-node", "Service": "at-node", "Port": 70})
    put("node-1", "10.9.0.2", {"ID": "down", "Service": "down", "Address": "10.3.0.1", "Port": 70}, "critical")
    for i in range(60):
        put("node-2", "10.9.0.3", {"ID": f"many-{i}", "Service": "many", "Address": f"10.2.0.{i + 1}", "Port": 80})


# --- as zones -------------------------------------------------------------------------------------
class Zone:
    def __init__(self, origin, ns, addresses):
        self.origin, self.rows = origin, set()
        self.add(origin, NEGATIVE, "SOA", f"{ns} hostmaster.{DOMAIN}. 1 3600 600 86400 {NEGATIVE}")
        self.add(origin, TTL, "NS", ns)
        if ns.endswith("." + origin):
            for a in addresses:
                self.address(ns, a)

    def add(self, name, ttl, kind, data):
        self.rows.add(f"{name} {ttl} IN {kind} {data}")

    def address(self, name, a):
        self.add(name, TTL, "AAAA" if ":" in a else "A", a)

    def write(self, directory):
        rows = sorted(self.rows, key=lambda r: " SOA " not in r)
        with open(os.path.join(directory, self.origin.rstrip(".")), "w", encoding="ascii") as f:
            f.write("\n".join(rows) + "\n")


def text(s):
    return '"' + s.replace("\\", "\\\\").replace('"', '\\"') + '"'


def add_service(zone, service, instances):
    for i in instances:
        own, node = i["Service"]["Address"], i["Node"]
        address = own or node["Address"]
        target = f"{node['Node']}.node.{DATACENTER}.{DOMAIN}."
        if own:
            packed = ipaddress.ip_address(own).packed.hex()
            target = f"{packed}.addr.{DATACENTER}.{DOMAIN}."
            zone.address(f"{packed}.addr.{DOMAIN}.", own)
            zone.address(target, own)
        weights = i["Service"]["Weights"]
        srv = f"1 {weights['Passing']} {i['Service']['Port']} {target}"
        for dc in ("", DATACENTER + "."):
            for tag in ["", *i["Service"]["Tags"]]:
                name = f"{tag + '.' if tag else ''}{service}.service.{dc}{DOMAIN}."
                zone.address(name, address)
                zone.add(name, TTL, "SRV", srv)
            for tag in ["tcp", *[t for t in i["Service"]["Tags"] if "." not in t]]:
                zone.add(f"_{service}._{tag}.service.{dc}{DOMAIN}.", TTL, "SRV", srv)
                zone.add(f"_{service}._{tag}.{dc}{DOMAIN}.", TTL, "SRV", srv)
                zone.address(f"_{service}._{tag}.service.{dc}{DOMAIN}.", address)


def zones(api, directory):
    nodes = call(api, "GET", "/v1/catalog/nodes")
    own = call(api, "GET", "/v1/agent/self")["Config"]["NodeName"]
    addresses = [n["Address"] for n in nodes if n["Node"] == own]
    zone = Zone(DOMAIN + ".", f"ns.{DOMAIN}.", addresses)
    reverse = {}
    for n in nodes:
        for dc in ("", DATACENTER + "."):
            name = f"{n['Node']}.node.{dc}{DOMAIN}."
            zone.address(name, n["Address"])
            for k, v in (n["Meta"] or {}).items():
                zone.add(name, TTL, "TXT", text(v if k.startswith("rfc1035-") else f"{k}={v}"))
    virtual = {s["name"]: s for s in call(api, "GET", "/v1/waymark/services")}
    for service in call(api, "GET", "/v1/catalog/services"):
        passing = call(api, "GET", f"/v1/health/service/{service}?passing")
        add_service(zone, service, passing)
        every = call(api, "GET", f"/v1/health/service/{service}")
        for a, six in ((virtual[service]["vip4"], False), (virtual[service]["vip6"], True)):
            pointer = dns.reversename.from_address(a).to_text()
            labels = pointer.split(".")
            origin = ".".join(labels[-19 if six else -4:])
            z = reverse.setdefault(origin, Zone(origin, f"ns.{DOMAIN}.", []))
            z.add(pointer, TTL, "PTR", f"{service}.virtual.{DOMAIN}.")
            if any((":" in (i["Service"]["Address"] or i["Node"]["Address"])) == six for i in every):
                for dc in ("", DATACENTER + "."):
                    zone.address(f"{service}.virtual.{dc}{DOMAIN}.", a)
    for z in [zone, *reverse.values()]:
        z.write(directory)


# --- questions ------------------------------------------------------------------------------------
TYPES = ["A"] * 12 + ["AAAA"] * 6 + ["SRV"] * 6 + ["PTR"] * 2 + ["TXT", "SOA", "NS", "MX", "CNAME", "ANY", "DS",
         "DNSKEY", "HTTPS", "CAA", "NAPTR", "TYPE65280", "RRSIG", "NSEC", "HINFO", "TLSA"]


class Questions:
    def __init__(self, directory, seed):
        self.random = random.Random(seed)
        self.names, self.origins = [], []
        for path in sorted(glob.glob(os.path.join(directory, "*"))):
            zone = dns.zone.from_file(path, os.path.basename(path) + ".", relativize=False)
            self.origins.append(zone.origin)
            have = {zone.origin}
            for name in zone.nodes:
                while name != zone.origin and name not in have:  # with the empty ones between
                    have.add(name)
                    name = name.parent()
            self.names += sorted(have)

    def missing(self, name):
        r = self.random
        labels = list(name.labels)
        how = r.randrange(4)
        if how == 0:
            labels.insert(0, b"nobody")
        elif how == 1:
            labels[0] = b"nobody"
        elif how == 2:
            labels[0:0] = [b"www", b"example"]
        else:
            labels[r.randrange(len(labels) - 1)] = bytes(r.choice(b"abc-_019*") for _ in range(r.randrange(1, 12)))
        try:
            return dns.name.Name(labels)
        except dns.exception.DNSException:
            return name

    def name(self):
        r = self.random
        kind = r.random()
        name = r.choice(r.choice([self.names, self.names, self.origins]) if kind < 0.1 else self.names)
        if kind > 0.75:
            name = self.missing(name)
        if kind > 0.97:
            name = dns.name.from_text(r.choice(["example.com.", ".", "internal.", "arpa.", "xmesh.internal.", "1.0.0.127.in-addr.arpa."]))
        if r.random() < 0.2:
            name = dns.name.Name([bytes(c ^ 32 if 65 <= c & 0xdf <= 90 and r.random() < 0.5 else c for c in label)
                                  for label in name.labels])
        return name

    def options(self):
        r = self.random
        return [o for o in (dns.edns.GenericOption(3, b""), dns.edns.ECSOption("198.51.100.0", 24, 0),
                            dns.edns.GenericOption(12, bytes(r.randrange(40))), dns.edns.GenericOption(65001, b"xyz"))
                if r.random() < 0.1]

    def __next__(self):
        r = self.random
        q = dns.message.make_query(self.name(), dns.rdatatype.from_text(r.choice(TYPES)), flags=0)
        q.id = r.randrange(65536)
        for flag, often in ((dns.flags.RD, 0.5), (dns.flags.AD, 0.1), (dns.flags.CD, 0.1)):
            if r.random() < often:
                q.flags |= flag
        if r.random() < 0.6:
            q.use_edns(0, dns.flags.DO if r.random() < 0.2 else 0, r.choice([512, 1232, 1232, 1400, 4096]), options=self.options())
        odd = r.random()
        if odd < 0.01:
            q.question[0].rdclass = r.choice([dns.rdataclass.CH, dns.rdataclass.ANY, dns.rdataclass.HS])
        elif odd < 0.015:
            q.use_edns(1, 0, 1232)
        elif odd < 0.02:
            q.set_opcode(r.choice([dns.opcode.STATUS, dns.opcode.IQUERY]))
        return q


# --- answers --------------------------------------------------------------------------------------
def records(section):
    out = set()
    for rrset in section:
        for rd in rrset:
            data = rd.to_text().lower()
            if rrset.rdtype == dns.rdatatype.SOA:
                data = " ".join(w for i, w in enumerate(data.split()) if i != 2)  # serials are their own
            out.add((rrset.name.to_text().lower(), rrset.ttl, dns.rdatatype.to_text(rrset.rdtype), data))
    return frozenset(out)


def fields(wire):
    """An answer as its fields; None: there was none."""
    if wire is None:
        return {"answered": False}
    trailing = False
    try:
        m = dns.message.from_wire(wire)
    except dns.message.TrailingJunk:
        m, trailing = dns.message.from_wire(wire, ignore_trailing=True), True
    return {
        "trailing": trailing,
        "answered": True, "id": m.id, "opcode": m.opcode(), "rcode": dns.rcode.to_text(m.rcode()),
        **{f.name.lower(): bool(m.flags & f) for f in dns.flags.Flag},
        "question": tuple((q.name.to_text(), q.rdtype, q.rdclass) for q in m.question),
        "answer": records(m.answer), "authority": records(m.authority), "additional": records(m.additional),
        "edns": m.edns, "eflags": m.ednsflags & 0xffff, "payload": m.payload if m.edns >= 0 else None,
        **{f"option {int(o.otype)}": True for o in m.options},
    }


class Servers:
    def __init__(self, ports):
        self.sockets = {}
        for name, port in ports.items():
            s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            s.connect(("127.0.0.1", port))
            self.sockets[name] = s

    def ask(self, q):
        """@return the answers by server, of the question's id."""
        wire = q.to_wire()
        waiting = dict(self.sockets)
        answers = dict.fromkeys(waiting)
        for s in waiting.values():
            s.send(wire)
        end = time.monotonic() + 10
        while waiting and time.monotonic() < end:
            readable, _, _ = select.select(list(waiting.values()), [], [], 0.5)
            for name in [n for n, s in waiting.items() if s in readable]:
                data = self.sockets[name].recv(65535)
                if data[:2] == wire[:2]:
                    answers[name] = data
                    del waiting[name]
        return answers


# --- differences that are known, and why ------------------------------------------------------------
# name, peers, fields, when, why: the first that holds is the reason. "d" has what was asked (q, name, type, kind of
# class), the two answers and the two values of the field.
PEERS = ("nsd", "knot", "bind", "unbound")
NOT_KNOT = ("nsd", "bind", "unbound")
ALL = ("aa", "rcode", "answer", "authority", "additional", "question", "edns", "eflags", "payload", "ad", "rd", "cd", "ra",
       "trailing", "option 3", "option 8", "option 12", "option 15", "option 65001")

SECTIONS = ("answer", "authority", "additional")


def both(d, rcode):
    return d.us["rcode"] == d.them["rcode"] == rcode


def not_implemented(d):
    return d.q.opcode() and both(d, "NOTIMP")


def asked(d):
    return tuple((q.name.to_text(), q.rdtype, q.rdclass) for q in d.q.question)


def came(d):
    """The value of the field in the question."""
    if d.field.startswith("option "):
        return any(d.field == f"option {int(o.otype)}" for o in d.q.options) or None
    return d.q.payload if d.field == "payload" else bool(d.q.flags & dns.flags.AD)


def is_header(answer):
    return not answer["question"] and answer["edns"] == -1 and not any(answer[s] for s in SECTIONS)


def is_soa(records):
    return [r[2] for r in records] == ["SOA"]


def in_reverse(d):
    return d.name.endswith((".in-addr.arpa.", ".ip6.arpa."))


def exists_here(d):
    """We say NODATA, they that the name is not there."""
    return d.us["rcode"] == "NOERROR" and d.them["rcode"] == "NXDOMAIN" and not d.us["answer"]


KINDS = [
    ("opcode: question", ("knot", "unbound"), ("question",), lambda d: not_implemented(d) and not d.ours and d.theirs == asked(d),
     "another opcode than QUERY: we return the header and an OPT, they the question, too"),
    ("opcode: OPT", ("nsd",), ("edns", "eflags", "payload"), lambda d: not_implemented(d) and d.them["edns"] == -1,
     "NSD returns no OPT (RFC 6891 7: who understands it does)"),
    ("opcode: RD", ("bind",), ("rd",), lambda d: not_implemented(d) and d.ours and not d.theirs, "BIND does not copy RD"),
    ("opcode: as it came", ("unbound",), ("ad", "payload", "option 12", "option 65001"), lambda d: not_implemented(d) and d.theirs == came(d),
     "Unbound sends AD, the payload and options back as they came"),
    ("CH", ("bind",), ("answered",), lambda d: d.rdclass == "CH" and d.us.get("rcode") == "REFUSED", "BIND refuses CH too seldom to be answered"),
    ("HS", ("nsd",), ("question",), lambda d: d.rdclass == "HS" and both(d, "REFUSED") and not d.theirs, "NSD refuses HS without the question"),
    ("class ANY: AA", ("knot",), ("aa",), lambda d: d.rdclass == "ANY" and d.theirs, "RFC 1035 6.2: an answer to ANY has no AA; Knot's has"),
    ("class ANY: SOA", ("nsd",), ("authority",), lambda d: d.rdclass == "ANY" and not d.theirs and not d.us["answer"] and is_soa(d.ours),
     "NSD denies without the SOA"),
    ("class ANY: FORMERR", ("bind",), ("rcode", "tc", *SECTIONS), lambda d: d.rdclass == "ANY" and d.them["rcode"] == "FORMERR" and (d.field == "rcode" or not d.theirs),
     "BIND understands no such question"),
    ("class ANY: ACL", ("unbound",), ("rcode", "tc", "question", "edns", "eflags", "payload", "ad", "trailing", *SECTIONS),
     lambda d: d.rdclass == "ANY" and not d.us["aa"] and d.them["rcode"] == "REFUSED" and is_header(d.them), "Unbound refuses, as below"),
    ("refused by ACL", ("unbound",), ALL[5:], lambda d: d.them["rcode"] == "REFUSED" and d.us["rcode"] in ("REFUSED", "BADVERS"),
     "Unbound refuses what is none of its zones by its ACL: the header alone, octets behind it, AD as it came"),
    ("DS", ("unbound",), ALL, lambda d: d.type == "DS" and d.them["rcode"] == "REFUSED",
     "Unbound takes the DS of a zone for the parent's to tell, whose zone it has not; NODATA is right for the child (RFC 4035 3.1.4.1)"),
    ("AD of what is cut", ("bind",), ("ad",), lambda d: d.them["tc"] and d.q.flags & dns.flags.AD,
     "BIND sets AD on an answer with TC to who asks with AD: nothing in it wants a proof"),
    ("RFC 6303", ("unbound",), ALL, lambda d: any("nobody.invalid." in r[3] for r in d.them["answer"] | d.them["authority"]),
     "Unbound has zones of its own for reverse ranges that nobody has names of"),
    ("names of addresses", PEERS, ALL, lambda d: d.name == "1.0.0.127.in-addr.arpa." and d.us["answer"] and d.them["rcode"] == "REFUSED",
     "the address of a node has a name here, as in Consul; a server has the zone or refuses"),
    ("RA", ("unbound",), ("ra",), lambda d: not d.ours and d.theirs, "it could recurse, we have no upstream in this test"),
    ("CD", NOT_KNOT, ("cd",), lambda d: not d.ours and d.theirs and d.q.flags & dns.flags.CD,
     "copied from the question; RFC 4035 3.1.6: an authoritative answer should not have it"),
    ("NSID", PEERS, ("option 3",), lambda d: any(o.otype == 3 for o in d.q.options), "RFC 5001: a name to who asks, where one is set"),
    ("ECS", PEERS, ("option 8",), lambda d: any(o.otype == 8 for o in d.q.options),
     "RFC 7871 7.2.1: who understands client subnets repeats the option with scope 0"),
    ("EDE", ("nsd", "knot", "bind"), ("option 15",), lambda d: d.theirs, "RFC 8914: an error in words, which we do not send"),
    ("minimal", NOT_KNOT, ("additional",), lambda d: not d.theirs and targets(d) >= {r[0] for r in d.ours},
     "minimal responses leave targets' addresses out; Consul's clients read them of SRV, so ours and Knot's have them"),
    ("glue", ("knot",), ("additional",), lambda d: not d.theirs and d.type == "NS" and in_reverse(d),
     "the address of the server of a reverse zone is in another zone of the same server"),
    ("what fits", ("knot",), ("additional",), lambda d: d.us["answer"] == d.them["answer"] and d.theirs and d.type == "SRV",
     "not all addresses of targets fit: some do, and nobody says which (RFC 2181 9)"),
    ("cut", PEERS, ("answer", "authority", "additional"), lambda d: d.us["tc"] and d.them["tc"],
     "TC: what stands there is not to be used (RFC 2181 9); we have as many as fit, they none or some"),
    ("one set", ("knot", "bind"), ("answer", "additional", "tc"), lambda d: d.type == "ANY" and d.us["answer"] and (d.field != "answer" or d.peer == "knot" or d.ours < d.theirs or d.them["tc"]),
     "ANY: one set of records (RFC 8482 4.1); Knot has another one, the rest have all"),
    ("SOA of TTL 0", ("bind",), ("authority",), lambda d: d.type == "SOA" and {(n, 0, t, x) for n, _, t, x in d.ours} == d.theirs,
     "BIND's zero-no-soa-ttl: a denial of a SOA is not to be kept"),
    ("between", PEERS, ("rcode",), lambda d: in_reverse(d) and exists_here(d),
     "all names between a reverse zone of ours and an address exist, as any may get an address"),
    ("tags", PEERS, ("rcode",), lambda d: exists_here(d) and d.name.startswith("_") and not d.name.split(".")[1].startswith("_"),
     "_x has names of RFC 2782 below it, whatever x is"),
    ("scopes", PEERS, ("rcode",), lambda d: exists_here(d) and re.fullmatch(r"[^.]+\.ns\.(dc1\.)?mesh\.internal\.", d.name),
     "x.ns has names of a scope's services below it, whatever x is"),
    ("addresses", PEERS, ("rcode", "answer", "authority"), lambda d: ".addr." in d.name and d.them["rcode"] == "NXDOMAIN" and d.us["rcode"] == "NOERROR",
     "<hex>.addr is the name of each address; the zones have those of instances"),
]


class Difference:
    def __init__(self, peer, field, q, us, them):
        self.peer, self.field, self.q, self.us, self.them = peer, field, q, us, them
        self.ours, self.theirs = us.get(field), them.get(field)
        self.name = q.question[0].name.to_text().lower()
        self.type = dns.rdatatype.to_text(q.question[0].rdtype)
        self.rdclass = dns.rdataclass.to_text(q.question[0].rdclass)


def targets(d):
    """Names that the records of the answer lead to."""
    return {data.split()[-1] for _, _, kind, data in d.us["answer"] if kind in ("SRV", "NS", "PTR", "CNAME")}


def explain(d):
    for name, peers, names, when, _ in KINDS:
        if d.peer in peers and d.field in names and when(d):
            return name
    return None


def show(d):
    def plain(v):
        return sorted(v) if isinstance(v, frozenset) else v
    return (f"{d.peer}: {d.field}: ours {plain(d.ours)} theirs {plain(d.theirs)}\n"
            f"    of {d.q.question[0].to_text()} flags [{dns.flags.to_text(d.q.flags)}] opcode {d.q.opcode()} edns {d.q.edns} payload "
            f"{d.q.payload} eflags {d.q.ednsflags:x} options {[int(x.otype) for x in d.q.options]}; "
            f"rcodes {d.us.get('rcode')} {d.them.get('rcode')}")


def compare(directory, count, seed, ours, peers):
    questions = Questions(directory, seed)
    servers = Servers({"ours": ours, **peers})
    seen, unknown, same = collections.Counter(), 0, 0
    for _ in range(count):
        q = next(questions)
        answers = {name: fields(a) for name, a in servers.ask(q).items()}
        us = answers.pop("ours")
        for peer, them in answers.items():
            different = [f for f in {**us, **them} if us.get(f) != them.get(f)]
            if us["answered"] != them["answered"]:  # no other field to compare
                different = ["answered"]
            same += not different
            for f in different:
                d = Difference(peer, f, q, us, them)
                kind = explain(d)
                seen[kind, peer] += 1
                if not kind:
                    unknown += 1
                    if unknown <= int(os.environ.get("RESPDIFF_SHOW", "20")):
                        print("unknown difference: " + show(d))
    print(f"{count} questions, {count * len(peers)} pairs of answers, {same} of them the same in each field")
    for name, *_, why in KINDS:
        print(f"{name:20}" + "".join(f"{p} {seen[name, p]:<5} " for p in peers) + why)
    return 1 if unknown else 0


if sys.argv[1] == "register":
    register(sys.argv[2])
elif sys.argv[1] == "zones":
    zones(*sys.argv[2:4])
else:
    sys.exit(compare(sys.argv[2], int(sys.argv[3]), sys.argv[4], int(sys.argv[5]),
                     {n: int(p) for n, p in (a.split("=") for a in sys.argv[6:])}))
