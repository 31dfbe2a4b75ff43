/* SPDX-License-Identifier: Apache-2.0 */
/* records.c - records of services: addresses from the tables by the kernel's own code, SRV and
 * tagged ones from the registry. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/random.h"
#include "userspace/metadata/selection.h"
#include "userspace/model/scope.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TORN_TRIES                                                                                 \
	4 /* a set that is republished under the reader; userspace is the only writer              \
	   */

/* Labels with dots between, as nodes' names and tags may have. @return 0: it does not fit. */
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

/* <service>.<kind>, and of one with a scope .<scope>.ns behind it. @return as above. */
static size_t put_service(uint8_t *out, size_t at, const char *service, const char *kind)
{
	size_t scope = wm_scope_len(service);
	const char *bare = wm_scope_bare(service);

	at = wm_wire_label(out, at, bare, strlen(bare));
	at = at ? wm_wire_label(out, at, kind, strlen(kind)) : 0;
	if (!scope || !at)
		return at;
	at = wm_wire_label(out, at, service, scope);
	return at ? wm_wire_label(out, at, "ns", 2) : 0;
}

/* [<label>.]<service>.<kind>.<domain>. @return octets, 0: it does not fit. */
static size_t name_of(const struct wm_reply *r, const char *label, const char *service,
		      const char *kind, uint8_t out[WM_DNS_NAME_MAX + 1])
{
	size_t domain_len, at = *label ? put_labels(out, label) : 0;
	const uint8_t *domain = wm_tables_domain(r->s->tables, r->ask.alt, &domain_len);

	if (*label && !at)
		return 0;
	at = put_service(out, at, service, kind);
	if (!at || at + domain_len > WM_DNS_NAME_MAX)
		return 0;
	memcpy(out + at, domain, domain_len);
	return at + domain_len;
}

bool wm_virtual_in_domain(const struct wm_reply *r, const char *label, const char *service,
			  uint8_t out[WM_DNS_NAME_MAX + 1])
{
	return name_of(r, label, service, "virtual", out);
}

/* The tables' entry of it, whatever form was asked in. */
static const struct wm_name *entry_of(const struct wm_reply *r)
{
	const char *kind = r->ask.kind == WM_ASK_VIRTUAL ? "virtual" : "service";
	uint8_t wire[WM_NAME_BUF] = {0};
	size_t len = name_of(r, r->ask.tag, r->ask.service, kind, wire);

	return len ? wm_tables_name(r->s->tables, wire, len) : NULL;
}

/* What the client's size and the setting leave of @p type. */
static struct wm_dns_want want_of(const struct wm_reply *r, uint16_t type)
{
	size_t fits = (r->w.cap - r->w.len) / (type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA);

	return (struct wm_dns_want){
		.type = type,
		.ttl_s = r->ttl_s,
		.fits = (uint32_t)(fits < WM_DNS_ANSWERS_TCP ? fits : WM_DNS_ANSWERS_TCP),
		.limit = r->s->c.a_record_limit,
		.random = wm_random64(),
		.now_ns = wm_clock_ns()};
}

/* The first @p n of the scratch records, @p len octets. */
static unsigned put_records(struct wm_reply *r, unsigned n, size_t len, bool more)
{
	wm_put_bytes(&r->w, r->s->records, len);
	r->answers = (uint16_t)(r->answers + n);
	r->truncated |= more;
	return n;
}

unsigned wm_reply_addresses(struct wm_reply *r, uint16_t type)
{
	struct wm_view v = wm_tables_view(r->s->tables);
	const struct wm_name *name = entry_of(r);
	struct wm_dns_want want;
	uint32_t len = 0;
	bool more = false;
	int n = -1;

	if (!name)
		return wm_reply_registry(r, type);
	for (int i = 0; i < TORN_TRIES && n < 0; i++) {
		want = want_of(r, type);
		n = wm_dns_addresses(&v, name, &want, r->s->records, &len, &more);
	}
	if (n < 0)
		r->rcode = WM_DNS_SERVFAIL; /* the set does not hold together: no word on what is */
	return n <= 0 ? 0 : put_records(r, (unsigned)n, len, more);
}

