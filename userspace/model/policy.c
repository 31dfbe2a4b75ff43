/* SPDX-License-Identifier: Apache-2.0 */
/* policy.c - see policy.h: the table of fields, and what goes by it alone. The rules between fields
 * are in policy_rules.c. */
#include "policy.h"

#include "userspace/base/macros.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *const selects[] = {"all", "nearest", "failover"};
static const char *const balances[] = {"weighted",  "random", "round_robin", "least_connections",
				       "peak_ewma", "maglev", "direct",	     "custom"};
static const char *const hashes[] = {"socket", "netns", "cgroup", "uid"};
static const char *const nones[] = {"refuse", "draining", "any", "pass"};
static const char *const affinities[] = {"none", "socket", "netns", "cgroup", "uid"};
static const char *const views[] = {"service-resolver", "service-splitter", "service-defaults"};
_Static_assert(WM_ARRAY_LEN(selects) == WM_SELECT_COUNT, "each has a name");
_Static_assert(WM_ARRAY_LEN(balances) == WM_BALANCE_COUNT, "each has a name");
_Static_assert(WM_ARRAY_LEN(hashes) == WM_HASH_ON_COUNT, "each has a name");
_Static_assert(WM_ARRAY_LEN(nones) == WM_NONE_COUNT, "each has a name");
_Static_assert(WM_ARRAY_LEN(affinities) == 1 + WM_HASH_ON_COUNT, "each has a name");

#define WEEK_S	      (7u * 24 * 3600)
#define AT(member)    offsetof(struct wm_policy, member)
#define IN(s, member) offsetof(struct wm_policy_##s, member)
#define ENUM(name, at, names, help)                                                                \
	{                                                                                          \
		name, WM_POLICY_ENUM, at, 0, WM_ARRAY_LEN(names) - 1, 0, names, help               \
	}
#define FLAG(name, at, help)                                                                       \
	{                                                                                          \
		name, WM_POLICY_FLAG, at, 0, 1, 0, NULL, help                                      \
	}
#define TEXT(name, at, max, help)                                                                  \
	{                                                                                          \
		name, WM_POLICY_TEXT, at, 0, max, 0, NULL, help                                    \
	}

