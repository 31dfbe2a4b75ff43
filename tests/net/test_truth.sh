#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# `waymarkctl truth`: registry, tables and kernel agree; and where they do not, each kind of difference, made
# for real, is named. The agent looks by itself, too, and logs each difference once.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

truth() { "$CTL" --agent "$API" --json truth; }
# text, kind, pattern of the text: this difference and no other
differs() {
	local report
	report=$(truth)
	check "$1: exit status" 1 $?
	check "$1: the only difference" "$2" "$(jq -r '[.differences[].kind] | unique | join(" ")' <<<"$report")"
	matches "$1: in words" "$3" "$(jq -r '.differences[].text' <<<"$report")"
	check "$1: counted" "$(jq '.differences | length' <<<"$report")" "$(jq ".counts.$2" <<<"$report")"
}
agrees() { # text
	local report
	report=$(truth)
	check "$1: they agree" "0 true" "$? $(jq .agree <<<"$report")"
	jq -r '.differences[].text, .unseen[]' <<<"$report"
}
metric() { api "$API/v1/agent/metrics?format=prometheus" | awk -v m="waymark_$1" '$1 == m {print $2}'; }

"$CTL" --agent "$API" truth 2>/dev/null
check "without an agent nothing is known" 2 $?
start_agent --set kernel.truth_interval=0
backend one 127.0.0.2 8080
backend two 127.0.0.3 8080
register one web 127.0.0.2 8080 >/dev/null
register two api 127.0.0.3 8080 >/dev/null
# none of these has anybody who listens here, and it is no difference
register far web 192.0.2.7 8080 >/dev/null
register portless web 127.0.0.2 0 >/dev/null
api -X PUT "$API/v1/waymark/instances/later" -d '{"service": "web", "address": "127.0.0.8", "port": 9999, "state": "starting"}' >/dev/null
agrees "at first"
check "in words" "registry, tables and kernel agree" "$("$CTL" --agent "$API" truth)"

# --- a server that was killed
kill -9 "${BACKENDS[1]}"
wait "${BACKENDS[1]}" 2>/dev/null
differs "a killed server" not_listening 'instance two of api is registered at 127.0.0.3:8080, and nobody listens there'
backend two 127.0.0.3 8080
agrees "it is back"

# --- a server that nobody registered
backend three 127.0.0.4 8080
differs "a server of nobody" unregistered "a socket of .* listens on 127.0.0.4:8080, the port of (web|api), and is no registered instance"
truth | jq -c '.differences[0].proposal' >"$TMP/proposal"
matches "what to register" '"Address":"127.0.0.4","Port":8080' "$(cat "$TMP/proposal")"
matches "in words" "-> echo '\{\"Name\":.*' \| waymarkctl register -" "$("$CTL" --agent "$API" truth)"
"$CTL" --agent "$API" register "$TMP/proposal" >/dev/null
agrees "as it was proposed"

# --- a connection to an instance that was deregistered
backend four 127.0.0.5 7070
register four db 127.0.0.5 7070 >/dev/null
vip=$(vip4 db)
(
	echo $BASHPID >"$CG/cgroup.procs"
	# shellcheck disable=SC2016 # the inner shell's
	exec bash -c 'exec 9<>"/dev/tcp/$0/70"; exec sleep 600' "$vip"
) &
HOLD=$!
until_ok 20 sh -c "'$CTL' --json --pin-dir '$PINS' connections db | jq -e 'length == 1'"
agrees "with a connection"
"$CTL" --agent "$API" deregister four >/dev/null
kill -9 "${BACKENDS[4]}" # or it would be a listener of nobody
differs "a connection to what is gone" deregistered "to $vip:70 goes on to 127.0.0.5:7070, where nobody is registered any more"
kill "$HOLD"
wait "$HOLD" 2>/dev/null
agrees "it is closed"

