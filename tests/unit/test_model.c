/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* test_model.c - the registry, its indexes and who a change wakes, under random operations and held
 * to the naive model of model.h after each. WM_SEED repeats a run, WM_MODEL_OPS makes it longer. */
#include "api_help.h"
#include "model.h"
#include "userspace/api/internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/err.h"
#include "userspace/base/random.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define OPS	    1000000 /* of the run in memory */
#define OPS_STORE   40000   /* of the run with a store, which is opened anew some 200 times */
#define OPS_HTTP    3000    /* of the run with clients that wait */
#define WHOLE_EVERY 97	    /* operations between two comparisons of everything */
#define BATCH	    4	    /* operations of one flush at most */
#define DRAIN_MS    3600000 /* of drains at least: none ends by itself */

static struct model model;
static struct m_seen seen;
static bool woken[NAMES], catalog_moved, checks_moved; /* in this step, by the model */
static uint64_t state;				       /* of the generator */
static uint64_t scope_index[NAMES + WM_SCOPE_COUNT];
static struct in_addr vips[NAMES];
static unsigned codes[8]; /* outcomes, so that a run that only refuses is noticed */
/* and of lifecycles: what was stated of what, what was shown, drains that ended and that did not */
static unsigned stated[WM_LIFE_COUNT][WM_LIFE_COUNT], shown[WM_LIFE_COUNT], drained[2], begun;
static uint64_t drains; /* so far */

/* --- chance -------------------------------------------------------------------------------------
 */
static unsigned draw(unsigned below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (unsigned)(state >> 33) % below;
}

static uint64_t begin_chance(void)
{
	const char *given = getenv("WM_SEED");
	uint64_t seed = given && *given ? strtoull(given, NULL, 0) : wm_random64();

	fprintf(stderr, "WM_SEED=%llu\n", (unsigned long long)seed);
	state = seed | 1;
	return seed;
}

static unsigned ops_of(unsigned otherwise)
{
	const char *given = getenv("WM_MODEL_OPS");

	return given && *given ? (unsigned)strtoul(given, NULL, 10) : otherwise;
}

static void random_checks(struct m_op *op, int count)
{
	op->count = 0;
	while (op->count < count) {
		int key = (int)draw(POOL), n = 0;

		while (n < op->count && op->c[n].key != key)
			n++;
		if (n < op->count)
			continue;
		op->c[n].key = key;
		op->c[n].def = (int)draw(3);
		op->c[n].given = draw(3) ? (int)draw(4) : 0;
		op->count++;
	}
	if (count == 1 && op->kind == M_REGISTER && draw(2))
		op->c[0].key = DEFAULTS + op->inst;
}

static void random_life(struct m_op *op)
{
	op->kind = draw(4) ? M_LIFECYCLE : M_DRAINED;
	op->life = draw(3) ? (enum wm_lifecycle)(WM_LIFE_STARTING + draw(4)) : WM_LIFE_STOPPING;
	if (op->kind == M_LIFECYCLE && op->life == WM_LIFE_STOPPING && draw(2))
		op->drain_ms = DRAIN_MS + ++drains % DRAIN_MS;
}

static void random_op(struct m_op *op)
{
	unsigned r = draw(100);

	memset(op, 0, sizeof(*op));
	op->inst = (int)draw(IDS);
	op->note = (int)draw(2);
	if (r < 20) {
		random_life(op);
	} else if (r < 56) {
		op->kind = M_REGISTER;
		op->name = (int)draw(NAMES - 1);
		op->port = 1 + (int)draw(3);
		op->weight = 1 + (int)draw(2);
		op->tag = (int)draw(2);
		op->replace = draw(3) == 0;
		if (draw(2))
			op->life = (enum wm_lifecycle)draw(1 + WM_LIFE_STOPPED);
		else if (draw(2))
			op->life = WM_LIFE_STARTING;
		random_checks(op, draw(2) ? 0 : (int)draw(DRAFT_CHECKS + 1));
	} else if (r < 72) {
		op->kind = M_DEREGISTER;
	} else if (r < 82) {
		op->kind = M_CHECK_PUT;
		op->inst = (int)draw(IDS + 1);
		random_checks(op, 1);
	} else if (r < 91) {
		op->kind = M_CHECK_DROP;
		op->c[0].key = (int)draw(KEYS);
	} else {
		op->kind = M_MAINTENANCE;
		op->inst = (int)draw(IDS + 1);
		op->on = draw(2);
		op->count = 1;
		op->c[0].key = UPKEEP + op->inst;
		op->c[0].given = 1 + WM_CRITICAL;
	}
}

