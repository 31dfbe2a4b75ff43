#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# What README.md and docs/*.md point at is there, links and the tests that hold a sentence; and what they name
# that is not is told.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

check "docs" "ok: what docs point at is there" "$(/usr/bin/python3 tools/check-docs.py)"
check="$PWD/tools/check-docs.py"
mkdir -p "$TMP/docs" "$TMP/tests/net" "$TMP/tests/unit"
echo 'Test(few, one)' >"$TMP/tests/unit/test_few.c"
touch "$TMP/tests/net/test_a.sh"
printf '%s\n' '# Head line' '[a](#head-line) [b](docs/b.md) `net/test_a` `few/one` `few/o*`' >"$TMP/README.md"
printf '%s\n' '[c](../README.md#other) [d](../gone.md) `net/test_b` `few/two`' >"$TMP/docs/b.md"
check "what is wrong is told, and no more" "docs/b.md: ../README.md#other is not there
docs/b.md: ../gone.md is not there
docs/b.md: no test is called net/test_b
docs/b.md: no test is called few/two" "$(cd "$TMP" && /usr/bin/python3 "$check")"
done_testing
