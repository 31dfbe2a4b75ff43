#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Debian's python3-consul, unmodified, at one agent of a mesh: mesh_client.py NODE OTHERS...

Run it in the network namespace of NODE, where OTHERS are alive and service "near" has an instance "near-X" on
each of them, X the last letter of its name. Prints one line a finding, exits with 1 when one is not as expected."""
import sys
import threading

import consul

from checks import check, finish

own, others = sys.argv[1], sys.argv[2:]
everybody = sorted([own, *others])
c = consul.Consul(host="127.0.0.1", port=8500)
members = [m for m in c.agent.members() if m["Status"] == 1]
check("agent.members", everybody, sorted(m["Name"] for m in members))
check("their fields", [], [m["Name"] for m in members if not m["Addr"] or not m["Port"] or m["Tags"]["dc"] != "dc1"
                           or m["Tags"]["role"] != "consul" or len(m["Tags"]["id"]) != 36])
peers = c.status.peers()
check("status.peers", sorted(f'{m["Addr"]}:{m["Port"]}' for m in members), peers)
check("status.leader is one of them", True, c.status.leader() in peers)
check("catalog.nodes", everybody, sorted(n["Node"] for n in c.catalog.nodes()[1] if n["Node"] in everybody))
check("health.node of another", "passing",
      {k["CheckID"]: k["Status"] for k in c.health.node(others[0])[1]}["serfHealth"])
check("catalog.node of another", True, f"near-{others[0][-1]}" in c.catalog.node(others[0])[1]["Services"])
check("health.service over all", everybody,
      sorted({n["Node"]["Node"] for n in c.health.service("near", passing=True)[1]} & set(everybody)))
check("health.state over all", everybody,
      sorted({k["Node"] for k in c.health.state("passing")[1] if k["CheckID"] == "serfHealth"}))
for node in everybody:
    check(f"health.service near {node}", node, c.health.service("near", near=node)[1][0]["Node"]["Node"])
    check(f"catalog.service near {node}", node, c.catalog.service("near", near=node)[1][0]["Node"])
    check(f"catalog.nodes near {node}", node, c.catalog.nodes(near=node)[1][0]["Node"])
check("health.service near the agent", own, c.health.service("near", near="_agent")[1][0]["Node"]["Node"])
index, coordinates = c.coordinate.nodes()
check("coordinate.nodes", everybody, sorted(n["Node"] for n in coordinates))
check("its index", True, int(index) > 0)
check("one that waits for it", True, int(c.coordinate.nodes(index=index, wait="10ms")[0]) >= int(index))
check("coordinates", 8, len(coordinates[0]["Coord"]["Vec"]))
check("coordinate.datacenters", sorted(f"{n}.dc1" for n in everybody),
      sorted(n["Node"] for n in c.coordinate.datacenters()[0]["Coordinates"]))
for how in ("default", "stale", "consistent"):
    check("health.service " + how, True, bool(c.health.service("near")[1]) and
          bool(c.catalog.service("near", consistency=how)[1]))

# who waits for a service hears of it, whoever has it
seen = []
index = c.health.service("waited")[0]
watcher = threading.Thread(target=lambda: seen.append(c.health.service("waited", index=index, wait="20s")))
watcher.start()
print("ready", flush=True)
watcher.join()
check("a watch hears of another node's instance", ["waited-1"], [n["Service"]["ID"] for n in seen[0][1]])
check("its index grew", True, int(seen[0][0]) > int(index))
finish()