/* --- doing it -----------------------------------------------------------------------------------
 */
static void on_done(void *arg, int code, const char *text)
{
	struct m_op *op = arg;

	op->called++;
	op->code = code;
	snprintf(op->text, sizeof(op->text), "%s", text);
}

static void fill_draft(const struct m_op *op, int n, struct wm_check_draft *d, char *id)
{
	static const char *const notes[] = {"", "once more"};

	*d = (struct wm_check_draft){
		.name = "n", .notes = notes[op->note], .ttl_ms = 3600000 + (uint64_t)op->c[n].def};
	/* the default id is left to the registry */
	d->id = op->c[n].key < POOL ? m_key(op->c[n].key, id) : NULL;
	d->has_status = op->c[n].given;
	d->status = op->c[n].given ? (enum wm_status)(op->c[n].given - 1) : WM_PASSING;
}

static int submit_life(struct m_op *op, const char *id)
{
	int err;

	if (op->kind == M_DRAINED) {
		op->called = 1; /* nobody is told */
		return wm_registry_drained(registry, id);
	}
	op->drain = wm_clock_wall_ms() + op->drain_ms;
	err = wm_registry_lifecycle(registry, id, op->life, op->drain_ms, on_done, op, NULL);
	op->drain_max = wm_clock_wall_ms() + op->drain_ms;
	return err;
}

static int submit(struct m_op *op)
{
	static const char *const tags[] = {"blue", "green"}, *const reasons[] = {"a", "b"};
	char id[64], name[64], keys[DRAFT_CHECKS][64];
	struct wm_check_draft checks[DRAFT_CHECKS];
	struct wm_instance_draft d = {0};

	m_id(op->inst, id);
	m_name(op->name, name);
	for (int n = 0; n < op->count; n++)
		fill_draft(op, n, &checks[n], keys[n]);
	switch (op->kind) {
	case M_REGISTER:
		d = (struct wm_instance_draft){.id = id,
					       .name = name,
					       .address = "10.1.0.1",
					       .port = (uint32_t)op->port,
					       .has_weights = true,
					       .weight_passing = (unsigned)op->weight,
					       .weight_warning = 1,
					       .tags = &tags[op->tag],
					       .tags_count = 1,
					       .checks = checks,
					       .checks_count = (unsigned)op->count,
					       .replace_checks = op->replace,
					       .lifecycle = op->life};
		return wm_registry_register(registry, &d, on_done, op, NULL);
	case M_DEREGISTER:
		return wm_registry_deregister(registry, id, on_done, op, NULL);
	case M_CHECK_PUT:
		return wm_registry_check_register(registry, id, &checks[0], on_done, op, NULL);
	case M_CHECK_DROP:
		return wm_registry_check_deregister(registry, m_key(op->c[0].key, keys[0]), on_done,
						    op, NULL);
	case M_MAINTENANCE:
		return wm_registry_maintenance(registry, id, op->on, reasons[op->note], on_done, op,
					       NULL);
	case M_LIFECYCLE:
	case M_DRAINED:
		return submit_life(op, id);
	}
	return -1;
}

/* What must be refused before it is queued. */
static void refused_at_once(void)
{
	static const char *const names[] = {"", "a\nb", "\x7f", "a\tb"};
	struct wm_instance_draft d = {.id = "i1", .name = names[draw(4)], .port = 1};
	struct wm_check_draft c = {.name = draw(2) ? "n" : "", .id = "c1"};

	cr_assert_lt(wm_registry_register(registry, &d, NULL, NULL, NULL), 0);
	cr_assert_lt(wm_registry_check_register(registry, "i1", &c, NULL, NULL, NULL), 0);
	for (int l = WM_LIFE_NONE; l <= WM_LIFE_COUNT; l++) {
		enum wm_lifecycle to = (enum wm_lifecycle)l;
		bool may = to >= WM_LIFE_STARTING && to <= WM_LIFE_STOPPED;
		uint64_t ms = to == WM_LIFE_STOPPING ? WM_DRAIN_MAX_MS + 1 : 1;

		cr_assert_eq(wm_registry_lifecycle(registry, "i1", to, ms, NULL, NULL, NULL),
			     may ? WM_E_LIMIT : WM_E_INVALID);
		cr_assert(may || wm_registry_lifecycle(registry, "i1", to, 0, NULL, NULL, NULL) ==
					 WM_E_INVALID);
	}
	cr_assert_lt(wm_registry_lifecycle(registry, "", WM_LIFE_STOPPED, 0, NULL, NULL, NULL), 0);
}

