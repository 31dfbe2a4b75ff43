// SPDX-License-Identifier: Apache-2.0
/* regular.c - see regular.h. */
#include "regular.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

ssize_t wm_regular_read(const char *path, char *text, size_t cap)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	ssize_t n = 0, len = 0;
	struct stat st;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st))
		len = -errno;
	else if (!S_ISREG(st.st_mode))
		len = -EINVAL;
	while (len >= 0 && (size_t)len < cap && (n = read(fd, text + len, cap - (size_t)len)) > 0)
		len += n;
	if (n < 0)
		len = -errno;
	close(fd);
	return len;
}

bool wm_regular_may_be(const char *path)
{
	struct stat st;

	return stat(path, &st) || S_ISREG(st.st_mode);
}
