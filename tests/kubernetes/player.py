# SPDX-License-Identifier: Apache-2.0
"""Plays the scheduler and the kubelets of some nodes on one machine: player.py CGROUP DIRECTORY NODE=NUMBER...

A pod that is assigned to one of the nodes (or to none: then to that of its affinity, as a DaemonSet's, or each in turn) gets a network namespace with
the addresses 10.244.NUMBER.N and fd00:244:NUMBER::N, a device on the host's side (cali...), routed, a cgroup
below CGROUP/kubepods.slice as containerd names it, and podserver.py with the container's ports. It is ready
when its port listens and as many seconds later as its annotation test/ready-after says. Deleted it does as kubelet does:
preStop's sleep, SIGTERM, and the object goes. DIRECTORY/NAMESPACE_NAME has its process, cgroup and address for
cluster.sh's in_pod. Pods of other nodes are left to the test."""
import ctypes
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time

from kube import CORE, Kube, pod_status

CGROUP, DIRECTORY = sys.argv[1], sys.argv[2]
NODES = dict(a.split("=") for a in sys.argv[3:])
HERE = os.path.dirname(os.path.abspath(__file__))
PDEATHSIG = 1
libc = ctypes.CDLL(None)
lock = threading.Lock()
pods = {}  # uid: what is played
used = {number: 0 for number in NODES.values()}
turn = 0


def path_of(pod, sub=""):
    meta = pod["metadata"]
    return f"{CORE}/namespaces/{meta['namespace']}/pods/{meta['name']}{sub}"


def wanted(pod):
    """The nodes that a pod of a DaemonSet names."""
    affinity = pod["spec"].get("affinity", {}).get("nodeAffinity", {})
    terms = affinity.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
    return [v for t in terms for f in t.get("matchFields", []) if f["key"] == "metadata.name" for v in f["values"]]


def schedule(kube, pod):
    global turn
    cordoned = {n["metadata"]["name"] for n in kube.must("GET", CORE + "/nodes")["items"] if n["spec"].get("unschedulable")}
    free = wanted(pod) or [n for n in NODES if n not in cordoned]
    node = free[turn % len(free)]
    turn += 1
    meta = pod["metadata"]
    kube.ask("POST", path_of(pod, "/binding"), {
        "apiVersion": "v1", "kind": "Binding", "metadata": {"name": meta["name"], "namespace": meta["namespace"]},
        "target": {"apiVersion": "v1", "kind": "Node", "name": node}})


def cgroup_of(pod):
    """As systemd's driver of containerd names them."""
    uid = pod["metadata"]["uid"].replace("-", "_")
    container = pod["metadata"]["uid"].replace("-", "") * 2
    return os.path.join(CGROUP, "kubepods.slice", "kubepods-besteffort.slice",
                        f"kubepods-besteffort-pod{uid}.slice", f"cri-containerd-{container}.scope"), container


def begin(pod):
    meta, spec = pod["metadata"], pod["spec"]
    number = NODES[spec["nodeName"]]
    with lock:
        used[number] += 1
        n = used[number]
    v4, v6 = f"10.244.{number}.{n}", f"fd00:244:{number}::{n:x}"
    cgroup, container = cgroup_of(pod)
    os.makedirs(cgroup, exist_ok=True)
    ports = [f"{p['containerPort']}{'/udp' if p.get('protocol') == 'UDP' else ''}"
             for c in spec["containers"] for p in c.get("ports", [])]

    def enter():
        libc.prctl(PDEATHSIG, signal.SIGKILL)
        with open(os.path.join(cgroup, "cgroup.procs"), "w", encoding="ascii") as f:
            f.write(str(os.getpid()))
    server = subprocess.Popen(["unshare", "--net", "--", sys.executable, os.path.join(HERE, "podserver.py"), meta["name"],
                               *ports], preexec_fn=enter)
    own = os.readlink("/proc/self/ns/net")
    while os.readlink(f"/proc/{server.pid}/ns/net") == own:
        time.sleep(0.005)
    device = f"cali{number}x{n:x}"
    script = f"""link add {device} type veth peer name eth0 netns {server.pid}
        link set {device} up
        addr add 169.254.1.1/32 dev {device} scope link
        addr add fe80::1/64 dev {device} nodad
        route add {v4}/32 dev {device}
        route add {v6}/128 dev {device}
        """
    inside = f"""link set lo up
        addr add {v4}/32 dev eth0
        addr add {v6}/128 dev eth0 nodad
        link set eth0 up
        route add 169.254.1.1/32 dev eth0 scope link
        route add default via 169.254.1.1 dev eth0
        route add default via fe80::1 dev eth0
        """
    subprocess.run(["ip", "-batch", "-"], input=script.encode(), check=True)
    subprocess.run(["nsenter", f"--net=/proc/{server.pid}/ns/net", "ip", "-batch", "-"], input=inside.encode(), check=True)
    played = {"server": server, "cgroup": cgroup, "container": container, "addresses": [v4, v6], "device": device}
    name = f"{meta['namespace']}_{meta['name']}"
    with open(os.path.join(DIRECTORY, name + ".new"), "w", encoding="ascii") as f:
        f.write(f"{server.pid} {cgroup} {v4} {v6} {device}\n")
    os.rename(os.path.join(DIRECTORY, name + ".new"), os.path.join(DIRECTORY, name))
    tcp = [p for p in ports if "/" not in p]
    while tcp and server.poll() is None:  # as a readiness probe
        try:
            socket.create_connection((v4, int(tcp[0])), 1).close()
            break
        except OSError:
            time.sleep(0.02)
    return played


