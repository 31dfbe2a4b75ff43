# SPDX-License-Identifier: Apache-2.0
"""The namespace "shop" of the tests: a Service of each kind. shop.py makes it, with pods that are played."""
from kube import CORE, DISCOVERY, Kube, endpoint_slice, namespace, node, pod, service

SHOP = CORE + "/namespaces/shop"
SLICES = DISCOVERY + "/namespaces/shop/endpointslices"
NODES = (("n1", "z1"), ("n2", "z2"), ("n3", "z1"))
LATE = {"test/ready-after": "86400"}


def services():
    v6 = {"ipFamilies": ["IPv6"], "ipFamilyPolicy": "SingleStack"}
    dual = {"ipFamilies": ["IPv4", "IPv6"], "ipFamilyPolicy": "RequireDualStack"}
    many = [("http", 80, "http"), ("admin", 9000, 9001), ("dns", 53, 5353, "UDP"), ("dns-tcp", 53, 5353, "TCP")]
    return [
        service("web", app="web", clusterIP="10.96.1.1"),
        service("web6", app="web", **v6), service("web-dual", app="web", **dual), service("ports", many, "web"),
        service("policy", app="web", annotations={"waymark.io/policy": '{"balance": "round_robin"}'}),
        service("set", app="set", clusterIP="None"), service("set-dual", app="web", clusterIP="None", **dual),
        service("bare", [], app="web", clusterIP="None"),
        service("elsewhere", [], type="ExternalName", externalName="www.example.com"),
        service("sticky", app="web", sessionAffinity="ClientIP",
                sessionAffinityConfig={"clientIP": {"timeoutSeconds": 600}}),
        service("local", app="web", internalTrafficPolicy="Local"),
        service("zone", app="web", trafficDistribution="PreferSameZone"),
        service("same-node", app="web", trafficDistribution="PreferSameNode"),
        service("close", app="web", trafficDistribution="PreferClose"),
        service("early", app="late", publishNotReadyAddresses=True), service("late", app="late"),
        service("alone", app="alone"), service("draining", app="draining"), service("none", app="nobody"),
        service("node-port", [("http", 80, "http", "TCP", 30080)], "web", type="NodePort"),
        service("balanced", [("http", 80, "http", "TCP", 30081)], "web", type="LoadBalancer",
                externalTrafficPolicy="Local"),
        service("external", app="web", externalIPs=["192.0.2.80"]),
        service("manual", [("http", 80, 8080)]), service("by-name", [("http", 80, 8080)])]


def make(kube):
    """All that pods are no part of."""
    for n, zone in NODES:
        kube.post(f"{CORE}/nodes", node(n, zone, address="172.31.255." + n[1]))
    kube.post(f"{CORE}/namespaces", namespace("shop"))
    for s in services():
        kube.post(f"{SHOP}/services", s)
    kube.patch(f"{SHOP}/services/balanced/status", {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.90"}]}}})
    kube.post(SLICES, endpoint_slice("manual-1", "manual", ["198.51.100.1", "198.51.100.2"], [("http", 8080)]))
    kube.post(SLICES, endpoint_slice("by-name-1", "by-name", ["db.example.com"], [("http", 8080)], "FQDN"))


def played(name, app, on, http=8080, annotations=None, stop=0, **spec):
    """With the ports of the service "ports", of which http's differs."""
    body = pod(name, app, on, **spec)
    container = body["spec"]["containers"][0]
    container["ports"] = [{"name": "http", "containerPort": http}, {"name": "admin", "containerPort": 9001},
                          {"name": "dns", "containerPort": 5353, "protocol": "UDP"}, {"name": "dns-tcp", "containerPort": 5353}]
    if stop:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": stop}}}
        body["spec"]["terminationGracePeriodSeconds"] = stop + 10
    body["metadata"]["annotations"] = annotations or {}
    return body


def make_pods(kube):
    for body in (
            played("client", "client", "n1"), played("web-1", "web", "n1"), played("web-2", "web", "n2"),
            played("web-3", "web", "n3", 8081, stop=600), played("alone", "alone", "n1"),
            played("draining", "draining", "n1", stop=600), played("late", "late", "n1", annotations=LATE),
            played("set-0", "set", "n1", hostname="set-0", subdomain="set"),
            played("set-1", "set", "n2", hostname="set-1", subdomain="set")):
        kube.post(f"{SHOP}/pods", body)


if __name__ == "__main__":
    api = Kube()
    make(api)
    make_pods(api)
