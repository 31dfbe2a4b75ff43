/* SPDX-License-Identifier: Apache-2.0 */
#include "here.h"

#include "userspace/base/macros.h"

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

bool wm_instance_is_here(const struct wm_instance *i)
{
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_addr = i->addr4, .sin_port = 9};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_addr = i->addr6, .sin6_port = 9};
	bool six = !i->addr4.s_addr;
	struct sockaddr *a = six ? (struct sockaddr *)&a6 : (struct sockaddr *)&a4;
	socklen_t len = six ? sizeof(a6) : sizeof(a4);
	_cleanup_close_ int fd = -1;

	if (!six && ntohl(i->addr4.s_addr) >> 24 == 127)
		return true;
	fd = socket(a->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, a, len) || getsockname(fd, a, &len))
		return false;
	return six ? !memcmp(&a6.sin6_addr, &i->addr6, sizeof(i->addr6))
		   : a4.sin_addr.s_addr == i->addr4.s_addr;
}
