/* SPDX-License-Identifier: Apache-2.0 */
/* resolver.c - see resolver.h. evdns may call back before it returns, so whoever waits for a name
 * is told from a timer. */
#include "resolver.h"

#include "hosts.h"
#include "userspace/base/clock.h"
#include "userspace/base/map.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/dns.h>
#include <event2/util.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/stat.h>

#define LOOK_MS	     5000 /* ms between two looks whether the files changed */
#define OWN_MAX	     16	  /* addresses of ours that are left out */
#define SERVERS_MAX  3	  /* name servers that are asked: MAXNS of resolv.conf(5) */
#define DNS_PORT     53
#define TELL_BATCH   64	  /* lookups that are told in one go */
#define KEEP_MIN_MS  1000 /* ms that an answer is kept, were its TTL shorter */
#define LINE_MAX_LEN 512  /* octets of a line of resolv.conf */

enum { A, AAAA, TYPES };
#define ASKED (-1) /* of a type: evdns has the question */

struct name;
struct part { /* the question for one type */
	struct name *name;
	int code; /* evdns' result, or ASKED */
};

struct name {
	struct wm_resolver *resolver;
	struct wm_resolver_answer answer;
	struct part parts[TYPES];
	uint64_t keep_ms;  /* the shortest life of a record */
	uint64_t until_ms; /* answered: kept until then */
	bool asking, ready;
	TAILQ_HEAD(, wm_lookup) waiting;
	TAILQ_ENTRY(name) entry; /* while ready: answered, and some may wait */
	char text[];
};

struct wm_lookup {
	struct name *name;
	wm_resolver_fn fn;
	void *arg;
	TAILQ_ENTRY(wm_lookup) entry;
};

struct wm_resolver {
	struct evdns_base *dns;
	struct wm_hosts *hosts;
	struct wm_map *names; /* in lower case */
	TAILQ_HEAD(, name) ready;
	struct wm_timer *tell;
	char *hosts_path, *resolv_path;
	struct timespec hosts_time, resolv_time;
	uint64_t look_ms; /* when to look at the files again */
	struct sockaddr_storage own[OWN_MAX];
	struct sockaddr_storage server_addrs[SERVERS_MAX];
	unsigned own_count, servers;
	uint64_t questions;
	bool telling, dead; /* callbacks run; freed from inside one of them */
};

/* --- configuration ---------------------------------------------------------------------------- */
/* "address", "address:port", "[v6]:port" as evdns reads it, "v6%link" as it does not. */
static bool keep_address(const char *server, struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)ret;
	size_t at = strcspn(server, "%");
	char bare[INET6_ADDRSTRLEN + 10]; /* with a port */
	int len = sizeof(*ret);

	*ret = (struct sockaddr_storage){0};
	if (at >= sizeof(bare))
		return false;
	memcpy(bare, server, at);
	bare[at] = '\0';
	if (evutil_parse_sockaddr_port(bare, (struct sockaddr *)ret, &len))
		return false;
	if (server[at] && ret->ss_family == AF_INET6)
		v6->sin6_scope_id = if_nametoindex(server + at + 1);
	if (server[at] && !v6->sin6_scope_id)
		return false;
	if (ret->ss_family == AF_INET && !v4->sin_port)
		v4->sin_port = htons(DNS_PORT);
	if (ret->ss_family == AF_INET6 && !v6->sin6_port)
		v6->sin6_port = htons(DNS_PORT);
	return true;
}

/* Octets of both families, v4-mapped, and the port: however they were written. */
static bool same_place(const struct sockaddr_storage *a, const struct sockaddr_storage *b)
{
	struct in6_addr addr[2];
	in_port_t port[2];

	for (unsigned i = 0; i < 2; i++) {
		const struct sockaddr_storage *s = i ? b : a;
		const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)s;
		const struct sockaddr_in *v4 = (const struct sockaddr_in *)s;

		port[i] = s->ss_family == AF_INET ? v4->sin_port : v6->sin6_port;
		addr[i] = v6->sin6_addr;
		if (s->ss_family == AF_INET6)
			continue;
		addr[i] = in6addr_any;
		addr[i].s6_addr16[5] = 0xffff;
		addr[i].s6_addr32[3] = v4->sin_addr.s_addr;
	}
	return port[0] == port[1] && memcmp(&addr[0], &addr[1], sizeof(addr[0])) == 0;
}

