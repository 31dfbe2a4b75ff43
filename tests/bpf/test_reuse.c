/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* Services that are put, changed in size and deleted without a pause on one CPU, so that the kernel
 * and the tables use their places again and again, beside questions and connections for one of them
 * on another: none gets another's address. WM_REUSE_MILLION: how many million of each; else fewer.
 */
#include "connect_fixture.h"
#include "userspace/resolution/grace.h"
#include "userspace/resolution/tables.h"
#include "waymark/name_hash.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define ASKED_SHORT 150000
#define DNS_PORT    8600
#define LARGEST	    24 /* instances of a service */
#define OURS	    1  /* second octet of the addresses of the service that is asked for */
#define WAIT_S	    5
#define SETS	    128
#define SWAPS	    100 /* of entries in a round, or more */
#define NAME_LEN    13	/* of a.service.d on the wire */

static struct wm_grace_thread *waits;
static atomic_bool stop;
static atomic_uint rounds;

static void reuse_setup(void)
{
	struct wm_plane_config c;

	setup();
	c = connect_config();
	c.attach_dns = true;
	c.names = 64;
	c.frontends = 64;
	c.sets = SETS;
	c.slots = 8192;
	c.backends = 2048;
	plane = open_ok(&c, false);
	wm_plane_memory_of(plane, &mem);
	*mem.config = (struct wm_config){.seed = {1, 2},
					 .ttl_s = 1,
					 .flags = WM_CONFIG_F_CONNECT | WM_CONFIG_F_DNS,
					 .dns_port_be = {htons(DNS_PORT)},
					 .dns_addr4_count = 1,
					 .dns_addr4_be = {htonl(INADDR_LOOPBACK)}};
	tables = wm_tables_new(&mem, wm_plane_ops(plane), "d", NULL);
	waits = wm_grace_start(wm_grace_membarrier);
	cr_assert(tables && waits);
	wm_tables_set_grace(tables, wm_grace_of(waits));
	attach_ok(plane, CONNECT_HOOKS + 1 + c.passive);
	enter(cgroup);
}

static void reuse_teardown(void)
{
	connect_teardown();
	wm_grace_stop(waits);
}

static void pin_to(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	(void)sched_setaffinity(0, sizeof(set), &set); /* one CPU only: they take turns */
}

/* --- the writer --------------------------------------------------------------------------------
 */
/* Service @p s has the addresses 127.s.0.x and the virtual one 240.0.0.s. */
static void put(unsigned s, unsigned n)
{
	static const char *const names[] = {"", "a", "b", "c"};
	struct wm_want_backend b[LARGEST] = {0};
	struct wm_want_set w = {.service = names[s],
				.vip4_be = htonl(0xf0000000 + s),
				.backends = b,
				.backends_count = n};

	for (unsigned i = 0; i < n; i++)
		b[i] = (struct wm_want_backend){.instance = s * 1000 + i + 1,
						.addr4_be = htonl(0x7f000001 + (s << 16) + i),
						.port = (uint16_t)(s * 1000 + i),
						.weight = 1 + i % 3,
						.state = WM_STATE_UP};
	/* until enough of what rests is over */
	while (wm_tables_put(tables, &w, NULL, NULL) && !stop)
		sched_yield();
}

/* The entries of two services are written as they are, in turns: each takes the memory that the
 * other had, in `names` and in `frontends`. */
static void swap_entries(unsigned n)
{
	const struct wm_plane_ops *ops = wm_plane_ops(plane);
	struct wm_frontend_key front[2];
	struct wm_name_key name[2];
	struct wm_frontend f[2];
	struct wm_name v[2];

	for (unsigned i = 0; i < 2; i++) {
		uint8_t wire[WM_NAME_BUF] = "\1?\7service\1d";

		wire[1] = (uint8_t)('a' + i);
		wm_name_hash(mem.config->seed, wire, NAME_LEN, &name[i]);
		front[i] = (struct wm_frontend_key){
			.addr_be = {0, 0, WM_V4_MAPPED_BE, htonl(0xf0000001 + i)}};
		if (ops->name_get(ops->arg, &name[i], &v[i]) ||
		    ops->frontend_get(ops->arg, &front[i], &f[i]))
			return;
		v[i].seal = f[i].seal = 0;
	}
	for (unsigned i = 0; i < n; i++) {
		(void)ops->name_put(ops->arg, &name[i & 1], &v[i & 1]);
		(void)ops->frontend_put(ops->arg, &front[i & 1], &f[i & 1]);
	}
}

/* Here, and not while the service that is asked for is away. */
static void wait_for_room(void)
{
	struct wm_tables_stats s;

	do {
		swap_entries(SWAPS);
		wm_tables_recycle(tables);
		wm_tables_stats(tables, &s);
	} while (s.sets > SETS - 8 && !stop);
}

