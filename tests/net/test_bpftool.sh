#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The samples of docs/bpftool.md have the shape of what bpftool prints; UPDATE=1 writes them anew.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

# small tables: bpftool prints every entry of an array
start_agent --set registry.consul_service=false --set kernel.services_max=1024 --set kernel.backends_max=4096
backend one 127.0.0.2 8080
backend two 127.0.0.3 8080
register one web 127.0.0.2 8080 >/dev/null
register two web 127.0.0.3 8080 '"Check": {"TTL": "1h", "Status": "passing", "CheckID": "beat"}' >/dev/null
vip=$(vip4 web)
for _ in $(seq 40); do inside curl -s "http://$vip/" >/dev/null; done
dig +short +tries=1 @127.0.0.1 -p 8600 web.service.mesh.internal >/dev/null
api -X PUT "$API/v1/agent/check/fail/beat"
options=(docs/bpftool.md "$PINS" "$CG")
[ -n "${UPDATE:-}" ] || options+=(--check)
/usr/bin/python3 tools/bpftool-samples.py "${options[@]}" || fail "docs/bpftool.md: make docs-bpftool"
done_testing
