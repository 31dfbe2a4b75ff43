#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""kube_cluster.py - a cluster that a test makes: what of an API server is read, lists in pages and
watches with bookmarks, over objects that are put and deleted while it runs. Objects are as a real
API server gave them (kube_recorded.json), or as the test changes them.

  serve PORT-FILE [--state FILE] [--port N]   until it is killed; FILE outlives it
  --port N put JSON...     an object or several, by its kind
  --port N delete KIND NAMESPACE NAME
  --port N compact         what a watch would go on from is too old: 410
  --port N close, open     nobody may write a status (403); from then on again
  --port N get KIND NAMESPACE NAME            the object
  --port N patches         what was written to statuses, also in vain
  --port N many SERVICES ENDPOINTS            so many, ten endpoints a Service"""
import argparse
import http.server
import json
import os
import socketserver
import sys
import threading
import time
import urllib.parse
import urllib.request

PATHS = {"Namespace": "/api/v1/namespaces", "Node": "/api/v1/nodes", "Service": "/api/v1/services",
         "Pod": "/api/v1/pods", "EndpointSlice": "/apis/discovery.k8s.io/v1/endpointslices",
         "WaymarkPolicy": "/apis/waymark.io/v1/waymarkpolicies"}
KINDS = {path: kind for kind, path in PATHS.items()}
BOOKMARK_S = 2


class Cluster:
    def __init__(self, state):
        self.file, self.changed = state, threading.Condition()
        self.version, self.oldest = 1000, 1000
        self.objects = {kind: {} for kind in PATHS}
        self.kinds = set(PATHS) - {"WaymarkPolicy"}  # of a custom resource, once there is one
        self.patches, self.closed = [], False  # of statuses; nobody may write one
        self.log = []  # (version, kind, type, object)
        if state and os.path.exists(state):
            with open(state, encoding="utf-8") as f:
                kept = json.load(f)
            self.version = self.oldest = kept["version"]
            for o in kept["objects"]:
                self.objects[o["kind"]][self.key(o)] = o
                self.kinds.add(o["kind"])

    @staticmethod
    def key(o):
        return o["metadata"].get("namespace", ""), o["metadata"]["name"]

    def keep(self):
        if self.file:
            with open(self.file + ".new", "w", encoding="utf-8") as f:
                json.dump({"version": self.version,
                           "objects": [o for all_ in self.objects.values() for o in all_.values()]}, f)
            os.replace(self.file + ".new", self.file)

    def change(self, kind, type_, o):
        self.version += 1
        o["kind"] = kind
        o["metadata"]["resourceVersion"] = str(self.version)
        o["metadata"].setdefault("uid", f"00000000-0000-4000-8000-{self.version:012d}")
        o["metadata"].setdefault("generation", 1)
        born = time.gmtime(1700000000 + self.version)  # one after the other, however quick
        o["metadata"].setdefault("creationTimestamp", time.strftime("%Y-%m-%dT%H:%M:%SZ", born))
        self.log.append((self.version, kind, type_, json.dumps(o, separators=(",", ":"))))

    def put(self, many):
        with self.changed:
            for o in many:
                here = self.objects[o["kind"]]
                type_ = "MODIFIED" if self.key(o) in here else "ADDED"
                before = here.get(self.key(o), {})
                if before:  # a status is written by itself, and is no generation
                    o["metadata"].setdefault("creationTimestamp", before["metadata"]["creationTimestamp"])
                    o["metadata"]["generation"] = before["metadata"]["generation"] + (o.get("spec") != before.get("spec"))
                    if o["kind"] == "WaymarkPolicy" and "status" in before:
                        o["status"] = before["status"]
                here[self.key(o)] = o
                self.kinds.add(o["kind"])
                self.change(o["kind"], type_, o)
            self.keep()
            self.changed.notify_all()

    def patch(self, kind, ns, name, body):
        """@return status, and what it is now or why not"""
        with self.changed:
            o = self.objects[kind].get((ns, name))
            if self.closed:
                return 403, "waymarkpolicies is forbidden: cannot patch"
            if not o:
                return 404, "not found"
            self.patches.append(body)
            if body["metadata"]["resourceVersion"] != o["metadata"]["resourceVersion"]:
                return 409, "the object has been modified"
            o["status"] = body["status"]
            self.change(kind, "MODIFIED", o)
            self.keep()
            self.changed.notify_all()
            return 200, o

    def delete(self, kind, ns, name):
        with self.changed:
            o = self.objects[kind].pop((ns, name))
            self.change(kind, "DELETED", o)
            self.keep()
            self.changed.notify_all()

    def compact(self):
        with self.changed:
            self.version += 1
            self.oldest, self.log = self.version, []
            self.changed.notify_all()


def wanted(query):
    field = query.get("fieldSelector", [""])[0]
    node = field.partition("spec.nodeName=")[2]
    return lambda o: not node or o.get("spec", {}).get("nodeName") == node


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def handle(self):
        try:
            super().handle()
        except (OSError, ValueError):
            self.close_connection = True

    def answer(self, status, body):
        data = json.dumps(body, separators=(",", ":")).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        c = self.server.cluster
        if self.path == "/put":
            c.put(body)
        elif self.path == "/delete":
            c.delete(*body)
        elif self.path == "/compact":
            c.compact()
        elif self.path == "/close":
            c.closed = body["closed"]
        self.answer(200, {})

    def do_PATCH(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        _, _, group, version, _, ns, plural, name, sub = urllib.parse.urlsplit(self.path).path.split("/")
        kind = KINDS[f"/apis/{group}/{version}/{plural}"]
        if sub != "status" or self.headers["Content-Type"] != "application/merge-patch+json":
            self.answer(415, {"kind": "Status", "code": 415, "message": "merge patches of a status only"})
            return
        status, what = self.server.cluster.patch(kind, ns, name, body)
        self.answer(status, what if status == 200 else {"kind": "Status", "code": status, "message": what})

    def do_GET(self):
        url = urllib.parse.urlsplit(self.path)
        query = urllib.parse.parse_qs(url.query)
        kind, c = KINDS.get(url.path), self.server.cluster
        if url.path == "/patches":
            self.answer(200, c.patches)
            return
        if url.path.startswith("/one/"):
            _, _, kind, ns, name = url.path.split("/")
            self.answer(200, c.objects[kind][ns, name])
            return
        if kind not in c.kinds:
            self.answer(404, {"kind": "Status", "code": 404, "message": "the server could not find it"})
        elif query.get("watch", ["0"])[0] in ("1", "true"):
            self.watch(kind, query)
        else:
            self.list(kind, query)

    def list(self, kind, query):
        c, first = self.server.cluster, int(query.get("continue", ["0"])[0])
        limit = int(query.get("limit", ["0"])[0])
        with c.changed:
            items = sorted(c.objects[kind].items())
            version = c.version
        items = [o for _, o in items if wanted(query)(o)]
        last = min(first + limit, len(items)) if limit else len(items)
        meta = {"resourceVersion": str(version)}
        if last < len(items):
            meta["continue"] = str(last)
        self.answer(200, {"kind": kind + "List", "apiVersion": "v1", "metadata": meta,
                          "items": items[first:last]})

    def piece(self, text):
        data = text.encode()
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def event(self, type_, text):
        self.piece('{"type":"%s","object":%s}\n' % (type_, text))

    def watch(self, kind, query):
        c, at = self.server.cluster, int(query["resourceVersion"][0])
        until = time.monotonic() + int(query.get("timeoutSeconds", ["300"])[0])
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while time.monotonic() < until:
            with c.changed:
                old = at < c.oldest
                if not old and (not c.log or c.log[-1][0] <= at):
                    c.changed.wait(BOOKMARK_S)
                    old = at < c.oldest
                news = [x for x in c.log[-5000:] if x[0] > at]
                version = c.version
            if old:
                self.event("ERROR", json.dumps({"kind": "Status", "code": 410, "reason": "Expired",
                                                "message": "too old resource version"}))
                break
            for _, k, type_, text in news:
                if k == kind and wanted(query)(json.loads(text)):
                    self.event(type_, text)
            at = version
            self.event("BOOKMARK", json.dumps({"kind": kind, "metadata": {"resourceVersion": str(at)}}))
        self.wfile.write(b"0\r\n\r\n")


class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    request_queue_size = 64


def many(services, endpoints):
    each = endpoints // services
    for n in range(services):
        ns = f"ns-{n % 100}"
        meta = {"namespace": ns, "name": f"web-{n}"}
        yield {"kind": "Service", "metadata": dict(meta),
               "spec": {"type": "ClusterIP", "clusterIP": f"10.{96 + n // 65025}.{n // 255 % 255}.{n % 255 + 1}",
                        "ports": [{"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}],
                        "selector": {"app": f"web-{n}"}, "internalTrafficPolicy": "Cluster"}}
        yield {"kind": "EndpointSlice", "addressType": "IPv4",
               "metadata": {"namespace": ns, "name": f"web-{n}-x{n:05d}",
                            "labels": {"kubernetes.io/service-name": f"web-{n}"}},
               "ports": [{"name": "http", "protocol": "TCP", "port": 8080}],
               "endpoints": [{"addresses": [f"10.{128 + k // 62500}.{k // 250 % 250}.{k % 250 + 1}"],
                              "conditions": {"ready": True, "serving": True, "terminating": False},
                              "nodeName": f"node-{k % 1000}", "zone": "eu-1a",
                              "targetRef": {"kind": "Pod", "namespace": ns, "name": f"web-{n}-6d4cf56db6-{k:05d}",
                                            "uid": f"00000000-0000-4000-8001-{k:012d}"}}
                             for k in range(n * each, n * each + each)]}


def ask(port, path, body):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", json.dumps(body).encode() if body is not None else None)
    return urllib.request.urlopen(request, timeout=60).read().decode()


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--state")
    p.add_argument("what", choices=["serve", "put", "delete", "compact", "many", "close", "open", "get", "patches"])
    p.add_argument("rest", nargs="*")
    a = p.parse_args()
    if a.what == "put":
        ask(a.port, "/put", [o for text in a.rest for o in
                             (lambda x: x if isinstance(x, list) else [x])(json.loads(text))])
    elif a.what == "delete":
        ask(a.port, "/delete", a.rest)
    elif a.what == "compact":
        ask(a.port, "/compact", {})
    elif a.what in ("close", "open"):
        ask(a.port, "/close", {"closed": a.what == "close"})
    elif a.what in ("get", "patches"):
        print(ask(a.port, "/one/" + "/".join(a.rest) if a.what == "get" else "/patches", None))
    elif a.what == "many":
        ask(a.port, "/put", list(many(int(a.rest[0]), int(a.rest[1]))))
    else:
        server = Server(("127.0.0.1", a.port), Handler)
        server.cluster = Cluster(a.state)
        with open(a.rest[0] + ".new", "w", encoding="utf-8") as f:
            f.write(str(server.server_port))
        os.replace(a.rest[0] + ".new", a.rest[0])
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
