/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net */
/* Host names: the file first, one question for all who ask the same, and a name server that does
 * not answer is nobody else's trouble. The name server is ours, on loopback and on the same loop.
 */
#include "http_peer.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/net/http_client.h"
#include "userspace/net/resolver.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static struct wm_loop *loop;
static struct wm_resolver *resolver;
static struct wm_io *io;
static int server;	 /* name server */
static unsigned packets; /* questions that reached it */
static char hosts[64], resolv[64], server_text[32];
static struct wm_resolver_config config;

/* "dead..." is not answered, "db.test" is 127.0.0.1, all else does not exist. */
static void on_question(void *arg, unsigned events)
{
	static const uint8_t address[] = {0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 127, 0, 0, 1};
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	uint8_t q[512], a[600];
	ssize_t n = recvfrom(server, q, sizeof(q), MSG_DONTWAIT, (struct sockaddr *)&from, &len);
	bool known;

	(void)arg;
	(void)events;
	if (n < 17)
		return;
	packets++;
	if (q[12] >= 4 && strncasecmp((char *)q + 13, "dead", 4) == 0)
		return;
	known = q[12] == 2 && strncasecmp((char *)q + 13, "db\4test", 8) == 0;
	memcpy(a, q, (size_t)n);
	a[2] = 0x81;
	a[3] = known ? 0x80 : 0x83;
	a[7] = 0;
	if (known && q[n - 3] == 1) { /* type A */
		memcpy(a + n, address, sizeof(address));
		n += sizeof(address);
		a[7] = 1;
	}
	cr_assert_eq(sendto(server, a, (size_t)n, 0, (struct sockaddr *)&from, len), n);
}

static void write_file(char *path, const char *text)
{
	int fd;

	strcpy(path, "/tmp/wm-resolver-XXXXXX");
	fd = mkstemp(path);
	cr_assert(fd >= 0);
	cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
	close(fd);
}

static void setup(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	char text[64];

	loop = wm_loop_new();
	server = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	cr_assert_eq(bind(server, (struct sockaddr *)&a, len), 0);
	cr_assert_eq(getsockname(server, (struct sockaddr *)&a, &len), 0);
	io = wm_io_new(loop, server, WM_IO_READ, on_question, NULL);
	snprintf(server_text, sizeof(server_text), "127.0.0.1:%u", ntohs(a.sin_port));
	snprintf(text, sizeof(text), "nameserver %s\noptions attempts:1\n", server_text);
	write_file(resolv, text);
	write_file(hosts,
		   "# a comment\n127.0.0.9 Alias.test other # another\n::9 alias.test\nbad x\n");
	config = (struct wm_resolver_config){.hosts_path = hosts, .resolv_path = resolv};
	resolver = wm_resolver_new(loop, &config);
	cr_assert(loop && io && resolver);
	packets = 0;
}

static void teardown(void)
{
	wm_resolver_free(resolver);
	wm_io_free(io);
	wm_loop_free(loop);
	close(server);
	unlink(hosts);
	unlink(resolv);
}

TestSuite(resolver, .init = setup, .fini = teardown, .timeout = 300);

struct told {
	unsigned times;
	struct wm_resolver_answer a;
};

static void on_told(void *arg, const struct wm_resolver_answer *a)
{
	struct told *t = arg;

	t->times++;
	t->a = *a;
}

static struct told ask(const char *name)
{
	struct told t = {0};

	cr_assert(wm_resolver_ask(resolver, name, on_told, &t));
	cr_assert_eq(t.times, 0);
	while (!t.times)
		wm_loop_turn(loop, 1000);
	return t;
}

