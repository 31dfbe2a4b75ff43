/* SPDX-License-Identifier: Apache-2.0 */
/* refuse_bpf.c - a library for LD_PRELOAD that plays a kernel which lacks things, so that every
 * feature that a kernel may refuse is tested in both states on one that has it. REFUSE_BPF holds
 * words with spaces between them: the name of a program (the kernel's, 15 octets at most), whose
 * loading fails with EPERM; "helper:N", a helper whose probe fails (EINVAL, and the
 * verifier's words for it); "tcx" and "cgroup_link", links of that kind (EINVAL);
 * "membarrier" (EINVAL, as beside nohz_full). libbpf makes all its system calls through syscall(3).
 */
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TCX_INGRESS 46 /* BPF_TCX_INGRESS: kernel 6.6 */
#define TCX_EGRESS  47
#define PROBE_INSNS 8 /* libbpf's probes have two to four instructions */

static bool listed(const char *word)
{
	const char *list = getenv("REFUSE_BPF"), *at = list;
	size_t len = strlen(word);

	while (len && at && (at = strstr(at, word))) {
		if ((at == list || at[-1] == ' ') && (!at[len] || at[len] == ' '))
			return true;
		at += len;
	}
	return false;
}

/* A helper that a probe asks for and that is refused, or 0. Whole programs hold the call in a
 * branch that the verifier never walks when the probe has failed. */
static int refused_helper(const union bpf_attr *attr)
{
	const struct bpf_insn *insns = (const struct bpf_insn *)(uintptr_t)attr->insns;
	char word[32];

	for (uint32_t i = 0; attr->insn_cnt <= PROBE_INSNS && i < attr->insn_cnt; i++) {
		if (insns[i].code != (BPF_JMP | BPF_CALL) || insns[i].src_reg)
			continue;
		snprintf(word, sizeof(word), "helper:%d", insns[i].imm);
		if (listed(word))
			return insns[i].imm;
	}
	return 0;
}

/* @return the errno, 0: it goes on to the kernel. */
static int refuse_program(const union bpf_attr *attr)
{
	char name[BPF_OBJ_NAME_LEN + 1] = "";
	int helper;

	memcpy(name, attr->prog_name, BPF_OBJ_NAME_LEN);
	if (listed(name))
		return EPERM;
	helper = refused_helper(attr);
	if (helper && attr->log_size)
		snprintf((char *)(uintptr_t)attr->log_buf, attr->log_size,
			 "invalid func unknown#%d\n", helper);
	return helper ? EINVAL : 0;
}

static int refuse_link(const union bpf_attr *attr)
{
	uint32_t type = attr->link_create.attach_type;
	bool tcx = type == TCX_INGRESS || type == TCX_EGRESS;

	if (tcx)
		return listed("tcx") ? EINVAL : 0;
	return type != BPF_TRACE_ITER && listed("cgroup_link") ? EINVAL : 0;
}

long syscall(long nr, ...)
{
	static long (*real)(long, ...);
	va_list ap;
	long a[6];
	int r = 0;

	va_start(ap, nr);
	for (unsigned i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (nr == SYS_bpf && a[0] == BPF_PROG_LOAD)
		r = refuse_program((const union bpf_attr *)a[1]);
	else if (nr == SYS_bpf && a[0] == BPF_LINK_CREATE)
		r = refuse_link((const union bpf_attr *)a[1]);
	else if (nr == SYS_membarrier && listed("membarrier"))
		r = EINVAL;
	if (r) {
		errno = r;
		return -1;
	}
	if (!real)
		real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	return real(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}
