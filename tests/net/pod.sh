# SPDX-License-Identifier: Apache-2.0
# pod.sh - the image (tools/image.sh), run by an OCI runtime as the pod of a DaemonSet (pod.py): source it behind
# lib.sh. Directories and names of the test are in the place of the node's: $TMP/state, run, config, account.
# shellcheck shell=bash
DEPLOY=deploy/kubernetes
IMAGE=${IMAGE:-$TMP/image} # one that is there, or where it is made
ROOTFS=$TMP/bundle/rootfs
API_PORT=6443 # of the API server, on loopback
# with cgroup2 where a node of Kubernetes has it, whatever this machine has there
CRUN=(unshare --mount sh -c 'mount -t cgroup2 none /sys/fs/cgroup && exec crun "$@"' crun --root "$TMP/crun" --cgroup-manager disabled)
POD='' # name of the running container
mkdir "$TMP/state" "$TMP/run" "$TMP/config" "$TMP/account" "$TMP/crun"
end_pods() {
	[ -z "$POD" ] || "${CRUN[@]}" delete --force "$POD" 2>/dev/null
	POD=''
}
# shellcheck disable=SC2034 # lib.sh has it
AT_END=end_pods
/usr/bin/python3 - $DEPLOY/configmap.yaml >"$TMP/config/waymark.json" <<'END'
import sys, yaml
print(yaml.safe_load(open(sys.argv[1]))["data"]["waymark.json"])
END
echo "nameserver 192.0.2.53" >"$TMP/resolv.conf"

image_unpack() { # of the programs that are tested
	[ -d "$IMAGE/oci" ] || tools/image.sh "$B" "$IMAGE" >"$TMP/image.log" 2>&1 || {
		fail "the image cannot be made"
		cat "$TMP/image.log"
		exit 1
	}
	IMAGE_MANIFEST=$IMAGE/oci/blobs/sha256/$(jq -r '.manifests[0].digest' "$IMAGE/oci/index.json" | cut -d: -f2)
	IMAGE_CONFIG=$IMAGE/oci/blobs/sha256/$(jq -r .config.digest "$IMAGE_MANIFEST" | cut -d: -f2)
	umoci unpack --image "$IMAGE/oci:$(cat VERSION)" "$TMP/bundle" >/dev/null 2>&1 || fail "umoci unpack"
}
bundle() { # options of pod.py
	/usr/bin/python3 tests/net/pod.py "${MANIFEST:-$DEPLOY/daemonset.yaml}" "$IMAGE_CONFIG" "$ROOTFS" "${SECCOMP:-$DEPLOY/seccomp.json}" \
		--host "/var/lib/waymark=$TMP/state" --host "/run/waymark=$TMP/run" \
		--file "account=$TMP/account" --env "KUBERNETES_SERVICE_PORT=$API_PORT" \
		--file "config=$TMP/config" --file "resolv.conf=$TMP/resolv.conf" \
		--env "WAYMARKD_KERNEL_CGROUP=/sys/fs/cgroup/${CG##*/}" --env "WAYMARKD_KERNEL_PIN_DIR=/bpf/${PINS##*/}" \
		--env "WAYMARK_PIN_DIR=/bpf/${PINS##*/}" --env "WAYMARKD_REGISTRY_CONSUL_SERVICE=false" \
		--env "ASAN_OPTIONS=detect_leaks=0" "$@" >"$TMP/bundle/config.json"
}
start_pod() { # name, [options of pod.py]
	bundle "${@:2}"
	"${CRUN[@]}" run --bundle "$TMP/bundle" "$1" </dev/null >>"$TMP/agent.log" 2>&1 &
	RUNNER=$! POD=$1
	until_ok 120 agent_up || {
		fail "the agent in the container does not answer"
		exit 1
	}
}
stop_pod() { # signal
	"${CRUN[@]}" kill "$POD" "$1"
	wait "$RUNNER"
	check "it ended by $1" "$2" $?
	"${CRUN[@]}" delete --force "$POD" 2>/dev/null
	POD=''
}
run_in() { # name, command...: a container like it that ends
	bundle --args "${@:2}"
	"${CRUN[@]}" run --bundle "$TMP/bundle" "$1" </dev/null 2>&1
}
can_run() { # or else ends the test: a kernel that lets nobody make containers is named by what it says to the least of them
	local said status errno
	said=$(run_in probe /usr/sbin/waymarkd --version)
	status=$?
	[ $status != 0 ] || return 0
	errno=$(grep -oiE 'operation not permitted|no space left|function not implemented|invalid argument|permission denied' <<<"$said" | head -n 1)
	case ${errno,,} in
	'operation not permitted') errno=EPERM ;;
	'permission denied') errno=EACCES ;;
	'no space left') errno=ENOSPC ;;
	'function not implemented') errno=ENOSYS ;;
	'invalid argument') errno=EINVAL ;;
	esac
	# only if the runtime can do nothing at all here, whatever we ask for
	if [ -n "$errno" ] && ! unshare --mount --pid --ipc --uts --fork true 2>/dev/null; then
		echo "skipped: kernel refuses containers: $errno"
		exit 77
	fi
	fail "a container cannot be run: $said"
	exit 1
}
