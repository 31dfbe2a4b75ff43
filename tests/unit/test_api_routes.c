/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* Every route whose path ends in an element: without it, and with an id that nobody has, in both
 * formats, as a Consul 1.21 answers. A route that is not listed here fails the test. */
#include "api_help.h"
#include "userspace/api/internal.h"
#include "userspace/base/macros.h"

static void setup(void)
{
	api_setup();
	api_start();
	must_put(REGISTER, "{\"ID\":\"web-1\",\"Name\":\"web\",\"Check\":{\"TTL\":\"1h\"}}");
}

static void teardown(void)
{
	one_close();
	api_stop();
}

TestSuite(routes, .init = setup, .fini = teardown, .timeout = 300);

#define NO_SERVICE                                                                                 \
	"Unknown service ID \"%s\". Ensure that the service ID is passed, not the service name."
#define NO_CHECK "Unknown check ID \"%s\". Ensure that the check ID is passed, not the check name."

/* Texts with %s where the id stands. */
static const struct row {
	const char *method, *pattern, *query, *body;
	int missing;
	const char *missing_text;
	int unknown;
	const char *unknown_text;
} rows[] = {
	{"GET", "/v1/agent/health/service/id/:id", "", "", 400, "Missing serviceID", 404,
	 "{\"AggregatedStatus\":\"critical\",\"Service\":null,\"Checks\":null}"},
	{"GET", "/v1/agent/health/service/id/:id", "?format=text", "", 400, "Missing serviceID",
	 404, "ServiceId %s not found"},
	{"GET", "/v1/agent/health/service/name/:name", "", "", 400, "Missing service Name", 404,
	 "[]"},
	{"GET", "/v1/agent/health/service/name/:name", "?format=text", "", 400,
	 "Missing service Name", 404, "ServiceName %s Not Found"},
	{"GET", "/v1/agent/service/:id", "", "", 404, "unknown service ID: %s", 404,
	 "unknown service ID: %s"},
	{"PUT", "/v1/agent/service/deregister/:id", "", "", 404, NO_SERVICE, 404, NO_SERVICE},
	{"PUT", "/v1/agent/check/deregister/:id", "", "", 404, NO_CHECK, 404, NO_CHECK},
	{"PUT", "/v1/agent/service/maintenance/:id", "?enable=true", "", 400, "Missing service ID",
	 404, NO_SERVICE},
	{"PUT", "/v1/agent/check/pass/:id", "", "", 404, NO_CHECK, 404, NO_CHECK},
	{"PUT", "/v1/agent/check/warn/:id", "", "", 404, NO_CHECK, 404, NO_CHECK},
	{"PUT", "/v1/agent/check/fail/:id", "", "", 404, NO_CHECK, 404, NO_CHECK},
	{"PUT", "/v1/agent/check/update/:id", "", "{\"Status\":\"passing\"}", 404, NO_CHECK, 404,
	 NO_CHECK},
	{"PUT", "/v1/agent/join/:address", "", "", 500,
	 "Failed to join %s: sync.mode is off, so this agent is a mesh of its own", 500,
	 "Failed to join %s: sync.mode is off, so this agent is a mesh of its own"},
	{"PUT", "/v1/agent/force-leave/:node", "", "", 500, "agent: No node found with name '%s'",
	 500, "agent: No node found with name '%s'"},
	{"GET", "/v1/coordinate/node/:node", "", "", 404, "", 404, ""},
	{"GET", "/v1/catalog/node/:node", "", "", 400, "Missing node name", 200, "null"},
	{"GET", "/v1/catalog/node-services/:node", "", "", 400, "Missing node name", 200,
	 "{\"Node\":null,\"Services\":[]}"},
	{"GET", "/v1/catalog/service/:name", "", "", 400, "Missing service name", 200, "[]"},
	{"GET", "/v1/catalog/connect/:name", "", "", 400, "Missing service name", 200, "[]"},
	{"GET", "/v1/health/service/:name", "", "", 400, "Missing service name", 200, "[]"},
	{"GET", "/v1/health/connect/:name", "", "", 400, "Missing service name", 200, "[]"},
	{"GET", "/v1/health/checks/:name", "", "", 400, "Missing service name", 200, "[]"},
	{"GET", "/v1/health/node/:node", "", "", 400, "Missing node name", 200, "[]"},
	{"GET", "/v1/health/state/:state", "", "", 400, "Missing check state", 200, "[]"},
	{"GET", "/v1/query/:id", "", "", 400, "Query not found", 404, "Query not found"},
	{"PUT", "/v1/query/:id", "", "{}", 400, "Query not found", 404, "Query not found"},
	{"DELETE", "/v1/query/:id", "", "", 400, "Query not found", 404, "Query not found"},
	{"GET", "/v1/query/:id/execute", "", "", 400, "Query not found", 404, "Query not found"},
	{"GET", "/v1/query/:id/explain", "", "", 400, "Query not found", 404, "Query not found"},
	{"GET", "/v1/config/:kind", "", "", 400, "Missing config entry kind", 400,
	 "invalid config entry kind: %s (service-resolver, service-splitter and service-defaults "
	 "are)"},
	{"GET", "/v1/config/:kind/:name", "", "", 400, "Missing config entry kind", 400,
	 "invalid config entry kind: %s (service-resolver, service-splitter and service-defaults "
	 "are)"},
	{"DELETE", "/v1/config/:kind/:name", "", "", 400, "Missing config entry kind", 400,
	 "invalid config entry kind: %s (service-resolver, service-splitter and service-defaults "
	 "are)"},
	{"GET", "/v1/kv/:key", "", "", 400, "Missing key name", 404, ""},
	{"GET", "/v1/kv/:key", "?recurse", "", 404, "", 404, ""},
	{"GET", "/v1/kv/:key", "?keys", "", 200, "[]", 404, ""},
	/* of our own; the first is a list where nothing follows */
	{"GET", "/v1/waymark/instances/:id", "", "", 400, "Missing instance ID", 404,
	 "unknown instance: %s"},
	{"DELETE", "/v1/waymark/instances/:id", "", "", 400, "Missing instance ID", 404,
	 NO_SERVICE},
	{"PUT", "/v1/waymark/instances/:id/lifecycle", "?state=stopping", "", 400,
	 "Missing instance ID", 404, NO_SERVICE},
	{"PUT", "/v1/waymark/instances/:id/drain", "", "", 400, "Missing instance ID", 404,
	 NO_SERVICE},
	{"PUT", "/v1/waymark/instances/:id", "", "{\"name\":\"db\"}", 400, "Missing instance ID",
	 200, ""},
	{"GET", "/v1/waymark/policies/:service", "", "", 400, "Missing service name", 404,
	 "Service \"%s\" has no policy"},
	{"GET", "/v1/waymark/policies/:service/explain", "", "", 400, "Missing service name", 404,
	 "Service \"%s\" has no policy and no instance"},
	{"DELETE", "/v1/waymark/policies/:service", "", "", 400, "Missing service name", 404,
	 "Service \"%s\" has no policy"},
	{"PUT", "/v1/waymark/policies/:service", "", "{\"drain_s\":1}", 400, "Missing service name",
	 200, "{\"warnings\":[\"service: service \\\"%s\\\" is not there\"]}"},
	{"GET", "/v1/waymark/resolve/:name", "", "", 400, "Missing service name", 404,
	 "unknown service: %s"},
	{"PUT", "/v1/waymark/sources/:name/release", "", "", 404, "unknown source: ", 404,
	 "unknown source: %s"},
	{"GET", "/v1/waymark/addresses/:address", "", "", 400, "Missing address", 400,
	 "an IPv4 or IPv6 address is wanted, not \"%s\""},
};

