/* SPDX-License-Identifier: Apache-2.0 */
/* links: base source model */
/* Answers of a real Consul (tests/unit/consul, from Consul 1.21.4), and of what is none: what is
 * read of an instance, its node and its checks, how an array is cut, and the rules of the index. */
#include "userspace/source/consul_decode.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char body[1 << 20];
static size_t body_len;
static struct wm_consul_entry ent;
static struct wm_err why;

static void recorded(const char *name)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "tests/unit/consul/%s.json", name);
	f = fopen(path, "re");
	cr_assert(f, "%s is not there", path);
	body_len = fread(body, 1, sizeof(body) - 1, f);
	body[body_len] = '\0';
	fclose(f);
}

/* The n-th element of what was recorded, in memory of its own size. */
static int read_element(unsigned n)
{
	struct wm_consul_walk w;
	size_t len = 0;
	const char *at = NULL;
	char *copy;
	int r;

	cr_assert_gt(wm_consul_walk_begin(&w, body, body_len), n);
	for (unsigned i = 0; i <= n; i++)
		at = wm_consul_walk_next(&w, &len);
	cr_assert(at);
	copy = malloc(len);
	memcpy(copy, at, len);
	r = wm_consul_entry_read(copy, len, &ent, &why);
	free(copy);
	return r;
}

static int read_text(const char *text)
{
	return wm_consul_entry_read(text, strlen(text), &ent, &why);
}

Test(consul_decode, an_instance_of_a_real_consul)
{
	recorded("health");
	cr_assert_eq(read_element(0), 0, "%s", why.text);
	cr_assert_str_eq(ent.node, "granite-2");
	cr_assert_eq(ent.node_index, 14);
	cr_assert_str_eq(ent.facts.id, "0416e1fd-c5a3-77a0-bd00-f1cc55814540");
	cr_assert_str_eq(ent.facts.address, "10.8.0.2");
	cr_assert_eq(ent.facts.meta_count, 3);
	cr_assert_eq(ent.facts.tagged_count, 0, "all of them are the address itself");
	cr_assert_str_eq(ent.draft.id, "quill-1");
	cr_assert_str_eq(ent.draft.name, "quill");
	cr_assert_str_eq(ent.draft.address, "10.8.1.1");
	cr_assert_eq(ent.draft.port, 9001);
	cr_assert_eq(ent.draft.tags_count, 2);
	cr_assert_str_eq(ent.draft.tags[1], "b");
	cr_assert_str_eq(ent.draft.meta[0].key, "version");
	cr_assert_str_eq(ent.draft.meta[0].value, "2.1");
	cr_assert_eq(ent.draft.weight_passing, 5);
	cr_assert_eq(ent.draft.weight_warning, 1);
	cr_assert_eq(ent.draft.tagged_count, 1, "only what is not the address itself");
	cr_assert_str_eq(ent.draft.tagged[0].name, "wan");
	cr_assert_eq(ent.draft.tagged[0].port, 19001);
	cr_assert_null(ent.draft.traits);
	cr_assert_null(ent.origin);
	cr_assert_eq(ent.status, WM_CRITICAL);
	cr_assert_eq(ent.draft.checks_count, 1, "the node's passes, and is none of its");
	cr_assert_eq(ent.checks[0].kind, WM_CHECK_STATED);
	cr_assert_str_eq(ent.checks[0].id, "service:quill-1");
	cr_assert_str_eq(ent.checks[0].type, "ttl");
	cr_assert_str_eq(ent.checks[0].notes, "beats");
	wm_consul_entry_done(&ent);
}

Test(consul_decode, what_consul_gives_as_null)
{
	recorded("health");
	cr_assert_eq(read_element(1), 0);
	cr_assert_str_eq(ent.draft.id, "quill-2");
	cr_assert_eq(ent.draft.meta_count, 0);
	cr_assert_eq(ent.draft.checks_count, 3);
	recorded("wax");
	cr_assert_eq(read_element(0), 0);
	cr_assert_str_eq(ent.node, "shale-9");
	cr_assert_str_eq(ent.facts.id, "");
	cr_assert_str_eq(ent.draft.address, "", "then it is the node's");
	cr_assert_eq(ent.status, WM_PASSING);
	wm_consul_entry_done(&ent);
}

