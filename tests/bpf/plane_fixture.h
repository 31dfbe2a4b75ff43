/* SPDX-License-Identifier: Apache-2.0 */
/* plane_fixture.h - what the tests of the data plane stand on: a mount namespace with a bpffs of
 * its own, a network namespace and a child cgroup for each test; all of it ends with the process.
 */
#pragma once
#include "userspace/dataplane/internal.h"
#include "waymark/layout.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CONNECT_HOOKS 9	   /* of a cgroup, without tcp_outcome */
#define TRACE_HOOKS   2	   /* that see how connects end */
#define DNS_PINS      2	   /* of dns_lo: its link, and the array of what it calls */
#define GONE_TRIES    3000 /* of 10 ms: the kernel frees maps and programs after a grace period */

static char pin_dir[128], cgroup[256];
static const char *const lo_only[] = {"lo", NULL};

/* Hook @p i of a cgroup where nobody looks how connects end. */
static __attribute__((unused)) const char *hook_name(unsigned i)
{
	return wm_prog_name(i + (i >= WM_PROG_TCP_OUTCOME));
}

/* A crashed run leaves its cgroup behind: nothing else ends with the process by itself. */
static __attribute__((unused)) void sweep_cgroups(const char *root)
{
	DIR *d = opendir(root);
	struct dirent *e;
	static const char prefix[] = "waymark-test-plane-";
	static const char *const below[] = {"/sub", "/out/deep", "/out", "/other", ""};
	char path[600];
	pid_t pid;

	while (d && (e = readdir(d))) {
		if (strncmp(e->d_name, prefix, sizeof(prefix) - 1) != 0)
			continue;
		pid = (pid_t)strtol(e->d_name + sizeof(prefix) - 1, NULL, 10);
		if (pid <= 0 || !kill(pid, 0))
			continue;
		for (size_t i = 0; i < sizeof(below) / sizeof(*below); i++) {
			snprintf(path, sizeof(path), "%s/%s%s", root, e->d_name, below[i]);
			rmdir(path);
		}
	}
	if (d)
		closedir(d);
}

static __attribute__((unused)) void lo_up(void)
{
	struct ifreq r = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_LOOPBACK | IFF_RUNNING};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	cr_assert(fd >= 0);
	cr_assert_eq(ioctl(fd, SIOCSIFFLAGS, &r), 0, "%s", strerror(errno));
	close(fd);
}

