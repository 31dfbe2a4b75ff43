/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_conf.c - libunbound's configuration, as it reads it: a file of unbound.conf(5). What
 * goes in was checked: addresses, names of letters, digits, '.', '-' and '_', and paths without
 * quotes. */
#include "upstream_internal.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"
#include "userspace/base/prefix.h"
#include "userspace/base/regular.h"
#include "userspace/base/replace.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <unistd.h>

#define ANCHORS_MAX 65536  /* octets of keys to begin with */
#define BESIDE	    ".bad" /* behind the name of a file of keys that is none */
/* What libunbound writes behind a key that it follows: RFC 5011 4.2. */
#define WRITTEN	      ";;id:"
#define ALL_REVOKED   ";;REVOKED"
#define STATE	      ";;state="
#define STATE_VALID   '2'
#define STATE_MISSING '3'

/* The root's keys, of 2017 and 2024: https://data.iana.org/root-anchors/root-anchors.xml */
static const char *const root_anchors[] = {
	". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D",
	". IN DS 38696 8 2 683D2D0ACB8C9B712A1948B27F741219298D0A450D612C483AF444A4C0FB2B16"};
/* What no name of the world should lead to (DNS rebinding): this host (RFC 1122 3.2.1.3, which
 * Linux connects to itself as it does ::), RFC 1918, 6598 (behind a carrier's NAT), 3927, 1122
 * (loopback and reserved), 4291 (unspecified, loopback, v4-mapped, link-local), 3879 (site-local),
 * 4193. */
static const char *const private_ranges[] = {
	"0.0.0.0/8",	 "10.0.0.0/8",	   "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
	"172.16.0.0/12", "192.168.0.0/16", "240.0.0.0/4",   "::/128",	   "::1/128",
	"::ffff:0:0/96", "fc00::/7",	   "fe80::/10",	    "fec0::/10"};

/* What libunbound finds of a server holds for three seconds, so that one that is back is asked
 * again by then, not after a quarter of an hour; one that does not answer counts as two seconds
 * slow, so that it is asked only where no other answers. */
#define COMMON                                                                                     \
	"server:\n"                                                                                \
	"	do-not-query-localhost: no\n"                                                            \
	"	minimal-responses: yes\n"                                                                \
	"	rrset-roundrobin: yes\n"                                                                 \
	"	insecure-lan-zones: yes\n"                                                               \
	"	infra-keep-probing: yes\n"                                                               \
	"	infra-cache-max-rtt: 3000\n"                                                             \
	"	infra-host-ttl: 3\n"                                                                     \
	"	fast-server-permil: 900\n"                                                               \
	"	fast-server-num: 1\n"

/* Reverse zones of private networks, and domains of home networks and of tests: a server that
 * somebody named may have them, the world has not, and libunbound answers for itself there
 * (RFC 6303, RFC 8375, RFC 6761 6.2). Nobody signs them, and they hold private addresses. */
#define LAN_IS_ASKED                                                                               \
	"	unblock-lan-zones: yes\n"                                                                \
	"	local-zone: \"home.arpa\" nodefault\n"                                                   \
	"	local-zone: \"test\" nodefault\n"                                                        \
	"	domain-insecure: \"home.arpa\"\n"                                                        \
	"	domain-insecure: \"test\"\n"                                                             \
	"	private-domain: \"home.arpa\"\n"                                                         \
	"	private-domain: \"test\"\n"

/* What is found of a server is over as soon as it is written: it is asked. With 0 it would hold
 * until the second ends. */
#define INFRA_TTL_OVER_S "-1"

#define STALE_CLIENT_MS	   250 /* ms that a stale answer waits for a fresh one: RFC 8767 5 */
#define TTL_MAX_S	   86400
#define NEGATIVE_TTL_MAX_S 3600 /* RFC 2308 5: one to three hours */

/* The number of a link; of one that is gone the one that it had: until it is back, all stays as it
 * is. 0: none. */
