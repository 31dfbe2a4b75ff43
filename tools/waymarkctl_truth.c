/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_truth.c - do registry, tables and kernel say the same? */
#include "waymarkctl.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_MS 600000 /* the agent looks in small steps, and a million instances are many */

static void print_difference(const json_t *d)
{
	char text[1024];
	char *proposal = json_dumps(json_object_get(d, "proposal"), JSON_COMPACT);

	printf("%-14s %s\n", ctl_text(d, "kind"),
	       wm_plain(ctl_text(d, "text"), text, sizeof(text)));
	if (proposal && strcmp(proposal, "null") != 0)
		printf("%14s -> echo '%s' | waymarkctl register -\n", "",
		       wm_plain(proposal, text, sizeof(text)));
	free(proposal);
}

int ctl_truth(const struct ctl *c)
{
	json_t *doc = ctl_fetch(c, NULL, "/v1/waymark/truth", LOOK_MS, false), *v;
	size_t differences = json_array_size(json_object_get(doc, "differences"));
	size_t unseen = json_array_size(json_object_get(doc, "unseen")), i;
	int status = differences ? CTL_EXIT_FAILED : unseen ? CTL_EXIT_USAGE : 0;
	char text[1024];

	if (!doc)
		return CTL_EXIT_USAGE;
	if (c->json) {
		ctl_print(c, doc);
		return status;
	}
	json_array_foreach(json_object_get(doc, "differences"), i, v) print_difference(v);
	if (json_integer_value(json_object_get(doc, "left_out")))
		printf("and %lld more\n",
		       (long long)json_integer_value(json_object_get(doc, "left_out")));
	json_array_foreach(json_object_get(doc, "unseen"), i, v)
		printf("not looked at: %s\n", wm_plain(json_string_value(v), text, sizeof(text)));
	if (!status)
		puts("registry, tables and kernel agree");
	json_decref(doc);
	return status;
}
