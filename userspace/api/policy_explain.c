/* SPDX-License-Identifier: Apache-2.0 */
/* policy_explain.c - GET /v1/waymark/policies/:service/explain: whom a policy selects now, how
 * often each is chosen, and what happens where nobody is. */
#include "internal.h"
#include "userspace/metadata/mesh.h"
#include "userspace/metadata/shares.h"
#include "userspace/metadata/subset.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS_MAX 256 /* that are listed of a tier or a subset; all are counted */

const char *wm_policy_word(const char *section, const char *field, uint32_t value)
{
	for (unsigned n = 0; n < wm_policy_sections_count; n++) {
		const struct wm_policy_section *s = &wm_policy_sections[n];

		for (unsigned k = 0; strcmp(s->name, section) == 0 && k < s->fields_count; k++) {
			if (strcmp(s->fields[k].name, field) == 0)
				return s->fields[k].names[value];
		}
	}
	return "";
}

/* --- subsets ------------------------------------------------------------------------------------
 */
static void put_subset(struct wm_json *j, const struct wm_registry *r, struct wm_subsets *s,
		       const struct wm_policy *p, unsigned n)
{
	const struct wm_service *of = wm_registry_service(r, p->service);
	struct in6_addr vip6 = IN6ADDR_ANY_INIT;
	struct in_addr vip4 = {0};
	unsigned count = 0;

	wm_json_open(j, '{');
	wm_json_ks(j, "name", p->subsets[n].name);
	wm_json_ks(j, "filter", p->subsets[n].filter);
	(void)wm_registry_label(r, p->service, p->subsets[n].name, &vip4, &vip6);
	wm_encode_address(j, "vip4", AF_INET, &vip4);
	wm_encode_address(j, "vip6", AF_INET6, &vip6);
	wm_json_kopen(j, "members", '[');
	for (unsigned i = 0; of && i < of->instances_count; i++) {
		if (!wm_subsets_has(s, n, of->instances[i]))
			continue;
		if (count++ < MEMBERS_MAX)
			wm_json_string(j, of->instances[i]->id);
	}
	wm_json_close(j, ']');
	wm_json_ku(j, "count", count);
	wm_json_close(j, '}');
}

static void put_subsets(struct wm_json *j, const struct wm_api *a, const struct wm_policy *p)
{
	const struct wm_registry *r = a->d.registry;
	struct wm_subsets *s = NULL;

	wm_json_kopen(j, "subsets", '[');
	if (p && !wm_subsets_new(p, wm_registry_datacenter(r), &s, NULL)) {
		wm_subsets_begin(s);
		for (unsigned n = 0; n < p->subsets_count; n++)
			put_subset(j, r, s, p, n);
	}
	wm_json_close(j, ']');
	wm_subsets_free(s);
}

/* --- tiers --------------------------------------------------------------------------------------
 */
static void put_members(struct wm_json *j, const struct wm_selection_tier *t, struct wm_shares *o)
{
	wm_json_kopen(j, "members", '[');
	for (unsigned n = 0; n < t->count && n < MEMBERS_MAX; n++) {
		const struct wm_instance *i = t->members[n];

		wm_json_open(j, '{');
		wm_json_ks(j, "id", i->id);
		wm_json_ks(j, "node", i->node->name);
		wm_json_ku(j, "weight", wm_selection_weight(i));
		wm_json_ks(j, "status", wm_status_str(i->status));
		wm_json_ks(j, "state", wm_lifecycle_str(wm_instance_state(i)));
		wm_json_key(j, "odds");
		wm_json_double(j, wm_shares_next(o, i));
		wm_json_close(j, '}');
	}
	wm_json_close(j, ']');
}

static void put_tier(struct wm_json *j, const struct wm_selection *c, unsigned n,
		     const struct wm_outcome *outcome)
{
	const struct wm_selection_tier *t = &c->tiers[n];
	struct wm_shares o = wm_shares_begin(c, n, outcome);

	wm_json_open(j, '{');
	wm_json_ks(j, "what", t->what);
	wm_json_ks(j, "service", t->service);
	wm_json_ks(j, "subset", t->subset);
	wm_json_ks(j, "region", t->region);
	wm_json_ku(j, "target", t->target);
	wm_json_key(j, "percent");
	wm_json_double(j, c->percent[t->target] / 100.0);
	wm_json_ku(j, "weight", t->all);
	wm_json_ku(j, "weight_up", t->up);
	wm_json_key(j, "share");
	wm_json_double(j, o.share);
	put_members(j, t, &o);
	wm_json_ku(j, "count", t->count);
	wm_json_close(j, '}');
}

/* --- what comes of it ---------------------------------------------------------------------------
 */
