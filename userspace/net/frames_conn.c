/* SPDX-License-Identifier: Apache-2.0 */
/* frames_conn.c - the octets of one connection. Nothing is written under a caller: a send makes the
 * write event active, so that the frames of a turn leave together, and what breaks is told from the
 * loop. */
#include "frames_internal.h"
#include "userspace/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_MAX    (64u << 10)	 /* octets that are read in a turn */
#define RECORD_MAX  (16u << 10)	 /* a read that gives less has found the end of what is there */
#define FRAMES_TURN 256		 /* frames given to the caller in a turn */
#define KEEP_MAX    (64u << 10)	 /* octets of memory that stay for what comes in pieces */
#define WRITE_MAX   (256u << 10) /* octets of what waits that are written in a turn */
#define WRITE_PARTS 16		 /* pieces of one write */

static const unsigned char greeting[WM_FRAMES_GREETING] = {'W', 'm', 'F', WM_FRAMES_VERSION};

/* --- writing -----------------------------------------------------------------------------------
 */

size_t wm_frames_waiting(const struct wm_frames_conn *c)
{
	return c->out ? evbuffer_get_length(c->out) : 0;
}

int wm_frames_flush(struct wm_frames_conn *c)
{
	struct evbuffer_iovec v[WRITE_PARTS];
	size_t total = 0;
	ssize_t n;
	int count;

	while (wm_frames_waiting(c) && total < WRITE_MAX) {
		count = evbuffer_peek(c->out, WRITE_MAX, NULL, v, WRITE_PARTS);
		n = c->stream.kind->write(&c->stream, v, count < WRITE_PARTS ? count : WRITE_PARTS);
		if (n == -EAGAIN)
			break;
		if (n < 0)
			return (int)n;
		evbuffer_drain(c->out, (size_t)n);
		total += (size_t)n;
	}
	if (total)
		c->moved_ms = c->said_ms = wm_clock_ms();
	c->octets_out += total;
	c->f->stats.octets_out += total;
	return 0;
}

static int put(struct wm_frames_conn *c, const void *head, size_t head_len, const void *p,
	       size_t len)
{
	bool idle = !wm_frames_waiting(c);

	if (evbuffer_expand(c->out, head_len + len) || evbuffer_add(c->out, head, head_len) ||
	    (len && evbuffer_add(c->out, p, len)))
		return -ENOMEM;
	if (idle) {
		c->moved_ms = wm_clock_ms();
		event_active(c->writable, EV_WRITE, 0);
	}
	return 0;
}

int wm_frames_send(struct wm_frames_conn *c, const void *p, size_t len)
{
	uint32_t length = htonl((uint32_t)len);

	if (c->phase != FRAMES_UP)
		return -ENOTCONN;
	if (!len || len > c->f->cfg.frame_max)
		return -EMSGSIZE;
	if (wm_frames_waiting(c) + sizeof(length) + len > c->f->cfg.queue_max) {
		c->choked = true;
		c->f->stats.refused_sends++;
		return -EAGAIN;
	}
	if (put(c, &length, sizeof(length), p, len))
		return -ENOMEM;
	c->f->stats.frames_out++;
	return 0;
}

void wm_frames_keep_alive(struct wm_frames_conn *c)
{
	uint32_t none = 0;

	c->said_ms = wm_clock_ms();
	if (!wm_frames_waiting(c)) /* else there is news enough */
		put(c, &none, sizeof(none), NULL, 0);
}

/* --- reading -----------------------------------------------------------------------------------
 */

/* Go on in the next turn, when others had theirs. */
static void later(struct wm_frames_conn *c)
{
	struct wm_frames *f = c->f;

	if (c->in_more)
		return;
	c->in_more = true;
	TAILQ_INSERT_TAIL(&f->with_more, c, more_entry);
	wm_frames_run_more(f);
}