static unsigned link_number(const char *name)
{
	static struct {
		char name[IF_NAMESIZE];
		unsigned number;
	} known[WM_UPSTREAM_SERVERS_MAX];
	unsigned number = if_nametoindex(name), i = 0;

	if (strlen(name) >= IF_NAMESIZE)
		return 0;
	while (i < WM_ARRAY_LEN(known) - 1 && *known[i].name && strcmp(known[i].name, name) != 0)
		i++;
	if (!number)
		return strcmp(known[i].name, name) == 0 ? known[i].number : 0;
	memcpy(known[i].name, name, strlen(name) + 1);
	known[i].number = number;
	return number;
}

/* A link that goes and comes again has another number, and libunbound reads names but once. */
static void put_server(struct wm_buf *b, const struct wm_upstream_server *s)
{
	const char *link = strchr(s->ip, '%');
	unsigned number = link ? link_number(link + 1) : 0;

	if (s->via)
		wm_buf_printf(b, "\tforward-addr: 127.0.0.1@%u\n", s->via);
	else if (number)
		wm_buf_printf(b, "\tforward-addr: %.*s%%%u@%u\n", (int)(link - s->ip), s->ip,
			      number, s->port);
	else
		wm_buf_printf(b, "\tforward-addr: %s@%u\n", s->ip, s->port);
}

static void put_zone(struct wm_buf *b, const struct wm_upstream_route *r)
{
	wm_buf_printf(b, "forward-zone:\n\tname: \"%s\"\n", r->domain);
	for (unsigned i = 0; i < r->count; i++)
		put_server(b, &r->servers[i]);
}

/* The whole file as a string. @return false: it cannot be read. */
static bool read_anchors(const char *path, char text[ANCHORS_MAX])
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, text, ANCHORS_MAX - 1) : -1;

	text[n > 0 ? n : 0] = '\0';
	return n >= 0;
}

/* A line of a file of keys that are followed, up to what libunbound notes of the key there. */
static bool is_trusted(const char *line)
{
	const char *state = strstr(line, STATE);

	return *line && *line != ';' && state &&
	       (state[strlen(STATE)] == STATE_VALID || state[strlen(STATE)] == STATE_MISSING);
}

/* Keys that another resolver follows, as far as they are trusted: before it has written the file
 * they are those to begin with. */
static void put_followed(struct wm_buf *b, const char *path)
{
	char text[ANCHORS_MAX], *rest = text;

	if (!read_anchors(path, text) || !strstr(text, STATE)) {
		wm_buf_printf(b, "\ttrust-anchor-file: \"%s\"\n", path);
		return;
	}
	for (char *line; (line = strsep(&rest, "\n"));) {
		if (!is_trusted(line))
			continue;
		line[strcspn(line, ";\"")] = '\0';
		wm_buf_printf(b, "\ttrust-anchor: \"%s\"\n", line);
	}
}

bool wm_upstream_followed(struct wm_buf *b, const struct wm_upstream_config *c)
{
	put_followed(b, c->anchor_path);
	return wm_buf_puts(b, ""); /* where all were revoked, too (RFC 5011 5) */
}

static void put_modules(struct wm_buf *b, const struct wm_upstream_config *c)
{
	bool dns64 = c->dns64_prefix && *c->dns64_prefix;

	wm_buf_printf(b, "\tmodule-config: \"%s%siterator\"\n", dns64 ? "dns64 " : "",
		      c->validate ? "validator " : "");
	if (dns64)
		wm_buf_printf(b, "\tdns64-prefix: %s\n", c->dns64_prefix);
	if (!c->validate)
		return;
	if (wm_upstream_clock_unset()) /* unbound.conf(5): "for some special applications" */
		wm_buf_puts(b, "\tval-override-date: \"-1\"\n");
	/* nor does the time that a key was seen for say anything then */
	if (*c->anchor_path && (c->reads_anchors || wm_upstream_clock_unset()))
		put_followed(b, c->anchor_path);
	else if (*c->anchor_path)
		wm_buf_printf(b, "\tauto-trust-anchor-file: \"%s\"\n\tadd-holddown: %llu\n",
			      c->anchor_path, (unsigned long long)c->anchor_hold_s);
	else if (*c->trust_anchor)
		wm_buf_printf(b, "\ttrust-anchor-file: \"%s\"\n", c->trust_anchor);
	else
		for (size_t i = 0; i < WM_ARRAY_LEN(root_anchors); i++)
			wm_buf_printf(b, "\ttrust-anchor: \"%s\"\n", root_anchors[i]);
}