/* After each change, since one may take back what another of the same flush did. */
static void note_change(void)
{
	struct m_seen now = m_look(&model);

	for (int s = 0; s < NAMES; s++)
		woken[s] |= m_wakes(&seen, &now, s);
	catalog_moved |= now.catalog != seen.catalog;
	checks_moved |= now.checks != seen.checks;
	seen = now;
}

/* What is stated, and what follows of it. */
static void compare_life(int n)
{
	const struct m_instance *m = &model.inst[n];
	char id[64];
	const struct wm_instance *i = wm_registry_instance(registry, m_id(n, id));
	enum wm_lifecycle follows = m_state(&model, n);

	cr_assert_eq(i->lifecycle, m->life, "instance %s", id);
	cr_assert_eq(wm_instance_state(i), follows, "instance %s: expected %s, saw %s", id,
		     wm_lifecycle_str(follows), wm_lifecycle_str(wm_instance_state(i)));
	cr_assert_eq(wm_instance_usable(i), follows == WM_LIFE_RUNNING, "instance %s", id);
	cr_assert_geq(i->drain_until_ms, m->drain, "instance %s", id);
	cr_assert_leq(i->drain_until_ms, m->drain_max, "instance %s", id);
	shown[follows]++;
}

/* One that is there more often than not. */
static int some_check(void)
{
	int key = (int)draw(UPKEEP);

	for (int n = 0; n < 3 && !model.checks[key].used; n++)
		key = (int)draw(UPKEEP);
	return key;
}

/* A check's result, at once. */
static void random_status(void)
{
	static const char *const outputs[M_OUTPUTS] = {
		[M_EMPTY] = "", [M_TEXT] = "output", [M_EXPIRED] = "TTL expired"};
	enum wm_status s = (enum wm_status)draw(3);
	int key = some_check(), owner = model.checks[key].owner;
	enum m_output said = (enum m_output)draw(M_OUTPUTS);
	char id[64];
	struct wm_check *c = wm_registry_check(registry, m_key(key, id));
	bool starting = owner != NODE && model.inst[owner].life == WM_LIFE_STARTING;

	cr_assert_eq(c != NULL, model.checks[key].used, "%s", id);
	if (!c)
		return;
	cr_assert_eq(wm_registry_set_status(registry, c, s, outputs[said]),
		     m_status(&model, key, s, said), "%s", id);
	note_change();
	begun += starting && model.inst[owner].life == WM_LIFE_RUNNING;
	if (owner != NODE)
		compare_life(owner);
}

/* --- comparing ----------------------------------------------------------------------------------
 */
static void compare_check(int key)
{
	const struct m_check *m = &model.checks[key];
	char id[64], owner[64];
	const struct wm_check *c = wm_registry_check(registry, m_key(key, id));

	cr_assert_eq(c != NULL, m->used, "check %s", id);
	if (!c)
		return;
	cr_assert_str_eq(c->id, id);
	cr_assert_str_eq(c->instance->id, m_id(m->owner, owner));
	cr_assert_eq(c->kind, m->maintenance ? WM_CHECK_MAINTENANCE : WM_CHECK_TTL);
	cr_assert_eq(c->status, m->status, "check %s", id);
	cr_assert_eq(c->create_index, m->create, "check %s", id);
	cr_assert_eq(c->modify_index, m->modify, "check %s", id);
	cr_assert(m->maintenance || c->ttl_ms == 3600000 + (uint64_t)m->def, "check %s", id);
}

static void compare_instance(int n)
{
	const struct m_instance *m = &model.inst[n];
	char id[64], name[64];
	const struct wm_instance *i = wm_registry_instance(registry, m_id(n, id));
	unsigned checks = 0;

	cr_assert_eq(i != NULL, m->used, "instance %s", id);
	if (!i)
		return;
	for (int k = 0; k < KEYS; k++)
		checks += model.checks[k].used && model.checks[k].owner == n;
	cr_assert_str_eq(i->id, id);
	cr_assert_str_eq(i->service->name, m_name(m->name, name));
	cr_assert_eq(i->service->instances[i->place], i);
	cr_assert_eq(i->port, m->port);
	cr_assert_eq(i->weight_passing, (unsigned)m->weight);
	cr_assert_str_eq(i->tags[0], m->tag ? "green" : "blue");
	cr_assert_eq(i->create_index, m->create, "instance %s", id);
	cr_assert_eq(i->modify_index, m->modify, "instance %s", id);
	cr_assert_eq(i->checks_count, checks, "instance %s", id);
	cr_assert_eq(i->status, m_worst(&model, n), "instance %s", id);
	compare_life(n);
}

