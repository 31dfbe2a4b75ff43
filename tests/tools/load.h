/* SPDX-License-Identifier: Apache-2.0 */
/* load.h - what the load generators share: time, pinning, percentiles, CPU accounts, errors. They
 * print one JSON object on stdout, so that a script can collect rounds; text for people goes to
 * stderr. Static functions only: a generator is one source file. libc and pthread, nothing else. */
#pragma once
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define LOAD_UNUSED __attribute__((unused))

/** Print why and end with status 1. */
LOAD_UNUSED __attribute__((noreturn, format(printf, 1, 2))) static void load_die(const char *fmt,
										 ...)
{
	va_list ap;

	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

/** Monotonic ns. Cost: one vDSO call, about 25 ns. */
LOAD_UNUSED static uint64_t load_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/** Bind the calling thread to @p cpu; negative: leave it where it is. */
LOAD_UNUSED static void load_pin(int cpu)
{
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		load_die("cannot run on CPU %d: %s", cpu, strerror(errno));
}

/** malloc of @p n zeroed elements, or the end. */
LOAD_UNUSED static void *load_alloc(size_t n, size_t size)
{
	void *p = calloc(n ? n : 1, size);

	if (!p)
		load_die("out of memory: %zu elements of %zu octets", n, size);
	return p;
}

/** A decimal number between @p min and @p max, or the end with a sentence that names @p what. */
LOAD_UNUSED static long load_number(const char *what, const char *text, long min, long max)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(text, &end, 10);
	if (errno || end == text || *end || v < min || v > max)
		load_die("%s must be a number from %ld to %ld, not '%s'", what, min, max, text);
	return v;
}

/** Busy ns of the whole machine since boot: user, nice, system, irq, softirq. Steal is left out,
 *  it is somebody else's. Resolution: one tick of USER_HZ (10 ms) a CPU. */
LOAD_UNUSED static uint64_t load_machine_ns(void)
{
	unsigned long long user, nice, sys, idle, wait, irq, softirq;
	FILE *f = fopen("/proc/stat", "r");

	if (!f)
		load_die("/proc/stat: %s", strerror(errno));
	if (fscanf(f, "cpu %llu %llu %llu %llu %llu %llu %llu", &user, &nice, &sys, &idle, &wait,
		   &irq, &softirq) != 7)
		load_die("/proc/stat: not as expected");
	fclose(f);
	return (user + nice + sys + irq + softirq) *
	       (1000000000ull / (uint64_t)sysconf(_SC_CLK_TCK));
}

/** CPU ns that process @p pid has used, all threads; 0 for pid 0. Of its clock: /proc/<pid>/stat
 * has hundredths of a second, which on a busy machine may be all that a server got. */
LOAD_UNUSED static uint64_t load_process_ns(long pid)
{
	struct timespec ts;
	clockid_t c;

	if (pid <= 0)
		return 0;
	if (clock_getcpuclockid((pid_t)pid, &c) || clock_gettime(c, &ts))
		load_die("process %ld has no clock", pid);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/** CPU ns of this process. */
LOAD_UNUSED static uint64_t load_self_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/** xorshift64*: cheap, good enough to spread a load. @p state must not be 0. */
LOAD_UNUSED static uint64_t load_random(uint64_t *state)
{
	uint64_t x = *state;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	*state = x;
	return x * 2685821657736338717ull;
}

/* Samples of a duration, ns; kept whole and sorted once, so percentiles are exact. */
struct load_samples {
	uint32_t *ns;
	size_t count, cap;
};

LOAD_UNUSED static void load_samples_init(struct load_samples *s, size_t cap)
{
	s->ns = load_alloc(cap, sizeof(*s->ns));
	s->count = 0;
	s->cap = cap;
}

/** Keep one sample; above 4.29 s it counts as that; beyond the capacity it is not kept. */
LOAD_UNUSED static void load_samples_add(struct load_samples *s, uint64_t ns)
{
	if (s->count < s->cap)
		s->ns[s->count++] = ns > UINT32_MAX ? UINT32_MAX : (uint32_t)ns;
}

LOAD_UNUSED static int load_samples_order(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

LOAD_UNUSED static void load_samples_sort(struct load_samples *s)
{
	qsort(s->ns, s->count, sizeof(*s->ns), load_samples_order);
}

/** The @p per_mille-th sample in us, of sorted samples; 0 if there is none. */
LOAD_UNUSED static double load_samples_us(const struct load_samples *s, unsigned per_mille)
{
	size_t i;

	if (!s->count)
		return 0;
	i = s->count * per_mille / 1000;
	return s->ns[i < s->count ? i : s->count - 1] / 1000.0;
}

/** Lines of a file without their ends; @p ret_lines is allocated and kept for the program's life.
 *  @return lines; the end of the program when there are none or more than @p max. */
LOAD_UNUSED static size_t load_lines(const char *path, size_t max, char ***ret_lines)
{
	char **lines = NULL, *line = NULL;
	size_t n = 0, cap = 0, room = 0;
	ssize_t len;
	FILE *f = fopen(path, "r");

	if (!f)
		load_die("%s: %s", path, strerror(errno));
	while ((len = getline(&line, &room, f)) > 0) {
		while (len && (line[len - 1] == '\n' || line[len - 1] == '\r'))
			line[--len] = 0;
		if (!len)
			continue;
		if (n == max)
			load_die("%s: more than %zu lines", path, max);
		if (n == cap) {
			char **grown = calloc(cap ? cap * 2 : 1024, sizeof(*lines));

			if (!grown)
				load_die("out of memory: %zu lines", cap);
			if (n)
				memcpy(grown, lines, n * sizeof(*lines));
			free(lines);
			lines = grown;
			cap = cap ? cap * 2 : 1024;
		}
		lines[n] = strdup(line);
		if (!lines[n++])
			load_die("out of memory: %zu lines", cap);
	}
	free(line);
	fclose(f);
	if (!n)
		load_die("%s: no lines", path);
	*ret_lines = lines;
	return n;
}
