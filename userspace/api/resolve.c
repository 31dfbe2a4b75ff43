/* SPDX-License-Identifier: Apache-2.0 */
/* resolve.c - GET /v1/waymark/resolve: what DNS and connect() would choose of a service now, and
 * why they would not choose the rest. */
#include "internal.h"
#include "userspace/base/random.h"
#include "userspace/metadata/shares.h"
#include "userspace/resolution/peek.h"

#include <arpa/inet.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define COUNT_DEFAULT 8	  /* chosen ones: as many as DNS answers over UDP */
#define COUNT_MAX     256 /* of an answer: some 40 KiB */
#define LEFT_MAX      256 /* left out ones that are listed; the rest is counted */

struct candidate {
	const struct wm_instance *i;
	uint64_t hash; /* the instance's, here for the order */
	unsigned weight;
	double odds;	    /* of being the first */
	const char *reason; /* why it is left out; NULL: it is not */
	double key;	    /* the least are taken */
};

/* What is asked for, and what comes of it. */
struct choice {
	struct wm_selection selection;
	const char *service, *subset, *tag; /* "": any */
	struct candidate *all;		    /* by instance */
	unsigned count, usable, chosen;
	double odds; /* of those who may be chosen together */
	bool panic;  /* that is all, as so few are up */
	const char *by;
};

bool wm_only_passing(const struct wm_api *a)
{
	return a->d.tables && wm_tables_policy(a->d.tables)->only_passing;
}

/* --- candidates ---------------------------------------------------------------------------------
 */
/* Does the kernel take it? What stands in no table is answered by userspace DNS of the registry. */
static bool is_up(const struct wm_tables *t, const struct wm_instance *i)
{
	uint32_t index;

	if (!t || !wm_tables_backends_of(t, i->hash, &index, 1))
		return wm_instance_usable(i);
	return (__atomic_load_n(&wm_tables_memory(t)->backends[index].state, __ATOMIC_RELAXED) &
		WM_STATE_MASK) == WM_STATE_UP;
}

static const char *reason_of(const struct wm_tables *t, const struct choice *x,
			     const struct candidate *c)
{
	const struct wm_instance *i = c->i;

	if (!wm_instance_has_tag(i, x->tag))
		return "has not the tag";
	if (!wm_instance_usable(i))
		return wm_lifecycle_str(wm_instance_state(i));
	if (!wm_selection_takes(&x->selection, i))
		return "has a warning, and dns.only_passing is set";
	if (!i->addr4.s_addr && IN6_IS_ADDR_UNSPECIFIED(&i->addr6))
		return "has no IP address";
	if (!c->weight)
		return "has weight 0";
	if (!is_up(t, i))
		return "is not up in the tables";
	if (i->passive)
		return "is left out: connects to it failed";
	return c->odds > 0 ? NULL : "is in a tier that nothing falls to now";
}

static int by_instance(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return x->hash < y->hash ? -1 : x->hash > y->hash;
}

/* The members of all tiers, each once, with the odds of each. @return 0, -ENOMEM. */
static int gather(struct choice *x)
{
	const struct wm_selection *s = &x->selection;
	struct wm_outcome outcome;
	unsigned n = 0, kept = 0;

	for (unsigned t = 0; t < s->count; t++)
		n += s->tiers[t].count;
	x->all = calloc(n + 1ul, sizeof(*x->all));
	if (!x->all)
		return -ENOMEM;
	wm_outcome_of(s, &outcome);
	x->panic = outcome.panic;
	n = 0;
	for (unsigned t = 0; t < s->count; t++) {
		struct wm_shares o = wm_shares_begin(s, t, &outcome);

		for (unsigned k = 0; k < s->tiers[t].count; k++) {
			const struct wm_instance *i = s->tiers[t].members[k];

			x->all[n++] = (struct candidate){.i = i,
							 .hash = i->hash,
							 .weight = wm_selection_weight(i),
							 .odds = wm_shares_next(&o, i)};
		}
	}
	qsort(x->all, n, sizeof(*x->all), by_instance);
	for (unsigned k = 0; k < n; k++) {
		if (kept && x->all[kept - 1].i == x->all[k].i)
			x->all[kept - 1].odds += x->all[k].odds;
		else
			x->all[kept++] = x->all[k];
	}
	x->count = kept;
	return 0;
}

/* --- the choice ---------------------------------------------------------------------------------
 */
static struct candidate *find(const struct choice *x, uint64_t hash)
{
	unsigned low = 0, high = x->count;

	while (low < high) {
		unsigned mid = low + (high - low) / 2;

		if (x->all[mid].hash < hash)
			low = mid + 1;
		else
			high = mid;
	}
	return low < x->count && x->all[low].hash == hash ? &x->all[low] : NULL;
}

/* As connect() does: on a copy of the set. */
static void choose_by_tables(struct choice *x, struct wm_peek *p, uint64_t key, unsigned count)
{
	struct wm_peeked next;
	struct candidate *c;

	for (unsigned n = 0; n < x->count; n++)
		if (!wm_instance_has_tag(x->all[n].i, x->tag))
			wm_peek_leave_out(p, x->all[n].i->hash);
	x->by = "tables";
	while (x->chosen < count && wm_peek_next(p, key, &next)) {
		c = find(x, next.instance);
		if (!c) /* it is being published */
			continue;
		if (!next.up)
			x->by = "when_none";
		c->reason = NULL;
		c->key = ++x->chosen;
	}
}

