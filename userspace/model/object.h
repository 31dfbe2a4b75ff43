/* SPDX-License-Identifier: Apache-2.0 */
/* object.h - builds, compares and frees the registry's objects. An instance and its strings are one
 * block of memory, and so are a check and its strings: a registration is copied once. Objects are
 * replaced as wholes, not edited but for a check's status and output, and the address that an
 * instance has of its node. Inside registry/ only. */
#pragma once
#include "draft.h"

#include <stddef.h>
#include <sys/queue.h>

/* The newest word on an object in the history of all, which is the registry's (history.h). */
struct wm_past {
	TAILQ_ENTRY(wm_past) entry;	/* by index */
	TAILQ_ENTRY(wm_past) log_entry; /* of its origin, by number */
	uint64_t index : 61;
	bool listed : 1, logged : 1;
	bool gone : 1; /* a tombstone's, else an instance's or a node's holder's: of each its `past`
			*/
};
TAILQ_HEAD(wm_pasts, wm_past);

struct wm_instance_box {
	struct wm_instance i;	  /* first: a box is found from its instance by a cast */
	const char *service_name; /* in lower case */
	TAILQ_ENTRY(wm_instance_box) dirty_entry;
	uint32_t bytes;	  /* of memory: this block and its checks' blocks when it was built */
	bool dead : 1;	  /* replaced or deleted, about to be freed */
	bool dirty : 1;	  /* a check's status is newer than the stored row */
	bool urgent : 1;  /* somebody waits for that: stands first among what is dirty */
	bool riding : 1;  /* its row is being stored beside the writes of a batch */
	bool planned : 1; /* a write that is prepared or being stored replaces or removes it */
	struct wm_past past;
	uint64_t changed; /* number of the last status of a check that was announced */
};
TAILQ_HEAD(wm_instance_boxes, wm_instance_box);

struct wm_check_box {
	struct wm_check c; /* first */
	unsigned bytes;	   /* of memory: this block */
	uint8_t given;	   /* initial status that the client asked for: 0 none, else 1 + status */
	bool told;	   /* its status is somebody's word, were it without one; not stored */
	bool local;	   /* this observer's own: neither stored nor told to others */
};

/* What a stored record holds of a check beside its definition. */
struct wm_check_state {
	uint64_t create_index, modify_index;
	enum wm_status status;
	bool told; /* of what others told, see wm_check_box */
};

static inline struct wm_instance_box *wm_box(struct wm_instance *i)
{
	return (struct wm_instance_box *)i;
}
/** The instance that a word is on, or a node's holder; NULL: it is a tombstone's. */
static inline struct wm_instance *wm_past_live(struct wm_past *p)
{
	return p->gone ? NULL
		       : &((struct wm_instance_box *)((char *)p -
						      offsetof(struct wm_instance_box, past)))
				  ->i;
}
static inline struct wm_check_box *wm_cbox(struct wm_check *c)
{
	return (struct wm_check_box *)c;
}

/** Build a detached instance (no node, no service, no indexes) with its checks from a draft that
 *  passed validation; ids and names that the draft leaves out get Consul's defaults.
 *  @return NULL without memory. The caller frees it by wm_instance_free(). */
struct wm_instance *wm_instance_build(const struct wm_instance_draft *d);
/** The same instance once more, without checks: what a write on its checks replaces it by. */
struct wm_instance *wm_instance_clone(const struct wm_instance *i);
/** A check from a draft that passed validation. @return NULL without memory. */
struct wm_check *wm_check_build(const struct wm_check_draft *d, const char *id, const char *name);
/** Free an instance; with @p checks also every check it lists. NULL ok. */
void wm_instance_free(struct wm_instance *i, bool checks);
void wm_check_free(struct wm_check *c); /* NULL ok */
/** Replace the output (cut at WM_CHECK_OUTPUT_MAX, at a character's border).
 *  @return 1 changed, 0 the same, -ENOMEM with nothing changed. */
int wm_check_set_output(struct wm_check *c, const char *output);
/** Same definition: everything that a client states; status, output and indexes aside. */
bool wm_check_same(const struct wm_check *a, const struct wm_check *b);
/** The same but for checks. */
bool wm_instance_same(const struct wm_instance *a, const struct wm_instance *b);
/** Worst of its own checks; passing without any. */
enum wm_status wm_instance_worst(const struct wm_instance *i);
/** Addresses of a text: IPv4 (v4-mapped counts as it), IPv6, or none for a host name. */
void wm_address_parse(const char *s, struct in_addr *ret4, struct in6_addr *ret6);
