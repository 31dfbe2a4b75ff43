#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""chart.py RENDERED [metrics|sockets|uninstall] - is what helm rendered what the manifests (with that component, or
of the uninstallation) say? Labels and the checksum that makes new pods of new settings are Helm's own."""
import json
import sys

sys.path.insert(0, "tests/net")
from kube_yaml import kustomization, load, patched  # noqa: E402

KUBE = "deploy/kubernetes"


def plain(d):
    """A document without what may differ."""
    d = json.loads(json.dumps(d))
    for meta in (d["metadata"], d["spec"]["template"]["metadata"] if d["kind"] == "DaemonSet" else {}):
        meta.pop("labels", None)
        annotations = meta.get("annotations", {})
        annotations.pop("checksum/config", None)
        if not annotations:
            meta.pop("annotations", None)
    if d["kind"] == "ConfigMap":
        d["data"] = {k: json.loads(v) for k, v in d["data"].items()}
    return d


def by_name(documents):
    return {(d["kind"], d["metadata"]["name"]): plain(d) for d in documents if d["kind"] != "Namespace"}


variant = sys.argv[2] if len(sys.argv) > 2 else ""
_, wanted = kustomization(KUBE)
if variant == "uninstall":
    wanted = [d for d in wanted if d["kind"] != "DaemonSet"] + kustomization(f"{KUBE}/uninstall")[1]
elif variant:
    component, more = kustomization(f"{KUBE}/{variant}")
    wanted = [patched(d, component["patches"]) if d["kind"] == "DaemonSet" else d for d in wanted] + more
wanted, seen = by_name(wanted), by_name(load(sys.argv[1]))


def differ(path, a, b):
    if isinstance(a, dict) and isinstance(b, dict):
        for k in sorted(set(a) | set(b)):
            yield from differ(f"{path}.{k}", a.get(k), b.get(k))
    elif isinstance(a, list) and isinstance(b, list) and len(a) == len(b):
        for i, (x, y) in enumerate(zip(a, b)):
            yield from differ(f"{path}[{i}]", x, y)
    elif a != b:
        yield f"{path}: the manifest says {str(a):.120}, the chart {str(b):.120}"


found = [line for key in sorted(set(wanted) | set(seen)) for line in differ("/".join(key), wanted.get(key), seen.get(key))]
print("\n".join(found))
sys.exit(bool(found))
