/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_sources.c - who brings services from elsewhere, and removals that are held back. */
#include "waymarkctl.h"

#include <string.h>

static void print_counters(const json_t *s)
{
	const char *name;
	json_t *v;

	printf("%s:\n", ctl_text(s, "name"));
	json_object_foreach(json_object_get(s, "counters"), name, v)
		printf("  %-12s %lld\n", name, (long long)json_integer_value(v));
}

int ctl_sources(const struct ctl *c)
{
	static const char *const keys[] = {"name",   "state",	"services", "instances", "nodes",
					   "queued", "holding", "lag_ms",   NULL};
	json_t *doc = ctl_get(c, "/v1/waymark/sources", false), *s;
	size_t i;

	if (!doc || c->json)
		return ctl_print(c, doc);
	if (!json_array_size(doc)) {
		puts("nobody brings services from elsewhere");
		json_decref(doc);
		return 0;
	}
	ctl_table(doc, keys, 0, stdout);
	json_array_foreach(doc, i, s)
	{
		const char *alarm = ctl_text(s, "alarm"), *text = ctl_text(s, "text");

		if (*alarm || *text)
			printf("%s: %s\n", ctl_text(s, "name"), *alarm ? alarm : text);
		if (c->verbose)
			print_counters(s);
	}
	json_decref(doc);
	return 0;
}

int ctl_sources_release(const struct ctl *c)
{
	char path[CTL_PATH_MAX];

	if (!ctl_path(c, path, "/v1/waymark/sources/", c->args[0], "/release"))
		return CTL_EXIT_USAGE;
	return ctl_release(c, path);
}
