/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_servers.c - which servers there are, from settings and from resolv.conf(5), and whether
 * one of them is this agent. */
#include "upstream_internal.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <ifaddrs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define DNS_PORT     53
#define TLS_PORT     853 /* RFC 7858 3.1 */
#define LINE_MAX_LEN 512 /* octets of a line of resolv.conf */

union ip {
	struct in_addr v4;
	struct in6_addr v6;
};

/* @return AF_INET, AF_INET6, 0: neither. A link may stand behind an IPv6 address. */
static int read_ip(const char *text, union ip *ret)
{
	char bare[INET6_ADDRSTRLEN];
	size_t len = strcspn(text, "%");

	if (inet_pton(AF_INET, text, &ret->v4) == 1)
		return AF_INET;
	if (len >= sizeof(bare) || (text[len] && !text[len + 1]))
		return 0;
	for (const char *p = text + len; *p; p++)
		if (p > text + len && !isalnum((unsigned char)*p) && !strchr("._-", *p))
			return 0;
	memcpy(bare, text, len);
	bare[len] = '\0';
	return inet_pton(AF_INET6, bare, &ret->v6) == 1 ? AF_INET6 : 0;
}

static bool read_port(const char *text, size_t len, uint16_t *ret)
{
	unsigned n = 0;

	if (!len || len > 5)
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isdigit((unsigned char)text[i]))
			return false;
		n = n * 10 + (unsigned)(text[i] - '0');
	}
	*ret = (uint16_t)n;
	return n && n <= UINT16_MAX;
}

/* A host name, as a resolver's configuration can hold it. @return false: it is none. */
static bool read_name(const char *text, char ret[WM_UPSTREAM_NAME_MAX + 1])
{
	uint8_t wire[WM_DNS_NAME_MAX + 1];
	size_t len = strlen(text);

	if (len && text[len - 1] == '.')
		len--;
	if (!len || len > WM_UPSTREAM_NAME_MAX || !wm_host_wire(text, wire))
		return false;
	for (size_t i = 0; i < len; i++) {
		if (!isalnum((unsigned char)text[i]) && !strchr("._-", text[i]))
			return false;
		ret[i] = (char)tolower((unsigned char)text[i]);
	}
	ret[len] = '\0';
	return true;
}

int wm_upstream_server_parse(const char *text, struct wm_upstream_server *ret)
{
	struct wm_upstream_server s = {.port = DNS_PORT};
	size_t len = strcspn(text, "@#"), end;
	union ip ip;

	if (!len || len >= sizeof(s.ip))
		return -EINVAL;
	memcpy(s.ip, text, len);
	if (!read_ip(s.ip, &ip))
		return -EINVAL;
	text += len;
	end = strcspn(text, "#");
	if (text[end]) {
		s.port = TLS_PORT;
		if (!read_name(text + end + 1, s.name))
			return -EINVAL;
	}
	if (*text == '@' && !read_port(text + 1, end - 1, &s.port))
		return -EINVAL;
	*ret = s;
	return 0;
}

void wm_upstream_server_text(const struct wm_upstream_server *s, char ret[WM_UPSTREAM_SERVER_TEXT])
{
	snprintf(ret, WM_UPSTREAM_SERVER_TEXT, "%s@%u%s%s", s->ip, s->port, *s->name ? "#" : "",
		 s->name);
}

bool wm_upstream_server_same(const struct wm_upstream_server *a, const struct wm_upstream_server *b)
{
	return a->port == b->port && strcmp(a->ip, b->ip) == 0 && strcmp(a->name, b->name) == 0;
}

static bool add_server(struct wm_upstream_route *to, const struct wm_upstream_server *s)
{
	for (unsigned i = 0; i < to->count; i++)
		if (wm_upstream_server_same(&to->servers[i], s))
			return true;
	if (to->count == WM_UPSTREAM_SERVERS_MAX)
		return false;
	to->servers[to->count++] = *s;
	return true;
}

unsigned wm_upstream_resolv_conf(const char *path, struct wm_upstream_route *to)
{
	FILE *f = fopen(path, "re");
	char line[LINE_MAX_LEN], text[LINE_MAX_LEN];
	struct wm_upstream_server s;
	unsigned before = to->count;

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, " nameserver %511s", text) != 1 || strpbrk(text, "@#") ||
		    wm_upstream_server_parse(text, &s))
			continue;
		if (!add_server(to, &s))
			break;
	}
	if (f)
		fclose(f);
	return to->count - before;
}

static bool is_below(const char *name, const char *domain)
{
	size_t len = strlen(name), tail = strlen(domain);

	len -= len && name[len - 1] == '.';
	return strcmp(domain, ".") == 0 ||
	       (len >= tail && strncasecmp(name + len - tail, domain, tail) == 0 &&
		(len == tail || name[len - tail - 1] == '.'));
}

const struct wm_upstream_route *wm_upstream_route_of(const struct wm_upstream_routes *all,
						     const char *name)
{
	const struct wm_upstream_route *best = NULL;

	for (unsigned i = 0; i < all->count; i++)
		if (is_below(name, all->at[i].domain) &&
		    (!best || strlen(all->at[i].domain) > strlen(best->domain) ||
		     strcmp(best->domain, ".") == 0))
			best = &all->at[i];
	return best;
}

/* --- dns.forward ------------------------------------------------------------------------------ */
static struct wm_upstream_route *route_of(struct wm_upstream_routes *all, const char *domain)
{
	struct wm_upstream_route *r;

