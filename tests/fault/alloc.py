#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Each allocation of each scenario fails once: alloc.py CONTROL_FILE UNIX_SOCKET.

A scenario is a request (or a few) to the agent. It is repeated with its first allocation failing, then
its second, and so on until it ends before the failing one is reached. Whatever fails, the agent answers
with success or with an error that a client can tell, closes the connection, or (DNS) says SERVFAIL; and
the same again without a failure works."""
import http.client
import json
import mmap
import socket
import struct
import sys
import time

MOST = 3000  # allocations of one scenario
control_path, sock_path = sys.argv[1:3]
f = open(control_path, "r+b")
control = mmap.mmap(f.fileno(), 24)
failed = []


class Unix(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(20)
        self.sock.connect(sock_path)


def ask(method, path, body=None):
    """Status and text; 0 where the connection was closed instead."""
    c = Unix("localhost")
    try:
        c.request(method, path, json.dumps(body) if isinstance(body, (dict, list)) else body)
        r = c.getresponse()
        return r.status, r.read()
    except (http.client.HTTPException, ConnectionError, BrokenPipeError):
        return 0, b""
    finally:
        c.close()


def arm(n):
    struct.pack_into("=qQQ", control, 0, n, 0, 0)


def left():
    return struct.unpack_from("=q", control, 0)[0]


def dns(name, qtype, tcp=False):
    q = struct.pack(">HHHHHH", 7, 0x0100, 1, 0, 0, 0)
    q += b"".join(bytes([len(l)]) + l.encode() for l in name.split(".")) + b"\0" + struct.pack(">HH", qtype, 1)
    s = socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM)
    s.settimeout(20)
    try:
        s.connect(("127.0.0.1", 8600))
        s.sendall(struct.pack(">H", len(q)) + q if tcp else q)
        got = s.recv(4096)
        if not got:
            return 0, b""
        return (200 if got[5 if tcp else 3] & 15 in (0, 3) else 500), got
    except (ConnectionError, socket.timeout):
        return -1 if not tcp else 0, b""
    finally:
        s.close()


def blocking():
    """A blocking query, and what wakes it."""
    status, _ = ask("GET", "/v1/health/service/web")
    c = Unix("localhost")
    try:
        c.request("GET", "/v1/health/service/web?index=1000000000&wait=1s")
        touch("web-9", 99)
        r = c.getresponse()
        return r.status, r.read()
    except (http.client.HTTPException, ConnectionError, BrokenPipeError):
        return 0, b""
    finally:
        c.close()


def events():
    c = Unix("localhost")
    try:
        c.request("GET", "/v1/waymark/events")
        r = c.getresponse()
        touch("web-8", int(time.time() * 1000) % 1000 + 1)
        return (r.status, b"") if r.status != 200 else (200, r.read1(64))
    except (http.client.HTTPException, ConnectionError, BrokenPipeError):
        return 0, b""
    finally:
        c.close()


def service(i, port=8080, **more):
    return {"ID": i, "Name": "web", "Port": port, "Address": "127.0.0.9", "Tags": ["a", "b"], "Meta": {"version": "1", "k": "v"}, **more}


def touch(i, port):
    return ask("PUT", "/v1/agent/service/register", service(i, port))


def put(path, body=None):
    return lambda: ask("PUT", path, body)


def get(path):
    return lambda: ask("GET", path)


checks = [{"CheckID": "h", "HTTP": "http://127.0.0.1:1/", "Interval": "1h", "Header": {"X": ["1"]}},
          {"CheckID": "t", "TTL": "1h"}, {"CheckID": "c", "TCP": "127.0.0.1:1", "Interval": "1h"}]
node = {"Node": "other", "Address": "10.0.0.9", "Service": {"ID": "db-1", "Service": "db", "Port": 5432},
        "Check": {"CheckID": "db", "Name": "db", "Status": "passing", "ServiceID": "db-1"}}
scenarios = {
    "register": put("/v1/agent/service/register", service("web-1")),
    "register with checks": put("/v1/agent/service/register", service("web-2", Checks=checks)),
    "register a sidecar": put("/v1/agent/service/register", service("web-3", Connect={"SidecarService": {}})),
    "register natively": put("/v1/waymark/instances/web-4", {"name": "web", "port": 1, "version": "2", "zone": "z", "capabilities": ["x"]}),
    "register of the node": put("/v1/agent/check/register", {"Name": "load", "TTL": "1h"}),
    "heartbeat": put("/v1/agent/check/pass/t?note=fine"),
    "update": put("/v1/agent/check/update/t", {"Status": "warning", "Output": "o" * 500}),
    "maintenance": put("/v1/agent/service/maintenance/web-1?enable=true&reason=test"),
    "maintenance of the node": put("/v1/agent/maintenance?enable=true"),
    "maintenance off": put("/v1/agent/maintenance?enable=false"),
    "services": get("/v1/agent/services?filter=Port+!=+1"),
    "instance": get("/v1/agent/service/web-1"),
    "checks": get("/v1/agent/checks"),
    "catalog": get("/v1/catalog/services"),
    "catalog of a service": get("/v1/catalog/service/web?tag=a&near=_agent"),
    "catalog write": put("/v1/catalog/register", node),
    "transaction": put("/v1/txn", [{"Node": {"Verb": "set", "Node": {"Node": "third", "Address": "10.0.0.10"}}},
                                   {"Service": {"Verb": "set", "Node": "third", "Service": {"ID": "x", "Service": "x", "Port": 1}}}]),
    "health": get("/v1/health/service/web?passing"),
    "health by state": get("/v1/health/state/any"),
    "health of a node": get("/v1/health/node/other"),
    "filter": get("/v1/waymark/instances?filter=Service.Meta.version==%222%22+and+%22a%22+in+Service.Tags"),
    "filter by pattern": get("/v1/waymark/instances?filter=Service.Meta.k+matches+%22v%2B%22"),
    "explain": get("/v1/waymark/instances?explain&filter=State==running"),
    "blocking query": blocking,
    "events": events,
    "metrics": get("/v1/agent/metrics?format=prometheus"),
    "status": get("/v1/waymark/status"),
    "statistics": get("/v1/waymark/statistics"),
    "resolve": get("/v1/waymark/resolve/web"),
    "choose": get("/v1/waymark/resolve?service=web&count=2"),
    "snapshot": get("/v1/snapshot"),
    "reload": put("/v1/agent/reload"),
    "lifecycle": put("/v1/waymark/instances/web-4/lifecycle?state=stopping"),
    "drain": put("/v1/waymark/instances/web-2/drain?deadline=1h"),
    "question": lambda: dns("web.service.mesh.internal", 33),
    "question over TCP": lambda: dns("web.service.mesh.internal", 33, True),
    "deregister": put("/v1/agent/service/deregister/web-4"),
    "deregister of the catalog": put("/v1/catalog/deregister", {"Node": "other"}),
}
GONE = {"deregister": 404}  # what was done is done, though its answer failed

total = 0
for name, run in scenarios.items():
    arm(0)
    for n in range(1, MOST):
        arm(n)
        status, text = run()
        reached = left() <= 0
        arm(0)
        if status == -1 or not (status == 0 or status in (200, GONE.get(name)) or status >= 400):
            failed.append(f"{name}: allocation {n}: {status} {text[:100]}")
        if ask("GET", "/v1/status/leader")[0] != 200:
            failed.append(f"{name}: allocation {n}: the agent is gone or does not answer")
            print("\n".join(failed))
            sys.exit(1)
        if not reached:
            break
        total += 1
    if name == "register with checks":
        time.sleep(1.5)  # a check without memory is tried again after a second
    status, text = run()
    if status not in (200, GONE.get(name)):
        failed.append(f"{name}: does not work afterwards: {status} {text[:200]}")
    print(f"{name}: {n - 1} allocations", flush=True)
# what there was no memory for is run in the end
wanted = [k for k, v in json.loads(ask("GET", "/v1/agent/checks")[1]).items() if v["Type"] != "maintenance"]
for _ in range(600):
    run = json.loads(ask("GET", "/v1/waymark/status")[1])["health"]["checks"]
    if run == len(wanted):
        break
    time.sleep(0.1)
else:
    failed.append(f"{run} checks run, of {len(wanted)}")
print("\n".join(failed))
print(f"{len(scenarios)} scenarios, {total} allocations failed, {len(failed)} wrong")
sys.exit(1 if failed else 0)
