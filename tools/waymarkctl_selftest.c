/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_selftest.c - steer one connection in a cgroup of its own, and see whether the agent's
 * cgroup is steered. Neither sends anything to anybody: the first stays on loopback, the second
 * connects a datagram socket. */
#include "userspace/dataplane/plane.h"
#include "waymarkctl_doctor.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SELFTEST_VIP	 "198.51.100.1" /* documentation range, RFC 5737: nobody's address */
#define SELFTEST_PORT	 80
#define SELFTEST_WAIT_MS 2000
#define SELFTEST_SIZE	 16		   /* entries of each map */
#define DISCARD_PORT	 9		   /* RFC 863; nothing is sent */
#define SELFTEST_OWN	 "waymark-doctor-" /* of the cgroup and the pin directory; a pid follows */
#define SELFTEST_OLD_S	 60		   /* one that is under way takes some seconds */

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

/* What a self-test that was killed has left, in bpffs or among the cgroups: it is nobody's. One
 * that is under way holds its pins and is in its cgroup, whatever its age. */
static void sweep(const char *root, bool pins)
{
	DIR *d = opendir(root);
	const struct dirent *at;
	struct stat st;
	char path[512];

	while (d && (at = readdir(d))) {
		if (strncmp(at->d_name, SELFTEST_OWN, strlen(SELFTEST_OWN)) != 0 ||
		    snprintf(path, sizeof(path), "%s/%s", root, at->d_name) >= (int)sizeof(path) ||
		    stat(path, &st) || time(NULL) - st.st_mtime < SELFTEST_OLD_S)
			continue;
		if (pins)
			wm_plane_detach(path, false, NULL);
		else
			rmdir(path);
	}
	if (d)
		closedir(d);
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
	sweep("/sys/fs/bpf", true);
	sweep(root, false);
	snprintf(t.cgroup, sizeof(t.cgroup), "%s/" SELFTEST_OWN "%d", root, getpid());
	snprintf(t.pins, sizeof(t.pins), "/sys/fs/bpf/" SELFTEST_OWN "%d", getpid());
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

/* --- the agent's cgroup ----------------------------------------------------------------------- */
/* The remote address and the inode of a line of /proc/net/udp: " 12: 0100007F:1F90 0200007F:0050 01
 * 00000000:00000000 00:00000000 00000000     0        0 12345 2 ...". @return false: it is none. */
static bool parse_udp(char *line, uint32_t *ret_be, unsigned long *ret_inode)
{
	char *save = NULL, *field[10] = {NULL};
	unsigned n = 0;

	for (char *f = strtok_r(line, " ", &save); f && n < 10; f = strtok_r(NULL, " ", &save))
		field[n++] = f;
	if (n < 10)
		return false;
	*ret_be = (uint32_t)strtoul(field[2], NULL, 16); /* as it lies in memory */
	*ret_inode = strtoul(field[9], NULL, 10);
	return true;
}

/* What a connected datagram socket is connected to, whatever getpeername() shows.
 * @return false: it is not listed. */
static bool remote_of(int fd, uint32_t *ret_be)
{
	FILE *f = fopen("/proc/self/net/udp", "re");
	unsigned long inode = 0;
	bool found = false;
	struct stat st;
	char line[512];
	uint32_t remote = 0;

	while (f && !fstat(fd, &st) && !found && fgets(line, sizeof(line), f))
		found = parse_udp(line, &remote, &inode) && inode == st.st_ino;
	if (f)
		fclose(f);
	if (found)
		*ret_be = remote;
	return found;
}

/* In the child. @return 0: steered, 1: not, else an errno. */
static int dial_agent(const char *cgroup, uint32_t vip4_be)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons(DISCARD_PORT), .sin_addr.s_addr = vip4_be};
	char procs[600];
	uint32_t remote = vip4_be;
	int fd;

	snprintf(procs, sizeof(procs), "%s/cgroup.procs", cgroup);
	fd = open(procs, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		return errno;
	close(fd);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	if (connect(fd, (struct sockaddr *)&to, sizeof(to)))
		return errno == EHOSTUNREACH ? 1
					     : errno; /* the unreachable route: nobody was asked */
	return remote_of(fd, &remote) && remote != vip4_be ? 0 : 1;
}

int ctl_steered(const char *cgroup, uint32_t vip4_be)
{
	int status = 0;
	pid_t child = fork();

	if (child < 0)
		return -errno;
	if (!child)
		_exit(dial_agent(cgroup, vip4_be));
	if (waitpid(child, &status, 0) != child || !WIFEXITED(status))
		return -EIO;
	return WEXITSTATUS(status) > 1 ? -WEXITSTATUS(status) : WEXITSTATUS(status);
}
