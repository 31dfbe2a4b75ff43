/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_tls.c - servers that speak TLS. Debian's libunbound does not, so it asks a port of
 * 127.0.0.1 in place of such a server; each question that comes there goes on over one connection
 * of TLS, many at a time, and its answer back: a datagram of loopback takes all but the longest
 * ones. What cannot be asked is SERVFAIL at once, so that libunbound goes on to the next server.
 * Programs of this machine could use the port as well: they learn nothing by it that the agent
 * would not tell them. Spec: RFC 7766, 7858, 8310, 8467 (padding). */
#include "upstream_internal.h"
#include "userspace/base/clock.h"
#include "userspace/net/stream.h"
#include "userspace/net/tls_client.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define QUESTIONS_BITS 10
#define QUESTIONS_MAX                                                                              \
	(1u << QUESTIONS_BITS) /* of a server at a time: libunbound has 1,024 sockets */
#define QUERY_MAX      1024    /* octets of libunbound's queries, which are shorter */
#define DATAGRAMS_TURN 64      /* read of a server's port in a turn */
#define IN_MAX	       (2 + UINT16_MAX)
#define DATAGRAM_MAX   65507 /* octets that UDP over IPv4 takes */
#define OPEN_MS	       3000  /* to connect and to agree on TLS */
#define SILENT_MS      3000  /* without an octet while a question is open: the connection is dead */
#define QUESTION_MS    6000  /* libunbound has given it up */
#define IDLE_MS	       15000 /* without a question: longer than between two probes */
#define PAUSE_MS       500   /* after a connection that could not be made */
#define TICK_MS	       250
#define OPTION_PADDING 12  /* RFC 7830 */
#define PAD_TO	       128 /* octets that queries are padded to: RFC 8467 4.1 */

struct question {
	struct sockaddr_in from; /* libunbound's socket; 0: it is free */
	uint16_t generation;	 /* of the place, in the ID that the server sees */
	uint16_t len;
	uint8_t *query;
	uint64_t asked_ms;
	bool sent, again; /* on the connection that stands; on one before, too */
};

enum stage { CLOSED, CONNECTING, AGREEING, OPEN };

struct relay {
	struct wm_upstream_relays *all;
	struct wm_upstream_server server;
	int fd; /* libunbound asks it */
	struct wm_io *port;
	/* the connection */
	enum stage stage;
	struct wm_stream stream;
	struct wm_io *io;
	struct wm_buf out;
	size_t out_at, in_len;
	uint8_t *in;	 /* IN_MAX octets while it is not closed */
	bool has_worked; /* it brought an answer */
	uint64_t began_ms, heard_ms, used_ms;
	uint64_t pause_ms; /* no other one is made before; 0: at once */
	char why[256];	   /* the last one could not be made, or broke off; "": it could */
	unsigned open, place;
	struct question questions[QUESTIONS_MAX];
	SLIST_ENTRY(relay) entry;
};

struct wm_upstream_relays {
	struct wm_loop *loop;
	struct wm_tls_client *tls;
	struct wm_timer *tick;
	uint64_t *counters; /* upstream.c's */
	SLIST_HEAD(, relay) relays;
};

/* --- questions -------------------------------------------------------------------------------- */
static bool is_free(const struct question *q)
{
	return !q->from.sin_port;
}

static void reply(struct relay *r, const struct sockaddr_in *to, const uint8_t *answer, size_t len)
{
	/* one that does not get there is asked for again by libunbound */
	(void)sendto(r->fd, answer, len, MSG_DONTWAIT, (const struct sockaddr *)to, sizeof(*to));
}

static void reply_failure(struct relay *r, const struct sockaddr_in *to, const uint8_t *query,
			  size_t len)
{
	uint8_t answer[WM_DNS_HEADER_LEN + WM_DNS_NAME_MAX + 4];
	struct wm_dns_query q;

	r->all->counters[WM_UPSTREAM_C_TLS_UNASKED]++;
	if (wm_dns_parse(query, (uint32_t)len, &q) != WM_DNS_OK)
		return;
	len = WM_DNS_HEADER_LEN + q.name_len + 4u;
	memcpy(answer, query, len);
	answer[2] |= WM_DNS_QR >> 8;
	answer[3] = WM_DNS_RA | WM_DNS_SERVFAIL;
	memset(answer + 6, 0, WM_DNS_HEADER_LEN - 6); /* the question alone */
	reply(r, to, answer, len);
}

