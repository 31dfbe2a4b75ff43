/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_explain.c - what a connect() would meet now. Who dials is found here, as this program
 * sees the processes that its user sees; the rest is the agent's answer. */
#include "userspace/dataplane/plane.h"
#include "waymarkctl.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define PORT_DIGITS 5 /* of 65535 */

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71 /* Linux 5.14 */
#endif

/* --- who dials ----------------------------------------------------------------------------------
 */
struct client {
	uint64_t cgroup, netns;		/* 0: not known */
	char address[INET6_ADDRSTRLEN]; /* of that namespace, "": none */
	bool has_uid;
	unsigned uid;
};

/* The rest of the line of /proc/@p pid/@p file that begins with @p after. */
static bool proc_line(const char *pid, const char *file, const char *after, char *out, size_t cap)
{
	char path[64], line[4096];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%.20s/%s", pid, file);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f)) {
		found = strncmp(line, after, strlen(after)) == 0;
		line[strcspn(line, "\n")] = '\0';
		snprintf(out, cap, "%s", line + (found ? strlen(after) : 0));
	}
	if (f)
		fclose(f);
	return found;
}

/* The id of a cgroup, by its path, or by that below the mount. */
static bool cgroup_id(const char *path, uint64_t *ret)
{
	char root[512], whole[8192];
	struct stat st;

	if (wm_cgroup_root(root, sizeof(root)))
		return false;
	snprintf(whole, sizeof(whole), "%s/%s", root, path);
	if (stat(strncmp(path, root, strlen(root)) == 0 ? path : whole, &st) < 0 ||
	    !S_ISDIR(st.st_mode))
		return false;
	*ret = st.st_ino; /* of a cgroup2 it is the id */
	return true;
}

