/* SPDX-License-Identifier: Apache-2.0 */
/* records.c - records of services: addresses from the tables by the kernel's own code, SRV and
 * tagged ones from the registry. */
#include "internal.h"
#include "userspace/base/random.h"

#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define TORN_TRIES                                                                                 \
	4 /* a set that is republished under the reader; userspace is the only writer              \
	   */

static struct wm_view view_of(const struct wm_tables *t)
{
	const struct wm_table_memory *m = wm_tables_memory(t);

	return (struct wm_view){m->sets,     m->slots,	   m->backends,
				m->sets_cap, m->slots_cap, m->backends_cap};
}

/* The tables' entry of <service>.<kind>.<domain>, whatever form was asked in. */
static const struct wm_name *entry_of(const struct wm_reply *r)
{
	const char *kind = r->ask.kind == WM_ASK_VIRTUAL ? "virtual" : "service";
	uint8_t wire[WM_NAME_BUF] = {0};
	size_t domain_len, at;
	const uint8_t *domain = wm_tables_domain(r->s->tables, r->ask.alt, &domain_len);

	at = wm_wire_label(wire, 0, r->ask.service, strlen(r->ask.service));
	at = at ? wm_wire_label(wire, at, kind, strlen(kind)) : 0;
	if (!at || at + domain_len > WM_DNS_NAME_MAX)
		return NULL;
	memcpy(wire + at, domain, domain_len);
	return wm_tables_name(r->s->tables, wire, at + domain_len);
}

static unsigned records_max(const struct wm_reply *r, uint16_t type)
{
	size_t each = type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA;
	size_t room = (r->w.cap - r->w.len) / each;
	size_t max = r->tcp ? WM_DNS_ANSWERS_TCP : WM_DNS_ANSWERS_UDP;

	return (unsigned)(room < max ? room : max);
}

unsigned wm_reply_addresses(struct wm_reply *r, uint16_t type)
{
	struct wm_view v = view_of(r->s->tables);
	const struct wm_name *name = entry_of(r);
	uint32_t len = 0;
	int n = -1;

	if (!name)
		return wm_reply_registry(r, type);
	for (int i = 0; i < TORN_TRIES && n < 0; i++)
		n = wm_dns_addresses(&v, name, type, r->ttl_s, records_max(r, type),
				     (uint32_t)wm_random64(), r->s->records, &len);
	if (n < 0)
		r->rcode = WM_DNS_SERVFAIL; /* the set does not hold together: no word on what is */
	if (n <= 0)
		return 0;
	wm_put_bytes(&r->w, r->s->records, len);
	r->answers = (uint16_t)(r->answers + n);
	return (unsigned)n;
}

/* --- from the registry ------------------------------------------------------------------------ */
/* As resolution decides for the tables. */
static bool is_up(const struct wm_reply *r, const struct wm_instance *i)
{
	return wm_instance_usable(i) &&
	       (i->status != WM_WARNING || !wm_tables_policy(r->s->tables)->only_passing);
}

bool wm_reply_takes(const struct wm_reply *r, const struct wm_instance *i)
{
	return is_up(r, i) && wm_instance_has_tag(i, r->ask.tag);
}

bool wm_reply_usable(const struct wm_reply *r)
{
	const struct wm_service *s = wm_registry_service(r->s->registry, r->ask.service);

	for (unsigned k = 0; s && k < s->instances_count; k++)
		if (wm_reply_takes(r, s->instances[k]))
			return true;
	return false;
}

/* Tags may have dots, and each is a label. */
static bool has_tag_above(const struct wm_instance *i, const char *end)
{
	size_t n = strlen(end);

	for (unsigned k = 0; k < i->tags_count; k++) {
		size_t len = strlen(i->tags[k]);

		if (len > n && i->tags[k][len - n - 1] == '.' &&
		    strcasecmp(i->tags[k] + len - n, end) == 0)
			return true;
	}
	return false;
}

bool wm_reply_has_below(const struct wm_reply *r)
{
	const struct wm_service *s = wm_registry_service(r->s->registry, r->ask.service);

	for (unsigned k = 0; s && *r->ask.tag && k < s->instances_count; k++)
		if (is_up(r, s->instances[k]) && has_tag_above(s->instances[k], r->ask.tag))
			return true;
	return false;
}

bool wm_reply_address(struct wm_reply *r, bool is6, const uint8_t *addr)
{
	size_t begin = r->w.len;
	size_t at = wm_rr_begin(&r->w, r->question, is6 ? WM_DNS_AAAA : WM_DNS_A, r->ttl_s);

	wm_put_bytes(&r->w, addr, is6 ? 16 : 4);
	if (!wm_rr_end(&r->w, begin, at)) {
		r->truncated = true;
		return false;
	}
	r->answers++;
	return true;
}

static bool has_address(const struct wm_instance *i, uint16_t type)
{
	return type == WM_DNS_A ? i->addr4.s_addr != 0 : !IN6_IS_ADDR_UNSPECIFIED(&i->addr6);
}

/* The virtual address of a service that is not in the tables: of families that its endpoints have.
 */
static unsigned registry_virtual(struct wm_reply *r, const struct wm_service *s, uint16_t type)
{
	for (unsigned k = 0; k < s->instances_count; k++) {
		if (!has_address(s->instances[k], type))
			continue;
		return type == WM_DNS_A ? wm_reply_address(r, false, (const uint8_t *)&s->vip4)
					: wm_reply_address(r, true, s->vip6.s6_addr);
	}
	return 0;
}