static void finish(struct relay *r, struct question *q)
{
	free(q->query);
	q->query = NULL;
	q->from.sin_port = 0;
	r->open--;
}

static void refuse(struct relay *r, struct question *q)
{
	reply_failure(r, &q->from, q->query, q->len);
	finish(r, q);
}

static struct question *take(struct relay *r, const uint8_t *query, size_t len,
			     const struct sockaddr_in *from)
{
	struct question *q;

	if (r->open == QUESTIONS_MAX)
		return NULL;
	do
		q = &r->questions[r->place++ % QUESTIONS_MAX];
	while (!is_free(q));
	q->query = malloc(len);
	if (!q->query)
		return NULL;
	memcpy(q->query, query, len);
	q->len = (uint16_t)len;
	q->from = *from;
	q->generation++;
	q->asked_ms = r->used_ms = wm_clock_ms();
	q->sent = q->again = false;
	r->open++;
	return q;
}

/* Octets of padding, with the option's head, for a query whose OPT is empty and at its end. */
static size_t padding_of(const struct question *q)
{
	const uint8_t *opt = q->query + q->len - WM_DNS_OPT_LEN;

	if (q->len < WM_DNS_HEADER_LEN + WM_DNS_OPT_LEN || q->query[10] || q->query[11] != 1 ||
	    opt[0] || opt[1] || opt[2] != WM_DNS_OPT || opt[9] || opt[10])
		return 0;
	return 4 + (PAD_TO - (q->len + 4u) % PAD_TO) % PAD_TO;
}

/* Behind what is to be sent. @return false: no memory. */
static bool put_question(struct relay *r, struct question *q)
{
	static const uint8_t zeros[4 + PAD_TO];
	size_t pad = padding_of(q), len = q->len + pad;
	unsigned id = (unsigned)(q - r->questions) | (unsigned)q->generation << QUESTIONS_BITS;
	const uint8_t head[] = {(uint8_t)(len >> 8), (uint8_t)len, (uint8_t)(id >> 8), (uint8_t)id};
	const uint8_t option[] = {0, (uint8_t)pad, 0, OPTION_PADDING, 0, (uint8_t)(pad - 4)};

	q->sent = true;
	wm_buf_put(&r->out, head, sizeof(head));
	if (!pad)
		return wm_buf_put(&r->out, q->query + 2, q->len - 2u);
	wm_buf_put(&r->out, q->query + 2, q->len - 4u);
	wm_buf_put(&r->out, option, sizeof(option));
	return wm_buf_put(&r->out, zeros, pad - 4);
}

/* --- the connection --------------------------------------------------------------------------- */
static void close_connection(struct relay *r)
{
	if (r->stage == CLOSED)
		return;
	wm_io_free(r->io);
	r->io = NULL;
	if (r->stream.kind->close)
		r->stream.kind->close(&r->stream);
	close(r->stream.fd);
	wm_buf_done(&r->out);
	free(r->in);
	r->in = NULL;
	r->in_len = r->out_at = 0;
	r->stage = CLOSED;
}

static void begin(struct relay *r);

/* It cannot be made or broke off. Questions that went out over one that had worked are asked once
 * more over the next: servers close what is idle, and a question may cross that (RFC 7766 6.2.4).
 */
static void fail(struct relay *r, int err, const char *why)
{
	bool worked = r->has_worked;

	snprintf(r->why, sizeof(r->why), "%s", why ? why : strerror(-err));
	r->all->counters[err == -EACCES ? WM_UPSTREAM_C_TLS_REFUSED : WM_UPSTREAM_C_TLS_BROKEN]++;
	close_connection(r);
	for (unsigned i = 0; i < QUESTIONS_MAX && r->open; i++) {
		struct question *q = &r->questions[i];

		if (is_free(q))
			continue;
		if (!worked || q->again) {
			refuse(r, q);
		} else {
			q->again = true;
			q->sent = false;
		}
	}
	r->pause_ms = worked ? 0 : wm_clock_ms() + PAUSE_MS;
	if (r->open)
		begin(r);
}

