#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Service discovery as Prometheus 2.42 does it: the same requests in the same order with the same parameters,
and its rules of what to take of an answer. Debian's Prometheus is built without it: promtool knows no
consul_sd_configs.

  1. GET /v1/agent/self, until Config.Datacenter is a string
  2. GET /v1/catalog/services?stale=&wait=120000ms, again and again with &index= of the answer before
  3. for each service GET /v1/health/service/<name>?stale=&wait=120000ms, the same
An answer with the index that it holds is ignored, one without is index 0 and so ignored too; a lower index is
taken as it is. A connection has 135 s. What differs: it does not pause 30 s between two requests of a loop, and
waits 50 ms after an error instead of 15 s.

prometheus_sd.py URL RESTART: RESTART is a file that is made when the agent shall be started anew, and
is removed when that is done. Prints a line a finding."""
import http.client
import json
import os
import socket
import sys
import threading
import time
import urllib.parse

from checks import check, finish

base = urllib.parse.urlsplit(sys.argv[1])
restart = sys.argv[2]
WAIT = "120000ms"
class Discovery:
    """One consul_sd_config without `services`, so that it watches all of them."""

    def __init__(self, tags=(), node_meta=()):
        self.tags, self.node_meta = tags, node_meta
        self.lock = threading.Lock()
        self.targets = {}  # by service
        self.watched = {}  # service -> Event that ends its loop
        self.ignored = self.taken = self.errors = 0
        self.over = threading.Event()
        self.connections = set()

    def get(self, path, params):
        # Go's Encode() sorts
        query = urllib.parse.urlencode(sorted(params, key=lambda p: p[0]))
        c = http.client.HTTPConnection(base.hostname, base.port, timeout=135)
        self.connections.add(c)
        try:
            c.request("GET", path + "?" + query, headers={
                "User-Agent": "Prometheus/2.42", "Accept-Encoding": "gzip"})
            a = c.getresponse()
            return a.status, a.headers, a.read()
        finally:
            self.connections.discard(c)
            c.close()

    def watch(self, path, more, take, over):
        """One loop of a blocking query."""
        index = 0
        while not over.is_set() and not self.over.is_set():
            params = [("stale", ""), ("wait", WAIT)] + more + ([("index", str(index))] if index else [])
            try:
                status, headers, body = self.get(path, params)
                if status != 200:
                    raise OSError(status)
                fresh = int(headers.get("X-Consul-Index", 0))
                value = json.loads(body)
            except (OSError, ValueError, http.client.HTTPException):
                self.errors += 1
                over.wait(0.05)
                continue
            if over.is_set():
                return
            if fresh == index:
                self.ignored += 1
                continue
            self.taken += 1
            index = fresh
            take(value)

    def take_services(self, services):
        meta = [("node-meta", m) for m in self.node_meta]
        with self.lock:
            for name, tags in services.items():
                if name in self.watched or not set(self.tags) <= set(tags):
                    continue
                over = self.watched[name] = threading.Event()
                more = [("tag", t) for t in self.tags] + meta
                threading.Thread(target=self.watch, daemon=True, args=(
                    "/v1/health/service/" + urllib.parse.quote(name), more,
                    lambda v, n=name, o=over: self.take_service(n, v, o), over)).start()
            for name in [n for n in self.watched if n not in services]:
                self.watched.pop(name).set()
                self.targets.pop(name, None)

    def take_service(self, name, entries, over):
        found = {}
        for e in entries:
            node, service = e["Node"], e["Service"]
            address = service["Address"] or node["Address"]
            states = [c["Status"] for c in e["Checks"]]
            health = next((s for s in ("critical", "warning", "passing") if s in states), "passing")
            if any(c["CheckID"] == "_node_maintenance" or c["CheckID"].startswith("_service_maintenance:")
                   for c in e["Checks"]):
                health = "maintenance"
            assert isinstance(node["Meta"], dict) and isinstance(node["TaggedAddresses"], dict)
            assert isinstance(service["Meta"], dict) and isinstance(service["Tags"], list)
            found[f"{address}:{service['Port']}"] = (service["ID"], health, "," + ",".join(service["Tags"]) + ",")
        with self.lock:
            if not over.is_set():
                self.targets[name] = found

    def run(self):
        while True:
            status, _, body = self.get("/v1/agent/self", [])
            if status == 200 and isinstance(json.loads(body)["Config"]["Datacenter"], str):
                break
            time.sleep(0.05)
        threading.Thread(target=self.watch, daemon=True, args=(
            "/v1/catalog/services", [("node-meta", m) for m in self.node_meta], self.take_services, self.over)).start()

    def see(self):
        with self.lock:
            return {n: dict(t) for n, t in self.targets.items()}

    def stop(self):
        self.over.set()
        for event in list(self.watched.values()):
            event.set()
        for c in list(self.connections):
            try:
                c.sock.shutdown(socket.SHUT_RDWR)
            except (OSError, AttributeError):
                pass


def put(path, body=None):
    c = http.client.HTTPConnection(base.hostname, base.port, timeout=20)
    c.request("PUT", path, body=json.dumps(body) if body else None)
    status = c.getresponse().status
    c.close()
    if status != 200:
        check(f"PUT {path}", 200, status)


def register(service_id, name, address, port, tags=(), status="passing"):
    put("/v1/agent/service/register", {
        "ID": service_id, "Name": name, "Address": address, "Port": port, "Tags": list(tags),
        "Check": {"CheckID": "c-" + service_id, "TTL": "1h", "Status": status}})


def until(what, sd, want):
    end = time.monotonic() + 60
    while time.monotonic() < end and sd.see() != want:
        time.sleep(0.02)
    check(what, want, sd.see())


sd = Discovery()
tagged = Discovery(tags=("blue",), node_meta=("zone:z1",))
elsewhere = Discovery(node_meta=("zone:z2",))
for each in (sd, tagged, elsewhere):
    each.run()

register("web-1", "web", "10.1.0.1", 80, ["blue", "v1"])
register("web-2", "web", "", 81)
web = {"10.1.0.1:80": ("web-1", "passing", ",blue,v1,"), "10.8.0.2:81": ("web-2", "passing", ",,")}
until("targets", sd, {"web": web})
until("those with a tag", tagged, {"web": {"10.1.0.1:80": web["10.1.0.1:80"]}})
until("none on other nodes", elsewhere, {})
put("/v1/agent/check/fail/c-web-1")
web["10.1.0.1:80"] = ("web-1", "critical", ",blue,v1,")
until("a failing check is a label", sd, {"web": web})
register("db-1", "db", "10.1.0.9", 5432)
db = {"10.1.0.9:5432": ("db-1", "passing", ",,")}
until("a new service is watched", sd, {"web": web, "db": db})
put("/v1/agent/service/maintenance/db-1?enable=true")
db["10.1.0.9:5432"] = ("db-1", "maintenance", ",,")
until("maintenance is a label", sd, {"web": web, "db": db})
put("/v1/agent/service/deregister/db-1")
until("a service that is gone is forgotten", sd, {"web": web})
check("no answer was for nothing", 0, sd.ignored)

open(restart, "w").close()
while os.path.exists(restart):
    time.sleep(0.02)
check("the restart was noticed", True, sd.errors > 0)
register("web-3", "web", "10.1.0.3", 80)
web["10.1.0.3:80"] = ("web-3", "passing", ",,")
until("after a restart what changes is seen", sd, {"web": web})
register("db-1", "db", "10.1.0.9", 5432)
until("and a service that comes back", sd, {"web": web, "db": {"10.1.0.9:5432": ("db-1", "passing", ",,")}})
for each in (sd, tagged, elsewhere):
    each.stop()
finish()
