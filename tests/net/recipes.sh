# SPDX-License-Identifier: Apache-2.0
# recipes.sh - the recipes of docs/dns.md in the programs that they are for. Source it after lib.sh and upstream.sh.
# shellcheck shell=bash disable=SC2154 # $address, which the test sets
recipe() { # the block of docs/dns.md
	awk -v kind="$1" '$0 == "```" kind {on = 1; next} /^```/ {on = 0} on' docs/dns.md
}
# An agent with a service, and others' names at 127.0.0.11.
recipes_begin() { # further options of waymarkd
	serve up 127.0.0.11 53 "$(printf '\tlocal-zone: "example." static\n\tlocal-data: "a.example. 60 A 100.128.0.11"')"
	start_agent "$@"
	check "register" 200 "$(register web-1 web 10.1.2.3 80)"
	VIP6=$(vip6 web)
}

# Names by way of the resolver at $address.
by() { dig +short +tries=1 +time=15 "@$address" "$@"; }
is_by() { [ "$(by "${@:2}")" = "$1" ]; }
begun() {
	until_ok 20 is_by 10.1.2.3 web.service.mesh.internal || fail "$1 finds our names: $(by web.service.mesh.internal; tail -5 "$TMP/$1.log")"
}
tried() { # name of the program; its names of others are not validated here: the root is not there
	begun "$1"
	matches "$1: SRV" "^1 1 80 .*mesh.internal.$" "$(by web.service.mesh.internal SRV)"
	check "$1: over TCP" 10.1.2.3 "$(by +tcp web.service.mesh.internal)"
	check "$1: the virtual address" "$(vip4 web)" "$(by web.virtual.mesh.internal)"
	matches "$1: a virtual address' name" "mesh.internal.$" "$(by -x "$VIP6")"
	check "$1: a name of others" 100.128.0.11 "$(by +cd a.example)"
	check "$1: a name that is not there" NXDOMAIN "$(dig +tries=1 +time=15 "@$address" none.service.mesh.internal | sed -n 's/.*status: \([A-Z]*\),.*/\1/p')"
	check "$1: deregister" 200 "$(code -X PUT $API/v1/agent/service/deregister/web-1)"
	until_ok 10 is_by "" web.service.mesh.internal || fail "$1: what is gone is not kept"
	check "$1: register" 200 "$(register web-1 web 10.1.2.3 80)"
	begun "$1" # what was not there is not kept for long either
}
