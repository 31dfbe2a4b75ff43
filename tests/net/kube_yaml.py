# SPDX-License-Identifier: Apache-2.0
"""kube_yaml.py - manifests as kustomize reads them, as far as deploy/kubernetes needs it."""
import json

import yaml


def load(path):
    with open(path, encoding="utf-8") as f:
        return [d for d in yaml.safe_load_all(f) if d is not None]


def patched(document, patches):
    """JSON patches (RFC 6902) of a component; all of them add."""
    document = json.loads(json.dumps(document))
    for p in patches:
        for op in yaml.safe_load(p["patch"]):
            *way, last = op["path"].strip("/").split("/")
            at = document
            for word in way:
                at = at[int(word)] if isinstance(at, list) else at[word]
            assert op["op"] == "add", op
            if last == "-":
                at.append(op["value"])
            else:
                at[last] = op["value"]
    return document


def kustomization(directory):
    (k,) = load(f"{directory}/kustomization.yaml")
    return k, [d for r in k.get("resources", []) for d in load(f"{directory}/{r}")]
