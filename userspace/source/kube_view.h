/* SPDX-License-Identifier: Apache-2.0 */
/* kube_view.h - what a cluster has of services, as nodes, instances and specs (source.h): Services,
 * EndpointSlices and Nodes come in any order, each by itself, and what follows of one is told at
 * once, and nothing else. An instance is an address of a Service: what several slices say of it is
 * one. It is told of while its Service is there. Objects are kept as small as they can be: some 100
 * octets an endpoint.
 *
 * A list is told by begin and end: what is the same is told to nobody, what did not come is gone.
 * Threading: one owner. Spec: docs/kubernetes.md, "What becomes of objects". */
#pragma once
#include "kube_objects.h"
#include "userspace/model/draft.h"
#include "userspace/model/spec.h"
#include "waymark/guard.h"

#define WM_KUBE_NO_NODE                                                                            \
	"_external" /* node of endpoints that say none: no node's name in Kubernetes */

/* Who is told; borrowed during each call. All but told, which may be NULL, are there. */
struct wm_kube_out {
	void (*node)(void *arg, const char *node, const struct wm_node_draft *facts);
	void (*node_gone)(void *arg, const char *node);
	void (*put)(void *arg, const char *node, const struct wm_instance_draft *d,
		    enum wm_status status, enum wm_lifecycle life);
	void (*gone)(void *arg, const char *node, const char *id);
	void (*spec)(void *arg, const struct wm_service_spec *s);
	void (*spec_gone)(void *arg, const char *service);
	/* A Service's annotation; NULL: it has none any more. Not told again while it is the same.
	 */
	void (*policy)(void *arg, const char *service, const char *json);
	/* What is left out of an object, in one sentence. */
	void (*told)(void *arg, const char *object, const char *text);
};

struct wm_kube_view_config {
	const char *source; /* its name, as specs say it */
	const char *node;   /* this node's name in the cluster */
	/* Services' externalIPs that may be dialled: none by default (CVE-2020-8554) */
	const struct wm_guard_prefix *external;
	unsigned external_count;
	bool node_ports, balancers; /* whether these are dialled */
	unsigned endpoints_max;	    /* of all slices; 0: WM_KUBE_VIEW_ENDPOINTS_MAX */
	struct wm_kube_out out;
	void *arg;
};
#define WM_KUBE_VIEW_ENDPOINTS_MAX 1000000u /* some 100 MB of them */
#define WM_KUBE_VIEW_OBJECTS_MAX   200000u  /* objects of a kind */

enum wm_kube_kind { WM_KUBE_SERVICES, WM_KUBE_SLICES, WM_KUBE_NODES, WM_KUBE_KINDS };

struct wm_kube_view;
/** @p c is copied, but its texts and prefixes: they are borrowed. @return NULL without memory. */
struct wm_kube_view *wm_kube_view_new(const struct wm_kube_view_config *c);
void wm_kube_view_free(struct wm_kube_view *v); /* nobody is told; NULL ok */

/** An object is there, as it is now; @p json ends with a NUL. One whose version is known is not
 * read further. @return 0; WM_E_INVALID: it cannot be read, what was known of it stays;
 * WM_E_CAPACITY; -ENOMEM: a list is needed. Cost O(octets), and of what follows. */
int wm_kube_view_object(struct wm_kube_view *v, enum wm_kube_kind kind, const char *json,
			size_t len, struct wm_err *e);
/** It went. @return 0, also if it is not known; WM_E_INVALID: it cannot be read. */
int wm_kube_view_gone(struct wm_kube_view *v, enum wm_kube_kind kind, const char *json, size_t len,
		      struct wm_err *e);
/** It is there and could not be read: what is known of it stays. */
void wm_kube_view_skipped(struct wm_kube_view *v, enum wm_kube_kind kind, const char *namespace,
			  const char *name);
void wm_kube_view_begin(struct wm_kube_view *v, enum wm_kube_kind kind);
void wm_kube_view_end(struct wm_kube_view *v, enum wm_kube_kind kind);
/** Tell everything again: who was told lost some of it. */
void wm_kube_view_again(struct wm_kube_view *v);

struct wm_kube_view_stats {
	unsigned services, slices, nodes, endpoints; /* that are known; endpoints of slices */
	size_t octets;				     /* of memory that objects take */
};
void wm_kube_view_stats(const struct wm_kube_view *v, struct wm_kube_view_stats *ret);