static unsigned names_count;
static char names[256];
static int on_name(void *arg, const char *name)
{
	(void)arg;
	names_count++;
	strcat(names, name);
	strcat(names, " ");
	return 0;
}

static char marks[256];
static int on_local(void *arg, const char *id, const char *origin)
{
	(void)arg;
	strcat(strcat(strcat(strcat(marks, id), "="), origin), " ");
	return 0;
}

Test(consul_decode, other_answers_of_a_real_consul)
{
	static const char marked[] = "{\"a\":{\"Meta\":{\"waymark-origin\":\"x/1\"}}}";
	struct wm_consul_self self;

	recorded("self");
	cr_assert_eq(wm_consul_self_read(body, body_len, &self, &why), 0, "%s", why.text);
	cr_assert_str_eq(self.datacenter, "quay");
	cr_assert_str_eq(self.node, "granite-2");
	cr_assert_str_eq(self.id, "0416e1fd-c5a3-77a0-bd00-f1cc55814540");
	recorded("services");
	cr_assert_eq(wm_consul_services_read(body, body_len, on_name, NULL, &why), 0);
	cr_assert_str_eq(names, "consul ink quill ");
	recorded("local");
	cr_assert_eq(wm_consul_local_read(body, body_len, on_local, NULL, &why), 0);
	cr_assert_str_eq(marks, "ink= quill-1= quill-2= ");
	*marks = '\0';
	cr_assert_eq(wm_consul_local_read(marked, strlen(marked), on_local, NULL, &why), 0);
	cr_assert_str_eq(marks, "a=x/1 ");
}

#define SERVICE(more)                                                                              \
	"{\"Node\":{\"Node\":\"n\",\"Address\":\"10.0.0.1\"},\"Service\":{\"ID\":\"i\","           \
	"\"Service\":\"s\"}" more "}"
#define CHECK(id, service, status)                                                                 \
	"{\"CheckID\":\"" id "\",\"ServiceID\":\"" service "\",\"Status\":\"" status               \
	"\",\"Output\":\"said\"}"

Test(consul_decode, the_worst_check_counts_and_the_nodes_are_everybodys)
{
	cr_assert_eq(read_text(SERVICE(",\"Checks\":[" CHECK(
			     "serfHealth", "", "critical") "," CHECK("c", "i", "passing") "]")),
		     0, "%s", why.text);
	cr_assert_eq(ent.status, WM_CRITICAL);
	cr_assert_eq(ent.draft.checks_count, 2);
	cr_assert_str_eq(ent.checks[0].id, "serfHealth:i");
	cr_assert_str_eq(ent.checks[0].output, "said");
	cr_assert_str_eq(ent.checks[1].output, "", "of what passes it changes all the time");
	cr_assert_eq(read_text(SERVICE(",\"Checks\":[" CHECK("c", "i", "warning") "]")), 0);
	cr_assert_eq(ent.status, WM_WARNING);
	cr_assert_eq(read_text(SERVICE(",\"Checks\":[" CHECK("c", "i", "maintenance") "]")), 0);
	cr_assert_eq(ent.status, WM_CRITICAL, "what Consul has no such status for");
	cr_assert_eq(read_text(SERVICE("")), 0);
	cr_assert_eq(ent.status, WM_PASSING, "no checks");
	wm_consul_entry_done(&ent);
}

Test(consul_decode, of_too_many_checks_the_worst_are_kept)
{
	char *at = body + sprintf(body, "{\"Node\":{\"Node\":\"n\"},\"Service\":{\"ID\":\"i\","
					"\"Service\":\"s\"},\"Checks\":[");

	for (int n = 0; n < 2 * WM_CHECKS_PER_INSTANCE; n++)
		at += sprintf(at, "{\"CheckID\":\"c%d\",\"ServiceID\":\"i\",\"Status\":\"%s\"},", n,
			      n + 1 < 2 * WM_CHECKS_PER_INSTANCE ? "passing" : "critical");
	strcpy(at - 1, "]}");
	cr_assert_eq(read_text(body), 0, "%s", why.text);
	cr_assert_eq(ent.draft.checks_count, WM_CHECKS_PER_INSTANCE);
	cr_assert_eq(ent.checks[0].status, WM_CRITICAL);
	wm_consul_entry_done(&ent);
}

