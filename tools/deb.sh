#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# deb.sh PACKAGE... - build/deb/waymark_VERSION_ARCH.deb from a copy of the sources; the packages are what
# building needs. DEB_MAINTAINER is who answers for it.
set -euo pipefail
cd "$(dirname "$0")/.."
version=$(cat VERSION) maintainer=${DEB_MAINTAINER:-Waymark developers <waymark@waymark.invalid>}
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || stat -c %Y VERSION)}"
export SOURCE_DATE_EPOCH
src=build/deb/waymark-$version

rm -rf build/deb
mkdir -p "$src"
tar c --exclude=./build --exclude=./.git . | tar x -C "$src"
cp -r deploy/debian "$src/debian"
sed -e "s/@MAINTAINER@/$maintainer/" -e "s/@BUILD@/$(printf ' %s,' "$@" | sed 's/,$//')/" \
	deploy/debian/control.in >"$src/debian/control"
rm "$src/debian/control.in"
cat >"$src/debian/changelog" <<TEXT
waymark ($version) unstable; urgency=medium

  * As of this version's sources.

 -- $maintainer  $(date -R -u -d "@$SOURCE_DATE_EPOCH")
TEXT
(cd "$src" && dpkg-buildpackage -us -uc -b) >build/deb/log 2>&1 || { tail -n 40 build/deb/log && exit 1; }
lintian --no-cfg --fail-on error,warning "build/deb/waymark_${version}_"*.changes
rm -rf "$src"
ls build/deb/*.deb
