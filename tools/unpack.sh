#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Unpack Debian packages into a directory, without installing them: unpack.sh PACKAGE DIRECTORY [PACKAGE]... Of those
# whose installation changes the machine that tests run on. Does nothing where the directory is there.
set -euo pipefail
[ ! -d "$2" ] || exit 0
rm -rf "$2.new"
mkdir -p "$2.new"
for p in "$1" "${@:3}"; do
	(cd "$2.new" && { apt-get -q download "$p" || { apt-get -q update && apt-get -q download "$p"; }; } >/dev/null 2>&1 && dpkg -x ./*.deb . && rm ./*.deb) ||
		{ echo "cannot get $p" >&2; exit 1; }
done
mv "$2.new" "$2"