static void on_answer(struct relay *r, uint8_t *answer, size_t len)
{
	unsigned id = (unsigned)answer[0] << 8 | answer[1];
	struct question *q = &r->questions[id % QUESTIONS_MAX];

	/* whether it is of the question is libunbound's to see */
	if (is_free(q) || !q->sent ||
	    ((unsigned)q->generation << QUESTIONS_BITS & UINT16_MAX) != (id & ~(QUESTIONS_MAX - 1)))
		return;
	r->has_worked = true;
	*r->why = '\0';
	memcpy(answer, q->query, 2);
	if (len > DATAGRAM_MAX) {
		refuse(r, q);
		return;
	}
	reply(r, &q->from, answer, len);
	finish(r, q);
}

/* @return 0, -EPROTO: what is no message. */
static int take_answers(struct relay *r)
{
	size_t at = 0;

	while (r->in_len - at >= 2) {
		size_t len = (size_t)r->in[at] << 8 | r->in[at + 1];

		if (len < WM_DNS_HEADER_LEN)
			return -EPROTO;
		if (r->in_len - at < 2 + len)
			break;
		on_answer(r, r->in + at + 2, len);
		at += 2 + len;
	}
	memmove(r->in, r->in + at, r->in_len - at);
	r->in_len -= at;
	return 0;
}

/* @return 0, negative errno; -ECONNRESET: the server said farewell. */
static int read_answers(struct relay *r)
{
	ssize_t n;
	int err;

	do {
		n = r->stream.kind->read(&r->stream, r->in + r->in_len, IN_MAX - r->in_len);
		if (n <= 0)
			return n == -EAGAIN ? 0 : n ? (int)n : -ECONNRESET;
		r->in_len += (size_t)n;
		r->heard_ms = wm_clock_ms();
		err = take_answers(r);
	} while (!err && r->stream.kind->holds(&r->stream));
	return err;
}

static int write_questions(struct relay *r)
{
	while (r->out_at < r->out.len) {
		struct iovec part = {r->out.data + r->out_at, r->out.len - r->out_at};
		ssize_t n = r->stream.kind->write(&r->stream, &part, 1);

		if (n < 0)
			return n == -EAGAIN ? 0 : (int)n;
		r->out_at += (size_t)n;
	}
	wm_buf_reset(&r->out);
	r->out_at = 0;
	return 0;
}

static int ask_unsent(struct relay *r)
{
	for (unsigned i = 0; i < QUESTIONS_MAX; i++) {
		struct question *q = &r->questions[i];

		if (!is_free(q) && !q->sent && !put_question(r, q))
			return -ENOMEM;
	}
	return write_questions(r);
}

static int connected(struct relay *r)
{
	socklen_t len = sizeof(int);
	int err = 0;

	if (getsockopt(r->stream.fd, SOL_SOCKET, SO_ERROR, &err, &len) || err)
		return err ? -err : -errno;
	err = wm_tls_client_stream(r->all->tls, r->all->loop, &r->stream, r->server.name);
	if (!err)
		r->stage = AGREEING;
	return err;
}

static int agree(struct relay *r)
{
	int err = r->stream.kind->handshake(&r->stream);

	if (err)
		return err == -EAGAIN ? 0 : err;
	r->stage = OPEN;
	r->heard_ms = wm_clock_ms();
	*r->why = '\0';
	r->all->counters[WM_UPSTREAM_C_TLS_OPENED]++;
	return ask_unsent(r);
}

static int go_on(struct relay *r, unsigned events)
{
	bool was_open = r->stage == OPEN;
	int err = 0;

	if (r->stage == CONNECTING)
		err = connected(r);
	if (!err && r->stage == AGREEING)
		err = agree(r);
	if (!err && r->stage == OPEN && (events & WM_IO_READ || !was_open))
		err = read_answers(r);
	if (!err && r->stage == OPEN)
		err = write_questions(r);
	return err;
}