/* New fields are appended within a section, and sections at the end: records name them by place. */
static const struct wm_policy_field top[] = {
	ENUM("select", AT(select), selects,
	     "Which instances may be chosen: all; the nearest, with spill-over; or failover to the "
	     "targets below"),
	ENUM("balance", AT(balance), balances, "How one of them is chosen"),
	ENUM("hash_on", AT(hash_on), hashes, "What identifies a client to maglev"),
	TEXT("custom", AT(custom), WM_POLICY_LABEL_MAX, "Name of the function, for balance custom"),
	ENUM("when_none", AT(when_none), nones, "What a connection gets if no instance is usable"),
	{"panic_threshold", WM_POLICY_NUMBER, AT(panic_threshold), 0, 100, 0, NULL,
	 "If fewer than this percent are up, all are tried, as the checks may be wrong; 0: never"},
	{"drain_s", WM_POLICY_NUMBER, AT(drain_s), 0, WEEK_S, 0, NULL,
	 "Deadline in seconds of drains that name none; 0: 30"},
	FLAG("close_on_down", AT(close_on_down),
	     "Close TCP connections to an instance that went down"),
	TEXT("default_subset", AT(default_subset), WM_POLICY_LABEL_MAX,
	     "Subset that the service's own name and address lead to; empty: all instances"),
	TEXT("protocol", AT(protocol), 32,
	     "Protocol, for Consul's service-defaults; stored and shown only"),
};
static const struct wm_policy_field nearest[] = {
	TEXT("region", AT(nearest.region), WM_LOCALITY_MAX,
	     "Nearest to this region instead of the node's"),
	TEXT("zone", AT(nearest.zone), WM_LOCALITY_MAX,
	     "Nearest to this zone instead of the node's"),
	{"threshold", WM_POLICY_NUMBER, AT(nearest.threshold), 0, 100, 0, NULL,
	 "A tier with less than this percent of its weight up is left, if another can take over; "
	 "also for select failover"},
	{"overprovisioning", WM_POLICY_RATIO, AT(nearest.overprovisioning), 100, 10000, 140, NULL,
	 "A tier keeps all connections while 1/this of its weight is up, then the excess spills "
	 "over"},
};
static const struct wm_policy_field affinity[] = {
	ENUM("key", AT(affinity.key), affinities, "What identifies a client"),
	{"timeout", WM_POLICY_SECONDS, AT(affinity.timeout), 1, 65535, 10800, NULL,
	 "How long after its last connection a client keeps its backend"},
};
static const struct wm_policy_field outlier[] = {
	{"failures", WM_POLICY_NUMBER, AT(outlier.failures), 0, 255, 5, NULL,
	 "Failed connections in a row of any kind (refused, no answer, no route) until a backend "
	 "is left out; 0: never"},
	{"refused", WM_POLICY_NUMBER, AT(outlier.refused), 0, 255, 1, NULL,
	 "Refused connections in a row until a backend is left out; 0: never"},
	{"base", WM_POLICY_SECONDS, AT(outlier.base), 1, 65535, 10, NULL,
	 "How long it is left out the first time; twice as long each further time within ten "
	 "minutes"},
	{"longest", WM_POLICY_SECONDS, AT(outlier.longest), 1, 65535, 300, NULL,
	 "How long it is left out at most"},
	{"most_percent", WM_POLICY_NUMBER, AT(outlier.most_percent), 0, 100, 50, NULL,
	 "Percent of the backends that may be left out at once"},
	{"least_hosts", WM_POLICY_NUMBER, AT(outlier.least_hosts), 0, 255, 2, NULL,
	 "In a service with fewer backends none is left out"},
	{"listener_notice", WM_POLICY_FLAG, AT(outlier.listener_notice), 0, 1, 1, NULL,
	 "An instance is down at once when the last socket that listens for it closes; its own "
	 "metadata listener_notice overrides this"},
};
static const struct wm_policy_field redirect[] = {
	TEXT("service", AT(redirect.service), WM_SERVICE_NAME_MAX,
	     "All connections go to this service"),
	TEXT("subset", AT(redirect.subset), WM_POLICY_LABEL_MAX, "To this subset of it"),
	TEXT("region", AT(redirect.region), WM_LOCALITY_MAX, "To its instances in this region"),
};
static const struct wm_policy_field subsets[] = {
	TEXT("name", IN(subset, name), WM_POLICY_LABEL_MAX, "Name of the subset, one label in DNS"),
	TEXT("filter", IN(subset, filter), WM_POLICY_FILTER_MAX,
	     "Filter in the language of /v1/health/service: Service.Meta.version == \"2\""),
	FLAG("only_passing", IN(subset, only_passing), "Leave out instances with a warning"),
};
static const struct wm_policy_field splits[] = {
	{"percent", WM_POLICY_PERCENT, IN(split, percent), 0, WM_POLICY_WHOLE, 0, NULL,
	 "Percent of the connections; all together 100"},
	TEXT("service", IN(split, service), WM_SERVICE_NAME_MAX,
	     "Another service; empty: this one"),
	TEXT("subset", IN(split, subset), WM_POLICY_LABEL_MAX, "A subset of that service"),
};
static const struct wm_policy_field failover[] = {
	TEXT("of", IN(target, of), WM_POLICY_LABEL_MAX,
	     "Target for this subset only; * or empty: for any"),
	TEXT("service", IN(target, service), WM_SERVICE_NAME_MAX,
	     "Another service; empty: this one"),
	TEXT("subset", IN(target, subset), WM_POLICY_LABEL_MAX, "A subset of that service"),
	TEXT("region", IN(target, region), WM_LOCALITY_MAX, "Its instances in this region"),
};
static const struct wm_policy_field ports[] = {
	{"port", WM_POLICY_NUMBER, IN(port, port), 1, 65535, 0, NULL,
	 "Port of the virtual address"},
	TEXT("endpoint", IN(port, endpoint), WM_META_KEY_MAX,
	     "Name of the endpoint of an instance that it leads to"),
};
static const struct wm_policy_field entries[] = {
	FLAG("resolver", AT(resolver), "There is a service-resolver"),
	FLAG("defaults", AT(defaults), "There are service-defaults"),
};
static const struct wm_policy_field meta[] = {
	ENUM("view", IN(meta, view), views, "Whose"),
	TEXT("key", IN(meta, key), WM_META_KEY_MAX, ""),
	TEXT("value", IN(meta, value), WM_META_VALUE_MAX, ""),
};

