/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_dns_cache.c - `dns cache`: answers of others that the kernel keeps, those that are
 * asked for most first, and what each level of caches is asked and answers. */
#include "waymarkctl.h"

#include <stdlib.h>
#include <string.h>

#define MIB (1 << 20)

static json_t *page(const struct ctl *c, json_int_t after)
{
	char path[CTL_PATH_MAX] = "/v1/waymark/dns/cache", tail[32];

	snprintf(tail, sizeof(tail), "%cafter=%lld", c->args_count ? '&' : '?', (long long)after);
	if (!c->args_count)
		strncat(path, tail, sizeof(path) - strlen(path) - 1);
	else if (!ctl_path(c, path, "/v1/waymark/dns/cache?name=", c->args[0], tail))
		return NULL;
	return ctl_fetch(c, "GET", path, CTL_TIMEOUT_MS, true);
}

/* All pages as one. @return the caller's, NULL after a message. */
static json_t *pages(const struct ctl *c)
{
	json_t *doc = page(c, 0), *more, *after;

	while (doc && json_is_integer(after = json_object_get(doc, "after"))) {
		more = page(c, json_integer_value(after));
		if (more) {
			json_array_extend(json_object_get(doc, "answers"),
					  json_object_get(more, "answers"));
			json_object_set(doc, "after", json_object_get(more, "after"));
		} else {
			json_decref(doc);
			doc = NULL;
		}
		json_decref(more);
	}
	json_object_del(doc, "after");
	return doc;
}

/* Numbers as the words that others write for them. */
static void word(json_t *row)
{
	static const char *const flags[] = {"do", "cd", "ad"};
	json_t *view = json_array();
	char other[16];

	json_object_set_new(
		row, "type",
		json_string(ctl_dns_type(json_integer_value(json_object_get(row, "type")), other)));
	json_object_set_new(row, "rcode",
			    json_string(ctl_dns_rcode(
				    (unsigned)json_integer_value(json_object_get(row, "rcode")))));
	for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++) {
		if (json_is_true(json_object_get(row, flags[i])))
			json_array_append_new(view, json_string(flags[i]));
		json_object_del(row, flags[i]);
	}
	json_object_set_new(row, "view", view);
}

static json_int_t asked_of(const json_t *v)
{
	return json_integer_value(json_object_get(v, "asked"));
}

static int busier(const void *a, const void *b)
{
	json_int_t x = asked_of(*(json_t *const *)a), y = asked_of(*(json_t *const *)b);

	return x < y ? 1 : x > y ? -1 : 0;
}

/* The rows as words, in their order. @return a new list. */
static json_t *ordered(const json_t *rows)
{
	json_t **all = calloc(json_array_size(rows) + 1, sizeof(void *)), *list = json_array(), *v;
	size_t i;

	json_array_foreach(rows, i, v)
	{
		word(v);
		if (all)
			all[i] = v;
	}
	if (all)
		qsort(all, json_array_size(rows), sizeof(void *), busier);
	for (i = 0; all && i < json_array_size(rows); i++)
		json_array_append(list, all[i]);
	free(all);
	return list;
}

static void show_level(const json_t *level)
{
	json_int_t asked = asked_of(level),
		   answered = json_integer_value(json_object_get(level, "answered"));

	printf(", %lld of %lld questions answered", (long long)answered, (long long)asked);
	if (asked)
		printf(" (%.1f %%)", 100.0 * (double)answered / (double)asked);
	putchar('\n');
}

static void show(const json_t *doc)
{
	static const char *const columns[] = {"name",  "type", "rcode",	 "ttl_s", "age_s",
					      "asked", "view", "octets", NULL};
	const json_t *kernel = json_object_get(doc, "kernel"),
		     *cache = json_object_get(doc, "cache"),
		     *answers = json_object_get(doc, "answers");

	printf("kernel      %lld of %lld names",
	       (long long)json_integer_value(json_object_get(kernel, "names")),
	       (long long)json_integer_value(json_object_get(kernel, "names_max")));
	show_level(kernel);
	printf("libunbound  at most %lld MiB",
	       (long long)json_integer_value(json_object_get(cache, "octets_max")) / MIB);
	show_level(cache);
	if (json_array_size(answers)) {
		putchar('\n');
		ctl_table(answers, columns, 0, stdout);
	}
}

int ctl_dns_cache(const struct ctl *c)
{
	json_t *doc = pages(c);

	if (!doc)
		return CTL_EXIT_FAILED;
	json_object_set_new(doc, "answers", ordered(json_object_get(doc, "answers")));
	if (c->json)
		return ctl_print(c, doc);
	show(doc);
	json_decref(doc);
	return 0;
}
