#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Debian's python3-consul, unmodified, against the agent: what it reads must be what was registered.

Its release (0.7.1) sends heartbeats and deregistrations by GET, which Consul answers with 405 since 1.0,
and so do we: these are sent by PUT. Prints one line a finding, exits with 1 when one is not as expected."""
import json
import urllib.request
import threading
import time

import consul

from checks import check, finish


def put(path):
    request = urllib.request.Request("http://127.0.0.1:8500/v1/agent" + path, method="PUT")
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.status


c = consul.Consul(host="127.0.0.1", port=8500)
check("register", True, c.agent.service.register(
    "py", service_id="py-1", address="10.6.0.1", port=80, tags=["v1", "blue"],
    check=consul.Check.ttl("1h")))
check("register with an HTTP check", True, c.agent.service.register(
    "py", service_id="py-2", address="10.6.0.2", port=81,
    check=consul.Check.http("http://127.0.0.1:1/", "10h", timeout="1s")))
check("agent.services", {"py-1", "py-2"}, set(c.agent.services()))
check("agent.checks", "critical", c.agent.checks()["service:py-1"]["Status"])
check("a heartbeat by GET is refused", False, c.agent.check.ttl_pass("service:py-1"))
check("a heartbeat", 200, put("/check/pass/service:py-1?note=fine"))
index, nodes = c.health.service("py", passing=True)
check("health.service passing", ["py-1"], [n["Service"]["ID"] for n in nodes])
check("its fields", ("10.6.0.1", 80, ["v1", "blue"]),
      (nodes[0]["Service"]["Address"], nodes[0]["Service"]["Port"], nodes[0]["Service"]["Tags"]))
check("health.service by tag", ["py-1"],
      [n["Service"]["ID"] for n in c.health.service("py", tag="blue")[1]])
check("catalog.services", ["blue", "v1"], sorted(c.catalog.services()[1]["py"]))
check("catalog.service", {"py-1", "py-2"}, {s["ServiceID"] for s in c.catalog.service("py")[1]})
check("catalog.nodes", 1, len(c.catalog.nodes()[1]))
check("catalog.datacenters", ["dc1"], c.catalog.datacenters())
node = c.agent.self()["Config"]["NodeName"]
check("catalog.node", {"py-1", "py-2"}, set(c.catalog.node(node)[1]["Services"]) - {"consul"})
check("health.node", 3, len(c.health.node(node)[1]))
check("health.checks", 2, len(c.health.checks("py")[1]))
check("health.state", 1, len(c.health.state("critical")[1]))
check("agent.members", [node], [m["Name"] for m in c.agent.members()])
check("status.leader", str, type(c.status.leader()))
check("status.peers", list, type(c.status.peers()))
check("kv.get of what is not there", None, c.kv.get("none")[1])

# what it may ask with: consistency, distance, another datacenter
for how in ("default", "stale", "consistent"):
    check("catalog.service " + how, 2, len(c.catalog.service("py", consistency=how)[1]))
    check("catalog.services " + how, ["py"], [n for n in c.catalog.services(consistency=how)[1] if n != "consul"])
check("health.service near the agent", 2, len(c.health.service("py", near="_agent")[1]))
check("catalog.nodes near the agent", 1, len(c.catalog.nodes(near="_agent")[1]))
check("catalog.service by tag", ["py-1"], [s["ServiceID"] for s in c.catalog.service("py", tag="v1")[1]])
check("our datacenter", 2, len(c.health.service("py", dc="dc1")[1]))
try:
    c.health.service("py", dc="elsewhere")
    check("another datacenter", "refused", "answered")
except consul.ConsulException as e:
    check("another datacenter", True, "No path to datacenter" in str(e))
try:
    c.agent.service.register("line\nbreak")
    check("a bad name", "refused", "answered")
except consul.ConsulException as e:
    check("a bad name", True, "control characters" in str(e))
check("a client with a token", 2, len(consul.Consul(token="t").health.service("py")[1]))
check("agent.self of it", node, consul.Consul(token="t").agent.self()["Config"]["NodeName"])
check("health.service of what is not there", [], c.health.service("none")[1])
check("catalog.service of what is not there", [], c.catalog.service("none")[1])
check("catalog.node of what is not there", None, c.catalog.node("none")[1])
check("an index of what is not there", True, int(c.health.service("none")[0]) >= 1)
check("a query that nothing ends", index, c.health.service("py", index=index, wait="100ms")[0])
check("joining by GET is refused", False, c.agent.join(c.agent.self()["Member"]["Addr"]))
check("register by values of its own", True, c.agent.service.register(
    "py-own", address="10.6.0.9", port=9, http="http://127.0.0.1:1/", interval="10h"))
check("its check", "http", c.agent.checks()["service:py-own"]["Type"])
check("deregister by its id", 200, put("/service/deregister/py-own"))

# a blocking query wakes with the change, and with its index
seen = {}


def watch():
    seen["index"], seen["nodes"] = c.health.service("py", index=index, wait="10m", passing=True)


def watchers():
    with urllib.request.urlopen("http://127.0.0.1:8500/v1/waymark/status", timeout=60) as answer:
        return json.load(answer)["api"]["watchers"]


thread = threading.Thread(target=watch, daemon=True)
thread.start()
while thread.is_alive() and not watchers():
    time.sleep(0.05)
check("it waits", True, thread.is_alive())
check("a bad heartbeat", 200, put("/check/fail/service:py-1"))
thread.join(120)
check("the watcher woke", [], seen.get("nodes"))
check("with a greater index", True, int(seen.get("index", 0)) > int(index))

# checks by themselves, and maintenance
check("check.register", True, c.agent.check.register("disk", check=consul.Check.ttl("1h")))
check("check.register of an instance", True, c.agent.check.register(
    "more", check=consul.Check.tcp("127.0.0.1", 1, "10h"), service_id="py-1"))
checks = c.agent.checks()
check("whose they are", ("", "py-1"), (checks["disk"]["ServiceID"], checks["more"]["ServiceID"]))
check("a check of the node shows with each instance", True, all(
    "disk" in [k["CheckID"] for k in n["Checks"]] for n in c.health.service("py")[1]))
for check_id in ("disk", "more"):
    check("check.deregister", 200, put("/check/deregister/" + check_id))
check("service.maintenance", True, c.agent.service.maintenance("py-1", "true", "new disk"))
check("its reason", "new disk", c.agent.checks()["_service_maintenance:py-1"]["Notes"])
check("and off", True, c.agent.service.maintenance("py-1", "false"))
check("agent.maintenance", True, c.agent.maintenance("true", "boot"))
check("is critical", "critical", c.agent.checks()["_node_maintenance"]["Status"])
check("and off again", True, c.agent.maintenance("false"))
check("nothing stays of both", {"service:py-1", "service:py-2"}, set(c.agent.checks()))

# the catalog of other nodes
check("catalog.register", True, c.catalog.register("slate", "10.8.7.1", service={
    "ID": "tin-1", "Service": "tin", "Port": 81, "Tags": ["t"]}, check={
    "Name": "up", "ServiceID": "tin-1", "Status": "passing"}))
check("its node", {"slate"}, {n["Node"]["Node"] for n in c.health.service("tin", passing=True)[1]})
check("nodes", {node, "slate"}, {n["Node"] for n in c.catalog.nodes()[1]})
check("catalog.deregister", True, c.catalog.deregister("slate", service_id="tin-1"))
check("of the node", True, c.catalog.deregister("slate"))
check("the node is gone", None, c.catalog.node("slate")[1])

check("deregister", 200, put("/service/deregister/py-1"))
check("deregister the other", 200, put("/service/deregister/py-2"))
check("nothing is left", {}, c.agent.services())
finish()
