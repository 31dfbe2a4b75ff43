/* SPDX-License-Identifier: Apache-2.0 */
/* forward.h - what is asked for here and is another agent's to do: taking one of its instances
 * away, draining it, maintenance. It is sent to that agent, judged and made durable there, and
 * answered by it. Threading: loop thread only. */
#pragma once
#include "sync.h"
#include "userspace/registry/registry.h"

/* On the wire: new ones are appended. */
enum wm_forward_what {
	WM_FORWARD_DEREGISTER = 1,
	WM_FORWARD_LIFECYCLE,
	WM_FORWARD_MAINTENANCE,
};
struct wm_forward {
	enum wm_forward_what what;
	const char *id; /* of the instance; MAINTENANCE: "" is the node */
	enum wm_lifecycle to;
	uint64_t drain_ms;  /* LIFECYCLE, as of wm_registry_lifecycle() */
	bool on;	    /* MAINTENANCE */
	const char *reason; /* MAINTENANCE; NULL or "": none */
};
#define WM_FORWARD_MS  10000 /* the owner has so long to answer */
#define WM_FORWARD_MAX 1024  /* requests that wait for answers */

/** Ask the agent of @p node. @p done is called once, with the owner's code and sentence, or
 *  WM_E_BUSY after WM_FORWARD_MS: whether it was done is not known then.
 *  @return 0; WM_E_UNKNOWN (no such member), WM_E_UNSUPPORTED (etcd carries), WM_E_BUSY, -ENOMEM.
 */
int wm_sync_forward(struct wm_sync *s, const char *node, const struct wm_forward *f,
		    wm_registry_done done, void *arg, struct wm_err *e);
