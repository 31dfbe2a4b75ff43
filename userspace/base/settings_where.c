/* SPDX-License-Identifier: Apache-2.0 */
/* settings_where.c - where a setting was set: what is wrong with a value is often found when the
 * files are long closed. */
#include "json_line.h"
#include "macros.h"
#include "settings.h"
#include "settings_env.h"

#include <linux/limits.h>
#include <string.h>

struct place {
	char section[WM_SETTINGS_NAME_MAX], name[WM_SETTINGS_NAME_MAX];
	char path[PATH_MAX];
	unsigned line; /* 0: in no file */
};

/* "section.name" at the beginning of a text. @return its length, 0: there is none. */
static size_t split(const char *text, struct place *p)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_";
	size_t section = strspn(text, letters);
	size_t name = text[section] == '.' ? strspn(text + section + 1, letters) : 0;

	if (!section || !name || section >= sizeof(p->section) || name >= sizeof(p->name))
		return 0;
	snprintf(p->section, sizeof(p->section), "%.*s", (int)section, text);
	snprintf(p->name, sizeof(p->name), "%.*s", (int)name, text + section + 1);
	return section + 1 + name;
}

static int look(void *arg, const char *path, struct wm_err *e)
{
	struct place *p = arg;
	struct wm_err unread = {0};
	size_t len;
	_cleanup_free_ char *text = wm_settings_text(path, &len, &unread);
	unsigned line = text ? wm_json_line(text, len, p->section, p->name) : 0;

	(void)e;
	if (line) { /* a later file's counts */
		p->line = line;
		snprintf(p->path, sizeof(p->path), "%s", path);
	}
	return 0;
}

void wm_settings_locate(void *where, const struct wm_err *e)
{
	const struct wm_settings_where *w = where;
	struct wm_err placed = {0}, unread = {0};
	struct place p = {.line = 0};
	size_t len = split(e->text, &p);
	bool set = false, env;

	for (unsigned i = 0; len && i < w->from->sets_count && !set; i++)
		set = strncmp(w->from->sets[i], e->text, len) == 0 && w->from->sets[i][len] == '=';
	env = len && !set && wm_settings_env_sets(w->from->env, e->text, len);
	if (len && !set && !env)
		wm_settings_files(w->from, look, &p, &unread);
	if (set)
		wm_err_set(&placed, e->code, "--set: %s", e->text);
	else if (env)
		wm_err_set(&placed, e->code, "environment: %s", e->text);
	else if (p.line)
		wm_err_set(&placed, e->code, "%s:%u: %s", p.path, p.line, e->text);
	w->fn(w->arg, placed.code ? &placed : e);
}
