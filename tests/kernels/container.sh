#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The image as the DaemonSet's pod on the kernel that runs now: by crun, with the four capabilities, what containerd
# lets its containers call (seccomp), and under its AppArmor profile. What the agent in it does for a process outside, and
# that with the pins where AppArmor refuses them it does not start.
set -uo pipefail
# shellcheck source=tests/kernels/guest.sh
. ./guest.sh
cd pod || exit 1
mount -t securityfs securityfs /sys/kernel/security
apparmor_parser -Kr profile
check "the profile is loaded" 0 $?
mkdir -p /run/state /run/waymark
run() { # name, configuration
	cp "$2" bundle/config.json
	crun --cgroup-manager disabled run --no-pivot --bundle bundle "$1" </dev/null
}
start() { # name, [configuration]
	run "$1" "${2:-agent.json}" 2>>/tmp/agent.log &
	RUNNER=$!
	until_up
	PID=$(crun state "$1" | sed -n 's/.*"pid": *\([0-9]*\).*/\1/p')
}
start one
check "it is confined" 'cri-containerd.apparmor.d (enforce)' "$(cat "/proc/$PID/attr/current")"
check "its system calls are filtered" 2 "$(sed -n 's/^Seccomp:\s*//p' "/proc/$PID/status")"
check "its capabilities" 000000c000001400 "$(sed -n 's/^CapEff:\s*//p' "/proc/$PID/status")"
check "nothing of the plane is missing" '"reasons":[]' "$(get $API/v1/waymark/status | tr -d ' \n' | grep -om1 '"reasons":\[[^]]*\]' | head -n 1)"
serve 1
V4=$(ask web.virtual.mesh.internal)
check "names are answered" 127.1.0.1 "$(ask web.service.mesh.internal)"
check "connect() of a process outside is steered" web-1 "$(get "http://$V4/")"
crun kill one KILL
wait $RUNNER
crun delete --force one
check "killed: names" 127.1.0.1 "$(ask web.service.mesh.internal)"
check "killed: connect()" web-1 "$(get "http://$V4/")"
start two
check "the next one adopts what is there" 1 "$(grep -c plane.adopted /tmp/agent.log)"
check "after it: connect()" web-1 "$(get "http://$V4/")"
crun kill two TERM
wait $RUNNER
check "a clean end" 0 $?
run detach detach.json
check "the uninstallation's container" 0 $?
check "nothing is left" 0 "$(find /sys/fs/bpf/waymark 2>/dev/null | wc -l)"
run elsewhere elsewhere.json >/tmp/elsewhere 2>&1
check "with its pins below /sys/fs it does not start" 1 $?
check "as it is refused, by whom is said" 1 "$(grep -cm1 'ermission denied.*AppArmor' /tmp/elsewhere)"
start free elsewhere-free.json
check "without a profile it does" 1 "$(find /sys/fs/bpf/waymark -name maps | wc -l)"
crun kill free KILL
[ $FAILED = 0 ] || tail -n 20 /tmp/agent.log
exit $FAILED
