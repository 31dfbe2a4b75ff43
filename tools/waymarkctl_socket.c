/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_socket.c - what happened to a socket when it was connected: it is taken from its
 * process (pidfd_getfd), found by its cookie, and read from the pins, whether an agent runs or not.
 */
#include "userspace/base/clock.h"
#include "userspace/dataplane/flows.h"
#include "waymarkctl_dump.h"
#include "waymarkctl_owners.h"
#include "waymarkctl_pods.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

struct taken {
	int fd;	    /* ours */
	int number; /* the process's */
	int type, protocol;
	uint64_t cookie;
	bool connected;
	__be32 peer_be[4]; /* v4-mapped if IPv4 */
	__be16 port_be;
	struct in6_addr local; /* v4-mapped if IPv4 */
	const char *cgroup;    /* of the process */
};

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static void mapped(const union address *a, struct taken *t)
{
	if (a->any.sa_family == AF_INET6) {
		memcpy(t->peer_be, &a->in6.sin6_addr, sizeof(t->peer_be));
		t->port_be = a->in6.sin6_port;
		return;
	}
	t->peer_be[0] = t->peer_be[1] = 0;
	t->peer_be[2] = WM_V4_MAPPED_BE;
	t->peer_be[3] = a->in.sin_addr.s_addr;
	t->port_be = a->in.sin_port;
}

/* Of a socket of the process: @return false, closed, where it is no TCP or UDP one. */
static bool look(struct taken *t)
{
	union address peer = {0}, own = {0};
	socklen_t own_len = sizeof(own), len = sizeof(int), cookie_len = sizeof(t->cookie),
		  peer_len = sizeof(peer);
	int domain = 0;

	if (getsockopt(t->fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) ||
	    getsockopt(t->fd, SOL_SOCKET, SO_TYPE, &t->type, &len) ||
	    getsockopt(t->fd, SOL_SOCKET, SO_PROTOCOL, &t->protocol, &len) ||
	    getsockopt(t->fd, SOL_SOCKET, SO_COOKIE, &t->cookie, &cookie_len) ||
	    (domain != AF_INET && domain != AF_INET6) ||
	    (t->type != SOCK_STREAM && t->type != SOCK_DGRAM)) {
		close(t->fd);
		return false;
	}
	if (!getsockname(t->fd, &own.any, &own_len)) {
		mapped(&own, t);
		memcpy(&t->local, t->peer_be, sizeof(t->local));
	}
	t->connected = !getpeername(t->fd, &peer.any, &peer_len);
	if (t->connected)
		mapped(&peer, t);
	return true;
}

/* --- what was recorded --------------------------------------------------------------------------
 */
/* What the backend that was chosen is now. */
static const char *now_of(const struct dump *d, uint32_t backend, uint32_t stamp)
{
	static const char *const names[] = {[WM_STATE_FREE] = "gone",
					    [WM_STATE_UP] = "up",
					    [WM_STATE_DOWN] = "down",
					    [WM_STATE_DRAIN] = "draining"};
	uint32_t state;

	if (backend >= d->m->backends_cap)
		return "not known";
	state = d->m->backends[backend].state;
	if (state >> 16 != stamp || (state & WM_STATE_MASK) > WM_STATE_DRAIN)
		return "gone";
	return names[state & WM_STATE_MASK];
}

static json_t *when(uint64_t time_ns)
{
	uint64_t now = wm_clock_ns(), ago_ms = now > time_ns ? (now - time_ns) / 1000000 : 0;
	time_t at = (time_t)((wm_clock_wall_ms() - ago_ms) / 1000);
	char text[32];
	struct tm local;

	localtime_r(&at, &local);
	strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
	return json_string(text);
}

