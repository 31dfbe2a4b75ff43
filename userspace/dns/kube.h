/* SPDX-License-Identifier: Apache-2.0 */
/* kube.h - the cluster's own domain, as pods ask it: <service>.<namespace>.svc.<zone> and what lies
 * around it. A name is read here (kube_names.c), answered from the registry and what sources say
 * of their services (kube_records.c), and what namespaces and cluster addresses there are is kept
 * as they change (kube.c).
 * Threading: loop thread only. Spec: Kubernetes' DNS-Based Service Discovery 1.1.0. */
#pragma once
#include "userspace/registry/registry.h"
#include "waymark/limits.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WM_KUBE_VERSION "1.1.0"		/* of the specification, as dns-version tells it */
#define WM_KUBE_DOMAIN	"cluster.local" /* kubelets', where nobody says another */
/* Octets of <namespace>/<service> with its NUL: each is a label. */
#define WM_KUBE_KEY_MAX (2 * WM_DNS_LABEL_MAX + 2)

/* What <a-b-c-d>.<namespace>.pod.<zone> is answered with. */
enum wm_kube_pods {
	WM_KUBE_PODS_DISABLED, /* no such name is there */
	WM_KUBE_PODS_INSECURE, /* the address that the name spells, whoever has it */
	WM_KUBE_PODS_VERIFIED, /* the same, if a pod of that namespace has it */
};

enum wm_kube_form {
	WM_KUBE_NOTHING, /* no name of the zone has this form */
	WM_KUBE_APEX,
	WM_KUBE_NS, /* ns.<zone> */
	WM_KUBE_DNS_VERSION,
	WM_KUBE_BRANCH,	   /* svc.<zone>, pod.<zone>: there, and without records */
	WM_KUBE_NAMESPACE, /* <namespace>.svc, <namespace>.pod */
	WM_KUBE_SERVICE,
	WM_KUBE_ENDPOINT, /* <first>.<service> */
	WM_KUBE_PROTO,	  /* _<first>.<service>: ports lie below it */
	WM_KUBE_PORT,	  /* _<second>._<first>.<service> */
	WM_KUBE_POD,	  /* <first>.<namespace>.pod */
};
struct wm_kube_ask {
	enum wm_kube_form form;
	char key[WM_KUBE_KEY_MAX]; /* <namespace>/<service>; of what has no service <namespace>/ */
	char first[WM_DNS_LABEL_MAX + 1], second[WM_DNS_LABEL_MAX + 1];
};

/* A domain on the wire, folded, with its root. */
struct wm_kube_zone {
	uint8_t wire[WM_DNS_NAME_MAX + 1];
	size_t len;
};
/** @return false: @p text is no name, or leaves a service's no room. */
bool wm_kube_zone_of(const char *text, struct wm_kube_zone *ret);
/** What a name, folded and with its root, asks for. @return false: it is not in the zone. */
bool wm_kube_parse(const struct wm_kube_zone *z, const uint8_t *folded, size_t len,
		   struct wm_kube_ask *ret);
/** The label that an endpoint without a host name has: its address with dashes for dots and colons.
 */
void wm_kube_dashed(const struct in_addr *a4, const struct in6_addr *a6,
		    char ret[INET6_ADDRSTRLEN]);
/** The address that such a label spells. @return 4, 6; 0: none. */
int wm_kube_undashed(const char *label, struct in_addr *ret4, struct in6_addr *ret6);
/** The label of an endpoint: its host name, else the above in @p room. Borrowed. */
const char *wm_kube_host(const struct wm_instance *i, char room[INET6_ADDRSTRLEN]);

/* --- kube.c: namespaces and cluster addresses, as they come and go --- */
struct wm_kube;
struct wm_tables;
struct wm_ready_level;
/** Subscribes, and puts names that depend on no instance into the tables. @return NULL without
 * memory, or if @p domain is none. */
struct wm_kube *wm_kube_dns_new(struct wm_registry *r, struct wm_tables *t, const char *domain,
				enum wm_kube_pods pods);
void wm_kube_dns_free(struct wm_kube *k); /* NULL ok */
/** Tell @p l of changes from now on, and of names, those that are there first. */
void wm_kube_dns_tell(struct wm_kube *k, struct wm_ready_level *l);
const struct wm_kube_zone *wm_kube_zone(const struct wm_kube *k);
/** The zone as text, in lower case. Borrowed. */
const char *wm_kube_text(const struct wm_kube *k);
enum wm_kube_pods wm_kube_pods(const struct wm_kube *k);
/** Is there a service in the namespace that @p key begins with? Cost O(1). */
bool wm_kube_has_namespace(const struct wm_kube *k, const char *key);
/** Has a source said anything yet? Until then no name is known not to be. */
bool wm_kube_known(const struct wm_kube *k);
/** The key of the service that has this cluster address, v4-mapped if IPv4; NULL: none. Borrowed
 *  until the loop turn ends. Cost O(1). @p k may be NULL. */
const char *wm_kube_at(const struct wm_kube *k, const uint8_t addr[16]);
