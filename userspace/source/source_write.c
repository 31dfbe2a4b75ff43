/* SPDX-License-Identifier: Apache-2.0 */
/* source_write.c - what is wanted is given to the registry, some a turn, and followed until it is
 * stored. The registry judges it as it judges what other agents say; see source.h. */
#include "source_internal.h"
#include "userspace/base/log.h"
#include "userspace/registry/foreign.h"
#include "userspace/store/record.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUSY_MS	 10  /* the registry has too much to do, or much of ours */
#define AGAIN_MS 500 /* what the store refused is given again after it */

void wm_source_queue(struct wm_source *s, struct wm_source_item *i)
{
	if (i->queued)
		return;
	i->queued = true;
	i->since_ms = wm_env_ms(s->all->c.env);
	s->queued++;
	if (i->flies) /* it is its turn when that landed */
		return;
	if (TAILQ_EMPTY(&s->queue))
		(void)wm_env_timer_arm(s->write_timer, 0);
	TAILQ_INSERT_TAIL(&s->queue, i, entry);
}

void wm_source_unqueue(struct wm_source *s, struct wm_source_item *i)
{
	if (!i->queued)
		return;
	i->queued = false;
	s->queued--;
	if (!i->flies)
		TAILQ_REMOVE(&s->queue, i, entry);
}

bool wm_source_is_full(const struct wm_source *s)
{
	return s->queued >= WM_SOURCE_QUEUE_MAX;
}

void wm_source_on_room(struct wm_source *s, void (*fn)(void *arg), void *arg)
{
	s->room = fn;
	s->room_arg = arg;
}

/* --- what came of it -------------------------------------------------------------------------- */
/* Does the registry have what flew? */
static bool is_stored(const struct wm_source *s, const struct wm_source_item *i)
{
	const struct wm_node *at = wm_registry_node_named(s->all->c.registry, i->node->name);
	const struct wm_instance *here;

	if (!at || !wm_instance_foreign(at->holder) ||
	    !wm_peer_id_same(&at->holder->version.writer, &i->node->id))
		return i->flying_gone;
	if (!*i->id)
		return i->flying_gone ? false : wm_node_same(at, i->flying->node);
	here = wm_node_instance(at, i->id);
	if (here && !wm_instance_foreign(here))
		here = NULL;
	return i->flying_gone ? !here : here && wm_instance_same(here, i->flying);
}

static void free_flying(struct wm_source_item *i)
{
	wm_source_free_object(i, i->flying);
	i->flying = NULL;
}

/* An object of ours under the name, as it was before? */
static bool is_there(const struct wm_source *s, const struct wm_source_item *i)
{
	const struct wm_node *at = wm_registry_node_named(s->all->c.registry, i->node->name);
	const struct wm_instance *here;

	if (!at || !wm_instance_foreign(at->holder) ||
	    !wm_peer_id_same(&at->holder->version.writer, &i->node->id))
		return false;
	here = *i->id ? wm_node_instance(at, i->id) : at->holder;
	return here && wm_instance_foreign(here);
}

/* It was refused, or failed, and flies no more. @return false: it is nowhere any more. */
static bool failed(struct wm_source *s, struct wm_source_item *i, bool again)
{
	i->stored = is_there(s, i);
	if (i->queued) /* something newer is wanted */
		return true;
	if (again) {
		i->want = i->flying;
		i->flying = NULL;
		i->queued = true;
		s->queued++;
		return true;
	}
	if (i->flying_gone) { /* with the next list again */
		i->gone = false;
		s->usable += i->usable;
	}
	if (!i->service)
		i->told = false;
	if (i->stored || (!i->service && !LIST_EMPTY(&i->node->items)))
		return true;
	wm_source_drop(s, i);
	return false;
}

static void land(struct wm_source *s, struct wm_source_item *i, const struct wm_foreign_result *r)
{
	bool bad = (r->refused || r->failed) && !is_stored(s, i), removed = i->flying_gone;

	i->flies = false;
	if (bad && !failed(s, i, r->failed))
		return;
	i->flying_gone = false;
	free_flying(i);
	if (!bad && removed) {
		i->stored = i->told = false;
		if (i->gone || (!i->service && !i->want && LIST_EMPTY(&i->node->items))) {
			wm_source_drop(s, i);
			return;
		}
		if (!i->service) { /* what is on it founds it anew */
			i->stored = true;
			i->told = i->want;
		}
	}
	if (i->queued)
		TAILQ_INSERT_TAIL(&s->queue, i, entry);
}