# --- maps that somebody changed
octets() { jq -r '. | map(ltrimstr("0x")) | join(" ")'; }
frontend=$(bpftool -j map dump pinned "$PINS/maps/frontends" | jq -c '.[0]')
# shellcheck disable=SC2046 # octets are words
bpftool map delete pinned "$PINS/maps/frontends" key hex $(jq -c .key <<<"$frontend" | octets)
differs "an entry that was deleted" tables 'frontends: .* is not there'
# shellcheck disable=SC2046
bpftool map update pinned "$PINS/maps/frontends" key hex $(jq -c .key <<<"$frontend" | octets) value hex $(jq -c .value <<<"$frontend" | octets)
agrees "it is back"
key=$("$CTL" --agent "$API" --pin-dir "$PINS" --json maps dump backends | jq '.[] | select(.instance == "one").backend')
key="$((key & 255)) $((key >> 8 & 255)) 0 0"
# shellcheck disable=SC2086
backend=$(bpftool -j map lookup pinned "$PINS/maps/backends" key $key | jq -c .value | octets)
# shellcheck disable=SC2086,SC2001,SC2046
bpftool map update pinned "$PINS/maps/backends" key $key value hex $(sed 's/ 1f 90 / 1f 91 /' <<<"$backend")
differs "a port that was changed" tables 'backends: web: 127.0.0.2:8080 is in no entry'
# shellcheck disable=SC2086
bpftool map update pinned "$PINS/maps/backends" key $key value hex $backend
agrees "it is as it was"

# --- a pin of a map, and a program that others call, that somebody took away: the agent looks for these by itself,
# too, and may be first
taken() { # text, kind, pattern, what takes it away: it is told, and the status is 1
	seen() {
		"${@:4}"
		truth >"$TMP/report"
		[ $? = 1 ] && jq -r '.differences[] | "\(.kind): \(.text)"' "$TMP/report" | grep -qE "^$2: $3$"
	}
	until_ok 60 seen "$@" || fail "$1: $(cat "$TMP/report")"
	check "$1: the only difference" 1 "$(jq '.differences | length' "$TMP/report")"
	until_ok 60 whole || fail "$1: it is not put back: $(truth)"
}
whole() { truth >/dev/null; }
for map in frontends backends layout_version; do
	taken "a pin of $map that is gone" tables "$map: the pin $PINS/maps/$map is gone, or is another map's: .*" rm -f "$PINS/maps/$map"
