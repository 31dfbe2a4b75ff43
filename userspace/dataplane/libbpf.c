/* SPDX-License-Identifier: Apache-2.0 */
/* libbpf.c - libbpf's messages kept for error texts, and the bpf() calls that libbpf 1.1 lacks: tcx
 * came to the kernel with 6.6, so its structs are written out here after <linux/bpf.h> of 6.6. */
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"

#include <bpf/btf.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define IN_FRONT     (1u << 3)	/* BPF_F_BEFORE: of tcx 6.6, of cgroups 6.17 */
#define TCX_INGRESS  46		/* BPF_TCX_INGRESS of enum bpf_attach_type */
#define IFINDEX_NONE 0x7ffffffe /* a device number that no namespace gives out */

/* libbpf has one print callback for the process, so its buffer is one for the process, too. */
static char last_line[256];

__attribute__((format(printf, 2, 0))) static int keep_line(enum libbpf_print_level level,
							   const char *fmt, va_list ap)
{
	char line[sizeof(last_line)];
	const char *text = line;
	size_t len;

	if (level == LIBBPF_DEBUG)
		return 0;
	vsnprintf(line, sizeof(line), fmt, ap);
	if (!strncmp(text, "libbpf: ", 8))
		text += 8;
	len = strcspn(text, "\n");
	if (len) {
		memmove(last_line, text, len);
		last_line[len] = 0;
	}
	return 0;
}

void wm_bpf_capture(void)
{
	libbpf_set_print(keep_line);
}

void wm_bpf_log_reset(void)
{
	last_line[0] = 0;
}

const char *wm_bpf_log_last(void)
{
	return last_line;
}

void wm_bpf_verifier_reason(const char *log, char *buf, size_t cap)
{
	const char *end = log + strlen(log), *line, *found = NULL;
	size_t len = 0;

	/* From the end: skip statistics ("processed 12 insns ..."), take the first other line. */
	while (end > log && !found) {
		while (end > log && (end[-1] == '\n' || end[-1] == ' '))
			end--;
		for (line = end; line > log && line[-1] != '\n';)
			line--;
		len = (size_t)(end - line);
		if (len && strncmp(line, "processed ", 10) != 0 &&
		    strncmp(line, "verification time", 17) != 0 &&
		    strncmp(line, "stack depth", 11) != 0)
			found = line;
		end = line;
	}
	if (!found) {
		found = "";
		len = 0;
	}
	if (len >= cap)
		len = cap - 1;
	memcpy(buf, found, len);
	buf[len] = 0;
}

static int sys_bpf(int cmd, void *attr, unsigned size)
{
	long r = syscall(__NR_bpf, cmd, attr, size);

	return r < 0 ? -errno : (int)r;
}

/* Link in front of those that are there; an older kernel refuses the flag, and it stands behind. */
static int link_in_front(int prog_fd, uint32_t target, uint32_t attach_type)
{
	struct {
		uint32_t prog_fd, target, attach_type, flags;
		uint32_t relative_fd, pad;
		uint64_t expected_revision;
	} attr = {.prog_fd = (uint32_t)prog_fd,
		  .target = target,
		  .attach_type = attach_type,
		  .flags = IN_FRONT};
	int fd = sys_bpf(BPF_LINK_CREATE, &attr, sizeof(attr));

	if (fd != -EINVAL)
		return fd;
	attr.flags = 0;
	return sys_bpf(BPF_LINK_CREATE, &attr, sizeof(attr));
}

int wm_tcx_link_create(int prog_fd, uint32_t ifindex)
{
	return link_in_front(prog_fd, ifindex, TCX_INGRESS);
}

int wm_cgroup_link_in_front(int prog_fd, int cgroup_fd, enum bpf_attach_type type)
{
	return link_in_front(prog_fd, (uint32_t)cgroup_fd, (uint32_t)type);
}

/* @return how many are there; @p ret_progs and @p ret_links are of WM_QUERY_MAX. */
static int tcx_query(uint32_t ifindex, uint32_t *ret_progs, uint32_t *ret_links)
{
	struct {
		uint32_t target_ifindex, attach_type, query_flags, attach_flags;
		uint64_t prog_ids;
		uint32_t count, pad;
		uint64_t prog_attach_flags, link_ids, link_attach_flags, revision;
	} attr = {.target_ifindex = ifindex,
		  .attach_type = TCX_INGRESS,
		  .prog_ids = (uintptr_t)ret_progs,
		  .count = WM_QUERY_MAX,
		  .link_ids = (uintptr_t)ret_links};
	int r = sys_bpf(BPF_PROG_QUERY, &attr, sizeof(attr));

	return r < 0 ? r : (int)(attr.count < WM_QUERY_MAX ? attr.count : WM_QUERY_MAX);
}

