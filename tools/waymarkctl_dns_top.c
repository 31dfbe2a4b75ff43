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

static json_t *seen_after(const struct ctl *c, json_int_t after, json_int_t kernel_after)
{
	char path[96];

	snprintf(path, sizeof(path), "/v1/waymark/dns/seen?after=%lld&kernel_after=%lld",
		 (long long)after, (long long)kernel_after);
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

/* What is known of one of those who answer. */
struct part {
	const json_t *questions;
	json_int_t lost;
	double scale; /* what was not kept is taken to be as what was */
	double per_s;
};

static struct part part_of(const json_t *seen, json_int_t after)
{
	struct part p = {.questions = json_object_get(seen, "questions"),
			 .lost = json_integer_value(json_object_get(seen, "lost"))};
	size_t kept = json_array_size(p.questions), i;
	const json_t *q;

	p.scale = kept ? (double)(last_of(seen) - after) / (double)kept : 0;
	json_array_foreach(p.questions, i, q) p.per_s +=
		json_number_value(json_object_get(q, "stands_for")) * p.scale / INTERVAL_S;
	return p;
}

/* For how many the last one stands; 0: there is none. */
static json_int_t sample_of(const struct part *p)
{
	size_t n = json_array_size(p->questions);

	return n ? json_integer_value(
			   json_object_get(json_array_get(p->questions, n - 1), "stands_for"))
		 : 0;
}

static void count(json_t *by, const struct part *p, const char *key)
{
	const json_t *q;
	size_t i;

	json_array_foreach(p->questions, i, q)
	{
		const json_t *v = json_object_get(q, key);
		char other[16];
		const char *name = json_is_integer(v) ? ctl_dns_type(json_integer_value(v), other)
						      : json_string_value(v);

		json_object_set_new(
			by, name,
			json_real(json_real_value(json_object_get(by, name)) +
				  json_number_value(json_object_get(q, "stands_for")) * p->scale));
	}
}

/* The most frequent values of what @p key names, of both @p parts, as rows. */
static json_t *most(const struct part parts[2], const char *key)
{
	json_t *by = json_object(), *row, **all;
	const char *name;
	size_t n = 0;

	count(by, &parts[0], key);
	count(by, &parts[1], key);
	all = calloc(json_object_size(by) + 1, sizeof(void *));
	json_object_foreach(by, name, row)
	{
		double of = json_real_value(row);

		if (all)
			all[n++] = json_pack("{s:s, s:I, s:o}", key, name, "count",
					     (json_int_t)(of + 0.5), "per_s",
					     json_sprintf("%.1f", of / INTERVAL_S));
	}
	json_decref(by);
	return first_of(json_array(), all, n);
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

	printf("%.1f questions a second answered by userspace, some %.1f by the kernel\n",
	       json_real_value(json_object_get(doc, "per_s")),
	       json_real_value(json_object_get(doc, "kernel_per_s")));
	if (json_integer_value(json_object_get(doc, "lost")))
		printf("a sample: %lld of them were not kept\n",
		       (long long)json_integer_value(json_object_get(doc, "lost")));
	if (json_integer_value(json_object_get(doc, "sample")))
		printf("of the kernel's each of %lld stands for %lld (dns.sample)\n",
		       (long long)json_integer_value(json_object_get(doc, "told")),
		       (long long)json_integer_value(json_object_get(doc, "sample")));
	for (size_t i = 0; i < sizeof(keys) / sizeof(*keys); i++) {
		const char *columns[] = {"per_s", keys[i], NULL};

		if (!json_array_size(json_object_get(doc, keys[i])))
			continue;
		putchar('\n');
		ctl_table(json_object_get(doc, keys[i]), columns, 0, stdout);
	}
	if (json_array_size(json_object_get(doc, "pod"))) {
		const char *columns[] = {"per_s", "dropped_per_s", "pod", NULL};

		printf("\nof pods, all that the kernel saw\n");
		ctl_table(json_object_get(doc, "pod"), columns, 0, stdout);
	}
}

struct look {
	json_int_t after, kernel_after; /* numbers of the last questions */
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
	json_t *seen, *doc, *pods;
	const json_t *kernel;
	struct part parts[2];

	nanosleep(&pause, NULL);
	seen = seen_after(c, before->after, before->kernel_after);
	pods = seen ? look_at_pods(c) : NULL;
	if (!pods) {
		json_decref(seen);
		return CTL_EXIT_FAILED;
	}
	kernel = json_object_get(seen, "kernel");
	parts[0] = part_of(seen, before->after);
	parts[1] = part_of(kernel, before->kernel_after);
	doc = json_pack("{s:f, s:f, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o}", "per_s",
			parts[0].per_s, "kernel_per_s", parts[1].per_s, "lost",
			parts[0].lost + parts[1].lost, "told",
			(json_int_t)json_array_size(parts[1].questions), "sample",
			sample_of(&parts[1]), "name", most(parts, "name"), "client",
			most(parts, "client"), "type", most(parts, "type"), "level",
			most(parts, "level"), "pod", pods_since(before->pods, pods));
	before->after = last_of(seen);
	before->kernel_after = last_of(kernel);
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
	json_t *seen = seen_after(c, INT64_MAX, INT64_MAX);
	struct look before = {.after = last_of(seen),
			      .kernel_after = last_of(json_object_get(seen, "kernel")),
			      .pods = seen ? look_at_pods(c) : NULL};
	int r = before.pods ? 0 : CTL_EXIT_FAILED;

	json_decref(seen);
	do {
		r = r ? r : top_once(c, &before);
	} while (!c->once && !r && !ferror(stdout));
	json_decref(before.pods);
	return r;
}
