#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The agent and API servers over TLS: one that says what no API server should, then what a real one said,
# then one that lets it see less. It serves on through all of it, with what it knew last.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/certs.sh
. tests/net/certs.sh

authority ca
certificate ca server localhost
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=waymark -keyout "$TMP/client.key" \
	-out "$TMP/client.csr" 2>>"$TMP/certs.log" &&
	openssl x509 -req -in "$TMP/client.csr" -CA "$TMP/ca.pem" -CAkey "$TMP/ca.key" -CAcreateserial -days 30 \
		-out "$TMP/client.pem" 2>>"$TMP/certs.log" || fail "client's certificate: $(cat "$TMP/certs.log")"

PATHS='["/api/v1/namespaces", "/api/v1/nodes", "/api/v1/services", "/apis/discovery.k8s.io/v1/endpointslices", "/api/v1/pods"]'
scenario() { # jq program that makes an answer's lists and watches of a path
	jq -n "$PATHS | map({key: ., value: ($1)}) | from_entries" >"$TMP/scenario.new" && mv "$TMP/scenario.new" "$TMP/scenario"
}
REAL='(split("/") | last) as $n | {list: [{file: ($n + ".list")}], watch: [{end: "hang"}]}'
source_is() { api "$API/v1/waymark/sources" | jq -e ".[] | select(.name == \"kubernetes\") | $1"; }
said() { # state, pattern of its text
	source_is ".state == \"$1\" and (.text | test(\"$2\"))"
}
says() { # text, state, pattern
	until_ok 60 said "$2" "$3" && echo "ok: $1" || fail "$1: $(source_is '[.state, .text]')"
}

scenario '{list: [{text: "{\"kind\":\"NodeList\",\"items\":[{\"a\"", end: "cut"}, {text: "<html>"}, {text: "[", times: 0},
	{status: 302, headers: {Location: "http://127.0.0.1:1/"}, text: ""}, {text: "{\"a\":", times: 0},
	{type: "text/html", text: "{}"}], watch: []}'
/usr/bin/python3 tests/net/kube_server.py "$TMP/scenario" "$TMP/port" "$TMP/asked" --cert "$TMP/server.pem" \
	--key "$TMP/server.key" --client-ca "$TMP/ca.pem" 2>"$TMP/server.log" &
until_ok 20 test -e "$TMP/port" || fail "the API server does not start: $(cat "$TMP/server.log")"
echo one-token >"$TMP/token"
cat >"$TMP/kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: x
contexts: [{name: x, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "https://127.0.0.1:$(cat "$TMP/port")", certificate-authority: ca.pem}}]
users: [{name: u, user: {client-certificate: client.pem, client-key: client.key, tokenFile: token}}]
YAML
start_agent --set source.kubernetes_enabled=true --set "source.kubernetes_kubeconfig=$TMP/kubeconfig" \
	--set source.kubernetes_node=n1

says "garbage is told" away 'no JSON|nested too deep|redirect|before its end|closed'
says "and named" away 'Content-Type'
check "nothing of it is taken" 0 "$(source_is .instances)"
agent_up && echo "ok: the agent answers" || fail "the agent does not answer"
matches "the token goes with the certificate" 'Bearer one-token$' "$(head -n 1 "$TMP/asked")"

scenario "$REAL"
says "what a real one said is taken" watching ''
until_ok 60 source_is '.instances > 0' && echo "ok: there are instances" || fail "no instances: $(source_is .)"
HAS=$(source_is .instances)

# its watches go with the server; a new one lets the account see no slices any more
kill -9 %1
wait %1 2>/dev/null
scenario "if . == \"/apis/discovery.k8s.io/v1/endpointslices\" then {list: [{status: 403, file: \"forbidden\"}],
	watch: [{status: 403, file: \"forbidden\"}]} else ($REAL) end"
/usr/bin/python3 tests/net/kube_server.py "$TMP/scenario" "$TMP/port2" "$TMP/asked" --cert "$TMP/server.pem" \
	--key "$TMP/server.key" --client-ca "$TMP/ca.pem" --port "$(cat "$TMP/port")" 2>>"$TMP/server.log" &
says "the resource that it may not see is named" refused 'may not (list|watch) endpointslices .discovery.k8s.io'
check "what was known stays" "$HAS" "$(source_is .instances)"
done_testing
