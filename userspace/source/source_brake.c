/* SPDX-License-Identifier: Apache-2.0 */
/* source_brake.c - removals of many at once are held back: a source that is broken, or is another
 * one, says that nothing is there. What came within the minute counts for what goes, as who rolls
 * out a version replaces all of it; at the end of a list it does not. See source.h. */
#include "source_internal.h"
#include "userspace/base/log.h"

#include <stdio.h>
#include <string.h>

/* The minute, up to now. */
static unsigned slide(const struct wm_source *s, struct wm_source_brake *b)
{
	uint64_t now = wm_env_ms(s->all->c.env) / WM_SOURCE_BUCKET_MS;

	for (unsigned n = 0; n < WM_SOURCE_BUCKETS && b->bucket < now; n++) {
		b->bucket++;
		b->removed[b->bucket % WM_SOURCE_BUCKETS] = 0;
		b->added[b->bucket % WM_SOURCE_BUCKETS] = 0;
	}
	if (b->bucket < now) { /* longer than a minute ago */
		memset(b, 0, sizeof(*b));
		b->bucket = now;
	}
	return (unsigned)(now % WM_SOURCE_BUCKETS);
}

void wm_source_came(struct wm_source *s, struct wm_source_brake *b)
{
	b->added[slide(s, b)]++;
}

static void alarm(struct wm_source *s)
{
	snprintf(s->alarm, sizeof(s->alarm),
		 "%u removals are held back: more than %u %% would be gone within a minute. Is it "
		 "so, let them go by: waymarkctl sources release %s",
		 s->holding, s->c.brake_percent, s->name);
}

/* What goes and is not with the registry yet is held, too. */
static void engage(struct wm_source *s)
{
	struct wm_source_item *i, *next;

	s->engaged_ms = wm_env_ms(s->all->c.env);
	for (i = TAILQ_FIRST(&s->queue); i; i = next) {
		next = TAILQ_NEXT(i, entry);
		if (!i->gone || !i->usable || !i->service)
			continue;
		wm_source_unqueue(s, i);
		i->gone = false;
		s->usable++;
		wm_source_hold(s, i);
	}
	if (wm_env_timer_arm(s->hold_timer, s->c.brake_hold_ms))
		wm_warn("source.memory",
			"source=%s text=\"removals are held until they are "
			"released\"",
			s->name);
}

bool wm_source_may_go(struct wm_source *s, struct wm_source_brake *b, unsigned count,
		      unsigned there, bool gross)
{
	unsigned now = slide(s, b);
	uint64_t removed = 0, added = 0, lost, before;

	if (s->engaged_ms)
		return !count;
	for (unsigned n = 0; n < WM_SOURCE_BUCKETS; n++) {
		removed += b->removed[n];
		added += b->added[n];
	}
	before = there + removed;
	lost = removed + count;
	if (!gross) {
		before -= added < before ? added : before;
		lost -= added < lost ? added : lost;
	}
	if (lost <= s->c.brake_least || lost * 100 <= before * s->c.brake_percent) {
		b->removed[now] += count;
		return true;
	}
	engage(s);
	wm_error("source.alarm",
		 "source=%s text=\"%llu of %llu would be gone within a minute: removals are held "
		 "back for %llu s\"",
		 s->name, (unsigned long long)lost, (unsigned long long)before,
		 (unsigned long long)s->c.brake_hold_ms / 1000);
	return false;
}

void wm_source_hold(struct wm_source *s, struct wm_source_item *i)
{
	if (i->held)
		return;
	i->held = true;
	i->since_ms = wm_env_ms(s->all->c.env);
	TAILQ_INSERT_TAIL(&s->held, i, hold_entry);
	s->holding++;
	s->counters[WM_SOURCE_COUNT_held]++;
	alarm(s);
}

void wm_source_hold_spec(struct wm_source *s, struct wm_source_service *v)
{
	v->spec_held = true;
	s->holding++;
	s->counters[WM_SOURCE_COUNT_held]++;
	alarm(s);
}

