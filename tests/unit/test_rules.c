/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* The operator's rules: the file, what a registration must keep, and whom they judge. */
#include "registry_help.h"
#include "userspace/api/rules_file.h"

TestSuite(rules, .init = make_dir, .fini = rm_dir, .timeout = 300);

static struct wm_rules *rules;

static int load(const char *text, struct wm_err *e)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/rules.json", dir);
	f = fopen(path, "w");
	cr_assert(f && fputs(text, f) >= 0 && !fclose(f));
	return wm_rules_read(path, &rules, e);
}

static void must_load(const char *text)
{
	struct wm_err e = {0};

	cr_assert_eq(load(text, &e), 0, "%s", e.text);
}

static int judge(void *arg, const struct wm_instance_draft *d, struct wm_err *e)
{
	return wm_rules_check(arg, d, e);
}

static void holds(const struct wm_instance_draft *d, const char *text)
{
	struct wm_err e = {0};
	int err = wm_rules_check(rules, d, &e);

	cr_assert_eq(err, *text ? WM_E_INVALID : 0, "%s", e.text);
	cr_assert_str_eq(e.text, text);
}

Test(rules, a_registration_must_keep_them)
{
	struct wm_pair meta[] = {{mut("owner"), mut("pay")},
				 {mut("version"), mut("7.2")},
				 {mut("environment"), mut("prod")}};
	const char *tags[] = {"team", "blue"}, *many[] = {"a", "b", "c", "d"};
	struct wm_instance_draft d = {
		.name = "pay-api", .meta = meta, .meta_count = 3, .tags = tags, .tags_count = 2};

	must_load("{\"rules\": [{\"name\": \"paid\", \"services\": [\"pay-*\"], \"required\": "
		  "[\"owner\"], \"patterns\": {\"version\": \"^[0-9]+\\\\.[0-9]+$\"}, \"allowed\": "
		  "{\"environment\": [\"prod\", \"test\"]}, \"tags_required\": [\"team\"], "
		  "\"tags_max\": 2}, {\"name\": \"all\", \"tags_max\": 3}]}");
	cr_assert_eq(wm_rules_count(rules), 2);
	holds(&d, "");
	meta[0].value = mut("");
	holds(&d, "Service pay-api breaks the rule \"paid\": metadata owner is missing");
	meta[0].value = mut("x");
	meta[1].value = mut("7");
	holds(&d, "Service pay-api breaks the rule \"paid\": metadata version is \"7\", which must "
		  "match ^[0-9]+\\.[0-9]+$");
	meta[1].value = mut("7.1");
	meta[2].value = mut("dev");
	holds(&d, "Service pay-api breaks the rule \"paid\": metadata environment is \"dev\", "
		  "allowed: prod, test");
	meta[2].key = mut("elsewhere"); /* what is not there has no form */
	holds(&d, "");
	tags[0] = "red";
	holds(&d, "Service pay-api breaks the rule \"paid\": tag team is missing");
	d.name = "other";
	holds(&d, "");
	d.tags = many;
	d.tags_count = 4;
	holds(&d, "Service other breaks the rule \"all\": 4 tags given, at most 3 are allowed");
	wm_rules_free(rules);
}

Test(rules, what_is_wrong_in_the_file_is_named)
{
	static const char *const all[][2] = {
		{"{\"rules\": [", "line 1"},
		{"[]", "the file must be an object with one key, \"rules\", an array"},
		{"{\"rules\": [{}]}", "rules[0]: name is missing"},
		{"{\"rules\": [{\"name\": \"a\"}, {\"name\": \"b\", \"tag\": 1}]}",
		 "rules[1]: unknown key \"tag\""},
		{"{\"rules\": [{\"name\": \"a\"}, {\"name\": \"a\"}]}",
		 "rule \"a\" is there twice"},
		{"{\"rules\": [{\"name\": \"a\", \"tags_max\": -1}]}",
		 "rules[0].tags_max must be a number from 0 to 64"},
		{"{\"rules\": [{\"name\": \"a\", \"required\": [1]}]}",
		 "rules[0].required must be a text that is not empty"},
		{"{\"rules\": [{\"name\": \"a\", \"patterns\": {\"k\": \"(\"}}]}",
		 "rule \"a\": patterns.k: missing closing parenthesis"},
		{"{\"rules\": [{\"name\": \"a\", \"allowed\": []}]}",
		 "rules[0].allowed must be an object of arrays"},
	};
	struct wm_err e;

	for (unsigned n = 0; n < sizeof(all) / sizeof(all[0]); n++) {
		e = (struct wm_err){0};
		cr_assert_neq(load(all[n][0], &e), 0, "%s", all[n][0]);
		cr_assert_null(rules);
		cr_assert(strstr(e.text, "registry.rules_file /") == e.text, "%s", e.text);
		cr_assert_not_null(strstr(e.text, all[n][1]), "%s: %s", all[n][0], e.text);
	}
	cr_assert_eq(wm_rules_read("/nowhere/rules.json", &rules, &e), -ENOENT);
	cr_assert_eq(wm_rules_read("/dev/zero", &rules, &e), -EINVAL);
}

Test(rules, a_pattern_that_never_ends_is_cut)
{
	char value[64];
	struct wm_pair meta = {mut("k"), value};
	struct wm_instance_draft d = {.name = "a", .meta = &meta, .meta_count = 1};
	struct wm_err e = {0};

	must_load("{\"rules\": [{\"name\": \"slow\", \"patterns\": {\"k\": \"^(a+)+$\"}}]}");
	memset(value, 'a', sizeof(value) - 2);
	value[sizeof(value) - 2] = '!';
	value[sizeof(value) - 1] = 0;
	cr_assert_eq(wm_rules_check(rules, &d, &e), WM_E_INVALID);
	wm_rules_free(rules);
}

Test(rules, both_owners_are_judged_and_what_is_stored_is_not)
{
	const struct wm_node_draft facts = {.address = "10.8.0.1"};
	const struct wm_instance_draft wax = {.id = "wax", .name = "wax"};
	const struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .node = "shale", .facts = &facts},
		{.object = WM_OBJECT_SERVICE, .node = "shale", .service = &wax, .number = 1}};
	struct wm_registry *r = open_at(db);
	unsigned failed = 0;
	struct wm_err e = {0};

	cr_assert_eq(put(r, "before", "web", 1), 0);
	must_load("{\"rules\": [{\"name\": \"owned\", \"required\": [\"owner\"]}]}");
	wm_registry_set_judge(r, judge, rules);
	cr_assert_eq(put(r, "after", "web", 1), WM_E_INVALID);
	cr_assert_eq(wm_registry_catalog(r, &(struct wm_catalog_batch){.ops = ops, .count = 2},
					 &failed, &e),
		     WM_E_INVALID);
	cr_assert_eq(failed, 1);
	cr_assert_str_eq(e.text,
			 "Service wax breaks the rule \"owned\": metadata owner is missing");
	cr_assert_eq(wm_registry_instances(r), 1);
	wm_registry_close(r);
	r = open_at(db);
	wm_registry_set_judge(r, judge, rules);
	cr_assert_eq(wm_registry_instances(r), 1, "it is not judged again");
	cr_assert_eq(del(r, "before"), 0);
	wm_registry_close(r);
	wm_rules_free(rules);
}
