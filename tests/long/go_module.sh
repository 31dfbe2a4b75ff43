#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# A program of ours around somebody's Go module, from the Go module proxy: go_module.sh NAME MAIN.go MODULE VERSION GO
# makes build/NAME/NAME, once, which takes minutes. 77 and a reason where that cannot be.
set -euo pipefail
main=$(realpath "$2")
cd "$(dirname "$0")/../.."
name=$1 module=$3 version=$4 language=$5
OUT=$PWD/build/$name
[ "$(cat "$OUT/version" 2>/dev/null)" != "$version" ] || exit 0
GO=$(command -v go || command -v /usr/local/go/bin/go) || {
	echo "skipped: $name: Go is not installed, which builds it"
	exit 77
}
mkdir -p "$OUT/module"
cp "$main" "$OUT/module/"
cd "$OUT/module"
printf 'module waymark.test/%s\n\ngo %s\n\nrequire %s v%s\n' "$name" "$language" "$module" "$version" >go.mod
CGO_ENABLED=0 GOTOOLCHAIN=local nice "$GO" build -mod=mod -trimpath -o "$OUT/$name" . >"$OUT/log" 2>&1 || {
	echo "skipped: $name cannot be built: $(tail -n 1 "$OUT/log")"
	exit 77
}
echo "$version" >"$OUT/version"
