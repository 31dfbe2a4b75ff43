/* SPDX-License-Identifier: Apache-2.0 */
/* custom_child.c - libelf and libbpf read an operator's object file in a process of its own, for a
 * damaged one has them write where they must not: what dies then is that process, and the file is
 * refused. It is this program, started anew: a copy of an agent with threads may hold their locks.
 */
#include "userspace/base/err.h"
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELPER_WORD   "link-custom-object" /* in the place of options, of which it is none */
#define HELPER_FILE   3			   /* descriptor: the operator's file */
#define HELPER_RESULT 4			   /* descriptor: a struct wm_err, and what was linked */
/* some 0.1 s and 20 MiB are needed; the loop waits meanwhile, and must be back before a watchdog's
 * 30 s (deploy/waymarkd.service) are over */
#define HELPER_CPU_S  5
#define HELPER_WAIT_S 15
#define HELPER_MEMORY (512u << 20) /* octets of address space */

/* --- in the helper --- */
/* What a file may make us take. No core is written: it would be of the file, not of the agent. */
static void set_limits(void)
{
	const struct rlimit cpu = {HELPER_CPU_S, HELPER_CPU_S};

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)prctl(PR_SET_DUMPABLE, 0);
	(void)setrlimit(RLIMIT_CPU, &cpu);
#ifndef __SANITIZE_ADDRESS__ /* which takes terabytes of addresses */
	(void)setrlimit(RLIMIT_AS, &(struct rlimit){HELPER_MEMORY, HELPER_MEMORY});
#endif
}

static bool put(const void *data, size_t len)
{
	return write(HELPER_RESULT, data, len) == (ssize_t)len;
}

int wm_plane_custom_helper(int argc, char **argv)
{
	struct wm_err e = {0};
	void *file, *linked = NULL;
	size_t len, linked_len = 0;
	bool told;

	if (argc != 2 || strcmp(argv[1], HELPER_WORD) != 0)
		return -1;
	set_limits();
	wm_bpf_capture();
	if (wm_custom_read_back(HELPER_FILE, &file, &len))
		return EXIT_FAILURE;
	(void)wm_custom_rehearse(file, len, &linked, &linked_len, &e);
	told = put(&e, sizeof(e)) && (e.code || put(linked, linked_len));
	/* past whatever runs at exits: the heap may be in any state */
	_exit(told ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* --- in the agent --- */
static int set_up(posix_spawnattr_t *attr, posix_spawn_file_actions_t *files, int file, int result)
{
	sigset_t none;
	int err;

	sigemptyset(&none);
	err = posix_spawnattr_setflags(attr, POSIX_SPAWN_SETSIGMASK);
	err = err ? err : posix_spawnattr_setsigmask(attr, &none);
	err = err ? err : posix_spawn_file_actions_addopen(files, 0, "/dev/null", O_RDWR, 0);
	err = err ? err : posix_spawn_file_actions_adddup2(files, 0, 1);
	err = err ? err : posix_spawn_file_actions_adddup2(files, 0, 2);
	err = err ? err : posix_spawn_file_actions_adddup2(files, file, HELPER_FILE);
	err = err ? err : posix_spawn_file_actions_adddup2(files, result, HELPER_RESULT);
	err = err ? err : posix_spawn_file_actions_addclosefrom_np(files, HELPER_RESULT + 1);
	return err;
}

/* @p result is none that becomes another's in the helper. @return 0 or an errno. */
static int spawn_helper(int file, int result, pid_t *ret)
{
	static char name[] = "waymarkd", word[] = HELPER_WORD;
	char *argv[] = {name, word, NULL}, *env[] = {NULL};
	posix_spawn_file_actions_t files;
	posix_spawnattr_t attr;
	int err = posix_spawnattr_init(&attr);

	if (err)
		return err;
	err = posix_spawn_file_actions_init(&files);
	if (!err) {
		err = set_up(&attr, &files, file, result);
		if (!err)
			err = posix_spawn(ret, "/proc/self/exe", &files, &attr, argv, env);
		posix_spawn_file_actions_destroy(&files);
	}
	posix_spawnattr_destroy(&attr);
	return err;
}

/* @return as waitpid() tells, of a process that took too long that it was killed. */
static int await(pid_t pid)
{
	_cleanup_close_ int fd = pidfd_open(pid, 0);
	struct pollfd p = {.fd = fd, .events = POLLIN};
	int status = 0, n;

	do
		n = poll(&p, 1, HELPER_WAIT_S * 1000);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

static int take_result(int fd, void **ret, size_t *ret_len, struct wm_err *e)
{
	struct wm_err told;
	size_t len = 0;
	char *all = NULL;
	int r = wm_custom_read_back(fd, (void **)&all, &len);

	if (r || len < sizeof(told)) {
		free(all);
		return wm_err_set(e, r ? r : -EIO, "kernel.custom: reading what was linked: %s",
				  strerror(r ? -r : EIO));
	}
	memcpy(&told, all, sizeof(told));
	told.text[sizeof(told.text) - 1] = 0;
	if (told.code) {
		free(all);
		return wm_err_set(e, told.code, "%s", told.text);
	}
	*ret_len = len - sizeof(told);
	memmove(all, all + sizeof(told), *ret_len);
	*ret = all;
	return 0;
}

int wm_custom_link(const void *file, size_t file_len, void **ret, size_t *ret_len, struct wm_err *e)
{
	_cleanup_close_ int from = wm_custom_memory_file(file, file_len);
	_cleanup_close_ int low = wm_custom_memory_file(NULL, 0);
	_cleanup_close_ int result = fcntl(low, F_DUPFD_CLOEXEC, HELPER_RESULT + 1);
	pid_t pid = 0;
	int r = from < 0 || result < 0 ? EIO : spawn_helper(from, result, &pid);

	if (r)
		return wm_err_set(e, -r, "kernel.custom: no process to link it in: %s",
				  strerror(r));
	r = await(pid);
	if (WIFSIGNALED(r))
		return wm_err_set(e, -EINVAL,
				  "kernel.custom: a damaged object file: libbpf does not survive "
				  "it, or takes more than %u s or %u MiB (SIG%s)",
				  HELPER_CPU_S, HELPER_MEMORY >> 20, sigabbrev_np(WTERMSIG(r)));
	if (WEXITSTATUS(r))
		return wm_err_set(e, -EINVAL,
				  "kernel.custom: a damaged object file: libbpf does not survive "
				  "it (status %d)",
				  WEXITSTATUS(r));
	return take_result(result, ret, ret_len, e);
}
