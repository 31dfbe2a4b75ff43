/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_owners.c - which process has a socket that is known by its cookie: sock_diag(7) tells
 * the inode, in each network namespace that some process is in, and /proc who has that open. What
 * is closed meanwhile, or of a process that may not be looked at, stays without an owner. */
#include "waymarkctl_owners.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMESPACES_MAX 1024
#define DIAG_BUFFER    32768 /* octets of a read: what the kernel fills at most */

struct owners {
	struct ctl_owner *all;	  /* by cookie */
	struct ctl_owner **found; /* by inode, once all were asked for */
	size_t n;
	ino_t seen[NAMESPACES_MAX];
	size_t seen_count;
};

static int by_cookie(const void *a, const void *b)
{
	const struct ctl_owner *x = a, *y = b;

	return x->cookie < y->cookie ? -1 : x->cookie > y->cookie;
}

struct ctl_owner *ctl_owner_of(struct ctl_owner *all, size_t n, uint64_t cookie)
{
	const struct ctl_owner want = {.cookie = cookie};

	return n ? bsearch(&want, all, n, sizeof(*all), by_cookie) : NULL;
}

static void take_message(struct owners *o, const struct nlmsghdr *h)
{
	const struct inet_diag_msg *m = NLMSG_DATA(h);
	uint64_t cookie = (uint64_t)m->id.idiag_cookie[1] << 32 | m->id.idiag_cookie[0];
	struct ctl_owner *at = ctl_owner_of(o->all, o->n, cookie);

	if (!at)
		return;
	at->inode = m->idiag_inode;
	if (m->idiag_family == AF_INET6)
		memcpy(&at->local, m->id.idiag_src, sizeof(at->local));
	else
		at->local.s6_addr32[2] = htonl(0xffff);
	if (m->idiag_family == AF_INET)
		at->local.s6_addr32[3] = m->id.idiag_src[0];
}

static void read_answers(struct owners *o, int fd)
{
	char buffer[DIAG_BUFFER] __attribute__((aligned(NLMSG_ALIGNTO)));

	for (;;) {
		ssize_t got = recv(fd, buffer, sizeof(buffer), 0);
		unsigned left = got > 0 ? (unsigned)got : 0;
		const struct nlmsghdr *h = (const void *)buffer;

		if (!left)
			return;
		for (; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
			if (h->nlmsg_type == NLMSG_DONE || h->nlmsg_type == NLMSG_ERROR)
				return;
			take_message(o, h);
		}
	}
}

/* The sockets of the network namespace in which we are. */
static void ask(struct owners *o, int family, int protocol)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} q = {.h = {.nlmsg_len = sizeof(q),
		     .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		     .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
	       .r = {.sdiag_family = (unsigned char)family,
		     .sdiag_protocol = (unsigned char)protocol,
		     .idiag_states = ~0u}};
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);

	if (fd < 0)
		return;
	if (send(fd, &q, sizeof(q), 0) == sizeof(q))
		read_answers(o, fd);
	close(fd);
}

static void ask_all(struct owners *o)
{
	static const int families[] = {AF_INET, AF_INET6}, protocols[] = {IPPROTO_TCP, IPPROTO_UDP};

	for (unsigned f = 0; f < 2; f++)
		for (unsigned p = 0; p < 2; p++)
			ask(o, families[f], protocols[p]);
}

/* The network namespace of process @p pid, once. */
static void visit(struct owners *o, const char *pid)
{
	char path[64];
	struct stat st;
	int fd;

	snprintf(path, sizeof(path), "/proc/%.20s/ns/net", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (!fstat(fd, &st) && o->seen_count < NAMESPACES_MAX) {
		size_t i = 0;

		while (i < o->seen_count && o->seen[i] != st.st_ino)
			i++;
		if (i == o->seen_count) {
			o->seen[o->seen_count++] = st.st_ino;
			if (!setns(fd, CLONE_NEWNET))
				ask_all(o);
		}
	}
	close(fd);
}

void ctl_proc_line(const char *pid, const char *file, const char *after, char *out, size_t cap)
{
	char path[64], line[1024];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.20s/%s", pid, file);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f)) {
		if (strncmp(line, after, strlen(after)) != 0)
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(out, cap, "%s", line + strlen(after));
		break;
	}
	if (f)
		fclose(f);
}

static int by_inode(const void *a, const void *b)
{
	const struct ctl_owner *x = *(struct ctl_owner *const *)a,
			       *y = *(struct ctl_owner *const *)b;

	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static void sort_found(struct owners *o)
{
	o->found = calloc(o->n + 1, sizeof(struct ctl_owner *));
	for (size_t i = 0; o->found && i < o->n; i++)
		o->found[i] = &o->all[i];
	if (o->found)
		qsort(o->found, o->n, sizeof(struct ctl_owner *), by_inode);
}

static void take_process(struct owners *o, const char *pid, unsigned long inode)
{
	struct ctl_owner want = {.inode = inode}, *key = &want, **found;

	found = o->found ? bsearch(&key, o->found, o->n, sizeof(struct ctl_owner *), by_inode)
			 : NULL;
	if (!inode || !found || (*found)->pid)
		return;
	(*found)->pid = (int)strtol(pid, NULL, 10);
	ctl_proc_line(pid, "comm", "", (*found)->command, sizeof((*found)->command));
	ctl_proc_line(pid, "cgroup", "0::", (*found)->cgroup, sizeof((*found)->cgroup));
}

static void look_at_files(struct owners *o, const char *pid)
{
	char path[64], link[64];
	struct dirent *e;
	DIR *d;

	snprintf(path, sizeof(path), "/proc/%.20s/fd", pid);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		ssize_t n = readlinkat(dirfd(d), e->d_name, link, sizeof(link) - 1);

		if (n <= 8 || strncmp(link, "socket:[", 8) != 0)
			continue;
		link[n] = '\0';
		take_process(o, pid, strtoul(link + 8, NULL, 10));
	}
	if (d)
		closedir(d);
}

static void each_process(struct owners *o, void (*fn)(struct owners *o, const char *pid))
{
	struct dirent *e;
	DIR *d = opendir("/proc");

	while (d && (e = readdir(d)))
		if (e->d_name[0] >= '1' && e->d_name[0] <= '9')
			fn(o, e->d_name);
	if (d)
		closedir(d);
}

void ctl_owners_find(struct ctl_owner *all, size_t n)
{
	struct owners *o = calloc(1, sizeof(*o));
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	qsort(all, n, sizeof(*all), by_cookie);
	if (o) {
		o->all = all;
		o->n = n;
		ask_all(o);
		each_process(o, visit);
		if (own >= 0)
			setns(own, CLONE_NEWNET);
		sort_found(o);
		each_process(o, look_at_files);
		free(o->found);
	}
	if (own >= 0)
		close(own);
	free(o);
}
