/* SPDX-License-Identifier: Apache-2.0 */
/* lookup.c - questions about a service that is not here and that somebody may bring (server.h,
 * struct wm_dns_lookup): it is kept until then. How many wait, and for how long, is bounded
 * by who is asked. */
#include "internal.h"
#include "userspace/base/clock.h"

#include <stdlib.h>
#include <string.h>

#define CONTROL_MAX 64 /* octets of a datagram's control message: the address that was asked */

struct wm_dns_parked {
	LIST_ENTRY(wm_dns_parked) entry;
	struct wm_dns_server *s;
	struct wm_dns_conn *conn; /* NULL: a datagram */
	int fd;			  /* a socket of ours, which live as long as the server */
	struct sockaddr_storage from;
	socklen_t from_len;
	unsigned waits;	   /* for what its aliases lead to */
	uint64_t begun_ns; /* when it came */
	size_t control_len, len;
	uint8_t control[CONTROL_MAX] __attribute__((aligned(8)));
	uint8_t query[];
};

static struct msghdr head_of(struct wm_dns_parked *p, struct iovec *iov)
{
	return (struct msghdr){.msg_name = &p->from,
			       .msg_namelen = p->from_len,
			       .msg_iov = iov,
			       .msg_iovlen = 1,
			       .msg_control = p->control,
			       .msg_controllen = p->control_len};
}

static void on_known(void *arg, int code);

int wm_dns_ask_led(struct wm_dns_server *s, unsigned *waits, void (*done)(void *arg, int code),
		   void *arg)
{
	int r = 0;

	for (unsigned i = 0; !r && s->lookup.ask && i < s->reply.led_count; i++)
		r = s->lookup.ask(s->lookup.arg, s->reply.led[i], done, arg);
	if (r == 1 && ++*waits > WM_DNS_LED_WAITS_MAX) {
		s->lookup.cancel(s->lookup.arg, arg);
		r = WM_E_LIMIT;
	}
	return r;
}

static int ask_led(struct wm_dns_parked *p)
{
	int r = wm_dns_ask_led(p->s, &p->waits, on_known, p);

	if (r)
		wm_dns_unsay(p->s);
	return r;
}

/* @return 1: it is not whole, @p p waits for what it leads to; else whether it failed. */
static int make_answer(struct wm_dns_parked *p, int code, size_t *ret_len)
{
	struct wm_dns_server *s = p->s;
	bool tcp = p->conn;

	if (!code) {
		*ret_len = wm_dns_respond_to(s, (struct sockaddr *)&p->from, p->query, p->len, tcp,
					     s->answer, tcp ? WM_DNS_TCP_MAX : WM_DNS_EDNS_MAX);
		code = ask_led(p);
	}
	if (code && code != 1)
		*ret_len = wm_dns_servfail(s, (struct sockaddr *)&p->from, p->query, p->len, tcp,
					   s->answer, sizeof(s->answer));
	return code;
}

/* Others are asked for what the answer that was just made leads to. */
static bool lead_on(struct wm_dns_parked *p)
{
	struct iovec iov = {p->query, p->len};
	struct msghdr h = head_of(p, &iov);

	return p->conn ? wm_dns_conn_lead(p->conn, p->query, p->len)
		       : wm_dns_lead_datagram(p->s, p->fd, &h, p->len);
}

static void send_datagram(struct wm_dns_parked *p, size_t len)
{
	struct iovec iov = {p->s->answer, len};
	struct msghdr h = head_of(p, &iov);

	if (len && sendmsg(p->fd, &h, MSG_DONTWAIT) < 0)
		p->s->counters[WM_DNS_C_UNSENT]++;
}

static void on_known(void *arg, int code)
{
	struct wm_dns_parked *p = arg;
	struct wm_dns_conn *conn = p->conn;
	struct wm_dns_server *s = p->s;
	size_t len = 0;

	code = make_answer(p, code, &len);
	if (code == 1)
		return;
	/* its connection may end before this does */
	LIST_REMOVE(p, entry);
	s->parked_count--;
	if (lead_on(p)) {
		free(p);
		return;
	}
	s->made.took_ns = wm_clock_ns() - p->begun_ns;
	wm_dns_say(s);
	if (!conn)
		send_datagram(p, len);
	free(p);
	if (conn)
		wm_dns_conn_answered(conn, s->answer, len);
}

