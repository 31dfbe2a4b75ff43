/* SPDX-License-Identifier: Apache-2.0 */
/* consul_decode.h - what Consul's answers say, as drafts of the registry. An answer is cut into its
 * elements first, so that one of ten thousand instances is read bit by bit and never stands as a
 * whole tree; what is no JSON is refused before any of it is taken. Unknown members are passed
 * over: Consul gets new ones. Pure. Spec: Consul's HTTP API, blocking queries and health. */
#pragma once
#include "userspace/base/err.h"
#include "userspace/model/draft.h"

#include <stddef.h>

/* Metadata key of what Waymark registered with a Consul: whose it is, and a hash of what was said.
 */
#define WM_CONSUL_ORIGIN "waymark-origin"

#define WM_CONSUL_DATACENTER_MAX 63 /* octets: Consul's are one DNS label */

/** The index to ask with next. @p had: the one that was asked with, 0: none; @p got: of the answer,
 *  0: it had none. What goes back is begun anew, as Consul wants it. @p ret_reset: it went back, or
 *  there is none. @return 0: ask without one. */
uint64_t wm_consul_index_next(uint64_t had, uint64_t got, bool *ret_reset);
/** A header's number. @return false: it is none of 64 bits. */
bool wm_consul_number(const char *text, uint64_t *ret);

/* Elements of a JSON array, or members of an object, in a text. */
struct wm_consul_walk {
	const char *at, *end;
};
/** Begin with an array (@p open '[') that nothing follows. @return the number of elements;
 * -EBADMSG: its brackets or texts do not end as they begin, something follows, or it is nested
 * deeper than WM_JSON_DEPTH_MAX. Cost O(len). */
int64_t wm_consul_walk_begin(struct wm_consul_walk *w, const char *text, size_t len);
/** The next element, @p ret_len octets. @return NULL: there is no more. */
const char *wm_consul_walk_next(struct wm_consul_walk *w, size_t *ret_len);

/* An element of /v1/health/service/:name. What it points to lives until it is read into again. */
struct wm_consul_entry {
	const char *node;
	uint64_t node_index; /* ModifyIndex of the node; 0: not told */
	const char *origin;  /* its mark, see WM_CONSUL_ORIGIN; NULL: none */
	struct wm_node_draft facts;
	struct wm_instance_draft draft; /* with its checks */
	enum wm_status status;		/* worst of its checks and of its node's */
	/* memory of the above */
	struct json_t *root;
	struct wm_traits traits;
	const char *tags[WM_TAGS_MAX];
	struct wm_pair meta[WM_META_PAIRS_MAX], node_meta[WM_META_PAIRS_MAX];
	struct wm_tagged_address tagged[WM_TAGGED_MAX];
	struct wm_pair node_tagged[WM_TAGGED_MAX];
	struct wm_check_draft checks[WM_CHECKS_PER_INSTANCE];
	char ids[WM_CHECKS_PER_INSTANCE][WM_CHECK_ID_MAX + 1];
};
/** Read one. Checks of the node that do not pass stand among the instance's, with its id behind
 *  theirs; of more checks than an instance may have the worst are kept. Outputs of checks that pass
 *  are left out: they change all the time.
 *  @return 0; WM_E_DECODE: it is none, nothing of it is to be taken; WM_E_LIMIT, WM_E_INVALID: too
 *  much of something, or a name that has a scope, then `node` and `draft.id` are set. -ENOMEM. */
int wm_consul_entry_read(const char *text, size_t len, struct wm_consul_entry *ret,
			 struct wm_err *e);
void wm_consul_entry_done(struct wm_consul_entry *ent);

/** The names in /v1/catalog/services. @p fn is called for each until it returns other than 0.
 *  @return that, 0, WM_E_DECODE. */
int wm_consul_services_read(const char *text, size_t len, int (*fn)(void *arg, const char *name),
			    void *arg, struct wm_err *e);

/* What /v1/agent/self says. */
struct wm_consul_self {
	char datacenter[WM_CONSUL_DATACENTER_MAX + 1];
	char node[WM_NODE_NAME_MAX + 1]; /* cut */
	char id[WM_NODE_ID_MAX + 1];	 /* of the node; cut */
};
/** @return 0, WM_E_DECODE. */
int wm_consul_self_read(const char *text, size_t len, struct wm_consul_self *ret, struct wm_err *e);

#define WM_CONSUL_TRUST_MAX 55 /* octets of a trust domain: a UUID and ".consul" */
/** The trust domain of a Consul's authority, as /v1/connect/ca/roots says it: no two clusters have
 *  one. "": it says none. @return 0, WM_E_DECODE. */
int wm_consul_trust_read(const char *text, size_t len, char ret[static WM_CONSUL_TRUST_MAX + 1],
			 struct wm_err *e);

/** The services in /v1/agent/services, with their mark ("" if none).
 *  @return as wm_consul_services_read(). */
int wm_consul_local_read(const char *text, size_t len,
			 int (*fn)(void *arg, const char *id, const char *origin), void *arg,
			 struct wm_err *e);
