/* SPDX-License-Identifier: Apache-2.0 */
/* statistics.c - GET /v1/waymark/statistics: how many instances there are by state, status,
 * service, node and the metadata with a meaning. One pass over all instances, in slices of a turn,
 * which all who ask meanwhile share; its answer is kept for a second. */
#include "internal.h"
#include "userspace/base/buf.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/metadata/mesh.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_MS	    1000 /* an answer is used again, and a pass that nobody goes on with is kept */
#define LOOK_AT	    64	 /* instances between two looks at the clock: some 50 us */
#define VALUES_MAX  100	 /* values of a dimension that are listed, the most frequent ones */
#define COUNTED_MAX 4096 /* values of a dimension that are told apart; more are `others` */

struct value {
	uint64_t count;
	char text[]; /* its own copy: the instance may go */
};
struct dimension {
	struct wm_map *values;
	uint64_t others;
};
static const char *state_of(const struct wm_instance *i)
{
	return wm_lifecycle_str(wm_instance_state(i));
}
static const char *status_of(const struct wm_instance *i)
{
	return wm_status_str(i->status);
}
static const char *service_of(const struct wm_instance *i)
{
	return i->service->shown;
}
static const char *node_of(const struct wm_instance *i)
{
	return i->node->name;
}
#define X(sym, key, name)                                                                          \
	static const char *mesh_##sym(const struct wm_instance *i)                                 \
	{                                                                                          \
		return wm_mesh_value(i, key);                                                      \
	}
WM_MESH_VALUES(X)
#undef X

static const struct {
	const char *name;
	const char *(*of)(const struct wm_instance *i);
} dimensions[] = {{"state", state_of},
		  {"status", status_of},
		  {"service", service_of},
		  {"node", node_of},
#define X(sym, key, name) {key, mesh_##sym},
		  WM_MESH_VALUES(X)
#undef X
};
#define DIMENSIONS WM_ARRAY_LEN(dimensions)

/* A pass: what was counted so far. Instances keep their number in the index, whatever comes and
 * goes meanwhile. */
struct wm_statistics {
	struct dimension by[DIMENSIONS];
	uint32_t at;		/* number of the instance that comes next */
	uint32_t id;		/* of this pass, for services that it has seen healthy */
	unsigned healthy;	/* services of which an instance takes connections */
	uint64_t turn, went_ms; /* that had its slice, and when that was */
	bool begun;
};

static int count_one(struct dimension *d, const char *text)
{
	size_t n = strlen(text);
	struct value *v = wm_map_get(d->values, text, n);

	if (v) {
		v->count++;
		return 0;
	}
	if (wm_map_len(d->values) == COUNTED_MAX) {
		d->others++;
		return 0;
	}
	v = malloc(sizeof(*v) + n + 1);
	if (!v)
		return -ENOMEM;
	v->count = 1;
	memcpy(v->text, text, n + 1);
	if (wm_map_put(d->values, v->text, n, v, NULL)) {
		free(v);
		return -ENOMEM;
	}
	return 0;
}

static int by_count(const struct value *x, const struct value *y)
{
	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return strcmp(x->text, y->text);
}

/* The most frequent ones, in order. @return how many. */
static unsigned most(const struct dimension *d, const struct value *ret[VALUES_MAX])
{
	const struct value *v;
	unsigned n = 0, to;
	size_t pos = 0;

	while ((v = wm_map_next(d->values, &pos))) {
		if (n == VALUES_MAX && by_count(v, ret[n - 1]) > 0)
			continue;
		n += n < VALUES_MAX;
		for (to = n - 1; to && by_count(v, ret[to - 1]) < 0; to--)
			ret[to] = ret[to - 1];
		ret[to] = v;
	}
	return n;
}

/* {"values":{"a":2,"b":1},"distinct":2,"others":0}: others are instances of values not listed. */
static void put_dimension(struct wm_json *j, const char *name, const struct dimension *d)
{
	const struct value *top[VALUES_MAX], *v;
	unsigned n = most(d, top);
	uint64_t others = d->others;
	size_t pos = 0;

	while ((v = wm_map_next(d->values, &pos)))
		others += v->count;
	wm_json_kopen(j, name, '{');
	wm_json_kopen(j, "values", '{');
	for (unsigned i = 0; i < n; i++) {
		wm_json_ku(j, top[i]->text, top[i]->count);
		others -= top[i]->count;
	}
	wm_json_close(j, '}');
	wm_json_ku(j, "distinct", wm_map_len(d->values));
	wm_json_ku(j, "others", others);
	wm_json_close(j, '}');
}

static void forget(struct wm_statistics *s)
{
	struct value *v;
	size_t pos;

	for (unsigned k = 0; k < DIMENSIONS; k++) {
		pos = 0;
		while (s->by[k].values && (v = wm_map_next(s->by[k].values, &pos)))
			free(v);
		wm_map_free(s->by[k].values);
		s->by[k] = (struct dimension){0};
	}
	s->begun = false;
}

