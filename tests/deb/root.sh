#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# root.sh DEB - build/deb-root.tar: Debian's smallest system with what the package depends on, and without the
# package. Made once for each list of these.
set -euo pipefail
cd "$(dirname "$0")/../.."
needs=$(dpkg-deb -f "$1" Depends | tr ',' '\n' | awk '{print $1}' | sort | paste -sd,)
if [ -s build/deb-root.tar ] && [ "$(cat build/deb-root.needs 2>/dev/null)" = "$needs" ]; then exit 0; fi
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
# the system's own mirror
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Codename: bookworm' | head -n 1)
debootstrap --variant=minbase --include="$needs" bookworm "$dir/root" "$mirror" >build/deb-root.log 2>&1 || {
	tail -n 20 build/deb-root.log
	exit 1
}
rm -rf "$dir"/root/var/cache/apt/archives/*.deb "$dir"/root/var/lib/apt/lists/*
tar c -C "$dir/root" --exclude=./dev/* . >build/deb-root.tar
echo "$needs" >build/deb-root.needs
