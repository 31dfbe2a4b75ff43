/* SPDX-License-Identifier: Apache-2.0 */
/* labels.c - what stands in front of a service's name and has virtual addresses of its own: the
 * subsets of its policy. Their leases are those of services, under a name that no service can have:
 * the service's, WM_LABEL_MARK, the label. They come in the write that brings the subset. */
#include "internal.h"
#include "plan.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool wm_label_key(char to[WM_LABEL_KEY_MAX], const char *service, const char *label)
{
	int n = snprintf(to, WM_LABEL_KEY_MAX, "%s%c%s", service, WM_LABEL_MARK, label);

	for (char *c = to; *c; c++)
		*c = (char)tolower((unsigned char)*c);
	return n < WM_LABEL_KEY_MAX;
}

/* --- in a write ---------------------------------------------------------------------------------
 */
static int plan_label(struct wm_plan *p, struct wm_op *op, const char *key)
{
	struct wm_made *m = calloc(1, sizeof(*m));
	int err;

	if (!m)
		return -ENOMEM;
	SLIST_INSERT_HEAD(&wm_op_root(op)->made, m, entry);
	err = wm_plan_lease(p, m, key);
	if (err || !m->given)
		return err;
	m->lease->create_index = wm_plan_index(p, op);
	return p->r->store ? wm_plan_put_service(p, m->lease, m->lease->create_index) : 0;
}

int wm_plan_labels(struct wm_plan *p, struct wm_op *op, const struct wm_policy *in)
{
	char key[WM_LABEL_KEY_MAX];
	int err = 0;

	for (uint32_t n = 0; n < in->subsets_count && !err; n++) {
		if (!wm_label_key(key, in->service, in->subsets[n].name))
			continue;
		err = plan_label(p, op, key);
		if (err == WM_E_FULL) /* what others wrote must not be refused for it */
			err = 0;
	}
	return err;
}

/* The leases of @p of that @p but has not. */
static void each_lease(struct wm_registry *r, const struct wm_policy *of,
		       const struct wm_policy *but,
		       void (*fn)(struct wm_vips *v, struct wm_lease *l))
{
	char key[WM_LABEL_KEY_MAX];
	struct wm_lease *l;

	for (uint32_t n = 0; of && n < of->subsets_count; n++) {
		const char *name = of->subsets[n].name;

		l = wm_label_key(key, of->service, name) ? wm_vips_find(r->vips, key) : NULL;
		if (l && !(but && wm_policy_subset(but, name)))
			fn(r->vips, l);
	}
}

void wm_labels_made(struct wm_op *op)
{
	struct wm_made *m;

	SLIST_FOREACH (m, &op->made, entry) {
		if (!m->lease)
			continue;
		m->lease->planned = false;
		m->lease->wanted--;
	}
}

void wm_labels_apply(struct wm_registry *r, const struct wm_policy *old, const struct wm_policy *in)
{
	each_lease(r, old, in, wm_lease_retire);
	each_lease(r, in, NULL, wm_lease_revive);
}

/* --- at the start -------------------------------------------------------------------------------
 */
int wm_labels_recover(struct wm_registry *r, const struct wm_policy *p)
{
	char key[WM_LABEL_KEY_MAX];
	struct wm_lease *l;
	int err = 0;

	for (uint32_t n = 0; n < p->subsets_count && !err; n++) {
		if (!wm_label_key(key, p->service, p->subsets[n].name) ||
		    wm_vips_find(r->vips, key))
			continue;
		err = wm_vips_give(r->vips, key, &l);
		if (err)
			continue;
		l->row = ++r->service_row;
		l->create_index = p->create_index;
		l->unsaved = true; /* the first commit writes it */
	}
	each_lease(r, p, NULL, wm_lease_revive);
	return err == WM_E_FULL ? 0 : err;
}

/* --- tags ---------------------------------------------------------------------------------------
 */
static bool judge_label(struct wm_plan *p, struct wm_op *op)
{
	const struct wm_lease *l = wm_vips_find(p->r->vips, op->id);

	op->unchanged = !l || !l->unsaved;
	return !op->unchanged;
}

static void prepare_label(struct wm_plan *p, struct wm_op *op)
{
	const struct wm_lease *l = wm_vips_find(p->r->vips, op->id);

	if (p->r->store && wm_plan_put_service(p, l, l->create_index))
		wm_op_no_memory(op);
	op->stores = true;
}

static void apply_label(struct wm_registry *r, struct wm_op *op)
{
	struct wm_lease *l = wm_vips_find(r->vips, op->id);

	if (l)
		l->unsaved = false;
}

static const struct wm_op_kind op_label = {
	.judge = judge_label, .prepare = prepare_label, .apply = apply_label};

int wm_registry_label_give(struct wm_registry *r, const char *service, const char *label)
{
	char key[WM_LABEL_KEY_MAX];
	struct wm_lease *l;
	struct wm_op *op;
	int err;

	if (!wm_label_key(key, service, label))
		return WM_E_LIMIT;
	l = wm_vips_find(r->vips, key);
	if (!l) {
		err = wm_vips_give(r->vips, key, &l);
		if (err)
			return err;
		l->row = ++r->service_row;
		l->create_index = r->index;
		l->unsaved = true;
	}
	wm_lease_revive(r->vips, l);
	op = l->unsaved ? wm_op_new(&op_label, sizeof(*op), key) : NULL;
	if (op)
		(void)wm_op_submit(r, op, NULL); /* else whoever asks next has it stored */
	return 0;
}

void wm_registry_label_retire(struct wm_registry *r, const char *service, const char *label)
{
	char key[WM_LABEL_KEY_MAX];
	struct wm_lease *l = wm_label_key(key, service, label) ? wm_vips_find(r->vips, key) : NULL;

	if (l)
		wm_lease_retire(r->vips, l);
}

void wm_registry_each_label(const struct wm_registry *r,
			    void (*fn)(void *arg, const char *service, const char *label),
			    void *arg)
{
	char service[WM_LABEL_KEY_MAX];
	const struct wm_lease *l;
	const char *label;
	size_t pos = 0;

	while ((l = wm_vips_next(r->vips, &pos))) {
		label = wm_lease_label(l, service);
		if (*label)
			fn(arg, service, label);
	}
}

/* --- reading ------------------------------------------------------------------------------------
 */
bool wm_registry_label(const struct wm_registry *r, const char *service, const char *label,
		       struct in_addr *ret4, struct in6_addr *ret6)
{
	char key[WM_LABEL_KEY_MAX];
	const struct wm_lease *l;

	l = wm_label_key(key, service, label) ? wm_vips_find(r->vips, key) : NULL;
	if (!l || l->retired)
		return false;
	*ret4 = l->vip4;
	*ret6 = l->vip6;
	return true;
}

const char *wm_lease_label(const struct wm_lease *l, char service[WM_LABEL_KEY_MAX])
{
	const char *mark = strchr(l->name, WM_LABEL_MARK);
	size_t n = mark ? (size_t)(mark - l->name) : strlen(l->name);

	memcpy(service, l->name, n);
	service[n] = '\0';
	return mark ? mark + 1 : "";
}
