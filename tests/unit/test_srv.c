/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net */
/* SRV records of a name: what of an answer counts, whatever came; in which order they are tried;
 * and a name server that does not answer, or says that it does not know, is followed by the next.
 * The name servers are ours, on loopback and on the same loop. */
#include "userspace/base/err.h"
#include "userspace/base/random.h"
#include "userspace/net/srv.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static uint8_t q[WM_SRV_OCTETS_MAX], a[2048];
static size_t q_len, a_len;
static struct wm_srv_answer got;

static void begin(const char *name, unsigned flags, unsigned records)
{
	q_len = wm_srv_question(name, 0x1234, q);
	cr_assert(q_len);
	a_len = q_len - 11; /* without OPT */
	memcpy(a, q, a_len);
	a[2] = (uint8_t)(flags >> 8);
	a[3] = (uint8_t)flags;
	a[7] = (uint8_t)records;
	a[11] = 0;
}

/* A record of the question's name. @p target in the form of the wire, with its end. */
static void record(unsigned type, unsigned priority, unsigned weight, unsigned port,
		   const char *target, size_t len)
{
	const uint8_t head[] = {0xc0,
				12,
				0,
				(uint8_t)type,
				0,
				1,
				0,
				0,
				0,
				5,
				0,
				(uint8_t)(6 + len),
				0,
				(uint8_t)priority,
				(uint8_t)(weight >> 8),
				(uint8_t)weight,
				(uint8_t)(port >> 8),
				(uint8_t)port};

	memcpy(a + a_len, head, sizeof(head));
	memcpy(a + a_len + sizeof(head), target, len);
	a_len += sizeof(head) + len;
}
#define TARGET(text) text, sizeof(text) /* the NUL is the root's label */

static int parse(void)
{
	return wm_srv_parse(q, q_len, a, a_len, &got);
}

Test(srv, what_an_answer_says)
{
	begin("_Waymark._tcp.example", 0x8180, 4);
	record(33, 1, 5, 8301, TARGET("\1A\7example"));
	record(5, 0, 0, 1, TARGET("\1c"));	    /* a CNAME on the way */
	record(33, 2, 300, 9301, "\1b\xc0\x1a", 4); /* compressed: b.example */
	record(33, 0, 0, 8301, TARGET(""));	    /* ".": no such service */
	cr_assert_eq(parse(), 0);
	cr_assert_eq(got.count, 2);
	cr_assert_str_eq(got.records[0].target, "a.example");
	cr_assert_eq(got.records[0].port, 8301);
	cr_assert_str_eq(got.records[1].target, "b.example");
	cr_assert_eq(got.records[1].priority, 2);
	cr_assert_eq(got.records[1].weight, 300);
	/* the case may come back as it was sent or not */
	a[14] = 'W';
	cr_assert_eq(parse(), 0);
}

Test(srv, what_is_no_answer)
{
	begin("_x._tcp.example", 0x8183, 0);
	cr_assert_eq(parse(), -ENXIO);
	begin("_x._tcp.example", 0x8180, 0);
	cr_assert_eq(parse(), -ENXIO);
	begin("_x._tcp.example", 0x8182, 0); /* SERVFAIL: another server may know */
	cr_assert_eq(parse(), -ENODATA);
	begin("_x._tcp.example", 0x8380, 0); /* cut before the first record */
	cr_assert_eq(parse(), -ENODATA);
	begin("_x._tcp.example", 0x0100, 0); /* a question */
	cr_assert_eq(parse(), -EPROTO);
	begin("_x._tcp.example", 0x8180, 0);
	a[1]++; /* another id */
	cr_assert_eq(parse(), -EPROTO);
	begin("_x._tcp.example", 0x8180, 0);
	a[14] = 'y'; /* another name */
	cr_assert_eq(parse(), -EPROTO);
	for (a_len = 0; a_len < q_len - 11; a_len++)
		cr_assert_eq(parse(), -EPROTO);
}

