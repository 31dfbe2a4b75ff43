/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model metadata resolution dataplane */
/* test_plane_faults.c - the data plane when things go wrong: killed at any step, programs refused,
 * capabilities missing, every bpf() command failing. The kernel does the refusing. */
#include "tests/bpf/plane_fixture.h"
#include "userspace/base/macros.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/wait.h>

/* A number as ptrace() and friends take it. */
static void *as_pointer(uint64_t n)
{
	return (void *)(uintptr_t)n;
}

/* --- killed between steps ------------------------------------------------------------------- */

static bool is_step(const struct __ptrace_syscall_info *s)
{
	uint64_t nr = s->entry.nr, cmd = s->entry.args[0];

#ifdef SYS_rename
	if (nr == SYS_rename || nr == SYS_mkdir || nr == SYS_unlink || nr == SYS_rmdir)
		return true;
#endif
	if (nr == SYS_renameat2 || nr == SYS_mkdirat || nr == SYS_unlinkat)
		return true;
	return nr == SYS_bpf && (cmd == BPF_OBJ_PIN || cmd == BPF_LINK_CREATE ||
				 cmd == BPF_LINK_UPDATE || cmd == BPF_LINK_DETACH);
}

/* Run open and attach in a child and kill -9 it before its step number @p at.
 * @return false when it ended by itself, having had fewer steps. */
