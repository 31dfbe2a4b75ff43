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

/* --- statuses --- */
static int stated(const char *name, unsigned generation, const char *spec, const char *condition)
{
	char json[1024];
	struct wm_err e = {0};

	snprintf(json, sizeof(json),
		 "{\"metadata\":{\"namespace\":\"x\",\"name\":\"%s\",\"resourceVersion\":\"7\","
		 "\"generation\":%u},\"spec\":%s,\"status\":{\"conditions\":[%s]}}",
		 name, generation, spec, condition);
	return kube_said_object(s, json, strlen(json), &e);
}

/* What is to be written, each by its name. */
static const char *differing(void)
{
	static char text[1024];
	struct kube_said_status is;
	size_t pos = 0, at = 0;

	*text = 0;
	while (kube_said_differs(s, &pos, &is))
		at += (size_t)snprintf(text + at, sizeof(text) - at, "%s@%s#%d %s %s %s %s\n",
				       is.key, is.version, (int)is.generation,
				       is.accepted ? "True" : "False", is.reason, is.message,
				       is.since);
	return text;
}

#define GOOD(generation)                                                                           \
	"{\"type\":\"Accepted\",\"status\":\"True\",\"reason\":\"Accepted\",\"message\":\"\","     \
	"\"observedGeneration\":" generation ",\"lastTransitionTime\":\"then\"}"
#define BAD(generation)                                                                            \
	"{\"type\":\"Accepted\",\"status\":\"False\",\"reason\":\"Invalid\",\"message\":\"a: b\"," \
	"\"observedGeneration\":" generation ",\"lastTransitionTime\":\"then\"}"

Test(kube_said, a_status_is_written_where_it_is_not_the_verdict)
{
	const struct wm_err invalid = {.code = WM_E_INVALID, .text = "a: b"};

	cr_assert_eq(stated("web", 1, "{}", ""), 0);
	cr_expect_str_eq(differing(), "", "nobody has judged it");
	(void)all();
	cr_expect_str_eq(differing(), "x/web@7#1 True Accepted  \n");
	kube_said_settled(s, "x/web");
	cr_expect_str_eq(differing(), "", "it was written");
	cr_assert_eq(stated("web", 1, "{}", GOOD("1")), 0);
	cr_expect_not(kube_said_is_news(s), "a status is none");
	cr_expect_str_eq(differing(), "", "it stands there");
	cr_assert_eq(stated("web", 2, "{\"balance\":\"x\"}", GOOD("1")), 0);
	cr_expect(kube_said_is_news(s));
	cr_expect_str_eq(differing(), "", "nobody has judged the new one");
	(void)all();
	kube_said_refuse(s, "x/web", &invalid);
	cr_expect_str_eq(differing(), "x/web@7#2 False Invalid a: b \n");
	cr_assert_eq(stated("web", 2, "{\"balance\":\"x\"}", BAD("2")), 0);
	cr_expect_str_eq(differing(), "");
	/* another spec of which the same is to be said keeps the time */
	cr_assert_eq(stated("web", 3, "{\"balance\":\"x\"}", BAD("2")), 0);
	cr_expect_str_eq(differing(), "x/web@7#3 False Invalid a: b then\n");
}

Test(kube_said, who_does_not_agree_says_it_once_a_generation)
{
	cr_assert_eq(stated("web", 1, "{}", ""), 0);
	(void)all();
	cr_assert_eq(stated("web", 1, "{}", BAD("1")), 0);
	cr_expect_str_eq(differing(), "x/web@7#1 True Accepted  \n");
	cr_assert_eq(stated("web", 1, "{}", GOOD("1")), 0);
	cr_assert_eq(stated("web", 1, "{}", BAD("1")), 0);
	cr_expect_str_eq(differing(), "", "it stood once");
	cr_assert_eq(stated("web", 2, "{}", BAD("1")), 0);
	cr_expect_str_eq(differing(), "x/web@7#2 True Accepted  \n");
}

Test(kube_said, what_is_no_fault_of_the_text_is_no_verdict)
{
	const struct wm_err full = {.code = WM_E_CAPACITY, .text = "full"};

	cr_assert_eq(stated("web", 1, "{}", ""), 0);
	(void)all();
	kube_said_refuse(s, "x/web", &full);
	cr_expect_str_eq(differing(), "");
	cr_expect(kube_said_is_news(s), "it is told again");
}

Test(kube_said, a_broken_one_is_said_so_and_what_it_said_before_stays)
{
	cr_assert_eq(stated("web", 1, "{\"balance\":\"random\"}", ""), 0);
	cr_assert_eq(stated("web", 2, "{\"service\":\"A\"}", ""), WM_E_INVALID);
	cr_assert_eq(stated("new", 1, "{\"service\":\"A\"}", ""), WM_E_INVALID);
	cr_expect_str_eq(all(), "x/web|WaymarkPolicy web|{\"balance\":\"random\"}\n");
	cr_expect(strstr(differing(), "x/web@7#2 False Invalid x/web: spec.service is not"));
	cr_expect(strstr(differing(), "x/new@7#1 False Invalid x/new: spec.service is not"));
}

Test(kube_said, another_verdict_of_the_same_generation_is_written)
{
	static const char other[] = "{\"metadata\":{\"namespace\":\"x\",\"name\":\"a\"}}";
	struct wm_err e = {0};

	cr_assert_eq(stated("a", 1, "{\"service\":\"web\"}", GOOD("1")), 0);
	cr_assert_eq(stated("web", 1, "{}", ""), 0);
	(void)all();
	cr_expect(strstr(differing(), "x/web@7#1 False Conflicted"));
	cr_assert_eq(
		stated("web", 1, "{}",
		       "{\"type\":\"Accepted\",\"status\":\"False\",\"reason\":\"Conflicted\","
		       "\"message\":\"service: \\\"x/web\\\" has one by WaymarkPolicy a, whose "
		       "name is before\",\"observedGeneration\":1}"),
		0);
	cr_expect_str_eq(differing(), "");
	cr_assert_eq(kube_said_gone(s, other, strlen(other), &e), 0);
	(void)all();
	cr_expect_str_eq(differing(), "x/web@7#1 True Accepted  \n");
}