	for (unsigned i = 0; i < all->count; i++)
		if (strcmp(all->at[i].domain, domain) == 0)
			return &all->at[i];
	if (all->count == WM_UPSTREAM_ROUTES_MAX)
		return NULL;
	r = &all->at[all->count++];
	memset(r, 0, sizeof(*r));
	snprintf(r->domain, sizeof(r->domain), "%s", domain);
	return r;
}

static int read_route(const char *text, struct wm_upstream_routes *all, struct wm_err *e)
{
	char copy[LINE_MAX_LEN], domain[WM_UPSTREAM_NAME_MAX + 1] = ".", *servers, *save, *p;
	struct wm_upstream_route *to;
	struct wm_upstream_server s;

	snprintf(copy, sizeof(copy), "%s", text);
	servers = strchr(copy, '=');
	if (servers)
		*servers++ = '\0';
	if (!servers || (strcmp(copy, ".") != 0 && !read_name(copy, domain)))
		return wm_err_set(e, WM_E_INVALID,
				  "dns.forward: domain=server is wanted, \".\" for every domain, "
				  "not \"%.64s\"",
				  text);
	to = route_of(all, domain);
	if (!to)
		return wm_err_set(e, WM_E_INVALID, "dns.forward: at most %d domains",
				  WM_UPSTREAM_ROUTES_MAX);
	for (p = strtok_r(servers, " ", &save); p; p = strtok_r(NULL, " ", &save)) {
		if (wm_upstream_server_parse(p, &s))
			return wm_err_set(
				e, WM_E_INVALID,
				"dns.forward: an IP address is wanted, @port behind it "
				"if it is another than 53, #name if it speaks TLS, not \"%.64s\"",
				p);
		if (!add_server(to, &s))
			return wm_err_set(e, WM_E_INVALID,
					  "dns.forward: at most %d servers of a domain, \"%.64s\"",
					  WM_UPSTREAM_SERVERS_MAX, text);
	}
	if (!to->count)
		return wm_err_set(e, WM_E_INVALID, "dns.forward: no server in \"%.64s\"", text);
	return 0;
}

int wm_upstream_routes_parse(char *const *list, struct wm_upstream_routes *ret, struct wm_err *e)
{
	int r = 0;

	ret->count = 0;
	for (; !r && *list; list++)
		r = read_route(*list, ret, e);
	return r;
}

/* --- ourselves -------------------------------------------------------------------------------- */
static bool same_ip(int family, const union ip *a, const void *b)
{
	return memcmp(a, b, family == AF_INET ? 4 : 16) == 0;
}

/* Is it an address of a link of ours, or of loopback? */
static bool is_local(int family, const union ip *ip)
{
	struct ifaddrs *all, *i;
	bool found = family == AF_INET ? ntohl(ip->v4.s_addr) >> 24 == IN_LOOPBACKNET
				       : IN6_IS_ADDR_LOOPBACK(&ip->v6);

	if (found || getifaddrs(&all))
		return found;
	for (i = all; i && !found; i = i->ifa_next) {
		if (!i->ifa_addr || i->ifa_addr->sa_family != family)
			continue;
		found = same_ip(
			family, ip,
			family == AF_INET
				? (const void *)&((struct sockaddr_in *)i->ifa_addr)->sin_addr
				: &((struct sockaddr_in6 *)i->ifa_addr)->sin6_addr);
	}
	freeifaddrs(all);
	return found;
}

static bool listens(const char *const *addresses, int family, const union ip *ip)
{
	static const union ip any;
	union ip a;

	for (; addresses && *addresses; addresses++) {
		if (read_ip(*addresses, &a) != family)
			continue;
		if (same_ip(family, &a, ip) || (same_ip(family, &a, &any) && is_local(family, ip)))
			return true;
	}
	return false;
}

bool wm_upstream_leads_here(const struct wm_upstream_own *own, const struct wm_upstream_server *s)
{
	union ip ip = {0};
	int family = read_ip(s->ip, &ip);

	/* a question to "any address" goes to this machine: ip(7) */
	if (family == AF_INET && ip.v4.s_addr == INADDR_ANY)
		ip.v4.s_addr = htonl(INADDR_LOOPBACK);
	if (family == AF_INET6 && IN6_IS_ADDR_UNSPECIFIED(&ip.v6))
		ip.v6 = in6addr_loopback;
	return (own->port && s->port == own->port && listens(own->addresses, family, &ip)) ||
	       (s->port == DNS_PORT && listens(own->addresses53, family, &ip)) ||
	       (s->port == own->port_tls && listens(own->addresses_tls, family, &ip));
}

bool wm_upstream_server_is(const struct wm_upstream_server *s, const struct sockaddr *a)
{
	const struct sockaddr_in *v4 = (const struct sockaddr_in *)a;
	const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)a;
	union ip ip;

	if (s->via)
		return a->sa_family == AF_INET && ntohs(v4->sin_port) == s->via &&
		       v4->sin_addr.s_addr == htonl(INADDR_LOOPBACK);
	if (read_ip(s->ip, &ip) != a->sa_family)
		return false;
	return a->sa_family == AF_INET
		       ? ntohs(v4->sin_port) == s->port && same_ip(AF_INET, &ip, &v4->sin_addr)
		       : a->sa_family == AF_INET6 && ntohs(v6->sin6_port) == s->port &&
				 same_ip(AF_INET6, &ip, &v6->sin6_addr);
}

bool wm_upstream_is_stub(const struct wm_upstream_server *s)
{
	return s->port == DNS_PORT &&
	       (strcmp(s->ip, "127.0.0.53") == 0 || strcmp(s->ip, "127.0.0.54") == 0);
}
