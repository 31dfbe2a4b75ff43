/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* Requests that came from another agent: what they may be, and that what they may not is not done.
 */
#include "api_help.h"
#include "userspace/base/macros.h"

static void setup(void)
{
	api_setup();
	api_start();
	must_put(REGISTER,
		 "{\"ID\":\"web-1\",\"Name\":\"web\",\"Check\":{\"CheckID\":\"c\",\"TTL\":"
		 "\"1h\"}}");
}

static void teardown(void)
{
	one_close();
	api_stop();
}

TestSuite(forward, .init = setup, .fini = teardown, .timeout = 300);

static struct {
	int status;
	char type[64], body[512];
} told;

static void on_answer(void *arg, int status, const char *type, const void *body, size_t len)
{
	cr_assert_eq(arg, &told);
	cr_assert_eq(told.status, 0, "answered twice");
	cr_assert_lt(len, sizeof(told.body));
	told.status = status;
	snprintf(told.type, sizeof(told.type), "%s", type ? type : "");
	memcpy(told.body, len ? body : "", len);
	told.body[len] = 0;
}

static int asked(const char *method, const char *target, const char *body)
{
	struct wm_http_request *r = NULL;

	memset(&told, 0, sizeof(told));
	cr_assert_eq(wm_http_inner_new(method, target, body, strlen(body), on_answer, &told, &r),
		     0);
	wm_api_handle(api, r);
	UNTIL(told.status);
	return told.status;
}

Test(forward, what_is_ours_is_answered_as_over_a_socket)
{
	cr_expect_eq(asked("PUT", "/v1/agent/check/pass/c?note=a%20b&node=N1", ""), 200, "%s",
		     told.body);
	cr_expect_str_eq(told.body, "");
	cr_expect_str_eq(told.type, "");
	cr_assert_eq(get("/v1/agent/checks"), 200);
	cr_expect(strstr(one.body, "\"Output\":\"a b\""), "%s", one.body);
	cr_expect_eq(asked("PUT", "/v1/agent/check/update/c", "{\"Status\":\"odd\"}"), 400);
	cr_expect_str_eq(told.type, "text/plain; charset=utf-8");
	cr_expect_eq(asked("PUT", "/v1/agent/check/pass/none", ""), 404);
	cr_expect_eq(asked("PUT", "/v1/waymark/instances/web-1/drain?deadline=1h", ""), 200);
	cr_expect_str_eq(told.type, "application/json");
	cr_expect(strstr(told.body, "\"UntilMs\":"), "%s", told.body);
}

/* It is not the operator, nobody's uid, and cannot register programs. */
Test(forward, what_is_not_passed_on_is_refused)
{
	static const char *const others[][2] = {{"PUT", "/v1/agent/leave"},
						{"PUT", "/v1/agent/reload"},
						{"GET", "/v1/snapshot"},
						{"PUT", "/v1/snapshot"},
						{"GET", "/v1/health/service/web"},
						{"GET", "/v1/waymark/events"},
						{"PUT", "/v1/agent/service/register"},
						{"PUT", "/v1/catalog/deregister"},
						{"PUT", "/v1/agent/force-leave/n1"}};

	for (unsigned i = 0; i < WM_ARRAY_LEN(others); i++) {
		cr_expect_eq(asked(others[i][0], others[i][1], "{}"), 403, "%s: %d %s",
			     others[i][1], told.status, told.body);
		cr_expect(strstr(told.body, "Permission denied"), "%s", told.body);
	}
	cr_expect_eq(asked("PUT", "/v1/agent/check/register",
			   "{\"Name\":\"x\",\"Args\":[\"/bin/true\"],\"Interval\":\"10s\"}"),
		     500);
	cr_expect(strstr(told.body, "Scripts are disabled"), "%s", told.body);
	cr_expect_eq(asked("PUT", "/v1/none", ""), 404);
	cr_expect_eq(asked("GET", "/v1/agent/check/pass/c", ""), 405);
}

Test(forward, nothing_is_passed_on_twice)
{
	cr_expect_eq(asked("PUT", "/v1/agent/check/pass/c?node=n2", ""), 404);
	cr_expect(strstr(told.body, "not passed on again"), "%s", told.body);
	cr_assert_eq(get("/v1/agent/checks"), 200);
	cr_expect(strstr(one.body, "\"Status\":\"critical\""), "%s", one.body);
}

Test(forward, what_is_no_request_is_none)
{
	static const char *const bad[][2] = {{"BREW", "/v1/agent/check/pass/c"},
					     {"", "/"},
					     {"PUT", ""},
					     {"PUT", "http://a/b"},
					     {"HEAD", "/"},
					     {"PUT", "/v1/agent/check/pass/c?a=%zz"}};
	struct wm_http_request *r = NULL;

	for (unsigned i = 0; i < WM_ARRAY_LEN(bad); i++)
		cr_expect_eq(wm_http_inner_new(bad[i][0], bad[i][1], NULL, 0, on_answer, &told, &r),
			     -EINVAL, "%s %s", bad[i][0], bad[i][1]);
	cr_expect_null(r);
}

/* Its asker is gone, or the mesh is: what was begun is done, and its answer goes nowhere. */
Test(forward, one_that_nobody_waits_for_is_done_all_the_same)
{
	struct wm_http_request *r;

	memset(&told, 0, sizeof(told));
	cr_assert_eq(wm_http_inner_new("PUT", "/v1/agent/service/deregister/web-1", NULL, 0,
				       on_answer, &told, &r),
		     0);
	wm_api_handle(api, r);
	cr_assert_eq(told.status, 0);
	wm_http_inner_abort(r);
	UNTIL(get("/v1/agent/service/web-1") == 404);
	cr_expect_eq(told.status, 0);
}
