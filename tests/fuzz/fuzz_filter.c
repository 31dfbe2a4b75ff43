/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata */
/* fuzz_filter.c - texts of ?filter. Whatever the octets: a refusal has one sentence, what is
 * accepted can be asked of a row within its steps. The first octet chooses the kind of row. */
#include "userspace/metadata/filter.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *tags[] = {(char[]){"blue"}, (char[]){"v7"}};
static struct wm_pair meta[] = {{(char[]){"version"}, (char[]){"2.1"}}};
static struct wm_tagged_address tagged[] = {{(char[]){"wan"}, (char[]){"192.0.2.1"}, 1}};
static struct wm_node node = {.self = true,
			      .name = (char[]){"n1"},
			      .id = (char[]){"0416e1fd"},
			      .address = (char[]){"fd00::1"},
			      .meta = meta,
			      .meta_count = 1};
static struct wm_service service = {.name = (char[]){"web"}};
static struct wm_check check, *checks[] = {&check};
static struct wm_instance instance = {.id = (char[]){"web-1"},
				      .name = (char[]){"web"},
				      .node = &node,
				      .service = &service,
				      .address = (char[]){""},
				      .port = 80,
				      .tags = tags,
				      .tags_count = 2,
				      .meta = meta,
				      .meta_count = 1,
				      .tagged = tagged,
				      .tagged_count = 1,
				      .checks = checks,
				      .checks_count = 1};
static struct wm_check check = {.id = (char[]){"c"},
				.name = (char[]){"a check"},
				.notes = (char[]){""},
				.output = (char[]){"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\xff!"},
				.status = WM_WARNING,
				.instance = &instance};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct wm_filter_row row = {
		.datacenter = "dc1", .node = &node, .instance = &instance, .check = &check};
	struct wm_filter *f = NULL;
	struct wm_err e = {0};
	char *text;
	int err;

	if (!size)
		return 0;
	text = malloc(size); /* exact: a read behind the end is seen */
	if (!text)
		return 0;
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	err = wm_filter_compile(text, data[0] % WM_FILTER_KIND_COUNT, &f, &e);
	if (err ? (f || !*e.text || e.code != err) : !f)
		abort();
	if (f)
		wm_filter_match(f, &row);
	wm_filter_free(f);
	free(text);
	return 0;
}