static void compare_service(int n)
{
	char name[64];
	const struct wm_service *s = wm_registry_service(registry, m_name(n, name));
	bool live = m_live(&model, n);
	unsigned count = 0;

	cr_assert_eq(s != NULL, live, "service %s", name);
	cr_assert_eq(wm_scope_index(api, WM_SCOPE_SERVICE, name),
		     live ? model.service_index[n] : model.extinct, "service %s", name);
	if (!s)
		return;
	for (int i = 0; i < IDS; i++)
		count += model.inst[i].used && model.inst[i].name == n;
	cr_assert_eq(s->instances_count, count, "service %s", name);
	cr_assert_eq(s->create_index, model.service_create[n], "service %s", name);
	/* a name keeps its address, and has it for itself */
	if (!vips[n].s_addr)
		vips[n] = s->vip4;
	cr_assert_eq(vips[n].s_addr, s->vip4.s_addr, "service %s", name);
	for (int other = 0; other < n; other++)
		cr_assert_neq(vips[other].s_addr, vips[n].s_addr);
}

static void compare_whole(void)
{
	const struct wm_instance *holder = wm_registry_node_checks(registry);
	unsigned node = 0, n = 0;
	size_t pos = 0;

	for (int k = 0; k < KEYS; k++) {
		compare_check(k);
		node += model.checks[k].used && model.checks[k].owner == NODE;
	}
	for (int i = 0; i < IDS; i++)
		compare_instance(i);
	for (int s = 0; s < NAMES; s++)
		compare_service(s);
	cr_assert_eq(holder->checks_count, node);
	cr_assert_eq(holder->status, m_worst(&model, NODE));
	while (wm_registry_next_instance(registry, &pos))
		n++;
	cr_assert_eq(n, m_instances(&model));
	for (n = 0, pos = 0; wm_registry_next_service(registry, &pos);)
		n++;
	cr_assert_eq(n, m_services(&model));
}

static void take_indexes(uint64_t *ret)
{
	char name[64];

	for (int s = 0; s < NAMES; s++)
		ret[s] = wm_scope_index(api, WM_SCOPE_SERVICE, m_name(s, name));
	for (int s = 0; s < WM_SCOPE_COUNT; s++)
		ret[NAMES + s] = s == WM_SCOPE_SERVICE
					 ? 1
					 : wm_scope_index(api, (enum wm_scope)s,
							  wm_registry_node(registry)->name);
}

/* Whom did it wake? An index that a watcher holds and that is passed wakes it. */
static void compare_wakes(void)
{
	uint64_t next[NAMES + WM_SCOPE_COUNT];

	take_indexes(next);
	for (int s = 0; s < NAMES + WM_SCOPE_COUNT; s++) {
		cr_assert_geq(next[s], scope_index[s], "an index went back");
		cr_assert_leq(next[s], wm_registry_index(registry));
	}
	for (int s = 0; s < NAMES; s++)
		cr_assert_eq(next[s] > scope_index[s], woken[s], "service %d", s);
	cr_assert_eq(next[NAMES + WM_SCOPE_CATALOG] > scope_index[NAMES + WM_SCOPE_CATALOG],
		     catalog_moved);
	if (checks_moved) {
		cr_assert_gt(next[NAMES + WM_SCOPE_CHECKS], scope_index[NAMES + WM_SCOPE_CHECKS]);
		cr_assert_gt(next[NAMES + WM_SCOPE_NODE], scope_index[NAMES + WM_SCOPE_NODE]);
	}
	cr_assert_eq(next[NAMES + WM_SCOPE_NODES], scope_index[NAMES + WM_SCOPE_NODES]);
	memcpy(scope_index, next, sizeof(next));
}

