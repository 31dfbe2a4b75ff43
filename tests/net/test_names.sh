#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Names of services that are no host names: registered with a warning, in every list, answered by DNS
# to who asks for exactly that label, in the kernel and by the server, and with a virtual address.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

start_agent
register() { code -X PUT "$API/v1/agent/service/register" -d "$1"; }
check "an underscore" 200 "$(register '{"Name": "My_Service", "Address": "127.4.0.1", "Port": 81}')"
check "a dot and a space" 200 "$(register '{"ID": "odd", "Name": "a.b c", "Address": "127.4.0.2", "Port": 82}')"
matches "a warning" 'level=warn event=service.name svc=My_Service' "$(cat "$TMP/agent.log")"
check "the catalog has them" '{"My_Service":[],"a.b c":[]}' "$(api "$API/v1/catalog/services")"
check "by name" odd "$(api "$API/v1/health/service/a.b%20c" | jq -r '.[0].Service.ID')"
check "DNS, folded" 127.4.0.1 "$(ask my_service.service.mesh.internal)"
check "DNS over TCP" 127.4.0.1 "$(ask +tcp MY_SERVICE.service.mesh.internal)"
check "exactly that label" 127.4.0.2 "$(ask 'a\.b\032c.service.mesh.internal')"
check "two labels are a tag and another service" NXDOMAIN "$(status_of 'a.b\032c.service.mesh.internal')"
matches "a virtual name" '^2[45]' "$(ask my_service.virtual.mesh.internal)"
stop_agent
start_agent
check "a restart knows them" '{"My_Service":[],"a.b c":[]}' "$(api "$API/v1/catalog/services")"
done_testing