/* libunbound takes a file without a key, too, and validates nothing. */
static bool says_anything(char *text)
{
	for (char *line; (line = strsep(&text, "\n"));) {
		line += strspn(line, " \t\r");
		if (*line && *line != ';')
			return true;
	}
	return false;
}

int wm_upstream_file(const char *option, const char *path)
{
	_cleanup_free_ char *text = malloc(ANCHORS_MAX + 1);
	ssize_t len = text ? wm_regular_read(path, text, ANCHORS_MAX) : -ENOMEM;
	struct wm_buf b;
	bool taken;

	if (len < 0)
		return (int)len;
	text[len] = '\0';
	wm_buf_init(&b, LINE_MAX);
	wm_buf_printf(&b, "server:\n\tmodule-config: \"validator iterator\"\n\t%s: \"%s\"\n",
		      option, path);
	taken = says_anything(text) && !b.failed && wm_unbound_takes(b.data);
	wm_buf_done(&b);
	return taken ? 0 : -EBADMSG;
}

/* What the operator trusts, or everyone. @return false: it cannot be read, or is too long. */
static bool put_anchors(struct wm_buf *b, const char *path)
{
	_cleanup_close_ int fd = -1;
	char part[4096];
	ssize_t n;

	for (size_t i = 0; !*path && i < WM_ARRAY_LEN(root_anchors); i++)
		wm_buf_printf(b, "%s\n", root_anchors[i]);
	if (!*path)
		return !b->failed;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	while (fd >= 0 && (n = read(fd, part, sizeof(part))) > 0)
		wm_buf_put(b, part, (size_t)n);
	return fd >= 0 && !n && !b->failed;
}

/* Of a file that libunbound can read: is there a key to go by, or was one, that its owner took
 * back? What it has written itself has a state with each. */
static bool has_key(const char *path)
{
	char text[ANCHORS_MAX], *rest = text;

	if (!read_anchors(path, text) || !strstr(text, WRITTEN) || strstr(text, ALL_REVOKED))
		return true;
	for (const char *line; (line = strsep(&rest, "\n"));) {
		const char *state = *line == ';' ? NULL : strstr(line, STATE);

		if (state && state[strlen(STATE)] >= STATE_VALID)
			return true;
	}
	return false;
}

/* With a file that was written half, or by another hand, libunbound answers nothing at all.
 * @return 0: it is as it should be, or none is wanted; else it is to be begun. */
static int keep_anchors(const char *path)
{
	char beside[WM_UPSTREAM_ANCHOR_PATH + sizeof(BESIDE)];
	int r = *path ? wm_upstream_file("auto-trust-anchor-file", path) : 0;

	if (r == -ENOENT || (!r && (!*path || has_key(path))))
		return r;
	snprintf(beside, sizeof(beside), "%s" BESIDE, path);
	(void)rename(path, beside); /* else it is written over, if that can be done */
	wm_error("dns.trust_anchor", "path=%s text=%s", wm_log_q(path),
		 wm_log_q("it holds no keys that can be read: it is begun anew, by the keys of "
			  "dns.trust_anchor, and what was there is beside it, as " BESIDE));
	return -EBADMSG;
}

int wm_upstream_anchors(const struct wm_upstream_config *c)
{
	struct wm_buf b;
	int r = keep_anchors(c->anchor_path);

	if (!r)
		return 0;
	r = -EIO;
	wm_buf_init(&b, ANCHORS_MAX);
	if (put_anchors(&b, c->trust_anchor))
		r = wm_file_replace(c->anchor_path, b.data, b.len, WM_REPLACE_SYNC);
	wm_buf_done(&b);
	return r;
}

