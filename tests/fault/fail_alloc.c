/* SPDX-License-Identifier: Apache-2.0 */
/* fail_alloc.c - the n-th allocation of the agent's own code fails. Linked in by --wrap beside the
 * sanitizers; allocations within libraries go on. The file that WM_FAIL_ALLOC names is mapped: who
 * tests writes how many allocations are granted, and reads how many there were. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

struct control {
	int64_t left;	 /* 0: none fails; n: the n-th from now */
	uint64_t seen;	 /* allocations */
	uint64_t denied; /* of them */
};

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
int __real_vasprintf(char **out, const char *fmt, va_list ap);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);
int __wrap_vasprintf(char **out, const char *fmt, va_list ap);
int __wrap_asprintf(char **out, const char *fmt, ...);

static struct control *control(void)
{
	static struct control none, *c;
	const char *path = getenv("WM_FAIL_ALLOC");
	int fd;

	if (c)
		return c;
	c = &none;
	fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	if (fd >= 0) {
		void *m = mmap(NULL, sizeof(*c), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

		if (m != MAP_FAILED)
			c = m;
		close(fd);
	}
	return c;
}

/* One at a time, also where a second thread allocates. */
static int denied(void)
{
	struct control *c = control();

	__atomic_fetch_add(&c->seen, 1, __ATOMIC_RELAXED);
	if (__atomic_load_n(&c->left, __ATOMIC_RELAXED) <= 0 ||
	    __atomic_sub_fetch(&c->left, 1, __ATOMIC_RELAXED) != 0)
		return 0;
	__atomic_fetch_add(&c->denied, 1, __ATOMIC_RELAXED);
	errno = ENOMEM;
	return 1;
}

void *__wrap_malloc(size_t n)
{
	return denied() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return denied() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return denied() ? NULL : __real_realloc(p, n);
}

char *__wrap_strdup(const char *s)
{
	return denied() ? NULL : __real_strdup(s);
}

char *__wrap_strndup(const char *s, size_t n)
{
	return denied() ? NULL : __real_strndup(s, n);
}

int __wrap_vasprintf(char **out, const char *fmt, va_list ap)
{
	return denied() ? -1 : __real_vasprintf(out, fmt, ap);
}

int __wrap_asprintf(char **out, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = __wrap_vasprintf(out, fmt, ap);
	va_end(ap);
	return n;
}