static int begin(struct wm_statistics *s)
{
	forget(s);
	for (unsigned k = 0; k < DIMENSIONS; k++) {
		s->by[k].values = wm_map_new(COUNTED_MAX);
		if (!s->by[k].values)
			return -ENOMEM;
	}
	s->at = s->healthy = 0;
	s->id = s->id == UINT32_MAX ? 1 : s->id + 1; /* 0: services that no pass has seen */
	s->begun = true;
	return 0;
}

static int count(struct wm_statistics *s, const struct wm_instance *i)
{
	int err = 0;

	for (unsigned k = 0; k < DIMENSIONS && !err; k++)
		err = count_one(&s->by[k], dimensions[k].of(i));
	if (wm_instance_usable(i) && i->service->counted != s->id) {
		i->service->counted = s->id;
		s->healthy++;
	}
	return err;
}

/* A slice of the pass, one in a turn whoever asks. @return 0: it is through; -EAGAIN: the next turn
 * goes on; -ENOMEM. */
static int go_on(struct wm_api *a, struct wm_statistics *s, uint64_t slice_ns)
{
	uint64_t end_ns = wm_clock_ns() + slice_ns;
	const struct wm_instance *i;
	int err = 0;

	if (s->begun && s->turn == wm_loop_turns(a->d.loop))
		return -EAGAIN;
	/* whoever waited for it is gone: what it counted is old */
	if (!s->begun || wm_clock_ms() - s->went_ms > KEPT_MS)
		err = begin(s);
	s->turn = wm_loop_turns(a->d.loop);
	for (unsigned n = 1; !err && (i = wm_index_next(a->d.index, &s->at)); n++) {
		err = count(s, i);
		if (!err && n % LOOK_AT == 0 && wm_clock_ns() >= end_ns)
			err = -EAGAIN;
	}
	s->went_ms = wm_clock_ms();
	return err;
}

/* Make the answer of a pass that is through, and keep it. */
static int make(const struct wm_api *a, const struct wm_statistics *s, bool pretty,
		struct wm_kept *to)
{
	const struct wm_registry *r = a->d.registry;
	struct wm_buf b;
	struct wm_json j;

	wm_buf_init(&b, WM_API_ANSWER_MAX);
	wm_json_init(&j, &b, pretty);
	wm_json_open(&j, '{');
	wm_json_ku(&j, "index", wm_registry_index(r));
	wm_json_ku(&j, "instances", wm_registry_instances(r));
	wm_json_ku(&j, "checks", wm_registry_checks(r));
	wm_json_ku(&j, "services", wm_registry_services(r));
	wm_json_ku(&j, "services_healthy", s->healthy);
	wm_json_ku(&j, "nodes", wm_registry_nodes(r));
	wm_json_kopen(&j, "by", '{');
	for (unsigned k = 0; k < DIMENSIONS; k++)
		put_dimension(&j, dimensions[k].name, &s->by[k]);
	wm_json_close(&j, '}');
	wm_json_close(&j, '}');
	free(to->text);
	to->text = b.failed ? NULL : strdup(b.data);
	to->made_ms = wm_clock_ms();
	wm_buf_done(&b);
	return to->text ? 0 : -ENOMEM;
}

static int pass(struct wm_api *a, uint64_t slice_ns)
{
	int err;

	if (!a->pass)
		a->pass = calloc(1, sizeof(*a->pass));
	if (!a->pass)
		return -ENOMEM;
	err = go_on(a, a->pass, slice_ns);
	for (unsigned k = 0; k < WM_ARRAY_LEN(a->statistics) && !err; k++)
		err = make(a, a->pass, k, &a->statistics[k]);
	if (err != -EAGAIN)
		forget(a->pass);
	return err;
}

void wm_native_statistics(struct wm_call *c)
{
	struct wm_kept *kept = &c->api->statistics[c->pretty];
	bool tired = !c->rest && wm_loop_tired(c->api->d.loop);
	int err = 0;
	struct wm_json j;

	wm_answer_begin(c, &j);
	if (!kept->text || wm_clock_ms() - kept->made_ms >= KEPT_MS)
		err = pass(c->api, wm_slice_ns(c->api, tired));
	if (err == -EAGAIN) {
		wm_long_keep(c, NULL);
		return;
	}
	if (err) {
		wm_answer_text(c, 503, "Out of memory");
		return;
	}
	wm_buf_puts(j.b, kept->text);
	wm_answer_end(c, &j, 0);
}

void wm_statistics_done(struct wm_api *a)
{
	free(a->statistics[false].text);
	free(a->statistics[true].text);
	if (a->pass)
		forget(a->pass);
	free(a->pass);
}
