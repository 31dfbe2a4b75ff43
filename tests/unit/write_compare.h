/* SPDX-License-Identifier: Apache-2.0 */
/* write_compare.h - holds the registry to the model after a step of test_write_orders.c. */
#pragma once
#include "write_letters.h"

/* --- comparing ----------------------------------------------------------------------------------
 */
static void note_change(void)
{
	struct m_seen now = m_look(&model);

	for (int s = 0; s < NAMES; s++)
		woken[s] |= m_wakes(&seen, &now, s);
	seen = now;
}

/* Who was written has a higher number, who was not has the one he had. One that went and came anew
 * has another: it may have been drawn before the last result of the one before. */
static void compare_number(struct numbers *n, uint64_t of_model, uint64_t created,
			   uint64_t of_registry, const char *id)
{
	if (n->model == of_model)
		cr_assert_eq(of_registry, n->registry, "%s: %s was not written", doing, id);
	else if (n->created == created)
		cr_assert_gt(of_registry, n->registry, "%s: %s was written", doing, id);
	else
		cr_assert_neq(of_registry, n->registry, "%s: %s is another", doing, id);
	cr_assert_leq(of_registry, wm_registry_index(r), "%s: %s", doing, id);
	*n = (struct numbers){of_model, created, of_registry};
}

static void compare_check(int key)
{
	const struct m_check *m = &model.checks[key];
	char id[64], owner[64];
	const struct wm_check *c = wm_registry_check(r, m_key(key, id));

	cr_assert_eq(c != NULL, m->used, "%s: check %s", doing, id);
	if (!c)
		return;
	cr_assert_str_eq(c->instance->id, m_id(m->owner, owner));
	cr_assert_eq(c->status, m->status, "%s: check %s is %d, not %d", doing, id, c->status,
		     m->status);
	cr_assert(m->maintenance || c->ttl_ms == MS + (uint64_t)m->def, "%s: check %s", doing, id);
	if (said_of[key] == m->create && said[key])
		cr_assert_str_eq(c->output, said[key], "%s: check %s says %s, not %s", doing, id,
				 c->output, said[key]);
	compare_number(&of_check[key], m->modify, m->create, c->modify_index, id);
}

static void compare_instance(int n)
{
	const struct m_instance *m = &model.inst[n];
	const struct wm_node *on =
		m->away || n == AWAY ? wm_registry_node_named(r, OTHER) : wm_registry_node(r);
	char id[64], name[64];
	const struct wm_instance *i = on ? wm_node_instance(on, m_id(n, id)) : NULL;
	unsigned checks = 0;

	cr_assert_eq(i != NULL, m->used, "%s: instance %d", doing, n);
	if (!i)
		return;
	for (int k = 0; k < KEYS; k++)
		checks += model.checks[k].used && model.checks[k].owner == n;
	cr_assert_str_eq(i->service->name, m_name(m->name, name), "%s", doing);
	cr_assert_eq(i->service->instances[i->place], i);
	cr_assert_eq(wm_instance_shared(i), m->shared, "%s: instance %s", doing, id);
	cr_assert_eq(i->port, m->port, "%s: instance %s", doing, id);
	cr_assert_eq(i->lifecycle, m->life, "%s: instance %s is %s, not %s", doing, id,
		     wm_lifecycle_str(i->lifecycle), wm_lifecycle_str(m->life));
	cr_assert_eq(wm_instance_state(i), m_state(&model, n), "%s: instance %s", doing, id);
	cr_assert_eq(i->checks_count, checks, "%s: instance %s", doing, id);
	cr_assert_eq(i->status, m_worst(&model, n), "%s: instance %s", doing, id);
	compare_number(&of_instance[n], m->modify, m->create, i->modify_index, id);
}

/* An index that a watcher holds is passed if what he watches moved, and only then. */
static void compare_service(int n)
{
	char name[64];
	const struct wm_service *s = wm_registry_service(r, m_name(n, name));
	uint64_t index = s ? s->index : wm_registry_extinct(r);
	unsigned count = 0;

	cr_assert_eq(s != NULL, m_live(&model, n), "%s: service %s", doing, name);
	cr_assert_geq(index, scope[n], "%s: service %s", doing, name);
	cr_assert_leq(index, wm_registry_index(r), "%s: service %s", doing, name);
	cr_assert_eq(index > scope[n], woken[n], "%s: service %s: %llu to %llu", doing, name,
		     (unsigned long long)scope[n], (unsigned long long)index);
	scope[n] = index;
	if (!s)
		return;
	for (int i = 0; i < USED; i++)
		count += model.inst[i].used && model.inst[i].name == n;
	cr_assert_eq(s->instances_count, count, "%s: service %s", doing, name);
	if (!vips[n].s_addr)
		vips[n] = s->vip4;
	cr_assert_eq(vips[n].s_addr, s->vip4.s_addr, "%s: service %s", doing, name);
}

static bool in_flight(void)
{
	return r->plan && !r->plan->stored;
}

/* One word on each object, in the order of announcement and in that of its log; what is in flight
 * has none, and what is gone of one origin is news of that, whatever another wrote since. */
static void compare_history(void)
{
	const struct wm_history *h = &r->history;
	struct wm_past *p;
	uint64_t before = 0;
	unsigned count = 0;

	TAILQ_FOREACH (p, &h->all, entry) {
		cr_assert(p->index >= before && p->index <= wm_registry_index(r), "%s", doing);
		before = p->index;
		count++;
	}
	cr_assert_leq(count, wm_registry_instances(r) + wm_registry_nodes(r) + h->count, "%s",
		      doing);
	before = 0;
	TAILQ_FOREACH (p, &h->log, log_entry) {
		cr_assert_gt(wm_past_version(p)->seq, before, "%s", doing);
		before = wm_past_version(p)->seq;
	}
	if (in_flight())
		cr_assert_leq(before, r->plan->seq, "%s: not stored yet", doing);
	else if (!r->plan)
		cr_assert_eq(before, h->seq, "%s: %llu is not in the log", doing,
			     (unsigned long long)h->seq);
}

static void compare(void)
{
	compare_history();
	note_change();
	cr_assert_geq(wm_registry_index(r), last, "%s", doing);
	last = wm_registry_index(r);
	cr_assert_eq(wm_registry_instances(r), m_instances(&model), "%s", doing);
	cr_assert_eq(wm_registry_services(r), m_services(&model), "%s", doing);
	cr_assert_eq(wm_registry_checks(r), m_checks(&model), "%s", doing);
	cr_assert_eq(wm_registry_nodes(r), 1u + other, "%s", doing);
	for (int n = 0; n < USED; n++)
		compare_instance(n);
	for (int k = 0; k <= NODE_CHECK; k++)
		compare_check(k);
	compare_check(UPKEEP);
	for (int s = 0; s < 2; s++)
		compare_service(s);
	memset(woken, 0, sizeof(woken));
}
