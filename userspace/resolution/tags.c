/* SPDX-License-Identifier: Apache-2.0 */
/* tags.c - see tags.h. A set of a tag is one of a label of its service, as a subset's is. */
#include "tags.h"

#include "resolution.h"
#include "userspace/base/clock.h"
#include "waymark/dns_answer.h"

#include <stdlib.h>
#include <string.h>

/* Tags that have a set, of all services and of one: each makes the compilation of its service
 * dearer, and 128 instances (what DNS programs look at) of each are an eighth of the slots. Those
 * with addresses count apart, as nobody takes them back. */
#define TAGS_MAX	512
#define TAGS_OF_ONE_MAX 16
/* The same of one client, of those that are asked for by name: else one could hold all places. */
#define TAGS_OF_CLIENT_MAX (TAGS_MAX / 4)
/* Instances of a service whose tags may have sets: each of its tags is looked for among all of them
 * as often as it is compiled, which is to take some milliseconds at most. */
#define TAGS_INSTANCES_MAX 4096

void wm_tags_init(struct wm_tags *t, struct wm_wants *w)
{
	*t = (struct wm_tags){.w = w};
	TAILQ_INIT(&t->queue);
}

static struct wm_tag *find(const struct wm_tag_list *of, const char *text)
{
	struct wm_tag *tag;

	LIST_FOREACH (tag, of, of_service)
		if (strcmp(tag->text, text) == 0)
			return tag;
	return NULL;
}

static bool is_subset(const struct wm_tags *t, const struct wm_service *s, const char *text)
{
	const struct wm_policy *p = wm_registry_policy(t->w->registry, s->name);

	return p && wm_policy_subset(p, text);
}

bool wm_tags_is_subset(const struct wm_tags *t, const struct wm_tag *tag)
{
	return is_subset(t, tag->service, tag->text);
}

/* --- life ---------------------------------------------------------------------------------------
 */
/* @return NULL: there is no place for it. */
static struct wm_tag *tag_new(const struct wm_service *s, struct wm_tag_list *of, const char *text,
			      bool addressed)
{
	unsigned of_one = 0;
	struct wm_tag *tag;

	if (s->instances_count > TAGS_INSTANCES_MAX || strlen(text) > WM_POLICY_LABEL_MAX ||
	    text[strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-_.")])
		return NULL;
	LIST_FOREACH (tag, of, of_service)
		of_one += tag->addressed == addressed;
	tag = of_one < TAGS_OF_ONE_MAX ? calloc(1, sizeof(*tag)) : NULL;
	if (!tag)
		return NULL;
	strcpy(tag->text, text);
	tag->service = s;
	tag->addressed = addressed;
	LIST_INSERT_HEAD(of, tag, of_service);
	return tag;
}

static void tag_free(struct wm_tags *t, struct wm_tag *tag)
{
	if (tag->addressed) {
		t->addressed_count--;
	} else {
		TAILQ_REMOVE(&t->queue, tag, entry);
		t->count--;
	}
	LIST_REMOVE(tag, of_service);
	free(tag);
}

void wm_tags_free_list(struct wm_tags *t, struct wm_tag_list *of)
{
	struct wm_tag *tag;

	while ((tag = LIST_FIRST(of)))
		tag_free(t, tag);
}

static void unput(struct wm_tags *t, const struct wm_tag *tag)
{
	wm_tables_part_del(t->w->tables, tag->service->name, tag->text, 0, 0);
}

void wm_tags_drop(struct wm_tags *t, struct wm_tag_list *of)
{
	struct wm_tag *tag;

	while ((tag = LIST_FIRST(of))) {
		unput(t, tag);
		if (tag->addressed && !wm_tags_is_subset(t, tag))
			wm_registry_label_retire(t->w->registry, tag->service->name, tag->text);
		tag_free(t, tag);
	}
}

void wm_tags_end(struct wm_tags *t, uint64_t now_ns)
{
	struct wm_tag *tag;

	while ((tag = TAILQ_FIRST(&t->queue)) && tag->until_ns <= now_ns) {
		if (!wm_tags_is_subset(t, tag))
			unput(t, tag);
		tag_free(t, tag);
	}
}

/* --- what is asked for --------------------------------------------------------------------------
 */
static unsigned count_of(const struct wm_tags *t, const uint8_t *client)
{
	const struct wm_tag *tag;
	unsigned n = 0;

	TAILQ_FOREACH (tag, &t->queue, entry)
		n += memcmp(tag->client, client, sizeof(tag->client)) == 0;
	return n;
}

bool wm_tags_asked(struct wm_tags *t, const struct wm_service *s, struct wm_tag_list *of,
		   const char *text, const uint8_t client[WM_RESOLUTION_CLIENT])
{
	struct wm_tag *tag;

	if (t->count >= TAGS_MAX || find(of, text) || count_of(t, client) >= TAGS_OF_CLIENT_MAX)
		return false;
	tag = tag_new(s, of, text, false);
	if (!tag)
		return false;
	memcpy(tag->client, client, sizeof(tag->client));
	tag->until_ns = wm_clock_ns() + WM_RESOLUTION_TAG_MS * WM_NS_PER_MS;
	TAILQ_INSERT_TAIL(&t->queue, tag, entry);
	t->count++;
	return true;
}

static bool any_has(const struct wm_service *s, const char *tag)
{
	for (unsigned i = 0; i < s->instances_count; i++)
		if (wm_instance_has_tag(s->instances[i], tag))
			return true;
	return false;
}

const struct wm_tag *wm_tags_address(struct wm_tags *t, const struct wm_service *s,
				     struct wm_tag_list *of, const char *text)
{
	struct wm_tag *tag = find(of, text);

	if (tag && tag->addressed)
		return tag;
	if (t->addressed_count >= TAGS_MAX || is_subset(t, s, text) || !any_has(s, text))
		return NULL;
	if (tag)
		tag_free(t, tag);
	tag = tag_new(s, of, text, true);
	if (!tag)
		return NULL;
	t->addressed_count++;
	if (!wm_registry_label_give(t->w->registry, s->name, text))
		return tag;
	tag_free(t, tag);
	return NULL;
}

void wm_tags_put(struct wm_tags *t, const struct wm_tag *tag)
{
	struct wm_want_part part = {.tag = true};
	struct wm_want_set w;
	struct wm_plan plan;
	int r;

	if (wm_tags_is_subset(t, tag))
		return;
	if (tag->addressed) /* a subset of its name may have had them, and be gone */
		(void)wm_registry_label_give(t->w->registry, tag->service->name, tag->text);
	if (tag->service->instances_count > TAGS_INSTANCES_MAX) {
		unput(t, tag);
		return;
	}
	strcpy(part.label, tag->text);
	r = wm_want_make(t->w, tag->service, &part, &plan, &w);
	if (r || (plan.count > WM_DNS_SCAN_KERNEL && !tag->addressed) ||
	    wm_tables_put(t->w->tables, &w, NULL, NULL))
		unput(t, tag);
	wm_plan_done(&plan);
}
