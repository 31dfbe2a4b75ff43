/* SPDX-License-Identifier: Apache-2.0 */
/* reverse.c - names of addresses: nodes first, then services, as in Consul; virtual addresses too.
 * Of the virtual ranges we have authority: what is not there is NXDOMAIN. Any other address is told
 * where it is known, and else a foreign name. Spec: RFC 1035 3.5, RFC 3596 2.5. */
#include "internal.h"
#include "userspace/base/prefix.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>

/* A label of a reverse name: a number to 255, or one hexadecimal digit. @return -1: it is none. */
static int number_of(const uint8_t *label, bool is6)
{
	unsigned len = *label, v = 0;

	label++;
	if (is6) {
		if (len != 1)
			return -1;
		if (*label >= '0' && *label <= '9')
			return *label - '0';
		return *label >= 'a' && *label <= 'f' ? *label - 'a' + 10 : -1;
	}
	if (!len || len > 3 || (len > 1 && *label == '0'))
		return -1;
	for (unsigned i = 0; i < len; i++) {
		if (label[i] < '0' || label[i] > '9')
			return -1;
		v = v * 10 + (unsigned)(label[i] - '0');
	}
	return v < 256 ? (int)v : -1;
}

static void put_number(struct wm_dns_ask *ask, unsigned place, unsigned v)
{
	if (!ask->is6)
		ask->addr[12 + place] = (uint8_t)v;
	else
		ask->addr[place / 2] |= (uint8_t)(place % 2 ? v : v << 4);
}

void wm_ask_reverse(const uint8_t *folded, struct wm_dns_ask *ret)
{
	static const uint8_t in_addr[] = "\7in-addr\4arpa", ip6[] = "\3ip6\4arpa";
	const uint8_t *at[WM_DNS_LABELS_MAX];
	unsigned n = 0, places;
	size_t end;

	for (; *folded; folded += *folded + 1u)
		at[n++] = folded;
	if (n < 2)
		return;
	end = (size_t)(folded + 1 - at[n - 2]); /* octets of the last two labels */
	ret->is6 = end == sizeof(ip6) && memcmp(at[n - 2], ip6, end) == 0;
	if (!ret->is6 && (end != sizeof(in_addr) || memcmp(at[n - 2], in_addr, end) != 0))
		return;
	ret->kind = WM_ASK_REVERSE;
	n -= 2;
	places = ret->is6 ? 32 : 4;
	if (!ret->is6)
		memset(ret->addr + 10, 0xff, 2);
	while (ret->known < places && ret->known < n) {
		int v = number_of(at[n - 1 - ret->known], ret->is6);

		if (v < 0)
			break;
		put_number(ret, ret->known++, (unsigned)v);
	}
	ret->whole = ret->known == places && n == places;
	ret->beyond = n - ret->known;
}

void wm_dns_server_ranges(struct wm_dns_server *s, const struct wm_guard_prefix *list,
			  unsigned count)
{
	s->ranges_count = count < WM_GUARD_PREFIXES_MAX ? count : WM_GUARD_PREFIXES_MAX;
	if (count)
		memcpy(s->ranges, list, s->ranges_count * sizeof(*list));
}

/* The same of networks that the operator says are ours. */
static unsigned range_of(const struct wm_dns_server *s, const struct wm_dns_ask *ask)
{
	__be32 addr[4];

	memcpy(addr, ask->addr, sizeof(addr));
	for (unsigned i = 0; i < s->ranges_count; i++) {
		const struct wm_guard_prefix *p = &s->ranges[i];

		if (wm_prefix_is4(p) == !ask->is6 && ask->known >= wm_prefix_labels(p) &&
		    wm_guard_matches(p, addr))
			return wm_prefix_labels(p);
	}
	return 0;
}

/* Labels of the zone that is ours and that the name is in, arpa and what is before it apart.
 * @return 0: none is. */
static unsigned zone_of(const struct wm_dns_server *s, const struct wm_dns_ask *ask)
{
	const struct wm_vip_space *space = wm_registry_vip_space(s->registry);
	unsigned zone;
	uint32_t v4;

	if (ask->is6) {
		zone = 16; /* 64 bits */
		return ask->known >= zone && memcmp(ask->addr, &space->prefix, 8) == 0
			       ? zone
			       : range_of(s, ask);
	}
	/* a range that ends within an octet has a zone for each that begins with it */
	zone = ((unsigned)__builtin_popcount(space->mask) + 7) / 8;
	memcpy(&v4, ask->addr + 12, sizeof(v4));
	return ask->known >= zone && (ntohl(v4) & space->mask) == space->base ? zone
									      : range_of(s, ask);
}

