#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""pod.py DAEMONSET IMAGE_CONFIG ROOTFS SECCOMP [--host PATH=PATH]... [--env NAME=VALUE]... [--file NAME=PATH]
  [--container NAME] [--args ARG...] - configuration of an OCI runtime's container (config.json) on stdout, as kubelet and containerd
make it of that manifest: its capabilities, mounts, variables and arguments and nothing else. --host puts a
directory of the test in the place of one of the node, --file a file in a ConfigMap's place, --env and --args
override. Of several containers --container names one; without, there is but one. The container's network and cgroup namespaces are the caller's (hostNetwork)."""
import argparse
import json

import yaml

# what containerd masks in each container that is not privileged (oci.WithDefaultSpec)
MASKED = ["/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list",
          "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware", "/proc/scsi"]
READONLY = ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"]

a = argparse.ArgumentParser()
a.add_argument("daemonset")
a.add_argument("image")
a.add_argument("rootfs")
a.add_argument("seccomp")
for option in ("--host", "--env", "--file"):
    a.add_argument(option, action="append", default=[])
a.add_argument("--container")
a.add_argument("--args", nargs=argparse.REMAINDER)
a = a.parse_args()
pairs = {o: dict(p.split("=", 1) for p in getattr(a, o)) for o in ("host", "env", "file")}

with open(a.daemonset, encoding="utf-8") as f:
    pod = yaml.safe_load(f)["spec"]["template"]["spec"]
with open(a.image, encoding="utf-8") as f:
    image = json.load(f)["config"]
with open(a.seccomp, encoding="utf-8") as f:
    seccomp = json.load(f)
(container,) = [c for c in pod["containers"] + pod.get("initContainers", []) if a.container in (None, c["name"])]
security = container["securityContext"]
added = security["capabilities"].get("add", [])
assert pod["hostNetwork"] and not security["privileged"] and security["capabilities"]["drop"] == ["ALL"]

env = dict(e.split("=", 1) for e in image["Env"])
for e in container.get("env", []):
    # the downward API: all that is asked for is the node's name
    env[e["name"]] = e["value"] if "value" in e else "node-of-the-pod"
# what kubelet and the API server add to each pod with an account
env.update({"KUBERNETES_SERVICE_HOST": "127.0.0.1", "KUBERNETES_SERVICE_PORT": "6443", **pairs["env"]})

volumes = {v["name"]: v for v in pod["volumes"]}
mounts = [
    {"destination": "/proc", "type": "proc", "source": "proc", "options": ["nosuid", "noexec", "nodev"]},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=65536k"]},
    {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["nosuid", "noexec", "nodev", "ro"]},
    {"destination": "/etc/resolv.conf", "type": "bind", "source": pairs["file"].get("resolv.conf", "/etc/resolv.conf"),
     "options": ["rbind", "rprivate", "ro"]},
]
for m in container["volumeMounts"]:
    v = volumes[m["name"]]
    options = ["rbind", "rslave" if m.get("mountPropagation") == "HostToContainer" else "rprivate",
               "ro" if m.get("readOnly") else "rw"]
    if "hostPath" in v:
        source = pairs["host"].get(v["hostPath"]["path"], v["hostPath"]["path"])
    elif "configMap" in v:
        source = pairs["file"]["config"]
    else:
        mounts.append({"destination": m["mountPath"], "type": "tmpfs", "source": "tmpfs",
                       "options": ["nosuid", "nodev", "mode=1777"]})
        continue
    mounts.append({"destination": m["mountPath"], "type": "bind", "source": source, "options": options})

if pod.get("automountServiceAccountToken", True):
    mounts.append({"destination": "/var/run/secrets/kubernetes.io/serviceaccount", "type": "bind",
                   "source": pairs["file"]["account"], "options": ["rbind", "rprivate", "ro"]})

caps = ["CAP_" + c for c in added]
namespaces = ["mount", "ipc", "uts"] + ([] if pod.get("hostPID") else ["pid"])
json.dump({
    "ociVersion": "1.0.0",
    "process": {"user": {"uid": security["runAsUser"], "gid": 0}, "cwd": image["WorkingDir"],
                "args": (container.get("command", image["Entrypoint"]) + container.get("args", [])) if a.args is None else a.args,
                "env": [f"{k}={v}" for k, v in env.items()],
                "capabilities": {s: caps for s in ("bounding", "effective", "permitted")},
                "noNewPrivileges": not security["allowPrivilegeEscalation"]},
    "root": {"path": a.rootfs, "readonly": security["readOnlyRootFilesystem"]},
    "hostname": "pod", "mounts": mounts,
    "linux": {"namespaces": [{"type": t} for t in namespaces], "maskedPaths": MASKED, "readonlyPaths": READONLY,
              "rootfsPropagation": "rslave", "seccomp": seccomp},
}, __import__("sys").stdout, indent=1)
