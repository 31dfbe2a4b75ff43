#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# CoreDNS with the plugins of main.go into build/coredns/, from the Go module proxy: once, it takes minutes. 77 and a
# reason where that cannot be.
set -euo pipefail
cd "$(dirname "$0")/../../.."
VERSION=1.15.0
OUT=$PWD/build/coredns
[ "$(cat "$OUT/version" 2>/dev/null)" != $VERSION ] || exit 0
GO=$(command -v go || command -v /usr/local/go/bin/go) || {
	echo "skipped: CoreDNS: Go is not installed, which builds it"
	exit 77
}
mkdir -p "$OUT/module"
cp tests/long/coredns/main.go "$OUT/module/"
cd "$OUT/module"
printf 'module waymark.test/coredns\n\ngo 1.25.0\n\nrequire github.com/coredns/coredns v%s\n' $VERSION >go.mod
CGO_ENABLED=0 GOTOOLCHAIN=local nice "$GO" build -mod=mod -trimpath -o "$OUT/coredns" . >"$OUT/log" 2>&1 || {
	echo "skipped: CoreDNS cannot be built: $(tail -n 1 "$OUT/log")"
	exit 77
}
echo $VERSION >"$OUT/version"
