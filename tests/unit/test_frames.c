/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net */
/* test_frames.c - frames between two ends over loopback, plain and as TLS: in order and whole,
 * bounded, and not with everybody. openssl(1) is the stranger. */
#include "userspace/net/frames.h"
#include "userspace/security/ca.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct end {
	struct wm_frames *f;
	struct wm_tls *tls;
	struct wm_frames_conn *conn;
	unsigned up, down, frames, refused, writable;
	int err;
	size_t len;
	uint32_t last;
	bool in_order;
	char node[WM_NODE_NAME_MAX + 1];
};

static struct wm_loop *loop;
static char dir[] = "/tmp/waymark-frames-XXXXXX";

static void begin(void)
{
	loop = wm_loop_new();
	cr_assert(mkdtemp(dir));
}

static void end(void)
{
	char command[64];

	wm_loop_free(loop);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert_eq(system(command), 0);
}

TestSuite(frames, .init = begin, .fini = end);

static void on_up(void *arg, struct wm_frames_conn *c)
{
	struct end *e = arg;
	const struct wm_identity *i = wm_frames_identity(c);

	e->up++;
	e->conn = c;
	if (i)
		strcpy(e->node, i->node);
}

static void on_frame(void *arg, struct wm_frames_conn *c, const void *p, size_t len)
{
	struct end *e = arg;
	uint32_t n = 0;

	(void)c;
	memcpy(&n, p, len < sizeof(n) ? len : sizeof(n));
	e->in_order &= n == e->last + 1;
	e->last = n;
	e->len = len;
	e->frames++;
}

static void on_down(void *arg, struct wm_frames_conn *c, int err, const char *sentence)
{
	struct end *e = arg;

	cr_assert(sentence);
	e->down++;
	e->err = err;
	if (e->conn == c)
		e->conn = NULL;
}

static void on_writable(void *arg, struct wm_frames_conn *c)
{
	(void)c;
	((struct end *)arg)->writable++;
}

static void on_refused(void *arg, const struct wm_peer_addr *from, int err, const char *sentence)
{
	(void)from;
	(void)err;
	cr_assert(sentence);
	((struct end *)arg)->refused++;
}

/* @p node NULL: plain. */
static void make(struct end *e, const char *node)
{
	char ca[128], cert[128], key[128];
	struct wm_frames_config c = {.arg = e,
				     .up = on_up,
				     .frame = on_frame,
				     .down = on_down,
				     .writable = on_writable,
				     .refused = on_refused,
				     .up_ms = 2000};
	struct wm_tls_config t = {.files = {ca, cert, key}};
	struct wm_err err = {0};

	*e = (struct end){.in_order = true};
	if (node) {
		snprintf(ca, sizeof(ca), "%s/ca.pem", dir);
		snprintf(cert, sizeof(cert), "%s/%s.pem", dir, node);
		snprintf(key, sizeof(key), "%s/%s-key.pem", dir, node);
		cr_assert_eq(wm_tls_new(loop, &t, &e->tls, &err), 0, "%s", err.text);
	}
	c.tls = e->tls;
	e->f = wm_frames_new(loop, &c);
	cr_assert(e->f);
}

static struct wm_peer_addr listen_at(struct end *e)
{
	struct wm_peer_addr at = {0};
	struct wm_err err = {0};

	at.ip.s6_addr[10] = at.ip.s6_addr[11] = 0xff;
	at.ip.s6_addr[12] = 127;
	at.ip.s6_addr[15] = 1;
	cr_assert_eq(wm_frames_listen(e->f, &at, &at.port, &err), 0, "%s", err.text);
	return at;
}

static void drop(struct end *e)
{
	wm_frames_free(e->f);
	wm_tls_free(e->tls);
}

static void turns(const unsigned *until, unsigned count)
{
	for (unsigned n = 0; n < 400 && *until < count; n++)
		wm_loop_turn(loop, 20);
	cr_assert_geq(*until, count);
}

static void connect_to(struct end *e, const struct wm_peer_addr *at, const char *node)
{
	cr_assert_eq(wm_frames_connect(e->f, at, node, NULL, &e->conn), 0);
}

static void authority(void)
{
	struct wm_err e = {0};

	cr_assert_eq(wm_ca_init(dir, "dc1", 30, &e), 0, "%s", e.text);
	cr_assert_eq(wm_ca_issue(dir, "a", NULL, 30, &e), 0, "%s", e.text);
	cr_assert_eq(wm_ca_issue(dir, "b", NULL, 30, &e), 0, "%s", e.text);
}

