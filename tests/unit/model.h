/* SPDX-License-Identifier: Apache-2.0 */
/* model.h - a naive registry: flat arrays, linear search, every rule written down a second time
 * from what the API promises and not from how the registry does it. test_model.c holds the real one
 * to it. An instance is a number, so is a service's name, a check's id and a definition; the texts
 * are made of the numbers. */
#pragma once
#include "userspace/registry/registry.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
	IDS = 24,	     /* instances that may be named */
	NAMES = 9,	     /* of services; the last one is never registered */
	NODE = IDS,	     /* owner of the node's checks */
	POOL = 44,	     /* ids of checks that clients give */
	DEFAULTS = POOL,     /* "service:i3" is DEFAULTS + 3 */
	UPKEEP = POOL + IDS, /* "_service_maintenance:i3", and of the node UPKEEP + NODE */
	KEYS = UPKEEP + IDS + 1,
	DRAFT_CHECKS = 4,   /* checks of one registration at most */
	INSTANCES_MAX = 20, /* fewer than IDS, so that the limit is met */
	SERVICES_MAX = 6,   /* fewer than NAMES, the same */
};

struct m_check {
	bool used, maintenance;
	bool told;		     /* it has a result, or the client gave a status */
	bool silent;		     /* its TTL ran out, says the output */
	int owner, def, given, note; /* given: initial status + 1, or 0 */
	enum wm_status status;
	uint64_t create, modify;
};
struct m_instance {
	bool used;
	bool shared; /* the catalog's, else the agent's */
	bool away;   /* on another node, whose checks there are none of */
	int name, port, weight, tag;
	enum wm_lifecycle life;	   /* stated */
	uint64_t drain, drain_max; /* it ends between them; 0: there is none */
	uint64_t create, modify;
};
struct model {
	struct m_instance inst[IDS];
	struct m_check checks[KEYS]; /* by id: an id is one check's */
	uint64_t index, extinct, service_index[NAMES], service_create[NAMES];
	uint64_t vanished; /* services so far that lost their last instance */
	uint64_t applied;
};

enum m_kind {
	M_REGISTER,
	M_DEREGISTER,
	M_CHECK_PUT,
	M_CHECK_DROP,
	M_MAINTENANCE,
	M_LIFECYCLE,
	M_DRAINED
};
/* What a result says. NULL keeps what the last one said. */
enum m_output { M_NULL, M_EMPTY, M_TEXT, M_EXPIRED, M_OUTPUTS };
struct m_op {
	enum m_kind kind;
	int inst; /* NODE where it may be the node */
	int name, port, weight, tag, count;
	struct {
		int key, def, given;
	} c[DRAFT_CHECKS];
	bool replace, on;
	bool catalog, away;
	int note;
	enum wm_lifecycle life; /* that is stated; of a registration: or NONE */
	/* no two drains end at one time, and the registry's clock is read between two of the test's
	 */
	uint64_t drain_ms, drain, drain_max;
	/* what the registry answered */
	int called, code;
	char text[WM_ERR_TEXT_MAX];
};

static inline bool m_live(const struct model *m, int name)
{
	for (int i = 0; i < IDS; i++) {
		if (m->inst[i].used && m->inst[i].name == name)
			return true;
	}
	return false;
}

/* Does it depend on the node's checks? */
static inline bool m_here(const struct model *m, int name)
{
	for (int i = 0; i < IDS; i++) {
		if (m->inst[i].used && m->inst[i].name == name && !m->inst[i].away)
			return true;
	}
	return false;
}

static inline unsigned m_instances(const struct model *m)
{
	unsigned n = 0;

	for (int i = 0; i < IDS; i++)
		n += m->inst[i].used;
	return n;
}

static inline unsigned m_services(const struct model *m)
{
	unsigned n = 0;

	for (int s = 0; s < NAMES; s++)
		n += m_live(m, s);
	return n;
}

static inline unsigned m_checks(const struct model *m)
{
	unsigned n = 0;

	for (int k = 0; k < KEYS; k++)
		n += m->checks[k].used;
	return n;
}

static inline enum wm_status m_worst(const struct model *m, int owner)
{
	enum wm_status worst = WM_PASSING;
	bool here = owner == NODE || !m->inst[owner].away;

	for (int k = 0; k < KEYS; k++) {
		const struct m_check *c = &m->checks[k];

		if (c->used && (c->owner == owner || (c->owner == NODE && here)) &&
		    c->status > worst)
			worst = c->status;
	}
	return worst;
}