/* An address that others reach this network namespace by. */
static void read_address(char text[INET6_ADDRSTRLEN])
{
	struct ifaddrs *all = NULL, *i;

	if (getifaddrs(&all))
		return;
	for (i = all; i && !*text; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_flags & IFF_LOOPBACK)
			continue;
		if (i->ifa_addr->sa_family == AF_INET)
			inet_ntop(AF_INET, &((struct sockaddr_in *)i->ifa_addr)->sin_addr, text,
				  INET6_ADDRSTRLEN);
		else if (i->ifa_addr->sa_family == AF_INET6 &&
			 !IN6_IS_ADDR_LINKLOCAL(&((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr))
			inet_ntop(AF_INET6, &((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr, text,
				  INET6_ADDRSTRLEN);
	}
	freeifaddrs(all);
}

static uint64_t netns_of(const char *pid, char address[INET6_ADDRSTRLEN])
{
	int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC), fd = -1, its, sock;
	uint64_t cookie = 0;
	socklen_t len = sizeof(cookie);
	char path[64];

	snprintf(path, sizeof(path), "/proc/%.20s/ns/net", pid);
	its = open(path, O_RDONLY | O_CLOEXEC);
	if (own >= 0 && its >= 0 && !setns(its, CLONE_NEWNET)) {
		fd = sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (sock < 0 || getsockopt(sock, SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &len))
			cookie = 0;
		read_address(address);
		setns(own, CLONE_NEWNET);
	}
	if (fd >= 0)
		close(fd);
	if (its >= 0)
		close(its);
	if (own >= 0)
		close(own);
	return cookie;
}

/* @return false: after a message. */
static bool find_client(const struct ctl *c, struct client *x)
{
	char line[4096];

	*x = (struct client){.has_uid = c->uid,
			     .uid = c->uid ? (unsigned)strtoul(c->uid, NULL, 10) : 0};
	if (c->pid) {
		if (!proc_line(c->pid, "cgroup", "0::", line, sizeof(line)) ||
		    !cgroup_id(line, &x->cgroup)) {
			ctl_fail(c,
				 "process %s: it is not there, or in no cgroup2 that is mounted "
				 "here",
				 c->pid);
			return false;
		}
		if (!c->uid && proc_line(c->pid, "status", "Uid:\t", line, sizeof(line))) {
			x->has_uid = true;
			x->uid = (unsigned)strtoul(line, NULL, 10);
		}
		x->netns = netns_of(c->pid, x->address);
	}
	if (c->cgroup && !cgroup_id(c->cgroup, &x->cgroup)) {
		ctl_fail(c, "%s is no cgroup", c->cgroup);
		return false;
	}
	return true;
}

/* --- what is dialled ----------------------------------------------------------------------------
 */
/* NAME, NAME:PORT, ADDRESS, [ADDRESS]:PORT. @return the port as text; "": none. @p name is cut. */
static const char *split_port(char *name)
{
	char *colon = strrchr(name, ':'), *bracket = strrchr(name, ']');

	if (*name == '[' && bracket) {
		*bracket = '\0';
		memmove(name, name + 1, strlen(name));
		return bracket[1] == ':' ? bracket + 2 : "";
	}
	if (!colon || strchr(name, ':') != colon)
		return "";
	*colon = '\0';
	return colon + 1;
}

static bool question(const struct ctl *c, char path[CTL_PATH_MAX])
{
	char name[CTL_NAME_MAX + 1], tail[256] = "";
	struct client x;
	const char *port;
	size_t at = 0;

	if (snprintf(name, sizeof(name), "%s", c->args[0]) >= (int)sizeof(name))
		return ctl_path(c, path, "", c->args[0], ""); /* which is too long, and says so */
	port = split_port(name);
	if (strspn(port, "0123456789") != strlen(port) || strlen(port) > PORT_DIGITS) {
		ctl_fail(c, "port: a number from 0 to 65535, not '%s'", port);
		return false;
	}
	if (!find_client(c, &x))
		return false;
	if (*port)
		at += (size_t)snprintf(tail, sizeof(tail), "&port=%s", port);
	if (x.cgroup)
		at += (size_t)snprintf(tail + at, sizeof(tail) - at, "&cgroup=%" PRIu64, x.cgroup);
	if (x.netns)
		at += (size_t)snprintf(tail + at, sizeof(tail) - at, "&netns=%" PRIu64, x.netns);
	if (x.has_uid)
		at += (size_t)snprintf(tail + at, sizeof(tail) - at, "&uid=%u", x.uid);
	if (*x.address)
		at += (size_t)snprintf(tail + at, sizeof(tail) - at, "&client=%s", x.address);
	if (c->udp)
		snprintf(tail + at, sizeof(tail) - at, "&protocol=udp");
	return ctl_path(c, path, "/v1/waymark/explain/connect?name=", name, tail);
}

/* --- the answer ---------------------------------------------------------------------------------
 */
static double number_of(const json_t *v, const char *key)
{
	return json_number_value(json_object_get(v, key));
}

static json_t *candidate_row(const json_t *x)
{
	const char *v4 = ctl_text(x, "address"), *v6 = ctl_text(x, "address6");
	double ejected_s = number_of(x, "ejected_ms") / 1000, us = number_of(x, "latency_us");
	const char *why = ctl_text(x, "why_not");

	return json_pack("{s:o, s:s, s:s, s:o, s:O, s:s, s:O, s:o, s:O, s:o}", "odds",
			 json_sprintf("%.2f %%", number_of(x, "odds") * 100), "instance",
			 ctl_text(x, "id"), "node", ctl_text(x, "node"), "address",
			 *v4 ? json_sprintf("%s:%.0f", v4, number_of(x, "port"))
			     : json_sprintf("[%s]:%.0f", v6, number_of(x, "port")),
			 "weight", json_object_get(x, "weight"), "state", ctl_text(x, "state"),
			 "open", json_object_get(x, "open"), "latency",
			 us > 0 ? json_sprintf("%.1f ms", us / 1000) : json_string("-"), "picks",
			 json_object_get(x, "picks"), "why not",
			 ejected_s > 0 ? json_sprintf("%s, %.1f s more", why, ejected_s)
				       : json_string(why));
}

static void show_tier(const json_t *t, size_t n)
{
	static const char *const columns[] = {"odds",	"instance", "node", "address",
					      "weight", "state",    "open", "latency",
					      "picks",	"why not",  NULL};
	json_t *rows = json_array(), *x;
	const char *subset = ctl_text(t, "subset"), *region = ctl_text(t, "region");
	size_t i;

	printf("tier %zu: %s, %s%s%s%s%s: drawn in %.2f %% of decisions, and chosen in %.2f %%\n",
	       n, ctl_text(t, "what"), ctl_text(t, "service"), *subset ? " subset " : "", subset,
	       *region ? " in " : "", region, number_of(t, "drawn") * 100,
	       number_of(t, "odds") * 100);
	json_array_foreach(json_object_get(t, "candidates"), i, x)
	{
		json_array_append_new(rows, candidate_row(x));
	}
	ctl_table(rows, columns, 2, stdout);
	json_decref(rows);
}

int ctl_explain_connect(const struct ctl *c)
{
	char path[CTL_PATH_MAX], text[4096];
	json_t *doc = question(c, path) ? ctl_fetch(c, NULL, path, CTL_TIMEOUT_MS, true) : NULL;
	json_t *x;
	size_t n;

	if (!doc || c->json)
		return ctl_print(c, doc);
	json_array_foreach(json_object_get(doc, "steps"), n, x)
	{
		wm_plain(ctl_text(x, "text"), text, sizeof(text));
		printf("%zu. %s: %s\n", n + 1, ctl_text(x, "step"), text);
	}
	json_array_foreach(json_object_get(doc, "tiers"), n, x)
	{
		show_tier(x, n);
	}
	printf("a connect() now: %s\n", ctl_text(doc, "verdict"));
	json_decref(doc);
	return 0;
}
