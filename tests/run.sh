#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Run the suites named as arguments (unit bpf net fault fuzz long; default: all but long), one line a test,
# and a closing line "N passed, N failed, N skipped; failed once: NAMES". A test skips by exit status 77, one of Criterion's by cr_skip_test();
# its reason is a line "skipped: ...". What the kernel refuses is named "kernel refuses X: ERRNO" and is no
# failure anywhere; any other skip is one under CI, since there nothing may be missing. Logs go to
# build/test-logs/; of a failure the log is shown from its first failed assertion on. TEST_JOBS tests run at
# a time (as many as there are processors); a script with a line "# alone: why" runs when no other does, and
# so does, once more, what failed (but not of tests/long, with TEST_AGAIN=0, or by a sanitizer's report): where it passes
# then, its first failure is shown all the same, and its name stands in the closing line.
set -uo pipefail
cd "$(dirname "$0")/.." || exit 2
export B=${B:-build/asan}
export CRITERION_VERBOSITY_LEVEL=1 # names what is skipped
export ASAN_OPTIONS="${ASAN_OPTIONS:-detect_leaks=1:abort_on_error=0}" UBSAN_OPTIONS=print_stacktrace=1
FUZZ_SECONDS=${FUZZ_SECONDS:-20} # each: corpora stay, so that runs add up
TEST_JOBS=${TEST_JOBS:-$(nproc)}
TEST_AGAIN=${TEST_AGAIN:-1}
TEST_SECONDS=1200 # one test at most: a hang is a failure, not a lost run
LONG_SECONDS=1800 # one of tests/long
logs=${TEST_LOGS:-build/test-logs}
mkdir -p "$logs"
suites=("$@")
[ ${#suites[@]} -gt 0 ] || suites=(unit bpf net fault fuzz)
passed=0 failed=0 skipped=0 once=()

# What says that a test failed: of the shell tests, of Criterion, of the sanitizers, of a caught signal.
FIRST='^FAILED|Assertion Failed|Unexpected Signal|Timeout!|\[FAIL\]|runtime error:|ERROR: AddressSanitizer|^==.*== *ERROR|panic'
SHOWN=60 # lines of a failure
first_failure() { # log
	if grep -qE "$FIRST" "$1"; then
		# a failed assertion leaks what the test held: the report of that tells nothing
		awk -v first="$FIRST" -v max="$SHOWN" '
			!on && $0 ~ first { on = 1; own = /LeakSanitizer/ }
			on && !own && /ERROR: LeakSanitizer/ { exit }
			on && n++ < max { print }' "$1"
	else
		tail -n "$SHOWN" "$1"
	fi | sed 's/^/        /'
	echo "        (all of it: $1)"
}
skips() { # log: a reason a line
	sed -nE 's/^skipped: *//p; s/^\[SKIP\] *//p' "$1"
}
REFUSED='kernel refuses .*: E[A-Z0-9]+|no service manager runs here'
foreign_skip() { # log: is there a skip that a full kernel would have as well?
	local reasons
	reasons=$(skips "$1")
	[ -n "$reasons" ] || reasons=$2
	grep -qvE "$REFUSED" <<<"$reasons"
}
verdict() { # name, exit status, log
	local none=
	[ "$2" != 77 ] || none='no reason was given'
	if [ "$2" != 0 ] && [ "$2" != 77 ]; then
		failed=$((failed + 1)) && echo "FAILED  $1 (exit $2)"
		first_failure "$3"
		return
	fi
	if [ -n "${CI:-}" ] && [ -n "$(skips "$3")$none" ] && foreign_skip "$3" "$none"; then
		failed=$((failed + 1)) && echo "FAILED  $1 (skipped for what no kernel refuses, and CI allows no such skip)"
	elif [ "$2" = 77 ]; then
		skipped=$((skipped + 1)) && echo "skipped $1"
	else
		passed=$((passed + 1)) && echo "ok      $1"
	fi
	skips "$3" | sed 's/^/        skipped: /'
}
# Pins and files of a test in the kernel (tests/net/lib.sh) bear its pid, as does its cgroup, which may outlast it for
# as long as a killed process takes to end.
left_behind() { # pid of a test that has ended
	local d
	for d in /sys/fs/bpf /tmp; do
		compgen -G "$d/waymark-test-net-$1" || compgen -G "$d/waymark-test-net-$1-*"
	done | paste -sd' '
}
# Criterion runs each test in a process of its own and maps an arena, at the same address as in its parent,
# over whatever lies there. With address randomization off both are laid out alike, and nothing does.
run() { # name, file: its log and its exit status
	local log=$logs/${1//\//_} how=(bash) status left
	[[ $2 == *.sh ]] || how=(setarch -R)
	timeout -k 10 "$TEST_SECONDS" bash -c 'echo $$ >"$1" && shift && exec "$@"' - "$log.pid" "${how[@]}" "$2" \
		>"$log.log" 2>&1 </dev/null
	status=$?
	if [ $status = 0 ]; then # one that was killed is cleaned up after by the next
		left=$(left_behind "$(cat "$log.pid")")
		[ -z "$left" ] || { echo "FAILED: left behind: $left" >>"$log.log" && status=1; }
	fi
	rm -f "$log.pid"
	echo $status >"$log.status"
}
status_of() { cat "$logs/${1//\//_}.status"; }
judge() { # name
	verdict "$1" "$(status_of "$1")" "$logs/${1//\//_}.log"
	rm -f "$logs/${1//\//_}.status"
}
# A machine may be too busy for a test, and is another time; none makes up a memory error, undefined behaviour or a leak.
# But a failed assertion jumps out of its test, and the teardown may meet what the test had freed.
FOUND='ERROR: AddressSanitizer|runtime error:'
after_assertion() { # log: did all that was found come of a teardown, after an assertion that failed?
	local found met
	found=$(grep -cE "$FOUND" "$1")
	met=$(awk '/Assertion Failed/ { on = 1 } on && / in criterion_internal_test_teardown / { n++ } END { print n + 0 }' "$1")
	[ "$met" -ge "$found" ]
}
by_haste() { # log of a failure: is it none that a sanitizer found?
	after_assertion "$1" && ! grep -E -m1 "$FIRST" "$1" | grep -q 'ERROR: LeakSanitizer'
}
declare -A file_of=()
beside=() alone=() running=()
ended() { # name: judged, or to be run again
	local log=$logs/${1//\//_}
	if [ "$TEST_AGAIN" = 1 ] && [[ $(status_of "$1") != @(0|77) ]] && [ ! -e "$log.first.log" ] && by_haste "$log.log"; then
		mv "$log.log" "$log.first.log"
		rm "$log.status"
		alone+=("$1")
		return
	fi
	local before=$passed
	judge "$1"
	[ -e "$log.first.log" ] || return 0
	[ "$passed" = "$before" ] || once+=("$1")
	echo "        failed at first:"
	first_failure "$log.first.log"
}
reap() { # what has ended
	local name still=()
	for name in "${running[@]}"; do
		if [ -s "$logs/${name//\//_}.status" ]; then
			ended "$name"
		else
			still+=("$name")
		fi
	done
	running=("${still[@]}")
}
run_beside() {
	local name
	for name in "${beside[@]}"; do
		while [ "$(jobs -rp | wc -l)" -ge "$TEST_JOBS" ]; do wait -n; done
		reap
		run "$name" "${file_of[$name]}" &
		running+=("$name")
	done
	wait
	reap
}
run_alone() { # what is added meanwhile included
	local at
	for ((at = 0; at < ${#alone[@]}; at++)); do
		run "${alone[at]}" "${file_of[${alone[at]}]}"
		ended "${alone[at]}"
	done
}
take() { # name, file
	file_of[$1]=$2
	rm -f "$logs/${1//\//_}".{status,log,first.log}
	if [[ $2 == *.sh ]] && grep -q '^# alone: ' "$2"; then
		alone+=("$1")
	else
		beside+=("$1")
	fi
}
fuzz_one() { # binary
	local name seeds=()
	name=$(basename "$1")
	[ -d "tests/fuzz/corpus/$name" ] && seeds=("tests/fuzz/corpus/$name")
	mkdir -p "build/fuzz/corpus/$name"
	# libFuzzer's own status for a crash, 77, means "skipped" here
	"$1" -error_exitcode=1 -timeout_exitcode=1 -max_total_time="$FUZZ_SECONDS" -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
		-artifact_prefix="build/fuzz/$name-" "build/fuzz/corpus/$name" \
		"${seeds[@]}" >"$logs/$name.log" 2>&1 </dev/null
	echo $? >"$logs/$name.status"
}
fuzz_all() { # as many at a time as there are processors
	local f
	for f in build/fuzz/fuzz_*; do
		[ -x "$f" ] && [ -f "$f" ] || continue
		case $f in *.d) continue ;; esac
		while [ "$(jobs -rp | wc -l)" -ge "$(nproc)" ]; do wait -n; done
		fuzz_one "$f" &
	done
	wait
	for f in build/fuzz/fuzz_*; do
		[ -f "$logs/$(basename "$f").status" ] || continue
		verdict "$(basename "$f")" "$(cat "$logs/$(basename "$f").status")" "$logs/$(basename "$f").log"
		rm -f "$logs/$(basename "$f").status"
	done
}

mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf 2>/dev/null || true
fuzz=
for s in "${suites[@]}"; do
	case $s in
	unit) for t in "$B"/tests/test_*; do [ -x "$t" ] && [ -f "$t" ] && take "$(basename "$t")" "$t"; done ;;
	bpf) for t in "$B"/tests/bpf/test_*; do [ -x "$t" ] && [ -f "$t" ] && take "bpf/$(basename "$t")" "$t"; done ;;
	net | fault | long)
		[ "$s" != long ] || { TEST_SECONDS=$LONG_SECONDS && TEST_JOBS=1 && TEST_AGAIN=0; }
		for t in tests/"$s"/test_*.sh; do [ -f "$t" ] && take "$s/$(basename "$t" .sh)" "$t"; done
		;;
	fuzz) fuzz=1 ;;
	*) echo "unknown suite: $s (unit bpf net fault fuzz long)" >&2 && exit 2 ;;
	esac
done
run_beside
run_alone
[ -z "$fuzz" ] || fuzz_all
echo "$passed passed, $failed failed, $skipped skipped${once[0]:+; failed once: ${once[*]}}"
[ "$failed" -eq 0 ]