/* --- the life of an instance: docs/architecture.md ----------------------------------------------
 */
/* May it become that? To state the same again is no transition. */
static inline bool m_may_become(enum wm_lifecycle from, enum wm_lifecycle to)
{
	if (from == to || from == WM_LIFE_STARTING)
		return true;
	if (to == WM_LIFE_STARTING)
		return from == WM_LIFE_STOPPED;
	return from != WM_LIFE_STOPPED;
}

/* What is shown: in place of running, what follows of the checks. */
static inline enum wm_lifecycle m_state(const struct model *m, int inst)
{
	bool critical = false, told = false;

	if (m->inst[inst].life != WM_LIFE_RUNNING || m_worst(m, inst) != WM_CRITICAL)
		return m->inst[inst].life;
	for (int k = 0; k < KEYS; k++) {
		const struct m_check *c = &m->checks[k];

		if (!c->used || c->owner != inst || c->status != WM_CRITICAL)
			continue;
		critical = true;
		told |= c->told && !c->silent;
	}
	/* without one of its own it is its node that fails */
	return critical && !told ? WM_LIFE_UNKNOWN : WM_LIFE_UNHEALTHY;
}

static inline void m_node_moved(struct model *m)
{
	for (int s = 0; s < NAMES; s++) {
		if (m_here(m, s))
			m->service_index[s] = m->index;
	}
}

/* What the one owner wrote the other does not change. */
static inline bool m_anothers(const struct model *m, const struct m_op *op)
{
	return m->inst[op->inst].used && m->inst[op->inst].shared != op->catalog;
}

/* The checks of `owner` after `op` named some: conflict and limit are judged, nothing is changed.
 */
static inline int m_judge_checks(const struct model *m, int owner, const struct m_op *op,
				 bool replace)
{
	bool after[KEYS] = {false};
	int clients = 0;

	for (int k = 0; k < KEYS; k++) {
		const struct m_check *c = &m->checks[k];

		after[k] = c->used && c->owner == owner && (!replace || c->maintenance);
	}
	for (int n = 0; n < op->count; n++) {
		if (m->checks[op->c[n].key].used && m->checks[op->c[n].key].owner != owner)
			return WM_E_CONFLICT;
		after[op->c[n].key] = true;
	}
	for (int k = 0; k < UPKEEP; k++)
		clients += after[k];
	return clients > WM_CHECKS_PER_INSTANCE ? WM_E_LIMIT : 0;
}

static inline bool m_same_definition(const struct m_check *c, const struct m_op *op, int n)
{
	return c->used && c->def == op->c[n].def && c->given == op->c[n].given &&
	       c->note == op->note;
}

/* Would the checks be others? */
static inline bool m_checks_differ(const struct model *m, int owner, const struct m_op *op,
				   bool replace)
{
	for (int n = 0; n < op->count; n++) {
		if (!m_same_definition(&m->checks[op->c[n].key], op, n))
			return true;
	}
	for (int k = 0; replace && k < UPKEEP; k++) {
		bool named = false;

		for (int n = 0; n < op->count; n++)
			named |= op->c[n].key == k;
		if (m->checks[k].used && m->checks[k].owner == owner && !named)
			return true;
	}
	return false;
}

static inline void m_put_checks(struct model *m, int owner, const struct m_op *op, bool replace)
{
	for (int k = 0; replace && k < UPKEEP; k++) {
		bool named = false;

		for (int n = 0; n < op->count; n++)
			named |= op->c[n].key == k;
		if (m->checks[k].owner == owner && !named)
			m->checks[k].used = false;
	}
	for (int n = 0; n < op->count; n++) {
		struct m_check *c = &m->checks[op->c[n].key];
		enum wm_status initial =
			op->c[n].given ? (enum wm_status)(op->c[n].given - 1) : WM_CRITICAL;

		if (m_same_definition(c, op, n))
			continue;
		/* redefined: it keeps its status, unless another initial one is asked for */
		if (!c->used || (op->c[n].given && op->c[n].given != c->given)) {
			c->status = initial;
			c->told = op->c[n].given;
			c->silent = false;
		}
		if (!c->used)
			c->create = m->index;
		c->used = true;
		c->maintenance = op->c[n].key >= UPKEEP;
		c->owner = owner;
		c->def = op->c[n].def;
		c->given = op->c[n].given;
		c->note = op->note;
		c->modify = m->index;
	}
}

