/* SPDX-License-Identifier: Apache-2.0 */
/* tables_help.h - tables in memory with hashes in the place of the kernel's, what is wanted of
 * them, and whether they agree. */
#pragma once
#include "userspace/base/random.h"
#include "userspace/resolution/verify.h"
#include "waymark/dns_answer.h"
#include "waymark/listen.h"
#include "waymark/name_hash.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CAP	  64
#define INSTANCES 12

/* --- a hash map for names and frontends, as the kernel's: bounded, exact
 * ---------------------------------- */
struct hash_entry {
	uint8_t key[20];
	union {
		struct wm_name name;
		struct wm_frontend front;
	} v;
};
struct hash {
	struct hash_entry at[CAP];
	unsigned n, max, walk, key_len;
	bool no_memory; /* for an element, another's place included */
	uint64_t writes;
};
struct plane {
	struct hash names, fronts;
	struct wm_plane_ops ops;
	struct wm_config config;
	struct wm_set sets[CAP];
	struct wm_table_head heads[2 * CAP];
	struct wm_slot slots[256];
	struct wm_backend backends[CAP];
	struct wm_set_live set_live[CAP];
	struct wm_backend_live live[CAP];
	struct wm_target targets[CAP];
	struct wm_table_memory mem;
};

static int hash_put(struct hash *d, const void *key, const void *v, size_t len)
{
	unsigned i;

	if (d->no_memory)
		return -ENOMEM;
	for (i = 0; i < d->n && memcmp(d->at[i].key, key, d->key_len) != 0; i++)
		;
	if (i == d->n && d->n == d->max)
		return -E2BIG;
	d->n += i == d->n;
	memset(&d->at[i], 0, sizeof(d->at[i]));
	memcpy(d->at[i].key, key, d->key_len);
	memcpy(&d->at[i].v, v, len);
	d->writes++;
	return 0;
}

static int hash_del(struct hash *d, const void *key)
{
	for (unsigned i = 0; i < d->n; i++)
		if (memcmp(d->at[i].key, key, d->key_len) == 0) {
			d->at[i] = d->at[--d->n];
			d->walk = d->walk ? d->walk - 1 : 0;
			d->writes++;
			return 0;
		}
	return -ENOENT;
}

static int hash_next(struct hash *d, bool first, void *key, void *v, size_t len)
{
	if (first)
		d->walk = 0;
	if (d->walk == d->n)
		return -ENOENT;
	memcpy(key, d->at[d->walk].key, d->key_len);
	memcpy(v, &d->at[d->walk].v, len);
	d->walk++;
	return 0;
}

static int hash_get(const struct hash *d, const void *key, void *v, size_t len)
{
	for (unsigned i = 0; i < d->n; i++)
		if (memcmp(d->at[i].key, key, d->key_len) == 0) {
			memcpy(v, &d->at[i].v, len);
			return 0;
		}
	return -ENOENT;
}

static int name_put(void *arg, const struct wm_name_key *k, const struct wm_name *v)
{
	return hash_put(&((struct plane *)arg)->names, k, v, sizeof(*v));
}
static int name_del(void *arg, const struct wm_name_key *k)
{
	return hash_del(&((struct plane *)arg)->names, k);
}
static int name_next(void *arg, bool first, struct wm_name_key *k, struct wm_name *v)
{
	return hash_next(&((struct plane *)arg)->names, first, k, v, sizeof(*v));
}
static int front_put(void *arg, const struct wm_frontend_key *k, const struct wm_frontend *v)
{
	return hash_put(&((struct plane *)arg)->fronts, k, v, sizeof(*v));
}
static int front_del(void *arg, const struct wm_frontend_key *k)
{
	return hash_del(&((struct plane *)arg)->fronts, k);
}
static int front_next(void *arg, bool first, struct wm_frontend_key *k, struct wm_frontend *v)
{
	return hash_next(&((struct plane *)arg)->fronts, first, k, v, sizeof(*v));
}

static int name_get(void *arg, const struct wm_name_key *k, struct wm_name *v)
{
	return hash_get(&((struct plane *)arg)->names, k, v, sizeof(*v));
}
static int front_get(void *arg, const struct wm_frontend_key *k, struct wm_frontend *v)
{
	return hash_get(&((struct plane *)arg)->fronts, k, v, sizeof(*v));
}

static struct plane *plane_new(void)
{
	struct plane *p = calloc(1, sizeof(*p));