/* --- from the registry ------------------------------------------------------------------------ */
bool wm_reply_up(const struct wm_reply *r, const struct wm_instance *i)
{
	return wm_instance_usable(i) && !i->passive &&
	       (i->status != WM_WARNING || !wm_tables_policy(r->s->tables)->only_passing);
}

bool wm_reply_takes(const struct wm_reply *r, const struct wm_instance *i)
{
	return wm_reply_up(r, i) && wm_instance_has_tag(i, r->ask.tag);
}

/* --- who may be named ---------------------------------------------------------------------------
 */
int wm_reply_room(struct wm_dns_server *s, size_t n)
{
	const struct wm_instance **list = s->chosen;

	if (n <= s->chosen_cap)
		return 0;
	list = realloc(list, n * sizeof(struct wm_instance *));
	if (!list)
		return -ENOMEM;
	s->chosen = list;
	s->chosen_cap = n;
	return 0;
}

/* Does a policy say who may be: the service's, of all of it or of a subset? A tag is the
 * registry's.
 */
static bool by_policy(const struct wm_reply *r)
{
	const struct wm_policy *p = wm_registry_policy(r->s->registry, r->ask.service);

	return p && (!*r->ask.tag || wm_policy_subset(p, r->ask.tag));
}

static int by_place(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t) * (const struct wm_instance *const *)a,
		  y = (uintptr_t) * (const struct wm_instance *const *)b;

	return x < y ? -1 : x > y;
}

/* Each once: an instance may be in several tiers. @return how many are left. */
static int64_t each_once(const struct wm_instance **list, int64_t n)
{
	int64_t kept = 0;

	qsort(list, (size_t)n, sizeof(struct wm_instance *), by_place);
	for (int64_t k = 0; k < n; k++)
		if (!kept || list[kept - 1] != list[k])
			list[kept++] = list[k];
	return kept;
}

/* Who is left out by this node is not named, from the moment on that programs know, but where
 * connect() asks them all the same. @return how many stay. */
static int64_t drop_ejected(struct wm_reply *r, int64_t n)
{
	const struct wm_instance **list = r->s->chosen;
	uint64_t now_ns;
	int64_t kept = 0;

	if (!wm_tables_ejected(r->s->tables, r->ask.service, "") &&
	    (!*r->ask.tag || !wm_tables_ejected(r->s->tables, r->ask.service, r->ask.tag)))
		return n;
	now_ns = wm_clock_ns();
	for (int64_t k = 0; k < n; k++)
		if (!wm_tables_is_ejected(r->s->tables, list[k]->hash, list[k]->port, now_ns))
			list[kept++] = list[k];
	return kept || !wm_tables_asks_ejected(r->s->tables, r->ask.service, r->ask.tag) ? kept : n;
}

/* Those of the tiers that connections are drawn to now. */
static int64_t selected(struct wm_reply *r)
{
	double share[WM_SELECTION_TIERS_MAX];
	struct wm_selection c;
	int64_t n = 0;

	if (wm_selection_make(r->s->registry, r->ask.service, r->ask.tag,
			      wm_tables_policy(r->s->tables)->only_passing, &c))
		return -1;
	wm_selection_shares(&c, share);
	for (unsigned t = 0; t < c.count && n >= 0; t++) {
		if (share[t] <= 0)
			continue;
		if (wm_reply_room(r->s, (size_t)n + c.tiers[t].count))
			n = -1;
		for (unsigned k = 0; n >= 0 && k < c.tiers[t].count; k++)
			if (wm_selection_takes(&c, c.tiers[t].members[k]))
				r->s->chosen[n++] = c.tiers[t].members[k];
	}
	if (n > 0 && c.count > 1)
		n = each_once(r->s->chosen, n);
	wm_selection_done(&c);
	return n;
}

