#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Records tests/net/kubernetes/ anew from a real API server: record.sh [DIRECTORY]
WHERE=$(realpath -m "${1:-$(dirname "$0")/../net/kubernetes}")
[ -n "${WM_NET_TEST:-}" ] || "$(dirname "$0")/build.sh" || exit
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/../net/lib.sh"
# shellcheck source=tests/kubernetes/cluster.sh
. tests/kubernetes/cluster.sh
cluster_up --etcd-compaction-interval 20s
mkdir -p "$WHERE"
export KUBE_CA=$CLUSTER/pki/ca.crt
python3 tests/kubernetes/record.py "$WHERE" || fail "not recorded"
cluster_stop apiserver
apiserver_start
until_ok 120 cluster_ready
python3 tests/kubernetes/record.py "$WHERE" 300 || fail "not recorded: what is gone"
cluster_down
exit $FAILED
