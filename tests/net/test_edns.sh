#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The questions by which servers are judged (edns_probes.py), about our names and about others', to the
# kernel and to userspace; cookies as dig takes them, over restarts and changes of their keys.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=tests/net/upstream.sh
. tests/net/upstream.sh

serve one 127.0.0.11 53 "	local-zone: \"example.\" static
	local-data: 'example. 300 SOA ns.example. host.example. 1 3600 600 86400 60'
	local-data: 'www.example. 300 A 192.0.2.1'"
NAME=web.service.mesh.internal
UPSTREAM=(--set dns.upstream=list --set "dns.forward=.=127.0.0.11" --set "dns.addresses=127.0.0.1,::1")
start() { start_agent "${UPSTREAM[@]}" "$@"; }
probe() { # text, own|other, address, name, large
	local wrong
	wrong=$(tests/net/edns_probes.py "$2" "$3" 8600 "$4" "$5" 2>&1)
	check "$1" "" "$wrong"
}
fill() {
	register a web 127.1.0.1 8081 >/dev/null
	for i in $(seq 1 90); do register "many-$i" many "127.2.0.$i" 80 >/dev/null; done
	until_ok 20 many_are_there || fail "90 instances are in DNS"
}
many_are_there() { [ "$(ask +tcp many.service.mesh.internal | wc -l)" = 90 ]; }

# --- by the kernel
start
fill
before=$(counter dns_answered)
probe "a service, the kernel" own 127.0.0.1 $NAME many.service.mesh.internal
[ $(($(counter dns_answered) - before)) -ge 18 ] || fail "the kernel answered $(($(counter dns_answered) - before)) of them"
probe "a service, the kernel, IPv6" own ::1 $NAME many.service.mesh.internal
probe "the domain" own 127.0.0.1 mesh.internal -
probe "a node" own 127.0.0.1 n1.node.mesh.internal -
for _ in 1 2 3; do ask www.example >/dev/null; done
probe "somebody else's" other 127.0.0.1 www.example -

# --- cookies, as dig takes them
cookie() { # options of dig: what it says of the cookie, and the cookie
	dig +tries=1 +time=15 @127.0.0.1 -p 8600 "$@" | sed -n 's/^; COOKIE: \([0-9a-f]*\) (\(.*\))$/\2 \1/p'
}
read -r said one <<<"$(cookie +cookie=0102030405060708 $NAME)"
check "a cookie" "good 48" "$said ${#one}"
valid=$(counter dns_cookie_valid)
check "it is taken, and stays" "good $one" "$(cookie +cookie="$one" $NAME)"
check "the kernel saw that" $((valid + 1)) "$(counter dns_cookie_valid)"
check "over TCP, by userspace" "good $one" "$(cookie +cookie="$one" +tcp $NAME)"
check "for somebody else's name" "good $one" "$(cookie +cookie="$one" www.example)"
[ "$(cookie +cookie="$one" -b 127.0.0.9 $NAME)" != "good $one" ] || fail "another client's is another"
check "the file of keys" 600 "$(stat -c %a "$TMP/data/dns-cookies")"
key=$(awk '{print $2}' "$TMP/data/dns-cookies")
check "it has a key" 32 "${#key}"
grep -q "$key" "$TMP/agent.log" && fail "the key is in the log"
api "$API/v1/agent/self" | grep "$key" >/dev/null && fail "the key is in the API"

# --- over a restart, while there is no agent, and by another key
stop_agent KILL
check "without an agent" "good $one" "$(cookie +cookie="$one" $NAME)"
start --set kernel.dns=false
fill
check "after a restart, by userspace alone" "good $one" "$(cookie +cookie="$one" $NAME)"
before=$(counter dns_answered)
probe "a service, userspace" own 127.0.0.1 $NAME many.service.mesh.internal
probe "somebody else's, userspace" other 127.0.0.1 www.example -
check "the kernel answered none" "$before" "$(counter dns_answered)"
stop_agent
start --set dns.cookie_rotate=1s
changed() { [ "$(awk '{print $2}' "$TMP/data/dns-cookies")" != "$key" ] && [ "$(awk '{print NF}' "$TMP/data/dns-cookies")" = 3 ]; }
until_ok 60 changed || fail "keys change"
another() { ! grep -q "$one" <<<"$(cookie +cookie="$one" $NAME)"; }
until_ok 60 another || fail "the kernel is told: what two keys ago made is none"
stop_agent

# --- keys of several nodes, no cookies at all, and NSID
echo e5e973e5a6b2a43f48e7dc849e37bfcf >"$TMP/shared"
printf '{"dns": {"cookie_key_file": "%s", "nsid": "node-1"}}' "$TMP/shared" >"$TMP/settings.json"
start --config "$TMP/settings.json"
read -r said one <<<"$(cookie +cookie=0102030405060708 $NAME)"
check "a cookie by a shared key" "good 48" "$said ${#one}"
check "the other node takes it: the hash is of RFC 9018" "$one" "$(/usr/bin/python3 - "$one" <<-'END'
	import subprocess, sys
	c = bytes.fromhex(sys.argv[1])
	mac = subprocess.run(["openssl", "mac", "-macopt", "hexkey:e5e973e5a6b2a43f48e7dc849e37bfcf", "-macopt", "size:8", "SIPHASH"],
	    input=c[:16] + bytes([127, 0, 0, 1]), capture_output=True).stdout.decode().strip().lower()
	print(c[:16].hex() + mac)
END
)"
check "NSID" node-1 "$(dig +tries=1 +time=15 +nsid @127.0.0.1 -p 8600 $NAME | sed -n 's/.*NSID:.*("\(.*\)").*/\1/p')"
echo nonsense >"$TMP/shared"
operator -X PUT "$API/v1/agent/reload" >/dev/null
check "what is no key is said, and the one before stays" "good $one" "$(cookie +cookie="$one" $NAME)"
matches "--check-config names it" "dns.cookie_key_file: $TMP/shared: wants one or two keys" \
	"$("$B/waymarkd" --check-config --config "$TMP/settings.json" --set "node.data_dir=$TMP/none" --set kernel.enabled=false 2>&1)"
matches "it is in the log" 'event=dns.cookies .*32 hexadecimal digits' "$(grep dns.cookies "$TMP/agent.log")"
echo '{"dns": {"cookies": false}}' >"$TMP/settings.json"
operator -X PUT "$API/v1/agent/reload" >/dev/null
check "off" "" "$(cookie +cookie="$one" $NAME; cookie +cookie="$one" +tcp $NAME)"
done_testing
