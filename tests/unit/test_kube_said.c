/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model source */
/* test_kube_said.c - policies by annotation and by resource, and which of them counts. */
#include "userspace/source/kube_said.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

static struct kube_said *s;

static void setup(void)
{
	s = kube_said_new();
	cr_assert_not_null(s);
}

static void teardown(void)
{
	kube_said_free(s);
}

TestSuite(kube_said, .init = setup, .fini = teardown);

static int resource(const char *namespace, const char *name, const char *spec)
{
	char json[512];
	struct wm_err e = {0};

	snprintf(json, sizeof(json),
		 "{\"metadata\":{\"namespace\":\"%s\",\"name\":\"%s\"},\"spec\":%s}", namespace,
		 name, spec);
	return kube_said_object(s, json, strlen(json), &e);
}

static const char *all(void)
{
	static char text[1024];
	const struct wm_kube_said *said;
	unsigned count;
	size_t at = 0;

	*text = 0;
	cr_assert_eq(kube_said_all(s, &said, &count), 0);
	for (unsigned n = 0; n < count; n++)
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s|%s|%s\n", said[n].service,
				       said[n].by, said[n].json);
	return text;
}

Test(kube_said, a_resource_stands_above_an_annotation)
{
	static const char gone[] = "{\"metadata\":{\"namespace\":\"x\",\"name\":\"web\"}}";
	struct wm_err e = {0};

	cr_expect_str_eq(all(), "");
	cr_assert_eq(kube_said_annotation(s, "x/web", "{\"balance\":\"random\"}"), 0);
	cr_expect_str_eq(all(), "x/web|annotation|{\"balance\":\"random\"}\n");
	cr_assert_eq(resource("x", "web", "{\"balance\":\"maglev\"}"), 0);
	cr_expect_str_eq(all(), "x/web|WaymarkPolicy web|{\"balance\":\"maglev\"}\n");
	cr_assert_eq(kube_said_gone(s, gone, strlen(gone), &e), 0);
	cr_expect_str_eq(all(), "x/web|annotation|{\"balance\":\"random\"}\n");
	cr_assert_eq(kube_said_annotation(s, "x/web", NULL), 0);
	cr_expect_str_eq(all(), "");
}

Test(kube_said, a_resource_names_its_service_or_has_its_name)
{
	cr_assert_eq(resource("x", "b", "{\"service\":\"web\",\"select\":\"nearest\"}"), 0);
	cr_assert_eq(resource("x", "a", "{\"service\":\"web\"}"), 0);
	cr_assert_eq(resource("y", "web", "{}"), 0);
	cr_expect_str_eq(all(), "x/web|WaymarkPolicy a|{}\ny/web|WaymarkPolicy web|{}\n");
	/* the other way round it is the other's turn */
	cr_assert_eq(resource("x", "a", "{\"service\":\"api\"}"), 0);
	cr_expect_str_eq(all(), "x/api|WaymarkPolicy a|{}\nx/web|WaymarkPolicy b|"
				"{\"select\":\"nearest\"}\ny/web|WaymarkPolicy web|{}\n");
}

Test(kube_said, what_is_no_policy_is_refused)
{
	cr_expect_eq(resource("x", "web", "3"), WM_E_INVALID);
	cr_expect_eq(resource("x", "web", "{\"service\":\"a/b\"}"), WM_E_INVALID);
	cr_expect_str_eq(all(), "");
}

Test(kube_said, a_list_takes_away_what_does_not_come)
{
	cr_assert_eq(resource("x", "a", "{}"), 0);
	cr_assert_eq(resource("x", "b", "{}"), 0);
	cr_assert_eq(resource("x", "c", "{}"), 0);
	cr_assert_eq(kube_said_annotation(s, "x/d", "{}"), 0);
	kube_said_begin(s);
	cr_assert_eq(resource("x", "b", "{}"), 0);
	kube_said_skipped(s, "x", "c");
	kube_said_end(s);
	cr_expect_str_eq(all(), "x/b|WaymarkPolicy b|{}\nx/c|WaymarkPolicy c|{}\n"
				"x/d|annotation|{}\n");
}
