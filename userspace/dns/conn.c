/* SPDX-License-Identifier: Apache-2.0 */
/* conn.c - connections, plain and of TLS, bounded in time and in what they may owe us. Spec: RFC
 * 1035 4.2, 7766, 7858. */
#include "internal.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TCP_QUERY_MAX 4096 /* octets of a query over TCP; a longer one ends the connection */
#define TCP_OUT_MAX                                                                                \
	(256 * 1024) /* octets that a slow reader may leave unread: then we stop reading */
/* queries of a connection whose answers others bring: then we stop reading */
#define TCP_WAITING_MAX 100

struct wm_dns_conn {
	struct wm_dns_server *s;
	struct wm_dns_client *client;
	struct wm_stream stream;
	struct sockaddr_storage from;
	struct wm_io *io;
	struct wm_timer *deadline;
	LIST_ENTRY(wm_dns_conn) entry;
	size_t in_len, out_at, out_len;
	uint8_t *out;
	bool tls;
	bool pads;	  /* TLS, and all of its queries had padding: so have the answers */
	bool agrees;	  /* the handshake is not over */
	bool held;	  /* none of its queries is read for now */
	bool ended;	  /* the client sends no more, or nothing that could be read */
	bool serving;	  /* conn_serve() runs: what it is told goes out with the rest */
	unsigned waiting; /* queries whose answers are still to come, of the lists */
	struct wm_dns_passed_list passed;
	struct wm_dns_parked_list parked;
	uint8_t in[2 + TCP_QUERY_MAX];
};

void wm_dns_conn_close(struct wm_dns_conn *c)
{
	wm_dns_unpark(c->s, &c->parked);
	wm_dns_unpass(&c->passed);
	LIST_REMOVE(c, entry);
	c->s->conns_count--;
	c->s->conns_owe -= c->out_len;
	wm_dns_clients_leave(c->s->conn_clients, c->client);
	wm_io_free(c->io);
	wm_timer_free(c->deadline);
	if (c->stream.kind->close)
		c->stream.kind->close(&c->stream);
	close(c->stream.fd);
	free(c->out);
	free(c);
}

static void on_deadline(void *arg)
{
	struct wm_dns_conn *c = arg;

	if (c->waiting && !c->out_len) { /* it waits for us: RFC 7766 6.2.3 */
		wm_timer_arm(c->deadline, c->s->c.tcp_idle_ms);
		return;
	}
	c->s->counters[WM_DNS_C_TCP_LIMIT]++;
	wm_dns_conn_close(c);
}

/* @return false: the connection is gone. */
static bool conn_write(struct wm_dns_conn *c)
{
	while (c->out_at < c->out_len) {
		struct iovec part = {c->out + c->out_at, c->out_len - c->out_at};
		ssize_t n = c->stream.kind->write(&c->stream, &part, 1);

		if (n == -EAGAIN)
			return true;
		if (n < 0) {
			wm_dns_conn_close(c);
			return false;
		}
		c->out_at += (size_t)n;
		/* only what leaves earns more time: a reader of one octet a minute is cut */
		if (c->out_at == c->out_len)
			wm_timer_arm(c->deadline, c->s->c.tcp_idle_ms);
	}
	c->s->conns_owe -= c->out_len;
	c->out_at = c->out_len = 0;
	free(c->out);
	c->out = NULL;
	return true;
}

/* Are more answers kept for it? Where all together owe too much, only for who takes what is his. */
static bool may_owe(const struct wm_dns_conn *c)
{
	size_t max = c->s->c.tcp_memory_max;

	return c->out_len < TCP_OUT_MAX && (!c->out_len || !max || c->s->conns_owe < max);
}

/* May its next query be read? */
static bool has_room(const struct wm_dns_conn *c)
{
	return c->waiting < TCP_WAITING_MAX && may_owe(c);
}

/* Append one answer with its length in front. @return false: no memory. */
static bool conn_append(struct wm_dns_conn *c, const uint8_t *answer, size_t n)
{
	size_t opt_at = c->s->reply.w.opt_at; /* of the answer that was just made */
	size_t pad = c->pads ? wm_dns_padding(opt_at, n) : 0;
	uint8_t *out = realloc(c->out, c->out_len + 2 + n + pad);

	if (!out) {
		c->s->counters[WM_DNS_C_UNSENT]++;
		return false;
	}
	c->out = out;
	out += c->out_len;
	memcpy(out + 2, answer, n);
	if (pad)
		wm_dns_pad(out + 2, opt_at, n, pad);
	n += pad;
	out[0] = (uint8_t)(n >> 8);
	out[1] = (uint8_t)n;
	c->out_len += 2 + n;
	c->s->conns_owe += 2 + n;
	return true;
}