void wm_source_unhold(struct wm_source *s, struct wm_source_item *i)
{
	if (!i->held)
		return;
	i->held = false;
	TAILQ_REMOVE(&s->held, i, hold_entry);
	s->holding--;
}

void wm_source_ease(struct wm_source *s)
{
	if (s->engaged_ms && s->holding) {
		alarm(s);
		return;
	}
	if (!s->engaged_ms)
		return;
	s->engaged_ms = 0;
	*s->alarm = '\0';
	memset(&s->instance_brake, 0, sizeof(s->instance_brake));
	memset(&s->spec_brake, 0, sizeof(s->spec_brake));
	wm_env_timer_disarm(s->hold_timer);
	wm_info("source.brake", "source=%s text=\"no removal is held back any more\"", s->name);
}

/* Those that are held since @p until or longer. */
static unsigned let_go(struct wm_source *s, uint64_t until)
{
	struct wm_source_service *v;
	struct wm_source_item *i;
	unsigned count = 0;
	size_t pos = 0;

	while ((i = TAILQ_FIRST(&s->held)) && i->since_ms <= until) {
		wm_source_remove(s, i);
		count++;
	}
	while (s->engaged_ms <= until && (v = wm_map_next(s->services, &pos))) {
		if (!v->spec_held)
			continue;
		wm_source_spec_remove(s, v);
		count++;
	}
	s->counters[WM_SOURCE_COUNT_released] += count;
	return count;
}

void wm_source_on_hold(void *source)
{
	struct wm_source *s = source;
	uint64_t now = wm_env_ms(s->all->c.env), hold = s->c.brake_hold_ms;
	const struct wm_source_item *i;
	unsigned count = let_go(s, now - hold);

	wm_warn("source.released", "source=%s count=%u text=\"it is so for %llu s\"", s->name,
		count, (unsigned long long)hold / 1000);
	wm_source_ease(s);
	i = TAILQ_FIRST(&s->held);
	if (i)
		(void)wm_env_timer_arm(s->hold_timer, i->since_ms + hold - now);
}

unsigned wm_source_release(struct wm_source *s)
{
	unsigned count = let_go(s, UINT64_MAX);

	if (s->alien) {
		s->alien = false;
		s->taken = true;
		*s->identity = *s->alarm = '\0';
		wm_source_keep_soon(s);
		wm_source_state(s, WM_SOURCE_CONNECTING, "");
	}
	wm_warn("source.released", "source=%s count=%u text=\"by an operator\"", s->name, count);
	wm_source_ease(s);
	return count;
}

/* Is one of them the other, and perhaps more behind a space? */
static bool same_identity(const char *a, const char *b)
{
	size_t x = strlen(a), y = strlen(b), least = x < y ? x : y;
	char next = x < y ? b[least] : a[least];

	return strncmp(a, b, least) == 0 && (!next || next == ' ');
}

int wm_source_identity(struct wm_source *s, const char *id)
{
	size_t n = strnlen(id, WM_SOURCE_IDENTITY_MAX + 1);

	if (!n || n > WM_SOURCE_IDENTITY_MAX)
		return WM_E_INVALID;
	if (*s->identity && same_identity(s->identity, id)) {
		if (n > strlen(s->identity)) {
			memcpy(s->identity, id, n + 1);
			wm_source_keep_soon(s);
		}
		if (s->alien)
			*s->alarm = '\0';
		s->alien = false;
		return 0;
	}
	if (!*s->identity) {
		memcpy(s->identity, id, n + 1);
		wm_source_keep_soon(s);
		return 0;
	}
	s->counters[WM_SOURCE_COUNT_strangers]++;
	s->alien = true;
	snprintf(s->alarm, sizeof(s->alarm),
		 "it is %.64s, and what is here is of %.64s: nothing of it is taken. Is it to be, "
		 "give the former up by: waymarkctl sources release %s",
		 id, s->identity, s->name);
	wm_source_state(s, WM_SOURCE_REFUSED, s->alarm);
	return WM_E_CONFLICT;
}
