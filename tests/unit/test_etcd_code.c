/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model sync */
/* What stands in etcd and what it answers, as octets: one form of each, and what is refused. */
#include "userspace/sync/etcd_answer.h"
#include "userspace/sync/etcd_code.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>

#define ID "01020304-0000-0000-0000-0000000000ff"

Test(etcd_code, a_key_has_one_form)
{
	static const char *const good[] = {"n/" ID,
					   "m/" ID,
					   "o/" ID "/",
					   "o/" ID "/web-1",
					   "o/" ID "/a%2Fb%00%FF%25",
					   "s/db/",
					   "s/db/my%2Fsql",
					   "s/a.b_c~d:e@f/x",
					   "q/" ID,
					   "a/" ID "/" ID,
					   NULL};
	static const char *const bad[] = {"",
					  "o",
					  "o/",
					  "x/" ID,
					  "n/" ID "/",
					  "o/" ID,
					  "o/" ID "x",
					  "o/" ID "/%2f",
					  "o/" ID "/%41",
					  "o/" ID "/%4",
					  "o/" ID "/%",
					  "o/" ID "/a/b",
					  "q/" ID "/",
					  "a/" ID,
					  "o/" ID "/a b",
					  "s/db",
					  "s/d%00b/x",
					  "s/db/x/y",
					  "n/0102030G-0000-0000-0000-0000000000ff",
					  "n/01020304-0000-0000-0000-0000000000FF",
					  NULL};
	char same[WM_ETCD_KEY_MAX];
	struct wm_etcd_key k;

	for (unsigned n = 0; good[n]; n++) {
		cr_assert_eq(wm_etcd_key_read(good[n], strlen(good[n]), &k), 0, "%s", good[n]);
		cr_assert_eq(wm_etcd_key_write(&k, same), strlen(good[n]));
		cr_assert_str_eq(same, good[n]);
	}
	for (unsigned n = 0; bad[n]; n++)
		cr_assert_eq(wm_etcd_key_read(bad[n], strlen(bad[n]), &k), -EINVAL, "%s", bad[n]);
	cr_assert_eq(wm_etcd_key_read("s/db/my%2Fsql", 13, &k), 0);
	cr_assert_eq(k.len, 9);
	cr_assert_eq(memcmp(k.octets, "db\0my/sql", 9), 0);
}

Test(etcd_code, the_longest_key_fits_and_a_longer_one_is_refused)
{
	struct wm_etcd_key k = {.kind = WM_ETCD_KEY_OWN, .len = WM_REPLICA_KEY_MAX}, back;
	char text[WM_ETCD_KEY_MAX + 4];
	size_t len;

	memset(k.octets, 0xff, sizeof(k.octets));
	len = wm_etcd_key_write(&k, text);
	cr_assert(len && len < WM_ETCD_KEY_MAX);
	cr_assert_eq(wm_etcd_key_read(text, len, &back), 0);
	cr_assert_eq(back.len, WM_REPLICA_KEY_MAX);
	strcpy(text + len, "a");
	cr_assert_eq(wm_etcd_key_read(text, len + 1, &back), -EINVAL);
	k.kind = WM_ETCD_KEY_SHARED;
	cr_assert_eq(wm_etcd_key_write(&k, text), 0, "no NUL between node and id");
}

Test(etcd_code, a_value_comes_back_and_a_later_format_is_named)
{
	struct wm_etcd_value v = {.version = {WM_ORIGIN_OWN, 7, 1ull << 40}, .writer = {{1, 2, 3}}},
			     back;
	uint8_t octets[WM_ETCD_HEADER + 2] = {0};

	wm_etcd_value_head(&v, octets);
	memcpy(octets + WM_ETCD_HEADER, "ok", 2);
	cr_assert_eq(wm_etcd_value_read(octets, sizeof(octets), &back), 0);
	cr_assert(back.version.epoch == 7 && back.version.seq == 1ull << 40 && back.len == 2);
	cr_assert(wm_peer_id_same(&back.writer, &v.writer) && !back.gone);
	cr_assert_eq(wm_etcd_value_read(octets, WM_ETCD_HEADER, &back), -EINVAL, "no object");
	cr_assert_eq(wm_etcd_value_read(octets, WM_ETCD_HEADER - 1, &back), -EINVAL);
	octets[2]++;
	cr_assert_eq(wm_etcd_value_read(octets, sizeof(octets), &back), WM_E_UNSUPPORTED);
	v.gone = true;
	v.gone_ms = 5;
	wm_etcd_value_head(&v, octets);
	cr_assert_eq(wm_etcd_value_read(octets, WM_ETCD_HEADER, &back), 0);
	cr_assert(back.gone && back.gone_ms == 5 && !back.object);
	cr_assert_eq(wm_etcd_value_read(octets, sizeof(octets), &back), -EINVAL,
		     "a tombstone with an object");
}

