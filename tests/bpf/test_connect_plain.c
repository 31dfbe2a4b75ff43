/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* A kernel that lacks the newer helpers: the plain variant of the programs is loaded. It steers,
 * and falls short exactly as docs/architecture.md says under "Older kernels". */
#include "connect_fixture.h"

#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

#define REFUSALS 2 /* libbpf tries once more, to have the verifier's words */

static void *as_pointer(uint64_t n)
{
	return (void *)(uintptr_t)n;
}

/* Make the kernel refuse the load of @p victim that the child is about to ask for.
 * @return whether it was one. */
static bool spoil(pid_t pid, const struct __ptrace_syscall_info *s, const char *victim)
{
	uint64_t attr = s->entry.args[1];
	uint32_t no_type = 0xffff;
	char name[BPF_OBJ_NAME_LEN] = "";
	struct iovec ours = {name, sizeof(name)};
	struct iovec theirs = {as_pointer(attr + offsetof(union bpf_attr, prog_name)),
			       sizeof(name)};

	if (s->op != PTRACE_SYSCALL_INFO_ENTRY || s->entry.nr != SYS_bpf ||
	    s->entry.args[0] != BPF_PROG_LOAD ||
	    process_vm_readv(pid, &ours, 1, &theirs, 1, 0) != sizeof(name) || strcmp(name, victim))
		return false;
	ours = (struct iovec){&no_type, sizeof(no_type)};
	theirs = (struct iovec){as_pointer(attr + offsetof(union bpf_attr, prog_type)),
				sizeof(no_type)};
	return process_vm_writev(pid, &ours, 1, &theirs, 1, 0) == sizeof(no_type);
}

static void attach_in_child(const struct wm_plane_config *c)
{
	struct wm_plane *p = NULL;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	if (wm_plane_open(c, &p, NULL, NULL))
		_exit(1);
	_exit(wm_plane_attach(p, NULL) == CONNECT_HOOKS ? 0 : 2);
}

/* The links get the programs of a run whose first load of connect6 was refused. */
static void steer_plainly(void)
{
	struct wm_plane_config c = connect_config();
	struct __ptrace_syscall_info s;
	unsigned spoiled = 0;
	int status;
	pid_t pid;

	wm_tables_free(tables);
	wm_plane_close(plane);
	pid = fork();
	if (!pid)
		attach_in_child(&c);
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	ptrace(PTRACE_SETOPTIONS, pid, NULL, as_pointer(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
	while (WIFSTOPPED(status)) {
		memset(&s, 0, sizeof(s));
		if (spoiled < REFUSALS && WSTOPSIG(status) == (SIGTRAP | 0x80) &&
		    ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(s), &s) > 0)
			spoiled += spoil(pid, &s, "connect6");
		cr_assert_eq(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
	}
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0, "child failed at check %d", WEXITSTATUS(status));
	cr_assert_eq(spoiled, REFUSALS);
	plane = open_ok(&c, true); /* and not attached: the child's programs go on */
	wm_plane_memory_of(plane, &mem);
	tables = wm_tables_new(&mem, wm_plane_ops(plane), "mesh.internal", NULL);
}

Test(connect, the_plain_variant_steers)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), client;
	union address from = {0};
	uint16_t port;
	int server;

	steer_plainly();
	server = serve("127.9.9.9", SOCK_DGRAM, &port);
	client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	for (unsigned i = 0; i < BACKENDS; i++)
		backend(i, "127.9.9.9", port, 1, WM_STATE_DOWN);
	wants[33].state = WM_STATE_UP;
	publish();
	/* eight draws miss it mostly, the bounded scan finds it from most places */
	for (unsigned i = 0; i < 100; i++) {
		int again = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		(void)dial(again, VIP4, 53);
		close(again);
	}
	cr_assert_gt(picks(33), 50);
	want.backends_count = 1;
	wants[0].state = WM_STATE_UP;
	publish();
	exchange(client, server, VIP4, 53, &from);
	same_source(&from, VIP4, 53);
	/* refused with the verdict's own error */
	cr_assert_eq(dial(fd, "240.9.9.9", 80), EPERM);
	close(fd);
	close(client);
	close(server);
}

Test(connect, the_plain_variant_cannot_tell_v6only)
{
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;

	steer_plainly();
	backend(0, "127.9.9.9", 1000, 1, WM_STATE_UP);
	publish();
	cr_assert_eq(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)), 0);
	cr_assert_eq(dial(fd, VIP6, 80), ENETUNREACH);
	/* but IPv6 backends come first here, too */
	backend(1, "::1", 1001, 1, WM_STATE_UP);
	publish();
	for (unsigned i = 0; i < 50; i++) {
		int again = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		cr_assert_eq(setsockopt(again, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)), 0);
		cr_assert_eq(dial(again, VIP6, 80), 0);
		close(again);
	}
	close(fd);
}

Test(connect, the_plain_variant_takes_loopback_everywhere)
{
	int status;
	pid_t pod;

	steer_plainly();
	backend(0, "127.9.9.9", 1000, 1, WM_STATE_UP);
	publish();
	pod = fork();
	if (!pod) {
		int fd;

		if (unshare(CLONE_NEWNET))
			_exit(1);
		lo_up();
		fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		_exit(dial(fd, VIP4, 53) ? 2 : 0);
	}
	cr_assert_eq(waitpid(pod, &status, 0), pod);
	cr_assert(WIFEXITED(status) && !WEXITSTATUS(status));
	cr_assert_eq(picks(0), 1);
	cr_assert_eq(counter(WM_C_CONNECT_LOOPBACK), 0);
}

Test(connect, the_plain_variant_shows_the_backend_of_multipath_tcp)
{
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP), server;
	uint16_t port;

	if (client < 0)
		cr_skip_test("the kernel has no Multipath TCP: %s", strerror(errno));
	steer_plainly();
	server = serve("127.9.9.9", SOCK_STREAM, &port);
	backend(0, "127.9.9.9", port, 1, WM_STATE_UP);
	publish();
	cr_assert_eq(dial(client, VIP4, 80), 0);
	peer_is(client, "127.9.9.9", port);
	close(client);
	close(server);
}