Test(consul_decode, what_an_instance_states_beside)
{
	cr_assert_eq(
		read_text(
			"{\"Node\":{\"Node\":\"n\",\"Locality\":{\"Region\":\"r\",\"Zone\":\"z\"}},"
			"\"Service\":{\"ID\":\"i\",\"Service\":\"s\",\"Kind\":\"connect-proxy\","
			"\"Meta\":{\"waymark-origin\":\"me/1\"},\"EnableTagOverride\":true,"
			"\"Locality\":{\"Region\":\"r2\",\"Zone\":\"z2\"}}}"),
		0, "%s", why.text);
	cr_assert_str_eq(ent.facts.region, "r");
	cr_assert_str_eq(ent.facts.zone, "z");
	cr_assert_str_eq(ent.traits.zone, "z2");
	cr_assert_str_eq(ent.traits.kind, "connect-proxy");
	cr_assert_str_eq(ent.origin, "me/1");
	cr_assert(ent.draft.enable_tag_override);
	wm_consul_entry_done(&ent);
}

Test(consul_decode, what_is_none_is_refused)
{
	static const char *const bad[] = {
		"",
		"null",
		"7",
		"{}",
		"{\"Node\":{},\"Service\":{}}",
		"{\"Node\":[],\"Service\":{}}",
		"{\"Node\":{\"Node\":\"n\"},\"Service\":{\"ID\":\"i\"}}",
		"{\"Node\":{\"Node\":\"\"},\"Service\":{\"ID\":\"i\",\"Service\":\"s\"}}",
		"{\"Node\":{\"Node\":\"n\"},\"Service\":{\"ID\":1,\"Service\":\"s\"}}",
		"{\"Node\":{\"Node\":\"n\"},\"Service\":{\"ID\":\"i\",\"Service\":\"s\",\"Port\":"
		"\"1\"}}",
		"{\"Node\":{\"Node\":\"n\"},\"Service\":{\"ID\":\"i\",\"Service\":\"s\",\"Port\":-"
		"1}}",
		"{\"Node\":{\"Node\":\"n\"},\"Service\":{\"ID\":\"i\",\"Service\":\"s\",\"Port\":"
		"65536}}",
		"{\"Node\":{\"Node\":\"n\"},\"Service\":{\"ID\":\"i\",\"Service\":\"s\",\"Tags\":{}"
		"}}",
		"{\"Node\":{\"Node\":\"n\"},\"Service\":{\"ID\":\"i\",\"Service\":\"s\",\"Tags\":["
		"1]}}",
		"{\"Node\":{\"Node\":\"n\"},\"Service\":{\"ID\":\"i\",\"Service\":\"s\",\"Meta\":{"
		"\"a\":1}}}",
		SERVICE(",\"Checks\":7"),
		SERVICE(",\"Checks\":[7]"),
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cr_assert_eq(read_text(bad[i]), WM_E_DECODE, "%s", bad[i]);
	cr_assert_eq(read_text("{\"Node\":{\"Node\":\"n\"},\"Service\":{\"ID\":\"i\",\"Service\":"
			       "\"default/web\"}}"),
		     WM_E_INVALID, "it would be in another source's scope");
	cr_assert_str_eq(ent.draft.id, "i");
	wm_consul_entry_done(&ent);
}

Test(consul_decode, too_many_tags_are_a_limit)
{
	char *at = body + sprintf(body, "{\"Node\":{\"Node\":\"n\"},\"Service\":{\"ID\":\"i\","
					"\"Service\":\"s\",\"Tags\":[");

	for (int n = 0; n <= WM_TAGS_MAX; n++)
		at += sprintf(at, "\"t%d\",", n);
	strcpy(at - 1, "]}}");
	cr_assert_eq(read_text(body), WM_E_LIMIT);
	cr_assert_str_eq(ent.node, "n");
	wm_consul_entry_done(&ent);
}

Test(consul_decode, every_prefix_of_an_answer_is_none)
{
	struct wm_consul_walk w;

	recorded("health");
	cr_assert_eq(wm_consul_walk_begin(&w, body, body_len), 2);
	for (size_t n = 0; n < body_len; n++) {
		char *copy = malloc(n + 1);

		memcpy(copy, body, n);
		cr_assert_eq(wm_consul_walk_begin(&w, copy, n), -EBADMSG, "%zu", n);
		free(copy);
	}
}

Test(consul_decode, an_array_is_cut)
{
	static const struct {
		const char *text;
		int64_t count;
	} cases[] = {{"[]", 0},
		     {" [ ] ", 0},
		     {"[1]", 1},
		     {"[1,2 , 3]", 3},
		     {"[{\"a\":\"],[\"}]", 1},
		     {"[\"\\\"]\"]", 1},
		     {"[[1,2],{}]", 2},
		     {"[1,]", -EBADMSG},
		     {"[,1]", -EBADMSG},
		     {"[1]x", -EBADMSG},
		     {"{}", -EBADMSG},
		     {"[{]}", -EBADMSG},
		     {"", -EBADMSG},
		     {"[\"", -EBADMSG},
		     {"[\"\\", -EBADMSG}};
	char deep[200];

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wm_consul_walk w;
		int64_t n = wm_consul_walk_begin(&w, cases[i].text, strlen(cases[i].text));
		size_t len;

		cr_assert_eq(n, cases[i].count, "%s: %ld", cases[i].text, (long)n);
		for (; n > 0; n--)
			cr_assert(wm_consul_walk_next(&w, &len), "%s", cases[i].text);
		if (!n)
			cr_assert_null(wm_consul_walk_next(&w, &len), "%s", cases[i].text);
	}
	memset(deep, '[', 100);
	memset(deep + 100, ']', 100);
	cr_assert_eq(wm_consul_walk_begin(&(struct wm_consul_walk){0}, deep, 200), -EBADMSG);
}