/* A line that a NUL octet would cut is left out, and told. */
Test(resolver, a_nul_octet_in_the_file)
{
	static const char text[] = "127.0.0.9 before\n127.0.0.8 cut\0 lost\n127.0.0.7 behind\n";
	char log[1024] = "";
	FILE *f = fopen(hosts, "w");
	int fd = memfd_create("log", MFD_CLOEXEC);

	cr_assert_eq(fwrite(text, 1, sizeof(text) - 1, f), sizeof(text) - 1);
	fclose(f);
	cr_assert(fd >= 0 && dup2(fd, STDERR_FILENO) == STDERR_FILENO);
	cr_assert_str_eq(ask("before").a.addrs[0], "127.0.0.9");
	cr_assert_str_eq(ask("behind").a.addrs[0], "127.0.0.7");
	cr_assert(pread(fd, log, sizeof(log) - 1, 0) > 0);
	cr_assert(strstr(log, "event=hosts.line") && strstr(log, " line=2 ") && strstr(log, hosts),
		  "%s", log);
	close(fd);
}

Test(resolver, the_file_comes_first)
{
	struct told t = ask("ALIAS.test");

	cr_assert_eq(t.a.error, 0);
	cr_assert_eq(t.a.count, 2);
	cr_assert_str_eq(t.a.addrs[0], "127.0.0.9");
	cr_assert_str_eq(t.a.addrs[1], "::9");
	t = ask("other");
	cr_assert_eq(t.a.count, 1);
	t = ask("localhost");
	cr_assert_str_eq(t.a.addrs[0], "127.0.0.1");
	t = ask("10.1.2.3");
	cr_assert_str_eq(t.a.addrs[0], "10.1.2.3");
	cr_assert_eq(ask("x.invalid").a.error, -ENXIO);
	cr_assert_eq(packets, 0);
	cr_assert_eq(wm_resolver_questions(resolver), 0);
}

Test(resolver, one_question_for_all_who_ask)
{
	struct told t[300] = {0};
	unsigned told = 0;

	for (int n = 0; n < 300; n++)
		cr_assert(wm_resolver_ask(resolver, "db.test", on_told, &t[n]));
	while (told < 300) {
		wm_loop_turn(loop, 1000);
		told = 0;
		for (int n = 0; n < 300; n++)
			told += t[n].times;
	}
	for (int n = 0; n < 300; n++) {
		cr_assert_eq(t[n].times, 1);
		cr_assert_eq(t[n].a.error, 0);
		cr_assert_str_eq(t[n].a.addrs[0], "127.0.0.1");
	}
	cr_assert_eq(packets, 2, "A and AAAA: %u", packets);
	/* kept, and so is that a name does not exist */
	ask("db.test");
	cr_assert_eq(ask("none.test").a.error, -ENXIO);
	cr_assert_eq(ask("none.test").a.error, -ENXIO);
	cr_assert_eq(wm_resolver_questions(resolver), 2);
}

