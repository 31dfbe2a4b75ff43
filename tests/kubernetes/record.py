# SPDX-License-Identifier: Apache-2.0
"""Records what a real API server says to who lists and watches, for tests/net/kubernetes/: record.py DIRECTORY [OLD_VERSION].

One file an exchange, the octets of the body as they came. index.json names them: path with its query, status,
type of the body, and file. Files *.watch have an event a line, in the order they came."""
import json
import os
import sys
import threading
import time

import shop
from kube import CORE, DISCOVERY, Kube, namespace, pod, pod_status, service
from shop import SHOP, SLICES

OUT = sys.argv[1]
WATCHED = {"services": f"{CORE}/services", "endpointslices": f"{DISCOVERY}/endpointslices", "nodes": f"{CORE}/nodes",
           "namespaces": f"{CORE}/namespaces", "pods": f"{CORE}/pods?fieldSelector=spec.nodeName%3Dn1"}
index = []
kube = Kube()


def also(path, query):
    return path + ("&" if "?" in path else "?") + query


def keep(name, path, status, kind, body):
    with open(os.path.join(OUT, name), "wb") as f:
        f.write(body)
    index.append({"path": path, "status": status, "type": kind, "file": name})
    return body


def record(name, path, token="test-admin"):
    kube.token = token
    status, headers, body = kube.ask("GET", path)
    kube.token = "test-admin"
    return keep(name, path, status, headers.get("Content-Type", ""), body)


def until(text, true, seconds=60):
    end = time.time() + seconds
    while not true():
        if time.time() > end:
            sys.exit("never: " + text)
        time.sleep(0.1)


def endpoints(of):
    found = kube.must("GET", f"{SLICES}?labelSelector=kubernetes.io%2Fservice-name%3D{of}")
    return [e for s in found["items"] for e in s["endpoints"] or []]


def up(name, app, on, addresses, ready=True, **more):
    kube.post(f"{SHOP}/pods", pod(name, app, on, **more))
    kube.patch(f"{SHOP}/pods/{name}/status", pod_status(addresses, ready))


def make():
    """Services of each kind, and pods for them."""
    shop.make(kube)
    up("web-1", "web", "n1", ["10.244.1.1", "fd00:244:1::1"])
    up("web-2", "web", "n2", ["10.244.2.1", "fd00:244:2::1"])
    up("web-3", "web", "n3", ["10.244.3.1", "fd00:244:3::1"], port=8081)  # another port of the same name
    up("set-0", "set", "n1", ["10.244.1.2"], hostname="set-0", subdomain="set")
    up("set-1", "set", "n2", ["10.244.2.2"], hostname="set-1", subdomain="set")
    up("late-1", "late", "n1", ["10.244.1.3"], ready=False)
    up("agent-n1", "agent", "n1", ["172.31.255.1"], hostNetwork=True)
    for of, n in (("web", 3), ("web-dual", 6), ("set", 2), ("early", 1), ("late", 1), ("ports", 3), ("external", 3)):
        until(f"{n} endpoints of {of}", lambda of=of, n=n: len(endpoints(of)) == n)


def change():
    """What watches are to tell."""
    kube.patch(f"{SHOP}/pods/late-1/status", pod_status(["10.244.1.3"]))
    until("late-1 is ready", lambda: [e["conditions"]["ready"] for e in endpoints("late")] == [True])
    kube.patch(f"{SHOP}/pods/web-2/status", pod_status(["10.244.2.1", "fd00:244:2::1"], False))
    until("web-2 is not", lambda: sum(e["conditions"]["ready"] for e in endpoints("web")) == 2)
    kube.delete(f"{SHOP}/pods/web-1", 30)
    until("web-1 is terminating", lambda: [e for e in endpoints("web") if e["conditions"].get("terminating")])
    kube.delete(f"{SHOP}/pods/web-1", 0)
    until("web-1 is gone", lambda: len(endpoints("web")) == 2)
    up("web-4", "web", "n1", ["10.244.1.4", "fd00:244:1::4"])
    until("web-4 is there", lambda: len(endpoints("web")) == 3)
    kube.patch(f"{SHOP}/services/web", {"spec": {"ports": [{"name": "http", "port": 8000, "targetPort": "http"}]}})
    kube.delete(f"{SHOP}/services/none")
    kube.patch(f"{CORE}/nodes/n3", {"metadata": {"labels": {"topology.kubernetes.io/zone": "z2"}}})
    kube.post(f"{CORE}/namespaces", namespace("other"))
    kube.post(f"{CORE}/namespaces/other/services", service("web", app="web"))
    kube.delete(f"{CORE}/namespaces/other")
    until("other is gone", lambda: kube.ask("GET", f"{CORE}/namespaces/other")[0] == 404)
    kube.delete(f"{CORE}/nodes/n3")


def watch(name, path, seconds):
    """In a thread of its own; the server ends it, with a bookmark before."""
    def run():
        keep(name, path, 200, "application/json", b"".join(Kube().stream(path)))
    path = also(path, f"watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}")
    thread = threading.Thread(target=run)
    thread.start()
    return thread


def everything():
    make()
    for kind, path in WATCHED.items():
        record(f"{kind}.list", also(path, "limit=500&resourceVersion=0&resourceVersionMatch=NotOlderThan"))
    body = json.loads(record("services.page1", f"{CORE}/services?limit=8"))
    page = 1
    while body["metadata"].get("continue"):
        page += 1
        body = json.loads(record(f"services.page{page}", f"{CORE}/services?limit=8&continue=" + body["metadata"]["continue"]))
    threads = []
    for kind, path in WATCHED.items():
        version = json.load(open(os.path.join(OUT, f"{kind}.list"), encoding="utf-8"))["metadata"]["resourceVersion"]
        threads.append(watch(f"{kind}.watch", also(path, f"resourceVersion={version}"), 70))
    time.sleep(1)
    change()
    for t in threads:
        t.join()
    # a list as a stream: what there is, then a bookmark that says so
    watch("services.initial.watch", also(WATCHED["services"],
          "resourceVersionMatch=NotOlderThan&sendInitialEvents=true"), 5).join()
    # what is refused
    record("continue.gone", f"{CORE}/services?limit=8&continue=" +
           "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJkZWZhdWx0L2t1YmVybmV0ZXNcdTAwMDAifQ")
    record("forbidden", f"{CORE}/services?limit=500", "test-nobody")
    record("unauthorized", f"{CORE}/services?limit=500", "of-nobody")
    record("notfound", "/apis/waymark.io/v1/waymarkpolicies?limit=500")
    record("toonew", f"{CORE}/services?resourceVersion=99999999&resourceVersionMatch=NotOlderThan&timeoutSeconds=3")
    record("kube-system", f"{CORE}/namespaces/kube-system")
    record("version", "/version")


if len(sys.argv) > 2:  # behind a restart of the server, which knows no version of before
    with open(os.path.join(OUT, "index.json"), encoding="utf-8") as f:
        index = json.load(f)
    watch("services.gone.watch", also(WATCHED["services"], "resourceVersion=1"), 5).join()
    watch("slices.gone.watch", also(WATCHED["endpointslices"], f"resourceVersion={sys.argv[2]}"), 5).join()
else:
    everything()
with open(os.path.join(OUT, "index.json"), "w", encoding="utf-8") as f:
    f.write("[\n" + ",\n".join(json.dumps(i) for i in index) + "\n]\n")
