/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_doctor.c - try what the agent needs on the running kernel, and steer one connection.
 */
#include "userspace/dataplane/plane.h"
#include "waymarkctl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define SELFTEST_VIP	 "198.51.100.1" /* documentation range, RFC 5737: nobody's address */
#define SELFTEST_PORT	 80
#define SELFTEST_WAIT_MS 2000
#define SELFTEST_SIZE	 16 /* entries of each map */

struct findings {
	json_t *list;
	unsigned bad;
};

static void found(void *arg, const char *name, bool ok, const char *text)
{
	struct findings *f = arg;

	f->bad += !ok;
	json_array_append_new(f->list, json_pack("{s:s, s:s, s:s}", "Check", name, "Result",
						 ok ? "ok" : "missing", "Meaning", text));
}

/* --- self-test -------------------------------------------------------------------------------- */
struct selftest {
	char cgroup[512], pins[128];
	int listener;
	uint16_t port;
	struct wm_plane *plane;
	struct wm_tables *tables;
};

static int listen_somewhere(struct selftest *t)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(at);

	t->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (t->listener < 0 || bind(t->listener, (struct sockaddr *)&at, sizeof(at)) ||
	    listen(t->listener, 1) || getsockname(t->listener, (struct sockaddr *)&at, &len))
		return -errno;
	t->port = ntohs(at.sin_port);
	return 0;
}

static int fill_tables(struct selftest *t, struct wm_err *e)
{
	struct wm_want_backend b = {.instance = 1,
				    .addr4_be = htonl(INADDR_LOOPBACK),
				    .port = t->port,
				    .weight = 1,
				    .state = WM_STATE_UP};
	struct wm_want_set w = {.service = "selftest", .backends = &b, .backends_count = 1};
	struct wm_table_memory mem;

	inet_pton(AF_INET, SELFTEST_VIP, &w.vip4_be);
	wm_plane_memory_of(t->plane, &mem);
	mem.config->flags = WM_CONFIG_F_CONNECT;
	t->tables = wm_tables_new(&mem, wm_plane_ops(t->plane), "selftest.invalid", NULL);
	return t->tables ? wm_tables_put(t->tables, &w, NULL, e) : -ENOMEM;
}

/* In the child, which lives in the cgroup: dial the virtual address. @return exit status. */
static int dial(const struct selftest *t)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(SELFTEST_PORT)};
	char procs[600];
	int fd;

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", t->cgroup);
	fd = open(procs, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		return 2;
	close(fd);
	inet_pton(AF_INET, SELFTEST_VIP, &to.sin_addr);
	fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return 2;
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)) && errno != EINPROGRESS)
		return 1;
	return 0;
}

static int steer(struct selftest *t, char *why, size_t cap)
{
	struct pollfd p = {.fd = t->listener, .events = POLLIN};
	int status = 0, ready;
	pid_t child = fork();

	if (child < 0)
		return -errno;
	if (!child)
		_exit(dial(t));
	ready = poll(&p, 1, SELFTEST_WAIT_MS);
	waitpid(child, &status, 0);
	if (ready == 1)
		return 0;
	snprintf(why, cap, "connect() to %s did not reach the listener on 127.0.0.1:%u",
		 SELFTEST_VIP, t->port);
	return -ECONNREFUSED;
}

int ctl_selftest(char *why, size_t cap)
{
	struct selftest t = {.listener = -1};
	struct wm_plane_config c = {.attach_connect = true,
				    .names = SELFTEST_SIZE,
				    .frontends = SELFTEST_SIZE,
				    .sets = SELFTEST_SIZE,
				    .slots = SELFTEST_SIZE,
				    .backends = SELFTEST_SIZE};
	struct wm_err e = {0};
	char root[256];
	int r = wm_cgroup_root(root, sizeof(root));

	if (r) {
		snprintf(why, cap, "no cgroup2 mount");
		return r;
	}
	snprintf(t.cgroup, sizeof(t.cgroup), "%s/waymark-doctor-%d", root, getpid());
	snprintf(t.pins, sizeof(t.pins), "/sys/fs/bpf/waymark-doctor-%d", getpid());
	c.cgroup = t.cgroup;
	c.pin_dir = t.pins;
	if (mkdir(t.cgroup, 0755)) {
		snprintf(why, cap, "%s: %s", t.cgroup, strerror(errno));
		return -errno;
	}
	r = listen_somewhere(&t);
	if (!r)
		r = wm_plane_open(&c, &t.plane, NULL, &e);
	if (!r)
		r = fill_tables(&t, &e);
	if (!r)
		r = wm_plane_attach(t.plane, &e);
	snprintf(why, cap, "%s", r < 0 ? e.text : "");
	if (r >= 0)
		r = steer(&t, why, cap);
	wm_tables_free(t.tables);
	wm_plane_close(t.plane);
	wm_plane_detach(t.pins, false, NULL);
	if (t.listener >= 0)
		close(t.listener);
	rmdir(t.cgroup);
	return r;
}

/* --- the report ------------------------------------------------------------------------------- */
int ctl_doctor(const struct ctl *c)
{
	struct wm_plane_config pc = {.pin_dir = c->pin_dir,
				     .attach_dns = true,
				     .attach_connect = true,
				     .names = SELFTEST_SIZE,
				     .frontends = SELFTEST_SIZE,
				     .sets = SELFTEST_SIZE,
				     .slots = SELFTEST_SIZE,
				     .backends = SELFTEST_SIZE};
	struct findings f = {.list = json_array()};
	json_t *report = json_object(), *maps = ctl_get(c, "/v1/waymark/maps", true);
	char why[512];
	int r;

	wm_plane_probe(&pc, found, &f);
	r = ctl_selftest(why, sizeof(why));
	found(&f, "selftest", r >= 0,
	      r >= 0 ? "a connect() in a cgroup of its own was steered to its backend" : why);
	json_object_set_new(report, "Kernel", f.list);
	json_object_set_new(report, "Agent",
			    maps ? maps : json_string("no agent answers; see --agent"));
	if (c->json) {
		json_dumpf(report, stdout, JSON_INDENT(2));
		putchar('\n');
	} else {
		ctl_render(report, 0, stdout);
	}
	json_decref(report);
	return r >= 0 ? 0 : 1;
}