static unsigned threads(void)
{
	DIR *d = opendir("/proc/self/task");
	unsigned n = 0;

	cr_assert(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

/* Names that nobody answers: others are answered meanwhile, there is no thread more than before,
 * and the end takes them along. */
Test(resolver, a_dead_name_server_holds_up_nobody)
{
	unsigned before = threads();
	struct told t[50] = {0};
	struct wm_lookup *k = NULL;
	char name[32];

	for (int n = 0; n < 50; n++) {
		snprintf(name, sizeof(name), "dead%d.test", n);
		k = wm_resolver_ask(resolver, name, on_told, &t[n]);
		cr_assert(k);
	}
	wm_lookup_cancel(k);
	cr_assert_eq(ask("other").a.error, 0);
	cr_assert_eq(ask("127.0.0.3").a.error, 0);
	cr_assert_eq(threads(), before);
	cr_assert_eq(t[0].times + t[49].times, 0);
}

/* A name server that is ourselves is not asked. */
Test(resolver, no_question_to_ourselves)
{
	char mapped[64];
	const char *own[] = {mapped, NULL};

	snprintf(mapped, sizeof(mapped), "[0:0:0:0:0:FFFF:7f00:1]%s", strchr(server_text, ':'));
	for (unsigned i = 0; i < 2; i++) {
		wm_resolver_free(resolver);
		config.own = own;
		resolver = wm_resolver_new(loop, &config);
		cr_assert_eq(ask("db.test").a.error, -ENODATA, "%s", own[0]);
		cr_assert_eq(ask("other").a.error, 0);
		cr_assert_eq(packets, 0);
		own[0] = server_text;
	}
}

/* A router tells its address of the link, which means nothing without that (RFC 4007 6). */
Test(resolver, a_name_server_of_a_link)
{
	const struct sockaddr_in6 *v6;
	FILE *f = fopen(resolv, "w");

	fputs("nameserver fe80::1%none0\nnameserver 127.0.0.1%lo\nnameserver fe80::53%lo\n", f);
	fclose(f);
	cr_assert_eq(wm_resolver_servers(resolver), 1);
	v6 = (const struct sockaddr_in6 *)wm_resolver_server(resolver, 0);
	cr_assert_eq(v6->sin6_family, AF_INET6);
	cr_assert_eq(v6->sin6_scope_id, if_nametoindex("lo"));
	cr_assert_eq(ntohs(v6->sin6_port), 53);
}

/* --- what the HTTP client makes of it ----------------------------------------------------------
 */
struct got {
	unsigned times;
	int error;
	long status;
	char reason[256];
};

static void on_got(void *arg, const struct wm_http_answer *a)
{
	struct got *g = arg;

	g->times++;
	g->error = a->error;
	g->status = a->status;
	snprintf(g->reason, sizeof(g->reason), "%s", a->reason);
}

static void call(struct wm_http_client *c, const char *url, uint64_t ms, struct got *g)
{
	const struct wm_http_call_options o = {
		.url = url, .timeout_ms = ms, .answer_max = 100, .follow_redirects = true};

	*g = (struct got){0};
	cr_assert(wm_http_call_start(c, &o, on_got, g, NULL));
}

Test(resolver, calls_by_name_take_no_place_and_no_thread)
{
	struct wm_http_client *c = wm_http_client_new(loop, 2);
	unsigned before;
	struct got dead[10], good, absent;
	struct peer peer;
	char url[128];

	peer_start(&peer);
	before = threads();
	wm_http_client_resolve(c, &config);
	for (int n = 0; n < 10; n++) {
		snprintf(url, sizeof(url), "http://dead%d.test/", n);
		call(c, url, 1500, &dead[n]);
	}
	snprintf(url, sizeof(url), "http://db.test:%u/redirect/ok", peer.port);
	call(c, url, 30000, &good);
	call(c, "http://none.test/", 30000, &absent);
	while (!good.times || !absent.times)
		wm_loop_turn(loop, 1000);
	cr_assert_eq(good.error, 0, "%s", good.reason);
	cr_assert_eq(good.status, 200);
	cr_assert_eq(absent.error, -ENXIO);
	cr_assert_str_eq(absent.reason, "Could not resolve host: none.test");
	for (int n = 0; n < 10; n++) {
		while (!dead[n].times)
			wm_loop_turn(loop, 1000);
		cr_assert_eq(dead[n].error, -ETIMEDOUT, "%s", dead[n].reason);
	}
	cr_assert_eq(threads(), before);
	cr_assert_eq(wm_http_client_questions(c), 12);
	/* by now known: no question more */
	snprintf(url, sizeof(url), "http://db.test:%u/status/204", peer.port);
	call(c, url, 30000, &good);
	while (!good.times)
		wm_loop_turn(loop, 1000);
	cr_assert_eq(good.status, 204);
	call(c, "http://dead0.test/", 30000, &dead[0]); /* the end takes it along */
	wm_loop_turn(loop, 10);
	wm_loop_turn(loop, 10);
	wm_http_client_free(c);
	peer_stop(&peer);
}
