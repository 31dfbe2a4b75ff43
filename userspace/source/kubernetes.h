/* SPDX-License-Identifier: Apache-2.0 */
/* kubernetes.h - a Kubernetes cluster as a source: Namespaces, Nodes, Services, EndpointSlices, the
 * Pods of this node and WaymarkPolicies are listed and watched (kube_client.h), and what a view
 * (kube_view.h) makes of them goes through the door (source.h). Nothing is taken before the cluster
 * is known to be the one that is kept here: the uid of its namespace kube-system says which it is,
 * and is asked for again before each list is read, and when a server is back.
 * Threading: loop thread only. Spec: docs/kubernetes.md. */
#pragma once
#include "kube_pods.h"
#include "source.h"
#include "userspace/net/loop.h"
#include "waymark/guard.h"

#define WM_KUBERNETES	     "kubernetes" /* the source's name */
#define WM_KUBERNETES_PREFIX "k8s"	  /* of its nodes' names */

#define WM_KUBERNETES_BARE_MAX 16 /* a look through them is made for each instance that is told */

/* A policy that the cluster states for a service. */
struct wm_kube_said {
	const char *service; /* namespace/name */
	const char *by;	     /* "annotation", or "WaymarkPolicy <name>" */
	const char *json;    /* the object of /v1/waymark/policies, without `service` */
};

struct wm_kubernetes_config {
	struct wm_loop *loop;
	struct wm_sources *sources;
	const char *const *own_dns; /* see wm_kube_config, as all up to here */
	const char *kubeconfig, *context;
	const char *const *servers;
	const char *account_dir;
	const char *node;			/* this node's name in the cluster */
	const struct wm_guard_prefix *external; /* borrowed for good */
	unsigned external_count;
	bool node_ports, balancers, policies;
	bool policy_status; /* verdicts are written to WaymarkPolicies, see kube_status.h */
	/* Namespaces whose services' instances are those of the bare name, too; NULL ends. At most
	 * WM_KUBERNETES_BARE_MAX. */
	const char *const *bare;
	unsigned instances_max, services_max;
	/* All policies that the cluster states now, soon after they changed, never before a first
	 * list of them is whole. Borrowed during the call. */
	void (*said)(void *arg, const struct wm_kube_said *said, unsigned count);
	void *arg;
};

struct wm_kubernetes;
/** Begin; nobody is asked before the loop turns. Texts of @p c are copied.
 *  @return 0; as wm_kube_new() and wm_source_new(). */
int wm_kubernetes_new(const struct wm_kubernetes_config *c, struct wm_kubernetes **ret,
		      struct wm_err *e);
void wm_kubernetes_free(struct wm_kubernetes *k); /* before the sources; NULL ok */
/** During `said`: what the cluster states for this service cannot be, and why. All others are
 *  accepted. */
void wm_kubernetes_refuse(struct wm_kubernetes *k, const char *service, const struct wm_err *why);
/** The Pods of this node. */
const struct wm_kube_pod_table *wm_kubernetes_pods(const struct wm_kubernetes *k);
