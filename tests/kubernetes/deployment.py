# SPDX-License-Identifier: Apache-2.0
"""A Deployment with its Service, in the namespace "shop", by the real controllers; its pods are played.
deployment.py make NAME REPLICAS PRESTOP_SECONDS | scale NAME REPLICAS | roll NAME: waits until it is done."""
import sys
import time

from kube import APPS, CORE, Kube, service

SHOP, PATH = CORE + "/namespaces/shop", APPS + "/namespaces/shop/deployments"
kube = Kube()


def make(name, replicas, stop):
    labels = {"app": name}
    kube.post(f"{SHOP}/services", service(name, app=name))
    kube.post(PATH, {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": {
        "replicas": int(replicas), "selector": {"matchLabels": labels},
        "strategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": "25%"}},
        "template": {"metadata": {"labels": labels, "annotations": {"test/ready-after": "0.5"}}, "spec": {
            "terminationGracePeriodSeconds": int(stop) + 10, "containers": [{
                "name": "main", "image": "none", "ports": [{"name": "http", "containerPort": 8080}],
                "lifecycle": {"preStop": {"sleep": {"seconds": int(stop)}}}}]}}}})
    done(name)


def done(name):
    """As kubectl rollout status judges, and nobody of before is left, not even terminating."""
    end = time.time() + 300
    while time.time() < end:
        d = kube.must("GET", f"{PATH}/{name}")
        status, want = d.get("status", {}), d["spec"]["replicas"]
        pods = kube.must("GET", f"{SHOP}/pods?labelSelector=app%3D{name}")["items"]
        if (status.get("observedGeneration") == d["metadata"]["generation"] and len(pods) == want
                and status.get("updatedReplicas", 0) == want and status.get("availableReplicas", 0) == want):
            return
        time.sleep(0.2)
    sys.exit(f"{name} does not get there: {status}, {len(pods)} pods")


def scale(name, replicas):
    kube.patch(f"{PATH}/{name}", {"spec": {"replicas": int(replicas)}})
    done(name)


def roll(name):
    kube.patch(f"{PATH}/{name}", {"spec": {"template": {"metadata": {"annotations": {"test/rolled": str(time.time())}}}}})
    done(name)


{"make": make, "scale": scale, "roll": roll}[sys.argv[1]](*sys.argv[2:])