/* @return octets of the greeting in @p p that are theirs, negative errno. */
static ssize_t greet(struct wm_frames_conn *c, const char *p, size_t len)
{
	struct wm_frames *f = c->f;
	size_t n = 0;
	char text[96];

	for (; n < len && c->greeted < sizeof(greeting); n++, c->greeted++) {
		if ((unsigned char)p[n] == greeting[c->greeted])
			continue;
		if (c->greeted < sizeof(greeting) - 1) {
			wm_frames_end(c, -EPROTO, "the peer does not speak our protocol");
			return -EPROTO;
		}
		snprintf(text, sizeof(text), "the peer speaks version %u, %d is spoken here",
			 (unsigned char)p[n], WM_FRAMES_VERSION);
		wm_frames_end(c, -EPROTONOSUPPORT, text);
		return -EPROTONOSUPPORT;
	}
	if (c->greeted < sizeof(greeting))
		return (ssize_t)n;
	c->phase = FRAMES_UP;
	wm_frames_forget_caller(c);
	f->stats.up++;
	f->cfg.up(f->cfg.arg, c);
	return (ssize_t)n;
}

/* @return octets of the frame at @p p with its length; 0: it is not whole; negative: over. */
static ssize_t whole(struct wm_frames_conn *c, const char *p, size_t len)
{
	char text[96];
	uint32_t n;

	if (len < sizeof(n))
		return 0;
	memcpy(&n, p, sizeof(n));
	n = ntohl(n);
	if (n > c->f->cfg.frame_max) {
		snprintf(text, sizeof(text),
			 "the peer announces a frame of %u octets, %zu are allowed", n,
			 c->f->cfg.frame_max);
		wm_frames_end(c, -EMSGSIZE, text);
		return -EMSGSIZE;
	}
	return len - sizeof(n) < n ? 0 : (ssize_t)(n + sizeof(n));
}

/* Give out frames of @p p, as many as a turn allows. @return octets that were taken. */
static size_t give(struct wm_frames_conn *c, const char *p, size_t len)
{
	struct wm_frames *f = c->f;
	size_t at = 0;
	ssize_t n = 0;

	if (c->phase == FRAMES_GREETING) {
		n = greet(c, p, len);
		at = n > 0 ? (size_t)n : 0;
	}
	for (unsigned given = 0; c->phase == FRAMES_UP; at += (size_t)n) {
		n = whole(c, p + at, len - at);
		if (n <= 0)
			break;
		if (given == FRAMES_TURN || (given && wm_loop_tired(f->loop))) {
			later(c);
			break;
		}
		c->octets_in += (uint64_t)n;
		f->stats.octets_in += (uint64_t)n;
		if (n == WM_FRAMES_LENGTH)
			continue;
		given++;
		f->stats.frames_in++;
		f->cfg.frame(f->cfg.arg, c, p + at + WM_FRAMES_LENGTH,
			     (size_t)n - WM_FRAMES_LENGTH);
	}
	return c->phase == FRAMES_FINISHING ? len : at;
}

/* Room for @p more octets behind what waits. It grows with what came, not with what is announced.
 */
static int reserve(struct wm_frames_conn *c, size_t more)
{
	size_t need = c->in_len + more, cap = c->in_cap ? c->in_cap : 4096;
	char *in;

	if (need <= c->in_cap)
		return 0;
	while (cap < need)
		cap *= 2;
	in = realloc(c->in, cap);
	if (!in)
		return -ENOMEM;
	c->in = in;
	c->in_cap = cap;
	return 0;
}

/* Keep what is left of @p p (c->in itself, or the octets just read) behind the first @p taken. */
static int keep(struct wm_frames_conn *c, const char *p, size_t taken, size_t len)
{
	size_t left = len - taken;

	if (p != c->in) {
		c->in_len = 0;
		if (left && reserve(c, left))
			return -ENOMEM;
	}
	if (left)
		memmove(c->in, p + taken, left);
	c->in_len = left;
	if (!left && c->in_cap > KEEP_MAX) {
		free(c->in);
		c->in = NULL;
		c->in_cap = 0;
	}
	if (!left || taken)
		c->partial_ms = left ? wm_clock_ms() : 0;
	else if (!c->partial_ms)
		c->partial_ms = wm_clock_ms();
	return 0;
}