static void exchange(struct end *a, struct end *b)
{
	static char payload[100000];

	for (uint32_t n = 1; n <= 50; n++) {
		memcpy(payload, &n, sizeof(n));
		cr_assert_eq(wm_frames_send(a->conn, payload, n == 25 ? sizeof(payload) : 10 + n),
			     0);
	}
	turns(&b->frames, 50);
	cr_assert(b->in_order);
	cr_assert_eq(b->len, 60);
	wm_frames_send(b->conn, "\1\0\0\0", 4);
	turns(&a->frames, 1);
}

Test(frames, plain_ones_come_in_order_and_whole)
{
	struct end a, b;
	struct wm_peer_addr at;

	make(&a, NULL);
	make(&b, NULL);
	at = listen_at(&b);
	connect_to(&a, &at, NULL);
	turns(&a.up, 1);
	turns(&b.up, 1);
	exchange(&a, &b);
	cr_assert_null(wm_frames_identity(a.conn));
	wm_frames_close(a.conn);
	turns(&b.down, 1);
	cr_assert_eq(a.down, 0, "who ends it is not told");
	drop(&a);
	drop(&b);
}

Test(frames, over_tls_each_knows_the_other)
{
	struct end a, b;
	struct wm_peer_addr at;

	authority();
	make(&a, "a");
	make(&b, "b");
	at = listen_at(&b);
	connect_to(&a, &at, "b");
	turns(&a.up, 1);
	turns(&b.up, 1);
	cr_assert_str_eq(a.node, "b");
	cr_assert_str_eq(b.node, "a");
	exchange(&a, &b);
	drop(&a);
	drop(&b);
}

Test(frames, another_node_than_was_wanted_is_refused)
{
	struct end a, b;
	struct wm_peer_addr at;

	authority();
	make(&a, "a");
	make(&b, "b");
	at = listen_at(&b);
	connect_to(&a, &at, "c");
	turns(&a.down, 1);
	cr_assert_eq(a.up, 0);
	drop(&a);
	drop(&b);
}

Test(frames, a_certificate_of_another_authority_is_refused)
{
	struct end a, b;
	struct wm_peer_addr at;
	char was[128], other[128];

	authority();
	make(&b, "b");
	at = listen_at(&b);
	/* the same names, by another authority in the same directory */
	for (unsigned n = 0; n < 4; n++) {
		static const char *const files[] = {"ca.pem", "ca-key.pem", "a.pem", "a-key.pem"};

		snprintf(was, sizeof(was), "%s/%s", dir, files[n]);
		snprintf(other, sizeof(other), "%s/old-%s", dir, files[n]);
		cr_assert_eq(rename(was, other), 0);
	}
	cr_assert_eq(unlink(strcat(strcpy(was, dir), "/b.pem")), 0);
	cr_assert_eq(unlink(strcat(strcpy(was, dir), "/b-key.pem")), 0);
	authority();
	make(&a, "a");
	connect_to(&a, &at, "b");
	turns(&a.down, 1);
	cr_assert_eq(a.up + b.up, 0);
	cr_assert_lt(a.err, 0);
	drop(&a);
	drop(&b);
}

Test(frames, plain_and_tls_do_not_meet)
{
	struct end a, b;
	struct wm_peer_addr at;

	authority();
	make(&a, NULL);
	make(&b, "b");
	at = listen_at(&b);
	connect_to(&a, &at, NULL);
	turns(&a.down, 1);
	turns(&b.refused, 1);
	cr_assert_eq(a.up + b.up, 0);
	drop(&a);
	drop(&b);
}

