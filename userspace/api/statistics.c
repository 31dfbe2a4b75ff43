/* SPDX-License-Identifier: Apache-2.0 */
/* statistics.c - GET /v1/waymark/statistics: how many instances there are by state, status,
 * service, node and the metadata with a meaning. One pass over all instances, so an answer is kept
 * for a second. */
#include "internal.h"
#include "userspace/base/buf.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/metadata/mesh.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_MS                                                                                    \
	1000 /* a pass over a million instances takes the loop for some tenths of a second */
#define VALUES_MAX  100	 /* values of a dimension that are listed, the most frequent ones */
#define COUNTED_MAX 4096 /* values of a dimension that are told apart; more are `others` */

struct value {
	uint64_t count;
	char text[]; /* its own copy: the instance may go */
};
struct dimension {
	const char *name;
	const char *(*of)(const struct wm_instance *i);
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

static int count_one(struct dimension *d, const struct wm_instance *i)
{
	const char *text = d->of(i);
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

static int by_count(const void *a, const void *b)
{
	const struct value *x = *(const struct value *const *)a;
	const struct value *y = *(const struct value *const *)b;

	if (x->count != y->count)
		return x->count < y->count ? 1 : -1;
	return strcmp(x->text, y->text);
}

/* {"values":{"a":2,"b":1},"distinct":2,"others":0}: others are instances of values not listed. */
static int put_dimension(struct wm_json *j, const struct dimension *d)
{
	size_t count = wm_map_len(d->values), pos = 0, n = 0;
	_cleanup_free_ struct value **all = calloc(count + 1, sizeof(struct value *));
	uint64_t others = d->others;
	struct value *v;

	if (!all)
		return -ENOMEM;
	while ((v = wm_map_next(d->values, &pos)))
		all[n++] = v;
	if (n)
		qsort(all, n, sizeof(struct value *), by_count);
	wm_json_kopen(j, d->name, '{');
	wm_json_kopen(j, "values", '{');
	for (size_t i = 0; i < n; i++) {
		if (i < VALUES_MAX)
			wm_json_ku(j, all[i]->text, all[i]->count);
		else
			others += all[i]->count;
	}
	wm_json_close(j, '}');
	wm_json_ku(j, "distinct", n);
	wm_json_ku(j, "others", others);
	wm_json_close(j, '}');
	return 0;
}

static void done(struct dimension *d)
{
	struct value *v;
	size_t pos;

	for (unsigned k = 0; k < DIMENSIONS; k++) {
		pos = 0;
		while (d[k].values && (v = wm_map_next(d[k].values, &pos)))
			free(v);
		wm_map_free(d[k].values);
	}
}

static int count_all(const struct wm_registry *r, struct dimension *d)
{
	const struct wm_instance *i;
	size_t pos = 0;
	int err = 0;

	for (unsigned k = 0; k < DIMENSIONS && !err; k++) {
		d[k] = (struct dimension){.name = dimensions[k].name, .of = dimensions[k].of};
		d[k].values = wm_map_new(COUNTED_MAX);
		err = d[k].values ? 0 : -ENOMEM;
	}
	while (!err && (i = wm_registry_next_instance(r, &pos))) {
		for (unsigned k = 0; k < DIMENSIONS && !err; k++)
			err = count_one(&d[k], i);
	}
	return err;
}

/* Services of which an instance takes connections: seen at the first that does. */
static unsigned services_healthy(const struct wm_registry *r)
{
	const struct wm_service *s;
	unsigned n = 0, i;
	size_t pos = 0;

	while ((s = wm_registry_next_service(r, &pos))) {
		for (i = 0; i < s->instances_count && !wm_instance_usable(s->instances[i]);)
			i++;
		n += i < s->instances_count;
	}
	return n;
}

/* Make the answer and keep it. */
static int make(struct wm_api *a, struct wm_json *j, struct wm_kept *to)
{
	struct dimension d[DIMENSIONS] = {0};
	const struct wm_registry *r = a->d.registry;
	int err = count_all(r, d);

	wm_json_open(j, '{');
	wm_json_ku(j, "index", wm_registry_index(r));
	wm_json_ku(j, "instances", wm_registry_instances(r));
	wm_json_ku(j, "checks", wm_registry_checks(r));
	wm_json_ku(j, "services", wm_registry_services(r));
	wm_json_ku(j, "services_healthy", services_healthy(r));
	wm_json_ku(j, "nodes", wm_registry_nodes(r));
	wm_json_kopen(j, "by", '{');
	for (unsigned k = 0; k < DIMENSIONS && !err; k++)
		err = put_dimension(j, &d[k]);
	wm_json_close(j, '}');
	wm_json_close(j, '}');
	done(d);
	if (err || j->b->failed)
		return -ENOMEM;
	free(to->text);
	to->text = strdup(j->b->data); /* without memory: none is kept */
	to->made_ms = wm_clock_ms();
	return 0;
}

void wm_native_statistics(struct wm_call *c)
{
	struct wm_kept *kept = &c->api->statistics[c->pretty];
	struct wm_json j;

	wm_answer_begin(c, &j);
	if (kept->text && wm_clock_ms() - kept->made_ms < KEPT_MS) {
		wm_buf_puts(j.b, kept->text);
	} else if (make(c->api, &j, kept)) {
		wm_answer_text(c, 503, "Out of memory");
		return;
	}
	wm_answer_end(c, &j, 0);
}

void wm_statistics_done(struct wm_api *a)
{
	free(a->statistics[false].text);
	free(a->statistics[true].text);
}