/* Exponential keys: the k least are a draw of k by weight, none twice (Efraimidis and Spirakis). */
static void choose_by_registry(struct choice *x, unsigned count)
{
	x->by = "registry";
	for (unsigned n = 0; n < x->count; n++) {
		struct candidate *c = &x->all[n];
		double u = ((double)(wm_random64() >> 11) + 1) / 9007199254740993.0;

		if (!c->reason)
			c->key = -log(u) / c->odds;
	}
	x->chosen = x->usable < count ? x->usable : count;
}

/* The chosen ones first, in their order. */
static int by_key(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (x->key < y->key || x->key > y->key)
		return x->key < y->key ? -1 : 1;
	return strcmp(x->i->id, y->i->id);
}

static void sift(struct candidate *heap, unsigned n, unsigned at)
{
	for (unsigned child; (child = 2 * at + 1) < n; at = child) {
		struct candidate c = heap[at];

		if (child + 1 < n && by_key(&heap[child], &heap[child + 1]) < 0)
			child++;
		if (by_key(&c, &heap[child]) >= 0)
			return;
		heap[at] = heap[child];
		heap[child] = c;
	}
}

/* Those that are shown come first, in order; a set of many thousands is not sorted for them. */
static void order(struct candidate *all, unsigned n)
{
	unsigned shown = n < COUNT_MAX + LEFT_MAX ? n : COUNT_MAX + LEFT_MAX;

	for (unsigned i = shown / 2; i > 0; i--)
		sift(all, shown, i - 1);
	for (unsigned i = shown; i < n; i++) {
		struct candidate c = all[i];

		if (by_key(&c, &all[0]) >= 0)
			continue;
		all[i] = all[0];
		all[0] = c;
		sift(all, shown, 0);
	}
	if (shown)
		qsort(all, shown, sizeof(*all), by_key);
}

static void choose(struct wm_tables *t, struct choice *x, uint64_t key, unsigned count)
{
	int64_t set = t ? wm_tables_label_set(t, x->service, x->subset) : -ENOENT;
	struct wm_peek *p = NULL;

	for (unsigned n = 0; n < x->count; n++) {
		x->all[n].key = HUGE_VAL;
		x->all[n].reason = reason_of(t, x, &x->all[n]);
		x->usable += !x->all[n].reason;
		if (!x->all[n].reason || (x->panic && wm_instance_has_tag(x->all[n].i, x->tag)))
			x->odds += x->all[n].odds;
	}
	if (set >= 0 && !wm_peek_new(t, (uint32_t)set, &p))
		choose_by_tables(x, p, key, count);
	else
		choose_by_registry(x, count);
	wm_peek_free(p);
	order(x->all, x->count);
	for (unsigned n = x->chosen; n < x->count; n++)
		if (!x->all[n].reason)
			x->all[n].reason = "was not drawn";
}

/* --- requests -----------------------------------------------------------------------------------
 */
static void put_candidate(struct wm_json *j, const struct candidate *c, double total)
{
	const struct wm_instance *i = c->i;

	wm_json_open(j, '{');
	wm_json_ks(j, "id", i->id);
	wm_json_ks(j, "node", i->node->name);
	wm_json_ks(j, "service", i->name);
	wm_encode_address(j, "address", AF_INET, &i->addr4);
	wm_encode_address(j, "address6", AF_INET6, &i->addr6);
	wm_encode_host(j, i);
	wm_json_ku(j, "port", i->port);
	wm_json_ku(j, "weight", c->weight);
	wm_json_ks(j, "status", wm_status_str(i->status));
	wm_json_ks(j, "state", wm_lifecycle_str(wm_instance_state(i)));
	if (c->reason) {
		wm_json_ks(j, "reason", c->reason);
	} else {
		wm_json_key(j, "share");
		wm_json_double(j, total > 0 ? c->odds / total : 0);
	}
	wm_json_close(j, '}');
}

static bool read_count(struct wm_call *c, unsigned *ret)
{
	const char *text = wm_http_query(c->req, "count");
	char *end = NULL;
	unsigned long n = text && *text ? strtoul(text, &end, 10) : COUNT_DEFAULT;

	if (text && *text && (*end || *text == '-' || !n || n > COUNT_MAX)) {
		wm_answer_text(c, 400, "count: a number from 1 to %d", COUNT_MAX);
		return false;
	}
	*ret = (unsigned)n;
	return true;
}

static bool read_key(struct wm_call *c, uint64_t *ret)
{
	const char *text = wm_http_query(c->req, "client");

	*ret = text ? strtoull(text, NULL, 10) : wm_random64();
	if (!text || (*text && strspn(text, "0123456789") == strlen(text)))
		return true;
	wm_answer_text(c, 400, "client: a number is wanted, what hash_on tells it by");
	return false;
}

