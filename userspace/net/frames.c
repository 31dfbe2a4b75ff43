/* SPDX-License-Identifier: Apache-2.0 */
/* frames.c - who may connect, how many, and for how long. What has to be up by a time, or has to be
 * heard of, is looked after by one sweep over all connections. */
#include "frames_internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG		1024 /* connections that wait for accept() */
#define ACCEPTS		16   /* of them taken in a turn */
#define SWEEPS_PER_TIME 8    /* sweeps in the shortest time: it is kept to an eighth */
#define SWEEP_MIN_MS	10
#define SWEEP_MAX_MS	1000
#define LATE_MS		1000 /* a sweep that is so late was kept from running: so was all else */

/* --- the end -----------------------------------------------------------------------------------
 */

void wm_frames_forget_caller(struct wm_frames_conn *c)
{
	struct frames_caller *a = c->caller;

	if (!a)
		return;
	c->caller = NULL;
	TAILQ_REMOVE(&c->f->fresh, c, fresh_entry);
	c->f->fresh_count--;
	if (--a->count)
		return;
	wm_map_del(c->f->callers, &a->key, sizeof(a->key));
	free(a);
}

/* Others may hold it up the stack: it is freed when they are done. */
static void unlink_conn(struct wm_frames_conn *c)
{
	struct wm_frames *f = c->f;

	wm_frames_forget_caller(c);
	if (f->next == c)
		f->next = TAILQ_NEXT(c, entry);
	if (c->in_more)
		TAILQ_REMOVE(&f->with_more, c, more_entry);
	c->in_more = false;
	TAILQ_REMOVE(&f->conns, c, entry);
	TAILQ_INSERT_TAIL(&f->dead, c, entry);
	f->count--;
	c->phase = FRAMES_DEAD;
	event_active(f->bury, EV_TIMEOUT, 0);
}

static void count_end(struct wm_frames *f, bool was_up, int err)
{
	if (was_up) {
		f->stats.broken++;
		f->stats.idle += err == -ETIMEDOUT;
		f->stats.too_long += err == -EMSGSIZE;
		return;
	}
	f->stats.failed++;
	f->stats.late += err == -ETIMEDOUT;
	f->stats.certificates += err == -EACCES;
}

void wm_frames_end(struct wm_frames_conn *c, int err, const char *sentence)
{
	struct wm_frames *f = c->f;
	enum frames_phase was = c->phase;
	char text[WM_ERR_TEXT_MAX];

	if (!sentence && c->opened && c->stream.kind->why)
		sentence = c->stream.kind->why(&c->stream);
	if (!sentence)
		sentence = err ? wm_err_str(err) : "the peer ended it";
	snprintf(text, sizeof(text), "%s", sentence); /* the stream's goes with it */
	unlink_conn(c);
	wm_frames_release(c);
	if (was == FRAMES_FINISHING)
		return;
	count_end(f, was == FRAMES_UP, err);
	if (was == FRAMES_UP || !c->accepted)
		f->cfg.down(f->cfg.arg, c, err, text);
	else if (f->cfg.refused)
		f->cfg.refused(f->cfg.arg, &c->at, err, text);
}

void wm_frames_close(struct wm_frames_conn *c)
{
	if (!c || c->phase == FRAMES_DEAD)
		return;
	if (c->phase == FRAMES_UP || c->phase == FRAMES_FINISHING)
		wm_frames_flush(c);
	unlink_conn(c);
	wm_frames_release(c);
}

static void on_bury(evutil_socket_t fd, short what, void *arg)
{
	struct wm_frames *f = arg;
	struct wm_frames_conn *c;

	(void)fd;
	(void)what;
	while ((c = TAILQ_FIRST(&f->dead))) {
		TAILQ_REMOVE(&f->dead, c, entry);
		free(c);
	}
}

/* --- the beginning -----------------------------------------------------------------------------
 */

static struct wm_frames_conn *conn_new(struct wm_frames *f, int fd, const struct wm_peer_addr *at)
{
	struct wm_frames_conn *c = calloc(1, sizeof(*c));
	int one = 1;