Test(consul_decode, rules_of_the_index)
{
	bool reset;
	uint64_t n;

	cr_assert_eq(wm_consul_index_next(0, 7, &reset), 7);
	cr_assert(!reset);
	cr_assert_eq(wm_consul_index_next(7, 7, &reset), 7);
	cr_assert(!reset);
	cr_assert_eq(wm_consul_index_next(7, 6, &reset), 0);
	cr_assert(reset, "it went back");
	cr_assert_eq(wm_consul_index_next(7, 0, &reset), 0);
	cr_assert(reset, "there is none");
	cr_assert(wm_consul_number("18446744073709551615", &n) && n == UINT64_MAX);
	cr_assert(!wm_consul_number("18446744073709551616", &n));
	cr_assert(!wm_consul_number("-1", &n));
	cr_assert(!wm_consul_number("1 ", &n));
	cr_assert(!wm_consul_number("", &n));
	cr_assert(!wm_consul_number(NULL, &n));
}

Test(consul_decode, the_trust_domain_of_a_cluster)
{
	static const char *const bad[] = {
		"", "[]", "{\"TrustDomain\": 3}",
		"{\"TrustDomain\": "
		"\"0123456789012345678901234567890123456789012345678901234567890\"}"};
	static const char good[] = "{\"TrustDomain\": \"11111111-2222.consul\", \"Roots\": []}";
	char trust[WM_CONSUL_TRUST_MAX + 1] = "x";

	cr_assert_eq(wm_consul_trust_read(good, strlen(good), trust, NULL), 0);
	cr_assert_str_eq(trust, "11111111-2222.consul");
	cr_assert_eq(wm_consul_trust_read("{}", 2, trust, NULL), 0);
	cr_assert_str_eq(trust, "");
	for (unsigned n = 0; n < sizeof(bad) / sizeof(*bad); n++)
		cr_assert_lt(wm_consul_trust_read(bad[n], strlen(bad[n]), trust, NULL), 0, "%s",
			     bad[n]);
}
