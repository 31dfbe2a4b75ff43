#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_mesh_etcd_auth.sh - an etcd that wants a client certificate, with an endpoint beside it that is dead;
# one that wants a user; a prefix each for two datacenters; a prefix that is another mode's.
source "$(dirname "$0")/lib.sh"
source "$(dirname "$0")/mesh.sh"

command -v etcd >/dev/null || {
	echo "skipped: etcd-server is needed"
	exit 77
}
mesh_up 3
ip addr add 10.77.0.254/24 dev mesh0
TLS=https://10.77.0.254:2379 PLAIN=http://10.77.0.254:2389
following() { [ "$(api_of "$1" /v1/waymark/sync | jq -r .etcd.phase)" = following ]; }

# --- certificates: an authority, etcd's, ours ------------------------------------------------------------
issue() { # name, extension
	openssl req -newkey rsa:2048 -nodes -keyout "$TMP/$1.key" -out "$TMP/$1.csr" -subj "/O=$1" 2>/dev/null
	openssl x509 -req -in "$TMP/$1.csr" -CA "$TMP/ca.pem" -CAkey "$TMP/ca.key" -CAcreateserial -days 2 \
		-extfile <(echo "$2") -out "$TMP/$1.pem" 2>/dev/null
}
openssl req -x509 -newkey rsa:2048 -nodes -keyout "$TMP/ca.key" -out "$TMP/ca.pem" -days 2 -subj /CN=authority 2>/dev/null
issue etcd "subjectAltName=IP:10.77.0.254,IP:127.0.0.1"
issue agent "subjectAltName=DNS:agent"
chmod 600 "$TMP"/*.key
etcd --data-dir "$TMP/etcd" --listen-client-urls "$TLS" --advertise-client-urls "$TLS" --listen-peer-urls http://127.0.0.1:2380 \
	--client-cert-auth --trusted-ca-file "$TMP/ca.pem" --cert-file "$TMP/etcd.pem" --key-file "$TMP/etcd.key" \
	--log-level error >>"$TMP/etcd.log" 2>&1 &
until_ok 20 curl -sf --cacert "$TMP/ca.pem" --cert "$TMP/agent.pem" --key "$TMP/agent.key" "$TLS/health" || fail "etcd does not answer"
# the first endpoint is nobody's
BY_TLS=(--set sync.mode=etcd --set "sync.etcd_endpoints=https://10.77.0.253:2379,$TLS" --set sync.etcd_lease=5s
	--set "sync.etcd_ca_file=$TMP/ca.pem")
WITH=(--set "sync.etcd_cert_file=$TMP/agent.pem" --set "sync.etcd_key_file=$TMP/agent.key")
for i in 1 2; do node_agent "$i" "${BY_TLS[@]}" "${WITH[@]}"; done
for i in 1 2; do until_ok 30 following "$i" || fail "node $i does not follow: $(api_of "$i" /v1/waymark/sync | jq -c .etcd)"; done
check "the endpoint that answers is in use" "$TLS" "$(api_of 1 /v1/waymark/sync | jq -r .etcd.endpoint)"
check "register on node 1" 200 "$(register_on 1 web-1 web 10.77.0.1 81)"
until_ok 10 passes_on web web-1 1 2 || fail "node 2 does not know web-1"

# --- another datacenter has another prefix ----------------------------------------------------------------
node_agent 3 "${BY_TLS[@]}" "${WITH[@]}" --set node.datacenter=dc2
until_ok 30 following 3 || fail "node 3 does not follow"
check "a service of dc2" 200 "$(register_on 3 far-1 far 10.77.0.3 83)"
until_ok 10 passes_on far far-1 3
sleep 1
check "dc1 does not see it, nor dc2 what is of dc1" "[] [] n3" "$(api_of 1 /v1/catalog/service/far) $(api_of 3 /v1/catalog/service/web) $(api_of 3 /v1/agent/members | jq -r '.[].Name' | paste -sd' ')"
node_stop 3

# --- without a certificate, and a prefix of another mode ---------------------------------------------------
node_agent 3 "${BY_TLS[@]}"
wrong() { [ -n "$(api_of 3 /v1/waymark/sync | jq -r .etcd.last_error)" ]; }
until_ok 20 wrong || fail "without a certificate nothing is wrong"
matches "who shows no certificate does not come in, and says so" 'mesh: etcd is away: ' "$(on 3 "$CTL" status)"
node_stop 3
curl -s --cacert "$TMP/ca.pem" --cert "$TMP/agent.pem" --key "$TMP/agent.key" -X POST "$TLS/v3/kv/put" \
	-d "{\"key\": \"$(printf /peers/mode | base64)\", \"value\": \"$(printf '{"mode":"peers"}' | base64)\"}" >/dev/null
node_agent 3 "${BY_TLS[@]}" "${WITH[@]}" --set sync.etcd_prefix=/peers/
refused() { [ "$(api_of 3 /v1/waymark/sync | jq -r .etcd.phase)" = refused ]; }
until_ok 30 refused || fail "a prefix of another mode is used"
matches "the status says whose it is" 'mesh: etcd is not ours to use: .*/peers/' "$(on 3 "$CTL" status)"
node_stop 3

# --- a user and a password ----------------------------------------------------------------------------------
etcd --name two --data-dir "$TMP/etcd2" --listen-client-urls "$PLAIN" --advertise-client-urls "$PLAIN" --listen-peer-urls http://127.0.0.1:2390 \
	--initial-advertise-peer-urls http://127.0.0.1:2390 --initial-cluster two=http://127.0.0.1:2390 --log-level error >>"$TMP/etcd2.log" 2>&1 &
until_ok 20 curl -sf "$PLAIN/health" || fail "the second etcd does not answer"
asks() { ETCDCTL_API=3 etcdctl --endpoints "$PLAIN" "$@" >/dev/null; }
asks user add root:secret && asks user grant-role root root && asks auth enable || fail "no user was made"
printf secret >"$TMP/password"
chmod 600 "$TMP/password"
BY_USER=(--set sync.mode=etcd --set "sync.etcd_endpoints=$PLAIN" --set sync.etcd_lease=5s)
node_agent 3 "${BY_USER[@]}" --set sync.etcd_user=root --set "sync.etcd_password_file=$TMP/password"
until_ok 30 following 3 || fail "node 3 does not follow as a user: $(api_of 3 /v1/waymark/sync | jq -c .etcd)"
check "registered as a user" 200 "$(register_on 3 user-1 user 10.77.0.3 84)"
pending() { [ "$(api_of 3 /v1/waymark/sync | jq .etcd.pending)" = 0 ]; }
until_ok 10 pending || fail "etcd does not take it"
check "etcd has it" 1 "$(ETCDCTL_API=3 etcdctl --endpoints "$PLAIN" --user root:secret get --prefix --keys-only /waymark/dc1/o/ | grep -c user-1)"
for i in 1 2 3; do node_stop "$i"; done
done_testing
