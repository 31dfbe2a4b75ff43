/* SPDX-License-Identifier: Apache-2.0 */
/* bands_kept.c - how far nodes were when the agent ran last, in the data directory: who chooses the
 * nearest goes by it after a restart until each is measured anew. A line is a node's id, the number
 * of its band, and its name, for people. */
#include "internal.h"
#include "userspace/base/replace.h"
#include "userspace/net/aside.h"
#include "userspace/registry/registry.h"

#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_FILE   "bands"
#define LINE_OCTETS (WM_PEER_ID_TEXT + 4 + WM_NODE_NAME_MAX + 2) /* of a line of it */
#define KEPT_NODES  65536 /* lines that are read, and written: far more than a mesh has agents */

struct kept {
	char id[WM_PEER_ID_TEXT];
	uint8_t band;
};

struct wm_bands_kept {
	struct wm_loop *loop;
	const struct wm_registry *registry;
	struct wm_aside *writing;
	struct wm_buf text; /* that is being written */
	char path[PATH_MAX];
	bool dirty;
};

/* --- reading ------------------------------------------------------------------------------------
 */
static int by_id(const void *a, const void *b)
{
	return strcmp(((const struct kept *)a)->id, ((const struct kept *)b)->id);
}

/* @return whether a line says anything. */
static bool read_line(const char *line, struct kept *ret)
{
	size_t len = strcspn(line, " ");
	struct wm_peer_id id;
	unsigned band = len == WM_PEER_ID_TEXT - 1 && line[len] ? (unsigned)line[len + 1] - '0' : 0;

	if (band <= WM_BAND_NONE || band > WM_BAND_BEYOND)
		return false;
	memcpy(ret->id, line, len);
	ret->id[len] = '\0';
	ret->band = (uint8_t)band;
	return !wm_peer_id_parse(ret->id, &id);
}

/* @return how many, sorted; *ret for free(). */
static size_t read_kept(const char *path, struct kept **ret)
{
	FILE *f = fopen(path, "re");
	char line[LINE_OCTETS];
	size_t n = 0, cap = 0;

	*ret = NULL;
	while (f && n < KEPT_NODES && fgets(line, sizeof(line), f)) {
		if (n == cap) {
			struct kept *more = realloc(*ret, (cap * 2 + 64) * sizeof(**ret));

			if (!more)
				break;
			*ret = more;
			cap = cap * 2 + 64;
		}
		n += read_line(line, &(*ret)[n]);
	}
	if (f)
		fclose(f);
	if (n)
		qsort(*ret, n, sizeof(**ret), by_id);
	return n;
}

unsigned wm_sync_recall(struct wm_registry *r, const char *data_dir)
{
	char path[PATH_MAX];
	struct kept *kept;
	struct wm_node *node;
	unsigned told = 0;
	size_t n, pos = 0;

	snprintf(path, sizeof(path), "%s/" KEPT_FILE, data_dir);
	n = read_kept(path, &kept);
	while (n && (node = wm_registry_next_node(r, &pos))) {
		struct kept key = {0}, *k;

		if (node->self || !node->id || strlen(node->id) >= sizeof(key.id))
			continue;
		strcpy(key.id, node->id);
		k = bsearch(&key, kept, n, sizeof(key), by_id);
		if (k && node->band == WM_BAND_NONE)
			told += wm_registry_set_band(r, node, (enum wm_band)k->band);
	}
	free(kept);
	return told;
}

/* --- writing ------------------------------------------------------------------------------------
 */
/* On a thread of its own. */
static void write_file(void *arg)
{
	const struct wm_bands_kept *k = arg;

	/* without it nodes are far until they are measured */
	(void)wm_file_replace(k->path, k->text.data, k->text.len, WM_REPLACE_CACHE);
}

static void on_written(void *arg)
{
	struct wm_bands_kept *k = arg;

	k->writing = NULL;
	if (k->dirty)
		wm_bands_keep(k);
}

void wm_bands_keep(struct wm_bands_kept *k)
{
	const struct wm_node *n;
	size_t pos = 0;

	k->dirty = true;
	if (k->writing)
		return;
	k->dirty = false;
	wm_buf_reset(&k->text);
	while ((n = wm_registry_next_node(k->registry, &pos)))
		if (n->band != WM_BAND_NONE && n->id && strlen(n->id) == WM_PEER_ID_TEXT - 1)
			wm_buf_printf(&k->text, "%s %u %s\n", n->id, n->band, n->name);
	if (!k->text.failed)
		(void)wm_aside_start(k->loop, write_file, on_written, k, &k->writing);
}

/* --- life ---------------------------------------------------------------------------------------
 */
struct wm_bands_kept *wm_bands_kept_new(const struct wm_sync *s)
{
	struct wm_bands_kept *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->loop = s->c.loop;
	k->registry = s->c.registry;
	wm_buf_init(&k->text, (size_t)KEPT_NODES * LINE_OCTETS);
	snprintf(k->path, sizeof(k->path), "%s/" KEPT_FILE, s->c.data_dir);
	return k;
}

void wm_bands_kept_free(struct wm_bands_kept *k)
{
	if (!k)
		return;
	wm_aside_end(k->writing);
	wm_buf_done(&k->text);
	free(k);
}
