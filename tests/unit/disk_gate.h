/* SPDX-License-Identifier: Apache-2.0 */
/* disk_gate.h - a disk that stands still, or fails, while a test says so. SQLite comes by here, for
 * these functions stand before the library's. */
#pragma once
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t turned = PTHREAD_COND_INITIALIZER;
static bool held, failing, full, waits;
static bool instant; /* nothing is written out: for who begins no process anew */

/* Stand still while it is held. @return errno of what comes of it. */
static inline int stand(const bool *fails, int error)
{
	int err;

	pthread_mutex_lock(&lock);
	waits = held;
	pthread_cond_broadcast(&turned);
	while (held)
		pthread_cond_wait(&turned, &lock);
	waits = false;
	err = *fails ? error : 0;
	pthread_mutex_unlock(&lock);
	return err;
}

int fdatasync(int fd);
int fdatasync(int fd)
{
	int err = stand(&failing, EIO);

	if (!err)
		return instant ? 0 : (int)syscall(SYS_fdatasync, fd);
	errno = err;
	return -1;
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at);
ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at)
{
	int err = stand(&full, ENOSPC);

	if (!err)
		return syscall(SYS_pwrite64, fd, data, len, at);
	errno = err;
	return -1;
}

int fsync(int fd);
int fsync(int fd)
{
	return instant ? 0 : (int)syscall(SYS_fsync, fd);
}

static inline void hold(bool on)
{
	pthread_mutex_lock(&lock);
	held = on;
	pthread_cond_broadcast(&turned);
	pthread_mutex_unlock(&lock);
}

static inline void break_disk(bool on)
{
	pthread_mutex_lock(&lock);
	failing = on;
	pthread_mutex_unlock(&lock);
}

static inline void fill_disk(bool on)
{
	pthread_mutex_lock(&lock);
	full = on;
	pthread_mutex_unlock(&lock);
}

/* Until the batch stands at the disk. */
static inline void at_sync(void)
{
	pthread_mutex_lock(&lock);
	while (!waits)
		pthread_cond_wait(&turned, &lock);
	pthread_mutex_unlock(&lock);
}