done
empty_slot() { bpftool map delete pinned "$PINS"/tails/* key "$1" 0 0 0; }
taken "a program that others call" programs "dns_srv is not in slot 0 of dns_tails, where the programs of DNS call it: .*" empty_slot 0
taken "the last of them" programs "dns_tell is not in slot 9 of dns_tails, where the programs of DNS call it: .*" empty_slot 9

# --- what a policy makes: the shares of tiers, tables of subsets and of ports, names and addresses of these
operator -X PUT "$API/v1/waymark/policies/web" -d '{"split": [{"percent": 25, "subset": "first"}, {"percent": 75, "subset": "all"}],
	"subsets": {"first": "Service.ID == one", "all": ""}, "ports": {"9090": "metrics"}}' >/dev/null
agrees "with a policy"
entries() { "$CTL" --agent "$API" --pin-dir "$PINS" --json maps dump "$1"; }
set_of() { entries names | jq ".[] | select(.name == \"$1.virtual.mesh.internal\").set"; } # name
port_set() { entries frontends | jq "[.[] | select(.address == \"$(vip4 "$1")\" and .port == $2).set][0]"; } # service, port
numbered() { echo "$(($1 & 255)) $(($1 >> 8 & 255)) 0 0"; }
breaks() { # text, map, entry, octet of it, pattern: another octet there is seen, and the right one back
	local key value other
	key=$(numbered "$3")
	# shellcheck disable=SC2086
	value=$(bpftool -j map lookup pinned "$PINS/maps/$2" key $key | jq -c .value | octets)
	other=$(awk -v at="$4" '{ $(at + 1) = ($(at + 1) == "00") ? "01" : "00"; print }' <<<"$value")
	# shellcheck disable=SC2086
	bpftool map update pinned "$PINS/maps/$2" key $key value hex $other
	differs "$1" tables "$5"
	# shellcheck disable=SC2086
	bpftool map update pinned "$PINS/maps/$2" key $key value hex $value
	agrees "$1, put back"
}
breaks "a share of tiers" set_live "$(set_of web)" 0 'set_live: web: tier 0 is drawn up to [0-9]+ of 65535, and should be to 1638[34]'
breaks "what a subset's set has published" sets "$(set_of first.web)" 4 'sets: first.web: entry'
breaks "how many of a subset are up" set_live "$(set_of all.web)" 16 'set_live: all.web: counts'
breaks "a port's set" sets "$(port_set web 9090)" 4 'sets: web:9090: entry'
breaks "a configuration by which nothing is steered" config 0 36 'config: connect\(\) is not seen to, and should be'
operator -X DELETE "$API/v1/waymark/policies/web" >/dev/null
agrees "without it"

# --- programs of others
cat >"$TMP/stranger.c" <<'END'
__attribute__((section("cgroup/connect4"), used)) int stranger(void *ctx) { return 1; }
char text[] __attribute__((section("license"), used)) = "GPL";
END
clang -O2 -target bpf -c -o "$TMP/stranger.o" "$TMP/stranger.c"
bpftool prog load "$TMP/stranger.o" "$PINS/stranger" type cgroup/connect4
bpftool cgroup attach "$CG" connect4 pinned "$PINS/stranger" multi
id=$(bpftool -j prog show pinned "$PINS/stranger" | jq .id)
differs "a program of others" programs "program 'stranger' of other software is on connect4 of $CG .id $id, tag [0-9a-f]{16}., behind ours"
bpftool cgroup detach "$CG" connect4 pinned "$PINS/stranger" multi
agrees "it is gone"

# --- programs of ours that are not there: detached (the agent looks for that by itself, and may be first), or never attached
detached() {
	bpftool link detach pinned "$PINS/links/connect4" && truth >"$TMP/report"
	jq -r '.differences[].text' "$TMP/report" | grep -q "^connect4 was detached from $CG, or has another program there$"
}
until_ok 60 detached || fail "a program that was detached: $(cat "$TMP/report")"
check "no other difference" programs "$(jq -r '[.differences[].kind] | unique | join(" ")' "$TMP/report")"
attached() { truth >/dev/null; }
until_ok 60 attached || fail "it is not attached again"
stop_agent
"$CTL" --pin-dir "$PINS" detach >/dev/null
bpftool prog load "$TMP/stranger.o" "$PINS-stranger" type cgroup/connect4
bpftool cgroup attach "$CG" connect4 pinned "$PINS-stranger" # it allows no other
start_agent --set kernel.truth_interval=0
report=$(truth)
check "a program that could not be attached: exit status" 1 $?
matches "in words" "^connect4 is not attached to $CG: Operation not permitted: an ancestor cgroup holds a program that allows no other" \
	"$(jq -r '.differences[].text' <<<"$report")"
bpftool cgroup detach "$CG" connect4 pinned "$PINS-stranger"
rm -f "$PINS-stranger"
stop_agent
start_agent --set kernel.truth_interval=0
agrees "it is"

# --- programs of another run of Waymark, on a cgroup above
mkdir "$CG/below"
"$B/waymarkd" --set node.name=n2 --set "node.data_dir=$TMP/below" --set "kernel.pin_dir=$PINS-2" --set "kernel.cgroup=$CG/below" \
	--set "http.socket=$TMP/below.sock" --set http.port=8501 --set dns.port=8601 --set kernel.dns=false \
	--set registry.consul_service=false --set kernel.truth_interval=0 2>"$TMP/below.log" &
BELOW=$!
below() { { "$CTL" --agent http://127.0.0.1:8501 --json truth || true; } | jq -r '.differences[] | "\(.kind): \(.text)"'; }
below_answers() { below | grep -q ^programs; }
until_ok 60 below_answers || fail "the agent of the cgroup below answers"
matches "programs of another run" "^programs: link [0-9]+ of another run of Waymark has connect4 on $CG \(program [0-9]+, tag [0-9a-f]{16}\)$" "$(below)"
agrees "which is not its business"
kill "$BELOW"
wait "$BELOW"
"$CTL" --pin-dir "$PINS-2" detach >/dev/null
stop_agent

# --- by itself
: >"$TMP/agent.log"
start_agent --set kernel.truth_interval=50ms --set kernel.truth_permille=100
until_ok 20 sh -c "[ \"\$(curl -s '$API/v1/agent/metrics?format=prometheus' | awk '\$1 == \"waymark_truth_looks_total\" {print \$2}')\" -ge 1 ]"
check "nothing is wrong" "0 0 0 0 0" "$(for k in not_listening unregistered deregistered tables programs; do metric "truth_$k"; done | paste -sd' ')"
kill -9 "${BACKENDS[0]}"
until_ok 20 grep -q 'truth.differs.*instance one of web' "$TMP/agent.log" || fail "a difference is not logged"
check "it is a metric" 1 "$(metric truth_not_listening)"
looks=$(metric truth_looks_total)
looked() { [ "$(metric truth_looks_total)" -ge $((looks + 3)) ]; }
until_ok 20 looked || fail "it does not look again"
check "logged once, however often it was looked for" 1 "$(grep -c 'event=truth.differs\|truth.differs ' "$TMP/agent.log")"
backend one 127.0.0.2 8080
until_ok 20 grep -q 'truth.agrees.*instance one of web' "$TMP/agent.log" || fail "that it ended is not logged"
check "the metric, too" 0 "$(metric truth_not_listening)"
stop_agent

# --- by itself, of little of a processor: who asks does not wait for it
start_agent --set kernel.truth_interval=1ms --set kernel.truth_permille=20
until_ok 60 sh -c "[ \"\$(curl -s '$API/v1/agent/metrics?format=prometheus' | awk '\$1 == \"waymark_truth_looks_total\" {print \$2}')\" -ge 1 ]"
paced() { # one scrape
	api "$API/v1/agent/metrics?format=prometheus" | awk '$1 == "waymark_truth_took_us" {took = $2} $1 == "waymark_truth_lasted_ms" {lasted = $2}
		END {exit !(took > 0 && lasted * 1000 * 20 >= took * (1000 - 20))}'
}
paced || fail "a look is not stretched: $(metric truth_took_us) us of processor in $(metric truth_lasted_ms) ms"
given_up() { truth >/dev/null && [ "$(metric truth_given_up_total)" -ge 1 ]; }
until_ok 20 given_up || fail "no look was given up for one that was asked for"
agrees "asked for meanwhile"

# --- time that others had the processor, or that the agent was stopped, is none of a look's: the pause behind
# the step in which that happens is as long as it is without
spent() { awk '{print int($1 / 1000)}' "/proc/$AGENT/schedstat"; } # us of processor, of the loop's thread
(while kill -STOP "$AGENT" && sleep 0.05 && kill -CONT "$AGENT"; do sleep 0.005; done) &
HALTS=$!
before=$(spent) took=0
for _ in 1 2 3 4 5 6; do took=$((took + $(truth | jq .took_us))); done
kill "$HALTS"
wait "$HALTS" 2>/dev/null
kill -CONT "$AGENT"
used=$(($(spent) - before))
[ "$took" -le "$used" ] || fail "looks took $took us of processor, and the agent had $used"
done_testing
