/* SPDX-License-Identifier: Apache-2.0 */
/* logged.c - what this agent says, for others: each version that was drawn is told once it is
 * durable and applied, in the order in which they were drawn; and objects as octets. */
#include "foreign.h"
#include "internal.h"
#include "plan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* A version that was drawn for a row. */
struct wm_drawn {
	struct wm_version version;
	const char *id;
	char node[]; /* in lower case, NUL, id */
};

int wm_plan_drawn(struct wm_plan *p, const struct wm_version *v, const char *node, const char *id)
{
	size_t cap = p->drawn_cap ? p->drawn_cap * 2 : 64, n = strlen(node) + 1,
	       len = strlen(id) + 1;
	struct wm_drawn *d, **next;

	if (!p->r->logged)
		return 0;
	if (p->drawn_count == p->drawn_cap) {
		next = realloc(p->drawn, cap * sizeof(struct wm_drawn *));
		if (!next)
			return -ENOMEM;
		p->drawn = next;
		p->drawn_cap = cap;
	}
	d = malloc(sizeof(*d) + n + len);
	if (!d)
		return -ENOMEM;
	d->version = *v;
	memcpy(d->node, node, n);
	d->id = memcpy(d->node + n, id, len);
	p->drawn[p->drawn_count++] = d;
	return 0;
}

void wm_plan_drop_drawn(struct wm_plan *p, size_t until)
{
	while (p->drawn_count > until)
		free(p->drawn[--p->drawn_count]);
}

/* --- telling ---------------------------------------------------------------------------------- */
/* Of which origin an object stands under the name. */
static struct wm_instance *find_live(const struct wm_node *n, const char *id,
				     enum wm_version_origin o)
{
	struct wm_instance *i = !n ? NULL : *id ? wm_node_instance(n, id) : n->holder;

	if (!i)
		return NULL;
	if (i == n->holder && n->self) /* before its first row as well */
		return o == WM_ORIGIN_OWN ? i : NULL;
	return i->version.origin == o ? i : NULL;
}

static struct wm_logged word_of(const struct wm_registry *r, const struct wm_version *v,
				const char *node, const char *id)
{
	struct wm_logged l = {.version = *v, .node = node, .id = id};

	if (v->origin == WM_ORIGIN_OWN)
		(void)wm_peer_id_parse(r->self->id, &l.origin); /* its form was judged */
	else
		l.origin = v->writer;
	return l;
}

static bool is_there(const struct wm_registry *r, const struct wm_drawn *d)
{
	if (strcmp(d->node, WM_POLICY_NODE) == 0)
		return wm_find_policy(r, d->id);
	return find_live(wm_find_node(r, d->node), d->id, d->version.origin);
}

static void tell(struct wm_registry *r, const struct wm_drawn *d)
{
	struct wm_logged l = word_of(r, &d->version, d->node, d->id);
	const struct wm_tombstone *t;

	if (!is_there(r, d)) {
		t = wm_history_tomb(&r->history, d->version.origin, d->node, d->id);
		l.gone = true;
		l.gone_ms = t ? t->when_s * 1000 : wm_env_wall_ms(r->env);
		l.semver = t ? t->semver : NULL;
	}
	r->logged(r->logged_arg, &l);
}

void wm_plan_tell(struct wm_plan *p, size_t until)
{
	for (; p->told < until && p->told < p->drawn_count; p->told++) {
		if (p->r->logged)
			tell(p->r, p->drawn[p->told]);
	}
}

void wm_registry_on_logged(struct wm_registry *r, void (*fn)(void *arg, const struct wm_logged *l),
			   void *arg)
{
	r->logged = fn;
	r->logged_arg = arg;
}

int wm_registry_walk_objects(struct wm_registry *r, int (*fn)(void *arg, const struct wm_logged *l),
			     void *arg)
{
	const struct wm_policy *policy;
	struct wm_past *p;
	size_t pos = 0;
	int err = 0;

	TAILQ_FOREACH (p, &r->history.all, entry) {
		const struct wm_version *v = wm_past_version(p);
		const struct wm_instance *i = wm_past_live(p);
		const struct wm_tombstone *t = wm_past_tomb(p);
		struct wm_logged l =
			i ? word_of(r, v, i->node->folded, i->id) : word_of(r, v, t->node, t->id);

		/* a node that was only heard of; what a source says is nobody else's to know */
		if (!v->seq || (i && wm_instance_of_source(i)))
			continue;
		l.gone = t;
		l.gone_ms = t ? t->when_s * 1000 : 0;
		l.semver = t ? t->semver : NULL;
		err = fn(arg, &l);
		if (err)
			break;
	}
	while (!err && (policy = wm_registry_next_policy(r, &pos))) {
		const struct wm_logged l =
			word_of(r, &policy->version, WM_POLICY_NODE, policy->service);

		err = fn(arg, &l);
	}
	return err;
}

void wm_registry_origin(const struct wm_registry *r, struct wm_peer_id *ret_id, uint32_t *ret_epoch)
{
	(void)wm_peer_id_parse(r->self->id, ret_id); /* its form was judged */
	*ret_epoch = r->epoch;
}

/* --- octets ----------------------------------------------------------------------------------- */
struct wm_node *wm_find_origin(const struct wm_registry *r, const struct wm_peer_id *id)
{
	char text[WM_PEER_ID_TEXT];
	struct wm_node *n;

	wm_peer_id_format(id, text);
	n = wm_find_node_id(r, text);
	return n && (n->self || wm_instance_foreign(n->holder)) ? n : NULL;
}

static int encode_policy(struct wm_registry *r, const char *service, struct wm_buf *b)
{
	const struct wm_policy *p = wm_find_policy(r, service);
	int err = p ? wm_record_put_policy(&r->record, p, true) : WM_E_UNKNOWN;

	if (err)
		return err;
	return wm_buf_put(b, r->record.data, r->record.len) ? 0 : -ENOMEM;
}

int wm_registry_object_encode(struct wm_registry *r, const struct wm_peer_id *origin, bool shared,
			      const char *node, const char *id, struct wm_buf *b)
{
	const struct wm_node *n = shared ? wm_find_node(r, node) : wm_find_origin(r, origin);
	const struct wm_instance *i;
	int err;

	if (shared && strcmp(node, WM_POLICY_NODE) == 0)
		return encode_policy(r, id, b);
	i = !n ? NULL
	       : find_live(n, id,
			   shared    ? WM_ORIGIN_SHARED
			   : n->self ? WM_ORIGIN_OWN
				     : WM_ORIGIN_FOREIGN);
	if (!i || (n->self ? 0 : !i->version.seq) || wm_instance_of_source(i))
		return WM_E_UNKNOWN;
	err = wm_record_put_told(&r->record, i);
	if (err)
		return err;
	return wm_buf_put(b, r->record.data, r->record.len) ? 0 : -ENOMEM;
}

void wm_registry_set_clock(struct wm_registry *r, uint64_t clock)
{
	r->history.clock = clock;
}
