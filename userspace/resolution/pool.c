/* SPDX-License-Identifier: Apache-2.0 */
#include "pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- quarantine: first in, first out, grows as needed up to the pool's size --- */
struct freed {
	uint64_t ticket;
	uint32_t first, count;
};
struct quarantine {
	struct freed *ring;
	uint32_t head, len, cap; /* cap is a power of two */
};

static bool quarantine_push(struct quarantine *q, struct freed r)
{
	if (q->len == q->cap) {
		uint32_t cap = q->cap ? q->cap * 2 : 64;
		struct freed *ring = malloc(cap * sizeof(*ring));

		if (!ring)
			return false;
		for (uint32_t i = 0; i < q->len; i++)
			ring[i] = q->ring[(q->head + i) & (q->cap - 1)];
		free(q->ring);
		*q = (struct quarantine){ring, 0, q->len, cap};
	}
	q->ring[(q->head + q->len++) & (q->cap - 1)] = r;
	return true;
}

static bool quarantine_pop(struct quarantine *q, uint64_t over, struct freed *ret)
{
	if (!q->len || q->ring[q->head].ticket > over)
		return false;
	*ret = q->ring[q->head];
	q->head = (q->head + 1) & (q->cap - 1);
	q->len--;
	return true;
}

/* --- who is told how far places are used --- */
struct reach {
	wm_pool_reach_fn fn; /* NULL: nobody */
	void *arg;
	unsigned which;
	uint32_t count;
};

static int reach(struct reach *r, uint32_t count)
{
	int err;

	if (count <= r->count)
		return 0;
	err = r->fn ? r->fn(r->arg, r->which, count) : 0;
	if (!err)
		r->count = count;
	return err;
}

/* --- indexes: a bitmap and a hint --- */
struct wm_index_pool {
	struct reach reach;
	uint64_t *used;
	uint32_t cap, words, hint, count;
	struct quarantine quarantined;
};

struct wm_index_pool *wm_index_pool_new(uint32_t cap)
{
	struct wm_index_pool *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->cap = cap;
	p->words = cap / 64 + 1;
	p->used = calloc(p->words, sizeof(*p->used));
	if (!p->used) {
		free(p);
		return NULL;
	}
	/* what lies behind the end is never free */
	p->used[cap / 64] |= ~0ull << (cap % 64);
	return p;
}

void wm_index_pool_free(struct wm_index_pool *p)
{
	if (!p)
		return;
	free(p->quarantined.ring);
	free(p->used);
	free(p);
}

void wm_index_pool_on_reach(struct wm_index_pool *p, wm_pool_reach_fn fn, void *arg, unsigned which)
{
	p->reach = (struct reach){fn, arg, which, 0};
}

int wm_index_take(struct wm_index_pool *p, uint32_t *ret)
{
	int err;

	for (; p->hint < p->words; p->hint++) {
		uint64_t open = ~p->used[p->hint];
		uint32_t at;

		if (!open)
			continue;
		at = p->hint * 64 + (uint32_t)__builtin_ctzll(open);
		err = reach(&p->reach, at + 1);
		if (err)
			return err;
		*ret = at;
		p->used[p->hint] |= open & -open;
		p->count++;
		return 0;
	}
	return -ENOSPC;
}

int wm_index_take_at(struct wm_index_pool *p, uint32_t want, uint32_t *ret)
{
	if (wm_index_reserve(p, want))
		return wm_index_take(p, ret);
	*ret = want;
	return 0;
}

int wm_index_reserve(struct wm_index_pool *p, uint32_t index)
{
	int err;

	if (index >= p->cap)
		return -ERANGE;
	if (p->used[index / 64] >> (index % 64) & 1)
		return -EEXIST;
	err = reach(&p->reach, index + 1);
	if (err)
		return err;
	p->used[index / 64] |= 1ull << (index % 64);
	p->count++;
	return 0;
}

static void index_open(struct wm_index_pool *p, uint32_t index)
{
	p->used[index / 64] &= ~(1ull << (index % 64));
	p->count--;
	if (index / 64 < p->hint)
		p->hint = index / 64;
}

void wm_index_give(struct wm_index_pool *p, uint32_t index, uint64_t ticket)
{
	struct freed r = {ticket, index, 1};

	if (!ticket)
		index_open(p, index);
	else if (!quarantine_push(&p->quarantined, r))
		return; /* without memory the index stays used until a restart: safe, only smaller
			 */
}

void wm_index_recycle(struct wm_index_pool *p, uint64_t over)
{
	struct freed r;

	while (quarantine_pop(&p->quarantined, over, &r))
		index_open(p, r.first);
}

uint32_t wm_index_used(const struct wm_index_pool *p)
{
	return p->count;
}

uint32_t wm_index_resting(const struct wm_index_pool *p)
{
	return p->quarantined.len;
}

/* --- ranges: a complete binary tree over the places. room[node] is 1 + the order of the largest
 * free block below it, 0 if none; whole[node] says that this very block was given out. --- */
struct wm_range_pool {
	struct reach reach;
	uint8_t *room;
	uint8_t *whole;
	uint32_t cap, top; /* top: order of the root */
	uint32_t used, rested;
	struct quarantine quarantined;
};

