#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `waymarkctl explain connect`: what it says would happen, and what happens then.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

start_agent --set node.meta=region=eu,zone=a
at() { # id, last octet, zone, weight
	backend "$1" "127.1.0.$2" 8080
	check "register $1" 200 "$(code -X PUT "$API/v1/agent/service/register" -d "{\"ID\": \"$1\", \"Name\": \"web\",
		\"Address\": \"127.1.0.$2\", \"Port\": 8080, \"Weights\": {\"Passing\": $4, \"Warning\": 1},
		\"Locality\": {\"Region\": \"eu\", \"Zone\": \"$3\"},
		\"Check\": {\"CheckID\": \"ttl-$1\", \"TTL\": \"10m\", \"Status\": \"passing\"}}")"
}
at w1 1 a 3
at w2 2 a 1
at w3 3 b 1
V4=$(vip4 web)
explain() { "$CTL" --agent "unix:$TMP/http.sock" explain connect "$@"; }
ask_of() { explain -j "$1" | jq -r "$2"; }
odds() { ask_of web '[.tiers[].candidates[] | select(.odds > 0) | "\(.id)=\(.odds * 100 | round)"] | sort | join(" ")'; }
policy() { check "policy $1" 200 "$(operator_code -X PUT "$API/v1/waymark/policies/web" -d "$1")"; }
who() { # of $1 dials
	for _ in $(seq "$1"); do inside curl -s "http://$V4/"; done | grep -o '^[a-z][0-9]' | sort | uniq -c | awk '{print $2"="$1}' | xargs
}

check "its address" "$V4" "$(ask_of web .address)"
check "the full name" "$V4" "$(ask_of web.virtual.mesh.internal .address)"
check "the address, and its service" web "$(ask_of "$V4:443" .service)"
check "it would be steered" steered "$(ask_of web .verdict)"
check "the odds are the weights" "w1=60 w2=20 w3=20" "$(odds)"
check "the steps" "name program destination policy outcome" "$(ask_of web '[.steps[].step] | join(" ")')"
matches "for people" "(59|60)\.[0-9]+ % +w1 +n1 +127\.1\.0\.1:8080 +3 +up" "$(explain web)"
matches "the name that DNS chooses for" "DNS chooses among them" "$(explain web.service.mesh.internal)"
check "a name without the domain" "$V4" "$(ask_of web.virtual .address)"
matches "what is wanted of a name" "unknown name: none; a service, SUBSET.SERVICE, a name below mesh.internal" "$(explain none 2>&1)"
check "and its verdict" "chosen by DNS" "$(ask_of web.service.mesh.internal .verdict)"

# --- who dials
sleep 600 &
outside=$!
(
	echo $BASHPID >"$CG/cgroup.procs"
	exec sleep 600
) &
within=$!
until_ok 10 grep -q "$(basename "$CG")" "/proc/$within/cgroup"
check "of a process below the cgroup" "steered $CG" "$(explain -j web --pid "$within" | jq -r '"\(.verdict) \(.client.cgroup_path)"')"
check "its user" 0 "$(explain -j web --pid "$within" | jq .client.uid)"
check "of one that is not" "not steered" "$(explain -j web --pid "$outside" | jq -r .verdict)"
matches "and why" "attached to $CG, and .* is not below it" "$(explain web --pid "$outside")"
check "a cgroup by its path" steered "$(explain -j web --cgroup "$CG" | jq -r .verdict)"
check "a cgroup elsewhere, by its path" "not steered" "$(explain -j web --cgroup "$CGROOT" | jq -r .verdict)"
matches "and why" "attached to $CG, and $CGROOT is not below it" "$(explain web --cgroup "$CGROOT")"
explain web --pid 999999999 2>/dev/null
check "a process that is not there" 1 $?
for port in x 123456 '80&protocol=udp' '80 x'; do
	check "port $port" "waymarkctl: port: a number from 0 to 65535, not '$port'" "$(explain "web:$port" 2>&1)"
done
check "a name that is too long" "waymarkctl: a name of 1 to 256 octets is wanted" "$(explain "$(printf '%0257d' 0)" 2>&1)"

# --- policy, tiers, and who may not be chosen
policy '{"select": "nearest"}'
check "the zone takes all" "w1=75 w2=25" "$(odds)"
check "tiers" "zone=1 region=0" "$(ask_of web '[.tiers[:2][] | "\(.what)=\(.odds)"] | join(" ")')"
check "check of w1 fails" 200 "$(code -X PUT "$API/v1/agent/check/fail/ttl-w1")"
check "down, and why not" "down down" "$(ask_of web '.tiers[].candidates[] | select(.id == "w1") | "\(.state) \(.why_not)"')"
check "direct" 200 "$(operator_code -X PUT "$API/v1/waymark/policies/web" -d '{"balance": "direct"}')"
first=$(odds)
check "one has it all" 1 "$(grep -o =100 <<<"$first" | wc -l)"
check "and gets it" "${first%=100}=10" "$(who 10)"
code -X PUT "$API/v1/agent/check/pass/ttl-w1" >/dev/null
policy '{"balance": "maglev", "hash_on": "uid"}'
for u in 1001 1002 1003; do
	whose=$(explain -j web --uid $u | jq -r '[.tiers[].candidates[] | select(.odds > 0) | "\(.id)=\(.odds * 10)"] | join(" ")')
	check "of a user, whose it is" "$whose" "$(for _ in $(seq 10); do
		inside setpriv --reuid=$u --clear-groups -- curl -s --max-time 20 "http://$V4/"
	done | grep -o '^w[0-9]' | sort | uniq -c | awk '{print $2"="$1}' | xargs)"
