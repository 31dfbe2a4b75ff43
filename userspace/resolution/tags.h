/* SPDX-License-Identifier: Apache-2.0 */
/* tags.h - tags of services that have sets: those that somebody asked for by name, for a while, and
 * those whose virtual addresses somebody asked for, for as long as their service is there. Inside
 * resolution/ only. Threading: loop thread only. */
#pragma once
#include "resolution.h"
#include "wants.h"

#include <stdint.h>
#include <sys/queue.h>

struct wm_tag {
	TAILQ_ENTRY(wm_tag) entry; /* of all, in the order of their ends */
	LIST_ENTRY(wm_tag) of_service;
	const struct wm_service *service;
	uint64_t until_ns;
	uint8_t client[WM_RESOLUTION_CLIENT]; /* who asked for it first */
	bool addressed;			      /* it has addresses: it stays, and is in no queue */
	char text[WM_POLICY_LABEL_MAX + 1];   /* lower case */
};
LIST_HEAD(wm_tag_list, wm_tag); /* of a service */

struct wm_tags {
	struct wm_wants *w; /* borrowed */
	TAILQ_HEAD(, wm_tag) queue;
	unsigned count, addressed_count;
};
void wm_tags_init(struct wm_tags *t, struct wm_wants *w);
void wm_tags_free_list(struct wm_tags *t, struct wm_tag_list *of);
/** @p client asked for @p tag, lower case, of @p s, whose tags are @p of.
 *  @return true: it is new, and @p s must be compiled. */
bool wm_tags_asked(struct wm_tags *t, const struct wm_service *s, struct wm_tag_list *of,
		   const char *tag, const uint8_t client[WM_RESOLUTION_CLIENT]);
/** Give it addresses. @return NULL: nobody has the tag, it is a subset's name, or there is no place
 *  or address left. */
const struct wm_tag *wm_tags_address(struct wm_tags *t, const struct wm_service *s,
				     struct wm_tag_list *of, const char *tag);
/** Make the tables have its set. What is too large, or fits no table, is asked of userspace as
 *  before: nothing is denied by it. One with addresses may be large. */
void wm_tags_put(struct wm_tags *t, const struct wm_tag *tag);
/** The service is gone: so are its tags, with their sets; addresses may be given to others. */
void wm_tags_drop(struct wm_tags *t, struct wm_tag_list *of);
/** Take back those whose time was over at @p now_ns. */
void wm_tags_end(struct wm_tags *t, uint64_t now_ns);
/** Is it a subset's name, which is what it means then? */
bool wm_tags_is_subset(const struct wm_tags *t, const struct wm_tag *tag);
