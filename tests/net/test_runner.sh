#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# tests/run.sh itself, over tests that are made for it: what it shows of a failure, which skips it lets pass under
# CI, what is run a second time.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"
T=$TMP/fake/tests
mkdir -p "$T"
fake() { # name, exit status, lines of its log
	printf '#!/bin/sh\ncat <<"END"\n%s\nEND\nexit %s\n' "$3" "$2" >"$T/test_$1"
	chmod +x "$T/test_$1"
}
runner() { # CI or nothing; the output with the exit status behind it
	env -u CI ${1:+CI="$1"} B="$TMP/fake" TEST_LOGS="$TMP/logs" tests/run.sh unit
	echo "exit $?"
}
only() { # one fake test and no other
	rm -f "$T"/*
	fake "$@"
}
leak=$(
	echo "test.c:37: Assertion Failed"
	echo "open_sockets was not loaded"
	echo "==1==ERROR: LeakSanitizer: detected memory leaks"
	seq 200
)
only leaks 1 "before
$leak"
seen=$(runner)
matches "the first failure is shown first" 'test.c:37: Assertion Failed' "$(sed -n 2p <<<"$seen")"
matches "with what it says" 'open_sockets was not loaded' "$seen"
check "and no report of what it leaked" 0 "$(grep -c LeakSanitizer <<<"$seen")"
only leaks 1 "==1==ERROR: LeakSanitizer: detected memory leaks
Direct leak of 8 byte(s)"
matches "a leak that is the failure is shown" 'Direct leak of 8' "$(runner)"
only plain 1 "$(seq 100)"
matches "without a mark the end is shown" '        100$' "$(runner)"

only whole 77 'skipped: kernel refuses iter/tcp: EPERM'
matches "what the kernel refuses is no failure under CI" '0 passed, 0 failed, 1 skipped' "$(runner true)"
matches "and its reason is shown" 'skipped: kernel refuses iter/tcp: EPERM' "$(runner true)"
only whole 77 'skipped: a disk is missing'
matches "any other skip is one under CI" '0 passed, 1 failed, 0 skipped' "$(runner true)"
matches "and none elsewhere" '0 passed, 0 failed, 1 skipped' "$(runner)"
only whole 77 ''
matches "a skip without a reason is a failure under CI" '0 passed, 1 failed, 0 skipped' "$(runner true)"
only part 0 '[SKIP] plane::x: kernel refuses iter/udp: EINVAL'
matches "one of Criterion's, refused" '1 passed, 0 failed, 0 skipped' "$(runner true)"
matches "is named" 'skipped: plane::x: kernel refuses iter/udp: EINVAL' "$(runner true)"
only part 0 '[SKIP] plane::x: not today'
matches "one of Criterion's for another reason" '0 passed, 1 failed, 0 skipped' "$(runner true)"

# what fails runs once more when no other does
rm "$T/test_part"
shy() { # what it says when it fails, the first time
	cat >"$T/test_shy" <<END
#!/bin/sh
[ ! -e "$TMP/met" ] || exit 0
: >"$TMP/met"
echo '$1'
exit 1
END
	chmod +x "$T/test_shy"
	rm -f "$TMP/met"
}
fake good 0 'fine'
for jobs in 1 2; do
	shy 'shy.c:1: Assertion Failed'
	seen=$(TEST_JOBS=$jobs runner true)
	matches "what passes the second time has passed, and is named, $jobs at a time" \
		'^2 passed, 0 failed, 0 skipped; failed once: test_shy$' "$seen"
	check "the exit status knows nothing of it" 'exit 0' "$(tail -n 1 <<<"$seen")"
	matches "what it said at first is shown" '^        shy.c:1: Assertion Failed' "$seen"
	check "and kept" 'shy.c:1: Assertion Failed' "$(cat "$TMP/logs/test_shy.first.log")"
done
check "who does not fail is not named" '2 passed, 0 failed, 0 skipped' "$(runner true | grep passed)"
rm "$TMP/met"
matches "without a second run it has failed" '^1 passed, 1 failed, 0 skipped$' "$(TEST_AGAIN=0 runner true)"
for found in '==1==ERROR: AddressSanitizer: heap-use-after-free' 'x.c:1:2: runtime error: signed integer overflow' \
	'==1==ERROR: LeakSanitizer: detected memory leaks'; do
	shy "$found"
	matches "what a sanitizer found has no second run: $found" '^1 passed, 1 failed, 0 skipped$' "$(runner true)"
done
shy "$leak"
matches "but what a failed assertion leaks has" '^2 passed, 0 failed, 0 skipped; failed once: test_shy$' "$(runner true)"
met='==1==ERROR: AddressSanitizer: heap-use-after-free
    #1 0x5555 in teardown tests/unit/test_shy.c:9
    #2 0x7fff in criterion_internal_test_teardown (/lib/libcriterion.so.3+0xe798)'
shy "shy.c:1: Assertion Failed
$met"
matches "as has what its teardown then meets" '^2 passed, 0 failed, 0 skipped; failed once: test_shy$' "$(runner true)"
shy "$met"
matches "but not what a teardown meets by itself" '^1 passed, 1 failed, 0 skipped$' "$(runner true)"
shy "shy.c:1: Assertion Failed
==1==ERROR: AddressSanitizer: heap-use-after-free
    #1 0x5555 in shy_after tests/unit/test_shy.c:7
$met"
matches "nor what was found besides" '^1 passed, 1 failed, 0 skipped$' "$(runner true)"
fake bad 1 'bad.c:1: Assertion Failed'
seen=$(runner true)
matches "what fails both times has failed" '^2 passed, 1 failed, 0 skipped$' "$seen"
matches "and its first failure is shown as well" 'failed at first:$' "$seen"

# --- what a test leaves in the kernel
rm -f "$T"/*
cat >"$T/test_untidy" <<'END'
#!/bin/sh
mkdir "/tmp/waymark-test-net-$$-2" # pins would be removed by a test that begins beside this one
END
chmod +x "$T/test_untidy"
seen=$(TEST_AGAIN=0 runner)
matches "who leaves something behind has failed" '0 passed, 1 failed' "$seen"
matches "and is told which" 'FAILED: left behind: /tmp/waymark-test-net-[0-9]*-2$' "$seen"
rmdir "$(sed -n 's/.*left behind: //p' <<<"$seen")"
cat >"$TMP/pins.sh" <<'END'
. tests/net/lib.sh
mkdir "$PINS"
bpftool map create "$PINS/stranger" type array key 4 value 4 entries 1 name stranger
echo $$
[ -z "$1" ] || { rmdir "$CG" && kill -9 $$; }
done_testing
END
pins_of() { # how it ends; where its pins are
	local pid
	pid=$(env -u WM_NET_TEST bash "$TMP/pins.sh" "$1" 2>/dev/null | grep -x '[0-9]*')
	echo "/sys/fs/bpf/waymark-test-net-$pid"
}
left() { [ -e "$1/stranger" ] && echo there || echo gone; }
check "what a test pinned beside ours goes with it" gone "$(left "$(pins_of '')")"
killed=$(pins_of killed)
pins_of '' >/dev/null
check "where it was killed the next one removes it" gone "$(left "$killed")"
done_testing