Test(srv, no_target_that_is_no_host)
{
	begin("_x._tcp.example", 0x8180, 5);
	record(33, 0, 0, 80, "\xc0\x2c", 2); /* a pointer on itself */
	record(33, 0, 0, 80, "\xc4\x00", 2); /* behind the end */
	record(33, 0, 0, 80, TARGET("\3a b"));
	record(33, 0, 0, 0, TARGET("\1a")); /* port 0 */
	record(33, 0, 0, 80, "\77a", 2);    /* longer than what there is */
	cr_assert_eq(parse(), -ENXIO);
	cr_assert_eq(got.count, 0);
}

Test(srv, records_are_bounded)
{
	begin("_x._tcp.example", 0x8180, WM_SRV_MAX + 8);
	for (unsigned n = 0; n < WM_SRV_MAX + 8; n++)
		record(33, 0, 0, 80 + n, TARGET("\1a"));
	cr_assert_eq(parse(), 0);
	cr_assert_eq(got.count, WM_SRV_MAX);
	while (a_len-- > q_len) /* cut anywhere: what is whole counts, nothing behind is read */
		parse();
}

Test(srv, names)
{
	char name[300];

	cr_assert_gt(wm_srv_question("_a._tcp.x.", 1, q), 0);
	cr_assert_eq(wm_srv_question("", 1, q), 0);
	cr_assert_eq(wm_srv_question(".", 1, q), 0);
	cr_assert_eq(wm_srv_question("a..b", 1, q), 0);
	cr_assert_eq(wm_srv_question("a b", 1, q), 0);
	memset(name, 'a', sizeof(name));
	name[64] = '\0';
	cr_assert_eq(wm_srv_question(name, 1, q), 0);
	for (int n = 0; n < 254; n++)
		name[n] = n % 2 ? '.' : 'a';
	name[253] = '\0';
	cr_assert_gt(wm_srv_question(name, 1, q), 0);
	name[253] = 'a';
	name[254] = '\0';
	cr_assert_eq(wm_srv_question(name, 1, q), 0);
}

Test(srv, priority_and_weight)
{
	unsigned first[3] = {0};

	for (int n = 0; n < 4000; n++) {
		got = (struct wm_srv_answer){.count = 4,
					     .records = {{2, 9, 4, "d"},
							 {1, 300, 1, "a"},
							 {1, 100, 2, "b"},
							 {1, 0, 3, "c"}}};
		wm_srv_order(&got, wm_random_below);
		cr_assert_eq(got.records[3].port, 4);
		first[got.records[0].port - 1]++;
	}
	/* of 401: 300, 100 and 1; six deviations are below 200 */
	cr_assert(first[0] > 2800 && first[0] < 3200, "%u", first[0]);
	cr_assert(first[1] > 800 && first[1] < 1200, "%u", first[1]);
	cr_assert_lt(first[2], 50);
	/* none has any: all alike, none is lost */
	memset(first, 0, sizeof(first));
	for (int n = 0; n < 4000; n++) {
		got = (struct wm_srv_answer){
			.count = 3, .records = {{0, 0, 1, "a"}, {0, 0, 2, "b"}, {0, 0, 3, "c"}}};
		wm_srv_order(&got, wm_random_below);
		first[got.records[0].port - 1]++;
		cr_assert_eq(got.records[0].port + got.records[1].port + got.records[2].port, 6);
	}
	for (int n = 0; n < 3; n++)
		cr_assert(first[n] > 1100 && first[n] < 1570, "%u", first[n]);
}

/* --- name servers ------------------------------------------------------------------------------
 */
static struct wm_loop *loop;
static struct wm_resolver *resolver;
static struct wm_srvs *srvs;
static struct wm_io *io[2];
static int servers[2];
static unsigned asked[2];
static char resolv[64];