void wm_upstream_anchor_domain(const struct wm_upstream_config *c, char ret[WM_DNS_TEXT_MAX])
{
	char text[ANCHORS_MAX], *rest = text;

	memcpy(ret, ".", sizeof("."));
	(void)read_anchors(c->anchor_path, text);
	for (const char *line; (line = strsep(&rest, "\n"));) {
		size_t len = strcspn(line, " \t\r");

		if (!len || *line == ';' || len >= WM_DNS_TEXT_MAX)
			continue;
		memcpy(ret, line, len);
		ret[len] = '\0';
		return;
	}
}

/* It may lie below a name that libunbound would answer for itself (RFC 6761). */
static void put_asked(struct wm_buf *b, const char *domain)
{
	wm_buf_printf(b, "\tlocal-zone: \"%s\" nodefault\n\tlocal-zone: \"%s\" transparent\n",
		      domain, domain);
}

static void put_insecure(struct wm_buf *b, const char *zone)
{
	wm_buf_printf(b, "\tdomain-insecure: \"%s\"\n", zone);
}

/* Domains of the operator's own: they may hold private addresses, and are signed by nobody. */
static void put_own_domains(struct wm_buf *b, const struct wm_upstream_config *c,
			    const struct wm_upstream_routes *routes)
{
	for (unsigned i = 0; i < routes->count; i++) {
		const char *d = routes->at[i].domain;

		if (strcmp(d, ".") == 0)
			continue;
		put_asked(b, d);
		if (c->rebind_protection)
			wm_buf_printf(b, "\tprivate-domain: \"%s\"\n", d);
		if (c->validate)
			put_insecure(b, d);
	}
}

/* A zone in which nothing is, for all that are ours: where an alias of others leads to such a name,
 * libunbound's answer ends there, and upstream_serve.c goes on. The TTLs are not those of what is
 * said of our names: they let the alias itself stay for as long as it may. */
static const char own_zone[] = "@ 86400 IN SOA . . 1 86400 86400 86400 86400\n"
			       "@ 86400 IN NS .\n";

/* libunbound reads zones from files only: this one has no name, and lives as long as the process.
 * @return -1: it cannot be made. */
static int own_zone_file(void)
{
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("own.zone", MFD_CLOEXEC);
	if (fd >= 0 && pwrite(fd, own_zone, sizeof(own_zone) - 1, 0) != sizeof(own_zone) - 1)
		return -1;
	return fd;
}

/* The stub makes a hole in what is forwarded, which libunbound does for no auth-zone. */
static void put_own_zone(struct wm_buf *b, const char *zone)
{
	wm_buf_printf(b,
		      "stub-zone:\n\tname: \"%s\"\n"
		      "auth-zone:\n\tname: \"%s\"\n\tfor-downstream: no\n\tfor-upstream: yes\n"
		      "\tfallback-enabled: no\n\tzonefile: \"/proc/self/fd/%d\"\n",
		      zone, zone, own_zone_file());
}

/* Is the domain of this place there, and not the one before once more? */
static bool is_own_domain(const struct wm_upstream_config *c, unsigned place)
{
	const char *d = c->domains[place];

	return d && *d &&
	       (!place || !c->domains[place - 1] || strcasecmp(d, c->domains[place - 1]) != 0);
}

static void each_own_zone(struct wm_buf *b, const struct wm_upstream_config *c,
			  void (*put)(struct wm_buf *b, const char *zone))
{
	char zone[WM_PREFIX_ZONE_SIZE];

	for (unsigned i = 0; i < WM_ARRAY_LEN(c->domains); i++)
		if (is_own_domain(c, i))
			put(b, c->domains[i]);
	for (unsigned n = 0; c->vips.mask && wm_vip_zone(&c->vips, n, zone); n++)
		put(b, zone);
	for (unsigned i = 0; i < c->ranges_count; i++)
		for (unsigned n = 0; wm_prefix_zone(&c->ranges[i], n, zone); n++)
			put(b, zone);
	wm_upstream_apart_each(b, c->apart, put);
}

static bool has_default(const struct wm_upstream_routes *routes)
{
	for (unsigned i = 0; i < routes->count; i++)
		if (strcmp(routes->at[i].domain, ".") == 0)
			return true;
	return false;
}

