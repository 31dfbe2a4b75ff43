#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# main.go into build/containerd/, from the Go module proxy: once. 77 and a reason where that cannot be.
set -euo pipefail
cd "$(dirname "$0")/../../.."
VERSION=1.7.29
OUT=$PWD/build/containerd
[ "$(cat "$OUT/version" 2>/dev/null)" != $VERSION ] || exit 0
GO=$(command -v go || command -v /usr/local/go/bin/go) || {
	echo "skipped: containerd's profiles: Go is not installed, which builds what writes them"
	exit 77
}
mkdir -p "$OUT/module"
cp tests/kernels/containerd/main.go "$OUT/module/"
cd "$OUT/module"
printf 'module waymark.test/containerd\n\ngo 1.23.0\n\nrequire github.com/containerd/containerd v%s\n' $VERSION >go.mod
CGO_ENABLED=0 GOTOOLCHAIN=local nice "$GO" build -mod=mod -trimpath -o "$OUT/profiles" . >"$OUT/log" 2>&1 || {
	echo "skipped: containerd's profiles: $(tail -n 1 "$OUT/log")"
	exit 77
}
echo $VERSION >"$OUT/version"
