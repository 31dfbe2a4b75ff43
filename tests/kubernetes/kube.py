# SPDX-License-Identifier: Apache-2.0
"""A plain client of a Kubernetes API server for tests, and the objects they make: python3 only."""
import http.client
import json
import os
import ssl
import urllib.parse

CORE = "/api/v1"
DISCOVERY = "/apis/discovery.k8s.io/v1"
APPS = "/apis/apps/v1"


class Kube:
    """One connection, as administrator: requests one after the other."""

    def __init__(self, token="test-admin", api=None, ca=None):
        url = urllib.parse.urlsplit(api or os.environ.get("KUBE_API", "https://127.0.0.1:6443"))
        context = ssl.create_default_context(cafile=ca or os.environ["KUBE_CA"])
        self.make = lambda: http.client.HTTPSConnection(url.hostname, url.port, timeout=120, context=context)
        self.token = token
        self.conn = self.make()

    def ask(self, method, path, body=None, kind="application/json"):
        """Status, headers and octets of an answer."""
        headers = {"Authorization": "Bearer " + self.token} if self.token else {}
        if body is not None:
            headers["Content-Type"] = kind
            body = body if isinstance(body, (bytes, str)) else json.dumps(body)
        for again in (True, False):
            try:
                self.conn.request(method, path, body, headers)
                answer = self.conn.getresponse()
                return answer.status, dict(answer.getheaders()), answer.read()
            except (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError):
                self.conn.close()
                self.conn = self.make()
                if not again:
                    raise

    def must(self, method, path, body=None, kind="application/json"):
        status, _, text = self.ask(method, path, body, kind)
        if status // 100 != 2:
            raise RuntimeError(f"{method} {path}: {status} {text[:400].decode()}")
        return json.loads(text)

    def post(self, path, body):
        return self.must("POST", path, body)

    def patch(self, path, body):
        return self.must("PATCH", path, body, "application/merge-patch+json")

    def delete(self, path, grace=None):
        return self.must("DELETE", path + ("" if grace is None else f"?gracePeriodSeconds={grace}"))

    def stream(self, path):
        """A watch: its lines, until the server ends it."""
        conn = self.make()
        conn.request("GET", path, headers={"Authorization": "Bearer " + self.token})
        answer = conn.getresponse()
        if answer.status != 200:
            raise RuntimeError(f"GET {path}: {answer.status} {answer.read()[:400]}")
        while line := answer.readline():
            yield line
        conn.close()


def namespace(name):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}


def node(name, zone, region="r1", address=None):
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {
        "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone, "topology.kubernetes.io/region": region}},
        "status": {"addresses": [{"type": "InternalIP", "address": address or "172.31.255.1"}],
                   "conditions": [{"type": "Ready", "status": "True"}],
                   "allocatable": {"cpu": "8", "memory": "16Gi", "pods": "500"},
                   "capacity": {"cpu": "8", "memory": "16Gi", "pods": "500"}}}


def pod(name, app, on, port=8080, port_name="http", **spec):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": app}}, "spec": {
        "nodeName": on, "terminationGracePeriodSeconds": 30, "containers": [{
            "name": "main", "image": "none", "ports": [{"name": port_name, "containerPort": port}]}], **spec}}


def pod_status(addresses, ready=True):
    """What kubelet says of a pod that runs."""
    yes = "True" if ready else "False"
    return {"status": {"phase": "Running", "podIP": addresses[0], "podIPs": [{"ip": a} for a in addresses],
                       "conditions": [{"type": t, "status": s} for t, s in (
                           ("PodScheduled", "True"), ("Initialized", "True"), ("ContainersReady", yes), ("Ready", yes))]}}


def service(name, ports=None, app=None, annotations=None, **spec):
    """ports: (name, port, targetPort[, protocol[, nodePort]])"""
    ports = [("http", 80, "http")] if ports is None else ports
    listed = []
    for p in ports:
        one = {"name": p[0], "port": p[1], "targetPort": p[2], "protocol": p[3] if len(p) > 3 else "TCP"}
        if len(p) > 4:
            one["nodePort"] = p[4]
        listed.append(one)
    meta = {"name": name}
    if annotations:
        meta["annotations"] = annotations
    body = {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {**spec}}
    if listed:
        body["spec"]["ports"] = listed
    if app:
        body["spec"]["selector"] = {"app": app}
    return body


def endpoint_slice(name, of, addresses, ports, kind="IPv4", on=None, **conditions):
    """ports: (name, port[, protocol]); a slice of the test's own, for a Service without selector"""
    endpoints = []
    for a in addresses:
        one = {"addresses": [a], "conditions": {"ready": True, **conditions}}
        if on:
            one["nodeName"] = on
        endpoints.append(one)
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": kind,
            "metadata": {"name": name, "labels": {"kubernetes.io/service-name": of}}, "endpoints": endpoints,
            "ports": [{"name": p[0], "port": p[1], "protocol": p[2] if len(p) > 2 else "TCP"} for p in ports]}