static inline void m_left(struct model *m, int name)
{
	if (m_live(m, name)) {
		m->service_index[name] = m->index;
		return;
	}
	m->extinct = m->index;
	m->vanished++;
}

static inline int m_register(struct model *m, const struct m_op *op)
{
	struct m_instance *i = &m->inst[op->inst], was = *i;
	int err = m_anothers(m, op) ? WM_E_CONFLICT : m_judge_checks(m, op->inst, op, op->replace);
	bool live = m_live(m, op->name);
	/* what is there goes on as it was, unless it had stopped */
	bool begins = !was.used || was.life == WM_LIFE_STOPPED;
	enum wm_lifecycle life = op->life ? op->life : WM_LIFE_RUNNING;

	if (!begins)
		life = was.life;
	if (err)
		return err;
	if (was.used && was.life == life && was.name == op->name && was.port == op->port &&
	    was.weight == op->weight && was.tag == op->tag &&
	    !m_checks_differ(m, op->inst, op, op->replace))
		return 0;
	if (!was.used && m_instances(m) >= INSTANCES_MAX)
		return WM_E_CAPACITY;
	if (!live && m_services(m) >= SERVICES_MAX)
		return WM_E_CAPACITY;
	m->index++;
	m->applied++;
	m_put_checks(m, op->inst, op, op->replace);
	*i = (struct m_instance){.used = true,
				 .shared = op->catalog,
				 .away = op->away,
				 .name = op->name,
				 .port = op->port,
				 .weight = op->weight,
				 .tag = op->tag,
				 .life = life,
				 .drain = begins ? 0 : was.drain,
				 .drain_max = begins ? 0 : was.drain_max,
				 .create = was.used ? was.create : m->index,
				 .modify = m->index};
	if (!live)
		m->service_create[op->name] = m->index;
	m->service_index[op->name] = m->index;
	if (was.used && was.name != op->name)
		m_left(m, was.name);
	return 0;
}

static inline int m_deregister(struct model *m, const struct m_op *op)
{
	struct m_instance *i = &m->inst[op->inst];

	if (!i->used)
		return WM_E_UNKNOWN;
	if (m_anothers(m, op))
		return WM_E_CONFLICT;
	m->index++;
	m->applied++;
	i->used = false;
	for (int k = 0; k < KEYS; k++) {
		if (m->checks[k].owner == op->inst)
			m->checks[k].used = false;
	}
	m_left(m, i->name);
	return 0;
}

static inline int m_lifecycle(struct model *m, const struct m_op *op)
{
	struct m_instance *i = &m->inst[op->inst];

	if (!i->used)
		return WM_E_UNKNOWN;
	if (m_anothers(m, op) || !m_may_become(i->life, op->life))
		return WM_E_CONFLICT;
	/* who stops again without a time changes nothing of a drain */
	if (i->life == op->life && !op->drain_ms)
		return 0;
	m->index++;
	m->applied++;
	m->service_index[i->name] = m->index;
	i->life = op->life;
	i->drain = op->drain_ms ? op->drain : 0;
	i->drain_max = op->drain_ms ? op->drain_max : 0;
	return 0;
}

/* The owner's checks changed: its service moved, or all did. */
static inline void m_checks_moved(struct model *m, int owner)
{
	if (owner == NODE)
		m_node_moved(m);
	else
		m->service_index[m->inst[owner].name] = m->index;
}

static inline int m_drop(struct model *m, int key)
{
	m->index++;
	m->applied++;
	m->checks[key].used = false;
	m_checks_moved(m, m->checks[key].owner);
	return 0;
}

static inline int m_put(struct model *m, const struct m_op *op)
{
	int err;

	if (op->inst != NODE && !m->inst[op->inst].used)
		return WM_E_UNKNOWN;
	err = m_judge_checks(m, op->inst, op, false);
	if (err || !m_checks_differ(m, op->inst, op, false))
		return err;
	m->index++;
	m->applied++;
	m_put_checks(m, op->inst, op, false);
	m_checks_moved(m, op->inst);
	return 0;
}