	if (!c) {
		close(fd);
		return NULL;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	c->f = f;
	c->stream = (struct wm_stream){.kind = &wm_stream_socket, .fd = fd};
	c->at = *at;
	c->begun_ms = c->heard_ms = c->said_ms = c->moved_ms = wm_clock_ms();
	TAILQ_INSERT_TAIL(&f->conns, c, entry);
	f->count++;
	return c;
}

/* One who has a /64 has all of its addresses. */
static struct frames_caller *caller_of(struct wm_frames *f, const struct wm_peer_addr *from)
{
	struct in6_addr key = from->ip;
	struct frames_caller *a;

	if (!wm_peer_addr_v4(from))
		memset(&key.s6_addr[8], 0, 8);
	a = wm_map_get(f->callers, &key, sizeof(key));
	if (a)
		return a;
	a = calloc(1, sizeof(*a));
	if (!a)
		return NULL;
	a->key = key;
	if (wm_map_put(f->callers, &a->key, sizeof(a->key), a, NULL)) {
		free(a);
		return NULL;
	}
	return a;
}

/* A flood of callers that do not come up pushes out its own oldest: who does is up long before. */
static void admit(struct wm_frames *f, int fd, const struct wm_peer_addr *from)
{
	struct frames_caller *a;
	struct wm_frames_conn *c;

	a = f->count < f->cfg.conns_max ? caller_of(f, from) : NULL;
	if (!a || a->count >= f->cfg.fresh_each) {
		f->stats.over_limit++;
		close(fd);
		return;
	}
	c = conn_new(f, fd, from);
	if (!c) {
		f->stats.no_accept++;
		if (!a->count) {
			wm_map_del(f->callers, &a->key, sizeof(a->key));
			free(a);
		}
		return;
	}
	c->accepted = true;
	c->phase = FRAMES_HANDSHAKE;
	c->caller = a;
	a->count++;
	TAILQ_INSERT_TAIL(&f->fresh, c, fresh_entry);
	f->fresh_count++;
	f->stats.accepted++;
	if (wm_frames_begin(c)) {
		wm_frames_end(c, -ENOMEM, NULL);
		return;
	}
	if (f->fresh_count > f->cfg.fresh_max) {
		f->stats.over_limit++;
		wm_frames_end(TAILQ_FIRST(&f->fresh), -ECONNABORTED,
			      "too many are not up yet, and this was the oldest");
	}
}

static void on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct wm_frames *f = arg;
	struct sockaddr_storage sa;
	struct wm_peer_addr from;
	socklen_t len;
	int got;

	(void)what;
	for (unsigned i = 0; i < ACCEPTS; i++) {
		len = sizeof(sa);
		got = accept4(fd, (struct sockaddr *)&sa, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (got < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (got < 0 && errno == EAGAIN)
			break;
		if (got < 0) { /* out of descriptors: trying at once would spin */
			f->stats.no_accept++;
			f->paused = true;
			for (unsigned n = 0; n < f->listeners_count; n++)
				event_del(f->listeners[n]);
			break;
		}
		if (wm_peer_addr_from_sockaddr((struct sockaddr *)&sa, &from))
			close(got);
		else
			admit(f, got, &from);
	}
	wm_loop_breathe(f->loop);
}

int wm_frames_connect(struct wm_frames *f, const struct wm_peer_addr *to, const char *node,
		      void *user, struct wm_frames_conn **ret)
{
	struct sockaddr_storage sa;
	socklen_t len = wm_peer_addr_to_sockaddr(to, AF_UNSPEC, &sa);
	struct wm_frames_conn *c;
	int fd, err;

	if (f->count >= f->cfg.conns_max) {
		f->stats.over_limit++;
		return -ENOSPC;
	}
	fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&sa, len) && errno != EINPROGRESS) {
		err = -errno;
		close(fd);
		return err;
	}
	c = conn_new(f, fd, to);
	if (!c)
		return -ENOMEM;
	if (node)
		snprintf(c->node, sizeof(c->node), "%s", node);
	c->user = user;
	c->phase = FRAMES_CONNECTING;
	if (wm_frames_begin(c)) {
		wm_frames_close(c);
		return -ENOMEM;
	}
	f->stats.opened++;
	*ret = c;
	return 0;
}

static int listen_fd(const struct wm_peer_addr *at)
{
	struct sockaddr_storage sa;
	socklen_t len = wm_peer_addr_to_sockaddr(at, AF_UNSPEC, &sa);
	int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int one = 1, only = !IN6_IS_ADDR_UNSPECIFIED(&at->ip), err;

	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    (sa.ss_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &only, sizeof(only))) ||
	    bind(fd, (struct sockaddr *)&sa, len) || listen(fd, BACKLOG)) {
		err = -errno;
		close(fd);
		return err;
	}
	return fd;
}

