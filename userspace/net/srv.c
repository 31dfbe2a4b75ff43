/* SPDX-License-Identifier: Apache-2.0 */
/* srv.c - asks name servers for SRV records, see srv.h: one after the other, each with a socket of
 * its own that only it can answer to. */
#include "srv.h"

#include "userspace/base/err.h"
#include "userspace/base/random.h"
#include "waymark/dns_wire.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

struct wm_srv_lookup {
	LIST_ENTRY(wm_srv_lookup) entry;
	struct wm_srvs *s;
	struct wm_timer *timer; /* the next server, or the callback */
	struct wm_io *io;
	int fd;
	unsigned tries;
	bool done;
	wm_srv_fn fn;
	void *arg;
	uint8_t question[WM_SRV_OCTETS_MAX];
	size_t len;
	struct wm_srv_answer answer;
};

struct wm_srvs {
	struct wm_loop *loop;
	struct wm_resolver *resolver;
	LIST_HEAD(, wm_srv_lookup) lookups;
	unsigned count;
};

static void end_try(struct wm_srv_lookup *k)
{
	wm_io_free(k->io);
	k->io = NULL;
	if (k->fd >= 0)
		close(k->fd);
	k->fd = -1;
}

static void settle(struct wm_srv_lookup *k, int error)
{
	end_try(k);
	k->answer.error = error;
	k->done = true;
	wm_timer_arm(k->timer, 0);
}

static void on_readable(void *arg, unsigned events)
{
	struct wm_srv_lookup *k = arg;
	uint8_t p[WM_SRV_OCTETS_MAX];
	ssize_t n = recv(k->fd, p, sizeof(p), MSG_DONTWAIT);
	int r;

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	r = n < 0 ? -ENODATA : wm_srv_parse(k->question, k->len, p, (size_t)n, &k->answer);
	if (r == -EPROTO)
		return;	     /* an answer to nothing: the right one may follow */
	if (r == -ENODATA) { /* refused, or it does not know: the next one */
		end_try(k);
		wm_timer_arm(k->timer, 0);
		return;
	}
	wm_srv_order(&k->answer, wm_random_below);
	settle(k, r);
}

/* @return false: not to this server. */
static bool send_to(struct wm_srv_lookup *k, const struct sockaddr_storage *to)
{
	socklen_t len =
		to->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);

	k->fd = socket(to->ss_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (k->fd < 0 || connect(k->fd, (const struct sockaddr *)to, len) ||
	    send(k->fd, k->question, k->len, 0) != (ssize_t)k->len)
		return false;
	k->io = wm_io_new(k->s->loop, k->fd, WM_IO_READ, on_readable, k);
	return k->io != NULL;
}

static void on_timer(void *arg)
{
	struct wm_srv_lookup *k = arg;
	const struct sockaddr_storage *to;
	unsigned servers;

	end_try(k);
	if (k->done) {
		LIST_REMOVE(k, entry);
		k->s->count--;
		wm_timer_free(k->timer);
		k->fn(k->arg, &k->answer);
		free(k);
		return;
	}
	servers = wm_resolver_servers(k->s->resolver);
	if (!servers || k->tries == WM_SRV_TRIES) {
		settle(k, -ENODATA);
		return;
	}
	to = wm_resolver_server(k->s->resolver, k->tries++ % servers);
	wm_timer_arm(k->timer, send_to(k, to) ? WM_SRV_TRY_MS : 0);
}

int wm_srv_ask(struct wm_srvs *s, const char *name, wm_srv_fn fn, void *arg,
	       struct wm_srv_lookup **ret)
{
	struct wm_srv_lookup *k;

	if (s->count == WM_SRV_ASKED_MAX)
		return WM_E_LIMIT;
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	k->s = s;
	k->fd = -1;
	k->fn = fn;
	k->arg = arg;
	k->len = wm_srv_question(name, (uint16_t)wm_random64(), k->question);
	k->timer = k->len ? wm_timer_new(s->loop, on_timer, k) : NULL;
	if (!k->timer || wm_timer_arm(k->timer, 0)) {
		int r = k->len ? -ENOMEM : -EINVAL;

		wm_timer_free(k->timer);
		free(k);
		return r;
	}
	LIST_INSERT_HEAD(&s->lookups, k, entry);
	s->count++;
	*ret = k;
	return 0;
}

void wm_srv_cancel(struct wm_srv_lookup *k)
{
	if (!k)
		return;
	end_try(k);
	LIST_REMOVE(k, entry);
	k->s->count--;
	wm_timer_free(k->timer);
	free(k);
}

struct wm_srvs *wm_srvs_new(struct wm_loop *l, struct wm_resolver *r)
{
	struct wm_srvs *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->loop = l;
	s->resolver = r;
	LIST_INIT(&s->lookups);
	return s;
}

void wm_srvs_free(struct wm_srvs *s)
{
	if (!s)
		return;
	while (!LIST_EMPTY(&s->lookups))
		wm_srv_cancel(LIST_FIRST(&s->lookups));
	free(s);
}