	cr_assert(p);
	p->names.max = p->fronts.max = CAP;
	p->names.key_len = sizeof(struct wm_name_key);
	p->fronts.key_len = sizeof(struct wm_frontend_key);
	p->config.seed[0] = 7;
	p->config.seed[1] = 11;
	p->ops = (struct wm_plane_ops){p,	  name_put,   name_del, front_put, front_del,
				       name_next, front_next, name_get, front_get, NULL,
				       NULL,	  NULL,	      NULL,	NULL};
	p->mem = (struct wm_table_memory){.config = &p->config,
					  .sets = p->sets,
					  .slots = p->slots,
					  .backends = p->backends,
					  .heads = p->heads,
					  .set_live = p->set_live,
					  .live = p->live,
					  .targets = p->targets,
					  .sets_cap = CAP,
					  .heads_cap = 2 * CAP,
					  .slots_cap = 256,
					  .backends_cap = CAP,
					  .names_cap = CAP,
					  .frontends_cap = CAP};
	return p;
}

static struct wm_tables *tables_new(struct plane *p)
{
	struct wm_tables *t = wm_tables_new(&p->mem, &p->ops, "mesh.internal", NULL);

	cr_assert(t);
	return t;
}

/* --- what is wanted
 * ---------------------------------------------------------------------------------- */
struct wanted {
	char name[16];
	struct wm_want_backend b[INSTANCES];
	struct wm_want_set w;
};

static __attribute__((unused)) void want(struct wanted *x, unsigned service, unsigned count)
{
	memset(x, 0, sizeof(*x));
	snprintf(x->name, sizeof(x->name), "s%u", service);
	x->w.service = x->name;
	x->w.vip4_be = __builtin_bswap32(0xf0000000u + service);
	x->w.vip6[0] = 0xfd;
	x->w.vip6[15] = (uint8_t)service;
	x->w.backends = x->b;
	x->w.backends_count = count;
	for (unsigned i = 0; i < count; i++) {
		x->b[i].instance = service * 1000ull + (i * 7919u) % 997;
		x->b[i].addr4_be = __builtin_bswap32(0x0a000000u + service * 256 + i);
		x->b[i].port = (uint16_t)(8000 + i);
		x->b[i].weight = 1 + i % 3;
		x->b[i].state = WM_STATE_UP;
	}
}

static __attribute__((unused)) int put(struct wm_tables *t, struct wanted *x)
{
	struct wm_err e = {0};

	return wm_tables_put(t, &x->w, NULL, &e);
}

/* Does what the reader's side finds agree with @p x, backend by backend? */
static __attribute__((unused)) void agree(struct plane *p, struct wm_tables *t,
					  const struct wanted *x)
{
	uint8_t wire[WM_NAME_BUF] = {0};
	size_t n = strlen(x->name), len;
	const uint8_t *domain = wm_tables_domain(t, false, &len);
	const struct wm_name *name;
	struct wm_view view = wm_tables_view(t);
	struct wm_table table = {0};
	unsigned expect = 0, up4 = 0;

	wire[0] = (uint8_t)n;
	memcpy(wire + 1, x->name, n);
	memcpy(wire + 1 + n, "\7service", 8);
	memcpy(wire + 9 + n, domain, len);
	name = wm_tables_name(t, wire, 9 + n + len);
	cr_assert(name, "%s", x->name);
	for (unsigned i = 0; i < x->w.backends_count; i++) {
		expect += x->b[i].weight > 0;
		up4 += x->b[i].state == WM_STATE_UP;
	}
	cr_assert_eq(wm_table_load(&view, name->set, &table), expect ? WM_PICKED : WM_PICK_NONE);
	cr_assert_eq(table.count, expect);
	cr_assert_eq(table.head.backends, expect);
	cr_assert_eq(p->set_live[name->set].up4, up4);
	cr_assert_eq(p->set_live[name->set].up6, 0);
	for (unsigned k = 0; k < table.count; k++) {
		const struct wm_backend *b;
		struct wm_slot s;
		unsigned i;

		cr_assert_eq(wm_slot_read(&view, &table, k, &s), WM_PICKED);
		b = &p->backends[s.backend];
		cr_assert_eq(s.stamp, b->state >> 16);
		for (i = 0; i < x->w.backends_count && x->b[i].instance != b->instance; i++)
			;
		cr_assert_lt(i, x->w.backends_count);
		cr_assert_eq(b->addr4_be, x->b[i].addr4_be);
		cr_assert_eq(b->port_be, __builtin_bswap16(x->b[i].port));
		cr_assert_eq(b->state & WM_STATE_MASK, x->b[i].state);
		cr_assert_eq(b->weight, x->b[i].weight);
		cr_assert_eq(b->service, p->sets[name->set].service);
	}
}
