/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net registry metadata health resolution dns dataplane api */
/* What Consul's clients state and see again: names, weights, what a mesh is told. Shapes of the
 * answers as a whole: test_api.c. */
#include "api_help.h"
#include "userspace/base/macros.h"

static void setup(void)
{
	api_setup();
	api_start();
}

static void teardown(void)
{
	one_close();
	api_stop();
}

TestSuite(consul, .init = setup, .fini = teardown, .timeout = 120);

/* What GET @p path answers has at @p where, "[0].Service.ID", this compact JSON; NULL: no such
 * member. "" is the whole. */
static void expect(const char *path, const char *where, const char *want)
{
	json_t *all, *v;
	json_error_t je;
	char name[64], *have;

	cr_assert_eq(get(path), 200, "%s: %d %s", path, one.status, one.body);
	v = all = json_loads(one.body, JSON_DECODE_ANY, &je);
	cr_assert(all, "%s: %s", je.text, one.body);
	for (const char *at = where; *at && v;) {
		if (*at == '[') {
			v = json_array_get(v, strtoul(at + 1, NULL, 10));
			at += strcspn(at, "]") + 1;
			continue;
		}
		at += *at == '.';
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(at, ".["), at);
		v = json_object_get(v, name);
		at += strlen(name);
	}
	have = v ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	if (want)
		cr_expect(have && strcmp(have, want) == 0, "%s %s: %s, not %s", path, where,
			  have ? have : "nothing", want);
	else
		cr_expect(!have, "%s %s: %s", path, where, have);
	free(have);
	json_decref(all);
}

/* An instance that is healthy and never chosen helps nobody. */
Test(consul, weights_that_are_left_out_are_1)
{
	static const struct {
		const char *given, *shown;
	} all[] = {
		{"{\"Warning\": 3}", "{\"Passing\":1,\"Warning\":3}"},
		{"{\"Passing\": 7}", "{\"Passing\":7,\"Warning\":1}"},
		{"{\"Passing\": 2, \"Warning\": 0}", "{\"Passing\":2,\"Warning\":0}"},
		{"{}", "{\"Passing\":1,\"Warning\":1}"},
		{"null", "{\"Passing\":1,\"Warning\":1}"},
	};

	for (unsigned i = 0; i < WM_ARRAY_LEN(all); i++) {
		char body[128];

		snprintf(body, sizeof(body), "{\"Name\": \"w\", \"Weights\": %s}", all[i].given);
		must_put(REGISTER, body);
		expect("/v1/agent/service/w", "Weights", all[i].shown);
	}
}
