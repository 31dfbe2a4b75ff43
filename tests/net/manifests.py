#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""manifests.py DIRECTORY - what stands in deploy/: prints a line "ok: ..." or "FAILED: ..." of each thing that must
hold of its manifests, components and chart. With DIRECTORY/config and DIRECTORY/env.* it leaves what the agent is
given there, for the test to ask the agent."""
import json
import os
import sys

from kube_yaml import kustomization, load, patched

KUBE, CHART = "deploy/kubernetes", "deploy/helm/waymark"
out = sys.argv[1]
failed = False


def check(text, expected, seen):
    global failed
    if expected == seen:
        print(f"ok: {text}")
    else:
        failed = True
        print(f"FAILED: {text}: expected {expected!r}, saw {seen!r}")


def containers(pod):
    return pod.get("initContainers", []) + pod["containers"]


def env_of(daemonset, name):
    with open(f"{out}/env.{name}", "w", encoding="utf-8") as f:
        for e in daemonset["spec"]["template"]["spec"]["containers"][0]["env"]:
            value = e.get("value", "192.0.2.7").replace("$(HOST_IP)", "192.0.2.7")
            if e["name"].startswith("WAYMARKD_"):
                f.write(f"{e['name']}={value}\n")


version = open("VERSION", encoding="utf-8").read().strip()
_, base = kustomization(KUBE)
_, removal = kustomization(f"{KUBE}/uninstall")
kinds = {d["kind"]: d for d in base}
daemonset, (uninstall,) = kinds["DaemonSet"], removal
pod, remover = (d["spec"]["template"]["spec"] for d in (daemonset, uninstall))
(agent,) = pod["containers"]
security = agent["securityContext"]

check("kinds", ["ClusterRole", "ClusterRoleBinding", "ConfigMap", "CustomResourceDefinition", "DaemonSet", "Namespace", "ServiceAccount"], sorted(kinds))
check("all but what has none is in the namespace", {"waymark"},
      {d["metadata"]["namespace"] for d in base + removal if d["kind"] not in ("Namespace", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition")})
check("the image is this version's", {f"waymark:{version}"}, {c["image"] for p in (pod, remover) for c in containers(p)})
check("nobody is privileged", [False], sorted({c["securityContext"]["privileged"] for p in (pod, remover) for c in containers(p)}))
check("nor may become so", [False], sorted({c["securityContext"]["allowPrivilegeEscalation"] for p in (pod, remover) for c in containers(p)}))
check("what the agent may", ["BPF", "NET_ADMIN", "PERFMON", "NET_BIND_SERVICE"], security["capabilities"]["add"])
check("and nothing else", ["ALL"], security["capabilities"]["drop"])
check("the files of the image are read only", True, security["readOnlyRootFilesystem"])
check("processes of the node are not seen", None, pod.get("hostPID"))
check("the uninstallation has the same rights", security, remover["initContainers"][0]["securityContext"])
check("its last container has none", {"drop": ["ALL"]}, remover["containers"][0]["securityContext"]["capabilities"])
volumes = {v["name"]: v for v in pod["volumes"]}
mounts = {m["name"]: m for m in agent["volumeMounts"]}
check("mounts have volumes", sorted(volumes), sorted(mounts))
check("directories of the node", ["/run/waymark", "/sys/fs/bpf", "/sys/fs/cgroup", "/var/lib/waymark"],
      sorted(v["hostPath"]["path"] for v in volumes.values() if "hostPath" in v))
check("the uninstallation has them where the agent has", [], [v["name"] for v in remover["volumes"] if v != volumes[v["name"]]] + [
    m["name"] for m in remover["initContainers"][0]["volumeMounts"] if m != mounts[m["name"]]])
pins = {e["name"]: e.get("value") for e in agent["env"]}
check("and its pins", pins["WAYMARKD_KERNEL_PIN_DIR"], remover["initContainers"][0]["command"][2])
check("waymarkctl in the container, too", pins["WAYMARKD_KERNEL_PIN_DIR"], pins["WAYMARK_PIN_DIR"])
rules = kinds["ClusterRole"]["rules"]
read = [rule for rule in rules if set(rule["verbs"]) == {"get", "list", "watch"}]
check("what it reads", ["endpointslices", "namespaces", "nodes", "pods", "services", "waymarkpolicies"],
      sorted(r for rule in read for r in rule["resources"]))
written = {"apiGroups": ["waymark.io"], "resources": ["waymarkpolicies/status"], "verbs": ["patch"]}
check("it writes the status of policies, and nothing else", [written], [rule for rule in rules if rule not in read])
with open(f"{CHART}/templates/rbac.yaml", encoding="utf-8") as f:
    check("the chart's role may the same", True, "  - apiGroups: [waymark.io]\n    resources: [waymarkpolicies/status]\n    verbs: [patch]\n" in f.read())
check("the role is the account's", ["waymark", "waymark"],
      [pod["serviceAccountName"], kinds["ClusterRoleBinding"]["subjects"][0]["name"]])
check("it is a part of the node", ["system-node-critical", [{"operator": "Exists"}], True],
      [pod["priorityClassName"], pod["tolerations"], pod["hostNetwork"]])
check("probes", ["/v1/waymark/live", "/v1/waymark/live", "/v1/waymark/ready"],
      [agent[p]["httpGet"]["path"] for p in ("startupProbe", "livenessProbe", "readinessProbe")])
check("the kernel's tables do not end the agent", None, agent["resources"].get("limits"))
with open(f"{KUBE}/seccomp.json", encoding="utf-8") as f:
    profile = json.load(f)
allowed = {n for s in profile["syscalls"] if s["action"] == "SCMP_ACT_ALLOW" for n in s["names"]}
check("system calls that no agent needs", set(), allowed & {
    "mount", "umount2", "setns", "unshare", "ptrace", "init_module", "finit_module", "kexec_load", "reboot", "pivot_root",
    "open_by_handle_at", "perf_event_open", "process_vm_readv", "keyctl", "add_key", "swapon", "chroot", "io_uring_setup"})

(config,) = [json.loads(t) for t in kinds["ConfigMap"]["data"].values()]
with open(f"{out}/config", "w", encoding="utf-8") as f:
    json.dump(config, f)
check("the file of settings is where the agent looks", ["--config", mounts["config"]["mountPath"] + "/" + list(kinds["ConfigMap"]["data"])[0]], agent["args"])
env_of(daemonset, "base")
component, monitors = kustomization(f"{KUBE}/metrics")
check("the metrics' kinds", ["PodMonitor", "Service"], sorted(d["kind"] for d in monitors))
selector = daemonset["spec"]["selector"]["matchLabels"]
check("they select the agents", [selector, selector, selector], [daemonset["spec"]["template"]["metadata"]["labels"]] + [
    d["spec"]["selector"].get("matchLabels", d["spec"]["selector"]) for d in monitors])
measured = patched(daemonset, component["patches"])
ports = measured["spec"]["template"]["spec"]["containers"][0]["ports"]
check("at a port of its own", [ports[1]["containerPort"], ports[1]["name"]],
      [next(d for d in monitors if d["kind"] == "Service")["spec"]["ports"][0]["port"],
       next(d for d in monitors if d["kind"] == "PodMonitor")["spec"]["podMetricsEndpoints"][0]["port"]])
env_of(measured, "metrics")
component, _ = kustomization(f"{KUBE}/sockets")
wide = patched(daemonset, component["patches"])["spec"]["template"]["spec"]
check("who looks into pods", [True, ["SYS_PTRACE", "SYS_ADMIN", "DAC_READ_SEARCH"]],
      [wide["hostPID"], wide["containers"][0]["securityContext"]["capabilities"]["add"][4:]])
with open(f"{KUBE}/sockets/seccomp.json", encoding="utf-8") as f:
    entering = json.load(f)
entering["syscalls"].remove({"action": "SCMP_ACT_ALLOW", "names": ["open_by_handle_at", "setns"]})
check("it may enter namespaces and open cgroups, and nothing else that the base may not", profile, entering)

(chart,) = load(f"{CHART}/Chart.yaml")
(values,) = load(f"{CHART}/values.yaml")
check("the chart is this version's", [version, version], [chart["version"], chart["appVersion"]])
(crd,) = load(f"{CHART}/crds/waymarkpolicy.json")
check("its resource is the manifests'", kinds["CustomResourceDefinition"], crd)
check("its settings are the ConfigMap's", config, values["settings"])
with open(f"{CHART}/values.schema.json", encoding="utf-8") as f:
    schema = json.load(f)
try:
    import jsonschema
    jsonschema.validate(values, schema)
    check("the schema takes the values", True, True)
except jsonschema.ValidationError as e:
    check("the schema takes the values", "", e.message)
check("and names each", sorted(values), sorted(set(schema["properties"]) - {"global"}))
for bad in ({"imgae": {}}, {"sockets": "yes"}, {"host": {"bpffs": "bpf"}}, {"updateStrategy": {"maxUnavailable": 0}}):
    check(f"it refuses {json.dumps(bad)}", False, jsonschema.Draft7Validator(schema).is_valid(bad))
files = [os.path.join(d, n) for d, _, names in os.walk(KUBE) for n in names if n.endswith((".yaml", ".json"))]
named = {f"{d}/{r}" for d in (KUBE, f"{KUBE}/metrics", f"{KUBE}/uninstall") for r in kustomization(d)[0]["resources"]}
check("no manifest is forgotten", named, {f for f in files if not f.endswith(("kustomization.yaml", "seccomp.json"))})
sys.exit(failed)