/* RFC 4648, 10. */
Test(etcd_code, base64_is_that_of_the_rfc)
{
	static const char *const pairs[][2] = {{"", ""},
					       {"f", "Zg=="},
					       {"fo", "Zm8="},
					       {"foo", "Zm9v"},
					       {"foob", "Zm9vYg=="},
					       {"fooba", "Zm9vYmE="},
					       {"foobar", "Zm9vYmFy"}};
	static const char *const bad[] = {
		"Z", "Zg", "Zg=", "Zh==", "Zm9=", "Z===", "Zm 8", "Zg==Zg==", "=m9v", "Zm-_", NULL};
	char out[16];

	for (unsigned n = 0; n < sizeof(pairs) / sizeof(pairs[0]); n++) {
		size_t len = strlen(pairs[n][0]);
		struct wm_buf b;

		for (size_t cut = 0; cut <= len; cut++) {
			wm_buf_init(&b, 64);
			cr_assert(
				wm_base64_put(&b, pairs[n][0], cut, pairs[n][0] + cut, len - cut));
			cr_assert_str_eq(b.data, pairs[n][1]);
			wm_buf_done(&b);
		}
		cr_assert_eq(wm_base64_read(pairs[n][1], strlen(pairs[n][1]), out), (long)len);
		cr_assert_eq(memcmp(out, pairs[n][0], len), 0);
	}
	for (unsigned n = 0; bad[n]; n++)
		cr_assert_lt(wm_base64_read(bad[n], strlen(bad[n]), out), 0, "%s", bad[n]);
}

static struct wm_etcd_answer read_ok(const char *text)
{
	struct wm_etcd_answer a;
	struct wm_err e = {0};

	cr_assert_eq(wm_etcd_answer_read(text, strlen(text), &a, &e), 0, "%s", e.text);
	return a;
}

Test(etcd_code, answers_of_every_kind_are_read)
{
	struct wm_etcd_answer a = read_ok(
		"{\"header\":{\"cluster_id\":\"17237436991929493444\",\"revision\":\"9\"},\"kvs\":["
		"{"
		"\"key\":\"YQ==\",\"mod_revision\":\"3\",\"lease\":\"-5\",\"value\":\"Yg==\"},{"
		"\"key\":\"Yw==\",\"mod_revision\":4}],\"more\":true,\"count\":\"2\"}");

	cr_assert_eq(a.cluster, 17237436991929493444ull);
	cr_assert(a.revision == 9 && a.more && a.kvs_count == 2 && !a.code);
	cr_assert(*a.kvs[0].key == 'a' && *a.kvs[0].value == 'b' && a.kvs[0].lease == -5);
	cr_assert(a.kvs[1].value_len == 0 && a.kvs[1].mod_revision == 4);
	wm_etcd_answer_done(&a);
	a = read_ok("{\"result\":{\"events\":[{\"kv\":{\"key\":\"YQ==\"}},{\"type\":\"DELETE\","
		    "\"kv\":{\"key\":\"Yg==\"}}],\"fragment\":true}}");
	cr_assert(a.kvs_count == 2 && !a.kvs[0].deleted && a.kvs[1].deleted && a.fragment);
	wm_etcd_answer_done(&a);
	a = read_ok("{\"succeeded\":true,\"responses\":[{\"response_put\":{}},{\"response_txn\":{"
		    "\"responses\":[{\"response_range\":{\"kvs\":[{\"key\":\"YQ==\"}]}}]}},{"
		    "\"response_txn\":{\"succeeded\":true}}]}");
	cr_assert(a.succeeded && a.parts_count == 3);
	cr_assert(a.parts[0].succeeded && !a.parts[0].kvs_count);
	cr_assert(!a.parts[1].succeeded && a.parts[1].kvs == 0 && a.parts[1].kvs_count == 1);
	cr_assert(a.parts[2].succeeded && !a.parts[2].kvs_count);
	wm_etcd_answer_done(&a);
	a = read_ok("{\"error\":\"e\",\"message\":\"requested lease not found\",\"code\":5}");
	cr_assert(a.code == WM_ETCD_NOT_FOUND && strstr(a.error, "lease"));
	wm_etcd_answer_done(&a);
	a = read_ok("{\"code\":16,\"message\":\"invalid auth token\",\"details\":[]}");
	cr_assert_eq(a.code, WM_ETCD_UNAUTHENTICATED);
	wm_etcd_answer_done(&a);
	a = read_ok("{\"error\":{\"grpc_code\":14,\"message\":\"no leader\"}}");
	cr_assert(a.code == WM_ETCD_UNAVAILABLE && strstr(a.error, "leader"));
	wm_etcd_answer_done(&a);
}