static void *write_on(void *arg)
{
	uint64_t x = 88172645463325252ull;

	pin_to(0);
	while (!stop) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		put(OURS, 1 + (unsigned)(x % LARGEST));
		put(OURS, 1 + (unsigned)((x >> 8) % LARGEST));
		put(2, 1 + (unsigned)((x >> 16) % LARGEST));
		wait_for_room();
		wm_tables_del(tables, "a");
		put(3, 1 + (unsigned)((x >> 24) % LARGEST));
		wm_tables_del(tables, "b");
		wm_tables_del(tables, "c");
		rounds++;
	}
	return arg;
}

/* --- the readers -------------------------------------------------------------------------------
 */
static struct {
	uint64_t answered, passed, steered, refused, wrong;
} got;

static bool ours(const void *address)
{
	return memcmp(address, (uint8_t[]){127, OURS, 0}, 3) == 0;
}

static const uint8_t question[] = "\x12\x34\1\0\0\1\0\0\0\0\0\0\1a\7service\1d\0\0\1\0";
#define QUESTION_LEN sizeof(question) /* the class ends with the text's own zero and a one */

static int question_socket(void)
{
	struct timeval limit = {.tv_sec = WAIT_S};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	cr_assert_eq(dial(fd, "127.0.0.1", DNS_PORT), 0);
	return fd;
}

/* Nobody is behind the kernel: what it passes is refused. */
static void question_once(int fd)
{
	uint8_t query[QUESTION_LEN], answer[2048];
	ssize_t n;

	memcpy(query, question, sizeof(query));
	query[QUESTION_LEN - 1] = 1;
	if (send(fd, query, sizeof(query), 0) < 0 ||
	    (n = recv(fd, answer, sizeof(answer), 0)) < (ssize_t)sizeof(query)) {
		cr_assert_eq(errno, ECONNREFUSED, "%s", strerror(errno));
		got.passed++;
		return;
	}
	got.answered++;
	cr_assert_eq(((size_t)n - sizeof(query)) % 16, 0, "A records");
	for (ssize_t at = (ssize_t)sizeof(query); at < n; at += 16)
		got.wrong += !ours(answer + at + 12);
}

/* What the socket was steered to, by its entry. */
static const struct wm_connection *entry_of(int fd)
{
	socklen_t len = sizeof(uint64_t);
	const struct wm_connection *all;
	uint64_t cookie = 0;
	uint32_t cap, at;

	cr_assert_eq(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &len), 0);
	all = wm_plane_connections(plane, &cap);
	at = (uint32_t)(cookie & (cap / WM_CONNECTION_WAYS - 1)) * WM_CONNECTION_WAYS;
	for (uint32_t i = 0; i < WM_CONNECTION_WAYS; i++)
		if (all[at + i].cookie == cookie)
			return &all[at + i];
	return NULL;
}

static void connect_once(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	const struct wm_connection *c;
	int r = dial(fd, "240.0.0.1", 80);

	if (r) {
		cr_assert_eq(r, ECONNREFUSED, "%s", strerror(r));
		got.refused++;
	} else {
		c = entry_of(fd);
		cr_assert(c, "a steered socket has an entry");
		got.steered++;
		got.wrong += !ours(&c->backend_be[3]);
	}
	close(fd);
}

TestSuite(reuse, .init = reuse_setup, .fini = reuse_teardown, .timeout = 3600);

Test(reuse, nobody_gets_another_services_address)
{
	const char *million = getenv("WM_REUSE_MILLION");
	uint64_t n = million ? strtoull(million, NULL, 10) * 1000000 : ASKED_SHORT;
	pthread_t writer;
	int fd;

	cr_assert_eq(pthread_create(&writer, NULL, write_on, NULL), 0);
	pin_to(1);
	fd = question_socket();
	for (uint64_t i = 0; i < n && !got.wrong; i++) {
		question_once(fd);
		connect_once();
	}
	stop = true;
	cr_assert_eq(pthread_join(writer, NULL), 0);
	close(fd);
	fprintf(stderr,
		"%u rounds; %llu answered, %llu passed; %llu steered, %llu refused; overtaken %llu "
		"and %llu times; %llu wrong\n",
		rounds, (unsigned long long)got.answered, (unsigned long long)got.passed,
		(unsigned long long)got.steered, (unsigned long long)got.refused,
		(unsigned long long)counter(WM_C_DNS_PASS_TORN),
		(unsigned long long)counter(WM_C_CONNECT_TORN), (unsigned long long)got.wrong);
	cr_assert_eq(got.wrong, 0);
	cr_assert(rounds && got.answered && got.steered);
}