bool wm_dns_conn_lead(struct wm_dns_conn *c, const uint8_t *query, size_t len)
{
	return wm_dns_lead_query(c->s, c, c->stream.fd, &c->passed, query, len);
}

/* Its answer may come later than those to what follows: RFC 7766 6.2.1.1. @return false: no memory.
 */
static bool conn_query(struct wm_dns_conn *c, const uint8_t *query, size_t len)
{
	struct wm_dns_server *s = c->s;
	size_t n = 0;
	int asked;

	wm_dns_received(s, true);
	s->counters[WM_DNS_C_TLS_QUERY] += c->tls;
	c->pads = c->pads && wm_dns_pads(query, len);
	c->waiting++;
	if (wm_dns_pass_query(s, c, c->stream.fd, &c->passed, query, len))
		return true;
	asked = wm_dns_park_query(s, c, &c->parked, query, len);
	if (!asked) {
		n = wm_dns_respond_to(s, (struct sockaddr *)&c->from, query, len, true, s->answer,
				      WM_DNS_TCP_MAX);
		asked = wm_dns_park_led_query(s, c, &c->parked, query, len);
	}
	if (asked == 1 || (!asked && wm_dns_conn_lead(c, query, len)))
		return true;
	if (asked)
		n = wm_dns_servfail(s, (struct sockaddr *)&c->from, query, len, true, s->answer,
				    WM_DNS_TCP_MAX);
	wm_dns_say(s);
	c->waiting--;
	return !n || conn_append(c, s->answer, n);
}

/* Answer every query that is in whole. @return false: the connection must go. */
static bool conn_serve(struct wm_dns_conn *c)
{
	size_t at = 0;

	c->serving = true;
	while (c->in_len - at >= 2 && has_room(c)) {
		size_t len = (size_t)c->in[at] << 8 | c->in[at + 1];

		if (len > TCP_QUERY_MAX || !len) {
			/* what was asked before is answered all the same */
			c->s->counters[WM_DNS_C_TCP_LENGTH]++;
			c->ended = true;
			at = c->in_len;
			break;
		}
		if (c->in_len - at < 2 + len)
			break;
		if (!conn_query(c, c->in + at + 2, len))
			return false;
		at += 2 + len;
		wm_timer_arm(c->deadline, c->s->c.tcp_idle_ms);
	}
	c->serving = false;
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
	return true;
}

/* Has it octets that the socket will not tell of? */
static bool conn_holds(const struct wm_dns_conn *c)
{
	return !c->ended && c->stream.kind->holds && c->stream.kind->holds(&c->stream);
}

/* As much as there is and fits: of TLS it comes record by record, and answers leave together. */
static bool conn_read(struct wm_dns_conn *c)
{
	ssize_t n;

	if (c->in_len == sizeof(c->in))
		return true;
	do {
		n = c->stream.kind->read(&c->stream, c->in + c->in_len, sizeof(c->in) - c->in_len);
		if (n == -EAGAIN)
			return true;
		if (n < 0)
			return false;
		c->ended |= n == 0;
		c->in_len += (size_t)n;
	} while (conn_holds(c) && c->in_len < sizeof(c->in));
	return true;
}

/* Answer what is in and send it, until nothing moves. @return false: the connection is gone. */
static bool conn_pump(struct wm_dns_conn *c)
{
	size_t before;

	do {
		before = c->in_len;
		if (!conn_serve(c)) {
			wm_dns_conn_close(c);
			return false;
		}
		if (!conn_write(c))
			return false;
	} while (!c->out_len && c->in_len != before);
	return true;
}

static bool conn_wants_write(const struct wm_dns_conn *c)
{
	return c->stream.kind->wants_write && c->stream.kind->wants_write(&c->stream);
}

static void conn_watch(struct wm_dns_conn *c)
{
	unsigned want = c->out_len || conn_wants_write(c) ? WM_IO_WRITE : 0;

	if (has_room(c)) {
		want |= c->ended ? 0 : WM_IO_READ;
		c->held = false;
	} else if (!c->held) {
		c->held = true;
		c->s->counters[WM_DNS_C_TCP_HELD]++;
	}
	wm_io_set(c->io, want);
}

