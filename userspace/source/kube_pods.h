/* SPDX-License-Identifier: Apache-2.0 */
/* kube_pods.h - who has an address on this node: its Pods, by their addresses and uids. Pods of the
 * host's network are found by uid alone: their address is the node's. Threading: one owner. */
#pragma once
#include "kube_objects.h"

#define WM_KUBE_PODS_MAX 4096 /* of one node: kubelets allow some hundred */
#define WM_KUBE_UID_MAX	 63   /* octets: a UUID has 36 */

struct wm_kube_pod_here {
	char namespace[WM_KUBE_LABEL_MAX + 1];
	char name[WM_KUBE_NAME_MAX + 1];
	char uid[WM_KUBE_UID_MAX + 1];
	struct in6_addr addresses[2]; /* IPv4 is mapped */
	unsigned addresses_count;     /* 0: none yet, it has ended, or has the host's */
	bool host_network;
	bool out;	    /* WM_KUBE_STEER_KEY: it is to be left alone */
	bool steer_unknown; /* and what it says there is no word for that */
	/* the table's */
	unsigned seen;
	char key[WM_KUBE_LABEL_MAX + 1 + WM_KUBE_NAME_MAX + 1];
};

struct wm_kube_pod_table;
/** @param told NULL ok: what of a pod (namespace/name) cannot be as it is written, once as long as
 *  it says so. @return NULL without memory. */
struct wm_kube_pod_table *
wm_kube_pods_new(void (*told)(void *arg, const char *pod, const char *text), void *arg);
void wm_kube_pods_free(struct wm_kube_pod_table *p); /* NULL ok */
/** As of wm_kube_view_object() and the others there. */
int wm_kube_pods_object(struct wm_kube_pod_table *p, const char *json, size_t len,
			struct wm_err *e);
int wm_kube_pods_gone(struct wm_kube_pod_table *p, const char *json, size_t len, struct wm_err *e);
void wm_kube_pods_skipped(struct wm_kube_pod_table *p, const char *namespace, const char *name);
void wm_kube_pods_begin(struct wm_kube_pod_table *p);
void wm_kube_pods_end(struct wm_kube_pod_table *p);
/** Was a list of them read to its end? */
bool wm_kube_pods_whole(const struct wm_kube_pod_table *p);

/** @return NULL: nobody's. Borrowed until the next object. Cost O(pods). */
const struct wm_kube_pod_here *wm_kube_pods_at(const struct wm_kube_pod_table *p,
					       const struct in6_addr *address);
/** @p uid with dashes or with underscores, as systemd writes it in a cgroup's name. Cost O(pods).
 */
const struct wm_kube_pod_here *wm_kube_pods_uid(const struct wm_kube_pod_table *p, const char *uid,
						size_t len);
/** Walk: start with *pos = 0; NULL ends. */
const struct wm_kube_pod_here *wm_kube_pods_next(const struct wm_kube_pod_table *p, size_t *pos);
unsigned wm_kube_pods_count(const struct wm_kube_pod_table *p);
