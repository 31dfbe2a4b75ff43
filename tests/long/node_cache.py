#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""node_cache.py MANIFEST iptables|ipvs ADDRESSES DIRECTORY - what NodeLocal DNSCache's manifest gives its program, with the variables
filled as its documentation says for kube-proxy's modes: iptables, where it takes ADDRESSES, a link-local one and
kube-dns'; or ipvs, where it takes the first, and asks kube-dns'. The Corefile of its ConfigMap is left as DIRECTORY/Corefile.base; the
arguments are printed, one a line, with DIRECTORY in the place of the container's files."""
import os
import sys

import yaml

manifest, mode, (local, kube_dns), directory = sys.argv[1], sys.argv[2], sys.argv[3].split(","), sys.argv[4]
with open(manifest, encoding="utf-8") as f:
    text = f.read()
text = text.replace("__PILLAR__DNS__DOMAIN__", "cluster.local").replace("__PILLAR__LOCAL__DNS__", local)
if mode == "iptables":  # __PILLAR__CLUSTER__DNS__ is the program's to fill, by -upstreamsvc
    text = text.replace("__PILLAR__DNS__SERVER__", kube_dns)
else:  # so is what is left of __PILLAR__DNS__SERVER__
    text = text.replace(",__PILLAR__DNS__SERVER__", "").replace("__PILLAR__CLUSTER__DNS__", kube_dns)
objects = {d["kind"]: d for d in yaml.safe_load_all(text) if d}
os.makedirs(directory, exist_ok=True)
with open(f"{directory}/Corefile.base", "w", encoding="utf-8") as f:
    f.write(objects["ConfigMap"]["data"]["Corefile"])
(container,) = objects["DaemonSet"]["spec"]["template"]["spec"]["containers"]
for a in container["args"] + ["-basecorefile", f"{directory}/Corefile.base"]:
    print(a.replace("/etc/Corefile", f"{directory}/Corefile"))