static void watch(struct relay *r)
{
	bool writes = r->out_at < r->out.len || r->stream.kind->wants_write(&r->stream);

	wm_io_set(r->io, writes ? WM_IO_READ | WM_IO_WRITE : WM_IO_READ);
}

static void on_io(void *arg, unsigned events)
{
	struct relay *r = arg;
	int err = go_on(r, events);

	if (err == -ECONNRESET && r->stage == OPEN && !r->open)
		close_connection(r); /* nobody waits: the next question makes another */
	else if (err)
		fail(r, err, r->stream.kind->why ? r->stream.kind->why(&r->stream) : NULL);
	else
		watch(r);
}

/* @return a socket that connects, or negative errno. */
static int dial(const struct wm_upstream_server *s)
{
	const struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				       .ai_socktype = SOCK_STREAM};
	struct addrinfo *to;
	int fd, r = 0, yes = 1;
	char port[8];

	snprintf(port, sizeof(port), "%u", s->port);
	if (getaddrinfo(s->ip, port, &hints, &to))
		return -EADDRNOTAVAIL; /* of a link that is not there */
	fd = socket(to->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0 || (connect(fd, to->ai_addr, to->ai_addrlen) && errno != EINPROGRESS))
		r = -errno;
	freeaddrinfo(to);
	if (r && fd >= 0)
		close(fd);
	if (r)
		return r;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	return fd;
}

static int begin_on(struct relay *r, int fd)
{
	r->stage = CONNECTING;
	r->stream = (struct wm_stream){.kind = &wm_stream_socket, .fd = fd};
	r->has_worked = false;
	r->began_ms = r->used_ms = wm_clock_ms();
	wm_buf_init(&r->out, QUESTIONS_MAX * (QUERY_MAX + 2 + 4 + PAD_TO));
	r->in = malloc(IN_MAX);
	r->io = r->in ? wm_io_new(r->all->loop, fd, WM_IO_WRITE, on_io, r) : NULL;
	return r->io ? 0 : -ENOMEM;
}

static void begin(struct relay *r)
{
	int fd = dial(&r->server), err = fd < 0 ? fd : begin_on(r, fd);

	if (err)
		fail(r, err, NULL);
}

/* --- libunbound's side ------------------------------------------------------------------------ */
static void ask(struct relay *r, const uint8_t *query, size_t len, const struct sockaddr_in *from)
{
	struct question *q;

	if (len < WM_DNS_HEADER_LEN || len > QUERY_MAX || query[2] & (WM_DNS_QR >> 8))
		return;
	q = take(r, query, len, from);
	if (!q)
		reply_failure(r, from, query, len);
	else if (r->stage == OPEN && !put_question(r, q))
		fail(r, -ENOMEM, NULL);
	else if (r->stage == CLOSED && wm_clock_ms() < r->pause_ms)
		refuse(r, q);
	else if (r->stage == CLOSED)
		begin(r);
}

static void flush(struct relay *r)
{
	int err = r->stage == OPEN ? write_questions(r) : 0;

	if (err)
		fail(r, err, r->stream.kind->why(&r->stream));
	else if (r->stage == OPEN)
		watch(r);
}

static void on_datagrams(void *arg, unsigned events)
{
	struct relay *r = arg;
	uint8_t query[QUERY_MAX + 1];
	struct sockaddr_in from;

	(void)events;
	for (unsigned i = 0; i < DATAGRAMS_TURN; i++) {
		socklen_t from_len = sizeof(from);
		ssize_t n = recvfrom(r->fd, query, sizeof(query), MSG_DONTWAIT,
				     (struct sockaddr *)&from, &from_len);

		if (n < 0)
			break;
		ask(r, query, (size_t)n, &from);
	}
	flush(r);
}

/* --- time ------------------------------------------------------------------------------------- */
/* @return when the oldest question that is still open was asked; @p now: none is. */
static uint64_t forget_late(struct relay *r, uint64_t now)
{
	uint64_t oldest = now;

	for (unsigned i = 0; i < QUESTIONS_MAX && r->open; i++) {
		struct question *q = &r->questions[i];

		if (is_free(q))
			continue;
		if (now - q->asked_ms > QUESTION_MS)
			finish(r, q);
		else if (q->asked_ms < oldest)
			oldest = q->asked_ms;
	}
	return oldest;
}

