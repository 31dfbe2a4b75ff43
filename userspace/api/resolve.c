/* SPDX-License-Identifier: Apache-2.0 */
/* resolve.c - GET /v1/waymark/resolve: what DNS and connect() would choose of a service now, and
 * why they would not choose the rest. */
#include "internal.h"
#include "userspace/base/macros.h"
#include "userspace/base/random.h"

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
	unsigned weight;
	const char *reason; /* why it is left out; NULL: it is not */
	double key;	    /* of the draw: the least are taken */
};

bool wm_only_passing(const struct wm_api *a)
{
	return a->d.tables && wm_tables_policy(a->d.tables)->only_passing;
}

static unsigned weight_of(const struct wm_instance *i)
{
	return i->status == WM_WARNING ? i->weight_warning : i->weight_passing;
}

/* Does the kernel take it? What stands in no table is answered by userspace DNS of the registry. */
static bool is_up(const struct wm_tables *t, const struct wm_instance *i)
{
	uint32_t index;

	if (!t || !wm_tables_backends_of(t, i->hash, &index, 1))
		return wm_instance_usable(i);
	return (__atomic_load_n(&wm_tables_memory(t)->backends[index].state, __ATOMIC_RELAXED) &
		WM_STATE_MASK) == WM_STATE_UP;
}

static const char *reason_of(const struct wm_tables *t, const struct wm_instance *i,
			     const char *tag)
{
	if (!wm_instance_has_tag(i, tag))
		return "has not the tag";
	if (!wm_instance_usable(i))
		return wm_lifecycle_str(wm_instance_state(i));
	if (t && wm_tables_policy(t)->only_passing && i->status == WM_WARNING)
		return "has a warning, and dns.only_passing is set";
	if (!i->addr4.s_addr && IN6_IS_ADDR_UNSPECIFIED(&i->addr6))
		return "has no IP address";
	if (!weight_of(i))
		return "has weight 0";
	return is_up(t, i) ? NULL : "is not up in the tables";
}

/* Exponential keys: the k least are a draw of k by weight, none twice (Efraimidis and Spirakis). */
static double draw(unsigned weight)
{
	double u = ((double)(wm_random64() >> 11) + 1) / 9007199254740993.0;

	return -log(u) / weight;
}

static int by_key(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	if (!x->reason != !y->reason)
		return x->reason ? 1 : -1;
	if (x->reason)
		return strcmp(x->i->id, y->i->id);
	return x->key < y->key ? -1 : x->key > y->key;
}

static void put_candidate(struct wm_json *j, const struct candidate *c, double total)
{
	const struct wm_instance *i = c->i;

	wm_json_open(j, '{');
	wm_json_ks(j, "id", i->id);
	wm_json_ks(j, "node", i->node->name);
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
		wm_json_double(j, c->weight / total);
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

static void put_choice(struct wm_json *j, struct candidate *all, unsigned n, unsigned count)
{
	unsigned usable = 0, left = 0;
	double total = 0;

	for (unsigned i = 0; i < n; i++) {
		usable += !all[i].reason;
		total += all[i].reason ? 0 : all[i].weight;
	}
	if (n)
		qsort(all, n, sizeof(*all), by_key);
	wm_json_ku(j, "usable", usable);
	wm_json_kopen(j, "chosen", '[');
	for (unsigned i = 0; i < usable && i < count; i++)
		put_candidate(j, &all[i], total);
	wm_json_close(j, ']');
	wm_json_kopen(j, "left_out", '[');
	for (unsigned i = count < usable ? count : usable; i < n; i++) {
		if (!all[i].reason)
			all[i].reason = "was not drawn";
		if (left++ < LEFT_MAX)
			put_candidate(j, &all[i], total);
	}
	wm_json_close(j, ']');
	wm_json_ku(j, "left_out_count", left);
}

void wm_native_choose(struct wm_call *c)
{
	const char *name = wm_http_query(c->req, "service"), *tag = wm_http_query(c->req, "tag");
	_cleanup_free_ struct candidate *all = NULL;
	const struct wm_service *s;
	struct wm_json j;
	uint64_t index;
	unsigned count;

	if (!name || !*name) {
		wm_answer_text(c, 400, "Missing value for service");
		return;
	}
	if (!read_count(c, &count) || wm_api_wait(c, WM_SCOPE_SERVICE, name, &index))
		return;
	s = wm_registry_service(c->api->d.registry, name);
	if (!s) {
		wm_answer_text(c, 404, "unknown service: %.64s", name);
		return;
	}
	all = calloc(s->instances_count + 1, sizeof(*all));
	if (!all) {
		wm_answer_text(c, 503, "Out of memory");
		return;
	}
	tag = tag ? tag : "";
	for (unsigned i = 0; i < s->instances_count; i++) {
		struct candidate *x = &all[i];

		x->i = s->instances[i];
		x->weight = weight_of(x->i);
		x->reason = reason_of(c->api->d.tables, x->i, tag);
		x->key = x->reason ? 0 : draw(x->weight);
	}
	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_ks(&j, "service", s->shown);
	wm_json_ks(&j, "tag", tag);
	wm_json_ku(&j, "index", index);
	wm_encode_address(&j, "vip4", AF_INET, &s->vip4);
	wm_encode_address(&j, "vip6", AF_INET6, &s->vip6);
	put_choice(&j, all, s->instances_count, count);
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, index);
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