Test(etcd_code, answers_of_wrong_types_sizes_and_depths_are_refused)
{
	static const char *const bad[] = {"",
					  "[]",
					  "null",
					  "{",
					  "{\"kvs\":{}}",
					  "{\"kvs\":[1]}",
					  "{\"kvs\":[{\"key\":1}]}",
					  "{\"kvs\":[{\"key\":\"Y\"}]}",
					  "{\"header\":[]}",
					  "{\"header\":{\"revision\":{}}}",
					  "{\"header\":{\"revision\":\"x\"}}",
					  "{\"header\":{\"revision\":\"\"}}",
					  "{\"header\":{\"revision\":\"99999999999999999999\"}}",
					  "{\"header\":{\"cluster_id\":\"99999999999999999999\"}}",
					  "{\"more\":\"true\"}",
					  "{\"TTL\":1.5}",
					  "{\"token\":[]}",
					  "{\"responses\":[7]}",
					  "{\"result\":7}",
					  "{\"responses\":[{\"response_range\":[]}]}",
					  "{\"events\":[{\"type\":\"X\"}]}",
					  "{\"events\":[{}]}",
					  "{\"a\":1,\"a\":2}",
					  "{\"error\":{\"code\":\"y\"}}",
					  NULL};
	struct wm_etcd_answer a;
	struct wm_err e;
	char *large;

	for (unsigned n = 0; bad[n]; n++) {
		e = (struct wm_err){0};
		cr_assert_eq(wm_etcd_answer_read(bad[n], strlen(bad[n]), &a, &e), WM_E_DECODE, "%s",
			     bad[n]);
		cr_assert(*e.text);
	}
	large = malloc(WM_ETCD_ANSWER_MAX + 1);
	cr_assert(large);
	memset(large, '[', WM_ETCD_ANSWER_MAX + 1);
	cr_assert_eq(wm_etcd_answer_read(large, WM_ETCD_ANSWER_MAX + 1, &a, &e), WM_E_LIMIT);
	cr_assert(strstr(e.text, "octets"));
	cr_assert_eq(wm_etcd_answer_read(large, WM_ETCD_ANSWER_MAX, &a, &e), WM_E_LIMIT);
	cr_assert(strstr(e.text, "nested"));
	free(large);
}

Test(etcd_code, endpoints_and_prefixes_are_judged)
{
	static const char *const good[] = {"http://127.0.0.1:2379", "https://etcd.example/",
					   "https://[fd00::1]:2379", NULL};
	static const char *const bad[] = {
		"",	      "127.0.0.1:2379",	      "ftp://x",    "http://",
		"http://a/b", "http://u:p@host:2379", "http://a?b", NULL};
	static const char *const prefixes[] = {"/waymark/dc1/", "/a/", NULL};
	static const char *const no_prefixes[] = {"",	      "/",	"//",	 "waymark/",
						  "/waymark", "/a//b/", "/a b/", NULL};
	struct wm_err e;

	for (unsigned n = 0; good[n]; n++)
		cr_assert_eq(wm_etcd_endpoint_check(good[n], &e), 0, "%s", good[n]);
	for (unsigned n = 0; bad[n]; n++)
		cr_assert_eq(wm_etcd_endpoint_check(bad[n], &e), WM_E_INVALID, "%s", bad[n]);
	for (unsigned n = 0; prefixes[n]; n++)
		cr_assert_eq(wm_etcd_prefix_check(prefixes[n], &e), 0, "%s", prefixes[n]);
	for (unsigned n = 0; no_prefixes[n]; n++)
		cr_assert_eq(wm_etcd_prefix_check(no_prefixes[n], &e), WM_E_INVALID, "%s",
			     no_prefixes[n]);
}

