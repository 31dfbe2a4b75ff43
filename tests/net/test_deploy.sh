#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The manifests of deploy/kubernetes and the chart's values: what must hold of them (manifests.py), and that the
# agent takes the settings they give it. tests/net/test_image.sh runs them, tests/long/test_helm.sh renders the chart.
# shellcheck source=tests/net/lib.sh
. "$(dirname "$0")/lib.sh"

/usr/bin/python3 tests/net/manifests.py "$TMP" || fail "manifests"
in_force() { # what the DaemonSet's variables and the ConfigMap make of the settings
	local env
	mapfile -t env <"$TMP/env.$1"
	env "${env[@]}" "$B/waymarkd" --config "$TMP/config" --dump-config 2>&1
}
check "settings of the DaemonSet" "true /bpf/waymark /sys/fs/cgroup 127.0.0.1" \
	"$(in_force base | jq -r '[.kernel.required, .kernel.pin_dir, .kernel.cgroup, .http.addresses[]] | join(" ")')"
check "of the metrics' component" "127.0.0.1 192.0.2.7 8510" \
	"$(in_force metrics | jq -r '[.http.addresses[], .http.metrics_addresses[], .http.metrics_port] | join(" ")')"
for path in /v1/waymark/live /v1/waymark/ready /v1/agent/metrics; do
	matches "$path is an endpoint" "\`$path\`" "$("$B/waymarkd" --reference endpoints)"
done
done_testing
