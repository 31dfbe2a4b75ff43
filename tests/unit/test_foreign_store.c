/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry */
/* test_foreign_store.c - objects of other agents and the disk: their owners have them on theirs, so
 * nobody waits for ours. */
#include "disk_gate.h"
#include "foreign_help.h"

TestSuite(foreign_store, .init = make_dir, .fini = rm_dir, .timeout = 300);

/* A disk that syncs nothing any more: what others have is taken, an own write is refused. The next
 * sync, and what mends the store before it, finds both. */
Test(foreign_store, what_others_have_is_stored_without_a_sync)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");

	put_checked(a, "w1", 80);
	put_checked(a, "w2", 81);
	cr_assert_eq(put(b, "own", "own", 1), 0);
	break_disk(true);
	tell(a, "w1", b);
	cr_assert(result.taken == 1 && !result.failed, "%s", result.text);
	cr_assert_eq(put(b, "mine", "own", 2), WM_E_STORE);
	cr_assert_not_null(at(b, "owner", "w1"));
	break_disk(false);
	tell(a, "w2", b);
	cr_assert_eq(put(b, "mine", "own", 2), 0);
	wm_registry_close(b);
	b = open_as("other", "b");
	cr_assert_not_null(at(b, "owner", "w1"));
	cr_assert_not_null(at(b, "owner", "w2"));
	cr_assert_not_null(wm_registry_instance(b, "mine"));
	wm_registry_close(a);
	wm_registry_close(b);
}

static off_t log_octets(const char *file, off_t cut)
{
	char path[160];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s/registry.db-wal", dir, file);
	cr_assert_eq(stat(path, &st), 0);
	if (cut)
		cr_assert_eq(truncate(path, cut), 0);
	return st.st_size;
}

/* A power cut takes the newest of it, and its owner's agent tells it again. */
Test(foreign_store, what_a_power_cut_takes_comes_again)
{
	struct wm_registry *a = open_as("owner", "a"), *b = open_as("other", "b");
	off_t synced;
	pid_t pid;
	int st;

	put_checked(a, "w1", 80);
	put_checked(a, "w2", 81);
	cr_assert_eq(put(b, "own", "own", 1), 0);
	wm_registry_close(b);
	pid = fork();
	if (!pid) { /* ends without closing the store, which would move the log into the file */
		b = open_as("other", "b");
		tell(a, "w1", b);
		if (put(b, "mine", "own", 2))
			_exit(1);
		synced = log_octets("b", 0);
		tell(a, "w2", b);
		_exit(log_octets("b", synced) > synced && result.taken == 1 ? 0 : 2);
	}
	cr_assert_eq(waitpid(pid, &st, 0), pid);
	cr_assert(WIFEXITED(st) && !WEXITSTATUS(st), "%x", st);
	b = open_as("other", "b");
	cr_assert_not_null(at(b, "owner", "w1"));
	cr_assert_not_null(wm_registry_instance(b, "mine"));
	cr_assert_null(at(b, "owner", "w2"));
	tell_all(a, b, false);
	cr_assert_not_null(at(b, "owner", "w2"));
	wm_registry_close(a);
	wm_registry_close(b);
}