static const char *verdict(const struct wm_selection *c, const struct wm_outcome *o)
{
	static const char *const none[] = {[WM_NONE_REFUSE] = "refused",
					   [WM_NONE_DRAINING] = "refused",
					   [WM_NONE_ANY] = "refused",
					   [WM_NONE_PASS] = "passed on"};
	if (c->loops)
		return "refused";
	if (o->up || o->panic)
		return "chosen";
	if (c->when_none == WM_NONE_DRAINING && o->draining)
		return "a draining one is chosen";
	if (c->when_none == WM_NONE_ANY && o->instances)
		return "any is chosen";
	return none[c->when_none];
}

/* What is decided beside the tiers: by the port that is dialled, and by whom a client had. */
static void put_asides(struct wm_json *j, const struct wm_api *a, const struct wm_policy *p)
{
	const struct wm_service *of = wm_registry_service(a->d.registry, p->service);
	char text[256];

	for (uint32_t n = 0; n < p->ports_count; n++) {
		unsigned have = 0;

		for (unsigned i = 0; of && i < of->instances_count; i++)
			have += wm_mesh_endpoint_port(of->instances[i], p->ports[n].endpoint) != 0;
		snprintf(text, sizeof(text),
			 "port %u leads to the endpoint %s, which %u of %u have", p->ports[n].port,
			 p->ports[n].endpoint, have, of ? of->instances_count : 0);
		wm_json_string(j, text);
	}
	if (p->affinity.key > 1 + WM_HASH_ON_SOCKET) {
		snprintf(text, sizeof(text),
			 "a client, told apart by %s, keeps its instance until %u s after its last "
			 "connection",
			 wm_policy_word("affinity", "key", p->affinity.key), p->affinity.timeout);
		wm_json_string(j, text);
	}
}

static void put_notes(struct wm_json *j, const struct wm_api *a, const struct wm_selection *c)
{
	wm_json_kopen(j, "notes", '[');
	if (c->policy)
		put_asides(j, a, c->policy);
	if (c->policy && wm_policy_idle(a, c->policy))
		wm_json_string(j, wm_policy_idle(a, c->policy));
	if (c->loops)
		wm_json_string(j, "redirects lead in a circle, or over more than 8 services");
	if (*c->nearness)
		wm_json_string(j, c->nearness);
	if (*c->why)
		wm_json_string(j, c->why);
	if (c->left_out)
		wm_json_string(j, "there are more tiers than 8: the last are left out");
	wm_json_close(j, ']');
}

static void put_choice(struct wm_json *j, const struct wm_api *a, const struct wm_selection *c)
{
	struct wm_outcome o;

	wm_outcome_of(c, &o);
	wm_json_kb(j, "has_policy", c->policy);
	wm_json_kopen(j, "redirected", '[');
	for (unsigned n = 0; n < c->hops_count; n++)
		wm_json_string(j, c->hops[n]);
	wm_json_close(j, ']');
	wm_json_ks(j, "selects_of", c->service);
	wm_json_ks(j, "select", wm_policy_word("", "select", c->policy ? c->policy->select : 0));
	wm_json_ks(j, "balance", wm_policy_word("", "balance", c->policy ? c->policy->balance : 0));
	put_subsets(j, a, c->policy);
	wm_json_kopen(j, "tiers", '[');
	for (unsigned n = 0; n < c->count; n++)
		put_tier(j, c, n, &o);
	wm_json_close(j, ']');
	wm_json_ku(j, "up", o.up);
	wm_json_ku(j, "instances", o.instances);
	wm_json_kb(j, "panic", o.panic);
	wm_json_ks(j, "when_none", wm_policy_word("", "when_none", c->when_none));
	wm_json_ks(j, "verdict", verdict(c, &o));
	put_notes(j, a, c);
}

void wm_native_policy_explain(struct wm_call *c)
{
	const struct wm_registry *r = c->api->d.registry;
	const char *subset = wm_http_query(c->req, "subset");
	struct wm_selection choice;
	struct wm_json j;
	uint64_t index = wm_registry_index(r);

	if (!wm_registry_policy(r, c->params[0]) && !wm_registry_service(r, c->params[0])) {
		wm_answer_text(c, 404, "Service \"%.64s\" has no policy and no instance",
			       c->params[0]);
		return;
	}
	if (wm_selection_make(r, c->params[0], subset ? subset : "", wm_only_passing(c->api),
			      &choice)) {
		wm_answer_text(c, 503, "Out of memory");
		return;
	}
	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_ks(&j, "service", c->params[0]);
	wm_json_ku(&j, "index", index);
	put_choice(&j, c->api, &choice);
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, index);
	wm_selection_done(&choice);
}