static void tell_tag(const struct wm_reply *r)
{
	const struct wm_dns_tags *t = &r->s->tags;
	uint8_t client[WM_DNS_CLIENT_LEN] = {0};

	if (r->s->from)
		wm_dns_client_of((const struct sockaddr_storage *)r->s->from, client);
	t->asked(t->arg, r->ask.service, r->ask.tag, client);
}

int64_t wm_reply_candidates(struct wm_reply *r, const struct wm_service *s)
{
	int64_t n = 0;

	if (by_policy(r)) {
		n = selected(r);
	} else {
		if (wm_reply_room(r->s, s->instances_count))
			return -1;
		for (unsigned k = 0; k < s->instances_count; k++)
			if (wm_reply_takes(r, s->instances[k]))
				r->s->chosen[n++] = s->instances[k];
		if (n && *r->ask.tag && r->s->tags.asked)
			tell_tag(r);
	}
	return n > 0 ? drop_ejected(r, n) : n;
}

/* Some instance of the asked service (and tag) is not critical. */
static bool any_usable(const struct wm_reply *r)
{
	const struct wm_service *s = wm_registry_service(r->s->registry, r->ask.service);

	for (unsigned k = 0; s && k < s->instances_count; k++)
		if (wm_reply_takes(r, s->instances[k]))
			return true;
	return false;
}

bool wm_reply_up_in_tables(const struct wm_reply *r)
{
	struct wm_view v = wm_tables_view(r->s->tables);
	const struct wm_name *name = entry_of(r);

	return name && wm_ups(&v, name->set, WM_FAMILY_4 | WM_FAMILY_6);
}

/* Addresses of a subset, or of a tag, which has them from when they are asked for. */
static bool label_of(const struct wm_reply *r, const struct wm_service *s, struct in_addr *ret4,
		     struct in6_addr *ret6)
{
	const struct wm_dns_tags *t = &r->s->tags;

	return wm_registry_label(r->s->registry, s->name, r->ask.tag, ret4, ret6) ||
	       (t->address && t->address(t->arg, s->name, r->ask.tag) &&
		wm_registry_label(r->s->registry, s->name, r->ask.tag, ret4, ret6));
}

