/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_owners.h - the process that has a socket. Threading: none; it moves between network
 * namespaces and comes back. */
#pragma once
#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>

struct ctl_owner {
	uint64_t cookie; /* SO_COOKIE of the socket */
	unsigned long inode;
	int pid;	       /* 0: not found */
	struct in6_addr local; /* its own address, v4-mapped if IPv4; :: not found */
	char command[17], cgroup[512];
};
/** Fill in who has the sockets of @p all; it is in order of the cookies then. */
void ctl_owners_find(struct ctl_owner *all, size_t n);
/** The rest of the first line of /proc/@p pid/@p file that begins with @p after; else @p out stays.
 */
void ctl_proc_line(const char *pid, const char *file, const char *after, char *out, size_t cap);
/** Of a list that was filled; NULL: it has none of that cookie. */
struct ctl_owner *ctl_owner_of(struct ctl_owner *all, size_t n, uint64_t cookie);