static bool is_own(const struct wm_resolver *r, const struct sockaddr_storage *server)
{
	for (unsigned i = 0; i < r->own_count; i++)
		if (same_place(&r->own[i], server))
			return true;
	return false;
}

static socklen_t len_of(const struct sockaddr_storage *a)
{
	return a->ss_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

static void read_servers(struct wm_resolver *r)
{
	FILE *f = fopen(r->resolv_path, "re");
	char line[LINE_MAX_LEN], server[LINE_MAX_LEN];

	while (f && r->servers < SERVERS_MAX && fgets(line, sizeof(line), f)) {
		if (sscanf(line, " nameserver %511s", server) == 1 &&
		    keep_address(server, &r->server_addrs[r->servers]) &&
		    !is_own(r, &r->server_addrs[r->servers]) &&
		    !evdns_base_nameserver_sockaddr_add(
			    r->dns, (struct sockaddr *)&r->server_addrs[r->servers],
			    len_of(&r->server_addrs[r->servers]), 0))
			r->servers++;
	}
	if (f)
		fclose(f);
}

/* Has the file another time than it had? */
static bool changed(const char *path, struct timespec *was)
{
	struct stat st = {0};
	struct timespec now;

	if (stat(path, &st))
		st.st_mtim.tv_sec = -1;
	now = st.st_mtim;
	if (now.tv_sec == was->tv_sec && now.tv_nsec == was->tv_nsec)
		return false;
	*was = now;
	return true;
}

static void read_files(struct wm_resolver *r)
{
	uint64_t now = wm_clock_ms();

	if (now < r->look_ms)
		return;
	r->look_ms = now + LOOK_MS;
	if (changed(r->hosts_path, &r->hosts_time))
		wm_hosts_load(r->hosts, r->hosts_path);
	if (!changed(r->resolv_path, &r->resolv_time))
		return;
	evdns_base_clear_nameservers_and_suspend(r->dns);
	evdns_base_search_clear(r->dns);
	/* without servers: one that is not there would be made up, as 127.0.0.1 */
	evdns_base_resolv_conf_parse(r->dns, DNS_OPTION_SEARCH | DNS_OPTION_MISC, r->resolv_path);
	r->servers = 0;
	read_servers(r);
	evdns_base_resume(r->dns);
}

/* --- names ------------------------------------------------------------------------------------ */
static void set_ready(struct name *n, bool ready)
{
	if (n->ready == ready)
		return;
	n->ready = ready;
	if (ready)
		TAILQ_INSERT_TAIL(&n->resolver->ready, n, entry);
	else
		TAILQ_REMOVE(&n->resolver->ready, n, entry);
}

/* Forget answers whose time is over. Cost O(names). */
static void sweep(struct wm_resolver *r)
{
	uint64_t now = wm_clock_ms();
	struct name *n;
	size_t pos = 0;

	while ((n = wm_map_next(r->names, &pos))) {
		if (n->asking || !TAILQ_EMPTY(&n->waiting) || n->until_ms > now)
			continue;
		set_ready(n, false);
		wm_map_del(r->names, n->text, strlen(n->text));
		free(n);
	}
}

static void settle(struct name *n, int error, uint64_t keep_ms)
{
	n->asking = false;
	n->answer.error = error;
	n->until_ms = wm_clock_ms() + keep_ms;
	set_ready(n, true);
	wm_timer_arm(n->resolver->tell, 0);
}

static void add_address(struct wm_resolver_answer *a, int family, const void *from)
{
	if (a->count < WM_RESOLVER_ADDRS_MAX &&
	    inet_ntop(family, from, a->addrs[a->count], INET6_ADDRSTRLEN))
		a->count++;
}

static bool is_no_name(int code)
{
	return code == DNS_ERR_NONE || code == DNS_ERR_NOTEXIST || code == DNS_ERR_NODATA;
}

static void on_answer(int code, char type, int count, int ttl, void *addresses, void *part)
{
	struct part *p = part;
	struct name *n = p->name;
	uint64_t keep = ttl > 0 ? (uint64_t)ttl * 1000 : 0;

	p->code = code;
	for (int i = 0; code == DNS_ERR_NONE && i < count; i++) {
		if (type == DNS_IPv4_A)
			add_address(&n->answer, AF_INET, (const struct in_addr *)addresses + i);
		else if (type == DNS_IPv6_AAAA)
			add_address(&n->answer, AF_INET6, (const struct in6_addr *)addresses + i);
	}
	if (count > 0 && keep < n->keep_ms)
		n->keep_ms = keep;
	if (n->parts[A].code == ASKED || n->parts[AAAA].code == ASKED)
		return;
	if (n->answer.count)
		settle(n, 0, n->keep_ms < KEEP_MIN_MS ? KEEP_MIN_MS : n->keep_ms);
	else
		settle(n,
		       is_no_name(n->parts[A].code) && is_no_name(n->parts[AAAA].code) ? -ENXIO
										       : -ENODATA,
		       WM_RESOLVER_KEEP_BAD_MS);
}

/* What needs no name server: an address, a name of the file, this host's (RFC 6761 6.3). */
static bool is_known(struct name *n)
{
	const struct wm_host *h = wm_hosts_find(n->resolver->hosts, n->text);
	struct wm_resolver_answer *a = &n->answer;
	unsigned char any[16];

	if (inet_pton(AF_INET, n->text, any) == 1 || inet_pton(AF_INET6, n->text, any) == 1) {
		snprintf(a->addrs[0], INET6_ADDRSTRLEN, "%.*s", INET6_ADDRSTRLEN - 1, n->text);
		a->count = 1;
	} else if (h) {
		for (; a->count < h->count; a->count++)
			memcpy(a->addrs[a->count], h->addrs[a->count], INET6_ADDRSTRLEN);
	} else if (strcmp(n->text, "localhost") == 0) {
		memcpy(a->addrs[0], "127.0.0.1", sizeof("127.0.0.1"));
		memcpy(a->addrs[1], "::1", sizeof("::1"));
		a->count = 2;
	}
	return a->count;
}

/* RFC 6761 6.4: no name server knows it. */
static bool is_invalid(const char *name)
{
	size_t len = strlen(name);

	return len >= 8 && strcmp(name + len - 8, ".invalid") == 0;
}

static void question(struct name *n)
{
	struct wm_resolver *r = n->resolver;

	n->answer.count = 0;
	if (is_invalid(n->text)) {
		settle(n, -ENXIO, LOOK_MS);
		return;
	}
	if (is_known(n)) {
		settle(n, 0, LOOK_MS);
		return;
	}
	if (!r->servers) {
		settle(n, -ENODATA, WM_RESOLVER_KEEP_BAD_MS);
		return;
	}
	r->questions++;
	n->asking = true;
	n->keep_ms = WM_RESOLVER_KEEP_MS;
	for (int t = 0; t < TYPES; t++)
		n->parts[t] = (struct part){n, ASKED};
	/* evdns answers from the loop, never from here */
	if (!evdns_base_resolve_ipv6(r->dns, n->text, 0, on_answer, &n->parts[AAAA]))
		n->parts[AAAA].code = DNS_ERR_UNKNOWN;
	if (!evdns_base_resolve_ipv4(r->dns, n->text, 0, on_answer, &n->parts[A]))
		n->parts[A].code = DNS_ERR_UNKNOWN;
	if (n->parts[A].code != ASKED && n->parts[AAAA].code != ASKED)
		settle(n, -ENOMEM, 0);
}

static struct name *name_of(struct wm_resolver *r, const char *text)
{
	size_t len = strnlen(text, WM_RESOLVER_NAME_MAX);
	char lower[WM_RESOLVER_NAME_MAX + 1];
	struct name *n;

	for (size_t i = 0; i < len; i++)
		lower[i] = (char)(text[i] >= 'A' && text[i] <= 'Z' ? text[i] + 32 : text[i]);
	n = wm_map_get(r->names, lower, len);
	if (n)
		return n;
	if (wm_map_len(r->names) >= WM_RESOLVER_NAMES_MAX)
		sweep(r);
	n = calloc(1, sizeof(*n) + len + 1);
	if (!n)
		return NULL;
	n->resolver = r;
	memcpy(n->text, lower, len);
	TAILQ_INIT(&n->waiting);
	if (wm_map_put(r->names, n->text, len, n, NULL)) {
		free(n);
		return NULL;
	}
	return n;
}

/* Tell those who wait for names that are answered. A callback may ask and cancel. */
static void on_tell(void *arg)
{
	struct wm_resolver *r = arg;
	struct wm_lookup *k;
	struct name *n;

	r->telling = true;
	for (int told = 0; !r->dead && told < TELL_BATCH && (n = TAILQ_FIRST(&r->ready));) {
		k = TAILQ_FIRST(&n->waiting);
		if (!k || n->asking) {
			set_ready(n, false);
			continue;
		}
		TAILQ_REMOVE(&n->waiting, k, entry);
		told++;
		k->fn(k->arg, &n->answer);
		free(k);
	}
	r->telling = false;
	if (r->dead)
		wm_resolver_free(r);
	else if (!TAILQ_EMPTY(&r->ready))
		wm_timer_arm(r->tell, 0);
}

/* --- public ----------------------------------------------------------------------------------- */
struct wm_resolver *wm_resolver_new(struct wm_loop *l, const struct wm_resolver_config *c)
{
	struct wm_resolver *r = calloc(1, sizeof(*r));
	char parallel[16];

	if (!r)
		return NULL;
	r->hosts_path = strdup(c && c->hosts_path ? c->hosts_path : "/etc/hosts");
	r->resolv_path = strdup(c && c->resolv_path ? c->resolv_path : "/etc/resolv.conf");
	r->hosts_time.tv_sec = r->resolv_time.tv_sec = -2; /* as no file has */
	for (unsigned i = 0; c && c->own && c->own[i] && r->own_count < OWN_MAX; i++)
		r->own_count += keep_address(c->own[i], &r->own[r->own_count]);
	TAILQ_INIT(&r->ready);
	r->hosts = wm_hosts_new();
	r->names = wm_map_new(WM_RESOLVER_NAMES_MAX);
	r->tell = wm_timer_new(l, on_tell, r);
	r->dns = evdns_base_new(wm_loop_base(l), EVDNS_BASE_DISABLE_WHEN_INACTIVE);
	snprintf(parallel, sizeof(parallel), "%d", WM_RESOLVER_INFLIGHT);
	if (!r->hosts_path || !r->resolv_path || !r->hosts || !r->names || !r->tell || !r->dns ||
	    evdns_base_set_option(r->dns, "max-inflight:", parallel)) {
		wm_resolver_free(r);
		return NULL;
	}
	return r;
}

void wm_resolver_free(struct wm_resolver *r)
{
	struct wm_lookup *k;
	struct name *n;
	size_t pos = 0;

	if (!r)
		return;
	r->dead = r->telling;
	if (r->dead)
		return;
	if (r->dns)
		evdns_base_free(r->dns, 0); /* without callbacks */
	while (r->names && (n = wm_map_next(r->names, &pos))) {
		while ((k = TAILQ_FIRST(&n->waiting))) {
			TAILQ_REMOVE(&n->waiting, k, entry);
			free(k);
		}
		free(n);
	}
	wm_map_free(r->names);
	wm_hosts_free(r->hosts);
	wm_timer_free(r->tell);
	free(r->hosts_path);
	free(r->resolv_path);
	free(r);
}

struct wm_lookup *wm_resolver_ask(struct wm_resolver *r, const char *text, wm_resolver_fn fn,
				  void *arg)
{
	struct wm_lookup *k = malloc(sizeof(*k));
	struct name *n;

	read_files(r);
	n = k ? name_of(r, text) : NULL;
	if (!n) {
		free(k);
		return NULL;
	}
	*k = (struct wm_lookup){.name = n, .fn = fn, .arg = arg};
	TAILQ_INSERT_TAIL(&n->waiting, k, entry);
	if (!n->asking && n->until_ms <= wm_clock_ms())
		question(n);
	if (!n->asking) {
		set_ready(n, true);
		wm_timer_arm(r->tell, 0);
	}
	return k;
}

void wm_lookup_cancel(struct wm_lookup *k)
{
	if (!k)
		return;
	TAILQ_REMOVE(&k->name->waiting, k, entry);
	free(k);
}

unsigned wm_resolver_servers(struct wm_resolver *r)
{
	read_files(r);
	return r->servers;
}

const struct sockaddr_storage *wm_resolver_server(const struct wm_resolver *r, unsigned n)
{
	return &r->server_addrs[n];
}

uint64_t wm_resolver_questions(const struct wm_resolver *r)
{
	return r->questions;
}