static void on_stored(void *arg, const struct wm_foreign_result *r)
{
	struct wm_source_batch *b = arg;
	struct wm_source *s = b->s;

	if (!s) {
		free(b);
		return;
	}
	LIST_REMOVE(b, entry);
	if (r->refused || r->failed)
		wm_warn("source.refused", "source=%s refused=%u failed=%u text=%s", s->name,
			r->refused, r->failed, wm_log_q(r->text));
	s->counters[WM_SOURCE_COUNT_refused] += r->refused;
	s->counters[WM_SOURCE_COUNT_failed] += r->failed;
	s->flights -= b->count;
	for (unsigned n = 0; n < b->count; n++)
		land(s, b->items[n], r);
	free(b);
	if (!TAILQ_EMPTY(&s->queue))
		(void)wm_env_timer_arm(s->write_timer, r->failed ? AGAIN_MS : 0);
	wm_source_settle(s);
	if (!wm_source_is_full(s) && s->room)
		s->room(s->room_arg);
}

/* --- what is given ---------------------------------------------------------------------------- */
/* Its octets go behind the others'; their place is known when all are there. */
static int encode(struct wm_source *s, struct wm_source_item *i, struct wm_foreign_change *c)
{
	struct wm_node stub = {.name = i->node->name};
	int err;

	*c = (struct wm_foreign_change){.version = {.origin = WM_ORIGIN_FOREIGN,
						    .epoch = WM_SOURCE_EPOCH,
						    .seq = ++s->all->seq,
						    .writer = i->node->id},
					.node = i->node->name,
					.id = i->id,
					.gone = i->gone,
					.source = true};
	if (i->gone)
		return 0;
	if (i->service)
		i->want->node = &stub;
	err = wm_record_put_told(&s->record, i->want);
	if (i->service)
		i->want->node = NULL;
	if (err)
		return err;
	c->len = s->record.len;
	return wm_buf_put(&s->records, s->record.data, s->record.len) ? 0 : -ENOMEM;
}

/* From the queue to the batch. */
static void depart(struct wm_source *s, struct wm_source_item *i, struct wm_source_batch *b)
{
	TAILQ_REMOVE(&s->queue, i, entry);
	i->queued = false;
	s->queued--;
	i->flies = true;
	i->flying_gone = i->gone;
	i->stored |= !i->gone;
	if (i->service && !i->gone)
		i->node->self->stored = true; /* it is founded with it */
	i->flying = i->want;
	i->want = NULL;
	s->counters[WM_SOURCE_COUNT_written]++;
	s->counters[WM_SOURCE_COUNT_removed] += i->gone;
	b->items[b->count++] = i;
}

/* Without memory, or too large: it is told with the next list again. */
static void give_up(struct wm_source *s, struct wm_source_item *i, int err)
{
	wm_warn("source.refused", "source=%s err=%s id=%s", s->name, wm_err_name(err),
		wm_log_q(i->id));
	s->counters[err == -ENOMEM ? WM_SOURCE_COUNT_failed : WM_SOURCE_COUNT_refused]++;
	wm_source_unqueue(s, i);
	wm_source_forget_want(i);
	if (!i->stored)
		wm_source_drop(s, i);
}

/* @return milliseconds until more is given; with nothing left nobody waits for them. */
static uint64_t give(struct wm_source *s)
{
	struct wm_foreign_change changes[WM_SOURCE_STEP];
	struct wm_source_batch *b = calloc(1, sizeof(*b));
	struct wm_source_item *i;
	struct wm_err e = {0};
	const char *at;

	if (!b)
		return AGAIN_MS;
	wm_buf_reset(&s->records);
	while (b->count < WM_SOURCE_STEP && (i = TAILQ_FIRST(&s->queue))) {
		int err = encode(s, i, &changes[b->count]);

		if (err)
			give_up(s, i, err);
		else
			depart(s, i, b);
	}
	at = s->records.data;
	for (unsigned n = 0; n < b->count; n++) {
		changes[n].object = changes[n].len ? at : NULL;
		at = changes[n].len ? at + changes[n].len : at;
	}
	b->s = s;
	s->flights += b->count;
	LIST_INSERT_HEAD(&s->batches, b, entry);
	if (wm_registry_foreign(s->all->c.registry, changes, b->count, on_stored, b, &e)) {
		const struct wm_foreign_result none = {.failed = b->count};

		on_stored(b, &none);
		return AGAIN_MS;
	}
	return 0;
}

void wm_source_on_write(void *source)
{
	struct wm_source *s = source;
	uint64_t ms = BUSY_MS;

	if (s->flights + WM_SOURCE_STEP <= WM_SOURCE_FLIGHTS_MAX && !TAILQ_EMPTY(&s->queue))
		ms = give(s);
	if (!TAILQ_EMPTY(&s->queue))
		(void)wm_env_timer_arm(s->write_timer, ms);
}
