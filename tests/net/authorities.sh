# SPDX-License-Identifier: Apache-2.0
# authorities.sh - name servers with zones of ours, to compare answers with: source it after lib.sh.
# shellcheck shell=bash
for p in nsd knotd named unbound; do
	command -v $p >/dev/null || {
		echo "skipped: $p is not installed (make deps-test)"
		exit 77
	}
done
# Zones in $TMP/zones, a file each of its name, served on 127.0.0.1 by NSD 5301, Knot 5302, BIND 5303 and
# Unbound 5304; answers minimal where that is a choice, as ours are.
authorities() {
	local d=$TMP/zones zone
	mkdir -p "$TMP/knot" "$TMP/bind"
	{
		printf 'server:\n\tip-address: 127.0.0.1@5301\n\tserver-count: 1\n\tusername: ""\n\tchroot: ""\n\tpidfile: ""\n\tzonesdir: "%s"\n\tdatabase: ""\n' "$d"
		printf '\txfrdfile: "%s/xfrd"\n\tzonelistfile: "%s/nsd.list"\n\trrl-ratelimit: 0\n\tminimal-responses: yes\nremote-control:\n\tcontrol-enable: no\n' "$TMP" "$TMP"
		for zone in "$d"/*; do printf 'zone:\n\tname: "%s"\n\tzonefile: "%s"\n' "${zone##*/}" "$zone"; done
	} >"$TMP/nsd.conf"
	{
		printf 'server:\n  listen: 127.0.0.1@5302\n  rundir: "%s"\n  udp-workers: 1\ndatabase:\n  storage: "%s"\nzone:\n' "$TMP/knot" "$TMP/knot"
		for zone in "$d"/*; do printf '  - domain: "%s"\n    file: "%s"\n' "${zone##*/}" "$zone"; done
	} >"$TMP/knot.conf"
	{
		printf 'options { directory "%s"; pid-file none; session-keyfile none; listen-on port 5303 { 127.0.0.1; }; listen-on-v6 { none; };\n' "$TMP/bind"
		printf ' recursion no; dnssec-validation no; minimal-responses yes; notify no; empty-zones-enable no; check-names primary ignore; max-udp-size 1232; edns-udp-size 1232; };\ncontrols { };\n'
		for zone in "$d"/*; do printf 'zone "%s" { type primary; file "%s"; };\n' "${zone##*/}" "$zone"; done
	} >"$TMP/named.conf"
	{
		printf 'server:\n\tinterface: 127.0.0.1@5304\n\tnum-threads: 1\n\tusername: ""\n\tchroot: ""\n\tpidfile: ""\n\tuse-syslog: no\n\tdirectory: "%s"\n\tmodule-config: "iterator"\n' "$TMP"
		printf '\tedns-buffer-size: 1232\n\tmax-udp-size: 1232\n\tminimal-responses: yes\n\trrset-roundrobin: no\n\taccess-control: 127.0.0.0/8 refuse_non_local\n\tlocal-zone: "127.in-addr.arpa" nodefault\n'
		for zone in "$d"/*; do printf '\tlocal-zone: "%s" nodefault\n' "${zone##*/}"; done
		printf '\tlocal-zone: "d.f.ip6.arpa" nodefault\n'
		printf 'remote-control:\n\tcontrol-enable: no\n'
		for zone in "$d"/*; do printf 'auth-zone:\n\tname: "%s"\n\tzonefile: "%s"\n\tfor-downstream: yes\n\tfor-upstream: no\n\tfallback-enabled: no\n' "${zone##*/}" "$zone"; done
	} >"$TMP/unbound.conf"
	(exec nsd -d -c "$TMP/nsd.conf" >"$TMP/nsd.log" 2>&1) &
	(exec knotd -c "$TMP/knot.conf" >"$TMP/knot.log" 2>&1) &
	(exec named -g -u root -c "$TMP/named.conf" >"$TMP/bind.log" 2>&1) &
	(exec unbound -d -c "$TMP/unbound.conf" >"$TMP/unbound.log" 2>&1) &
	for port in 5301 5302 5303 5304; do
		until_ok 60 authority_answers $port || fail "the server on $port: $(tail -n 3 "$TMP"/{nsd,knot,bind,unbound}.log)"
	done
}
authority_answers() { dig +tries=1 +time=1 @127.0.0.1 -p "$1" mesh.internal SOA | grep -q 'status: NOERROR'; }
