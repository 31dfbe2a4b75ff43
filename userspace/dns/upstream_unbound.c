/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_unbound.c - one libunbound context with its cache, on the loop. A cancelled question
 * stays with libunbound until it is answered: libunbound's own cancelling frees what it calls
 * later. Spec: libunbound(3), unbound-event.h. */
#include "upstream_internal.h"
#include "userspace/base/err.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unbound-event.h>
#include <unbound.h>
#include <unistd.h>

struct wm_unbound_ask {
	struct wm_unbound *u;
	wm_unbound_fn fn; /* NULL: cancelled */
	void *arg;
	bool asking;		       /* wm_unbound_ask() has not returned */
	bool done;		       /* within it */
	struct sockaddr_storage asked; /* the server that it went to */
	LIST_ENTRY(wm_unbound_ask) entry;
};

struct wm_unbound {
	struct ub_ctx *ctx;
	struct ub_event_base *events;
	unsigned busy;
	LIST_HEAD(, wm_unbound_ask) asks;
};

/* libunbound reads files only: this one has no name. */
static int read_conf(struct ub_ctx *ctx, const char *conf, size_t len)
{
	_cleanup_close_ int fd = memfd_create("unbound.conf", MFD_CLOEXEC);
	char path[32];

	if (fd < 0 || write(fd, conf, len) != (ssize_t)len)
		return -ENOMEM;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return ub_ctx_config(ctx, path) ? -EINVAL : 0;
}

bool wm_unbound_takes(const char *conf)
{
	struct ub_ctx *ctx = ub_ctx_create();
	struct ub_result *answer = NULL;
	bool ok;

	if (!ctx)
		return false;
	ub_ctx_debugout(ctx, NULL);
	/* the files are read for the first question: one that is answered without asking anybody */
	ok = !read_conf(ctx, conf, strlen(conf)) &&
	     !ub_resolve(ctx, "localhost.", WM_DNS_A, WM_DNS_IN, &answer);
	ub_resolve_free(answer);
	ub_ctx_delete(ctx);
	return ok;
}

int wm_unbound_new(struct wm_loop *l, const char *conf, size_t len, struct wm_unbound **ret,
		   struct wm_err *e)
{
	struct wm_unbound *u = calloc(1, sizeof(*u));
	int r = -ENOMEM;

	if (u) {
		LIST_INIT(&u->asks);
		u->events = wm_upstream_events_new(l);
		u->ctx = u->events ? ub_ctx_create_ub_event(u->events) : NULL;
	}
	if (u && u->ctx) {
		ub_ctx_debugout(u->ctx, NULL); /* it would write to stderr */
		r = read_conf(u->ctx, conf, len);
	}
	if (r) {
		wm_unbound_free(u);
		return wm_err_set(e, r, "libunbound: %s",
				  r == -EINVAL ? "it does not take its configuration"
					       : "out of memory");
	}
	*ret = u;
	return 0;
}

static void on_answer(void *arg, int rcode, void *packet, int len, int sec, char *why, int limited)
{
	struct wm_unbound_ask *k = arg;
	bool whole = !rcode && packet && len >= WM_DNS_HEADER_LEN && !limited;
	struct wm_unbound_answer a = {.failed = !whole || (((uint8_t *)packet)[3] & WM_DNS_RCODE) ==
								  WM_DNS_SERVFAIL,
				      .packet = packet,
				      .len = len > 0 ? (size_t)len : 0,
				      .bogus = sec == 1,
				      .secure = sec == 2,
				      .at_once = k->asking,
				      .why = why};

	LIST_REMOVE(k, entry);
	k->u->busy--;
	if (k->fn)
		k->fn(k->arg, &a);
	k->done = true;
	if (!k->asking)
		free(k);
}

/* A question leaves from within ub_resolve_event(), and its socket is connected before it is
 * watched (udp-connect). */
static void note_asked(struct wm_unbound_ask *k)
{
	int fd = wm_upstream_events_fd(k->u->events);
	socklen_t len = sizeof(k->asked);

	if (fd < 0 || getpeername(fd, (struct sockaddr *)&k->asked, &len))
		k->asked.ss_family = AF_UNSPEC;
}

int wm_unbound_ask(struct wm_unbound *u, const char *name, uint16_t type, wm_unbound_fn fn,
		   void *arg, struct wm_unbound_ask **ret)
{
	struct wm_unbound_ask *k = calloc(1, sizeof(*k));
	int r;

	*ret = NULL;
	if (!k)
		return -ENOMEM;
	k->u = u;
	k->fn = fn;
	k->arg = arg;
	k->asking = true;
	LIST_INSERT_HEAD(&u->asks, k, entry);
	u->busy++;
	wm_upstream_events_mark(u->events);
	r = ub_resolve_event(u->ctx, name, type, WM_DNS_IN, k, on_answer, NULL);
	k->asking = false;
	if (k->done || r) {
		if (!k->done) {
			LIST_REMOVE(k, entry);
			u->busy--;
		} else {
			r = 0; /* fn ran */
		}
		free(k);
		return r == UB_NOMEM ? -ENOMEM : r ? -EIO : 0;
	}
	note_asked(k);
	*ret = k;
	return 0;
}

bool wm_unbound_heard(const struct wm_unbound *u)
{
	return wm_upstream_events_heard(u->events);
}

const struct sockaddr *wm_unbound_asked(const struct wm_unbound_ask *k)
{
	return (const struct sockaddr *)&k->asked;
}

void wm_unbound_cancel(struct wm_unbound_ask *k)
{
	if (k)
		k->fn = NULL;
}

unsigned wm_unbound_busy(const struct wm_unbound *u)
{
	return u->busy;
}

void wm_unbound_free(struct wm_unbound *u)
{
	struct wm_unbound_ask *k;

	if (!u)
		return;
	LIST_FOREACH (k, &u->asks, entry)
		k->fn = NULL;
	if (u->ctx)
		ub_ctx_delete(u->ctx); /* calls back for what is on its way, or does not */
	while ((k = LIST_FIRST(&u->asks))) {
		LIST_REMOVE(k, entry);
		free(k);
	}
	wm_upstream_events_free(u->events);
	free(u);
}