static struct wm_dns_parked *parked_new(struct wm_dns_server *s, const uint8_t *query, size_t len)
{
	struct wm_dns_parked *p = malloc(sizeof(*p) + len);

	if (!p)
		return NULL;
	memset(p, 0, sizeof(*p));
	p->s = s;
	p->begun_ns = wm_clock_ns();
	p->len = len;
	memcpy(p->query, query, len);
	return p;
}

/* @p led: for what the answer that was just made led to. @return as wm_dns_park(); @p p is freed
 * unless it waits. */
static int park(struct wm_dns_parked *p, struct wm_dns_parked_list *list, bool led)
{
	struct wm_dns_server *s = p->s;
	char service[WM_DNS_SERVICE_MAX + 1];
	int r = 0;

	if (led)
		r = ask_led(p);
	else if (wm_dns_service_of(s, p->query, p->len, service))
		r = s->lookup.ask(s->lookup.arg, service, on_known, p);
	if (r == 1) {
		LIST_INSERT_HEAD(list, p, entry);
		s->parked_count++;
	} else {
		free(p);
	}
	return r;
}

static int park_datagram(struct wm_dns_server *s, int fd, const struct msghdr *h, size_t len,
			 bool led)
{
	struct wm_dns_parked *p = parked_new(s, h->msg_iov->iov_base, len);

	if (!p)
		return 0;
	p->fd = fd;
	p->from_len = h->msg_namelen < sizeof(p->from) ? h->msg_namelen : sizeof(p->from);
	memcpy(&p->from, h->msg_name, p->from_len);
	p->control_len = h->msg_controllen <= sizeof(p->control) ? h->msg_controllen : 0;
	memcpy(p->control, h->msg_control, p->control_len);
	return park(p, &s->parked, led);
}

static int park_query(struct wm_dns_server *s, struct wm_dns_conn *c,
		      struct wm_dns_parked_list *list, const uint8_t *query, size_t len, bool led)
{
	struct wm_dns_parked *p = parked_new(s, query, len);

	if (!p)
		return 0;
	p->conn = c;
	p->from = *wm_dns_conn_from(c);
	return park(p, list, led);
}

int wm_dns_park(struct wm_dns_server *s, int fd, const struct msghdr *h, size_t len)
{
	return s->lookup.ask ? park_datagram(s, fd, h, len, false) : 0;
}

int wm_dns_park_query(struct wm_dns_server *s, struct wm_dns_conn *c,
		      struct wm_dns_parked_list *list, const uint8_t *query, size_t len)
{
	return s->lookup.ask ? park_query(s, c, list, query, len, false) : 0;
}

/* May somebody bring what the answer that was just made led to? */
static bool may_be_brought(const struct wm_dns_server *s)
{
	return s->lookup.ask && s->reply.led_count;
}

int wm_dns_park_led(struct wm_dns_server *s, int fd, const struct msghdr *h, size_t len)
{
	return may_be_brought(s) ? park_datagram(s, fd, h, len, true) : 0;
}

int wm_dns_park_led_query(struct wm_dns_server *s, struct wm_dns_conn *c,
			  struct wm_dns_parked_list *list, const uint8_t *query, size_t len)
{
	return may_be_brought(s) ? park_query(s, c, list, query, len, true) : 0;
}

void wm_dns_unpark(struct wm_dns_server *s, struct wm_dns_parked_list *list)
{
	struct wm_dns_parked *p;

	while ((p = LIST_FIRST(list))) {
		s->lookup.cancel(s->lookup.arg, p);
		s->counters[WM_DNS_C_GONE]++;
		s->parked_count--;
		LIST_REMOVE(p, entry);
		free(p);
	}
}
