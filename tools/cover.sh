#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Lines of the source that the tests run: builds with coverage, runs the suites named (default: unit bpf net
# fault), prints a line a folder. An agent that is killed -9 tells nothing of what it ran.
set -euo pipefail
cd "$(dirname "$0")/.."
B=build/cov
find $B -name '*.gcda' -delete 2>/dev/null || true
suites=("$@")
[ ${#suites[@]} -gt 0 ] || suites=(unit bpf net fault)
failed=0
B=$B tests/run.sh "${suites[@]}" | tail -n 1 || failed=1 # the figures are told all the same
find $B -name '*.gcda' -printf '%p\n' | while read -r data; do
	gcov -n "$data" 2>/dev/null
done | awk '
	/^File /{gsub(/\047/, "", $2); file = $2; next}
	/^Lines executed:/ && file ~ /^(userspace|include\/waymark|tools)\// {
		split($2, a, /[:%]/); lines = $4; hit = a[2] / 100 * lines
		# a header: the unit that has most of it, and of those the best run
		if (lines > size[file] || (lines == size[file] && hit > best[file])) {
			size[file] = lines; best[file] = hit
		}
		file = ""
	}
	END {
		for (f in size) {
			folder = f; sub(/\/[^\/]*$/, "", folder)
			all[folder] += size[f]; ran[folder] += best[f]; total += size[f]; sum += best[f]
		}
		for (d in all) printf "%-24s %5.1f %% of %d lines\n", d, 100 * ran[d] / all[d], all[d] | "sort"
		close("sort")
		printf "%-24s %5.1f %% of %d lines\n", "all", 100 * sum / total, total
	}'
exit $failed