static bool killed_at(const struct wm_plane_config *c, unsigned at)
{
	struct __ptrace_syscall_info s;
	struct wm_plane *p = NULL;
	unsigned step = 0;
	int status;
	pid_t pid = fork();

	cr_assert(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		if (!wm_plane_open(c, &p, NULL, NULL))
			wm_plane_attach(p, NULL);
		_exit(0);
	}
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFSTOPPED(status));
	ptrace(PTRACE_SETOPTIONS, pid, NULL, as_pointer(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
	for (;;) {
		cr_assert_eq(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		if (WIFEXITED(status))
			return false;
		cr_assert(WIFSTOPPED(status));
		if (WSTOPSIG(status) != (SIGTRAP | 0x80))
			continue;
		memset(&s, 0, sizeof(s));
		ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(s), &s);
		if (s.op != PTRACE_SYSCALL_INFO_ENTRY || !is_step(&s) || step++ != at)
			continue;
		kill(pid, SIGKILL);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
		return true;
	}
}

static void check_whole(struct wm_plane *p, unsigned at)
{
	const struct wm_plane_hook *h;
	const struct wm_plane_map *m;
	struct bpf_map_info info;
	uint32_t len;
	char path[256];
	unsigned n = wm_plane_hooks(p, &h);
	int fd;

	cr_assert_eq(entries(""), 2 + p->c.attach_dns, "step %u: only maps, links and tails", at);
	cr_assert_eq(entries("tails"), p->c.attach_dns, "step %u", at);
	cr_assert_eq(entries("links"), n, "step %u", at);
	for (unsigned i = 0; i < n; i++) {
		char pin[WM_HOOK_NAME_MAX];

		wm_hook_pin_name(pin, h[i].name, strchr(h[i].where, '/') ? NULL : h[i].where);
		cr_assert_eq(pinned_link_prog(pin, NULL), h[i].prog_id, "step %u: %s", at, pin);
	}
	wm_plane_maps(p, &m);
	for (unsigned i = 0; i < WM_MAP_COUNT; i++) {
		snprintf(path, sizeof(path), "%s/maps/%s", pin_dir, m[i].name);
		fd = bpf_obj_get(path);
		cr_assert(fd >= 0, "step %u: %s", at, path);
		len = sizeof(info);
		memset(&info, 0, sizeof(info));
		cr_assert_eq(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
		cr_assert_eq(info.id, m[i].id, "step %u: %s", at, m[i].name);
		close(fd);
	}
}

static void recover_ok(const struct wm_plane_config *c, unsigned at)
{
	struct wm_plane *p = NULL;
	struct wm_err e = {0};
	int r = wm_plane_open(c, &p, NULL, &e);

	cr_assert_eq(r, 0, "step %u: %d: %s", at, r, e.text);
	attach_ok(p, CONNECT_HOOKS + c->attach_dns);
	check_whole(p, at);
	wm_plane_close(p);
}

Test(plane, killed_at_any_step_of_a_first_start)
{
	struct wm_plane_config c = small();
	unsigned at = 0;

	for (; killed_at(&c, at); at++) {
		recover_ok(&c, at);
		cr_assert_geq(wm_plane_detach(pin_dir, false, NULL), 0);
	}
	cr_assert_gt(at, WM_MAP_COUNT + 2 * CONNECT_HOOKS, "too few steps were seen: %u", at);
}

Test(plane, killed_at_any_step_of_a_change_of_size)
{
	struct wm_plane_config a = small(), b = small();
	struct wm_plane *p;
	unsigned at = 0;
	bool killed;

	b.backends = 500;
	do {
		p = open_ok(&a, false);
		attach_ok(p, CONNECT_HOOKS + 1);
		wm_plane_close(p);
		killed = killed_at(&b, at);
		/* No agent runs, and no hook is without a program. */
		for (unsigned i = 0; i < CONNECT_HOOKS; i++)
			cr_assert(pinned_link_prog(hook_name(i), NULL), "step %u: %s", at,
				  hook_name(i));
		cr_assert(pinned_link_prog("dns_lo@lo", NULL));
		cr_assert_geq(entries("tails"), 1, "step %u: what it calls is pinned", at);
		/* The settings may also have been taken back. */
		if (at % 2)
			recover_ok(&a, at);
		recover_ok(&b, at);
		cr_assert_geq(wm_plane_detach(pin_dir, false, NULL), 0);
		at++;
	} while (killed);
	cr_assert_gt(at, 2 * WM_MAP_COUNT + CONNECT_HOOKS, "too few steps were seen: %u", at);
}

/* Make the kernel refuse one program of the child, as an older kernel would its type. */
static void spoil_load(pid_t pid, const struct __ptrace_syscall_info *s, const char *victim)
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
		return;
	ours = (struct iovec){&no_type, sizeof(no_type)};
	theirs = (struct iovec){as_pointer(attr + offsetof(union bpf_attr, prog_type)),
				sizeof(no_type)};
	process_vm_writev(pid, &ours, 1, &theirs, 1, 0);
}

/* In the child: 0 when exactly recvmsg6 is missing and says why. */
static int all_but_recvmsg6(const struct wm_plane_config *c)
{
	const struct wm_plane_hook *h;
	struct wm_plane *p = NULL;

	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	raise(SIGSTOP);
	if (wm_plane_open(c, &p, NULL, NULL))
		return 2;
	if (wm_plane_attach(p, NULL) != CONNECT_HOOKS)
		return 3;
	wm_plane_hooks(p, &h);
	for (unsigned i = 0; i <= CONNECT_HOOKS; i++)
		if ((h[i].error != 0) != (strcmp(h[i].name, "recvmsg6") == 0))
			return 4;
	h += WM_PROG_RECVMSG6;
	return h->error == WM_E_BPF_LOAD && strstr(h->text, "kernel refused the program: Invalid")
		       ? 0
		       : 5;
}

Test(plane, one_refused_program_leaves_the_others)
{
	struct wm_plane_config c = small();
	struct __ptrace_syscall_info s;
	uint32_t id = 0;
	int status;
	pid_t pid;

	/* An earlier run had it attached: that must not go on beside newer tables. */
	recover_ok(&c, 0);
	cr_assert(pinned_link_prog("recvmsg6", &id));
	pid = fork();
	cr_assert(pid >= 0);
	if (!pid)
		_exit(all_but_recvmsg6(&c));
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	ptrace(PTRACE_SETOPTIONS, pid, NULL, as_pointer(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL));
	while (WIFSTOPPED(status)) {
		memset(&s, 0, sizeof(s));
		if (WSTOPSIG(status) == (SIGTRAP | 0x80) &&
		    ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(s), &s) > 0)
			spoil_load(pid, &s, "recvmsg6");
		cr_assert_eq(ptrace(PTRACE_SYSCALL, pid, NULL, NULL), 0);
		cr_assert_eq(waitpid(pid, &status, 0), pid);
	}
	cr_assert(WIFEXITED(status));
	cr_assert_eq(WEXITSTATUS(status), 0, "child failed at check %d", WEXITSTATUS(status));
	cr_assert_eq(entries("links"), CONNECT_HOOKS);
	cr_assert(link_gone(id));
	recover_ok(&c, 1);
}

/* --- every bpf() command failing ------------------------------------------------------------ */

/* From now on bpf(@p cmd) fails with @p error in this process. */
static void fail_bpf(unsigned cmd, unsigned error)
{
	struct sock_filter f[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_bpf, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, cmd, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = {WM_ARRAY_LEN(f), f};

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog))
		_exit(9);
}

