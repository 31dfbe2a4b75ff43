#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes policies that contradict each other, lead in circles or are no policies at all: policy_storm.py SEED WRITES,
against the agent of its network namespace. What is written follows from the seed. Every write has an answer: taken, or
refused with a reason. Prints how many were which, exits with 1 when one was neither. Nothing is timed."""
import collections
import http.client
import json
import random
import sys

DEADLINE = 60
SERVICES = ["web", "api", "db", "cache", "Web", "nobody", "x" * 255]
SUBSETS = {"v1": "Service.Meta.version == 1", "v2": "Service.Meta.version == 2"}
CONSUL = "/v1/config"


def other(r):
    return r.choice(SERVICES)


def split(r):
    """Percents of 1 to 8 targets, circles among them."""
    n = r.randrange(1, 9)
    parts = [100 // n] * n
    parts[0] += 100 - sum(parts)
    return [(p, other(r)) for p in parts]


def native(r):
    return r.choice([
        lambda: {"split": [{"percent": p, "service": s} for p, s in split(r)]},
        lambda: {"redirect": {"service": other(r)}},
        lambda: {"redirect": {"region": "r1"}},
        lambda: {"select": "failover", "failover": [{"service": other(r)} for _ in range(r.randrange(1, 8))]},
        lambda: {"select": "nearest", "nearest": {"region": "r1"},  # a region of its own: near is the same on both
                 "failover": [{"service": other(r), "subset": "v1", "region": "r2"}]},
        lambda: {"subsets": SUBSETS, "default_subset": r.choice(list(SUBSETS)),
                 "split": [{"percent": 50, "subset": "v1"}, {"percent": 50, "service": other(r), "subset": "v2"}]},
        lambda: {"balance": r.choice(["maglev", "round_robin", "peak_ewma", "least_connections", "direct"])},
        lambda: {"panic_threshold": r.randrange(0, 101), "when_none": r.choice(["any", "pass", "refuse", "draining"])},
    ])()


def entry(r):
    name = other(r)
    return r.choice([
        lambda: {"Kind": "service-splitter", "Name": name,
                 "Splits": [{"Weight": p, "Service": s} for p, s in split(r)]},
        lambda: {"Kind": "service-resolver", "Name": name, "Redirect": {"Service": other(r)}},
        lambda: {"Kind": "service-resolver", "Name": name, "Subsets": {k: {"Filter": f} for k, f in SUBSETS.items()},
                 "DefaultSubset": "v1", "Failover": {"*": {"Service": other(r)}, "v1": {"ServiceSubset": "v2"}}},
        lambda: {"Kind": "service-resolver", "Name": name,
                 "LoadBalancer": {"Policy": r.choice(["maglev", "random", "least_request"])}},
        lambda: {"Kind": "service-defaults", "Name": name, "Protocol": r.choice(["http", "tcp"])},
    ])()


def bad(r):
    """A body that must be refused."""
    return r.choice([
        b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"panic_threshold": 5}\0{}', b"{\"a\":" * 500, b"7" * 70000,
        json.dumps({"split": [{"percent": 50}]}).encode(),
        json.dumps({"split": [{"percent": 12.5}] * 9}).encode(),
        json.dumps({"redirect": {"service": "b"}, "split": [{"percent": 100, "service": "a"}]}).encode(),
        json.dumps({"failover": [{}]}).encode(),
        json.dumps({"subsets": {"v1": "Service.Meta.a == " + "(" * 4000}}).encode(),
        json.dumps({"subsets": {"v_1": ""}}).encode(),
        json.dumps({"split": [{"percent": -1}, {"percent": 101}]}).encode(),
        b'{"split": [{"percent": 1e400}]}', b'{"panic_threshold": "NaN"}',
        json.dumps({"Kind": "service-splitter", "Name": "web", "Splits": [{"Weight": 1e9}]}).encode(),
        json.dumps({"Kind": "service-resolver", "Name": "web", "Failover": {"v9": {"Service": "a"}}}).encode(),
        json.dumps({"Kind": "service-resolver", "Name": "web", "LoadBalancer": {"Policy": "random",
                                                                                "LeastRequestConfig": {}}}).encode(),
        json.dumps({"Kind": "nonsense", "Name": "web"}).encode(),
        json.dumps({"Kind": "service-defaults", "Name": "y" * 300, "Protocol": "http"}).encode(),
    ])


def write(r):
    """@return method, path, body, the statuses that may be."""
    service = "/v1/waymark/policies/" + other(r)
    what = r.randrange(10)
    if what < 3:
        return "PUT", service, json.dumps(native(r)).encode(), (200, 400)
    if what < 6:
        return "PUT", CONSUL, json.dumps(entry(r)).encode(), (200, 400)
    if what < 7:
        return "PUT", r.choice([service, CONSUL]), bad(r), (400, 413)
    if what < 9:
        return "DELETE", service, None, (200, 404)
    kind = r.choice(["service-resolver", "service-splitter", "service-defaults"])
    return "DELETE", f"{CONSUL}/{kind}/{other(r)}", None, (200, 400)  # its subsets may be in use


def main():
    r = random.Random(int(sys.argv[1]))
    seen, wrong = collections.Counter(), 0
    for _ in range(int(sys.argv[2])):
        method, path, body, may = write(r)
        c = http.client.HTTPConnection("127.0.0.1", 8500, timeout=DEADLINE)
        c.request(method, path, body=body)
        a = c.getresponse()
        text = a.read().decode()
        c.close()
        seen[a.status] += 1
        if a.status not in may or (a.status >= 400 and not text):
            wrong += 1
            print(f"{method} {path[:80]} {(body or b'')[:300]}: {a.status} {text[:200]}")
    print(*(f"{n} x {status}" for status, n in sorted(seen.items())))
    sys.exit(wrong != 0)


main()