static void put_connection(const struct dump *d, json_t *row, const struct wm_connection *c,
			   const char *kept)
{
	uint64_t now = wm_clock_ns();
	bool known = c->backend < d->m->backends_cap, told = c->reason || c->set == WM_NO_BACKEND;
	const char *state = now_of(d, c->backend, c->stamp);
	bool same = strcmp(state, "gone") != 0 && known;

	json_object_set_new(row, "steered", json_true());
	json_object_set_new(row, "service", ctl_dump_dialled(d, c));
	json_object_set_new(row, "virtual", ctl_dump_place(c->vip_be, c->vip_port_be));
	json_object_set_new(row, "instance", same ? ctl_dump_instance(d, c->backend) : json_null());
	json_object_set_new(row, "address", ctl_dump_place(c->backend_be, c->backend_port_be));
	json_object_set_new(row, "at", when(c->time_ns));
	json_object_set_new(
		row, "since_s",
		json_integer(now > c->time_ns ? (json_int_t)((now - c->time_ns) / 1000000000) : 0));
	json_object_set_new(row, "tier", told ? json_integer(c->tier) : json_null());
	json_object_set_new(
		row, "why",
		json_string(told ? wm_reason_text(c->reason) : "why is not kept there"));
	json_object_set_new(row, "balance", json_string(wm_reason_balance(c->reason)));
	json_object_set_new(row, "backend_is", json_string(state));
	json_object_set_new(row, "kept", json_string(kept));
}

static bool in_connections(const struct dump *d, json_t *row, uint64_t cookie)
{
	uint32_t buckets = d->m->connections_cap / WM_CONNECTION_WAYS;
	uint32_t first = buckets ? ((uint32_t)cookie & (buckets - 1)) * WM_CONNECTION_WAYS : 0;

	for (uint32_t i = 0; cookie && buckets && i < WM_CONNECTION_WAYS; i++) {
		const struct wm_connection c = d->m->connections[first + i];

		if (c.cookie != cookie || !c.time_ns)
			continue;
		put_connection(d, row, &c, "connections");
		return true;
	}
	return false;
}

static struct wm_connection of_origin(const struct wm_origin *o)
{
	struct wm_connection c = {.time_ns = o->time_ns,
				  .set = o->set,
				  .backend = o->backend,
				  .stamp = (__u16)(o->state >> 16),
				  .vip_port_be = o->vip_port_be,
				  .backend_port_be = o->backend_port_be};

	memcpy(c.vip_be, o->vip_be, sizeof(c.vip_be));
	memcpy(c.backend_be, o->backend_be, sizeof(c.backend_be));
	return c;
}

/* Backends by address and port: servers have thousands of sockets. */
struct place {
	__be32 addr_be[4]; /* v4-mapped if IPv4 */
	__be16 port_be;
	uint16_t pad; /* 0: they are compared as octets */
	uint32_t backend;
};
struct places {
	struct place *all; /* in order */
	size_t count;
};

static int compare_places(const void *a, const void *b)
{
	return memcmp(a, b, offsetof(struct place, backend));
}

static void learn_places(const struct dump *d, struct places *ret)
{
	*ret = (struct places){calloc(2 * (size_t)d->m->backends_cap + 1, sizeof(*ret->all)), 0};
	for (uint32_t i = 0; ret->all && i < d->m->backends_cap; i++) {
		const struct wm_backend *b = &d->m->backends[i];
		struct place v4 = {{0, 0, WM_V4_MAPPED_BE, b->addr4_be}, b->port_be, 0, i};
		struct place v6 = {{0}, b->port_be, 0, i};

		if ((b->state & WM_STATE_MASK) == WM_STATE_FREE)
			continue;
		memcpy(v6.addr_be, b->addr6_be, sizeof(v6.addr_be));
		if (b->families & WM_FAMILY_4)
			ret->all[ret->count++] = v4;
		if (b->families & WM_FAMILY_6)
			ret->all[ret->count++] = v6;
	}
	if (ret->count)
		qsort(ret->all, ret->count, sizeof(*ret->all), compare_places);
}

/* The backend that has this address and port; NULL: none. */
static const struct wm_backend *backend_at(const struct dump *d, const struct places *p,
					   const __be32 addr_be[4], __be16 port_be)
{
	struct place want = {.port_be = port_be};
	const struct place *at;

	memcpy(want.addr_be, addr_be, sizeof(want.addr_be));
	at = p->count ? bsearch(&want, p->all, p->count, sizeof(*p->all), compare_places) : NULL;
	return at ? &d->m->backends[at->backend] : NULL;
}

