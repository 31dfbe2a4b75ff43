/* SPDX-License-Identifier: Apache-2.0 */
/* links: model base */
/* Scopes of services: Kubernetes' namespaces in front of names. */
#include "userspace/model/scope.h"

#include <criterion/criterion.h>
#include <errno.h>

Test(scope, what_stands_before_the_first_slash)
{
	static const struct {
		const char *service, *bare;
		size_t len;
	} all[] = {
		{"web", "web", 0},
		{"default/web", "web", 7},
		{"a/b/c", "b/c", 1},
		{"/web", "/web", 0},
		{"web/", "web/", 0},
		{"", "", 0},
		{"kube-system/a.b", "a.b", 11},
	};

	for (size_t n = 0; n < sizeof(all) / sizeof(*all); n++) {
		cr_assert_eq(wm_scope_len(all[n].service), all[n].len, "%s", all[n].service);
		cr_assert_str_eq(wm_scope_bare(all[n].service), all[n].bare);
	}
}

Test(scope, answers_tell_a_name_and_its_scope)
{
	static const struct {
		const char *service, *name, *scope;
	} all[] = {
		{"web", "web", ""},	    {"default/web", "web", "default"},
		{"a.b/web", "a.b/web", ""}, {"/web", "/web", ""},
		{"a/b/c", "b/c", "a"},	    {"a_b/c", "a_b/c", ""},
	};
	char scope[WM_SCOPE_MAX + 1], long_one[WM_SCOPE_MAX + 4];

	for (size_t n = 0; n < sizeof(all) / sizeof(*all); n++) {
		cr_assert_str_eq(wm_scope_split(all[n].service, scope), all[n].name);
		cr_assert_str_eq(scope, all[n].scope);
	}
	memset(long_one, 'a', sizeof(long_one));
	memcpy(long_one + WM_SCOPE_MAX + 1, "/b", 3);
	cr_assert_eq(wm_scope_split(long_one, scope), long_one);
	cr_assert_str_eq(scope, "");
}

Test(scope, a_key_is_joined_or_does_not_fit)
{
	char to[12];

	cr_assert_eq(wm_scope_join(to, sizeof(to), "default", "web"), 11);
	cr_assert_str_eq(to, "default/web");
	cr_assert_eq(wm_scope_join(to, sizeof(to), "default", "webs"), -ENOSPC);
	cr_assert_eq(wm_scope_join(to, sizeof(to), "", "web"), 3);
	cr_assert_eq(wm_scope_join(to, sizeof(to), NULL, "web"), 3);
	cr_assert_str_eq(to, "web");
}

Test(scope, case_does_not_count)
{
	cr_assert(wm_scope_is("Default/web", "default"));
	cr_assert_not(wm_scope_is("default2/web", "default"));
	cr_assert_not(wm_scope_is("web", "default"));
	cr_assert(wm_scope_is("web", ""));
	cr_assert_not(wm_scope_is("default/web", ""));
	cr_assert(wm_scope_valid("kube-system"));
	cr_assert_not(wm_scope_valid("a.b"));
	cr_assert_not(wm_scope_valid(""));
}