static const char *name_of(enum wm_http_method m)
{
	return m == WM_GET ? "GET" : m == WM_PUT ? "PUT" : m == WM_POST ? "POST" : "DELETE";
}

Test(routes, every_one_with_an_element_is_listed)
{
	for (unsigned i = 0; i < wm_routes_count; i++) {
		const struct wm_route *r = &wm_routes[i];
		bool listed = !strchr(r->pattern, ':');

		for (unsigned k = 0; k < WM_ARRAY_LEN(rows); k++)
			listed |= strcmp(rows[k].pattern, r->pattern) == 0 &&
				  strcmp(rows[k].method, name_of(r->method)) == 0;
		cr_expect(listed,
			  "%s %s: what does it answer where its element is missing, or "
			  "nobody has it?",
			  name_of(r->method), r->pattern);
	}
}

static void expect(const struct row *r, const char *id, const char *slash, int status,
		   const char *text)
{
	size_t len = strcspn(r->pattern, ":");
	const char *tail = r->pattern + len + strcspn(r->pattern + len, "/");
	char path[256], want[512];

	snprintf(path, sizeof(path), "%.*s%s%s%s", (int)(len - (*slash ? 0 : 1)), r->pattern, id,
		 tail, r->query);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
	snprintf(want, sizeof(want), text, id);
#pragma GCC diagnostic pop
	ask(r->method, path, *r->body ? r->body : NULL);
	cr_expect_eq(one.status, status, "%s %s: %d %s", r->method, path, one.status, one.body);
	cr_expect_str_eq(one.body, want, "%s %s: %s", r->method, path, one.body);
}

Test(routes, without_an_element_or_with_one_that_nobody_has)
{
	for (unsigned i = 0; i < WM_ARRAY_LEN(rows); i++) {
		const struct row *r = &rows[i];

		expect(r, "", "/", r->missing, r->missing_text);
		/* the same without the slash, but where that is another path, or in the middle */
		if (strncmp(r->pattern, "/v1/waymark/", 12) != 0 &&
		    strncmp(r->pattern, "/v1/config/", 11) != 0 &&
		    strncmp(r->pattern, "/v1/query/", 10) != 0)
			expect(r, "", "", r->missing, r->missing_text);
		expect(r, "nobody-has-this", "/", r->unknown, r->unknown_text);
	}
}

/* Clients say what they want by Accept too; and a method that there is not stays one. */
Test(routes, text_is_what_a_client_accepts)
{
	/* what follows the path ends the header that stands behind it */
	cr_assert_eq(get("/v1/agent/health/service/id/x HTTP/1.1\r\nAccept: text/plain\r\nX:"),
		     404);
	cr_assert_str_eq(one.body, "ServiceId x not found");
	cr_assert_eq(get("/v1/agent/health/service/id/x?format=json"), 404);
	cr_assert_eq(strncmp(one.body, "{\"Aggr", 6), 0, "%s", one.body);
	cr_assert_eq(ask("DELETE", "/v1/health/service/", NULL), 405);
	cr_assert_eq(get("/v1/waymark/instances"), 200);
	cr_assert_eq(get("/v1/waymark/resolve?service=web"), 200);
	cr_assert_eq(get("/v1/health"), 404);
	cr_assert_eq(get("/v1/health/"), 404);
	cr_assert_eq(get("/v1/agent/services/"), 404);
}