static bool holds(const struct wm_frames_conn *c)
{
	return c->stream.kind->holds && c->stream.kind->holds(&c->stream);
}

/* Read what a turn allows. @return octets, and what ended it in @p ret_end: -EAGAIN, 0 (the peer
 * sends no more), other negative errno. */
static size_t fill(struct wm_frames_conn *c, char *buf, size_t size, ssize_t *ret_end)
{
	size_t len = 0, want;
	ssize_t n;

	*ret_end = -EAGAIN;
	while (len < size) {
		want = size - len;
		n = c->stream.kind->read(&c->stream, buf + len, want);
		if (n <= 0) {
			*ret_end = n;
			break;
		}
		len += (size_t)n;
		if ((size_t)n < want && (size_t)n < RECORD_MAX && !holds(c))
			break;
	}
	return len;
}

/* The socket does not tell of what the stream holds, nor is it to be asked while it is not the one
 * that is waited for. */
static void wait_for(struct wm_frames_conn *c)
{
	const struct wm_stream_kind *k = c->stream.kind;
	bool write = k->wants_write && k->wants_write(&c->stream);

	if (holds(c))
		later(c);
	if (write || wm_frames_waiting(c))
		event_add(c->writable, NULL);
	if (write == c->reads) {
		c->reads = !write;
		if (write)
			event_del(c->readable);
		else
			event_add(c->readable, NULL);
	}
}

static void take_in(struct wm_frames_conn *c)
{
	static char buf[READ_MAX];
	bool append = c->in_len > 0;
	size_t len, taken;
	const char *p;
	ssize_t end;

	if (append && reserve(c, READ_MAX)) {
		wm_frames_end(c, -ENOMEM, NULL);
		return;
	}
	len = fill(c, append ? c->in + c->in_len : buf, READ_MAX, &end);
	if (len)
		c->heard_ms = wm_clock_ms();
	if (append)
		c->in_len = len += c->in_len;
	p = append ? c->in : buf;
	taken = c->phase == FRAMES_FINISHING ? len : give(c, p, len);
	if (c->phase == FRAMES_DEAD)
		return;
	if (keep(c, p, taken, len))
		wm_frames_end(c, -ENOMEM, NULL);
	else if (end != -EAGAIN && !c->in_more)
		wm_frames_end(c, (int)end, NULL);
	else
		wait_for(c);
}

/* --- the way up --------------------------------------------------------------------------------
 */

static int connected(struct wm_frames_conn *c)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(c->stream.fd, SOL_SOCKET, SO_ERROR, &err, &len))
		err = errno;
	if (!err)
		c->phase = FRAMES_HANDSHAKE;
	return -err;
}

static int open_stream(struct wm_frames_conn *c)
{
	struct wm_tls *t = c->f->cfg.tls;
	int err = t ? wm_tls_stream(t, &c->stream, c->accepted, *c->node ? c->node : NULL) : 0;

	c->opened = !err;
	return err;
}

static void go_up(struct wm_frames_conn *c)
{
	int err = 0;

	if (c->phase == FRAMES_CONNECTING)
		err = connected(c);
	if (!err && !c->opened)
		err = open_stream(c);
	if (!err && c->stream.kind->handshake)
		err = c->stream.kind->handshake(&c->stream);
	if (!err)
		err = put(c, greeting, sizeof(greeting), NULL, 0);
	if (!err)
		c->phase = FRAMES_GREETING;
	if (err && err != -EAGAIN)
		wm_frames_end(c, err, NULL);
	else
		wait_for(c);
}

static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct wm_frames_conn *c = arg;
	struct wm_loop *l = c->f->loop;

	(void)fd;
	(void)what;
	if (c->phase <= FRAMES_HANDSHAKE)
		go_up(c);
	else if (!c->in_more)
		take_in(c);
	wm_loop_breathe(l);
}