/* Nothing is heard of the server, though a question is open or a connection begun. */
static bool is_silent(const struct relay *r, uint64_t oldest, uint64_t now)
{
	if (r->stage == OPEN)
		return now - oldest > SILENT_MS && now - r->heard_ms > SILENT_MS;
	return (r->stage == CONNECTING || r->stage == AGREEING) && now - r->began_ms > OPEN_MS;
}

static void on_tick(void *arg)
{
	struct wm_upstream_relays *all = arg;
	uint64_t now = wm_clock_ms();
	struct relay *r;

	SLIST_FOREACH (r, &all->relays, entry) {
		uint64_t oldest = forget_late(r, now);

		if (r->stage == OPEN && !r->open && now - r->used_ms > IDLE_MS)
			close_connection(r);
		else if (is_silent(r, oldest, now))
			fail(r, -ETIMEDOUT, NULL);
	}
	wm_timer_tick(all->tick, TICK_MS);
}

/* --- life ------------------------------------------------------------------------------------- */
int wm_upstream_relays_new(struct wm_loop *l, const char *ca_file, uint64_t *counters,
			   struct wm_upstream_relays **ret, struct wm_err *e)
{
	struct wm_upstream_relays *all = calloc(1, sizeof(*all));
	int r;

	if (!all)
		return wm_err_set(e, -ENOMEM, "no memory for DNS over TLS");
	all->loop = l;
	all->counters = counters;
	SLIST_INIT(&all->relays);
	r = wm_tls_client_new(ca_file, "dot", &all->tls, e);
	if (!r) {
		all->tick = wm_timer_new(l, on_tick, all);
		r = all->tick ? wm_timer_arm(all->tick, TICK_MS) : -ENOMEM;
	}
	if (r) {
		wm_upstream_relays_free(all);
		return r;
	}
	*ret = all;
	return 0;
}

static void relay_free(struct relay *r)
{
	close_connection(r);
	for (unsigned i = 0; i < QUESTIONS_MAX; i++)
		free(r->questions[i].query);
	wm_io_free(r->port);
	if (r->fd >= 0)
		close(r->fd);
	free(r);
}

void wm_upstream_relays_free(struct wm_upstream_relays *all)
{
	struct relay *r;

	if (!all)
		return;
	while ((r = SLIST_FIRST(&all->relays))) {
		SLIST_REMOVE_HEAD(&all->relays, entry);
		relay_free(r);
	}
	wm_timer_free(all->tick);
	wm_tls_client_free(all->tls);
	free(all);
}

static const struct relay *find(const struct wm_upstream_relays *all,
				const struct wm_upstream_server *s)
{
	const struct relay *r;

	SLIST_FOREACH (r, &all->relays, entry)
		if (wm_upstream_server_same(&r->server, s))
			return r;
	return NULL;
}

/* @return 0 with the port, negative errno. */
static int open_port(struct relay *r, uint16_t *ret)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);

	r->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (r->fd < 0 || bind(r->fd, (struct sockaddr *)&at, sizeof(at)) ||
	    getsockname(r->fd, (struct sockaddr *)&at, &len))
		return -errno;
	r->port = wm_io_new(r->all->loop, r->fd, WM_IO_READ, on_datagrams, r);
	*ret = ntohs(at.sin_port);
	return r->port ? 0 : -ENOMEM;
}

int wm_upstream_relays_add(struct wm_upstream_relays *all, struct wm_upstream_server *s)
{
	const struct relay *known = find(all, s);
	struct relay *r;
	int err;

	if (known) {
		s->via = known->server.via;
		return 0;
	}
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->all = all;
	r->server = *s;
	err = open_port(r, &r->server.via);
	if (err) {
		relay_free(r);
		return err;
	}
	s->via = r->server.via;
	SLIST_INSERT_HEAD(&all->relays, r, entry);
	return 0;
}

const char *wm_upstream_relays_why(const struct wm_upstream_relays *all,
				   const struct wm_upstream_server *s)
{
	const struct relay *r = all ? find(all, s) : NULL;

	return r ? r->why : "";
}