int wm_frames_listen(struct wm_frames *f, const struct wm_peer_addr *at, uint16_t *ret_port,
		     struct wm_err *e)
{
	struct sockaddr_storage sa;
	struct wm_peer_addr got = *at;
	socklen_t len = sizeof(sa);
	char text[WM_PEER_ADDR_TEXT];
	struct event *ev;
	int fd;

	wm_peer_addr_format(at, text, sizeof(text));
	if (f->listeners_count == WM_FRAMES_LISTEN_MAX)
		return wm_err_set(e, -ENOSPC, "%s: %d addresses are listened on already", text,
				  WM_FRAMES_LISTEN_MAX);
	fd = listen_fd(at);
	if (fd < 0)
		return wm_err_set(e, fd, "listen on %s: %s", text, wm_err_str(fd));
	if (!getsockname(fd, (struct sockaddr *)&sa, &len))
		wm_peer_addr_from_sockaddr((struct sockaddr *)&sa, &got);
	ev = event_new(wm_loop_base(f->loop), fd, EV_READ | EV_PERSIST, on_accept, f);
	if (!ev || event_add(ev, NULL)) {
		if (ev)
			event_free(ev);
		close(fd);
		return wm_err_set(e, -ENOMEM, "no memory to listen on %s", text);
	}
	f->listeners[f->listeners_count++] = ev;
	if (ret_port)
		*ret_port = got.port;
	return 0;
}

void wm_frames_unlisten(struct wm_frames *f)
{
	while (f->listeners_count) {
		struct event *ev = f->listeners[--f->listeners_count];
		int fd = event_get_fd(ev);

		event_free(ev);
		close(fd);
	}
}

/* --- time --------------------------------------------------------------------------------------
 */

static void look_after(struct wm_frames_conn *c, uint64_t now)
{
	const struct wm_frames_config *g = &c->f->cfg;

	if (c->phase < FRAMES_UP) {
		if (now - c->begun_ms >= g->up_ms)
			wm_frames_end(c, -ETIMEDOUT,
				      c->phase == FRAMES_CONNECTING  ? "no answer to connect()"
				      : c->phase == FRAMES_HANDSHAKE ? "the handshake took too long"
								     : "no greeting came");
		return;
	}
	if (now - c->heard_ms >= g->idle_ms)
		wm_frames_end(c, -ETIMEDOUT, "the peer is silent");
	else if (wm_frames_waiting(c) && now - c->moved_ms >= g->idle_ms)
		wm_frames_end(c, -ETIMEDOUT, "the peer takes nothing");
	else if (c->partial_ms && now - c->partial_ms >= g->frame_ms)
		wm_frames_end(c, -ETIMEDOUT, "the peer does not end a frame");
	else if (c->phase == FRAMES_UP && now - c->said_ms >= g->idle_ms / 3)
		wm_frames_keep_alive(c);
}

/* We were stopped, or a turn was long: what did not come meanwhile is nobody's fault. */
static void forgive(struct wm_frames *f, uint64_t late)
{
	struct wm_frames_conn *c;

	TAILQ_FOREACH (c, &f->conns, entry) {
		c->begun_ms += late;
		c->heard_ms += late;
		c->moved_ms += late;
		if (c->partial_ms)
			c->partial_ms += late;
	}
}

static void on_sweep(void *arg)
{
	struct wm_frames *f = arg;
	uint64_t now = wm_clock_ms();
	uint64_t late = now - f->swept_ms - f->sweep_ms;
	struct wm_frames_conn *c;

	wm_timer_tick(f->sweep, f->sweep_ms);
	if (now - f->swept_ms >= f->sweep_ms + LATE_MS)
		forgive(f, late);
	f->swept_ms = now;
	for (c = TAILQ_FIRST(&f->conns); c; c = f->next) {
		f->next = TAILQ_NEXT(c, entry);
		look_after(c, now);
	}
	if (f->paused) {
		f->paused = false;
		for (unsigned n = 0; n < f->listeners_count; n++)
			event_add(f->listeners[n], NULL);
	}
}

/* --- all of it ---------------------------------------------------------------------------------
 */

