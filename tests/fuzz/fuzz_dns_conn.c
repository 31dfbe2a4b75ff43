/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* fuzz_dns_conn.c - octets on a connection: the first one says in what pieces they come and which
 * answers are late. Whatever they are: each query that came whole before the end, or before a
 * length that none can have, is answered once, in any order; nothing else is said; and the next
 * connection is served. */
#include "check.h"
#include "dns_served.h"
#include "userspace/dns/internal.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define QUERY_MAX 4096
#define HELD_MAX  100 /* of a connection */
#define OUT_MAX	  (1u << 22)
#define TURNS	  10000

static struct wm_dns_server *server;
static struct wm_loop *loop;
static struct {
	void (*done)(void *arg, int code);
	void *arg;
} held[HELD_MAX];
static unsigned held_count;
static uint8_t out[OUT_MAX];

static int hold(void *arg, const char *service, void (*done)(void *arg, int code), void *done_arg)
{
	(void)arg;
	if (*service == 'a')
		return 0;
	check(held_count < HELD_MAX);
	held[held_count].done = done;
	held[held_count++].arg = done_arg;
	return 1;
}

static void let_go(void *arg, void *done_arg)
{
	unsigned i = 0;

	(void)arg;
	while (i < held_count && held[i].arg != done_arg)
		i++;
	check(i < held_count);
	held[i] = held[--held_count];
}

static void bring_all(void)
{
	while (held_count) {
		held_count--;
		held[held_count].done(held[held_count].arg, held_count & 1 ? -1 : 0);
	}
}

/* @return whether all of it is queries, or the beginning of one; how many are answered. */
static bool expected(const uint8_t *data, size_t size, unsigned ids[65536], unsigned *ret)
{
	size_t at = 0;

	while (size - at >= 2) {
		size_t len = (size_t)data[at] << 8 | data[at + 1];

		if (!len || len > QUERY_MAX)
			return false;
		if (size - at - 2 < len)
			break;
		if (len >= WM_DNS_HEADER_LEN && !(data[at + 4] & (WM_DNS_QR >> 8))) {
			ids[data[at + 2] << 8 | data[at + 3]]++;
			++*ret;
		}
		at += 2 + len;
	}
	return true;
}

/* @return whether the connection has ended. */
static bool take(int fd, size_t *got)
{
	ssize_t n = recv(fd, out + *got, sizeof(out) - *got, MSG_DONTWAIT);

	*got += n > 0 ? (size_t)n : 0;
	return n == 0;
}

static size_t talk(const uint8_t *data, size_t size, size_t piece, bool late)
{
	struct sockaddr_storage from = {.ss_family = AF_INET};
	size_t got = 0;
	int fds[2];

	check(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds));
	wm_dns_conn_open(server, fds[1], &from, false);
	for (size_t at = 0; at < size; at += piece) {
		(void)send(fds[0], data + at, size - at < piece ? size - at : piece, MSG_NOSIGNAL);
		check(!wm_loop_turn(loop, 0));
		take(fds[0], &got);
		if (!late)
			bring_all();
	}
	shutdown(fds[0], SHUT_WR);
	for (unsigned i = 0; i < TURNS && !take(fds[0], &got); i++) {
		check(!wm_loop_turn(loop, 0));
		bring_all();
	}
	close(fds[0]);
	check(LIST_EMPTY(&server->conns) && !server->conns_count && !server->conns_owe);
	check(!held_count);
	return got;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned ids[65536];
	unsigned want = 0, have = 0;
	size_t got, at = 0;
	bool whole;

	if (!server) {
		server = served(&loop);
		wm_dns_server_ask(server, &(struct wm_dns_lookup){hold, let_go, NULL});
	}
	if (!size || size > 65536)
		return 0;
	memset(ids, 0, sizeof(ids));
	whole = expected(data + 1, size - 1, ids, &want);
	got = talk(data + 1, size - 1, (size_t)(data[0] >> 1) * 16 + 1, data[0] & 1);
	for (; got - at >= 2; have++) {
		size_t len = (size_t)out[at] << 8 | out[at + 1];

		check(len >= WM_DNS_HEADER_LEN && got - at - 2 >= len);
		check(out[at + 4] & (WM_DNS_QR >> 8));
		check(ids[out[at + 2] << 8 | out[at + 3]]--);
		at += 2 + len;
	}
	check(whole ? have == want && at == got : have <= want);
	return 0;
}