static __attribute__((unused)) void setup(void)
{
	char root[128];

	cr_assert_eq(unshare(CLONE_NEWNS | CLONE_NEWNET), 0, "%s", strerror(errno));
	cr_assert_eq(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	cr_assert_eq(mount("bpf", "/sys/fs/bpf", "bpf", 0, NULL), 0, "%s", strerror(errno));
	lo_up();
	cr_assert_eq(wm_cgroup_root(root, sizeof(root)), 0, "these tests need a cgroup2 mount");
	sweep_cgroups(root);
	snprintf(cgroup, sizeof(cgroup), "%s/waymark-test-plane-%d", root, getpid());
	cr_assert_eq(mkdir(cgroup, 0755), 0, "%s: %s", cgroup, strerror(errno));
	snprintf(pin_dir, sizeof(pin_dir), "/sys/fs/bpf/waymark-test-%d", getpid());
}

static __attribute__((unused)) void teardown(void)
{
	wm_plane_detach(pin_dir, true, NULL);
	rmdir(cgroup);
}

TestSuite(plane, .init = setup, .fini = teardown, .timeout = 600);

static __attribute__((unused)) struct wm_plane_config small(void)
{
	return (struct wm_plane_config){
		.pin_dir = pin_dir,
		.cgroup = cgroup,
		.lo_devices = lo_only,
		.attach_dns = true,
		.attach_connect = true,
		.names = 64,
		.frontends = 64,
		.sets = 32,
		.slots = 256,
		.backends = 128,
		.memory_max = 16 << 20,
	};
}

static __attribute__((unused)) struct wm_plane *open_ok(const struct wm_plane_config *c,
							bool want_adopted)
{
	struct wm_plane *p = NULL;
	struct wm_err e = {0};
	bool adopted = !want_adopted;
	int r = wm_plane_open(c, &p, &adopted, &e);

	cr_assert_eq(r, 0, "%d: %s", r, e.text);
	cr_assert_eq(adopted, want_adopted);
	return p;
}

static __attribute__((unused)) void attach_ok(struct wm_plane *p, int want)
{
	const struct wm_plane_hook *h;
	struct wm_err e = {0};
	int r = wm_plane_attach(p, &e);
	unsigned n = wm_plane_hooks(p, &h);

	for (unsigned i = 0; i < n; i++)
		if (h[i].error)
			fprintf(stderr, "%s at %s: %s\n", h[i].name, h[i].where, h[i].text);
	cr_assert_eq(r, want, "%d: %s", r, e.text);
}

/* What an iterator program needs; NULL: it is no such program, and every kernel loads it. */
static __attribute__((unused)) const char *iterator_target(const char *prog)
{
	static const char *const targets[][2] = {{"open_sockets", "bpf_sk_storage_map"},
						 {"open_tcp", "tcp"},
						 {"open_udp", "udp"},
						 {"task_netns", "task"},
						 {"abort_udp", "udp"},
						 {"abort_tcp", "tcp"}};

	for (unsigned i = 0; i < sizeof(targets) / sizeof(*targets); i++)
		if (strcmp(targets[i][0], prog) == 0)
			return targets[i][1];
	return NULL;
}

/* Does this kernel refuse what @p prog needs? Then it says so, as tests/run.sh reads it. */
static __attribute__((unused)) bool kernel_refuses(const char *prog)
{
	const char *target = iterator_target(prog);
	int r = target ? wm_bpf_try_iterator(target) : 0;

	if (!r && strncmp(prog, "abort", 5) == 0 && wm_progs_try_abort() == -ESRCH)
		r = -ESRCH;
	if (r)
		fprintf(stderr, "skipped: %s: kernel refuses iter/%s: %s\n", prog, target,
			strerrorname_np(-r));
	return r;
}

static __attribute__((unused)) unsigned entries(const char *sub)
{
	char path[256];
	struct dirent *e;
	unsigned n = 0;
	DIR *d;

	snprintf(path, sizeof(path), "%s/%s", pin_dir, sub);
	d = opendir(path);
	while (d && (e = readdir(d)))
		n += e->d_name[0] != '.';
	if (d)
		closedir(d);
	return n;
}

/* Without a descriptor: one that is closed asks the kernel to empty an array of programs. */
static __attribute__((unused)) bool map_gone(uint32_t id)
{
	uint32_t next;

	for (int i = 0; i < GONE_TRIES; i++) {
		if (bpf_map_get_next_id(id - 1, &next) || next != id)
			return true;
		usleep(10000);
	}
	return false;
}

static __attribute__((unused)) bool prog_gone(uint32_t id)
{
	for (int i = 0; i < GONE_TRIES; i++) {
		int fd = bpf_prog_get_fd_by_id(id);

		if (fd == -ENOENT)
			return true;
		if (fd >= 0)
			close(fd);
		usleep(10000);
	}
	return false;
}

static __attribute__((unused)) bool link_gone(uint32_t id)
{
	for (int i = 0; i < GONE_TRIES; i++) {
		int fd = bpf_link_get_fd_by_id(id);

		if (fd < 0)
			return true;
		close(fd);
		usleep(10000);
	}
	return false;
}

static __attribute__((unused)) uint32_t pinned_link_prog(const char *name, uint32_t *ret_link)
{
	struct bpf_link_info info = {0};
	uint32_t len = sizeof(info);
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/links/%s", pin_dir, name);
	fd = bpf_obj_get(path);
	if (fd < 0)
		return 0;
	cr_assert_eq(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	close(fd);
	if (ret_link)
		*ret_link = info.id;
	return info.prog_id;
}

static __attribute__((unused)) void drop_cap(unsigned bit)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];

	cr_assert_eq(syscall(SYS_capget, &h, d), 0);
	d[bit / 32].effective &= ~(1u << bit % 32);
	cr_assert_eq(syscall(SYS_capset, &h, d), 0);
}

static __attribute__((unused)) void raise_caps(void)
{
	struct __user_cap_header_struct h = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct d[2];

	cr_assert_eq(syscall(SYS_capget, &h, d), 0);
	d[0].effective = d[0].permitted;
	d[1].effective = d[1].permitted;
	cr_assert_eq(syscall(SYS_capset, &h, d), 0);
}
