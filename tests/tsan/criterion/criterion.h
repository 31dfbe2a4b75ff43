/* SPDX-License-Identifier: Apache-2.0 */
/* criterion.h - stands in for Criterion where it cannot run: it maps an arena where ThreadSanitizer
 * has its shadow memory. What our tests of threads need of it, no more: each test runs in a process
 * of its own, an assertion that does not hold ends it. A test file is compiled as one unit with it.
 */
#pragma once
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct plain_options {
	void (*init)(void), (*fini)(void);
	unsigned timeout; /* s */
};

struct plain_test { /* or, without a function, a suite */
	const char *suite, *name;
	void (*fn)(void);
	struct plain_options o;
	struct plain_test *next;
};
static struct plain_test *plain_tests;

static inline void plain_add(struct plain_test *t)
{
	t->next = plain_tests;
	plain_tests = t;
}

#define PLAIN_ADD(var, ...)                                                                        \
	static struct plain_test var = {__VA_ARGS__};                                              \
	__attribute__((constructor)) static void var##_add(void)                                   \
	{                                                                                          \
		plain_add(&var);                                                                   \
	}
#define TestSuite(s, ...) PLAIN_ADD(s##_suite, .suite = #s, .o = {__VA_ARGS__})
#define Test(s, n, ...)                                                                            \
	static void s##_##n##_impl(void);                                                          \
	PLAIN_ADD(s##_##n##_test, .suite = #s, .name = #n, .fn = s##_##n##_impl,                   \
		  .o = {__VA_ARGS__})                                                              \
	static void s##_##n##_impl(void)

#define PLAIN_ASSERT(c, text, ...)                                                                 \
	do {                                                                                       \
		if (!(c)) {                                                                        \
			fprintf(stderr, "%s:%d: Assertion Failed: %s ", __FILE__, __LINE__, text); \
			fprintf(stderr, " " __VA_ARGS__);                                          \
			fputc('\n', stderr);                                                       \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)
#define cr_assert(c, ...)	     PLAIN_ASSERT(c, #c, ##__VA_ARGS__)
#define cr_assert_not(c, ...)	     PLAIN_ASSERT(!(c), "not " #c, ##__VA_ARGS__)
#define cr_assert_eq(a, b, ...)	     PLAIN_ASSERT((a) == (b), #a " == " #b, ##__VA_ARGS__)
#define cr_assert_neq(a, b, ...)     PLAIN_ASSERT((a) != (b), #a " != " #b, ##__VA_ARGS__)
#define cr_assert_lt(a, b, ...)	     PLAIN_ASSERT((a) < (b), #a " < " #b, ##__VA_ARGS__)
#define cr_assert_leq(a, b, ...)     PLAIN_ASSERT((a) <= (b), #a " <= " #b, ##__VA_ARGS__)
#define cr_assert_gt(a, b, ...)	     PLAIN_ASSERT((a) > (b), #a " > " #b, ##__VA_ARGS__)
#define cr_assert_geq(a, b, ...)     PLAIN_ASSERT((a) >= (b), #a " >= " #b, ##__VA_ARGS__)
#define cr_assert_null(p, ...)	     PLAIN_ASSERT(!(p), #p " is NULL", ##__VA_ARGS__)
#define cr_assert_not_null(p, ...)   PLAIN_ASSERT((p), #p " is not NULL", ##__VA_ARGS__)
#define cr_assert_str_eq(a, b, ...)  PLAIN_ASSERT(!strcmp(a, b), #a " is " #b, ##__VA_ARGS__)
#define cr_assert_str_neq(a, b, ...) PLAIN_ASSERT(strcmp(a, b), #a " is not " #b, ##__VA_ARGS__)
#define cr_assert_fail(...)	     PLAIN_ASSERT(false, "", ##__VA_ARGS__)

static inline void plain_run(const struct plain_test *t)
{
	const struct plain_test *s = plain_tests;

	while (s && (s->fn || strcmp(s->suite, t->suite) != 0))
		s = s->next;
	alarm(t->o.timeout ? t->o.timeout : s && s->o.timeout ? s->o.timeout : 120);
	if (s && s->o.init)
		s->o.init();
	if (t->o.init)
		t->o.init();
	t->fn();
	if (t->o.fini)
		t->o.fini();
	if (s && s->o.fini)
		s->o.fini();
}

int main(int argc, char **argv)
{
	unsigned count = 0, failed = 0;

	for (const struct plain_test *t = plain_tests; t; t = t->next) {
		int status = 0;
		pid_t pid;

		if (!t->fn || (argc > 1 && strcmp(argv[1], t->name) != 0))
			continue;
		fflush(NULL);
		pid = fork();
		if (!pid) {
			plain_run(t);
			exit(0);
		}
		if (pid < 0 || waitpid(pid, &status, 0) != pid || status) {
			printf("FAILED  %s/%s (status %#x)\n", t->suite, t->name, (unsigned)status);
			failed++;
		}
		count++;
	}
	printf("%u tests, %u failed\n", count, failed);
	return !count || failed;
}