static void write_some(struct wm_frames_conn *c)
{
	struct wm_frames *f = c->f;
	int err = wm_frames_flush(c);

	if (err) {
		wm_frames_end(c, err, NULL);
		return;
	}
	if (c->phase == FRAMES_FINISHING && !wm_frames_waiting(c)) {
		wm_frames_close(c);
		return;
	}
	if (wm_frames_waiting(c))
		event_add(c->writable, NULL);
	if (c->choked && c->phase == FRAMES_UP && wm_frames_waiting(c) <= f->cfg.queue_max / 2) {
		c->choked = false;
		if (f->cfg.writable)
			f->cfg.writable(f->cfg.arg, c);
	}
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct wm_frames_conn *c = arg;
	struct wm_loop *l = c->f->loop;

	(void)fd;
	(void)what;
	if (c->phase <= FRAMES_HANDSHAKE) {
		go_up(c);
	} else {
		if (!c->reads)
			take_in(c);
		if (c->phase != FRAMES_DEAD)
			write_some(c);
	}
	wm_loop_breathe(l);
}

void wm_frames_go_on(struct wm_frames_conn *c)
{
	size_t taken;

	/* what is here goes first: more is read when no whole frame is left of it */
	if (c->in_len && c->phase == FRAMES_UP) {
		taken = give(c, c->in, c->in_len);
		if (c->phase == FRAMES_DEAD)
			return;
		keep(c, c->in, taken, c->in_len);
	}
	if (!c->in_more)
		take_in(c);
}

int wm_frames_begin(struct wm_frames_conn *c)
{
	struct event_base *base = wm_loop_base(c->f->loop);
	int fd = c->stream.fd;

	c->out = evbuffer_new();
	c->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->writable = event_new(base, fd, EV_WRITE, on_writable, c);
	if (!c->out || !c->readable || !c->writable)
		return -ENOMEM;
	if (c->phase == FRAMES_CONNECTING)
		return event_add(c->writable, NULL) ? -ENOMEM : 0;
	c->reads = true;
	if (event_add(c->readable, NULL))
		return -ENOMEM;
	/* plain TCP has nobody to wait for before the greeting */
	event_active(c->writable, EV_WRITE, 0);
	return 0;
}

void wm_frames_release(struct wm_frames_conn *c)
{
	if (c->readable)
		event_free(c->readable);
	if (c->writable)
		event_free(c->writable);
	c->readable = c->writable = NULL;
	if (c->opened && c->stream.kind->close)
		c->stream.kind->close(&c->stream);
	c->opened = false;
	close(c->stream.fd);
	if (c->out)
		evbuffer_free(c->out);
	c->out = NULL;
	free(c->in);
	c->in = NULL;
	c->in_len = c->in_cap = 0;
}

void wm_frames_finish(struct wm_frames_conn *c)
{
	if (c->phase == FRAMES_UP && wm_frames_waiting(c)) {
		c->phase = FRAMES_FINISHING;
		c->moved_ms = wm_clock_ms();
	} else {
		wm_frames_close(c);
	}
}

/* --- who it is ---------------------------------------------------------------------------------
 */

const struct wm_identity *wm_frames_identity(const struct wm_frames_conn *c)
{
	return c->phase == FRAMES_UP && c->opened ? wm_tls_peer(&c->stream) : NULL;
}

const struct wm_peer_addr *wm_frames_address(const struct wm_frames_conn *c)
{
	return &c->at;
}

bool wm_frames_is_up(const struct wm_frames_conn *c)
{
	return c->phase == FRAMES_UP;
}

bool wm_frames_accepted(const struct wm_frames_conn *c)
{
	return c->accepted;
}

void *wm_frames_user(const struct wm_frames_conn *c)
{
	return c->user;
}

void wm_frames_set_user(struct wm_frames_conn *c, void *user)
{
	c->user = user;
}

uint64_t wm_frames_octets_in(const struct wm_frames_conn *c)
{
	return c->octets_in;
}

uint64_t wm_frames_octets_out(const struct wm_frames_conn *c)
{
	return c->octets_out;
}