/* What the registry must answer; the model is changed accordingly. */
static inline int m_apply(struct model *m, const struct m_op *op)
{
	int key = op->c[0].key;

	switch (op->kind) {
	case M_REGISTER:
		return m_register(m, op);
	case M_DEREGISTER:
		return m_deregister(m, op);
	case M_CHECK_PUT:
		return m_put(m, op);
	case M_CHECK_DROP:
		return m->checks[key].used ? m_drop(m, key) : WM_E_UNKNOWN;
	case M_MAINTENANCE:
		if (op->on)
			return m_put(m, op);
		if (op->inst != NODE && !m->inst[op->inst].used)
			return WM_E_UNKNOWN;
		return m->checks[key].used ? m_drop(m, key) : 0;
	case M_LIFECYCLE:
		return m_lifecycle(m, op);
	case M_DRAINED: /* who drains no more, or is gone, is left alone */
		return m->inst[op->inst].used && m->inst[op->inst].drain ? m_deregister(m, op) : 0;
	}
	return 0;
}

/* @return whether the status changed. What is said is no change, but for who is unknown by it. */
static inline bool m_status(struct model *m, int key, enum wm_status s, enum m_output said)
{
	struct m_check *c = &m->checks[key];
	/* a check of the node tells nothing of whether an instance is ready */
	bool begins =
		s == WM_PASSING && c->owner != NODE && m->inst[c->owner].life == WM_LIFE_STARTING;
	enum wm_lifecycle state = c->owner != NODE ? m_state(m, c->owner) : WM_LIFE_NONE;
	bool same = c->status == s && !begins;

	c->told = true;
	if (said != M_NULL)
		c->silent = said == M_EXPIRED;
	if (begins)
		m->inst[c->owner].life = WM_LIFE_RUNNING;
	else if (same && (c->owner == NODE || m_state(m, c->owner) == state))
		return false;
	m->index++;
	m->applied++;
	c->status = s;
	c->modify = m->index;
	m_checks_moved(m, c->owner);
	return !same;
}

/* --- what a reader sees, as one number a service ------------------------------------------------
 */
static inline uint64_t m_mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

struct m_seen {
	uint64_t service[NAMES], catalog, checks; /* 0 of a service: there is none */
	uint64_t vanished;
};

static inline struct m_seen m_look(const struct model *m)
{
	struct m_seen seen = {.vanished = m->vanished};
	uint64_t node = 0;

	for (int i = 0; i < IDS; i++) {
		const struct m_instance *in = &m->inst[i];
		uint64_t h = m_mix(m_mix(m_mix(m_mix(1, (uint64_t)i), in->create), in->modify),
				   (uint64_t)(in->port << 8 | in->weight << 4 | in->tag));

		if (!in->used)
			continue;
		seen.service[in->name] += m_mix(h, in->drain << 3 | in->life) | 1;
		seen.catalog += m_mix(h, (uint64_t)in->name);
	}
	for (int k = 0; k < KEYS; k++) {
		const struct m_check *c = &m->checks[k];
		uint64_t h = m_mix(m_mix(m_mix(m_mix(2, (uint64_t)k), c->create), c->modify),
				   (uint64_t)(c->owner << 16 | c->def << 4 | (int)c->status));

		if (!c->used)
			continue;
		seen.checks += h;
		if (c->owner == NODE)
			node += h;
		else
			seen.service[m->inst[c->owner].name] += 2 * h;
	}
	for (int s = 0; s < NAMES; s++) {
		if (m_live(m, s))
			seen.service[s] = m_mix(seen.service[s], m_here(m, s) ? node : 0) | 1;
	}
	return seen;
}

/* Must one who watches service @p s wake? */
static inline bool m_wakes(const struct m_seen *before, const struct m_seen *after, int s)
{
	if (!before->service[s] && !after->service[s])
		return before->vanished != after->vanished;
	return before->service[s] != after->service[s];
}

/* --- names --------------------------------------------------------------------------------------
 */
static inline const char *m_id(int i, char *buf)
{
	sprintf(buf, i == NODE ? "" : "i%d", i);
	return buf;
}

static inline const char *m_name(int s, char *buf)
{
	sprintf(buf, "svc-%d", s);
	return buf;
}

static inline const char *m_key(int k, char *buf)
{
	if (k < DEFAULTS)
		sprintf(buf, "c%d", k);
	else if (k < UPKEEP)
		sprintf(buf, "service:i%d", k - DEFAULTS);
	else if (k < UPKEEP + IDS)
		sprintf(buf, WM_SERVICE_MAINTENANCE_ID "i%d", k - UPKEEP);
	else
		sprintf(buf, WM_NODE_MAINTENANCE_ID);
	return buf;
}
