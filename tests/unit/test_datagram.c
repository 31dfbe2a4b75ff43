/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net */
/* test_datagram.c - datagrams over loopback: there and back, too long ones, and ports that nobody
 * listens on. */
#include "userspace/net/datagram.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct end {
	struct wm_datagram *d;
	struct wm_peer_addr at, from, refused;
	char got[64];
	size_t len;
	unsigned count, refusals;
};

static void on_data(void *arg, const struct wm_peer_addr *from, const void *p, size_t len)
{
	struct end *e = arg;

	e->count++;
	e->from = *from;
	e->len = len;
	memcpy(e->got, p, len < sizeof(e->got) ? len : sizeof(e->got));
}

static void on_refused(void *arg, const struct wm_peer_addr *to)
{
	struct end *e = arg;

	e->refusals++;
	e->refused = *to;
}

static void begin(struct wm_loop *l, struct end *e, const char *at)
{
	char text[64];

	*e = (struct end){0};
	/* port 0 is no address: it is set behind */
	snprintf(text, sizeof(text), "%s:1", at);
	cr_assert_eq(wm_peer_addr_parse(text, &e->at), 0);
	e->at.port = 0;
	cr_assert_eq(wm_datagram_new(l, &e->at, on_data, on_refused, e, &e->d), 0);
	e->at.port = wm_datagram_port(e->d);
	cr_assert_neq(e->at.port, 0);
}

static void turns(struct wm_loop *l, const unsigned *until)
{
	for (unsigned n = 0; n < 200 && !*until; n++)
		wm_loop_turn(l, 50);
}

Test(datagram, goes_there_and_back)
{
	static const char *const at[] = {"127.0.0.1", "[::1]"};
	struct wm_loop *l = wm_loop_new();
	struct end a, b;

	for (unsigned n = 0; n < 2; n++) {
		begin(l, &a, at[n]);
		begin(l, &b, at[n]);
		wm_datagram_send(a.d, &b.at, "hello", 5);
		turns(l, &b.count);
		cr_assert_eq(b.count, 1);
		cr_assert_eq(b.len, 5);
		cr_assert_eq(memcmp(b.got, "hello", 5), 0);
		cr_assert(wm_peer_addr_same(&b.from, &a.at));
		wm_datagram_send(b.d, &b.from, "back", 4);
		turns(l, &a.count);
		cr_assert_eq(a.len, 4);
		wm_datagram_free(a.d);
		wm_datagram_free(b.d);
	}
	wm_loop_free(l);
}

Test(datagram, one_socket_takes_both_families)
{
	struct wm_loop *l = wm_loop_new();
	struct end both, four;
	struct wm_peer_addr to;

	begin(l, &both, "[::]");
	begin(l, &four, "127.0.0.1");
	to = four.at;
	to.port = both.at.port;
	wm_datagram_send(four.d, &to, "x", 1);
	turns(l, &both.count);
	cr_assert(wm_peer_addr_same(&both.from, &four.at), "IPv4 is mapped");
	wm_datagram_send(both.d, &four.at, "y", 1);
	turns(l, &four.count);
	cr_assert_eq(four.count, 1);
	wm_datagram_free(both.d);
	wm_datagram_free(four.d);
	wm_loop_free(l);
}

Test(datagram, too_long_ones_are_counted)
{
	static char much[WM_DATAGRAM_MAX + 1];
	struct wm_loop *l = wm_loop_new();
	struct end a, b;

	begin(l, &a, "127.0.0.1");
	begin(l, &b, "127.0.0.1");
	wm_datagram_send(a.d, &b.at, much, sizeof(much));
	wm_datagram_send(a.d, &b.at, much, WM_DATAGRAM_MAX);
	turns(l, &b.count);
	cr_assert_eq(b.count, 1);
	cr_assert_eq(b.len, WM_DATAGRAM_MAX);
	cr_assert_eq(wm_datagram_stats(b.d)->too_long, 1);
	wm_datagram_free(a.d);
	wm_datagram_free(b.d);
	wm_loop_free(l);
}

/* A host that answers has no agent any more: that is told, and what is sent next goes out. */
Test(datagram, a_port_without_anybody_is_told)
{
	static const char *const at[] = {"127.0.0.1", "[::1]"};
	struct wm_loop *l = wm_loop_new();
	struct end a, b, gone;

	for (unsigned n = 0; n < 2; n++) {
		begin(l, &a, at[n]);
		begin(l, &b, at[n]);
		begin(l, &gone, at[n]);
		wm_datagram_free(gone.d);
		wm_datagram_send(a.d, &gone.at, "anybody?", 8);
		wm_datagram_send(a.d, &b.at, "hello", 5);
		turns(l, &a.refusals);
		cr_assert_eq(a.refusals, 1);
		cr_assert(wm_peer_addr_same(&a.refused, &gone.at));
		turns(l, &b.count);
		cr_assert_eq(b.count, 1, "another's refusal keeps nothing back");
		wm_datagram_free(a.d);
		wm_datagram_free(b.d);
	}
	wm_loop_free(l);
}
