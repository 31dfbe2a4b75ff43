/* SPDX-License-Identifier: Apache-2.0 */
/* links: base sync registry store model metadata net security */
/* sync.join_file: what is a seed, what is passed over by the number of its line, and its limits. */
#include "userspace/sync/sync.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct wm_sync_seed_list list;
static char path[64], told[4096];
static struct wm_err why;

static void on_bad(void *arg, const struct wm_err *e)
{
	(void)arg;
	strncat(told, e->text, sizeof(told) - strlen(told) - 2);
	strcat(told, "\n");
}

static int of(const char *text, size_t len)
{
	FILE *f;

	strcpy(path, "/tmp/wm-seeds-XXXXXX");
	close(mkstemp(path));
	f = fopen(path, "we");
	cr_assert_eq(fwrite(text, 1, len, f), len);
	fclose(f);
	told[0] = '\0';
	why = (struct wm_err){0};
	return wm_sync_seed_file(path, &list, on_bad, NULL, &why);
}

static void done(void)
{
	unlink(path);
}
TestSuite(seed_file, .fini = done);

Test(seed_file, one_a_line)
{
	static const char text[] =
		"# seeds\n10.0.0.1\n\n  a.example:9301 # near\r\n[fd00::1]:8302\n"
		"fd00::2";

	cr_assert_eq(of(text, strlen(text)), 0);
	cr_assert_str_eq(told, "");
	cr_assert_eq(list.count, 4);
	cr_assert_str_eq(list.seeds[0], "10.0.0.1");
	cr_assert_str_eq(list.seeds[1], "a.example:9301");
	cr_assert_str_eq(list.seeds[2], "[fd00::1]:8302");
	cr_assert_str_eq(list.seeds[3], "fd00::2");
	cr_assert_eq(of("", 0), 0);
	cr_assert_eq(list.count, 0);
}

Test(seed_file, a_bad_line_is_named_and_passed_over)
{
	static const char text[] =
		"10.0.0.1\n10.0.0.2:0\n10.0.0.3 10.0.0.4\n[fd00::1\nb\n_a._tcp.b:8301\n_a._tcp.b\n";

	cr_assert_eq(of(text, strlen(text)), 0);
	cr_assert_eq(list.count, 3);
	cr_assert_str_eq(list.seeds[1], "b");
	cr_assert(strstr(told, "line 6: ")); /* its port is in its records */
	cr_assert_str_eq(list.seeds[2], "_a._tcp.b");
	cr_assert(strstr(told, "line 2: a host or an address is wanted, with :port if it is not "
			       "8301, [v6]:port, or a name of SRV records without a port, "
			       "_waymark._tcp.example.com, not \"10.0.0.2:0\""));
	cr_assert(strstr(told, "line 3: "));
	cr_assert(strstr(told, "not \"10.0.0.3 10.0.0.4\""));
	cr_assert(strstr(told, "line 4: "));
	cr_assert(!strstr(told, "line 5: "));
}

Test(seed_file, seeds_and_octets_are_bounded)
{
	char *text = calloc(1, WM_SYNC_JOIN_FILE_MAX + 2);
	size_t len = 0;

	for (unsigned n = 0; n <= WM_SYNC_JOIN_FILE_SEEDS; n++)
		len += (size_t)sprintf(text + len, "10.0.1.%u\n", n);
	cr_assert_eq(of(text, len), 0);
	cr_assert_eq(list.count, WM_SYNC_JOIN_FILE_SEEDS);
	cr_assert_str_eq(told, "line 65: 64 seeds are allowed, this is one more\n");

	memset(text, '\n', WM_SYNC_JOIN_FILE_MAX + 1);
	cr_assert_eq(of(text, WM_SYNC_JOIN_FILE_MAX), 0);
	done();
	list.count = 7;
	cr_assert_eq(of(text, WM_SYNC_JOIN_FILE_MAX + 1), WM_E_LIMIT);
	cr_assert(strstr(why.text, ": 32768 octets are allowed, it has more"));
	cr_assert_eq(list.count, 7); /* what it was */

	memset(text, 'a', WM_SYNC_SEED_MAX + 1); /* a line */
	done();
	cr_assert_eq(of(text, WM_SYNC_SEED_MAX + 1), 0);
	cr_assert_eq(list.count, 0);
	cr_assert(strstr(told, "line 1: "));
	free(text);
}

Test(seed_file, what_is_no_file_of_text)
{
	cr_assert_eq(of("a\0b", 3), WM_E_INVALID);
	unlink(path);
	cr_assert_eq(wm_sync_seed_file(path, &list, on_bad, NULL, &why), -ENOENT);
	cr_assert(strstr(why.text, "cannot read "));
	cr_assert_eq(mkfifo(path, 0600), 0); /* nobody writes: it must not wait */
	cr_assert_eq(wm_sync_seed_file(path, &list, on_bad, NULL, &why), -EINVAL);
	cr_assert(strstr(why.text, " is no regular file"));
}
