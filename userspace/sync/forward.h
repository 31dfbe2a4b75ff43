/* SPDX-License-Identifier: Apache-2.0 */
/* forward.h - a client's request that is another agent's to answer: it is sent to that agent,
 * judged and made durable there, and answered with what it says. The agent that is asked hands it
 * to its API as one that came over no socket (wm_http_inner_new()), which does not pass it on
 * again. Threading: loop thread only. */
#pragma once
#include "sync.h"
#include "userspace/net/http_server.h"
#include "waymark/limits.h"

/* On the wire: new ones are appended. 1 to 3 were single requests, without an answer's body. */
enum wm_forward_what { WM_FORWARD_HTTP = 4 };

struct wm_forward {
	const char *method;
	const char *target; /* path and query, WM_HTTP_HEADERS_MAX octets at most */
	const void *body;
	size_t len; /* WM_HTTP_BODY_MAX at most */
};
#define WM_FORWARD_MS  10000 /* the owner has so long to answer */
#define WM_FORWARD_MAX 1024  /* requests that wait for answers */
#define WM_FORWARD_ANSWER_MAX                                                                      \
	(64u << 10) /* octets of an answer's body: these are answers to writes */

/* What the owner answers. */
struct wm_forward_answer {
	int code; /* 0, or of base/err.h: the owner did not answer; whether it was done is not
		   * known then, if `text` says so */
	const char *text; /* of the code */
	int status;	  /* of HTTP, 200 to 599 */
	const char *type; /* of the body; NULL: there is none */
	const void *body;
	size_t len;
};
/** Called once; the answer is valid during the call. */
typedef void (*wm_forward_done)(void *arg, const struct wm_forward_answer *a);

/** Ask the agent of @p node. @p done is called within WM_FORWARD_MS, at once if the member fails.
 *  @return 0; WM_E_UNKNOWN (no such member, or it left), WM_E_BUSY (it failed, or too much waits),
 *  WM_E_UNSUPPORTED (etcd carries), WM_E_LIMIT, -ENOMEM; nothing was sent then, @p e, whose code is
 * 0 before, names the node.
 */
int wm_sync_forward(struct wm_sync *s, const char *node, const struct wm_forward *f,
		    wm_forward_done done, void *arg, struct wm_err *e);
/** Who answers what others ask for; NULL: nobody. Not NULL for longer than it can be called. */
void wm_sync_serve(struct wm_sync *s, wm_http_handler fn, void *arg);