def status_of(pod, played, ready):
    status = pod_status(played["addresses"], ready)
    status["status"]["hostIP"] = "172.31.255.1"
    status["status"]["containerStatuses"] = [{
        "name": c["name"], "image": c["image"], "imageID": "", "ready": ready, "restartCount": 0,
        "containerID": "containerd://" + played["container"], "state": {"running": {}}}
        for c in pod["spec"]["containers"]]
    return status


def end(pod, played):
    sleep = [c.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0) for c in pod["spec"]["containers"]]
    time.sleep(max(sleep))
    played["server"].terminate()
    played["server"].wait()
    subprocess.run(["ip", "link", "del", played["device"]], check=False, stderr=subprocess.DEVNULL)
    for d in (played["cgroup"], os.path.dirname(played["cgroup"])):
        try:
            os.rmdir(d)
        except OSError:
            pass
    try:
        os.unlink(os.path.join(DIRECTORY, f"{pod['metadata']['namespace']}_{pod['metadata']['name']}"))
    except FileNotFoundError:
        pass


def life(todo):
    """One pod's, in a thread of its own, from what the watch tells."""
    kube, played, readied = Kube(), None, False
    pod = todo.get()
    try:
        while pod is not None:
            if "deletionTimestamp" in pod["metadata"]:
                break
            if not played:
                played = begin(pod)
            if not readied:
                after = float(pod["metadata"].get("annotations", {}).get("test/ready-after", 0))
                if after:
                    kube.patch(path_of(pod, "/status"), status_of(pod, played, False))
                    time.sleep(after)
                kube.patch(path_of(pod, "/status"), status_of(pod, played, True))
                readied = True
            pod = todo.get() or pod
        if played:
            end(pod, played)
        kube.ask("DELETE", path_of(pod) + "?gracePeriodSeconds=0")
    except Exception as e:  # pylint: disable=broad-except
        print(f"player: {pod['metadata']['name'] if pod else '?'}: {e}", file=sys.stderr, flush=True)


def seen(kube, pod):
    uid, node = pod["metadata"]["uid"], pod["spec"].get("nodeName")
    if not node and "deletionTimestamp" not in pod["metadata"]:
        schedule(kube, pod)
    elif node in NODES:
        if uid not in pods:
            pods[uid] = queue.Queue()
            threading.Thread(target=life, args=(pods[uid],), daemon=True).start()
        pods[uid].put(pod)


kube = Kube()
os.makedirs(DIRECTORY, exist_ok=True)
for setting in ("net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"):
    with open("/proc/sys/" + setting, "w", encoding="ascii") as f:
        f.write("1")
while True:
    try:
        listed = kube.must("GET", CORE + "/pods")
        for item in listed["items"]:
            seen(kube, item)
        version = listed["metadata"]["resourceVersion"]
        for line in Kube().stream(f"{CORE}/pods?watch=true&resourceVersion={version}"):
            event = json.loads(line)
            if event["type"] in ("ADDED", "MODIFIED"):
                seen(kube, event["object"])
    except Exception as e:  # pylint: disable=broad-except
        print(f"player: {e}", file=sys.stderr, flush=True)
        time.sleep(0.5)
