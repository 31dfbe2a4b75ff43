/* SPDX-License-Identifier: Apache-2.0 */
/* slow_sync.c - preloaded into the agent: a disk that is slow or stuck. Each fsync() and
 * fdatasync() takes SLOW_SYNC_MS milliseconds more, and does not end while the file SLOW_SYNC_HOLD
 * exists. */
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void pause_ms(long ms)
{
	const struct timespec t = {ms / 1000, ms % 1000 * 1000000};

	nanosleep(&t, NULL);
}

static int slowly(long call, int fd)
{
	const char *ms = getenv("SLOW_SYNC_MS"), *hold = getenv("SLOW_SYNC_HOLD");

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
