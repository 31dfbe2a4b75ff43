/* SPDX-License-Identifier: Apache-2.0 */
/* wants.h - what the tables are to say of a service and of each part of it, as registry, policies
 * and sources have it now. Threading: loop thread only. */
#pragma once
#include "plan.h"

/* Metadata of an instance, "true": its TCP connections are ended when it goes down or leaves. */
#define WM_META_ABORT_TCP "abort_tcp"

/* Whose, and room to make it in. */
struct wm_wants {
	struct wm_registry *registry;
	struct wm_tables *tables;
	struct wm_plan_here here;
	struct wm_want_backend *want;
	size_t want_cap;
	struct wm_want_front front;
};
/* A part of a service that has a set of its own: a subset, a port of the virtual address, or a port
 * of a subset's. */
struct wm_want_part {
	char label[WM_POLICY_LABEL_MAX + 1]; /* "": all of the service; WM_LABEL_OUTSIDE */
	const struct wm_policy_port *port;   /* NULL: all ports */
	const struct wm_service_spec *spec;  /* whose port it is; NULL: none's */
	unsigned spec_port;		     /* place in it; 0 is what the name means */
	bool tag;			     /* the label is one */
};

/** Is the part of its source's port alone, not of others, too? */
bool wm_want_of_port(const struct wm_want_part *part);
/** What a source says of @p service; NULL: nothing. */
const struct wm_service_spec *wm_want_spec(const struct wm_wants *x, const char *service);
/** WM_STATE_* of its backend. */
uint32_t wm_want_state(const struct wm_wants *x, const struct wm_instance *i);
/** And the weight. A critical instance keeps its own, so that going down and up moves nothing but
 *  its state. */
uint32_t wm_want_weight(const struct wm_instance *i);
/** What the tables are to say of a part of @p s. @p w borrows of @p x, until the next, and of
 *  @p plan, which is done with after it, also on failure. @return 0, -ENOMEM. */
int wm_want_make(struct wm_wants *x, const struct wm_service *s, const struct wm_want_part *part,
		 struct wm_plan *plan, struct wm_want_set *w);