/* Of socket storage: the connect(), or the destination of datagrams that is newest. */
static bool in_storage(const struct dump *d, const struct places *p, json_t *row,
		       const struct taken *t)
{
	const struct wm_backend *b;
	struct wm_socket_origin o = {0};
	const struct wm_origin *best = NULL;
	struct wm_connection c;

	if (wm_inspect_origin(d->x, t->fd, &o))
		return false;
	for (int i = 0; i <= WM_UDP_RING; i++)
		if (o.at[i].time_ns &&
		    (!best || (best != &o.at[0] && o.at[i].time_ns > best->time_ns)))
			best = &o.at[i];
	if (!best)
		return false;
	c = of_origin(best);
	/* that of Multipath TCP names none: a subflow counts as the connection */
	b = c.backend == WM_NO_BACKEND && c.set != WM_NO_BACKEND
		    ? backend_at(d, p, c.backend_be, c.backend_port_be)
		    : NULL;
	if (b) {
		c.backend = (uint32_t)(b - d->m->backends);
		c.stamp = (__u16)(b->state >> 16);
	}
	put_connection(d, row, &c, "socket storage");
	if (best != &o.at[0])
		json_object_set_new(row, "datagram", json_true());
	return true;
}

/* --- what was not -------------------------------------------------------------------------------
 */
static const char *why_not(const struct dump *d, const struct places *p, json_t *row,
			   const struct taken *t)
{
	const struct wm_backend *b = backend_at(d, p, t->peer_be, t->port_be);
	struct tcp_info info = {0};
	socklen_t len = sizeof(info);

	if (!t->connected) {
		if (t->type == SOCK_STREAM &&
		    !getsockopt(t->fd, IPPROTO_TCP, TCP_INFO, &info, &len) &&
		    info.tcpi_state == TCP_LISTEN)
			return "it listens: who connects to it was steered, or was not, on its "
			       "side";
		return "it is not connected (any more)";
	}
	if (wm_inspect_steers(d->x, t->peer_be))
		return "its peer is a virtual address, and no program was asked: it was connected "
		       "before they were attached, or by a process that is not below their cgroup "
		       "(explain connect --pid tells)";
	if (!b)
		return "its peer is no address of a service, or it was accepted here";
	json_object_set_new(row, "service", ctl_dump_service_by(d, b->service));
	json_object_set_new(row, "instance", ctl_dump_instance(d, (uint32_t)(b - d->m->backends)));
	return "its peer is an instance's own address: it was dialled as such, or by a name that "
	       "DNS answers with instances, not by the virtual one";
}

/* --- the sockets of a process -------------------------------------------------------------------
 */
static void explain(struct dump *d, const struct places *p, const struct taken *t)
{
	json_t *row = json_pack("{s:i, s:s, s:o, s:I, s:b}", "fd", t->number, "protocol",
				t->type == SOCK_STREAM ? "tcp" : "udp", "peer",
				t->connected ? ctl_dump_place(t->peer_be, t->port_be) : json_null(),
				"cookie", (json_int_t)t->cookie, "steered", 0);

	if (!in_connections(d, row, t->cookie) && !in_storage(d, p, row, t))
		json_object_set_new(row, "why_not", json_string(why_not(d, p, row, t)));
	ctl_put_pod(row, d->pods, t->cgroup, &t->local);
	json_array_append_new(d->rows, row);
}

/* PID or PID:FD. */
static bool split(const char *text, int *pid, int *fd)
{
	char *end;
	long n = strtol(text, &end, 10);

	*fd = -1;
	*pid = (int)n;
	if (end == text || n < 1 || n > INT32_MAX || (*end && *end != ':'))
		return false;
	if (!*end)
		return true;
	text = end + 1;
	n = strtol(text, &end, 10);
	*fd = (int)n;
	return end != text && !*end && n >= 0 && n <= INT32_MAX;
}

