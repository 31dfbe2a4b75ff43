#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Install the Debian packages named as arguments that are not there yet. Does nothing otherwise.
set -euo pipefail
missing=()
for p in "$@"; do
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null || true)" = installed ] || missing+=("$p")
done
[ ${#missing[@]} -eq 0 ] && exit 0
if [ "$(id -u)" -ne 0 ]; then
	echo "missing packages, and only root can install them: apt-get install ${missing[*]}" >&2
	exit 1
fi
echo "installing: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
install() { apt-get install -y -q --no-install-recommends "${missing[@]}" >"$log" 2>&1; }
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# A fresh machine has no package lists, an old one has stale lists: then update once and try again.
install || { apt-get update -q >>"$log" 2>&1 && install; } || { tail -n 20 "$log" >&2; exit 1; }
