#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# test_policy.sh - policies from a directory of files, and waymarkctl: a bad file is refused by its name and
# what it said before stays, what leaves the directory goes, what somebody changed meanwhile does not.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
DIR=$TMP/policies LOG=$TMP/agent.log
says() { operator -X PUT "$API/v1/$1" -d "$2"; }
of() { api "$API/v1/waymark/policies/$1"; }
field() { of "$1" | jq -r ".$2" 2>/dev/null || of "$1"; }

"$B/waymarkd" --set "node.data_dir=$TMP/data" --set kernel.enabled=false --set "http.socket=" --set "policy.dir=$TMP/none" 2>"$TMP/bad.log" &&
	fail "it starts without its directory"
matches "a directory that is not there is named" 'policy.dir: cannot read .*none: No such file' "$(cat "$TMP/bad.log")"
matches "a leaf has none" 'policy.dir: a leaf \(sync.role\) writes no policies' "$("$B/waymarkd" --check-config --set "node.data_dir=$TMP/data" --set "policy.dir=$TMP" --set sync.role=leaf 2>&1)"
mkdir "$DIR"
echo '{"panic_threshold": 10}' >"$DIR/web.json"
echo '{"service": "db", "select": "failover", "failover": [{"service": "spare"}]}' >"$DIR/b.json"
echo '{"balance": "fair"}' >"$DIR/bad.json"
echo 'nothing' >"$DIR/notes.txt"
echo "{\"policy\": {\"dir\": \"$DIR\"}}" >"$TMP/w.json"
start_agent --set kernel.enabled=false --config "$TMP/w.json"
check "a file is the policy of its name" 10 "$(field web panic_threshold)"
check "or of the service that it names" failover "$(field db select)"
matches "a bad one is named in the log" 'event=policy.refused file=bad.json text="balance: \\"fair\\" is not allowed' "$(cat "$LOG")"
check "and is none" 404 "$(code "$API/v1/waymark/policies/bad")"
first=$(field web modify_index)