/* openssl s_client with @p args. @return its exit status is not of interest: nobody came up. */
static void stranger(struct end *b, const struct wm_peer_addr *at, const char *args)
{
	char command[512];
	unsigned before = b->refused;
	pid_t pid = fork();

	cr_assert_geq(pid, 0);
	if (!pid) {
		snprintf(command, sizeof(command),
			 "cd %s && sleep 3 | timeout 3 openssl s_client -connect 127.0.0.1:%u %s "
			 ">/dev/null 2>&1",
			 dir, at->port, args);
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
		_exit(127);
	}
	turns(&b->refused, before + 1);
	cr_assert_eq(b->up, 0, "%s", args);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

Test(frames, strangers_are_refused)
{
	static const char *const args[] = {
		"-tls1_2 -cert a.pem -key a-key.pem",	/* an older TLS */
		"",					/* no certificate */
		"-cert self.pem -key self-key.pem",	/* of nobody */
		"-cert old.pem -key old-key.pem",	/* expired */
		"-cert server.pem -key server-key.pem", /* for servers only */
		"-cert nobody.pem -key nobody-key.pem", /* names no node */
		"-cert wild.pem -key wild-key.pem",	/* names any node */
	};
	static const char *const make_them =
		"cd %s && exec >/dev/null 2>&1\n"
		"openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "
		"self-key.pem "
		"-out self.pem -days 5 -subj /CN=a -addext subjectAltName=DNS:a.dc1.waymark\n"
		"issue() { name=$1; ext=$2; shift 2\n"
		"openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout "
		"$name-key.pem "
		"-out $name.csr -subj /CN=$name; printf \"$ext\" > $name.ext\n"
		"openssl x509 -req -in $name.csr -CA ca.pem -CAkey ca-key.pem -CAcreateserial "
		"-out $name.pem -extfile $name.ext \"$@\"; }\n"
		"both='extendedKeyUsage=serverAuth,clientAuth'\n"
		"issue old \"$both\\nsubjectAltName=DNS:a.dc1.waymark\\n\" -days -1\n"
		"issue server 'extendedKeyUsage=serverAuth\\nsubjectAltName=DNS:a.dc1.waymark\\n' "
		"-days 5\n"
		"issue nobody \"$both\\nsubjectAltName=DNS:example.com\\n\" -days 5\n"
		"issue wild \"$both\\nsubjectAltName=DNS:*.dc1.waymark\\n\" -days 5\n"
		"test -s wild.pem && test -s self.pem && test -s server.pem\n";
	char command[2048];
	struct end b;
	struct wm_peer_addr at;

	authority();
	snprintf(command, sizeof(command), make_them, dir);
	cr_assert_eq(system(command), 0);
	make(&b, "b");
	at = listen_at(&b);
	for (unsigned n = 0; n < sizeof(args) / sizeof(*args); n++)
		stranger(&b, &at, args[n]);
	drop(&b);
}

static int raw(const struct wm_peer_addr *at)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons(at->port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	cr_assert_eq(connect(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	return fd;
}

Test(frames, what_is_no_greeting_or_no_frame_ends_it)
{
	struct end b;
	struct wm_peer_addr at;
	int fd;

	make(&b, NULL);
	at = listen_at(&b);
	fd = raw(&at);
	cr_assert_eq(send(fd, "GET / HTTP/1.1\r\n\r\n", 18, 0), 18);
	turns(&b.refused, 1);
	close(fd);
	fd = raw(&at); /* a frame of 4 GiB */
	cr_assert_eq(send(fd, "WmF\1\xff\xff\xff\xff", 8, 0), 8);
	turns(&b.down, 1);
	cr_assert_eq(b.frames, 0);
	close(fd);
	fd = raw(&at); /* who says nothing */
	turns(&b.refused, 2);
	close(fd);
	drop(&b);
}

Test(frames, what_waits_is_bounded)
{
	static char much[1 << 20];
	struct end b, a;
	struct wm_peer_addr at;
	int fd, r = 0;
	unsigned sent = 0;

	make(&b, NULL);
	make(&a, NULL);
	at = listen_at(&b);
	fd = raw(&at); /* who takes nothing */
	cr_assert_eq(send(fd, "WmF\1", 4, 0), 4);
	turns(&b.up, 1);
	while (!r && sent < 1000) {
		r = wm_frames_send(b.conn, much, sizeof(much));
		sent++;
	}
	cr_assert_eq(r, -EAGAIN);
	cr_assert_leq(wm_frames_waiting(b.conn), WM_FRAMES_QUEUE_MAX);
	cr_assert_eq(wm_frames_send(b.conn, much, 0), -EMSGSIZE);
	close(fd);
	drop(&a);
	drop(&b);
}

Test(frames, where_nobody_listens)
{
	struct end a, b;
	struct wm_peer_addr at;

	make(&a, NULL);
	make(&b, NULL);
	at = listen_at(&b);
	drop(&b);
	connect_to(&a, &at, NULL);
	turns(&a.down, 1);
	cr_assert_eq(a.err, -ECONNREFUSED);
	drop(&a);
}
