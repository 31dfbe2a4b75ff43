/* SPDX-License-Identifier: Apache-2.0 */
/* wants.c - see wants.h. */
#include "wants.h"

#include "specs.h"
#include "userspace/metadata/mesh.h"
#include "userspace/metadata/selection.h"
#include "waymark/choose.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

const struct wm_service_spec *wm_want_spec(const struct wm_wants *x, const char *service)
{
	return wm_registry_specs(x->registry) ? wm_registry_spec(x->registry, service) : NULL;
}

/* One whose address is a host name has none that connect() could write: it is DNS's alone. */
static bool has_ip(const struct wm_instance *i)
{
	return i->addr4.s_addr || !IN6_IS_ADDR_UNSPECIFIED(&i->addr6);
}

uint32_t wm_want_state(const struct wm_wants *x, const struct wm_instance *i)
{
	bool warned = i->status == WM_WARNING && wm_tables_policy(x->tables)->only_passing;
	const struct wm_service_spec *s;

	if (!has_ip(i))
		return WM_STATE_DOWN;
	if (i->lifecycle == WM_LIFE_STOPPING)
		return WM_STATE_DRAIN;
	if (i->status == WM_CRITICAL && i->lifecycle == WM_LIFE_RUNNING) {
		s = wm_want_spec(x, i->service->name);
		return s && s->publish_not_ready ? WM_STATE_UP : WM_STATE_DOWN;
	}
	return wm_instance_usable(i) && !warned ? WM_STATE_UP : WM_STATE_DOWN;
}

/* A critical instance keeps its weight, so that going down and up moves nothing but its state. */
uint32_t wm_want_weight(const struct wm_instance *i)
{
	if (!has_ip(i))
		return 0;
	return wm_selection_weight(i);
}

static bool aborts_tcp(const struct wm_instance *i)
{
	for (unsigned n = 0; n < i->meta_count; n++)
		if (strcmp(i->meta[n].key, WM_META_ABORT_TCP) == 0)
			return strcmp(i->meta[n].value, "true") == 0;
	return false;
}

/* What its own service's policy says: it is one backend of all sets that have it. */
static bool closes(const struct wm_wants *x, const struct wm_instance *i)
{
	const struct wm_policy *p = wm_registry_policy(x->registry, i->service->name);

	return (p && p->close_on_down) || aborts_tcp(i);
}

static uint32_t of_another(const struct wm_instance *i, const struct wm_service *s)
{
	const char *name = i->service->name;

	return i->service == s ? 0 : (uint32_t)wm_hash_stable(name, strlen(name));
}

/* @p endpoint NULL: the instances as they are; else those that have it, on its port. */
static int fill(struct wm_wants *x, const struct wm_service *s, const struct wm_plan *plan,
		const char *endpoint, uint32_t *ret_count)
{
	uint32_t n = 0;

	if (plan->count > x->want_cap) {
		size_t cap = plan->count + plan->count / 2;
		struct wm_want_backend *want = realloc(x->want, cap * sizeof(*want));

		if (!want)
			return -ENOMEM;
		x->want = want;
		x->want_cap = cap;
	}
	for (unsigned k = 0; k < plan->count; k++) {
		const struct wm_instance *i = plan->planned[k].instance;
		unsigned port = endpoint ? wm_mesh_endpoint_port(i, endpoint) : i->port;

		if (endpoint && !port)
			continue;
		x->want[n] = (struct wm_want_backend){.instance = i->hash,
						      .addr4_be = i->addr4.s_addr,
						      .port = (uint16_t)port,
						      .weight = wm_want_weight(i),
						      .state = wm_want_state(x, i),
						      .abort_tcp = closes(x, i),
						      .service = of_another(i, s),
						      .tiers = plan->planned[k].tiers,
						      .node = *i->address ? NULL : i->node->name};
		memcpy(x->want[n++].addr6, &i->addr6, 16);
	}
	*ret_count = n;
	return 0;
}

/* Another file's way to choose is not there: by weight, then. */
static void check_custom(const struct wm_wants *x, struct wm_plan *plan)
{
	const char *loaded = wm_tables_policy(x->tables)->custom;

	if (plan->policy && plan->rule.head.balance == WM_BALANCE_CUSTOM &&
	    (!loaded || strcmp(plan->policy->custom, loaded) != 0))
		plan->rule.head.balance = WM_BALANCE_WEIGHTED;
}

/* NULL: the instances' own port. */
static const char *endpoint_of(const struct wm_want_part *part, const struct wm_policy *p)
{
	if (part->port)
		return part->port->endpoint;
	return part->spec ? wm_spec_endpoint(part->spec, part->spec_port, p) : NULL;
}

bool wm_want_of_port(const struct wm_want_part *part)
{
	return part->spec && (part->spec_port || *part->label);
}

/* Its place among the addresses of a source: by the first that leads to it it is known after a
 * restart. */
static void set_front(const struct wm_want_part *part, struct wm_want_front *f,
		      struct wm_want_set *w)
{
	const struct wm_spec_address *a, *end;
	const struct wm_spec_port *port;

	if (!part->spec)
		return;
	a = part->spec->addresses;
	end = a + part->spec->addresses_count;
	port = &part->spec->ports[part->spec_port];
	while (*part->label && a < end && a->kind == WM_SPEC_CLUSTER)
		a++;
	if (wm_want_of_port(part)) {
		w->port = port->port;
		w->proto = port->proto;
	}
	if (a == end)
		return;
	*f = (struct wm_want_front){.port = a->kind == WM_SPEC_NODE ? port->node_port : port->port,
				    .proto = port->proto};
	wm_spec_address_be(a, f->addr_be);
	w->front = f;
}

/* What the tables are to say of a part of @p s. The plan is done with after @p w, also on failure.
 */
int wm_want_make(struct wm_wants *x, const struct wm_service *s, const struct wm_want_part *part,
		 struct wm_plan *plan, struct wm_want_set *w)
{
	const struct wm_policy *p = wm_registry_policy(x->registry, s->name);
	struct in6_addr vip6 = s->vip6;
	struct in_addr vip4 = s->vip4;
	bool addressed =
		!*part->label || wm_registry_label(x->registry, s->name, part->label, &vip4, &vip6);
	uint32_t count = 0;
	int r = part->tag ? wm_plan_tagged(s, part->label, plan)
			  : wm_plan_make(x->registry, s, part->label, &x->here, plan);

	if (!r)
		r = fill(x, s, plan, endpoint_of(part, p), &count);
	*w = (struct wm_want_set){.service = s->name,
				  .label = part->label,
				  .tag = part->tag && !addressed,
				  .nameless = !s->instances_count};
	if (addressed) {
		w->vip4_be = vip4.s_addr;
		memcpy(w->vip6, &vip6, 16);
	}
	w->backends = x->want;
	w->backends_count = count;
	w->port = part->port ? (uint16_t)part->port->port : 0;
	w->ports = !part->port &&
		   ((p && p->ports_count) || (part->spec && part->spec->ports_count > 1));
	w->srv = !part->port;
	set_front(part, &x->front, w);
	check_custom(x, plan);
	w->rule = &plan->rule;
	return r;
}