# --- a reload --------------------------------------------------------------------------------------------
check "nothing new" "" "$(says agent/reload '')"
check "writes nothing" "$first" "$(field web modify_index)"
echo '{"panic_threshold": 1000}' >"$DIR/web.json"
echo '{"service": "db", "drain_s": 5}' >"$DIR/b.json"
check "a reload with a bad file" "" "$(says agent/reload '')"
check "what it said before stays" 10 "$(field web panic_threshold)"
check "the others are taken" 5 "$(field db drain_s)"
echo '{"panic_threshold": 20}' >"$DIR/web.json"
echo '{"service": "DB"}' >"$DIR/c.json"
says agent/reload ''
check "mended, it is taken" 20 "$(field web panic_threshold)"
matches "two of one service are refused" 'file=c.json text="service: \\"DB\\" has one in b.json already' "$(cat "$LOG")"
kept=$(field web create_index)
mv "$DIR/web.json" "$DIR/a.json"
echo '{"service": "web", "panic_threshold": 20}' >"$DIR/a.json"
says agent/reload ''
check "a file that has another name by now is the same policy" "20 $kept" "$(field web panic_threshold) $(field web create_index)"
mv "$DIR/b.json" "$DIR/t" && mv "$DIR/a.json" "$DIR/b.json" && mv "$DIR/t" "$DIR/a.json"
says agent/reload ''
check "two that changed their names are" "20 $kept 5" "$(field web panic_threshold) $(field web create_index) $(field db drain_s)"
mv "$DIR/b.json" "$DIR/web.json" && mv "$DIR/a.json" "$DIR/b.json"
check "somebody changes one" '{"warnings":["service: service \"db\" is not there"]}' "$(says waymark/policies/db '{"drain_s": 6}')"
rm "$DIR"/*.json
says agent/reload ''
check "what left the directory goes" 404 "$(code "$API/v1/waymark/policies/web")"
check "but what somebody changed" 6 "$(field db drain_s)"
rmdir "$DIR" 2>/dev/null || rm -r "$DIR"
matches "without its directory a reload is refused" 'policy.dir: cannot read' "$(says agent/reload '')"

# --- waymarkctl ------------------------------------------------------------------------------------------
ctl() { "$CTL" --agent "unix:$TMP/http.sock" "$@"; }
register w1 web 127.0.0.1 8081 '"Meta": {"v": "1"}' >/dev/null
register w2 web 127.0.0.1 8082 '"Meta": {"v": "2"}' >/dev/null
echo '{"subsets": {"v1": "Service.Meta.v == 1", "v2": "Service.Meta.v == 2"}, "split": [{"percent": 75, "subset": "v1"}, {"percent": 25, "subset": "v2"}]}' |
	ctl policy set web - >"$TMP/set" || fail "it is not set"
check "set from standard input" "set web" "$(cat "$TMP/set")"
matches "explained" '^tier 0: all, web subset v1: 75.00 % of new connections \(1 of weight 1 up\)$' "$(ctl policy explain web)"
matches "where its subsets are" '^subset v2: 1 instances, at 2[45][0-9]\.[0-9.]+, Service.Meta.v == 2$' "$(ctl policy explain web)"
matches "with the odds of each" '^ +25.00 %  w2 .* running, passing$' "$(ctl policy explain web)"
matches "and what comes of it" '^a connection now: chosen \(2 of 2 up; where none is: refuse\)$' "$(ctl policy explain web)"
register w2 web 127.0.0.1 8082 '"Meta": {"v": "2", "endpoints.admin": "http:9100"}' >/dev/null
ctl policy set web - <<<'{"ports": {"9090": "admin"}, "affinity": {"key": "uid", "timeout": "1m"}}' >"$TMP/set"
matches "where a port leads" '^note: port 9090 leads to the endpoint admin, which 1 of 2 have$' "$(ctl policy explain web)"
matches "and who keeps whom" '^note: a client, told apart by uid, keeps its instance until 60 s after its last connection$' "$(ctl policy explain web)"
matches "listed" '^web +select=all balance=weighted when_none=refuse ports=1 affinity=uid$' "$(ctl policy list)"
matches "its mistakes are told" 'subsets: "v_1" is not allowed' "$(echo '{"subsets": {"v_1": ""}}' | ctl policy set web - 2>&1)"
matches "what is no text is not cut to what is" 'it has an octet of 0$' "$(printf '{"panic_threshold": 5}\0{}' | ctl policy set web - 2>&1)"
check "deleted" "deleted web" "$(ctl policy delete web)"
ctl policy get web 2>/dev/null && fail "it is still there"

# --- it outlives the agent -------------------------------------------------------------------------------
stop_agent KILL
start_agent --set kernel.enabled=false
check "after kill -9" 6 "$(field db drain_s)"

# --- and the agent outlives its files --------------------------------------------------------------------
restart() {
	stop_agent "$1"
	shift
	start_agent --set kernel.enabled=false "$@"
}
mkdir "$DIR"
for i in a b c; do echo '{"panic_threshold": 30}' >"$DIR/$i.json"; done
restart TERM --config "$TMP/w.json"
check "files of a start" "30 30" "$(field a panic_threshold) $(field c panic_threshold)"
echo '{"panic_threshold": 31}' >"$DIR/b.json"
says agent/reload ''
says waymark/policies/c '{"panic_threshold": 32}' >/dev/null
stop_agent KILL
rm "$DIR"/*.json
start_agent --set kernel.enabled=false --config "$TMP/w.json"
check "what left while no agent ran goes" "404 404" "$(code "$API/v1/waymark/policies/a") $(code "$API/v1/waymark/policies/b")"
check "but what somebody changed" 32 "$(field c panic_threshold)"
[ ! -e "$TMP/data/policies.json" ] || fail "what no file says is remembered"
echo '{"panic_threshold": 30}' >"$DIR/a.json"
says agent/reload ''
restart TERM
check "nor is a directory that is named no more" 404 "$(code "$API/v1/waymark/policies/a")"

# --- what the registry refuses once it is its turn
for i in $(seq 20); do echo '{"panic_threshold": 40}' >"$DIR/full-$i.json"; done
restart TERM --config "$TMP/w.json" --set registry.services_max=16
says agent/reload ''
matches "is told by the file's name" 'event=policy.refused file=full-[0-9]+.json text="Policies: at most 16 are allowed' "$(cat "$LOG")"
check "the others are there" 16 "$(api "$API/v1/waymark/policies" | jq length)"
rm "$DIR"/full-1?.json
says agent/reload ''
check "and it is, where there is room" 40 "$(field full-9 panic_threshold)"
done_testing
