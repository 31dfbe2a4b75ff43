/* SPDX-License-Identifier: Apache-2.0 */
/* iterate.c - runs the program that walks the sockets' storage, bpf/drain.bpf.c. */
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define READ_INDEXES 4096 /* of a read: 16 KiB of the stack; the kernel gives 32 KiB at most */
#define AGAIN_MAX    1000 /* reads without a result: the kernel breaks off after a million sockets */

static int make_link(struct wm_plane *p)
{
	union bpf_iter_link_info info = {.map.map_fd = (uint32_t)p->map_fd[WM_MAP_SOCKET_ORIGIN]};
	LIBBPF_OPTS(bpf_link_create_opts, opts, .iter_info = &info, .iter_info_len = sizeof(info));

	if (p->progs[WM_PROG_OPEN_SOCKETS].fd < 0)
		return -EOPNOTSUPP;
	p->iterator_fd =
		bpf_link_create(p->progs[WM_PROG_OPEN_SOCKETS].fd, 0, BPF_TRACE_ITER, &opts);
	return p->iterator_fd < 0 ? p->iterator_fd : 0;
}

/* Who is not steered leaves no trace to count: none would then mean nothing. */
static bool steers(const struct wm_plane *p)
{
	unsigned attached = 0;

	for (unsigned i = 0; i < p->hooks_count; i++)
		attached += !p->hooks[i].error &&
			    strncmp(p->hooks[i].name, "connect", strlen("connect")) == 0;
	return attached == 2; /* IPv4 and IPv6 */
}

int64_t wm_plane_open_sockets(struct wm_plane *p, void (*fn)(void *arg, uint32_t backend),
			      void *arg)
{
	_cleanup_close_ int fd = -1;
	uint32_t found[READ_INDEXES];
	int64_t total = 0;
	unsigned again = 0;
	int r = steers(p) ? 0 : -ENOTCONN;

	if (!r && p->iterator_fd < 0)
		r = make_link(p);
	if (r)
		return r;
	fd = bpf_iter_create(p->iterator_fd);
	if (fd < 0)
		return fd;
	for (;;) {
		ssize_t n = read(fd, found, sizeof(found));

		if (n < 0 && (errno == EAGAIN || errno == EINTR) && ++again < AGAIN_MAX)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return total;
		/* the kernel writes four octets at a time, and the buffer is a multiple of that */
		for (ssize_t i = 0; i < n / 4; i++)
			fn(arg, found[i]);
		total += n / 4;
	}
}
