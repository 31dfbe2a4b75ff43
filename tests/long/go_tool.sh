# SPDX-License-Identifier: Apache-2.0
# go_tool.sh - programs that are no Debian packages, from the Go module proxy: source it before lib.sh, whose
# namespace has no network.
# shellcheck shell=bash
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
GO=$(command -v go || command -v /usr/local/go/bin/go)
go_tool() { # name of the program and of its directory in build/, package@version: built once
	local out=$PWD/build/$1
	[ -z "${WM_NET_TEST:-}" ] && [ -n "$GO" ] && [ "$(cat "$out/version" 2>/dev/null)" != "$2" ] || return 0
	mkdir -p "$out"
	GOBIN=$out GOTOOLCHAIN=local CGO_ENABLED=0 nice "$GO" install "$2" >"$out/log" 2>&1 && echo "$2" >"$out/version"
}
go_tool_needed() { # name: within the test
	[ -x "build/$1/$1" ] && return
	echo "skipped: $1: ${GO:+cannot be built: $(tail -n 1 "build/$1/log")}${GO:-Go is not installed}"
	exit 77
}