static void take(struct dump *d, const struct places *p, int pidfd, int number, const char *cgroup)
{
	struct taken t = {.number = number, .cgroup = cgroup};

	t.fd = (int)syscall(SYS_pidfd_getfd, pidfd, number, 0);
	if (t.fd < 0 || !look(&t))
		return;
	explain(d, p, &t);
	close(t.fd);
}

static void explain_all(struct dump *d)
{
	int pid, fd, pidfd;
	char path[64], cgroup[512] = "";
	struct places p;
	struct dirent *e;
	DIR *dir;

	split(d->c->args[0], &pid, &fd);
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	snprintf(path, sizeof(path), "%d", pid);
	ctl_proc_line(path, "cgroup", "0::", cgroup, sizeof(cgroup));
	d->pods = ctl_pods(d->c);
	learn_places(d, &p);
	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = fd < 0 ? opendir(path) : NULL;
	if (fd >= 0)
		take(d, &p, pidfd, fd, cgroup);
	while (dir && (e = readdir(dir)))
		if (e->d_name[0] >= '0' && e->d_name[0] <= '9')
			take(d, &p, pidfd, (int)strtol(e->d_name, NULL, 10), cgroup);
	if (dir)
		closedir(dir);
	if (pidfd >= 0)
		close(pidfd);
	free(p.all);
}

static void show_pod(const json_t *row)
{
	const char *pod = ctl_text_or(row, "pod", ""), *id = ctl_text_or(row, "container", "");

	if (*pod)
		printf("; of pod %s%s%s", pod, *id ? ", container " : "", id);
	putchar('\n');
}

static void show(const json_t *row)
{
	char service[CTL_NAME_MAX + 1], id[4 * CTL_NAME_MAX];
	long long fd = json_integer_value(json_object_get(row, "fd"));

	wm_plain(ctl_text_or(row, "service", "?"), service, sizeof(service));
	wm_plain(ctl_text_or(row, "instance", "?"), id, sizeof(id));
	if (!json_is_true(json_object_get(row, "steered"))) {
		printf("fd %lld, %s to %s: not steered: %s", fd, ctl_text_or(row, "protocol", ""),
		       ctl_text_or(row, "peer", "nobody"), ctl_text_or(row, "why_not", ""));
		if (json_object_get(row, "instance"))
			printf(" (%s of %s)", id, service);
		show_pod(row);
		return;
	}
	printf("fd %lld, %s: %s to %s (%s) became %s (%s) at %s, %lld s ago: %s", fd,
	       ctl_text_or(row, "protocol", ""),
	       json_object_get(row, "datagram") ? "its last datagram" : "connect()",
	       ctl_text_or(row, "virtual", ""), service, ctl_text_or(row, "address", ""), id,
	       ctl_text_or(row, "at", ""),
	       (long long)json_integer_value(json_object_get(row, "since_s")),
	       ctl_text_or(row, "why", ""));
	if (json_is_integer(json_object_get(row, "tier")))
		printf(", tier %lld, balance %s",
		       (long long)json_integer_value(json_object_get(row, "tier")),
		       *ctl_text_or(row, "balance", "") ? ctl_text_or(row, "balance", "")
							: "not told");
	printf("; the instance is %s; kept in %s", ctl_text_or(row, "backend_is", ""),
	       ctl_text_or(row, "kept", ""));
	show_pod(row);
}

int ctl_explain_socket(const struct ctl *c)
{
	json_t *rows = NULL, *row;
	int pid, fd, r;
	size_t n;

	if (!split(c->args[0], &pid, &fd)) {
		ctl_fail(c, "PID or PID:FD is wanted, not '%s'", c->args[0]);
		return CTL_EXIT_USAGE;
	}
	r = ctl_dump_look(c, "explain socket", explain_all, &rows);
	if (r)
		return r;
	if (!json_array_size(rows)) {
		json_decref(rows);
		return ctl_fail(c,
				"process %d has no TCP or UDP socket %s, or may not be looked at",
				pid, fd < 0 ? "open" : "of that number");
	}
	if (c->json)
		return ctl_print(c, rows);
	json_array_foreach(rows, n, row)
	{
		show(row);
	}
	json_decref(rows);
	return 0;
}
