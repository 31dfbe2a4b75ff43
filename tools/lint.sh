#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Format, static analysis and spelling of the C files given as arguments and of every script.
set -uo pipefail
files=("$@")
bad=0
step() { # name, command...
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then
		echo "lint: $name ok"
	else
		echo "lint: $name failed"
		printf '%s\n' "$out" | tail -n 60
		bad=1
	fi
}
host=()
for f in "${files[@]}"; do
	case $f in *.c) case $f in bpf/* | *.bpf.c) ;; *) host+=("$f") ;; esac ;; esac
done
mapfile -t scripts < <(git ls-files --cached --others --exclude-standard '*.sh' .ci/run)

tidy() {
	printf '%s\n' "${host[@]}" | xargs -P "$(nproc)" -n 6 clang-tidy --quiet 2>&1 |
		grep -vE '^[0-9]+ warnings? (generated|treated)|Suppressed|Use -header-filter|^$' >build/tidy.log
	! grep -qE '(error|warning):' build/tidy.log || { cat build/tidy.log; return 1; }
}
check() {
	cppcheck --enable=warning,performance,portability --inconclusive --std=c11 --quiet -j "$(nproc)" \
		--error-exitcode=1 --inline-suppr --suppressions-list=tools/cppcheck.supp \
		-I. -Iinclude "${host[@]}"
}
long_functions() {
	ctags -L - --c-kinds=f --fields=+ne -x --_xformat='%{end} %{line} %N %F' 2>/dev/null |
		awk '$1-$2>100{print $4":"$2": function "$3" has "$1-$2" lines, at most 100"; bad=1} END{exit bad}'
}
long_files() {
	wc -l "${files[@]}" | awk '$2!="total" && $1>1000{print $2": "$1" lines, at most 1000"; bad=1} END{exit bad}'
}
not_executable() { # of the scripts that the Makefile runs by their path
	local f bad=0
	while read -r f; do [ -x "$f" ] || { echo "$f: the Makefile runs it, and it is not executable" && bad=1; }; done < <(
		grep -E '^\s' Makefile | grep -oE '(^\s@?|&& |=[^ ]* )(tests|tools)/[a-z/_-]+\.sh' | grep -oE '(tests|tools)/.*' | sort -u)
	return $bad
}
mkdir -p build
make --no-print-directory -s compile_commands.json
step clang-format clang-format --dry-run --Werror "${files[@]}"
step "function length" long_functions < <(printf '%s\n' "${files[@]}")
step "file length" long_files
step cppcheck check
step "executable scripts" not_executable
step shellcheck shellcheck -S warning "${scripts[@]}"
step codespell codespell -q 3 -L inflight,inout,upto,additionals,te,ans,clen,fo,hist,nd,ro,ue,ba,nin "${files[@]}" "${scripts[@]}" README.md docs
step clang-tidy tidy
exit "$bad"
