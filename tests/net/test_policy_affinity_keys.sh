#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Clients that stay with their backend, told apart by network namespace or by cgroup: by connects of processes that
# share one of both and differ in the other (by uid: test_policy_affinity).
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

# pods, cgroups below ours, backends that all of them can reach
PODS=(1 2 3 4) CGROUPS=(a b c d)
for c in "${CGROUPS[@]}"; do mkdir "$CG/$c"; done
for i in 1 2 3 4 5 6; do ip addr add 10.99.0.$i/32 dev lo; done
declare -A PID
pod() { # number
	unshare --net sleep 600 &
	PID[$1]=$!
	until_ok 10 is_apart "${PID[$1]}" || fail "pod $1 has no network namespace"
	ip link add "wmh$1" type veth peer name "wmp$1" netns "${PID[$1]}"
	ip addr add "10.99.1$1.1/24" dev "wmh$1"
	ip link set "wmh$1" up
	nsenter -t "${PID[$1]}" --net sh -c "ip link set lo up; ip addr add 10.99.1$1.2/24 dev wmp$1; ip link set wmp$1 up; ip route add default via 10.99.1$1.1"
}
for p in "${PODS[@]}"; do pod "$p"; done
start_agent
for i in 1 2 3 4 5 6; do
	backend w$i 10.99.0.$i 8080
	check "register w$i" 200 "$(register w$i web 10.99.0.$i 8080)"
done
V4=$(vip4 web)
policy() { operator -X PUT "$API/v1/waymark/policies/web" -d "$1"; }
dial() { # cgroup, pod
	(
		echo $BASHPID >"$CG/$1/cgroup.procs"
		exec nsenter -t "${PID[$2]}" --net curl -s --max-time 20 "http://$V4/"
	) | grep -o '^w[0-9]'
}
who() { for _ in $(seq "$3"); do dial "$1" "$2"; done | sort -u | xargs; } # cgroup, pod, dials
several() { check "$1" 1 "$([ "$(wc -w <<<"$2")" -gt 1 ]; echo $((1 - $?)))"; }

several "without it clients go anywhere" "$(who a 1 30)"

check "by network namespace" '{"warnings":[]}' "$(policy '{"affinity": {"key": "netns", "timeout": "1h"}}')"
declare -A HAS
for p in "${PODS[@]}"; do
	HAS[$p]=$(who a "$p" 10)
	check "pod $p stays" 1 "$(wc -w <<<"${HAS[$p]}")"
done
for p in "${PODS[@]}"; do
	check "pod $p, whichever cgroup dials" "${HAS[$p]}" "$(for c in b c d; do who $c "$p" 5; done | sort -u | xargs)"
done
# of clients at random all are at one backend now and then: more of them make that as good as never
for p in 5 6 7 8 9 10 11 12; do
	[ "$(printf '%s\n' "${HAS[@]}" | sort -u | wc -l)" = 1 ] || break
	pod $p
	HAS[$p]=$(dial a $p)
done
several "pods differ" "$(printf '%s\n' "${HAS[@]}" | sort -u | xargs)"

check "by cgroup" '{"warnings":[]}' "$(policy '{"affinity": {"key": "cgroup", "timeout": "1h"}}')"
declare -A OF
for c in "${CGROUPS[@]}"; do
	OF[$c]=$(who $c 1 10)
	check "cgroup $c stays" 1 "$(wc -w <<<"${OF[$c]}")"
done
for c in "${CGROUPS[@]}"; do
	check "cgroup $c, from whichever pod" "${OF[$c]}" "$(for p in 2 3 4; do who $c $p 5; done | sort -u | xargs)"
done
for c in e f g h i j k l; do
	[ "$(printf '%s\n' "${OF[@]}" | sort -u | wc -l)" = 1 ] || break
	mkdir "$CG/$c"
	OF[$c]=$(dial $c 1)
done
several "cgroups differ" "$(printf '%s\n' "${OF[@]}" | sort -u | xargs)"
done_testing
