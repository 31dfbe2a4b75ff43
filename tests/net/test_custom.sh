#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A way to choose of an operator's own: from his file to where connections go; replaced while clients dial;
# refused in the verifier's words.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

FILE=$TMP/mine.bpf.o
put_file() { install -m 0644 "build/custom/$1.bpf.o" "$FILE"; }
reload() { kill -HUP "$AGENT"; }
logged() { [ "$(grep -c "plane.custom $1" "$TMP/agent.log")" = "$2" ]; }
who() { # of $1 dials
	for _ in $(seq "$1"); do inside curl -s "http://$V4/"; done | grep -o '^w[0-9]' | sort | uniq -c | awk '{print $2"="$1}' | xargs
}
policy() { operator -X PUT "$API/v1/waymark/policies/web" -d "$1"; }

put_file by_user
check "a good file is in order" 0 "$("$B/waymarkd" --check-config --set "kernel.custom=$FILE" --set "node.data_dir=$TMP" >/dev/null 2>&1; echo $?)"
start_agent --set "kernel.custom=$FILE"
for i in 1 2 3; do
	backend "w$i" "127.1.0.$i" 8080
	register "w$i" web "127.1.0.$i" 8080 >/dev/null
done
V4=$(vip4 web)
matches "another name is warned of" 'chooses by weight' "$(policy '{"balance": "custom", "custom": "other"}')"
check "and goes by weight" 3 "$(who 60 | wc -w)"
check "its own name is not" "" "$(policy '{"balance": "custom", "custom": "mine"}' | grep weight)"
LAST=$(who 10)
check "root has one backend" 1 "$(wc -w <<<"$LAST")"
check "that of the last place" 10 "${LAST#*=}"

# --- replaced under load
inside /usr/bin/python3 -c '
import socket, sys, time
done = failed = 0
end = time.monotonic() + 6
while time.monotonic() < end:
    s = socket.socket()
    try:
        s.connect((sys.argv[1], 80))
        done += 1
    except OSError:
        failed += 1
    s.close()
print(done, failed)' "$V4" >"$TMP/load" &
LOAD=$!
for n in 1 2 3 4; do
	put_file least_of_three
	reload
	until_ok 20 logged file "$((2 * n - 1))" || fail "the file was not loaded again"
	put_file by_user
	reload
	until_ok 20 logged file "$((2 * n))" || fail "the file was not loaded again"
done
wait $LOAD
read -r DONE FAILED <"$TMP/load"
echo "connects $DONE, failed $FAILED"
[ "$DONE" -gt 100 ] || fail "only $DONE connects"
check "no connect is lost" 0 "$FAILED"
check "the last one decides" "$LAST" "$(who 10)"

# --- a bad one
put_file bad_memory
reload
until_ok 20 logged err= 1 || fail "a bad file is not told of"
matches "in the verifier's words" 'kernel refused it.*access' "$(grep plane.custom "$TMP/agent.log" | tail -1)"
check "the good one goes on" "$LAST" "$(who 10)"
"$B/waymarkd" --check-config --set "kernel.custom=$FILE" --set "node.data_dir=$TMP" >"$TMP/check" 2>&1
matches "known before a start" 'kernel.custom:.*kernel refused it.*degraded' "$(cat "$TMP/check")"
stop_agent KILL
check "also with the agent dead" "$LAST" "$(who 10)"
start_agent --set "kernel.custom=$FILE"
check "a start with a bad file goes by weight" 3 "$(who 60 | wc -w)"
matches "and says so" 'kernel refused it' "$(operator "$API/v1/waymark/status" | jq -c .)"
matches "a policy is warned of" 'was refused.*chooses by weight' "$(policy '{"balance": "custom", "custom": "mine"}')"
matches "so its explanation says" '^note: custom: .*was refused' "$("$CTL" policy explain web)"
matches "and that of a connect" 'policy: custom: .*was refused' "$("$CTL" -a "unix:$TMP/http.sock" explain connect web)"
put_file bad_large
reload
says() { operator "$API/v1/waymark/status" | grep 'at most 67108864 are allowed' >/dev/null; }
until_ok 20 says || fail "the status is not of the file as it is"
matches "a name that is no label" 'must be a label' \
	"$("$B/waymarkd" --check-config --set "kernel.custom=$TMP/a_b.o" --set "node.data_dir=$TMP" 2>&1)"
done_testing