static const char *const terms_of[] = {"tag", "node_meta", "service_meta", "ignore_check"};
static const struct wm_policy_field query[] = {
	TEXT("id", AT(query.id), 36, "UUID"),
	TEXT("name", AT(query.name), WM_SERVICE_NAME_MAX, "Name by which it is executed"),
	TEXT("service", AT(query.service), WM_SERVICE_NAME_MAX,
	     "Service whose instances it selects"),
	TEXT("near", AT(query.near), WM_NODE_NAME_MAX, "Order by distance from this node"),
	TEXT("ttl", AT(query.ttl), 32, "TTL of its records in DNS"),
	FLAG("prefix", AT(query.prefix),
	     "Template: it answers for all names that begin with its own"),
	FLAG("remove_empty_tags", AT(query.remove_empty_tags),
	     "Template: drop tags that are empty after expansion"),
	FLAG("only_passing", AT(query.only_passing), "Leave out instances with a warning"),
	FLAG("connect", AT(query.connect), "Select proxies of the service"),
};
static const struct wm_policy_field terms[] = {
	ENUM("what", IN(term, what), terms_of, ""),
	TEXT("key", IN(term, key), WM_TAG_MAX, ""),
	TEXT("value", IN(term, value), WM_META_VALUE_MAX, ""),
};

#define MEMBERS(name, form, f, hide)                                                               \
	{                                                                                          \
		name, form, f, WM_ARRAY_LEN(f), 0, 0, 0, 0, hide                                   \
	}
