/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_render.c - JSON for people. It knows no field: what the agent adds is shown. */
#include "waymarkctl.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define COLUMNS_MAX 16	/* columns of a table */
#define CELL_MAX    256 /* octets of a cell; longer ones are cut */
#define DEPTH_MAX   8	/* nesting that is shown */

static void cell(const json_t *v, char out[CELL_MAX])
{
	size_t i, at = 0;
	json_t *item;
	char one[CELL_MAX];

	out[0] = '\0';
	if (json_is_string(v))
		wm_plain(json_string_value(v), out, CELL_MAX);
	else if (json_is_integer(v))
		snprintf(out, CELL_MAX, "%" JSON_INTEGER_FORMAT, json_integer_value(v));
	else if (json_is_real(v))
		snprintf(out, CELL_MAX, "%.3g", json_real_value(v));
	else if (json_is_boolean(v))
		snprintf(out, CELL_MAX, "%s", json_is_true(v) ? "yes" : "no");
	else if (json_is_array(v))
		json_array_foreach(v, i, item)
		{
			cell(item, one);
			at += (size_t)snprintf(out + at, CELL_MAX - at, "%s%s", i ? "," : "", one);
			if (at >= CELL_MAX)
				return;
		}
	else if (json_is_object(v))
		snprintf(out, CELL_MAX, "%zu entries", json_object_size(v));
	if (!*out)
		snprintf(out, CELL_MAX, "-");
}

const char *ctl_text_or(const json_t *v, const char *key, const char *otherwise)
{
	const char *s = json_string_value(json_object_get(v, key));

	return s ? s : otherwise;
}

static bool is_table(const json_t *v)
{
	return json_is_array(v) && json_array_size(v) && json_is_object(json_array_get(v, 0));
}

static bool is_block(const json_t *v)
{
	return json_is_object(v) || is_table(v);
}

/* Of a word that says how something is, on a terminal that wants it (https://no-color.org). */
static const char *colour_of(FILE *out, const char *text)
{
	static const struct {
		const char *word, *colour;
	} words[] = {{"critical", "31"}, {"unhealthy", "31"}, {"down", "31"},	{"missing", "31"},
		     {"fault", "31"},	 {"DEGRADED", "31"},  {"FAILED", "31"}, {"warning", "33"},
		     {"unknown", "33"},	 {"stopping", "33"},  {"drain", "33"},	{"passing", "32"},
		     {"up", "32"},	 {"healthy", "32"},   {"ok", "32"}};
	const char *no = getenv("NO_COLOR");

	if (!isatty(fileno(out)) || (no && *no))
		return NULL;
	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (strcmp(words[i].word, text) == 0)
			return words[i].colour;
	return NULL;
}

void ctl_word(const char *text, FILE *out)
{
	const char *colour = colour_of(out, text);

	if (colour)
		fprintf(out, "\033[%sm%s\033[0m", colour, text);
	else
		fputs(text, out);
}

static void pad(FILE *out, const char *text, int width)
{
	int rest = width - (int)strlen(text);

	ctl_word(text, out);
	if (rest > 0)
		fprintf(out, "%*s", rest, "");
}

/* Columns of a table without keys: the scalars of its first row. */
static int first_row_keys(const json_t *rows, const char *columns[COLUMNS_MAX])
{
	const char *key;
	json_t *v;
	int n = 0;

	json_object_foreach(json_array_get(rows, 0), key, v)
	{
		if (n < COLUMNS_MAX && !is_block(v))
			columns[n++] = key;
	}
	return n;
}

static void put_row(const json_t *row, const char *const *columns, const int *widths, int n,
		    FILE *out)
{
	char text[CELL_MAX];

	for (int k = 0; k < n; k++) {
		cell(json_object_get(row, columns[k]), text);
		pad(out, text, k + 1 < n ? widths[k] + 2 : 0);
	}
	fputc('\n', out);
}

static void put_table(const json_t *rows, const char *const *columns, int n, int indent, FILE *out,
		      bool nested)
{
	char names[COLUMNS_MAX][CELL_MAX], text[CELL_MAX];
	int widths[COLUMNS_MAX];
	const char *key;
	json_t *row, *v;
	size_t i;

	for (int k = 0; k < n; k++)
		widths[k] = (int)strlen(wm_plain(columns[k], names[k], CELL_MAX));
	json_array_foreach(rows, i, row)
	{
		for (int k = 0; k < n; k++) {
			cell(json_object_get(row, columns[k]), text);
			if ((int)strlen(text) > widths[k])
				widths[k] = (int)strlen(text);
		}
	}
	fprintf(out, "%*s", indent, "");
	for (int k = 0; k < n; k++)
		fprintf(out, "%-*s", k + 1 < n ? widths[k] + 2 : 0, names[k]);
	fputc('\n', out);
	json_array_foreach(rows, i, row)
	{
		fprintf(out, "%*s", indent, "");
		put_row(row, columns, widths, n, out);
		/* what a row holds beside scalars, below it */
		json_object_foreach(row, key, v)
		{
			if (nested && is_table(v) && indent < 2 * DEPTH_MAX)
				ctl_render(v, indent + 4, out);
		}
	}
}

void ctl_table(const json_t *rows, const char *const *keys, int indent, FILE *out)
{
	int n = 0;

	while (n < COLUMNS_MAX && keys[n])
		n++;
	put_table(rows, keys, n, indent, out, false);
}

void ctl_render(const json_t *v, int indent, FILE *out)
{
	const char *columns[COLUMNS_MAX], *key;
	char text[CELL_MAX], name[CELL_MAX];
	int width = 0, len;
	json_t *member;

	if (indent > 2 * DEPTH_MAX)
		return;
	if (is_table(v)) {
		put_table(v, columns, first_row_keys(v, columns), indent, out, true);
		return;
	}
	if (!json_is_object(v)) {
		cell(v, text);
		fprintf(out, "%*s%s\n", indent, "", json_is_array(v) ? "none" : text);
		return;
	}
	json_object_foreach((json_t *)(size_t)v, key, member)
	{
		len = (int)strlen(wm_plain(key, name, sizeof(name)));
		if (!is_block(member) && len > width)
			width = len;
	}
	json_object_foreach((json_t *)(size_t)v, key, member) if (!is_block(member))
	{
		cell(member, text);
		fprintf(out, "%*s%-*s  %s\n", indent, "", width, wm_plain(key, name, sizeof(name)),
			text);
	}
	json_object_foreach((json_t *)(size_t)v, key, member) if (is_block(member))
	{
		fprintf(out, "%*s%s\n", indent, "", wm_plain(key, name, sizeof(name)));
		ctl_render(member, indent + 2, out);
	}
}
