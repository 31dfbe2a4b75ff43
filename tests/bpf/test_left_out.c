/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* Cgroups that are left alone: who dials from them, or from below, goes where he said. And how a
 * cgroup is found by its id. */
#include "connect_fixture.h"
#include "userspace/dataplane/left_out.h"

#include <linux/capability.h>
#include <sys/syscall.h>

static char out[300], below[320], other[300];
static const char *wanted; /* what to leave alone, below the mount */
static uint16_t port;

static void make_cgroups(void)
{
	snprintf(out, sizeof(out), "%s/out", cgroup);
	snprintf(below, sizeof(below), "%s/deep", out);
	snprintf(other, sizeof(other), "%s/other", cgroup);
	cr_assert(!mkdir(out, 0755) && !mkdir(below, 0755) && !mkdir(other, 0755));
}

static void remove_cgroups(void)
{
	rmdir(below);
	rmdir(out);
	rmdir(other);
}

static enum wm_left_out by_path(void *arg, const char *path)
{
	size_t len = strlen(path), end = strlen(wanted);

	(void)arg;
	return len <= end && !strcmp(path, wanted + end - len) ? WM_LEFT_OUT_TAKE
							       : WM_LEFT_OUT_LOOK;
}

/* Does a child in @p dir come to the backend? */
static bool is_steered(const char *dir, const char *vip)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		union address peer = {0};
		socklen_t len = sizeof(peer);
		int fd;

		enter(dir);
		fd = client_of(vip, SOCK_DGRAM);
		/* what is not steered has a route or none */
		_exit(!dial(fd, vip, 53) && send(fd, "q", 1, 0) == 1 &&
				      !getpeername(fd, &peer.any, &len)
			      ? 0
			      : 1);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
	return !WEXITSTATUS(status);
}

Test(connect, a_cgroup_is_left_alone_with_all_below)
{
	int server = serve_alone("127.9.9.9", SOCK_DGRAM, &port);

	make_cgroups();
	cr_expect(is_steered(out, VIP4));
	wanted = out;
	cr_assert_eq(wm_plane_leave_out(plane, by_path, NULL), 1);
	cr_expect_not(is_steered(out, VIP4));
	cr_expect_not(is_steered(below, VIP4));
	cr_expect_not(is_steered(below, "::ffff:" VIP4));
	cr_expect(is_steered(other, VIP4));
	cr_expect(is_steered(cgroup, VIP4));
	wanted = other;
	cr_assert_eq(wm_plane_leave_out(plane, by_path, NULL), 1);
	cr_expect(is_steered(below, VIP4));
	cr_expect_not(is_steered(other, VIP4));
	cr_assert_eq(wm_plane_leave_out(plane, NULL, NULL), 0);
	cr_expect(is_steered(other, VIP4));
	cr_expect_eq(mem.config->flags & WM_CONFIG_LEVELS, 0);
	remove_cgroups();
	close(server);
}

Test(connect, the_next_run_leaves_the_same_alone)
{
	struct wm_plane_config c = connect_config();
	struct wm_config next;
	int server = serve_alone("127.9.9.9", SOCK_DGRAM, &port);

	make_cgroups();
	wanted = out;
	cr_assert_eq(wm_plane_leave_out(plane, by_path, NULL), 1);
	wm_tables_free(tables);
	wm_plane_close(plane);
	cr_expect_not(is_steered(below, VIP4), "the kernel goes on");
	plane = open_ok(&c, true);
	wm_plane_memory_of(plane, &mem);
	next = *mem.config;
	next.flags = WM_CONFIG_F_CONNECT;
	wm_plane_reconfigure(mem.config, &next);
	tables = wm_tables_new(&mem, wm_plane_ops(plane), "mesh.internal", NULL);
	attach_ok(plane, CONNECT_HOOKS + c.passive);
	cr_expect_not(is_steered(below, VIP4));
	cr_expect(is_steered(other, VIP4));
	remove_cgroups();
	close(server);
}

/* As in a container whose capabilities are named: no handle opens a directory. */
Test(connect, a_cgroup_is_found_by_its_id_without_a_handle)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct caps[2];
	char by_handle[300], by_search[300];
	uint64_t id = 0;
	int fd;

	make_cgroups();
	fd = wm_cgroup_open(below, &id);
	cr_assert(fd >= 0 && !close(fd));
	cr_assert_eq(wm_cgroup_path(id, by_handle, sizeof(by_handle)), 0);
	cr_expect_str_eq(by_handle, below);
	cr_assert_eq(syscall(SYS_capget, &head, caps), 0);
	caps[0].effective &= ~(1u << CAP_DAC_READ_SEARCH);
	cr_assert_eq(syscall(SYS_capset, &head, caps), 0);
	cr_assert_eq(wm_cgroup_path(id, by_search, sizeof(by_search)), 0);
	cr_expect_str_eq(by_search, below);
	cr_expect_eq(wm_cgroup_path(UINT64_MAX, by_search, sizeof(by_search)), -ENOENT);
	caps[0].effective |= 1u << CAP_DAC_READ_SEARCH;
	cr_assert_eq(syscall(SYS_capset, &head, caps), 0);
	remove_cgroups();
}
