#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Unpack a Debian package into a directory, without installing it: unpack.sh PACKAGE DIRECTORY. Of those whose
# installation changes the machine that tests run on. Does nothing where the directory is there.
set -euo pipefail
[ ! -d "$2" ] || exit 0
rm -rf "$2.new"
mkdir -p "$2.new"
(cd "$2.new" && { apt-get -q download "$1" || { apt-get -q update && apt-get -q download "$1"; }; } >/dev/null 2>&1 && dpkg -x ./*.deb . && rm ./*.deb) ||
	{ echo "cannot get $1" >&2; exit 1; }
mv "$2.new" "$2"