Test(etcd_code, a_carrier_names_what_it_cannot_work_with)
{
	static const char *const endpoints[] = {"http://127.0.0.1:1", NULL}, *const none[] = {NULL},
				 *const bad[] = {"127.0.0.1", NULL};
	struct {
		struct wm_etcd_config c;
		const char *why;
	} wrong[] = {
		{{.endpoints = none, .prefix = "/a/"}, "endpoints: one"},
		{{.endpoints = bad, .prefix = "/a/"}, "an endpoint such as"},
		{{.endpoints = endpoints, .prefix = "/a"}, "a prefix such as"},
		{{.endpoints = endpoints}, "a prefix such as"},
		{{.endpoints = endpoints, .prefix = "/a/", .user = "u"}, "password_file: wanted"},
		{{.endpoints = endpoints, .prefix = "/a/", .ca_file = "/nonexistent"},
		 "ca_file: cannot read /nonexistent"},
	};

	for (unsigned n = 0; n < sizeof(wrong) / sizeof(wrong[0]); n++) {
		struct wm_etcd *etcd = NULL;
		struct wm_err e = {0};

		wrong[n].c.env = &wm_env_system;
		cr_assert_lt(wm_etcd_new(&wrong[n].c, &etcd, &e), 0);
		cr_assert(!etcd && strstr(e.text, wrong[n].why), "%s", e.text);
	}
}

Test(etcd_code, a_report_comes_back_and_what_is_none_is_refused)
{
	static const char *const bad[] = {
		"",
		"[]",
		"{\"number\":1,\"silent\":false,\"more\":false}",
		"{\"number\":-1,\"silent\":false,\"more\":false,\"found\":[]}",
		"{\"number\":1,\"silent\":false,\"more\":false,\"found\":[{}]}",
		"{\"number\":1,\"silent\":false,\"more\":false,\"found\":[{\"key\":\"n/" ID
		"\",\"here\":[true,false,false,1,1,\"" ID
		"\"],\"there\":[true,false,false,1,1,\"" ID "\"]}]}",
		"{\"number\":1,\"silent\":false,\"more\":false,\"found\":[{\"key\":\"s/a/b"
		"\",\"here\":[true,false,false,4294967296,1,\"" ID
		"\"],\"there\":[true,false,false,1,1,\"" ID "\"]}]}",
		NULL};
	static struct wm_etcd_report r, back;
	struct wm_buf b;

	wm_buf_init(&b, WM_ETCD_REPORT_MAX);
	r = (struct wm_etcd_report){.number = INT64_MAX, .more = true};
	for (r.count = 0; r.count < WM_ETCD_REPORT_FOUND; r.count++) {
		struct wm_verify_found *f = &r.found[r.count];

		f->shared = r.count % 2;
		memset(f->id, 0xff, WM_INSTANCE_ID_MAX);
		f->here = (struct wm_verify_side){true, true, UINT32_MAX, INT64_MAX, {{1}}, true};
		if (f->shared)
			memset(f->node, '~', WM_NODE_NAME_MAX);
		else
			f->origin = (struct wm_peer_id){{2}};
	}
	cr_assert(wm_etcd_report_write(&r, &b), "the longest one fits");
	cr_assert_eq(wm_etcd_report_read(b.data, b.len, &back), 0);
	cr_assert_eq(back.number, r.number);
	cr_assert(back.more && !back.silent && back.count == r.count);
	for (unsigned n = 0; n < r.count; n++) {
		cr_assert_str_eq(back.found[n].node, r.found[n].node);
		cr_assert_str_eq(back.found[n].id, r.found[n].id);
		cr_assert(wm_peer_id_same(&back.found[n].origin, &r.found[n].origin));
		cr_assert(back.found[n].here.known && back.found[n].here.gone);
		cr_assert(back.found[n].here.other && !back.found[n].there.known);
		cr_assert_eq(back.found[n].here.epoch, UINT32_MAX);
		cr_assert_eq(back.found[n].here.seq, INT64_MAX);
		cr_assert(wm_peer_id_same(&back.found[n].here.writer, &r.found[n].here.writer));
	}
	for (unsigned n = 0; bad[n]; n++)
		cr_assert_eq(wm_etcd_report_read(bad[n], strlen(bad[n]), &back), WM_E_DECODE, "%s",
			     bad[n]);
	wm_buf_done(&b);
}