/* libunbound has one set of these for all resolvers of the process: the last one that begins
 * decides for the others, so all are told the same. */
static void put_ttls(struct wm_buf *b, const struct wm_upstream_config *c)
{
	uint64_t max_s = c->ttl_max_s ? c->ttl_max_s : TTL_MAX_S;

	wm_buf_printf(b,
		      "\tcache-max-ttl: %llu\n\tcache-max-negative-ttl: %llu\n"
		      "\tcache-min-ttl: %llu\n",
		      (unsigned long long)max_s,
		      (unsigned long long)(max_s < NEGATIVE_TTL_MAX_S ? max_s : NEGATIVE_TTL_MAX_S),
		      (unsigned long long)c->ttl_min_s);
	if (c->serve_stale_s)
		wm_buf_printf(b,
			      "\tserve-expired: yes\n\tserve-expired-ttl: %llu\n"
			      "\tserve-expired-reply-ttl: %d\n",
			      (unsigned long long)c->serve_stale_s, WM_UPSTREAM_STALE_MARK_S);
}

bool wm_upstream_conf(struct wm_buf *b, const struct wm_upstream_config *c,
		      const struct wm_upstream_routes *routes)
{
	wm_buf_puts(b, COMMON);
	if (c->mode != WM_UPSTREAM_RECURSION)
		wm_buf_puts(b, LAN_IS_ASKED);
	put_ttls(b, c);
	wm_buf_printf(b,
		      "\toutgoing-range: 1024\n\tnum-queries-per-thread: 4096\n"
		      "\toutgoing-num-tcp: 64\n\tqname-minimisation: yes\n"
		      "\tmsg-cache-size: %llu\n\trrset-cache-size: %llu\n",
		      (unsigned long long)c->cache_max / 3,
		      (unsigned long long)c->cache_max / 3 * 2);
	if (c->serve_stale_s)
		wm_buf_printf(b, "\tserve-expired-client-timeout: %d\n", STALE_CLIENT_MS);
	put_modules(b, c);
	if (c->asks_all)
		wm_buf_puts(b, "\tinfra-host-ttl: " INFRA_TTL_OVER_S "\n");
	if (c->caps_for_id)
		wm_buf_puts(b, "\tuse-caps-for-id: yes\n");
	if (*c->root_hints)
		wm_buf_printf(b, "\troot-hints: \"%s\"\n", c->root_hints);
	for (size_t i = 0; c->rebind_protection && i < WM_ARRAY_LEN(private_ranges); i++)
		wm_buf_printf(b, "\tprivate-address: %s\n", private_ranges[i]);
	put_own_domains(b, c, routes);
	/* whoever has no server for a name must not go to the root for it */
	if (c->mode != WM_UPSTREAM_RECURSION && !has_default(routes))
		wm_buf_puts(b, "\tlocal-zone: \".\" always_refuse\n");
	if (c->validate) /* nobody signs them */
		each_own_zone(b, c, put_insecure);
	if (own_zone_file() < 0)
		return false;
	each_own_zone(b, c, put_own_zone);
	for (unsigned i = 0; i < routes->count; i++)
		put_zone(b, &routes->at[i]);
	return !b->failed;
}

bool wm_upstream_conf_probe(struct wm_buf *b, const struct wm_upstream_config *c,
			    const char *domain, const struct wm_upstream_server *s)
{
	struct wm_upstream_route r = {.count = 1, .servers = {*s}};

	memcpy(r.domain, ".", sizeof("."));
	wm_buf_puts(b, COMMON LAN_IS_ASKED);
	wm_buf_puts(b, "\tmodule-config: \"iterator\"\n\toutgoing-range: 4\n"
		       "\tnum-queries-per-thread: 4\n\toutgoing-num-tcp: 1\n"
		       "\tmsg-cache-size: 4096\n\trrset-cache-size: 4096\n"
		       "\tkey-cache-size: 4096\n\tneg-cache-size: 4096\n"
		       "\tinfra-cache-numhosts: 16\n");
	put_ttls(b, c);
	if (strcmp(domain, ".") != 0)
		put_asked(b, domain);
	put_zone(b, &r);
	return !b->failed;
}
