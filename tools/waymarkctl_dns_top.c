/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_dns_top.c - `dns top`, of what the agent remembers of the questions that were answered
 * last. */
#include "waymarkctl.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define INTERVAL_S 1  /* between two looks */
#define ROWS_MAX   10 /* of each of its tables */

static json_t *seen_after(const struct ctl *c, json_int_t after)
{
	char path[80];

	snprintf(path, sizeof(path), "/v1/waymark/dns/seen?after=%lld", (long long)after);
	return ctl_fetch(c, "GET", path, CTL_TIMEOUT_MS, true);
}

static json_int_t last_of(const json_t *doc)
{
	return json_integer_value(json_object_get(doc, "last"));
}

static int busier(const void *a, const void *b)
{
	json_int_t x = json_integer_value(json_object_get(*(json_t *const *)a, "count")),
		   y = json_integer_value(json_object_get(*(json_t *const *)b, "count"));

	return x < y ? 1 : x > y ? -1 : 0;
}

/* The busiest of @p all, which is taken, in @p list. */
static json_t *first_of(json_t *list, json_t **all, size_t n)
{
	if (all)
		qsort(all, n, sizeof(void *), busier);
	for (size_t i = 0; i < n; i++) {
		if (i < ROWS_MAX)
			json_array_append(list, all[i]);
		json_decref(all[i]);
	}
	free(all);
	return list;
}

/* The most frequent values of what @p key names, as rows; @p scale makes rates of counts. */
static json_t *most(const json_t *questions, const char *key, double scale)
{
	json_t *by = json_object(), *list = json_array(), *row, **all;
	const json_t *q;
	const char *name;
	size_t i, n = 0;

	json_array_foreach(questions, i, q)
	{
		const json_t *v = json_object_get(q, key);
		char other[16];

		name = json_is_integer(v) ? ctl_dns_type(json_integer_value(v), other)
					  : json_string_value(v);
		row = json_object_get(by, name);
		json_object_set_new(by, name, json_integer(json_integer_value(row) + 1));
	}
	all = calloc(json_object_size(by) + 1, sizeof(void *));
	json_object_foreach(by, name, row)
	{
		json_int_t count = json_integer_value(row);

		if (all)
			all[n++] = json_pack("{s:s, s:I, s:o}", key, name, "count", count, "per_s",
					     json_sprintf("%.1f", (double)count * scale));
	}
	json_decref(by);
	return first_of(list, all, n);
}

static json_int_t grown(const json_t *pod, const json_t *was, const char *key)
{
	return json_integer_value(json_object_get(pod, key)) -
	       json_integer_value(json_object_get(was, key));
}

/* What pods asked the kernel since @p before, the busiest first, as rows. */
static json_t *pods_since(const json_t *before, const json_t *pods)
{
	json_t *list = json_array(), **all = calloc(json_array_size(pods) + 1, sizeof(void *));
	const json_t *pod, *was;
	size_t i, k, n = 0;

	json_array_foreach(pods, i, pod)
	{
		was = NULL;
		json_array_foreach(before, k, was) if (strcmp(ctl_text(was, "device"),
							      ctl_text(pod, "device")) == 0) break;
		if (!all || !was || grown(pod, was, "queries") <= 0)
			continue;
		all[n++] = json_pack(
			"{s:s, s:I, s:o, s:o}", "pod", ctl_text(pod, "device"), "count",
			grown(pod, was, "queries"), "per_s",
			json_sprintf("%.1f", (double)grown(pod, was, "queries") / INTERVAL_S),
			"dropped_per_s",
			json_sprintf("%.1f", (double)grown(pod, was, "dropped") / INTERVAL_S));
	}
	return first_of(list, all, n);
}

static void show_top(const json_t *doc)
{
	static const char *const keys[] = {"name", "client", "type", "level"};

	printf("%.1f questions a second answered by userspace; not those that the kernel answers\n",
	       json_real_value(json_object_get(doc, "per_s")));
	if (json_integer_value(json_object_get(doc, "lost")))
		printf("a sample: %lld of them were not kept\n",
		       (long long)json_integer_value(json_object_get(doc, "lost")));
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		const char *columns[] = {"per_s", keys[i], NULL};

		putchar('\n');
		ctl_table(json_object_get(doc, keys[i]), columns, 0, stdout);
	}
	if (json_array_size(json_object_get(doc, "pod"))) {
		const char *columns[] = {"per_s", "dropped_per_s", "pod", NULL};

		printf("\nof pods, with what the kernel answers\n");
		ctl_table(json_object_get(doc, "pod"), columns, 0, stdout);
	}
}

struct look {
	json_int_t after; /* number of the last question */
	json_t *pods;
};

static json_t *look_at_pods(const struct ctl *c)
{
	json_t *dns = ctl_get(c, "/v1/waymark/dns", false),
	       *pods = json_incref(json_object_get(dns, "pods"));

	json_decref(dns);
	return pods;
}

/* @param before becomes what this look saw. */
static int top_once(const struct ctl *c, struct look *before)
{
	struct timespec pause = {.tv_sec = INTERVAL_S};
	json_t *seen, *doc, *questions, *pods;
	double scale, asked;
	size_t kept;

	nanosleep(&pause, NULL);
	seen = seen_after(c, before->after);
	pods = seen ? look_at_pods(c) : NULL;
	if (!pods) {
		json_decref(seen);
		return CTL_EXIT_FAILED;
	}
	questions = json_object_get(seen, "questions");
	kept = json_array_size(questions);
	/* what was not kept is taken to be as what was */
	asked = (double)(last_of(seen) - before->after) / INTERVAL_S;
	scale = kept ? asked / (double)kept : 0;
	doc = json_pack("{s:f, s:O, s:o, s:o, s:o, s:o, s:o}", "per_s", asked, "lost",
			json_object_get(seen, "lost"), "name", most(questions, "name", scale),
			"client", most(questions, "client", scale), "type",
			most(questions, "type", scale), "level", most(questions, "level", scale),
			"pod", pods_since(before->pods, pods));
	before->after = last_of(seen);
	json_decref(before->pods);
	before->pods = pods;
	if (!c->once && isatty(STDOUT_FILENO) && !c->json)
		fputs("\033[H\033[2J", stdout); /* home, and clear what follows */
	if (c->json) {
		json_dumpf(doc, stdout, JSON_COMPACT | JSON_ENSURE_ASCII);
		putchar('\n');
	} else {
		show_top(doc);
	}
	fflush(stdout);
	json_decref(doc);
	json_decref(seen);
	return 0;
}

int ctl_dns_top(const struct ctl *c)
{
	json_t *seen = seen_after(c, INT64_MAX);
	struct look before = {.after = last_of(seen), .pods = seen ? look_at_pods(c) : NULL};
	int r = before.pods ? 0 : CTL_EXIT_FAILED;

	json_decref(seen);
	do {
		r = r ? r : top_once(c, &before);
	} while (!c->once && !r && !ferror(stdout));
	json_decref(before.pods);
	return r;
}
