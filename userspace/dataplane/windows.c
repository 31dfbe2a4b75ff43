/* SPDX-License-Identifier: Apache-2.0 */
/* windows.c - arrays of the kernel's, mapped as far as they are in use. */
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#define STEP_LEAST ((size_t)1 << 16) /* octets that are mapped at once, at the least */
#define STEPS	   64		     /* parts of a large array: each is a mapping of its own */

static size_t page_up(size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (n + page - 1) / page * page;
}

static size_t step_of(const struct wm_window *w)
{
	size_t n = w->len / STEPS;

	return n > STEP_LEAST ? page_up(n) : STEP_LEAST;
}

int wm_window_open(struct wm_window *w, int fd, size_t len, int prot)
{
	void *at;
	int err;

	*w = (struct wm_window){.prot = prot, .len = page_up(len)};
	w->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (w->fd < 0) {
		*w = (struct wm_window){0};
		return -errno;
	}
	at = mmap(NULL, w->len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	err = at == MAP_FAILED ? -errno : 0;
	w->at = at == MAP_FAILED ? NULL : at;
	if (!err)
		err = wm_window_reach(w, 1);
	if (err)
		wm_window_close(w);
	return err;
}

int wm_window_reach(struct wm_window *w, size_t octets)
{
	size_t step, to;
	void *at;

	if (!w->at || w->mapped == w->len || octets <= w->mapped)
		return 0;
	step = step_of(w);
	to = (octets + step - 1) / step * step;
	to = to < w->len ? to : w->len;
	at = (char *)w->at + w->mapped;
	if (mmap(at, to - w->mapped, w->prot, MAP_SHARED | MAP_FIXED, w->fd, (off_t)w->mapped) ==
	    MAP_FAILED)
		return -errno;
	w->mapped = to;
	return 0;
}

int wm_window_look(struct wm_window *w, size_t from, size_t len)
{
	size_t step = step_of(w), last = (from + len - 1) / step;

	for (size_t n = from / step; w->at && n <= last; n++) {
		size_t at = n * step;

		if (w->parts >> n & 1)
			continue;
		if (mmap((char *)w->at + at, step < w->len - at ? step : w->len - at, PROT_READ,
			 MAP_SHARED | MAP_FIXED, w->fd, (off_t)at) == MAP_FAILED)
			return -errno;
		w->parts |= 1ull << n;
	}
	return 0;
}

void wm_window_rest(struct wm_window *w)
{
	if (w->parts &&
	    mmap(w->at, w->len, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED,
		 -1, 0) != MAP_FAILED)
		w->parts = 0;
}

static size_t used_of(const uint64_t *words, size_t n)
{
	while (n && !words[n - 1])
		n--;
	return n * sizeof(*words);
}

int wm_window_reach_used(struct wm_window *w)
{
	size_t step = step_of(w), used = 0;

	for (size_t end = w->len; end > w->mapped && !used;) {
		size_t from = (end - 1) / step * step;
		void *part = mmap(NULL, end - from, PROT_READ, MAP_SHARED, w->fd, (off_t)from);

		if (part == MAP_FAILED)
			return -errno;
		used = used_of(part, (end - from) / sizeof(uint64_t));
		used = used ? from + used : 0;
		munmap(part, end - from);
		end = from;
	}
	return wm_window_reach(w, used);
}

void wm_window_close(struct wm_window *w)
{
	if (w->at)
		munmap(w->at, w->len);
	if (w->len)
		close(w->fd);
	*w = (struct wm_window){0};
}