bool wm_tcx_link_is_on(uint32_t link_id, uint32_t ifindex)
{
	uint32_t progs[WM_QUERY_MAX] = {0}, links[WM_QUERY_MAX] = {0};
	int n = tcx_query(ifindex, progs, links);

	for (int i = 0; i < n; i++)
		if (links[i] == link_id)
			return true;
	return false;
}

int wm_tcx_progs(uint32_t ifindex, uint32_t *ret_ids)
{
	uint32_t links[WM_QUERY_MAX] = {0};

	return tcx_query(ifindex, ret_ids, links);
}

int wm_bpf_null_prog(enum bpf_prog_type type, enum bpf_attach_type attach, const char *name)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach);

	return bpf_prog_load(type, name, "GPL", insns, WM_ARRAY_LEN(insns), &opts);
}

int wm_bpf_try_tcx(void)
{
	_cleanup_close_ int prog = wm_bpf_null_prog(BPF_PROG_TYPE_SCHED_CLS, 0, "wm_probe");
	int link;

	if (prog < 0)
		return prog;
	/* A kernel that knows the attach type looks for the device, an older one refuses the type.
	 */
	link = wm_tcx_link_create(prog, IFINDEX_NONE);
	if (link >= 0)
		close(link);
	return link == -ENODEV || link >= 0 ? 0 : link;
}

int wm_bpf_try_cgroup_link(void)
{
	_cleanup_close_ int prog = wm_bpf_null_prog(BPF_PROG_TYPE_CGROUP_SOCK_ADDR,
						    BPF_CGROUP_INET4_CONNECT, "wm_probe");
	int r;

	if (prog < 0)
		return prog;
	/* Refused for the descriptor (EBADF), not for the command or the type (EINVAL). */
	r = bpf_link_create(prog, -1, BPF_CGROUP_INET4_CONNECT, NULL);
	if (r >= 0)
		close(r);
	return r == -EBADF || r >= 0 ? 0 : r;
}

int wm_bpf_try_iterator(const char *target)
{
	const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_TRACE_ITER);
	int id = libbpf_find_vmlinux_btf_id(target, BPF_TRACE_ITER), fd;

	wm_bpf_log_reset();
	if (id <= 0)
		return -ENOENT;
	opts.attach_btf_id = (uint32_t)id;
	fd = bpf_prog_load(BPF_PROG_TYPE_TRACING, target, "GPL", insns, WM_ARRAY_LEN(insns), &opts);
	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

int wm_bpf_try_helper(enum bpf_prog_type type, enum bpf_func_id helper)
{
	int r = libbpf_probe_bpf_helper(type, helper, NULL);

	wm_bpf_log_reset();
	return r == 1 ? 0 : r < 0 ? r : -EINVAL; /* the verifier's word for an unknown function */
}

bool wm_bpf_has_helper(enum bpf_prog_type type, enum bpf_func_id helper)
{
	return !wm_bpf_try_helper(type, helper);
}

bool wm_bpf_has_cast(void)
{
	struct bpf_insn insns[] = {
		{.code = BPF_JMP | BPF_CALL, .src_reg = BPF_PSEUDO_KFUNC_CALL},
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1},
		{.code = BPF_JMP | BPF_EXIT},
	};
	LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = BPF_CGROUP_INET_SOCK_RELEASE);
	struct btf *btf = btf__load_vmlinux_btf();
	int id = btf ? btf__find_by_name_kind(btf, "bpf_cast_to_kern_ctx", BTF_KIND_FUNC) : 0;
	int fd = -1;

	btf__free(btf);
	insns[0].imm = id;
	if (id > 0)
		fd = bpf_prog_load(BPF_PROG_TYPE_CGROUP_SOCK, "wm_probe", "GPL", insns,
				   WM_ARRAY_LEN(insns), &opts);
	wm_bpf_log_reset();
	if (fd >= 0)
		close(fd);
	return fd >= 0;
}
