/* SPDX-License-Identifier: Apache-2.0 */
/* write_letters.h - a small alphabet of writes for test_write_orders.c: what each asks of a
 * registry whose time stands still, and what the model of model.h makes of it. */
#pragma once
#include "disk_gate.h"
#include "env_virtual.h"
#include "model.h"
#include "registry_help.h"
#include "userspace/registry/internal.h"
#include "userspace/registry/plan.h"

#define OTHER	   "other" /* the catalog's node */
#define AWAY	   3	   /* number of the instance on it */
#define USED	   4	   /* numbers of instances */
#define MS	   3600000 /* a TTL that does not run out */
#define BATCHES	   2
#define WRITES	   2  /* of a batch */
#define REOPEN	   61 /* runs between two restarts */
#define NODE_CHECK 2  /* key */

enum outcome { STORED, FULL, BROKEN }; /* no space; or it is in doubt what the disk has */
enum how { OWN, CATALOG_PUT, CATALOG_DROP, FOUND, CLEAR };

/* A write by a letter: what it asks for. */
struct letter {
	char name;
	enum how how;
	struct m_op op;
};

#define PUT(i, s, p, ...)                                                                          \
	{                                                                                          \
		.kind = M_REGISTER, .inst = i, .name = s, .port = p, ##__VA_ARGS__                 \
	}
#define CHECK(k, d) .count = 1, .c = {{.key = k, .def = d}}
#define ITS	    .catalog = true

/* i0 is there from the start, starting, with check c0, the only one of its service. */
static const struct letter letters[] = {
	{'N', OWN, PUT(1, 0, 1, CHECK(1, 0))}, /* beside it */
	{'S', OWN, PUT(1, 1, 1)},	       /* of another service */
	{'R', OWN, PUT(0, 0, 2)},
	{'C', OWN, PUT(0, 0, 1, CHECK(0, 1))}, /* its check is redefined */
	{'B', OWN, PUT(0, 0, 1, CHECK(0, 2))},
	{'M', OWN, PUT(0, 1, 1, .replace = true)}, /* to the other service, without its check */
	{'D', OWN, {.kind = M_DEREGISTER, .inst = 0}},
	{'E', OWN, {.kind = M_DEREGISTER, .inst = 1}},
	{'K', OWN, {.kind = M_CHECK_PUT, .inst = 0, CHECK(1, 0)}}, /* that N wants, too */
	{'X', OWN, {.kind = M_CHECK_DROP, CHECK(0, 0)}},
	{'H', OWN, {.kind = M_CHECK_PUT, .inst = NODE, CHECK(NODE_CHECK, 0)}},
	{'T', OWN, {.kind = M_MAINTENANCE, .on = true, CHECK(UPKEEP, 0)}},
	{'L', OWN, {.kind = M_LIFECYCLE, .inst = 0, .life = WM_LIFE_STOPPED}},
	{'G', CATALOG_PUT, PUT(0, 1, 3, ITS)},
	{'Z', CATALOG_DROP, {.kind = M_DEREGISTER, .inst = 0, ITS}},
	{'F', FOUND, PUT(AWAY, 1, 1, ITS, .away = true)},
	{'Q', CLEAR, {.kind = M_DEREGISTER, .inst = AWAY, ITS}},
};
#define ALL	"NSRCBMDEKXHTLGZFQ"
#define LETTERS (sizeof(letters) / sizeof(*letters))

/* What a run begins with, whatever the one before left. */
static const struct letter beginning[] = {
	{'z', CATALOG_DROP, {.kind = M_DEREGISTER, .inst = 0, ITS}},
	{'d', OWN, {.kind = M_DEREGISTER, .inst = 0}},
	{'e', OWN, {.kind = M_DEREGISTER, .inst = 1}},
	{'x', OWN, {.kind = M_CHECK_DROP, CHECK(NODE_CHECK, 0)}},
	{'q', CLEAR, {.kind = M_DEREGISTER, .inst = AWAY, ITS}},
	{'a', OWN, PUT(0, 0, 1, CHECK(0, 0), .life = WM_LIFE_STARTING)},
};
#define BEGINNING (sizeof(beginning) / sizeof(*beginning))

struct ask {
	const struct letter *of;
	struct m_op op;
	bool judged;
};

static struct wm_registry *r;
static struct model model;
static bool other; /* the node is there */
static struct m_seen seen;
static bool woken[NAMES];
static uint64_t last, scope[NAMES];
/* The model's numbers are not the registry's, but stay and grow with them. */
static struct numbers {
	uint64_t model, created, registry;
} of_instance[IDS], of_check[KEYS];
static struct in_addr vips[NAMES];
static const char *said[KEYS]; /* by the last result of a check that was created by: */
static uint64_t said_of[KEYS];
static char doing[64]; /* for the words of a failure */
static unsigned runs, stored, failed, results, slices;

/* --- time: stands still, or a slice of a turn passes with each look -----------------------------
 */