static uint32_t order_of(uint32_t count)
{
	return count <= 1 ? 0 : 32 - (uint32_t)__builtin_clz(count - 1);
}

static uint32_t node_of(const struct wm_range_pool *p, uint32_t first, uint32_t order)
{
	return (1u << (p->top - order)) - 1 + (first >> order);
}

static uint8_t larger(uint8_t a, uint8_t b)
{
	return a > b ? a : b;
}

/* Recompute the ancestors of @p node, whose order is @p order. */
static void climb(struct wm_range_pool *p, uint32_t node, uint32_t order)
{
	while (node) {
		uint8_t left, right;

		node = (node - 1) / 2;
		order++;
		left = p->room[node * 2 + 1];
		right = p->room[node * 2 + 2];
		p->room[node] = left == order && right == order ? (uint8_t)(order + 1)
								: larger(left, right);
	}
}

/* Take the places from cap on out of a tree that is a power of two. */
static void cut_end(struct wm_range_pool *p)
{
	uint32_t first = p->cap, end = 1u << p->top;

	while (first < end) {
		uint32_t order = (uint32_t)__builtin_ctz(first | end);
		uint32_t node = node_of(p, first, order);

		p->room[node] = 0;
		p->whole[node] = 1;
		climb(p, node, order);
		first += 1u << order;
	}
}

struct wm_range_pool *wm_range_pool_new(uint32_t cap)
{
	struct wm_range_pool *p = calloc(1, sizeof(*p));
	uint32_t nodes;

	if (!p)
		return NULL;
	p->cap = cap;
	p->top = order_of(cap);
	nodes = (2u << p->top) - 1;
	p->room = malloc(nodes);
	p->whole = calloc(nodes, 1);
	if (!p->room || !p->whole) {
		wm_range_pool_free(p);
		return NULL;
	}
	for (uint32_t depth = 0, node = 0; depth <= p->top; depth++)
		for (uint32_t i = 0; i < 1u << depth; i++)
			p->room[node++] = (uint8_t)(p->top - depth + 1);
	cut_end(p);
	return p;
}

void wm_range_pool_free(struct wm_range_pool *p)
{
	if (!p)
		return;
	free(p->quarantined.ring);
	free(p->room);
	free(p->whole);
	free(p);
}

static void mark(struct wm_range_pool *p, uint32_t node, uint32_t order)
{
	p->room[node] = 0;
	p->whole[node] = 1;
	p->used += 1u << order;
	climb(p, node, order);
}

void wm_range_pool_on_reach(struct wm_range_pool *p, wm_pool_reach_fn fn, void *arg, unsigned which)
{
	p->reach = (struct reach){fn, arg, which, 0};
}

int wm_range_take(struct wm_range_pool *p, uint32_t count, uint32_t *ret_first)
{
	uint32_t order = order_of(count), node = 0, at;
	int err;

	if (order > p->top || p->room[0] < order + 1)
		return -ENOSPC;
	for (at = p->top; at > order; at--)
		node = node * 2 + (p->room[node * 2 + 1] >= order + 1 ? 1 : 2);
	*ret_first = (node + 1 - (1u << (p->top - order))) << order;
	err = reach(&p->reach, *ret_first + count);
	if (err)
		return err;
	mark(p, node, order);
	return 0;
}

int wm_range_reserve(struct wm_range_pool *p, uint32_t first, uint32_t count)
{
	uint32_t order = order_of(count), node, up;
	int err;

	if (!count || order > p->top || first > p->cap || count > p->cap - first ||
	    first & ((1u << order) - 1))
		return -ERANGE;
	node = node_of(p, first, order);
	for (up = node; up; up = (up - 1) / 2)
		if (p->whole[(up - 1) / 2])
			return -EEXIST;
	if (p->room[node] != order + 1)
		return -EEXIST;
	err = reach(&p->reach, first + count);
	if (err)
		return err;
	mark(p, node, order);
	return 0;
}

static void range_open(struct wm_range_pool *p, uint32_t first, uint32_t count)
{
	uint32_t order = order_of(count), node = node_of(p, first, order);

	p->whole[node] = 0;
	p->room[node] = (uint8_t)(order + 1);
	p->used -= 1u << order;
	climb(p, node, order);
}

void wm_range_give(struct wm_range_pool *p, uint32_t first, uint32_t count, uint64_t ticket)
{
	struct freed r = {ticket, first, count};

	if (!ticket)
		range_open(p, first, count);
	else if (quarantine_push(&p->quarantined, r))
		p->rested += 1u << order_of(count);
}

void wm_range_recycle(struct wm_range_pool *p, uint64_t over)
{
	struct freed r;

	while (quarantine_pop(&p->quarantined, over, &r)) {
		p->rested -= 1u << order_of(r.count);
		range_open(p, r.first, r.count);
	}
}

uint32_t wm_range_used(const struct wm_range_pool *p)
{
	return p->used;
}

uint32_t wm_range_resting(const struct wm_range_pool *p)
{
	return p->rested;
}