static void compare(const struct m_op *ops, unsigned count)
{
	cr_assert_eq(wm_registry_index(registry), model.index);
	cr_assert_lt(model.index, 1ull << 53);
	cr_assert_eq(wm_registry_instances(registry), m_instances(&model));
	cr_assert_eq(wm_registry_services(registry), m_services(&model));
	cr_assert_eq(wm_registry_checks(registry), m_checks(&model));
	for (unsigned n = 0; n < count; n++) {
		if (ops[n].inst != NODE)
			compare_instance(ops[n].inst);
		for (int k = 0; k < ops[n].count; k++)
			compare_check(ops[n].c[k].key);
	}
	compare_wakes();
}

/* Before the model takes it in. */
static void note_life(const struct m_op *op)
{
	const struct m_instance *i = &model.inst[op->inst];

	if (op->kind == M_LIFECYCLE && i->used)
		stated[i->life][op->life]++;
	if (op->kind == M_DRAINED && i->used)
		drained[i->drain != 0]++;
}

/* A transition that is refused: the client reads which. */
static void judge_refusal(const struct m_op *op)
{
	cr_assert_eq(wm_err_http(op->code), 409);
	cr_assert(strstr(op->text, wm_lifecycle_str(model.inst[op->inst].life)), "%s", op->text);
	cr_assert(strstr(op->text, wm_lifecycle_str(op->life)), "%s", op->text);
}

/* The answer of one operation: as the model says, or the store failed and nothing changed. */
static void judge(struct m_op *op, bool may_fail)
{
	struct model before;
	char id[64];
	int code;

	cr_assert_eq(op->called, 1);
	if (may_fail)
		before = model;
	note_life(op);
	code = m_apply(&model, op);
	/* nobody is told of it but by the instance */
	if (may_fail && op->kind == M_DRAINED && before.inst[op->inst].used &&
	    wm_registry_instance(registry, m_id(op->inst, id)))
		op->code = before.inst[op->inst].drain ? WM_E_STORE : 0;
	if (may_fail && op->code != code) {
		cr_assert(!code && wm_err_http(op->code) >= 500, "%d: %s", op->code, op->text);
		model = before;
		codes[7]++;
		return;
	}
	cr_assert_eq(op->code, code, "kind %d of instance %d: expected %d, saw %d: %s", op->kind,
		     op->inst, code, op->code, op->text);
	if (op->kind == M_LIFECYCLE && code == WM_E_CONFLICT)
		judge_refusal(op);
	note_change();
	codes[code == 0 ? 0 : code == WM_E_UNKNOWN ? 1 : code == WM_E_CONFLICT ? 2 : 3]++;
}

/* --- in memory ----------------------------------------------------------------------------------
 */
static void setup(void)
{
	api_setup();
	registry_config.instances_max = INSTANCES_MAX;
	registry_config.services_max = SERVICES_MAX;
	begin_chance();
}

/* The model begins with, or goes on from, the index that the registry has. */
static void align(void)
{
	cr_assert_geq(wm_registry_index(registry), model.index, "indexes grow across a restart");
	model.index = model.extinct = wm_registry_index(registry);
	for (int s = 0; s < NAMES; s++)
		model.service_index[s] = model.index;
	take_indexes(scope_index);
	seen = m_look(&model);
}

static void bare_start(void)
{
	struct wm_err e = {0};

	loop = wm_loop_new();
	cr_assert(loop);
	cr_assert_eq(wm_registry_open(&registry_config, &registry, &e), 0, "%s", e.text);
	api = wm_api_new(&(struct wm_api_deps){.loop = loop, .registry = registry});
	cr_assert(api);
	align();
}

static void bare_stop(void)
{
	wm_registry_close(registry);
	wm_api_free(api);
	wm_loop_free(loop);
}

static void begin_step(void)
{
	memset(woken, 0, sizeof(woken));
	catalog_moved = checks_moved = false;
}

/* One flush of up to BATCH operations, with results of checks between them. @return how many. */
static unsigned step(bool may_fail)
{
	struct m_op ops[BATCH];
	/* of what fails nothing can be foreseen but by itself */
	unsigned count = may_fail ? 1 : 1 + (draw(3) ? 0 : draw(BATCH)), done = count;

	begin_step();
	for (unsigned n = 0; n < count; n++) {
		if (draw(4) == 0) {
			random_status();
			done++;
		}
		random_op(&ops[n]);
		cr_assert_eq(submit(&ops[n]), 0);
	}
	if (draw(200) == 0)
		refused_at_once();
	wm_registry_flush(registry);
	for (unsigned n = 0; n < count; n++)
		judge(&ops[n], may_fail);
	compare(ops, count);
	return done;
}

