/* SPDX-License-Identifier: Apache-2.0 */
/* conflicts.c - see conflicts.h. A ring of pointers: what is never needed costs nothing. */
#include "conflicts.h"

#include "userspace/store/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RULES 3

struct wm_conflicts {
	struct wm_conflict *ring[WM_CONFLICTS_MAX];
	size_t count; /* of all; the next place is it modulo the ring's size */
	const char *rules[RULES];
	uint64_t by_rule[RULES];
};

struct wm_conflicts *wm_conflicts_new(void)
{
	struct wm_conflicts *c = calloc(1, sizeof(*c));

	if (!c)
		return NULL;
	c->rules[0] = wm_merge_hlc.name;
	c->rules[1] = wm_merge_semver.name;
	c->rules[2] = wm_merge_priority.name;
	return c;
}

void wm_conflicts_free(struct wm_conflicts *c)
{
	for (size_t n = 0; c && n < WM_CONFLICTS_MAX; n++)
		free(c->ring[n]);
	free(c);
}

/* Where it was, for who looks: the address and port of its record. */
static void read_object(struct wm_conflict_side *s, const struct wm_replica_change *c, bool node)
{
	const enum wm_record_type type = node ? WM_RECORD_CATALOG_NODE : WM_RECORD_CATALOG_INSTANCE;
	struct wm_record_instance *d = NULL;
	const char *why = "", *address;
	char *body = NULL;

	if (!c->object || c->len <= WM_RECORD_HEAD ||
	    wm_record_open(c->object, c->len, 0, type, &why))
		return;
	body = malloc(c->len - WM_RECORD_HEAD);
	d = calloc(1, sizeof(*d));
	if (body && d) {
		memcpy(body, (const char *)c->object + WM_RECORD_HEAD, c->len - WM_RECORD_HEAD);
		if (!(node ? wm_record_get_catalog_node(body, c->len - WM_RECORD_HEAD, d)
			   : wm_record_get_catalog_instance(body, c->len - WM_RECORD_HEAD, d))) {
			address = node ? d->node.address : d->d.address;
			snprintf(s->address, sizeof(s->address), "%s", address ? address : "");
			s->port = node ? 0 : d->d.port;
		}
	}
	free(body);
	free(d);
}

static struct wm_conflict_side side_of(const struct wm_replica_change *c, bool node)
{
	struct wm_conflict_side s = {.writer = c->origin,
				     .clock = c->version.seq,
				     .priority = c->version.priority,
				     .gone = c->gone};

	snprintf(s.semver, sizeof(s.semver), "%s", c->semver ? c->semver : "");
	read_object(&s, c, node);
	return s;
}

void wm_conflicts_add(struct wm_conflicts *c, uint64_t wall_ms, const char *rule, const char *node,
		      const char *id, const struct wm_replica_change *stands,
		      const struct wm_replica_change *lost)
{
	struct wm_conflict **at = &c->ring[c->count % WM_CONFLICTS_MAX];

	for (unsigned n = 0; n < RULES; n++)
		c->by_rule[n] += strcmp(c->rules[n], rule) == 0;
	if (!*at)
		*at = malloc(sizeof(**at));
	if (!*at)
		return;
	c->count++;
	**at = (struct wm_conflict){.wall_ms = wall_ms,
				    .rule = rule,
				    .stands = side_of(stands, !*id),
				    .lost = side_of(lost, !*id)};
	snprintf((*at)->node, sizeof((*at)->node), "%s", node);
	snprintf((*at)->id, sizeof((*at)->id), "%s", id);
}

const struct wm_conflict *wm_conflicts_next(const struct wm_conflicts *c, size_t *pos)
{
	size_t kept = c->count < WM_CONFLICTS_MAX ? c->count : WM_CONFLICTS_MAX;

	return *pos < kept ? c->ring[(c->count - ++*pos) % WM_CONFLICTS_MAX] : NULL;
}

uint64_t wm_conflicts_count(const struct wm_conflicts *c, const char *rule)
{
	for (unsigned n = 0; n < RULES; n++)
		if (strcmp(c->rules[n], rule) == 0)
			return c->by_rule[n];
	return 0;
}
