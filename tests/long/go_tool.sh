# SPDX-License-Identifier: Apache-2.0
# go_tool.sh - programs that are no Debian packages, and files of modules, from the Go module proxy: source it before
# lib.sh, whose namespace has no network.
# shellcheck shell=bash
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit 2
GO=$(command -v go || command -v /usr/local/go/bin/go)
go_tool() { # name of the program and of its directory in build/, package@version: built once
	local out=$PWD/build/$1
	[ -z "${WM_NET_TEST:-}" ] && [ -n "$GO" ] && [ "$(cat "$out/version" 2>/dev/null)" != "$2" ] || return 0
	mkdir -p "$out"
	GOBIN=$out GOTOOLCHAIN=local CGO_ENABLED=0 nice "$GO" install "$2" >"$out/log" 2>&1 && echo "$2" >"$out/version"
}
go_file() { # a directory in build/, module@version, path in the module: the file is there under its own name
	local out=$PWD/build/$1 dir
	[ -z "${WM_NET_TEST:-}" ] && [ -n "$GO" ] && [ "$(cat "$out/version" 2>/dev/null)" != "$2 $3" ] || return 0
	mkdir -p "$out"
	dir=$(GOTOOLCHAIN=local "$GO" mod download -json "$2" 2>"$out/log" | tee "$out/module.json" | jq -r '.Dir // empty')
	[ -n "$dir" ] || jq -r .Error "$out/module.json" >>"$out/log"
	[ -n "$dir" ] && install -m 644 "$dir/$3" "$out/" 2>>"$out/log" && echo "$2 $3" >"$out/version"
}
go_tool_needed() { # name, [file of go_file]: within the test
	[ -e "build/$1/${2:-$1}" ] && return
	[ -n "$GO" ] && echo "skipped: $1 is not to be had: $(tail -n 1 "build/$1/log")" || echo "skipped: $1: Go is not installed"
	exit 77
}
