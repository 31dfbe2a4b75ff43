#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The status of WaymarkPolicies: of several agents about one writes what all make of it, never while it stands there,
# once for each generation; who may not write says so once and does no harm.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/kube.sh
. tests/net/kube.sh

start_cluster
kubeconfig
namespace kube-system 11111111-1111-4111-8111-111111111111
for n in 1 2 3; do node "n$n" "127.0.0.$n" a; done
policy() { # name, spec
	kube put "{\"kind\": \"WaymarkPolicy\", \"metadata\": {\"namespace\": \"default\", \"name\": \"$1\"}, \"spec\": {$2}}"
}
policy web '"balance": "least_connections"'
policy bad '"panic_threshold": 200'
policy also '"service": "web"'
policy none '"service": "Web_1"'

AGENTS=()
agent() { # number, settings
	local n=$1
	shift
	"$B/waymarkd" --set "node.data_dir=$TMP/agent$n" --set kernel.enabled=false --set "http.port=852$n" --set http.socket= \
		--set dns.port=0 --set "node.name=n$n" --set node.address=127.0.0.1 --set registry.consul_service=false \
		--set source.kubernetes_enabled=true --set "source.kubernetes_kubeconfig=$TMP/kubeconfig" "$@" 2>>"$TMP/agent$n.log" &
	AGENTS+=($!)
}
counter() { # name, of agent $2
	api "http://127.0.0.1:852$2/v1/waymark/sources" | jq ".[] | .counters.$1"
}
condition() { kube get WaymarkPolicy default "$1" | jq -r ".status.conditions[]? | select(.type == \"Accepted\") | $2"; }
says() { [ "$(condition "$1" '"\(.status) \(.reason) \(.observedGeneration)"')" = "$2" ]; }
becomes() { # text, name, status
	until_ok 60 says "$2" "$3" && echo "ok: $1" || check "$1" "$3" "$(kube get WaymarkPolicy default "$2")"
}
written() { # so many were, by all
	local sum=0
	for n in 1 2 3; do sum=$((sum + $(counter statuses "$n"))); done
	echo "$sum"
}

for n in 1 2 3; do agent "$n"; done
becomes "one that is good" web "False Conflicted 1"
becomes "of two the first by name" also "True Accepted 1"
becomes "one that is bad" bad "False Invalid 1"
becomes "one that names no Service" none "False Invalid 1"
matches "it names the field" '^panic_threshold' "$(condition bad .message)"
matches "and the member" 'spec.service' "$(condition none .message)"
matches "and the other resource" 'service: "default/web" has one by WaymarkPolicy also' "$(condition web .message)"
matches "since when" '^20[0-9-]{8}T[0-9:]{8}Z$' "$(condition bad .lastTransitionTime)"
check "each was written once, by one of the agents" 4 "$(written)"
check "the server took as many" 4 "$(kube patches | jq '[.[].status.conditions[0].reason] | length' | awk -v late="$(($(counter statuses_late 1) + $(counter statuses_late 2) + $(counter statuses_late 3)))" '{print $1 - late}')"

# --- another generation; what stands stays as it is
since=$(condition bad .lastTransitionTime)
policy bad '"panic_threshold": 300'
becomes "still bad, of the generation that was looked at" bad "False Invalid 2"
check "since it is bad" "$since" "$(condition bad .lastTransitionTime)"
policy bad '"panic_threshold": 30'
becomes "mended" bad "True Accepted 3"
kube delete WaymarkPolicy default also
becomes "and the other one's turn" web "True Accepted 1"
kube compact
relisted() { for n in 1 2 3; do [ "$(counter relists "$n")" -ge 1 ] || return 1; done; }
until_ok 60 relisted || fail "they do not list again"
check "a list of the same is no reason to write" 7 "$(written)"

# --- agents that do not agree each say it once
kube put '{"kind": "WaymarkPolicy", "metadata": {"namespace": "default", "name": "torn"}, "spec": {"balance": "random"}}'
becomes "theirs" torn "True Accepted 1"
judged() { for n in 1 2 3; do [ "$(api "http://127.0.0.1:852$n/v1/waymark/policies/default%2Ftorn" | jq -r .balance)" = random ] || return 1; done; }
until_ok 30 judged || fail "not all have judged it"
version=$(kube get WaymarkPolicy default torn | jq -r .metadata.resourceVersion)
curl -sf -X PATCH -H 'Content-Type: application/merge-patch+json' "http://127.0.0.1:$KUBE_PORT/apis/waymark.io/v1/namespaces/default/waymarkpolicies/torn/status" \
	-d "{\"metadata\": {\"resourceVersion\": \"$version\"}, \"status\": {\"conditions\": [{\"type\": \"Accepted\", \"status\": \"False\",
		\"reason\": \"Invalid\", \"message\": \"of another mind\", \"observedGeneration\": 1}]}}" >/dev/null
policy after '"balance": "random"'
becomes "what comes behind it is written" after "True Accepted 1"
check "and what another one says of it stays" "of another mind" "$(condition torn .message)"

# --- nobody may
for pid in "${AGENTS[@]}"; do kill "$pid"; done
for pid in "${AGENTS[@]}"; do wait "$pid" 2>/dev/null; done
kube close
policy web '"balance": "maglev"'
policy more '"balance": "maglev"'
agent 4
refused() { [ "$(counter statuses_refused 4)" -ge 1 ]; }
until_ok 60 refused && echo "ok: that it may not write is counted" || fail "it is not refused"
check "said once" 1 "$(grep -c event=kubernetes.status "$TMP/agent4.log")"
matches "with what is missing" 'waymarkpolicies/status.*kubernetes_policy_status' "$(grep event=kubernetes.status "$TMP/agent4.log")"
taken() { [ "$(api "http://127.0.0.1:8524/v1/waymark/policies/default%2Fmore" | jq -r .balance)" = maglev ]; }
until_ok 60 taken && echo "ok: the policies hold all the same" || fail "no policy: $(api http://127.0.0.1:8524/v1/waymark/policies)"
kube open

# --- nor does who is told not to
agent 5 --set source.kubernetes_policy_status=false
held() { [ "$(api "http://127.0.0.1:8525/v1/waymark/policies/default%2Fmore" | jq -r .balance)" = maglev ]; }
until_ok 60 held || fail "no policy of agent 5"
before=$(kube patches | jq length)
policy later '"balance": "random"'
later() { [ "$(api "http://127.0.0.1:8525/v1/waymark/policies/default%2Flater" | jq -r .balance)" = random ]; }
until_ok 60 later || fail "the later one is not taken"
check "switched off it asks for nothing" "$before" "$(kube patches | jq length)"
for pid in "${AGENTS[@]:3}"; do kill "$pid"; done
for pid in "${AGENTS[@]:3}"; do wait "$pid" 2>/dev/null; done
stop_cluster
done_testing