unsigned wm_reply_registry(struct wm_reply *r, uint16_t type)
{
	const struct wm_service *s = wm_registry_service(r->s->registry, r->ask.service);
	unsigned max = records_max(r, type), n = 0;
	uint64_t start;

	if (!s)
		return 0;
	if (r->ask.kind == WM_ASK_VIRTUAL)
		return registry_virtual(r, s, type);
	start = s->instances_count ? wm_random_below(s->instances_count) : 0;
	for (unsigned k = 0; k < s->instances_count && n < max; k++) {
		const struct wm_instance *i = s->instances[(start + k) % s->instances_count];

		if (!wm_reply_takes(r, i) || !has_address(i, type))
			continue;
		if (!wm_reply_address(r, type == WM_DNS_AAAA,
				      type == WM_DNS_A ? (const uint8_t *)&i->addr4
						       : i->addr6.s6_addr))
			break;
		n++;
	}
	return n;
}

/* --- SRV -------------------------------------------------------------------------------------- */
/* A node's name may have dots. @return 0: it does not fit. */
static size_t put_labels(uint8_t out[WM_DNS_NAME_MAX + 1], const char *name)
{
	size_t at = 0, len;

	for (;; name += len + 1) {
		len = strcspn(name, ".");
		at = wm_wire_label(out, at, name, len);
		if (!at || !name[len])
			return at;
	}
}

bool wm_name_in_domain(const struct wm_reply *r, const char *name, const char *kind, bool dc,
		       uint8_t out[WM_DNS_NAME_MAX + 1])
{
	size_t at, domain_len;
	const uint8_t *domain = wm_tables_domain(r->s->tables, r->ask.alt, &domain_len);

	at = put_labels(out, name);
	at = at ? wm_wire_label(out, at, kind, strlen(kind)) : 0;
	if (dc)
		at = at ? wm_wire_label(out, at, r->s->datacenter, strlen(r->s->datacenter)) : 0;
	if (!at || at + domain_len > WM_DNS_NAME_MAX)
		return false;
	memcpy(out + at, domain, domain_len);
	return true;
}

/* Where an SRV record leads: <node>.node.<dc>.<domain>, <hex>.addr.<dc>.<domain> for an address of
 * its own, or a host name itself. @return false: the name does not fit. */
static bool target_of(const struct wm_reply *r, const struct wm_instance *i,
		      uint8_t out[WM_DNS_NAME_MAX + 1])
{
	const uint8_t *a = i->addr4.s_addr ? (const uint8_t *)&i->addr4 : i->addr6.s6_addr;
	int n = i->addr4.s_addr ? 4 : 16;
	char hex[33];

	if (wm_host_of(i))
		return wm_host_wire(wm_host_of(i), out);
	if (!*i->address)
		return wm_name_in_domain(r, i->node->name, "node", true, out);
	for (int k = 0; k < n; k++)
		snprintf(hex + (size_t)k * 2, 3, "%02x", a[k]);
	return wm_name_in_domain(r, hex, "addr", true, out);
}

static bool put_srv(struct wm_reply *r, const struct wm_instance *i, const uint8_t *target)
{
	unsigned weight = i->status == WM_WARNING ? i->weight_warning : i->weight_passing;
	size_t begin = r->w.len;
	size_t at = wm_rr_begin(&r->w, r->question, WM_DNS_SRV, r->ttl_s);

	wm_put16(&r->w, 1);
	wm_put16(&r->w, (uint16_t)weight);
	wm_put16(&r->w, i->port);
	wm_put_name_plain(&r->w, target);
	return wm_rr_end(&r->w, begin, at);
}

static void put_additional(struct wm_reply *r, const struct wm_instance *i, const uint8_t *target)
{
	bool is6 = !i->addr4.s_addr;
	size_t begin = r->w.len, at;

	if (is6 && IN6_IS_ADDR_UNSPECIFIED(&i->addr6))
		return;
	at = wm_rr_begin(&r->w, target, is6 ? WM_DNS_AAAA : WM_DNS_A, r->ttl_s);
	if (is6)
		wm_put_bytes(&r->w, &i->addr6, 16);
	else
		wm_put_bytes(&r->w, &i->addr4, 4);
	if (wm_rr_end(&r->w, begin, at))
		r->additionals++;
}

void wm_reply_srv(struct wm_reply *r)
{
	const struct wm_service *s = wm_registry_service(r->s->registry, r->ask.service);
	unsigned max = r->tcp ? WM_DNS_SRV_TCP_MAX : WM_DNS_SRV_UDP_MAX, chosen = 0;
	const struct wm_instance *list[WM_DNS_SRV_TCP_MAX];
	uint8_t target[WM_DNS_NAME_MAX + 1];
	uint64_t start;

	if (!s || !s->instances_count)
		return;
	start = wm_random_below(s->instances_count);
	for (unsigned k = 0; k < s->instances_count && chosen < max; k++) {
		const struct wm_instance *i = s->instances[(start + k) % s->instances_count];

		if (!wm_reply_takes(r, i) || !target_of(r, i, target))
			continue;
		if (!put_srv(r, i, target)) {
			r->truncated = true;
			break;
		}
		list[chosen++] = i;
	}
	r->answers = (uint16_t)chosen;
	/* what does not fit here is left out without a word: RFC 2181 9 */
	for (unsigned k = 0; k < chosen; k++)
		if (target_of(r, list[k], target))
			put_additional(r, list[k], target);
}