/* A subset by its name, or what is asked for as a tag where the policy has a subset so named.
 * @return false: answered. */
static bool read_part(struct wm_call *c, struct choice *x)
{
	const char *subset = wm_http_query(c->req, "subset"), *tag = wm_http_query(c->req, "tag");
	const struct wm_policy *p = wm_registry_policy(c->api->d.registry, x->service);

	x->subset = subset ? subset : "";
	x->tag = tag ? tag : "";
	if (p && *x->tag && !*x->subset && wm_policy_subset(p, x->tag)) {
		x->subset = x->tag;
		x->tag = "";
	}
	if (!*x->subset || (p && wm_policy_subset(p, x->subset)))
		return true;
	wm_answer_text(c, 404, "service \"%.64s\" has no subset \"%.64s\"", x->service, x->subset);
	return false;
}

static void put_choice(struct wm_json *j, const struct choice *x)
{
	unsigned left = x->count - x->chosen;

	wm_json_ku(j, "usable", x->usable);
	wm_json_kopen(j, "chosen", '[');
	for (unsigned n = 0; n < x->chosen; n++)
		put_candidate(j, &x->all[n], x->odds);
	wm_json_close(j, ']');
	wm_json_kopen(j, "left_out", '[');
	for (unsigned n = 0; n < left && n < LEFT_MAX; n++)
		put_candidate(j, &x->all[x->chosen + n], x->odds);
	wm_json_close(j, ']');
	wm_json_ku(j, "left_out_count", left);
}

static void answer_choice(struct wm_call *c, const struct wm_service *s, const struct choice *x,
			  uint64_t index)
{
	struct in6_addr vip6 = s->vip6;
	struct in_addr vip4 = s->vip4;
	struct wm_json j;

	if (*x->subset)
		(void)wm_registry_label(c->api->d.registry, s->name, x->subset, &vip4, &vip6);
	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_ks(&j, "service", s->shown);
	wm_json_ks(&j, "subset", x->subset);
	wm_json_ks(&j, "tag", x->tag);
	wm_json_ku(&j, "index", index);
	wm_encode_address(&j, "vip4", AF_INET, &vip4);
	wm_encode_address(&j, "vip6", AF_INET6, &vip6);
	wm_json_ks(&j, "by", x->by);
	put_choice(&j, x);
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, index);
}

void wm_native_choose(struct wm_call *c)
{
	const char *name = wm_http_query(c->req, "service");
	struct choice x = {.by = ""};
	const struct wm_service *s;
	uint64_t index, key;
	unsigned count;

	if (!name || !*name) {
		wm_answer_text(c, 400, "Missing value for service");
		return;
	}
	if (!read_count(c, &count) || !read_key(c, &key) ||
	    wm_api_wait(c, WM_SCOPE_SERVICE, name, &index))
		return;
	s = wm_registry_service(c->api->d.registry, name);
	if (!s) {
		wm_answer_text(c, 404, "unknown service: %.64s", name);
		return;
	}
	x.service = s->name;
	if (!read_part(c, &x))
		return;
	if (wm_selection_make(c->api->d.registry, s->name, x.subset, wm_only_passing(c->api),
			      &x.selection)) {
		wm_answer_text(c, 503, "Out of memory");
		return;
	}
	if (gather(&x)) {
		wm_answer_text(c, 503, "Out of memory");
	} else {
		choose(c->api->d.tables, &x, key, count);
		answer_choice(c, s, &x, index);
	}
	wm_selection_done(&x.selection);
	free(x.all);
}

static void put_text_or_null(struct wm_json *j, const char *key, const char *text)
{
	wm_json_key(j, key);
	if (text)
		wm_json_string(j, text);
	else
		wm_json_null(j);
}

void wm_native_address(struct wm_call *c)
{
	const char *text = c->params[0];
	struct wm_dns_owner o = {0};
	const struct wm_service *s;
	struct in6_addr a = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
	struct wm_json j;
	int r;

	if (inet_pton(AF_INET, text, &a.s6_addr[12]) != 1 && inet_pton(AF_INET6, text, &a) != 1) {
		wm_answer_text(c, 400, "an IPv4 or IPv6 address is wanted, not \"%.64s\"", text);
		return;
	}
	r = c->api->d.dns ? wm_dns_owner(c->api->d.dns, a.s6_addr, &o) : -EAGAIN;
	if (r) {
		wm_answer_text(c, 503, "the index of addresses is still being built");
		return;
	}
	if (!*o.name) {
		wm_answer_text(c, 404, "unknown address: %s", text);
		return;
	}
	s = o.service ? o.service : o.virtual_of;
	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	if (IN6_IS_ADDR_V4MAPPED(&a))
		wm_encode_address(&j, "address", AF_INET, &a.s6_addr[12]);
	else
		wm_encode_address(&j, "address", AF_INET6, &a);
	wm_json_ks(&j, "name", o.name);
	put_text_or_null(&j, "node", o.node ? o.node->name : NULL);
	put_text_or_null(&j, "service", s ? s->shown : NULL);
	wm_json_kb(&j, "virtual", o.virtual_of != NULL);
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, wm_registry_index(c->api->d.registry));
}
