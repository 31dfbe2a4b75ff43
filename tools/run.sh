#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The agent in the foreground, for someone who tries it: run.sh BUILD_DIRECTORY [OPTIONS OF waymarkd].
# Its store is kept under build/run, so that a second run finds what was registered in the first.
set -euo pipefail
cd "$(dirname "$0")/.."
B=${1:-build/release}
[ $# = 0 ] || shift
mountpoint -q /sys/fs/bpf || mount -t bpf bpf /sys/fs/bpf || echo "no bpffs: userspace DNS only" >&2
mkdir -p build/run
cat <<TEXT
Waymark runs until Ctrl-C, and steers every process of this machine until \`$B/waymarkctl detach\`.
From another terminal, as README.md goes on:
  curl -X PUT localhost:8500/v1/agent/service/register -d '{"Name": "web", "Address": "127.0.0.1", "Port": 8080}'
  dig @127.0.0.1 -p 8600 web.service.mesh.internal
  $B/waymarkctl status
TEXT
# shellcheck disable=SC2086 # further options, from the environment where make passes none
exec "$B/waymarkd" --set "node.data_dir=$PWD/build/run" ${WAYMARK_RUN_OPTIONS:-} "$@"
