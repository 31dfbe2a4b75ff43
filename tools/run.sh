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
Waymark runs until Ctrl-C. From another terminal:
  curl -X PUT localhost:8500/v1/agent/service/register -d '{"Name": "web", "Address": "127.0.0.1", "Port": 8080}'
  dig @127.0.0.1 -p 8600 web.service.mesh.internal
  $B/waymarkctl status
  $B/waymarkctl detach     # afterwards: the kernel goes on without the agent until then
TEXT
exec "$B/waymarkd" --set "node.data_dir=$PWD/build/run" "$@"
