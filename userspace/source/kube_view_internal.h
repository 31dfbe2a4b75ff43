/* SPDX-License-Identifier: Apache-2.0 */
/* kube_view_internal.h - how a view is kept, for kube_view*.c. A service's entry has its slices,
 * whichever came first; it stays while it has a Service or a slice. */
#pragma once
#include "kube_view.h"
#include "userspace/base/buf.h"
#include "userspace/base/map.h"

#include <sys/queue.h>

#define KEY_MAX	  (WM_KUBE_LABEL_MAX + 1 + WM_KUBE_NAME_MAX) /* octets of "namespace/name" */
#define TEXT_NONE 0 /* where "" stands in a slice's texts */

struct node {
	char *name;
	size_t size;
	bool known;    /* there is a Node of this name */
	bool told;     /* and it was told */
	uint32_t seen; /* in which list */
	unsigned refs; /* of endpoints */
	uint64_t hash; /* of what is told of it */
	struct in6_addr internal[2];
	unsigned internal_count;
	char zone[WM_KUBE_LABEL_MAX + 1]; /* a label's value */
	char region[WM_KUBE_LABEL_MAX + 1];
};

/* 40 octets: texts are places in the slice's block, as there are many of these. */
struct endpoint {
	struct in6_addr address;
	struct node *node;
	uint32_t pod, hostname;
	uint32_t zones; /* each NUL-terminated, one behind the other */
	uint8_t zones_count;
	uint8_t flags; /* WM_KUBE_READY and others */
};

struct slice {
	SLIST_ENTRY(slice) next; /* of its service */
	struct service *service; /* NULL: of none */
	uint64_t version;	 /* hash of what it said */
	uint32_t seen;
	unsigned ports_count, endpoints_count;
	bool passed;			  /* not for who steers: slice_counts() */
	size_t size;			  /* octets of the block */
	struct wm_kube_slice_port *ports; /* their names are in texts */
	struct endpoint *endpoints;	  /* by address, then pod; none twice */
	char *texts;			  /* the first is "" */
	char key[];			  /* namespace/name */
};

struct service {
	SLIST_HEAD(, slice) slices;
	struct wm_service_spec *spec; /* NULL: the Service is not known */
	char *policy;		      /* of its annotation; NULL: none */
	uint64_t version;
	uint32_t seen;
	uint8_t hinted; /* enum wm_spec_prefer: what hints of its endpoints ask for here */
	size_t size;
	char key[]; /* namespace/name */
};

struct wm_kube_view {
	struct wm_kube_view_config c;
	struct wm_map *services, *slices, *nodes;
	struct node *self; /* this node's; its Node may not be known */
	uint32_t seen[WM_KUBE_KINDS];
	unsigned endpoints;
	size_t octets;
	/* scratch of a call, kept for the next one */
	struct endpoint *eps;
	unsigned eps_cap;
	struct change *changes;
	unsigned changes_cap;
	struct wm_buf texts;
};

/* An endpoint as all slices of its service say it together. */
struct merged {
	const struct endpoint *ep; /* one that is as good as any of them */
	const struct slice *slice; /* of that one */
	const char *pod, *hostname;
	uint8_t flags;			   /* the best that is said */
	uint16_t ports[WM_SPEC_PORTS_MAX]; /* of the spec's, 0: it has none */
	uint16_t port;			   /* the first of these */
};

static inline const char *slice_text(const struct slice *s, uint32_t at)
{
	return s->texts + at;
}
/** By address, then by pod. */
int endpoint_cmp(const struct in6_addr *a, const char *a_pod, const struct in6_addr *b,
		 const char *b_pod);
/** Make a slice of what was read, in the place of @p old (NULL: none). @p ret is its block, not yet
 * in any table; its endpoints count as references of nodes. @return 0, WM_E_INVALID, WM_E_CAPACITY,
 * -ENOMEM. */
int slice_new(struct wm_kube_view *v, const struct wm_kube_slice *in, const struct slice *old,
	      struct slice **ret, struct wm_err *e);
void slice_free(struct wm_kube_view *v, struct slice *s); /* NULL ok */
/** Do two of the same service say the same of an endpoint? Their ports are not looked at. */
bool endpoint_same(const struct slice *a, const struct endpoint *x, const struct slice *b,
		   const struct endpoint *y);
/** Nor are they, where one counts and the other does not. */
bool slice_ports_same(const struct slice *a, const struct slice *b);
/** Do its endpoints count for a Service of this spec? By kube-proxy those do not that are another
 * proxy's, or nobody's, by the slice's own labels; where it is not steered all have their names. */
bool slice_counts(const struct slice *s, const struct wm_service_spec *spec);
/** Has it an endpoint of this address and pod? Cost O(log endpoints). */
bool slice_has(const struct slice *s, const struct in6_addr *at, const char *pod);
/** What the slices of @p s say of an endpoint of this address and pod, for @p spec.
 *  @return false: it is no instance: none has it, or it has no port that the spec asks for. */
bool merge(const struct service *s, const struct wm_service_spec *spec, const struct in6_addr *at,
	   const char *pod, struct merged *ret);

/** The node of this name, which is made if it is not there. @return NULL without memory. */
struct node *node_get(struct wm_kube_view *v, const char *name);
void node_unref(struct wm_kube_view *v, struct node *n);

/** A spec of what was read of a Service; what it leaves out is told. @return NULL: -ENOMEM, or it
 *  is refused, by @p e. Freed by wm_service_spec_free(). */
struct wm_service_spec *spec_new(struct wm_kube_view *v, const struct wm_kube_service *in,
				 struct wm_err *e);
/** Tell of it as it is now: with this node's addresses, and by hints. */
void spec_tell(struct wm_kube_view *v, const struct service *s);
void instance_put(struct wm_kube_view *v, const struct service *s, const struct merged *m);
/** @p node is where it was told to be. */
void instance_gone(struct wm_kube_view *v, const struct service *s, const struct in6_addr *at,
		   const char *pod, const struct node *node);
/** Do the endpoints of a service have hints that count on this node? By kube-proxy's rule (1.34,
 *  KEP-3015): where every ready one has hints for nodes and some is for this one, these; else where
 *  every ready one has hints for zones and some is for this node's, these; else none.
 *  @return enum wm_spec_prefer. */
uint8_t hinted(const struct wm_kube_view *v, const struct service *s);