done
policy '{"affinity": {"key": "uid", "timeout": "1m"}}'
client_of() { explain -j web "$@" | jq -r '.steps[] | select(.step == "client") | .text'; }
matches "affinity of whom nothing is known" "told apart by uid, .* until 60 s after .*: who dials is not known" "$(client_of)"
matches "of a client that has none" ": this one has none" "$(client_of --uid 1004)"
has=$(inside setpriv --reuid=1004 --clear-groups -- curl -s --max-time 20 "http://$V4/" | grep -o '^w[0-9]')
matches "of one that has" ": this one has $has for [1-5][0-9] s more" "$(client_of --uid 1004)"
# where all are asked, as too few are up, it is not kept to one that is down: it may be so for good
policy '{"affinity": {"key": "uid", "timeout": "1m"}, "panic_threshold": 90}'
for i in w1 w2 w3; do code -X PUT "$API/v1/agent/check/fail/ttl-$i" >/dev/null; done
matches "in a panic, of one whose instance is down" ": this one had w[123], which is down: it gets another" "$(client_of --uid 1004)"
user_1004() { inside setpriv --reuid=1004 --clear-groups -- curl -s --max-time 20 "http://$V4/" | grep -o '^w[0-9]'; }
check "and it does" "w1 w2 w3" "$(for _ in $(seq 60); do user_1004; done | sort -u | xargs)"
code -X PUT "$API/v1/agent/check/pass/ttl-w2" >/dev/null
of_w2() { [ "$(user_1004)" = w2 ]; }
until_ok 20 of_w2 || fail "the one that is up is never chosen"
matches "in a panic, of one whose instance is up" ": this one has w2 for [1-5][0-9] s more" "$(client_of --uid 1004)"
check "and stays there" w2 "$(for _ in $(seq 20); do user_1004; done | sort -u | xargs)"
policy '{"affinity": {"key": "uid", "timeout": "1m"}, "subsets": {"rest": "Service.ID != \"w2\""}, "default_subset": "rest"}'
for i in w1 w3; do code -X PUT "$API/v1/agent/check/pass/ttl-$i" >/dev/null; done
matches "of one whose instance is left out" ": this one had (w2|one), which is not selected: it gets another" "$(client_of --uid 1004)"
matches "a user that cannot be" "^waymarkctl: --uid: a number from 0 to 4294967295 is wanted$" "$(explain web --uid 4294967296 2>&1)"
code -X PUT "$API/v1/agent/check/fail/ttl-w1" >/dev/null
check "direct again" 200 "$(operator_code -X PUT "$API/v1/waymark/policies/web" -d '{"balance": "direct"}')"
for i in w2 w3; do code -X PUT "$API/v1/agent/check/fail/ttl-$i" >/dev/null; done
check "nobody is usable" "refused 1" "$(ask_of web '"\(.verdict) \(.refused)"')"
inside curl -s --max-time 2 "http://$V4/"
check "and it is refused" 7 $?
policy '{"when_none": "any"}'
check "anybody rather than nobody" "steered 0" "$(ask_of web '"\(.verdict) \(.refused)"')"
policy '{"when_none": "pass"}'
check "it passes" passed "$(ask_of web .verdict)"

# --- a part of the service, by its name and by a port
for i in w1 w2 w3; do code -X PUT "$API/v1/agent/check/pass/ttl-$i" >/dev/null; done
policy '{"subsets": {"two": "Service.ID == \"w2\""}, "ports": {"8443": "tls"}}'
check "a subset" "web two w2" "$(ask_of two.web.virtual.mesh.internal '"\(.service) \(.subset) \(.tiers[0].candidates | map(.id) | join(" "))"')"
matches "a port of its own" "is service web, by this port" "$(explain web:8443)"

# --- more tables of consistent hashing than there is room for: those who come are dialled all the same
for i in 1 2 3 4; do
	check "register m$i" 200 "$(register "m$i" "mag$i" 127.1.0.1 8080)"
	check "policy" 200 "$(operator_code -X PUT "$API/v1/waymark/policies/mag$i" -d '{"balance": "maglev"}')"
done
matches "no room for the fourth" "there is no room for a table of maglev \(kernel.backends_max\)" "$(explain mag4)"
check "another instance" "200 200" "$(register m5 mag4 127.1.0.2 8080) $(code -X PUT "$API/v1/agent/service/deregister/m4")"
check "is dialled" w2 "$(inside curl -s --max-time 20 "http://$(vip4 mag4)/" | grep -o '^w[0-9]')"
check "room" 200 "$(operator_code -X DELETE "$API/v1/waymark/policies/mag1")"
hashed() { [ "$(ask_of mag4 .balance)" = maglev ]; }
until_ok 20 hashed || fail "there is room, and it is chosen by weight"

# --- what is no service's
check "a virtual address of nobody" refused "$(ask_of 240.9.9.9 .verdict)"
check "any other address" "not a service's" "$(ask_of 192.0.2.1:443 .verdict)"
explain nobody 2>/dev/null
check "a name of nobody" 1 $?
check "over TCP it is an operator's" 403 "$(code "$API/v1/waymark/explain/connect?name=web")"
check "a port that is none" 400 "$(operator_code "$API/v1/waymark/explain/connect?name=web&port=65536")"
check "a family that is none" 400 "$(operator_code "$API/v1/waymark/explain/connect?name=web&family=5")"

# --- detached
"$CTL" --pin-dir "$PINS" --force detach >/dev/null
stop_agent
start_agent --set kernel.enabled=false
check "without programs virtual names stand for instances" "chosen by DNS" "$(ask_of web .verdict)"
kill "$outside" "$within"
done_testing