/* A timer without time, unlike an active event, waits for its turn. */
void wm_frames_run_more(struct wm_frames *f)
{
	static const struct timeval none = {0, 0};

	if (!evtimer_pending(f->more, NULL))
		evtimer_add(f->more, &none);
}

static void on_more(evutil_socket_t fd, short what, void *arg)
{
	struct wm_frames *f = arg;
	struct wm_frames_conn *last = TAILQ_LAST(&f->with_more, frames_conns), *c;
	bool end = false;

	(void)fd;
	(void)what;
	/* who has more again comes behind the last; one that dies takes itself out */
	while (!end && (c = TAILQ_FIRST(&f->with_more))) {
		end = c == last;
		TAILQ_REMOVE(&f->with_more, c, more_entry);
		c->in_more = false;
		wm_frames_go_on(c);
		if (wm_loop_tired(f->loop))
			break;
	}
	if (!TAILQ_EMPTY(&f->with_more))
		wm_frames_run_more(f);
}

static unsigned or_else(unsigned set, unsigned otherwise)
{
	return set ? set : otherwise;
}

static void complete(struct wm_frames *f)
{
	struct wm_frames_config *g = &f->cfg;
	unsigned shortest;

	if (!g->frame_max)
		g->frame_max = WM_FRAME_MAX;
	if (!g->queue_max)
		g->queue_max = WM_FRAMES_QUEUE_MAX;
	if (g->queue_max < g->frame_max + WM_FRAMES_LENGTH)
		g->queue_max = g->frame_max + WM_FRAMES_LENGTH;
	g->conns_max = or_else(g->conns_max, WM_FRAMES_CONNS_MAX);
	g->fresh_max = or_else(g->fresh_max, WM_FRAMES_FRESH_MAX);
	g->fresh_each = or_else(g->fresh_each, WM_FRAMES_FRESH_EACH);
	g->up_ms = or_else(g->up_ms, WM_FRAMES_UP_MS);
	g->idle_ms = or_else(g->idle_ms, WM_FRAMES_IDLE_MS);
	g->frame_ms = or_else(g->frame_ms, WM_FRAMES_FRAME_MS);
	shortest = g->up_ms < g->idle_ms ? g->up_ms : g->idle_ms;
	shortest = g->frame_ms < shortest ? g->frame_ms : shortest;
	f->sweep_ms = shortest / SWEEPS_PER_TIME;
	if (f->sweep_ms < SWEEP_MIN_MS)
		f->sweep_ms = SWEEP_MIN_MS;
	if (f->sweep_ms > SWEEP_MAX_MS)
		f->sweep_ms = SWEEP_MAX_MS;
}

struct wm_frames *wm_frames_new(struct wm_loop *l, const struct wm_frames_config *c)
{
	struct wm_frames *f = calloc(1, sizeof(*f));

	if (!f)
		return NULL;
	f->loop = l;
	f->cfg = *c;
	complete(f);
	TAILQ_INIT(&f->conns);
	TAILQ_INIT(&f->fresh);
	TAILQ_INIT(&f->dead);
	TAILQ_INIT(&f->with_more);
	f->swept_ms = wm_clock_ms();
	f->callers = wm_map_new(f->cfg.conns_max + 1);
	f->bury = event_new(wm_loop_base(l), -1, 0, on_bury, f);
	f->more = evtimer_new(wm_loop_base(l), on_more, f);
	f->sweep = wm_timer_new(l, on_sweep, f);
	if (!f->callers || !f->bury || !f->more || !f->sweep ||
	    wm_timer_arm(f->sweep, f->sweep_ms)) {
		wm_frames_free(f);
		return NULL;
	}
	return f;
}

void wm_frames_free(struct wm_frames *f)
{
	struct wm_frames_conn *c;

	if (!f)
		return;
	wm_frames_unlisten(f);
	while ((c = TAILQ_FIRST(&f->conns)))
		wm_frames_close(c);
	on_bury(-1, 0, f);
	if (f->bury)
		event_free(f->bury);
	if (f->more)
		event_free(f->more);
	wm_timer_free(f->sweep);
	wm_map_free(f->callers);
	free(f);
}

unsigned wm_frames_count(const struct wm_frames *f)
{
	return f->count;
}

const struct wm_frames_stats *wm_frames_stats(const struct wm_frames *f)
{
	return &f->stats;
}