static void report(unsigned done)
{
	fprintf(stderr,
		"%u operations, index %llu: ok %u, unknown %u, conflict %u, limit %u, "
		"store failed %u\n",
		done, (unsigned long long)model.index, codes[0], codes[1], codes[2], codes[3],
		codes[7]);
	for (int n = 0; n < 4; n++)
		cr_assert_gt(codes[n], done / 10000, "an outcome hardly happened");
	cr_assert_gt(model.applied, done / 4);
	for (int from = WM_LIFE_STARTING; from <= WM_LIFE_STOPPED; from++) {
		for (int to = WM_LIFE_STARTING; to <= WM_LIFE_STOPPED; to++)
			cr_assert_geq(stated[from][to], done / 10000, "%d to %d", from, to);
	}
	for (int l = WM_LIFE_STARTING; l < WM_LIFE_COUNT; l++)
		cr_assert_geq(shown[l], done / 10000, "state %d", l);
	cr_assert_geq(drained[0], done / 10000);
	cr_assert_geq(drained[1], done / 10000);
	cr_assert_geq(begun, done / 10000);
}

TestSuite(model, .init = setup, .timeout = 600);

Test(model, a_million_operations_in_memory)
{
	unsigned total = ops_of(OPS), done = 0;

	bare_start();
	while (done < total) {
		done += step(false);
		if (draw(WHOLE_EVERY) == 0)
			compare_whole();
	}
	compare_whole();
	report(done);
	bare_stop();
}

/* --- with a store -------------------------------------------------------------------------------
 */
static char dir[64], path[2][96];

static int rm_entry(const char *p, const struct stat *st, int flag, struct FTW *f)
{
	(void)st;
	(void)flag;
	(void)f;
	return remove(p);
}

static void setup_store(void)
{
	setup();
	signal(SIGXFSZ, SIG_IGN);
	snprintf(dir, sizeof(dir), "/tmp/wm-model-XXXXXX");
	cr_assert(mkdtemp(dir));
	for (int n = 0; n < 2; n++)
		snprintf(path[n], sizeof(path[n]), "%s/%d.db", dir, n);
	registry_config.path = path[0];
}

static void teardown_store(void)
{
	nftw(dir, rm_entry, 8, FTW_DEPTH | FTW_PHYS);
}

