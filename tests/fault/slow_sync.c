/* SPDX-License-Identifier: Apache-2.0 */
/* slow_sync.c - preloaded into the agent: a disk that is slow or stuck. Each fsync() and
 * fdatasync() takes SLOW_SYNC_MS milliseconds more, and does not end while the file SLOW_SYNC_HOLD
 * exists. With SLOW_SYNC_BELOW, a folder, so do those of files below it alone. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void pause_ms(long ms)
{
	const struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

static int is_on_disk(int fd)
{
	const char *below = getenv("SLOW_SYNC_BELOW");
	char link[32], path[4096] = "";

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return !below || (readlink(link, path, sizeof(path) - 1) > 0 &&
			  strncmp(path, below, strlen(below)) == 0);
}

static int slowly(long call, int fd)
{
	const char *ms = getenv("SLOW_SYNC_MS"), *hold = getenv("SLOW_SYNC_HOLD");

	if (!is_on_disk(fd))
		return (int)syscall(call, fd);
	if (ms)
		pause_ms(strtol(ms, NULL, 10));
	while (hold && !access(hold, F_OK))
		pause_ms(5);
	return (int)syscall(call, fd);
}

int fsync(int fd);
int fdatasync(int fd);

int fsync(int fd)
{
	return slowly(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	return slowly(SYS_fdatasync, fd);
}
