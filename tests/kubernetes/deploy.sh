# SPDX-License-Identifier: Apache-2.0
# deploy.sh - deploy/kubernetes applied to the cluster of a test: source it behind cluster.sh.
# shellcheck shell=bash
DEPLOY=deploy/kubernetes
applied() { # directory, [options of kubectl apply]: each object with what became of it
	kubectl apply --validate=strict -k "$1" "${@:2}" 2>&1
}
overlay() { # component: a kustomization with it in $TMP/overlay-component
	mkdir -p "$TMP/overlay-$1"
	cat >"$TMP/overlay-$1/kustomization.yaml" <<-TEXT
		apiVersion: kustomize.config.k8s.io/v1beta1
		kind: Kustomization
		resources: [$(realpath --relative-to="$TMP/overlay-$1" $DEPLOY)]
		components: [$(realpath --relative-to="$TMP/overlay-$1" $DEPLOY/"$1")]
		images: [{name: waymark, newName: registry.example/waymark}]
	TEXT
}
cluster_nodes() { # names: nodes that pods of a DaemonSet come to
	KUBE_CA=$CLUSTER/pki/ca.crt python3 - "$@" <<-'PYTHON' || fail "no nodes"
		import sys
		sys.path.insert(0, "tests/kubernetes")
		from kube import CORE, Kube, node
		kube = Kube()
		for n in sys.argv[1:]:
		    one = node(n, "z1", address="172.31.255." + n[1])
		    one["metadata"]["labels"]["kubernetes.io/os"] = "linux"
		    kube.post(f"{CORE}/nodes", one)
	PYTHON
}
