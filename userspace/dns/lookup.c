/* SPDX-License-Identifier: Apache-2.0 */
/* lookup.c - questions about a service that is not here and that somebody may bring (server.h,
 * struct wm_dns_lookup): a datagram is kept until then. How many wait, and for how long, is bounded
 * by who is asked. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define CONTROL_MAX 64 /* octets of a datagram's control message: the address that was asked */

struct wm_dns_parked {
	LIST_ENTRY(wm_dns_parked) entry;
	struct wm_dns_server *s;
	int fd; /* a socket of ours, which live as long as the server */
	struct sockaddr_storage from;
	socklen_t from_len;
	size_t control_len, len;
	uint8_t control[CONTROL_MAX] __attribute__((aligned(8)));
	uint8_t query[];
};

int wm_dns_ask(struct wm_dns_server *s, const uint8_t *query, size_t len,
	       void (*done)(void *arg, int code), void *arg)
{
	char service[WM_DNS_LABEL_MAX + 1];

	if (!s->lookup.ask || !wm_dns_service_of(s, query, len, service))
		return 0;
	return s->lookup.ask(s->lookup.arg, service, done, arg);
}

static void answer(void *arg, int code)
{
	struct wm_dns_parked *p = arg;
	struct wm_dns_server *s = p->s;
	struct iovec iov = {s->answer, 0};
	struct msghdr h = {.msg_name = &p->from,
			   .msg_namelen = p->from_len,
			   .msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = p->control_len ? p->control : NULL,
			   .msg_controllen = p->control_len};

	iov.iov_len = code ? wm_dns_servfail(s, p->query, false, s->answer, sizeof(s->answer))
			   : wm_dns_respond(s, p->query, p->len, false, s->answer, WM_DNS_EDNS_MAX);
	if (iov.iov_len && sendmsg(p->fd, &h, MSG_DONTWAIT) < 0)
		s->counters[WM_DNS_C_UNSENT]++;
	LIST_REMOVE(p, entry);
	free(p);
}

int wm_dns_park(struct wm_dns_server *s, int fd, const struct msghdr *h, size_t len)
{
	struct wm_dns_parked *p;
	int r;

	if (!s->lookup.ask)
		return 0;
	p = malloc(sizeof(*p) + len);
	if (!p)
		return 0;
	p->s = s;
	p->fd = fd;
	p->from_len = h->msg_namelen < sizeof(p->from) ? h->msg_namelen : sizeof(p->from);
	memcpy(&p->from, h->msg_name, p->from_len);
	p->control_len = h->msg_controllen <= sizeof(p->control) ? h->msg_controllen : 0;
	memcpy(p->control, h->msg_control, p->control_len);
	p->len = len;
	memcpy(p->query, h->msg_iov->iov_base, len);
	r = wm_dns_ask(s, p->query, len, answer, p);
	if (r == 1)
		LIST_INSERT_HEAD(&s->parked, p, entry);
	else
		free(p);
	return r;
}

void wm_dns_unpark_all(struct wm_dns_server *s)
{
	struct wm_dns_parked *p;

	while ((p = LIST_FIRST(&s->parked))) {
		s->lookup.cancel(s->lookup.arg, p);
		LIST_REMOVE(p, entry);
		free(p);
	}
}
