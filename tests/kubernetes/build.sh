#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# kube-apiserver, kube-controller-manager, kube-proxy and kubectl of the version below, into build/kubernetes/,
# from the Go module proxy: once, it takes ten minutes and 3 GB. 77 and a reason where that cannot be.
set -euo pipefail
cd "$(dirname "$0")/../.."
VERSION=1.34.2
OUT=$PWD/build/kubernetes
PROGRAMS="kube-apiserver kube-controller-manager kubectl kube-proxy"
[ "$(cat "$OUT/version" 2>/dev/null)" != "$VERSION $PROGRAMS" ] || exit 0
skipped() {
	echo "skipped: $*"
	exit 77
}
GO=$(command -v go || command -v /usr/local/go/bin/go) || skipped "Go is not installed, which builds the API server"
mkdir -p "$OUT/module"
cd "$OUT/module"
# In its repository the module has its staging modules as folders beside it: the proxy has them as modules.
{
	echo "module waymark.test/kubernetes"
	echo
	echo "go 1.24.0"
	echo
	echo "godebug default=go1.24"
	echo
	echo "require k8s.io/kubernetes v$VERSION"
	echo
	echo "replace ("
	for m in api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap \
		code-generator component-base component-helpers controller-manager cri-api cri-client csi-translation-lib \
		dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator kube-controller-manager kube-proxy \
		kube-scheduler kubectl kubelet metrics mount-utils pod-security-admission sample-apiserver sample-cli-plugin \
		sample-controller; do
		echo "	k8s.io/$m => k8s.io/$m v0.${VERSION#1.}"
	done
	echo ")"
} >go.mod
"$GO" mod download k8s.io/kubernetes >"$OUT/build.log" 2>&1 || {
	tail -n 3 "$OUT/build.log"
	skipped "the Go module proxy does not give k8s.io/kubernetes v$VERSION"
}
for p in $PROGRAMS; do
	echo "building $p v$VERSION (once; minutes)"
	CGO_ENABLED=0 nice -n 19 "$GO" build -p "${KUBERNETES_JOBS:-1}" -mod=mod -trimpath \
		-ldflags "-s -w -X k8s.io/component-base/version.gitVersion=v$VERSION" \
		-o "$OUT/$p" "k8s.io/kubernetes/cmd/$p" >>"$OUT/build.log" 2>&1 || {
		tail -n 20 "$OUT/build.log"
		exit 1
	}
done
echo "$VERSION $PROGRAMS" >"$OUT/version"
