#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Everything that wants a real API server: tests, then figures. run.sh [script...]; skipped, with the reason, where
# Go or its module proxy is not to be had.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 2
tests/kubernetes/build.sh || exit
[ $# -gt 0 ] || set -- tests/kubernetes/test_*.sh tests/kubernetes/figures.sh
LOGS=build/kubernetes/logs
mkdir -p "$LOGS"
failed=0
for t in "$@"; do
	name=$(basename "$t" .sh)
	flavour=asan
	[ "$name" != figures ] || flavour=release
	B=build/$flavour bash "$t" >"$LOGS/$name.log" 2>&1
	status=$?
	if [ $status = 77 ]; then
		echo "skipped kubernetes/$name"
		grep '^skipped:' "$LOGS/$name.log" | sed 's/^/        /'
	elif [ $status = 0 ]; then
		echo "ok      kubernetes/$name"
		grep -E '^\||connects|^[a-z0-9 ]+: \{' "$LOGS/$name.log" | sed 's/^/        /'
	else
		failed=1
		echo "FAILED  kubernetes/$name (all of it: $LOGS/$name.log)"
		grep -E -A2 '^FAILED' "$LOGS/$name.log" | head -n 40 | sed 's/^/        /'
	fi
done
exit $failed
