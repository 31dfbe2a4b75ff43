#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# The chart by helm itself, which is built from the Go module proxy: linted, and rendered it is what the plain
# manifests are, with each component and for the uninstallation.
# shellcheck source=tests/long/go_tool.sh
. "$(dirname "$0")/go_tool.sh"
go_tool helm helm.sh/helm/v3/cmd/helm@v3.17.3
HELM=build/helm/helm
# shellcheck source=tests/net/lib.sh
. tests/net/lib.sh
go_tool_needed helm
CHART=deploy/helm/waymark
# built so helm takes its own Kubernetes for an old one
TEMPLATE=(template waymark "$CHART" --kube-version 1.34.0 --namespace waymark)
check "helm finds nothing wrong" "" "$("$HELM" lint --strict --quiet $CHART 2>&1)"
renders() { # what, variant, options of helm
	"$HELM" "${TEMPLATE[@]}" --include-crds "${@:3}" >"$TMP/rendered.yaml" 2>"$TMP/said" || fail "$1: $(cat "$TMP/said")"
	check "$1: as the manifests" "" "$(/usr/bin/python3 tests/long/chart.py "$TMP/rendered.yaml" "$2" 2>&1)"
}
renders "the agent" ""
renders "with metrics" metrics --set metrics.enabled=true
renders "that looks into pods" sockets --set sockets=true
renders "the uninstallation" uninstall --set uninstall=true
matches "a value of no name is refused" 'imgae' "$("$HELM" "${TEMPLATE[@]}" --set imgae.tag=x 2>&1)"
"$HELM" "${TEMPLATE[@]}" --set-string image.tag=1.2.3 --set image.repository=r.example/w --set settings.dns.port=5300 \
	--set 'env[0].name=WAYMARKD_LOG_LEVEL' --set 'env[0].value=warn' >"$TMP/rendered.yaml"
matches "an image of one's own" 'image: r.example/w:1.2.3' "$(cat "$TMP/rendered.yaml")"
matches "settings of one's own" '"port": 5300' "$(cat "$TMP/rendered.yaml")"
matches "variables of one's own" 'name: WAYMARKD_LOG_LEVEL' "$(cat "$TMP/rendered.yaml")"
"$HELM" "${TEMPLATE[@]}" --show-only templates/metrics.yaml --set metrics.enabled=true,metrics.podMonitor=true \
	--set 'metrics.podMonitorLabels.app\.kubernetes\.io/name=mine,metrics.podMonitorLabels.release=x' >"$TMP/rendered.yaml"
check "a label of the chart's that is given again: once, as it was given" "app.kubernetes.io/name: mine" \
	"$(sed -n '/^kind: PodMonitor/,/^spec:/s/^ *\(app.kubernetes.io\/name: .*\)/\1/p' "$TMP/rendered.yaml")"
check "and one of one's own, beside the others" "release: x app.kubernetes.io/managed-by: Helm" \
	"$(sed -n '/^kind: PodMonitor/,/^spec:/p' "$TMP/rendered.yaml" | grep -oE '(release: x|app.kubernetes.io/managed-by: Helm)' | sort -r | paste -sd' ')"
done_testing
