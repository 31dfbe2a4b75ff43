#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# docs/reference, docs/openapi.json and waymarkpolicy.json of deploy/kubernetes and of the chart from the tables in the
# code: gen-docs.sh BUILD_DIRECTORY [--check]. With --check nothing is written: it fails when a page is not what the
# code says; that the chart has the same resource is tests/net/manifests.py's to say.
set -euo pipefail
cd "$(dirname "$0")/.."
B=${1:-build/release}
to=docs/reference
[ "${2:-}" != --check ] || to=$(mktemp -d)
mkdir -p "$to"
for page in settings counters errors endpoints policies; do
	"$B/waymarkd" --reference $page >"$to/$page.md"
done
"$B/waymarkctl" --reference >"$to/commands.md"
api=docs/openapi.json
[ "${2:-}" != --check ] || api=$(mktemp)
"$B/waymarkd" --reference openapi >"$api"
crd=deploy/kubernetes/waymarkpolicy.json
[ "${2:-}" != --check ] || crd=$(mktemp)
mkdir -p "$(dirname "$crd")"
"$B/waymarkd" --reference crd >"$crd"
[ "${2:-}" = --check ] || install -D -m 644 "$crd" deploy/helm/waymark/crds/waymarkpolicy.json
[ "${2:-}" != --check ] || {
	diff -ru docs/reference "$to" && diff -u docs/openapi.json "$api" &&
		diff -u deploy/kubernetes/waymarkpolicy.json "$crd" || {
		echo "docs/reference is not what the code says: make docs" >&2
		exit 1
	}
	rm -rf "$to" "$api" "$crd"
}
