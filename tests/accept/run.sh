#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Clients that are no Debian packages, unmodified, against the agent's API: Consul's own Go client,
# Prometheus' discovery by consul_sd_configs, consul-template, and the npm package "consul". They are fetched
# from where their languages keep them, so this is not part of `make test`; a language that is not installed
# is said and left out, and none at all is a failure.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
OUT=$PWD/build/accept
TEMPLATE=0.39.1 # version of consul-template
GO=$(command -v go) || echo "left out: Go is not installed"
NPM=$(command -v npm) || echo "left out: npm is not installed"
if [ -z "${WM_NET_TEST:-}" ]; then # the test itself runs in a network namespace of its own, where nothing can be fetched
	mkdir -p "$OUT"
	[ -n "$GO$NPM" ] || exit 1
	if [ -n "$GO" ]; then
		(cd tests/accept/go && "$GO" build -o "$OUT/accept-go" .) || exit 1
		(cd tests/accept/prometheus && "$GO" build -o "$OUT/accept-prometheus" .) || exit 1
		GOBIN=$OUT "$GO" install github.com/hashicorp/consul-template@v$TEMPLATE || exit 1
	fi
	if [ -n "$NPM" ]; then
		cp tests/accept/client.js "$OUT/"
		npm install --prefix "$OUT" --no-audit --no-fund --silent consul@2.0.1 || exit 1
	fi
fi
# shellcheck source=tests/net/lib.sh
. tests/net/lib.sh
# shellcheck source=tests/net/mesh.sh
. tests/net/mesh.sh

# shellcheck disable=SC2317 # until_ok calls it
rendered() { [ "$(cat "$TMP/rendered" 2>/dev/null)" = "$1" ]; }
template_shop() { # id, version
	check "register $1" 200 "$(code -X PUT $API/v1/agent/service/register -d '{"ID": "'"$1"'", "Name": "stall",
	  "Address": "10.7.4.1", "Port": 80, "Tags": ["blue"], "Meta": {"version": "'"$2"'"},
	  "Check": {"CheckID": "ttl:'"$1"'", "TTL": "1h", "Status": "passing"}}')"
}
# A template that is rendered again as services come, fail and go
consul_template() {
	cat >"$TMP/template" <<-'TEXT'
		{{range service "stall"}}{{.ID}} {{.Address}}:{{.Port}} v{{.ServiceMeta.version}} {{.Status}}
		{{end}}{{range services}}{{if eq .Name "stall"}}{{.Name}}={{.Tags | join ","}}{{end}}{{end}} {{with node}}{{.Node.Node}}{{end}} {{keyOrDefault "stall/key" "no key"}}
	TEXT
	template_shop stall-1 1
	template_shop stall-2 2
	"$OUT/consul-template" -consul-addr 127.0.0.1:8500 -template "$TMP/template:$TMP/rendered" -wait 10ms:100ms \
		>"$TMP/template.log" 2>&1 &
	local pid=$! tail='stall=blue n1 no key' one two three
	one='stall-1 10.7.4.1:80 v1 passing' two='stall-2 10.7.4.1:80 v2 passing' three='stall-3 10.7.4.1:80 v3 passing'
	until_ok 20 rendered "$one"$'\n'"$two"$'\n'"$tail" || fail "not rendered: $(cat "$TMP/rendered" "$TMP/template.log")"
	template_shop stall-3 3
	until_ok 20 rendered "$one"$'\n'"$two"$'\n'"$three"$'\n'"$tail" || fail "one more: $(cat "$TMP/rendered")"
	check "fail stall-2" 200 "$(code -X PUT $API/v1/agent/check/fail/ttl:stall-2)"
	check "deregister stall-1" 200 "$(code -X PUT $API/v1/agent/service/deregister/stall-1)"
	until_ok 20 rendered "$three"$'\n'"$tail" || fail "two less: $(cat "$TMP/rendered")"
	check "deregister stall-2" 200 "$(code -X PUT $API/v1/agent/service/deregister/stall-2)"
	check "deregister stall-3" 200 "$(code -X PUT $API/v1/agent/service/deregister/stall-3)"
	kill -9 $pid # it ends by SIGINT only, which the shell has it ignore
	wait $pid 2>/dev/null
}
start_agent "$@"
if [ -n "$GO" ]; then
	"$OUT/accept-go" || fail "Go"
	"$OUT/accept-prometheus" || fail "Prometheus' discovery"
	consul_template
fi
if [ -n "$GO" ]; then # and at one agent of a mesh
	mesh_up 3
	for i in 1 2 3; do node_agent "$i" "${INSECURE[@]}"; done
	for i in 1 2 3; do register_on "$i" "near-$i" near "10.77.0.$i" 9 >/dev/null; done
	until_ok 20 passes_on near "near-1 near-2 near-3" 1 2 3 || fail "near is not everywhere"
	placed() { [ "$(api_of 1 /v1/coordinate/nodes | jq length)" = 3 ]; }
	until_ok 30 placed || fail "not all coordinates are known"
	on 1 "$OUT/accept-go" n1 n2 n3 || fail "Go, in a mesh"
	for i in 1 2 3; do node_stop "$i"; done
fi
[ -z "$NPM" ] || node "$OUT/client.js" || fail "Node"
done_testing
