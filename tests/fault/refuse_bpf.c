/* SPDX-License-Identifier: Apache-2.0 */
/* refuse_bpf.c - a library for LD_PRELOAD that plays a kernel which refuses programs: loading one
 * whose name is in REFUSE_BPF, names with spaces between them, fails with EPERM. So every feature
 * that a kernel may refuse is tested in both states on one that has it. Names are the kernel's, 15
 * octets at most. libbpf makes all its system calls through syscall(3). */
#include <dlfcn.h>
#include <errno.h>
#include <linux/bpf.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int is_refused(const union bpf_attr *attr)
{
	const char *list = getenv("REFUSE_BPF"), *at = list;
	size_t len = strnlen(attr->prog_name, sizeof(attr->prog_name));

	while (len && at && (at = strstr(at, attr->prog_name))) {
		if ((at == list || at[-1] == ' ') && (!at[len] || at[len] == ' '))
			return 1;
		at += len;
	}
	return 0;
}

long syscall(long nr, ...)
{
	static long (*real)(long, ...);
	va_list ap;
	long a[6];

	va_start(ap, nr);
	for (unsigned i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (nr == SYS_bpf && a[0] == BPF_PROG_LOAD && is_refused((const union bpf_attr *)a[1])) {
		errno = EPERM;
		return -1;
	}
	if (!real)
		real = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	return real(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}