static struct virtual_env clock_env;
static bool ticking;
static uint64_t turns;

static uint64_t now_ns(void *arg)
{
	if (ticking)
		clock_env.ns += WM_REGISTRY_TURN_MS * WM_NS_PER_MS;
	return virtual_ns(arg);
}

static uint64_t turn(void *arg, bool again)
{
	(void)arg;
	(void)again; /* the test goes round anyway */
	return turns;
}

static void wake(void *arg)
{
	(void)arg; /* the test polls */
}

static void open_one(void)
{
	struct wm_registry_config c = config(db);
	struct wm_err e = {0};

	c.env = &clock_env.env;
	c.wake = wake;
	c.turn = turn;
	cr_assert_eq(wm_registry_open(&c, &r, &e), 0, "%s", e.text);
}

/* --- a write ------------------------------------------------------------------------------------
 */
static void on_done(void *arg, int code, const char *text)
{
	struct m_op *op = arg;

	op->called++;
	op->code = code;
	snprintf(op->text, sizeof(op->text), "%s", text);
}

static int submit_catalog(struct ask *k, const struct wm_instance_draft *d)
{
	static const struct wm_node_draft facts = {.address = "10.9.0.1"};
	const struct wm_catalog_op
		put = {.object = WM_OBJECT_SERVICE, .node = "n1", .service = d},
		drop = {.object = WM_OBJECT_SERVICE,
			.verb = WM_VERB_DELETE,
			.node = "n1",
			.id = d->id},
		clear = {.object = WM_OBJECT_NODE, .verb = WM_VERB_DELETE, .node = OTHER},
		found[2] = {{.object = WM_OBJECT_NODE, .node = OTHER, .facts = &facts},
			    {.object = WM_OBJECT_SERVICE, .node = OTHER, .service = d}};
	struct wm_catalog_batch b = {.count = 1, .done = on_done, .arg = &k->op};
	unsigned number;

	switch (k->of->how) {
	case CATALOG_PUT:
		b.ops = &put;
		break;
	case CATALOG_DROP:
		b.ops = &drop;
		break;
	case CLEAR:
		b.ops = &clear;
		break;
	case OWN:
	case FOUND:
		b.ops = found;
		b.count = 2;
	}
	return wm_registry_catalog(r, &b, &number, NULL);
}

static int submit_own(struct m_op *op, const struct wm_instance_draft *d)
{
	char key[64];

	switch (op->kind) {
	case M_REGISTER:
		return wm_registry_register(r, d, on_done, op, NULL);
	case M_DEREGISTER:
		return wm_registry_deregister(r, d->id, on_done, op, NULL);
	case M_CHECK_PUT:
		return wm_registry_check_register(r, d->id, d->checks, on_done, op, NULL);
	case M_CHECK_DROP:
		return wm_registry_check_deregister(r, m_key(op->c[0].key, key), on_done, op, NULL);
	case M_MAINTENANCE:
		return wm_registry_maintenance(r, d->id, op->on, "a", on_done, op, NULL);
	case M_LIFECYCLE:
		return wm_registry_lifecycle(r, d->id, op->life, 0, on_done, op, NULL);
	case M_DRAINED:
		break;
	}
	return -1;
}

static void submit(struct ask *k, const struct letter *of)
{
	static const char *const tags[] = {"blue"};
	char id[64], name[64], key[64];
	struct wm_check_draft c;
	struct wm_instance_draft d;

	*k = (struct ask){.of = of, .op = of->op};
	c = (struct wm_check_draft){.id = m_key(k->op.c[0].key, key),
				    .name = "n",
				    .ttl_ms = MS + (uint64_t)k->op.c[0].def};
	d = (struct wm_instance_draft){.id = m_id(k->op.inst, id),
				       .name = m_name(k->op.name, name),
				       .address = "10.1.0.1",
				       .port = (uint32_t)k->op.port,
				       .has_weights = true,
				       .weight_passing = 1,
				       .weight_warning = 1,
				       .tags = tags,
				       .tags_count = 1,
				       .checks = &c,
				       .checks_count = (unsigned)k->op.count,
				       .replace_checks = k->op.replace,
				       .lifecycle = k->op.life};
	k->op.weight = 1;
	if (k->op.kind == M_MAINTENANCE)
		k->op.c[0].given = 1 + WM_CRITICAL;
	cr_assert_eq(of->how == OWN ? submit_own(&k->op, &d) : submit_catalog(k, &d), 0, "%s",
		     doing);
}

static int apply_to(struct model *m, bool *node, const struct ask *k)
{
	if (k->of->how == FOUND)
		*node = true;
	if (k->of->how == CLEAR)
		*node = false;
	/* the catalog's deletions are lenient */
	if ((k->of->how == CLEAR || k->of->how == CATALOG_DROP) && !m->inst[k->op.inst].used)
		return 0;
	return m_apply(m, &k->op);
}
