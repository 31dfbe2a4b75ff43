#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# compile_commands.json on stdout: one entry per C file of the host programs and tests.
set -euo pipefail
flags='-std=gnu17 -D_GNU_SOURCE -DWM_VERSION=\\\"0\\\" -Wall -Wextra -I. -Iinclude -Ibuild/bpf -Ibuild/proto'
pkgs="$(pkg-config --cflags libbpf libnl-3.0 libnl-route-3.0 jansson libssl libevent_core libcurl sqlite3)"
dir=$PWD
first=1
echo "["
for f in $(git ls-files --cached --others --exclude-standard 'userspace/*.c' 'tools/*.c' 'tests/*.c' | grep -v '\.bpf\.c$'); do
	[ $first = 1 ] || echo ","
	first=0
	printf '{"directory":"%s","file":"%s","command":"clang %s %s -c %s"}' "$dir" "$f" "$flags" "$pkgs" "$f"
done
echo "]"
