#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A Consul over TLS: its certificate is judged by source.consul_ca_file, and it is shown ours.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/certs.sh
. "$(dirname "$0")/certs.sh"

authority consul
authority other
certificate consul server localhost
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=node-7" -keyout "$TMP/client.key" \
	-out "$TMP/client.csr" 2>>"$TMP/certs.log"
openssl x509 -req -in "$TMP/client.csr" -CA "$TMP/consul.pem" -CAkey "$TMP/consul.key" -CAcreateserial -days 30 \
	-out "$TMP/client.pem" 2>>"$TMP/certs.log" || fail "no certificate of the client: $(cat "$TMP/certs.log")"
FAKE=https://127.0.0.1:8521
/usr/bin/python3 tests/net/consul_fake.py 8521 "$TMP/server.pem" "$TMP/server.key" "$TMP/consul.pem" &
fake() { api --cacert "$TMP/consul.pem" --cert "$TMP/client.pem" --key "$TMP/client.key" "$@"; }
until_ok 20 fake $FAKE/control/seen || fail "the fake does not listen"
fake -X PUT $FAKE/control -d '{"services": {"web": ["w1@127.1.0.1:80"]}}'
ids_are() { [ "$(api "$API/v1/health/service/web" | jq -r '.[].Service.ID')" = "$1" ]; }
source_of() { api "$API/v1/waymark/sources" | jq -r ".[] | select(.name == \"consul\") | $1"; }
source_is() { [ "$(source_of .state)" = "$1" ]; }

OURS=(--set "source.consul_cert_file=$TMP/client.pem" --set "source.consul_key_file=$TMP/client.key")
start_agent --set kernel.enabled=false --set source.consul_addresses=$FAKE --set "source.consul_ca_file=$TMP/consul.pem" "${OURS[@]}"
until_ok 30 ids_are w1 || fail "nothing is taken over: $(source_of .text)"
check "it saw our certificate" node-7 "$(fake $FAKE/control/seen >"$TMP/seen" && jq -r .client "$TMP/seen")"
stop_agent

start_agent --set kernel.enabled=false --set source.consul_addresses=$FAKE --set "source.consul_ca_file=$TMP/other.pem" "${OURS[@]}"
until_ok 30 source_is away || fail "a certificate of another authority: $(source_of .state)"
matches "why" 'certificate' "$(source_of .text)"
ids_are w1 || fail "what was known does not stand"
stop_agent

start_agent --set kernel.enabled=false --set source.consul_addresses=$FAKE --set "source.consul_ca_file=$TMP/consul.pem"
until_ok 30 source_is away || fail "no certificate of ours: $(source_of .state)"
ids_are w1 || fail "what was known does not stand"
done_testing