static void conn_go_on(struct wm_dns_conn *c)
{
	while (conn_pump(c)) {
		if (c->ended && !c->out_len && !c->waiting) {
			wm_dns_conn_close(c);
			return;
		}
		if (!has_room(c) || !conn_holds(c)) {
			conn_watch(c);
			return;
		}
		if (!conn_read(c)) {
			wm_dns_conn_close(c);
			return;
		}
	}
}

void wm_dns_conn_answered(struct wm_dns_conn *c, const uint8_t *answer, size_t len)
{
	c->waiting--;
	/* who takes too little of what came before asks for the rest again (RFC 7766 6.2.4) */
	if (len && !c->serving && !may_owe(c)) {
		c->s->counters[WM_DNS_C_TCP_LIMIT]++;
		wm_dns_conn_close(c);
		return;
	}
	if (len)
		(void)conn_append(c, answer, len); /* no memory: counted, the client asks again */
	if (!c->serving)
		conn_go_on(c);
}

/* Of TLS. @return false: it is not over, or the connection is gone. */
static bool conn_agree(struct wm_dns_conn *c)
{
	int r = c->stream.kind->handshake(&c->stream);

	c->agrees = r == -EAGAIN;
	if (c->agrees) {
		wm_io_set(c->io, conn_wants_write(c) ? WM_IO_WRITE : WM_IO_READ);
	} else {
		c->s->counters[r ? WM_DNS_C_TLS_FAILED : WM_DNS_C_TLS_AGREED]++;
		if (r)
			wm_dns_conn_close(c);
	}
	return !r;
}

static void on_conn(void *arg, unsigned events)
{
	struct wm_dns_conn *c = arg;
	struct wm_loop *l = c->s->loop;

	if (c->agrees && !conn_agree(c)) {
		wm_loop_breathe(l);
		return;
	}
	if ((events & WM_IO_READ || conn_wants_write(c)) && !conn_read(c))
		wm_dns_conn_close(c);
	else
		conn_go_on(c);
	/* handshakes are dear, and records may be: others have their turn between two */
	wm_loop_breathe(l);
}

static struct wm_dns_conn *conn_new(struct wm_dns_server *s, int fd,
				    const struct sockaddr_storage *from)
{
	struct wm_dns_conn *c = calloc(1, sizeof(*c));
	uint8_t addr[WM_DNS_CLIENT_LEN];
	int r;

	if (!c)
		return NULL;
	wm_dns_client_of(from, addr);
	r = wm_dns_clients_enter(s->conn_clients, addr, &c->client);
	if (r) {
		s->counters[WM_DNS_C_TCP_CLIENT_FULL] += r == -EDQUOT;
		free(c);
		return NULL;
	}
	c->s = s;
	c->from = *from;
	c->stream = (struct wm_stream){.kind = &wm_stream_socket, .fd = fd};
	LIST_INIT(&c->passed);
	LIST_INIT(&c->parked);
	return c;
}

void wm_dns_conn_open(struct wm_dns_server *s, int fd, const struct sockaddr_storage *from,
		      bool tls)
{
	struct wm_dns_conn *c = conn_new(s, fd, from);
	int yes = 1;

	if (!c) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	LIST_INSERT_HEAD(&s->conns, c, entry);
	s->conns_count++;
	c->io = wm_io_new(s->loop, fd, WM_IO_READ, on_conn, c);
	c->deadline = wm_timer_new(s->loop, on_deadline, c);
	c->tls = c->agrees = c->pads = tls;
	if ((tls && wm_tls_server_stream(s->tls, &c->stream)) || !c->io || !c->deadline ||
	    wm_timer_arm(c->deadline, s->c.tcp_idle_ms))
		wm_dns_conn_close(c);
}

const struct sockaddr_storage *wm_dns_conn_from(const struct wm_dns_conn *c)
{
	return &c->from;
}

void wm_dns_conns_unpark(struct wm_dns_server *s)
{
	struct wm_dns_conn *c, *next;

	for (c = LIST_FIRST(&s->conns); c; c = next) {
		next = LIST_NEXT(c, entry);
		if (!LIST_EMPTY(&c->parked) || wm_dns_unpass_led(&c->passed))
			wm_dns_conn_close(c);
	}
}