/* The first one: "dead..." is not answered, all else SERVFAIL; the second knows all. */
static void on_question(void *arg, unsigned events)
{
	unsigned which = (unsigned)(uintptr_t)arg;
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	uint8_t p[512];
	ssize_t n = recvfrom(servers[which], p, sizeof(p), MSG_DONTWAIT, (struct sockaddr *)&from,
			     &len);

	(void)events;
	if (n < 20)
		return;
	asked[which]++;
	if (!which && strncmp((char *)p + 13, "dead", 4) == 0)
		return;
	begin(strncmp((char *)p + 13, "dead", 4) == 0 ? "dead.example" : "_x.example",
	      which ? 0x8180 : 0x8182, which);
	if (which)
		record(33, 0, 0, 81, TARGET("\1a"));
	memcpy(a, p, 2);
	cr_assert_eq(sendto(servers[which], a, a_len, 0, (struct sockaddr *)&from, len),
		     (ssize_t)a_len);
}

static void setup(void)
{
	struct wm_resolver_config config = {.resolv_path = resolv};
	FILE *f;

	loop = wm_loop_new();
	strcpy(resolv, "/tmp/wm-srv-XXXXXX");
	f = fdopen(mkstemp(resolv), "w");
	for (unsigned n = 0; n < 2; n++) {
		struct sockaddr_in at = {.sin_family = AF_INET,
					 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		socklen_t len = sizeof(at);

		servers[n] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		cr_assert_eq(bind(servers[n], (struct sockaddr *)&at, len), 0);
		cr_assert_eq(getsockname(servers[n], (struct sockaddr *)&at, &len), 0);
		io[n] = wm_io_new(loop, servers[n], WM_IO_READ, on_question, (void *)(uintptr_t)n);
		fprintf(f, "nameserver 127.0.0.1:%u\n", ntohs(at.sin_port));
	}
	fclose(f);
	resolver = wm_resolver_new(loop, &config);
	srvs = wm_srvs_new(loop, resolver);
	cr_assert(resolver && srvs);
}

static void teardown(void)
{
	wm_srvs_free(srvs);
	wm_resolver_free(resolver);
	for (unsigned n = 0; n < 2; n++) {
		wm_io_free(io[n]);
		close(servers[n]);
	}
	wm_loop_free(loop);
	unlink(resolv);
}
TestSuite(srv_ask, .init = setup, .fini = teardown, .timeout = 300);

static unsigned told;
static struct wm_srv_answer answer;

static void on_told(void *arg, const struct wm_srv_answer *r)
{
	(void)arg;
	told++;
	answer = *r;
}

static int ask(const char *name)
{
	struct wm_srv_lookup *k;
	int r = wm_srv_ask(srvs, name, on_told, NULL, &k);

	told = 0;
	while (!r && !told)
		wm_loop_turn(loop, 1000);
	return r ? r : answer.error;
}

Test(srv_ask, the_next_server_where_one_does_not_know)
{
	cr_assert_eq(ask("_x.example"), 0);
	cr_assert_eq(answer.count, 1);
	cr_assert_eq(answer.records[0].port, 81);
	cr_assert_eq(asked[0], 1);
	cr_assert_eq(asked[1], 1);
	cr_assert_eq(ask("_x.example"), 0);
	cr_assert_eq(asked[1], 2, "it is asked for anew each time");
	cr_assert_eq(ask("dead.example"), 0);
	cr_assert_eq(ask("not a name"), -EINVAL);
}

Test(srv_ask, nobody_listens)
{
	for (unsigned n = 0; n < 2; n++) {
		wm_io_free(io[n]);
		io[n] = NULL;
		close(servers[n]);
		servers[n] = -1;
	}
	cr_assert_eq(ask("_x.example"), -ENODATA);
}

Test(srv_ask, lookups_are_bounded_and_end)
{
	struct wm_srv_lookup *k[WM_SRV_ASKED_MAX], *more;

	for (unsigned n = 0; n < WM_SRV_ASKED_MAX; n++)
		cr_assert_eq(wm_srv_ask(srvs, "dead.example", on_told, NULL, &k[n]), 0);
	cr_assert_eq(wm_srv_ask(srvs, "dead.example", on_told, NULL, &more), WM_E_LIMIT);
	wm_loop_turn(loop, 0);
	told = 0;
	wm_srv_cancel(k[0]);
	cr_assert_eq(wm_srv_ask(srvs, "dead.example", on_told, NULL, &more), 0);
	cr_assert_eq(told, 0); /* the end takes the others along */
}