bool wm_reply_exists(struct wm_reply *r)
{
	const struct wm_service *s = wm_registry_service(r->s->registry, r->ask.service);
	struct in6_addr v6;
	struct in_addr v4;

	if (r->ask.kind == WM_ASK_VIRTUAL)
		return s && (!*r->ask.tag || label_of(r, s, &v4, &v6));
	if (!by_policy(r))
		return any_usable(r);
	return wm_reply_up_in_tables(r) || (s && wm_reply_candidates(r, s) > 0);
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
		if (wm_reply_up(r, s->instances[k]) && has_tag_above(s->instances[k], r->ask.tag))
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

/* The virtual address of what is not in the tables: of families that its endpoints have. */
static unsigned registry_virtual(struct wm_reply *r, const struct wm_service *s, uint16_t type)
{
	struct in6_addr v6 = s->vip6;
	struct in_addr v4 = s->vip4;

	if (*r->ask.tag && !label_of(r, s, &v4, &v6))
		return 0;
	for (unsigned k = 0; k < s->instances_count; k++) {
		if (!has_address(s->instances[k], type))
			continue;
		return type == WM_DNS_A ? wm_reply_address(r, false, (const uint8_t *)&v4)
					: wm_reply_address(r, true, v6.s6_addr);
	}
	return 0;
}

static uint32_t weight_of(const struct wm_instance *i)
{
	return i->status == WM_WARNING ? i->weight_warning : i->weight_passing;
}

/* Gather the addresses that are asked for, in the order that the tables' are put in. An instance
 * without weight takes no connections, and is in no slot either. */
static void gather(struct wm_reply *r, const struct wm_instance *const *list, unsigned count,
		   uint16_t type, struct wm_dns_walk *w)
{
	size_t len = type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA;
	uint64_t key = wm_random64();
	uint16_t seen[WM_DNS_SEEN] = {0};

	for (unsigned k = 0; k < count && w->records < WM_DNS_GATHER_MAX; k++) {
		const struct wm_instance *i = list[k];
		__be32 addr[4] = {0, 0, WM_V4_MAPPED_BE, i->addr4.s_addr};

		w->weight = weight_of(i);
		if (!w->weight || !has_address(i, type))
			continue;
		if (type == WM_DNS_AAAA)
			memcpy(addr, &i->addr6, sizeof(addr));
		wm_dns_put_address(r->s->records + w->records * len, type, w->ttl_s, addr);
		wm_dns_walk_keep(w, wm_dns_twin_hashed(w, r->s->records, type, seen, key));
	}
	if (!r->ordered)
		wm_dns_shuffle(w, type, r->s->records);
}

unsigned wm_reply_listed(struct wm_reply *r, const struct wm_instance *const *list, unsigned count,
			 uint16_t type)
{
	struct wm_dns_want want = want_of(r, type);
	struct wm_dns_walk w = {.ttl_s = want.ttl_s, .order.random = want.random};
	bool more;
	uint32_t n;

	gather(r, list, count, type, &w);
	n = wm_dns_cut(&want, w.records, &more);
	r->turns = r->answers ? 0 : type; /* an alias leads here */
	return put_records(r, n, n * (type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA), more);
}

unsigned wm_reply_registry(struct wm_reply *r, uint16_t type)
{
	const struct wm_service *s = wm_registry_service(r->s->registry, r->ask.service);
	int64_t n;

	if (!s)
		return 0;
	if (r->ask.kind == WM_ASK_VIRTUAL)
		return registry_virtual(r, s, type);
	n = wm_reply_candidates(r, s);
	if (n < 0)
		r->rcode = WM_DNS_SERVFAIL;
	return n > 0 ? wm_reply_listed(r, r->s->chosen, (unsigned)n, type) : 0;
}

/* --- SRV -------------------------------------------------------------------------------------- */
bool wm_name_in_domain(const struct wm_reply *r, const char *name, const char *kind, bool dc,
		       uint8_t out[WM_DNS_NAME_MAX + 1])
{
	size_t at, domain_len;
	const uint8_t *domain = wm_tables_domain(r->s->tables, r->ask.alt, &domain_len);

	/* a service's name is one label, whatever is in it */
	if (strcmp(kind, "node") == 0) {
		at = put_labels(out, name);
		at = at ? wm_wire_label(out, at, kind, strlen(kind)) : 0;
	} else {
		at = put_service(out, 0, name, kind);
	}
	if (dc)
		at = at ? wm_wire_label(out, at, r->s->datacenter, strlen(r->s->datacenter)) : 0;
	if (!at || at + domain_len > WM_DNS_NAME_MAX)
		return false;
	memcpy(out + at, domain, domain_len);
	return true;
}

struct target {
	size_t digits; /* of an address that the name begins with; 0: it is another name */
	uint8_t wire[WM_DNS_NAME_MAX + 1];
};

/* <hex>.addr.<dc>.<domain>. Of the same family as the target before only the digits differ. */
static bool address_target(const struct wm_reply *r, const uint8_t *addr, size_t len,
			   struct target *t)
{
	char hex[33] = "";

	for (size_t k = 0; k < 2 * len; k++)
		hex[k] = "0123456789abcdef"[k % 2 ? addr[k / 2] & 15 : addr[k / 2] >> 4];
	if (t->digits == 2 * len) {
		memcpy(t->wire + 1, hex, t->digits);
		return true;
	}
	t->digits = wm_name_in_domain(r, hex, "addr", true, t->wire) ? 2 * len : 0;
	return t->digits;
}

/* Where an SRV record leads: <node>.node.<dc>.<domain>, that of its address if it has one of its
 * own, or a host name itself. @p t is the record's before. @return false: the name does not fit. */
static bool target_of(const struct wm_reply *r, const struct wm_instance *i, struct target *t)
{
	if (wm_host_of(i)) {
		t->digits = 0;
		return wm_host_wire(wm_host_of(i), t->wire);
	}
	if (!*i->address) {
		t->digits = 0;
		return wm_name_in_domain(r, i->node->name, "node", true, t->wire);
	}
	return i->addr4.s_addr ? address_target(r, (const uint8_t *)&i->addr4, 4, t)
			       : address_target(r, i->addr6.s6_addr, 16, t);
}

/* @return where its target was written, 0: it does not fit. */
static size_t put_srv(struct wm_reply *r, const struct wm_instance *i, const uint8_t *target)
{
	uint16_t weight = (uint16_t)weight_of(i);
	const uint8_t head[] = {0,
				1,
				(uint8_t)(weight >> 8),
				(uint8_t)weight,
				(uint8_t)(i->port >> 8),
				(uint8_t)i->port};
	size_t begin = r->w.len, to;
	size_t at = wm_rr_begin(&r->w, r->question, WM_DNS_SRV, r->ttl_s);

	wm_put_bytes(&r->w, head, sizeof(head));
	to = r->w.len;
	wm_put_name_plain(&r->w, target);
	return wm_rr_end(&r->w, begin, at) ? to : 0;
}

/* @p to: where its target was written. */
static void put_additional(struct wm_reply *r, const struct wm_instance *i, size_t to)
{
	bool is6 = !i->addr4.s_addr;
	size_t begin = r->w.len, at;

	if (is6 && IN6_IS_ADDR_UNSPECIFIED(&i->addr6))
		return;
	at = wm_rr_begin_at(&r->w, to, is6 ? WM_DNS_AAAA : WM_DNS_A, r->ttl_s);
	if (is6)
		wm_put_bytes(&r->w, &i->addr6, 16);
	else
		wm_put_bytes(&r->w, &i->addr4, 4);
	if (wm_rr_end(&r->w, begin, at))
		r->additionals++;
}

/* Put the first @p n of the candidates in order. */
static void put_in_order(struct wm_reply *r, int64_t n)
{
	struct wm_order o = {.random = wm_random64()};
	const struct wm_instance **list = r->s->chosen, *last;
	uint32_t to;

	for (uint32_t i = 0; i < n; i++)
		wm_order_show(&o, i, weight_of(list[i]));
	for (uint32_t i = 0; i < n; i++) {
		to = wm_order_swap(&o, i);
		last = list[i];
		list[i] = list[to];
		list[to] = last;
	}
}

void wm_reply_srv(struct wm_reply *r)
{
	const struct wm_service *s = wm_registry_service(r->s->registry, r->ask.service);
	int64_t n = s ? wm_reply_candidates(r, s) : 0;

	put_in_order(r, n);
	wm_reply_srv_listed(r, r->s->chosen, n);
}

void wm_reply_srv_listed(struct wm_reply *r, const struct wm_instance **list, int64_t n)
{
	struct target target = {.digits = 0};
	uint16_t *to = r->s->targets;
	unsigned put = 0;

	if (n < 0)
		r->rcode = WM_DNS_SERVFAIL;
	for (int64_t k = 0; k < n && put < WM_DNS_SRV_MAX && !r->truncated; k++) {
		if (!target_of(r, list[k], &target))
			continue; /* its name does not fit: a host name may be too long */
		to[put] = (uint16_t)put_srv(r, list[k], target.wire);
		if (to[put])
			list[put++] = list[k];
		else
			r->truncated = true;
	}
	r->answers = (uint16_t)(r->answers + put); /* an alias may lead here */
	/* what does not fit here is left out without a word: RFC 2181 9 */
	for (unsigned k = 0; k < put; k++)
		put_additional(r, list[k], to[k]);
}