static void copy_file(const char *from, const char *to, const char *suffix)
{
	char a[128], b[128], block[65536];
	ssize_t n = 0;
	int in, out;

	snprintf(a, sizeof(a), "%s%s", from, suffix);
	snprintf(b, sizeof(b), "%s%s", to, suffix);
	unlink(b);
	in = open(a, O_RDONLY | O_CLOEXEC);
	if (in < 0)
		return;
	out = open(b, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	cr_assert_geq(out, 0);
	while ((n = read(in, block, sizeof(block))) > 0)
		cr_assert_eq(write(out, block, (size_t)n), n);
	cr_assert_eq(n, 0);
	close(in);
	close(out);
}

/* An output is stored with its row, but alone it is no reason to store that; and whether one that
 * is empty was ever told is not stored. So what checks said is not the model's to know now. */
static void hear_anew(void)
{
	char id[64];

	for (int k = 0; k < UPKEEP; k++) {
		struct m_check *m = &model.checks[k];
		const struct wm_check *c = wm_registry_check(registry, m_key(k, id));

		if (!m->used || !c)
			continue;
		m->told = m->given || *c->output;
		m->silent = strcmp(c->output, "TTL expired") == 0;
	}
}

/* Close and open; or open what stood on the disk when there was no time to close. */
static void reopen(void)
{
	bool crash = draw(2);
	uint64_t index = model.index;
	struct m_op synced = {0};

	if (crash) {
		cr_assert_eq(wm_registry_sync(registry, NULL, on_done, &synced), 0);
		wm_registry_flush(registry);
		cr_assert(synced.called && !synced.code);
		for (const char *const *s = (const char *const[]){"", "-wal", NULL}; *s; s++)
			copy_file(registry_config.path, path[registry_config.path == path[0]], *s);
	}
	bare_stop();
	if (crash)
		registry_config.path = path[registry_config.path == path[0]];
	bare_start();
	hear_anew();
	cr_assert(crash || model.index == index, "a clean end wastes no index");
	compare_whole();
}

static void failing(void)
{
	struct rlimit old, none;

	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	none = old;
	none.rlim_cur = 1; /* as a full disk */
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	for (unsigned n = 1 + draw(8); n; n--)
		step(true);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
}

TestSuite(model_store, .init = setup_store, .fini = teardown_store, .timeout = 600);

Test(model_store, commits_fail_and_restarts_lose_nothing)
{
	unsigned total = ops_of(OPS_STORE), done = 0, restarts = 0;

	bare_start();
	while (done < total) {
		done += step(false);
		if (draw(100) == 0)
			failing();
		if (draw(150) == 0) {
			reopen();
			restarts++;
		}
	}
	compare_whole();
	report(done);
	cr_assert_gt(codes[7], done / 10000);
	cr_assert_gt(restarts, 10);
	bare_stop();
}

/* --- with clients that wait ---------------------------------------------------------------------
 */
static struct client watchers[NAMES], follower;

/* Some want only what takes connections; they wake as the others do. */
static bool asks_passing(int s)
{
	return s % 3 == 1;
}

static bool wanted(int s, int n)
{
	return model.inst[n].used && model.inst[n].name == s &&
	       (!asks_passing(s) ||
		(m_worst(&model, n) == WM_PASSING && model.inst[n].life == WM_LIFE_RUNNING));
}

static void watch(int s)
{
	char at[128];

	snprintf(at, sizeof(at), "/v1/health/service/svc-%d?index=%llu&wait=10m%s", s,
		 (unsigned long long)scope_index[s], asks_passing(s) ? "&passing" : "");
	client_send(&watchers[s], "GET", at, NULL);
}

/* The answer's instances and checks are those of the model. */
static void compare_answer(int s)
{
	json_t *v = json_loads(watchers[s].body, 0, NULL), *item;
	size_t at, instances = 0, checks = 0, want_instances = 0, want_checks = 0, node = 1;

	cr_assert_eq(watchers[s].status, 200);
	cr_assert_eq(index_of(&watchers[s]), scope_index[s], "service %d", s);
	cr_assert(json_is_array(v));
	for (int k = 0; k < KEYS; k++)
		node += model.checks[k].used && model.checks[k].owner == NODE;
	json_array_foreach(v, at, item)
	{
		const json_t *service = json_object_get(item, "Service"), *check;
		int n = atoi(json_string_value(json_object_get(service, "ID")) + 1);
		size_t c;

		instances++;
		cr_assert(wanted(s, n), "instance %d", n);
		cr_assert_eq(json_integer_value(json_object_get(service, "Port")),
			     model.inst[n].port);
		cr_assert_eq((uint64_t)json_integer_value(json_object_get(service, "ModifyIndex")),
			     model.inst[n].modify);
		json_array_foreach(json_object_get(item, "Checks"), c, check)
		{
			const char *id = json_string_value(json_object_get(check, "CheckID"));
			char key[64];

			checks++;
			for (int k = 0; k < KEYS; k++) {
				if (!model.checks[k].used || strcmp(m_key(k, key), id) != 0)
					continue;
				cr_assert_str_eq(
					json_string_value(json_object_get(check, "Status")),
					wm_status_str(model.checks[k].status));
			}
		}
	}
	for (int i = 0; i < IDS; i++) {
		if (!wanted(s, i))
			continue;
		want_instances++;
		want_checks += node;
		for (int k = 0; k < KEYS; k++)
			want_checks += model.checks[k].used && model.checks[k].owner == i;
	}
	cr_assert_eq(instances, want_instances);
	cr_assert_eq(checks, want_checks);
	json_decref(v);
}

/* What a client makes of the events: service, port, status and state of each instance. */
static struct {
	int name, port;
	char status[16];
	enum wm_lifecycle state;
} replica[IDS];
static unsigned long last_event;

static void take_event(const char *kind, const char *data)
{
	json_t *v = json_loads(data, 0, NULL);
	const char *id = json_string_value(json_object_get(v, "instance"));
	const char *name = json_string_value(json_object_get(v, "service"));
	int n = id ? atoi(id + 1) : 0, s = name ? atoi(name + 4) : 0;

	cr_assert(v, "%s", data);
	cr_assert_str_neq(kind, "reset");
	if (strcmp(kind, "instance") == 0 || strcmp(kind, "status") == 0) {
		replica[n].name = s;
		replica[n].port = (int)json_integer_value(json_object_get(v, "port"));
		snprintf(replica[n].status, sizeof(replica[n].status), "%s",
			 json_string_value(json_object_get(v, "status")));
		cr_assert_eq(wm_lifecycle_parse(json_string_value(json_object_get(v, "state")),
						&replica[n].state),
			     0);
	} else if (strcmp(kind, "instance-deleted") == 0 && replica[n].name == s) {
		replica[n].port = 0;
	}
	json_decref(v);
}

/* Take in every whole event; the chunks of the transfer end in lines of their own. */
static void follow(void)
{
	char *event, *at = follower.text, *end;
	ssize_t n = recv(follower.fd, follower.text + follower.len, ANSWER_MAX - 1 - follower.len,
			 MSG_DONTWAIT);

	follower.len += n > 0 ? (size_t)n : 0;
	follower.text[follower.len] = 0;
	while ((event = strstr(at, "event: ")) && (end = strstr(event, "\n\n"))) {
		char kind[32], *data = strstr(event, "\ndata: "), *id = strstr(at, "id: ");

		cr_assert(data && data < end);
		snprintf(kind, sizeof(kind), "%.*s", (int)strcspn(event + 7, "\n"), event + 7);
		*end = 0;
		take_event(kind, data + 7);
		if (id && id < event)
			last_event = strtoul(id + 4, NULL, 10);
		at = end + 2;
	}
	follower.len -= (size_t)(at - follower.text);
	memmove(follower.text, at, follower.len + 1);
}

static void follow_anew(void)
{
	char at[96];

	client_close(&follower);
	client_open(&follower);
	snprintf(at, sizeof(at), "/v1/waymark/events?index=%lu", last_event);
	client_send(&follower, "GET", at, NULL);
}

static bool all_wait(void)
{
	return api->watches == NAMES;
}

static bool answered(const struct m_op *ops, unsigned count)
{
	for (unsigned n = 0; n < count; n++) {
		if (!ops[n].called)
			return false;
	}
	return true;
}

static void step_http(void)
{
	struct m_op ops[BATCH];
	unsigned count = 1 + (draw(3) ? 0 : draw(BATCH));

	begin_step();
	for (unsigned n = 0; n < count; n++) {
		if (draw(4) == 0)
			random_status();
		random_op(&ops[n]);
		cr_assert_eq(submit(&ops[n]), 0);
	}
	for (unsigned n = 0; n < count; n++) {
		if (ops[n].kind == M_DRAINED)
			turns(1); /* has no answer to wait for */
	}
	UNTIL(answered(ops, count));
	for (unsigned n = 0; n < count; n++)
		judge(&ops[n], false);
	compare(ops, count);
	for (int s = 0; s < NAMES; s++) {
		if (woken[s])
			UNTIL(client_has(&watchers[s]));
	}
	/* who does not wake has no answer, and who did waits again */
	for (int s = 0; s < NAMES; s++) {
		if (!woken[s]) {
			cr_assert(!client_has(&watchers[s]) && !watchers[s].len,
				  "service %d woke for nothing", s);
			continue;
		}
		compare_answer(s);
		watch(s);
	}
	UNTIL(all_wait());
	follow();
	if (draw(100) == 0)
		follow_anew();
}

/* Unknown becomes unhealthy by what a check says, and that alone is no event. */
static enum wm_lifecycle announced(enum wm_lifecycle l)
{
	return l == WM_LIFE_UNKNOWN ? WM_LIFE_UNHEALTHY : l;
}

static bool replica_agrees(void)
{
	follow();
	for (int i = 0; i < IDS; i++) {
		const struct m_instance *m = &model.inst[i];

		if (!m->used != !replica[i].port)
			return false;
		if (m->used && (m->name != replica[i].name || m->port != replica[i].port ||
				strcmp(replica[i].status, wm_status_str(m_worst(&model, i))) != 0 ||
				announced(replica[i].state) != announced(m_state(&model, i))))
			return false;
	}
	return true;
}

TestSuite(model_http, .init = setup, .timeout = 600);

Test(model_http, those_wake_who_must_and_nobody_else)
{
	unsigned total = ops_of(OPS_HTTP);

	api_start();
	align();
	for (int s = 0; s < NAMES; s++) {
		client_open(&watchers[s]);
		watch(s);
	}
	client_open(&follower);
	client_send(&follower, "GET", "/v1/waymark/events", NULL);
	while (!last_event) {
		turns(1);
		follow();
	}
	UNTIL(all_wait());
	for (unsigned n = 0; n < total; n++)
		step_http();
	compare_whole();
	UNTIL(replica_agrees());
	for (int s = 0; s < NAMES; s++)
		client_close(&watchers[s]);
	client_close(&follower);
	turns(5);
	api_stop();
}
