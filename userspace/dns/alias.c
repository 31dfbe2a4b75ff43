/* SPDX-License-Identifier: Apache-2.0 */
/* alias.c - addresses that are host names: what is asked for is an alias of them. A name that has a
 * CNAME has nothing else (RFC 1034 3.6.2), so a service is one only while none of its usable
 * instances has an IP address; SRV answers beside it, as Consul has it. */
#include "internal.h"
#include "userspace/base/random.h"

#include <netinet/in.h>
#include <string.h>
#include <strings.h>

static bool has_ip(const struct in_addr *addr4, const struct in6_addr *addr6)
{
	return addr4->s_addr || !IN6_IS_ADDR_UNSPECIFIED(addr6);
}

bool wm_host_wire(const char *text, uint8_t out[WM_DNS_NAME_MAX + 1])
{
	size_t at = 0, len;

	while (*text) {
		len = strcspn(text, ".");
		at = wm_wire_label(out, at, text, len);
		if (!at)
			return false;
		text += len + (text[len] == '.');
	}
	out[at] = 0;
	return at != 0;
}

const char *wm_host_of(const struct wm_instance *i)
{
	if (has_ip(&i->addr4, &i->addr6))
		return NULL;
	return *i->address ? i->address : i->node->address;
}

static bool same_name(const uint8_t *a, const uint8_t *b)
{
	for (; *a; a += *a + 1u, b += *b + 1u)
		if (*a != *b || strncasecmp((const char *)a + 1, (const char *)b + 1, *a) != 0)
			return false;
	return !*b;
}

/* @return false: it is no name, or it is the one that was asked for. */
static bool put_cname(struct wm_reply *r, const char *host)
{
	uint8_t target[WM_DNS_NAME_MAX + 1];
	size_t begin = r->w.len, at;

	if (!wm_host_wire(host, target) || same_name(target, r->question))
		return false;
	at = wm_rr_begin(&r->w, r->question, WM_DNS_CNAME, r->ttl_s);
	wm_put_name(&r->w, target);
	if (wm_rr_end(&r->w, begin, at))
		r->answers++;
	else
		r->truncated = true;
	return true;
}

void wm_reply_service_alias(struct wm_reply *r)
{
	const struct wm_service *s = wm_registry_service(r->s->registry, r->ask.service);
	uint64_t start = s && s->instances_count ? wm_random_below(s->instances_count) : 0;

	for (unsigned k = 0; s && k < s->instances_count; k++)
		if (wm_reply_takes(r, s->instances[k]) && !wm_host_of(s->instances[k]))
			return;
	for (unsigned k = 0; s && k < s->instances_count; k++) {
		const struct wm_instance *i = s->instances[(start + k) % s->instances_count];

		if (wm_reply_takes(r, i) && put_cname(r, wm_host_of(i)))
			return;
	}
}

void wm_reply_node_alias(struct wm_reply *r, const struct wm_node *n)
{
	if (!has_ip(&n->addr4, &n->addr6))
		put_cname(r, n->address);
}