/* In a child: 0 when open and attach either work or say what does not. */
static int says_why(const struct wm_plane_config *c, unsigned cmd, unsigned error)
{
	const struct wm_plane_hook *h;
	struct wm_plane *p = NULL;
	struct wm_err e = {0};
	unsigned n;
	int r;

	fail_bpf(cmd, error);
	r = wm_plane_open(c, &p, NULL, &e);
	if (r)
		return p || !e.text[0];
	r = wm_plane_attach(p, &e);
	if (r < 0 && !e.text[0])
		return 2;
	n = wm_plane_hooks(p, &h);
	for (unsigned i = 0; i < n; i++) {
		char pin[WM_HOOK_NAME_MAX];

		wm_hook_pin_name(pin, h[i].name, strchr(h[i].where, '/') ? NULL : h[i].where);
		if (h[i].error && !h[i].text[0])
			return 3;
		if (h[i].error && cmd != BPF_OBJ_GET && pinned_link_prog(pin, NULL))
			return 4; /* an error, and yet attached */
	}
	wm_plane_close(p);
	return 0;
}

static void fails_well(const struct wm_plane_config *c, unsigned cmd, unsigned error)
{
	int status;
	pid_t pid = fork();

	cr_assert(pid >= 0);
	if (!pid)
		_exit(says_why(c, cmd, error));
	cr_assert_eq(waitpid(pid, &status, 0), pid);
	cr_assert(WIFEXITED(status), "bpf(%u) failing with %u: signal %d", cmd, error,
		  WTERMSIG(status));
	cr_assert_eq(WEXITSTATUS(status), 0, "bpf(%u) failing with %u: check %d", cmd, error,
		     WEXITSTATUS(status));
}

Test(plane, every_command_of_bpf_may_fail)
{
	static const unsigned cmds[] = {
		BPF_MAP_CREATE,	 BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM,    BPF_PROG_LOAD,
		BPF_OBJ_PIN,	 BPF_OBJ_GET,	      BPF_OBJ_GET_INFO_BY_FD, BPF_BTF_LOAD,
		BPF_LINK_CREATE, BPF_LINK_UPDATE,     BPF_LINK_DETACH,	      BPF_PROG_QUERY};
	static const unsigned errors[] = {EPERM, ENOMEM};
	struct wm_plane_config a = small(), b = small();

	b.slots = 300;
	for (unsigned i = 0; i < WM_ARRAY_LEN(cmds) * WM_ARRAY_LEN(errors); i++) {
		unsigned cmd = cmds[i / WM_ARRAY_LEN(errors)];
		unsigned error = errors[i % WM_ARRAY_LEN(errors)];

		/* The DNS programs take the verifier longest: with one of the errors. Without BTF
		 * it walks their loops inlined, up to its limit, at every try. */
		a.attach_dns = b.attach_dns = error == EPERM && cmd != BPF_BTF_LOAD;
		fails_well(&a, cmd, error); /* a first start */
		recover_ok(&a, i);
		if (error == EPERM) {
			fails_well(&a, cmd, error); /* a restart */
			recover_ok(&a, i);
			fails_well(&b, cmd, error); /* a change of size */
			recover_ok(&b, i);
		}
		cr_assert_geq(wm_plane_detach(pin_dir, false, NULL), 0);
		cr_assert_neq(access(pin_dir, F_OK), 0);
	}
}

Test(plane, refused_programs_are_errors_of_their_hooks)
{
	struct wm_plane_config c = small();
	const struct wm_plane_hook *h;
	struct wm_err e = {0};
	struct wm_plane *p;

	drop_cap(CAP_NET_ADMIN); /* loading programs of network types needs it, creating maps not */
	drop_cap(CAP_SYS_ADMIN);
	p = open_ok(&c, false);
	cr_assert_lt(wm_plane_attach(p, &e), 0);
	cr_assert(strstr(e.text, "kernel refused the program"), "%s", e.text);
	cr_assert_eq(wm_plane_hooks(p, &h), CONNECT_HOOKS + 1);
	for (unsigned i = 0; i <= CONNECT_HOOKS; i++) {
		cr_assert_neq(h[i].error, 0);
		cr_assert_str_eq(h[i].how, "-");
	}
	cr_assert_eq(entries("links"), 0);
	wm_plane_close(p);
	raise_caps();
	p = open_ok(&c, true);
	attach_ok(p, CONNECT_HOOKS + 1);
	wm_plane_close(p);
}

Test(plane, without_cap_bpf_open_says_so)
{
	struct wm_plane_config c = small();
	struct wm_plane *p = NULL;
	struct wm_err e = {0};
	int r;

	drop_cap(CAP_BPF);
	drop_cap(CAP_SYS_ADMIN);
	r = wm_plane_open(&c, &p, NULL, &e);
	raise_caps();
	cr_assert_lt(r, 0);
	cr_assert(strstr(e.text, "creating the maps"), "%s", e.text);
	cr_assert_neq(access(pin_dir, F_OK), 0, "nothing is left of the attempt");
}
