/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
#include "userspace/base/replace.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/waymark-test-replace-XXXXXX";
static char path[sizeof(dir) + 8], part[sizeof(dir) + 16];

static void make(void)
{
	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/file", dir);
	snprintf(part, sizeof(part), "%s.new", path);
}

static void clean(void)
{
	unlink(path);
	unlink(part);
	rmdir(dir);
}

TestSuite(replace, .init = make, .fini = clean);

static const char *contents(void)
{
	static char text[64];
	FILE *f = fopen(path, "r");
	size_t n;

	cr_assert(f, "%s", strerror(errno));
	n = fread(text, 1, sizeof(text) - 1, f);
	fclose(f);
	text[n] = '\0';
	return text;
}

Test(replace, a_file_is_there_whole_and_private)
{
	struct stat st;

	cr_assert_eq(wm_file_replace(path, "old", 3, WM_REPLACE_SYNC), 0);
	cr_assert_eq(wm_file_replace(path, "newer", 5, WM_REPLACE_CACHE), 0);
	cr_assert_str_eq(contents(), "newer");
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 07777, 0600);
	cr_assert_neq(access(part, F_OK), 0);
}

Test(replace, what_cannot_be_written_leaves_the_old_file)
{
	struct rlimit four = {.rlim_cur = 4, .rlim_max = RLIM_INFINITY};

	cr_assert_eq(wm_file_replace(path, "old", 3, WM_REPLACE_SYNC), 0);
	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &four), 0);
	cr_assert_eq(wm_file_replace(path, "newer", 5, WM_REPLACE_SYNC), -EFBIG);
	four.rlim_cur = RLIM_INFINITY;
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &four), 0);
	cr_assert_str_eq(contents(), "old");
	cr_assert_neq(access(part, F_OK), 0);
}

Test(replace, a_link_in_the_place_of_the_new_file_is_not_followed)
{
	char other[sizeof(dir) + 8];

	snprintf(other, sizeof(other), "%s/other", dir);
	cr_assert_eq(symlink(other, part), 0);
	cr_assert_eq(wm_file_replace(path, "x", 1, WM_REPLACE_SYNC), 0);
	cr_assert_str_eq(contents(), "x");
	cr_assert_neq(access(other, F_OK), 0);
}

Test(replace, errors_are_those_of_the_system)
{
	char long_path[PATH_MAX];

	memset(long_path, 'x', sizeof(long_path) - 1);
	long_path[sizeof(long_path) - 1] = '\0';
	cr_assert_eq(wm_file_replace(long_path, "x", 1, WM_REPLACE_CACHE), -ENAMETOOLONG);
	cr_assert_eq(wm_file_replace("/proc/none/file", "x", 1, WM_REPLACE_CACHE), -ENOENT);
}
