/* SPDX-License-Identifier: Apache-2.0 */
#include "json_line.h"

#include <string.h>

/* The string that begins at w->at, without its quotes; escapes stay, no key of ours has one. */
static size_t string(struct wm_json_walk *w, const char **ret)
{
	size_t n;

	*ret = ++w->at;
	while (w->at < w->end && *w->at != '"') {
		w->at += *w->at == '\\' ? 2 : 1;
		if (w->at > w->end)
			w->at = w->end;
	}
	n = (size_t)(w->at - *ret);
	if (w->at < w->end)
		w->at++;
	return n;
}

/* One octet outside of strings. */
static void step(struct wm_json_walk *w)
{
	w->line += *w->at == '\n';
	w->depth += *w->at == '{' || *w->at == '[';
	w->depth -= (*w->at == '}' || *w->at == ']') && w->depth;
	w->at++;
}

static bool is_key(const struct wm_json_walk *w)
{
	const char *p = w->at;

	while (p < w->end && strchr(" \t\r\n", *p))
		p++;
	return p < w->end && *p == ':';
}

unsigned wm_json_line(const char *json, size_t len, const char *section, const char *name)
{
	struct wm_json_walk w = {.at = json, .end = json + len, .line = 1};
	bool inside = false;
	const char *text;
	size_t n;

	while (w.at < w.end) {
		if (*w.at == '"') {
			n = string(&w, &text);
			if (!is_key(&w))
				continue;
			if (w.depth == 1)
				inside = n == strlen(section) && memcmp(text, section, n) == 0;
			if (inside && w.depth == 1 && !name)
				return w.line;
			if (inside && w.depth == 2 && name && n == strlen(name) &&
			    memcmp(text, name, n) == 0)
				return w.line;
			continue;
		}
		step(&w);
	}
	return 0;
}

/* Behind the top object's key and its colon. @return false: there is no such key. */
static bool enter(struct wm_json_walk *w, const char *key)
{
	const char *text;
	size_t n;

	while (w->at < w->end) {
		if (*w->at != '"') {
			step(w);
			continue;
		}
		n = string(w, &text);
		if (w->depth == 1 && is_key(w) && n == strlen(key) && memcmp(text, key, n) == 0) {
			while (*w->at != ':') /* is_key() saw it */
				step(w);
			w->at++;
			return true;
		}
	}
	return false;
}

static void skip_space(struct wm_json_walk *w)
{
	while (w->at < w->end && strchr(" \t\r\n", *w->at))
		step(w);
}

bool wm_json_list(const char *json, size_t len, const char *key, struct wm_json_walk *ret)
{
	struct wm_json_walk w = {.at = json, .end = json + len, .line = 1};

	*ret = (struct wm_json_walk){0};
	if (!enter(&w, key))
		return false;
	skip_space(&w);
	if (w.at == w.end || *w.at != '[')
		return false;
	step(&w);
	*ret = w;
	return true;
}

unsigned wm_json_next_line(struct wm_json_walk *w)
{
	const char *text;
	unsigned line;
	bool more = false;

	skip_space(w);
	if (w->at == w->end || *w->at == ']') {
		w->at = w->end;
		return 0;
	}
	line = w->line;
	while (!more && w->at < w->end && w->depth > 1) {
		more = w->depth == 2 && *w->at == ',';
		if (*w->at == '"')
			string(w, &text);
		else
			step(w);
	}
	if (!more)
		w->at = w->end;
	return line;
}