#define ELEMENTS(name, form, f, type, list, max, hide)                                             \
	{                                                                                          \
		name, form, f, WM_ARRAY_LEN(f), AT(list), AT(list##_count),                        \
			sizeof(struct wm_policy_##type), max, hide                                 \
	}
const struct wm_policy_section wm_policy_sections[] = {
	MEMBERS("", WM_POLICY_TOP, top, false),
	MEMBERS("nearest", WM_POLICY_OBJECT, nearest, false),
	MEMBERS("affinity", WM_POLICY_OBJECT, affinity, false),
	MEMBERS("outlier", WM_POLICY_OBJECT, outlier, false),
	MEMBERS("redirect", WM_POLICY_OBJECT, redirect, false),
	ELEMENTS("subsets", WM_POLICY_MAP, subsets, subset, subsets, WM_POLICY_SUBSETS_MAX, false),
	ELEMENTS("split", WM_POLICY_LIST, splits, split, splits, WM_POLICY_SPLITS_MAX, false),
	ELEMENTS("failover", WM_POLICY_LIST, failover, target, failover, WM_POLICY_FAILOVER_MAX,
		 false),
	ELEMENTS("ports", WM_POLICY_MAP, ports, port, ports, WM_POLICY_PORTS_MAX, false),
	MEMBERS("entries", WM_POLICY_OBJECT, entries, true),
	ELEMENTS("meta", WM_POLICY_LIST, meta, meta, meta, WM_POLICY_META_MAX, true),
	MEMBERS("query", WM_POLICY_OBJECT, query, true),
	ELEMENTS("terms", WM_POLICY_LIST, terms, term, terms, WM_QUERY_TERMS_MAX, true),
};
const unsigned wm_policy_sections_count = WM_ARRAY_LEN(wm_policy_sections);

static bool is_list(const struct wm_policy_section *s)
{
	return s->form == WM_POLICY_LIST || s->form == WM_POLICY_MAP;
}

/* --- drafts ------------------------------------------------------------------------------------
 */
static void fall_back(void *of, const struct wm_policy_section *s)
{
	for (unsigned n = 0; n < s->fields_count; n++) {
		const struct wm_policy_field *f = &s->fields[n];

		if (f->type == WM_POLICY_TEXT)
			*wm_policy_text(of, f) = "";
		else
			*wm_policy_number(of, f) = f->fallback;
	}
}

static void give_room(struct wm_policy_draft *d)
{
	d->p.subsets = d->subsets;
	d->p.splits = d->splits;
	d->p.failover = d->failover;
	d->p.ports = d->ports;
	d->p.meta = d->meta;
	d->p.terms = d->terms;
}

void wm_policy_draft_init(struct wm_policy_draft *d, const char *service)
{
	memset(d, 0, sizeof(*d));
	give_room(d);
	d->p.service = service;
	d->p.redirect.of = "";
	for (unsigned n = 0; n < wm_policy_sections_count; n++) {
		if (!is_list(&wm_policy_sections[n]))
			fall_back(&d->p, &wm_policy_sections[n]);
	}
}

static const void *list_of(const struct wm_policy *p, const struct wm_policy_section *s)
{
	const void *at;

	memcpy(&at, (const char *)p + s->list, sizeof(at));
	return at;
}

static uint32_t count_of(const struct wm_policy *p, const struct wm_policy_section *s)
{
	uint32_t n;

	memcpy(&n, (const char *)p + s->count, sizeof(n));
	return n;
}

void wm_policy_draft_of(struct wm_policy_draft *d, const struct wm_policy *p)
{
	*d = (struct wm_policy_draft){.p = *p};
	give_room(d);
	memcpy(d->subsets, p->subsets, p->subsets_count * sizeof(*p->subsets));
	memcpy(d->splits, p->splits, p->splits_count * sizeof(*p->splits));
	memcpy(d->failover, p->failover, p->failover_count * sizeof(*p->failover));
	memcpy(d->ports, p->ports, p->ports_count * sizeof(*p->ports));
	memcpy(d->meta, p->meta, p->meta_count * sizeof(*p->meta));
	memcpy(d->terms, p->terms, p->terms_count * sizeof(*p->terms));
}

/* The first element of a draft's list; its room is its own. */
static char *room_of(struct wm_policy_draft *d, const struct wm_policy_section *s)
{
	return (char *)d + ((const char *)list_of(&d->p, s) - (const char *)d);
}

void *wm_policy_draft_add(struct wm_policy_draft *d, const struct wm_policy_section *s)
{
	uint32_t n = count_of(&d->p, s);
	char *to = room_of(d, s) + n * s->size;

	if (n == s->max)
		return NULL;
	n++;
	memcpy((char *)&d->p + s->count, &n, sizeof(n));
	fall_back(to, s);
	return to;
}

/* --- a copy in one block ------------------------------------------------------------------------
 */
struct arena {
	char *at; /* NULL: it is counted only */
	size_t used;
};

/* Into `at`, NULL while it is counted. */
static void *take(struct arena *a, const void *from, size_t len)
{
	char *to = a->at ? a->at + a->used : NULL;

	if (to && len)
		memcpy(to, from, len);
	a->used += len;
	return to;
}

static const char *take_text(struct arena *a, const char *s)
{
	return *s ? take(a, s, strlen(s) + 1) : "";
}

static void take_texts(struct arena *a, void *of, const struct wm_policy_section *s)
{
	for (unsigned n = 0; n < s->fields_count; n++) {
		const char **text = wm_policy_text(of, &s->fields[n]);

		if (s->fields[n].type == WM_POLICY_TEXT)
			*text = take_text(a, *text);
	}
}

/* Lists first: they are aligned. With room, @p to is written; without, it is a copy to count by. */
static void take_all(struct arena *a, struct wm_policy *to, const struct wm_policy *from)
{
	_Alignas(max_align_t) char element[64];

	*to = *from;
	for (unsigned n = 0; n < wm_policy_sections_count; n++) {
		const struct wm_policy_section *s = &wm_policy_sections[n];
		void *list;

		if (!is_list(s))
			continue;
		list = take(a, list_of(from, s), s->size * count_of(from, s));
		memcpy((char *)to + s->list, &list, sizeof(list));
	}
	for (unsigned n = 0; n < wm_policy_sections_count; n++) {
		const struct wm_policy_section *s = &wm_policy_sections[n];
		const char *list = list_of(from, s);
		char *at;

		if (!is_list(s)) {
			take_texts(a, to, s);
			continue;
		}
		memcpy(&at, (char *)to + s->list, sizeof(at));
		for (uint32_t k = 0; k < count_of(from, s); k++) {
			memcpy(element, list + k * s->size, s->size);
			take_texts(a, at ? at + k * s->size : element, s);
		}
	}
	to->service = take_text(a, from->service);
}

struct wm_policy *wm_policy_copy(const struct wm_policy *p)
{
	struct arena count = {0}, a;
	struct wm_policy all, *to;

	take_all(&count, &all, p);
	to = malloc(sizeof(*to) + count.used);
	if (!to)
		return NULL;
	a = (struct arena){.at = (char *)(to + 1)};
	take_all(&a, to, p);
	for (char *c = (char *)to + (to->service - (const char *)to); *to->service && *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return to;
}

void wm_policy_free(struct wm_policy *p)
{
	free(p);
}

/* --- comparing ----------------------------------------------------------------------------------
 */
static bool same_fields(const void *a, const void *b, const struct wm_policy_section *s)
{
	for (unsigned n = 0; n < s->fields_count; n++) {
		const struct wm_policy_field *f = &s->fields[n];
		const char *x, *y;

		if (f->type != WM_POLICY_TEXT) {
			if (memcmp((const char *)a + f->offset, (const char *)b + f->offset,
				   sizeof(uint32_t)) != 0)
				return false;
			continue;
		}
		memcpy(&x, (const char *)a + f->offset, sizeof(x));
		memcpy(&y, (const char *)b + f->offset, sizeof(y));
		if (strcmp(x, y) != 0)
			return false;
	}
	return true;
}

bool wm_policy_same(const struct wm_policy *a, const struct wm_policy *b)
{
	if (strcasecmp(a->service, b->service) != 0)
		return false;
	for (unsigned n = 0; n < wm_policy_sections_count; n++) {
		const struct wm_policy_section *s = &wm_policy_sections[n];

		if (!is_list(s)) {
			if (!same_fields(a, b, s))
				return false;
			continue;
		}
		if (count_of(a, s) != count_of(b, s))
			return false;
		for (uint32_t k = 0; k < count_of(a, s); k++) {
			if (!same_fields((const char *)list_of(a, s) + k * s->size,
					 (const char *)list_of(b, s) + k * s->size, s))
				return false;
		}
	}
	return true;
}

const char *wm_policy_balance_str(uint32_t balance)
{
	return balance < WM_BALANCE_COUNT ? balances[balance] : "";
}

const struct wm_policy_subset *wm_policy_subset(const struct wm_policy *p, const char *name)
{
	for (uint32_t n = 0; n < p->subsets_count; n++) {
		if (strcasecmp(p->subsets[n].name, name) == 0)
			return &p->subsets[n];
	}
	return NULL;
}