void wm_reply_ptr(struct wm_reply *r, const uint8_t *target)
{
	size_t begin = r->w.len, at;

	at = wm_rr_begin(&r->w, r->question, WM_DNS_PTR, r->ttl_s);
	wm_put_name(&r->w, target);
	if (wm_rr_end(&r->w, begin, at))
		r->answers++;
	else
		r->truncated = true;
}

static const struct wm_service *virtual_at(const struct wm_registry *reg, const uint8_t addr[16],
					   bool is6, const char **ret_label)
{
	struct in6_addr v6;
	struct in_addr v4;

	memcpy(&v6, addr, sizeof(v6));
	memcpy(&v4, addr + 12, sizeof(v4));
	return is6 ? wm_registry_service_at6(reg, &v6, ret_label)
		   : wm_registry_service_at4(reg, v4, ret_label);
}

/* What the address is the address of; all of @p ret NULL: nobody's. */
static void find_owner(const struct wm_dns_server *s, const uint8_t addr[16], bool is6,
		       struct wm_dns_owner *ret)
{
	*ret = (struct wm_dns_owner){.node = wm_places_node(s->places, addr), .label = ""};
	if (!ret->node)
		ret->service = wm_places_service(s->places, addr);
	if (!ret->node && !ret->service)
		ret->virtual_of = virtual_at(s->registry, addr, is6, &ret->label);
}

/* @return false: nobody's, or the name does not fit. */
static bool name_of_owner(const struct wm_reply *r, const struct wm_dns_owner *o,
			  uint8_t target[WM_DNS_NAME_MAX + 1])
{
	if (o->node)
		return wm_name_in_domain(r, o->node->name, "node", true, target);
	if (o->service)
		return wm_name_in_domain(r, o->service->name, "service", true, target);
	return o->virtual_of && wm_virtual_in_domain(r, o->label, o->virtual_of->name, target);
}

static bool owner_of(struct wm_reply *r, uint8_t target[WM_DNS_NAME_MAX + 1])
{
	struct wm_dns_owner o;

	find_owner(r->s, r->ask.addr, r->ask.is6, &o);
	wm_reply_source(r, wm_ready_source(r->ask.addr, sizeof(r->ask.addr)));
	if (!o.node && !o.service)
		wm_reply_source(r, WM_READY_LABELS);
	if (o.node)
		r->ttl_s = r->s->c.node_ttl_s;
	else if (o.service || o.virtual_of)
		r->ttl_s = wm_service_ttl(r, o.service ? o.service->name : o.virtual_of->name);
	return name_of_owner(r, &o, target);
}

int wm_dns_owner(struct wm_dns_server *s, const uint8_t addr[16], struct wm_dns_owner *ret)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	struct wm_reply *r = &s->reply;
	uint8_t name[WM_DNS_NAME_MAX + 1];

	find_owner(s, addr, memcmp(addr, mapped, sizeof(mapped)) != 0, ret);
	r->s = s;
	r->ask.alt = false;
	if (name_of_owner(r, ret, name))
		wm_dns_text(name, ret->name, sizeof(ret->name));
	else if (!wm_places_whole(s->places))
		return -EAGAIN;
	return 0;
}

bool wm_reverse_elsewhere(const struct wm_dns_server *s, const struct wm_dns_ask *ask,
			  uint16_t type)
{
	struct wm_dns_owner o = {0};

	if (zone_of(s, ask) || !wm_places_whole(s->places))
		return false;
	if (ask->whole && (type == WM_DNS_PTR || type == WM_DNS_ANY))
		find_owner(s, ask->addr, ask->is6, &o);
	return !o.node && !o.service && !o.virtual_of && !wm_kube_at(s->kube, ask->addr);
}

void wm_reply_reverse(struct wm_reply *r)
{
	bool asked = r->q.type == WM_DNS_PTR || r->q.type == WM_DNS_ANY, there;
	uint8_t target[WM_DNS_NAME_MAX + 1];
	unsigned zone = zone_of(r->s, &r->ask);

	r->changing |= !wm_places_whole(r->s->places);
	if (asked && r->ask.whole && !wm_places_node(r->s->places, r->ask.addr) &&
	    wm_reply_kube_ptr(r))
		return;
	there = r->ask.whole && owner_of(r, target);
	if (there && asked) {
		wm_reply_ptr(r, target);
		return;
	}
	if (!zone) {
		r->rcode = wm_places_whole(r->s->places) ? WM_DNS_REFUSED : WM_DNS_SERVFAIL;
		return;
	}
	r->zone = r->question;
	if (r->ask.known == zone && !r->ask.beyond) {
		wm_reply_apex(r);
		return;
	}
	/* of what is missing below the zone its SOA tells */
	for (unsigned skip = r->ask.known + r->ask.beyond - zone; skip; skip--)
		r->zone += *r->zone + 1u;
	if (!there && (r->ask.whole || r->ask.beyond))
		r->rcode = WM_DNS_NXDOMAIN;
}
