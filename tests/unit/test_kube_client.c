/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net source */
/* Lists and watches of an API server that plays by the rules, and what it does when it is away, has
 * forgotten, is busy or lets nobody in. See test_kube_hostile.c for servers that do not. */
#include "kube_peer.h"
#include "userspace/source/kube_client_internal.h"

TestSuite(kube_client, .init = setup, .fini = teardown, .timeout = 300);

#define O(name, version) "{'metadata':{'name':'" name "','resourceVersion':'" version "'}}"
#define LIST(version, more, items)                                                                 \
	"{'json':{'kind':'ServiceList','metadata':{'resourceVersion':'" version "'" more           \
	"},'items':[" items "]}}"
#define E(type, object)		 "{'type':'" type "','object':" object "}"
#define HANG			 "'end':'hang'}"
#define SCENARIO(lists, watches) "{'" SERVICES "':{'list':[" lists "],'watch':[" watches "]}}"

Test(kube_client, a_list_in_pages_and_a_watch_from_its_end)
{
	begin(SCENARIO(LIST("7", ",'continue':'a/b'",
			    O("a", "1") "," O("b", "2")) "," LIST("7", "", O("c", "3")),
		       "{'events':[" E("ADDED", O("d", "8")) "," E("MODIFIED", O("a", "9")) "," E(
			       "BOOKMARK", O("", "20")) "," E("DELETED", O("b", "21")) "]," HANG));
	UNTIL_TOLD("-{");
	cr_assert_str_eq(told, "begin;listing;"
			       "+{\"metadata\": {\"name\": \"a\", \"resourceVersion\": \"1\"}};"
			       "+{\"metadata\": {\"name\": \"b\", \"resourceVersion\": \"2\"}};"
			       "+{\"metadata\": {\"name\": \"c\", \"resourceVersion\": \"3\"}};"
			       "end 7;watching;"
			       "+{\"metadata\":{\"name\":\"d\",\"resourceVersion\":\"8\"}};"
			       "~{\"metadata\":{\"name\":\"a\",\"resourceVersion\":\"9\"}};"
			       "-{\"metadata\":{\"name\":\"b\",\"resourceVersion\":\"21\"}};");
	cr_assert(strstr(get("asked-one"), SERVICES "?limit=500 -\n"), "%s", get("asked-one"));
	cr_assert(strstr(get("asked-one"), "?limit=500&continue=a%2Fb -\n"));
	cr_assert(strstr(get("asked-one"), "?watch=1&allowWatchBookmarks=true&timeoutSeconds="));
	cr_assert(strstr(get("asked-one"), "&resourceVersion=7 -\n"), "no token without TLS");
	cr_assert_eq(wm_kube_stats(kube)->lists, 1);
	cr_assert_eq(wm_kube_stats(kube)->relists, 0);
	cr_assert_eq(wm_kube_stats(kube)->objects, 3);
	cr_assert_eq(wm_kube_stats(kube)->events, 3);
	cr_assert_eq(wm_kube_stats(kube)->bookmarks, 1);
	cr_assert_eq(wm_kube_stats(kube)->failed, 0);
}

Test(kube_client, a_watch_goes_on_where_it_was)
{
	static const char *const ends[] = {"'whole'", "'cut'", "'reset'"};
	char scenario[2048];

	for (unsigned n = 0; n < 3; n++) {
		snprintf(scenario, sizeof(scenario),
			 SCENARIO(LIST("7", "", ""),
				  "{'events':[" E("BOOKMARK",
						  O("", "12")) "],'end':%s},"
							       "{'events':[" E(
								       "ADDED",
								       O("later", "13")) "]," HANG),
			 ends[n]);
		*told = '\0';
		begin(scenario);
		UNTIL_TOLD("later");
		cr_assert(strstr(get("asked-one"), "&resourceVersion=12"), "%s", ends[n]);
		cr_assert_not(strstr(told, "away"), "%s", told);
		cr_assert_eq(wm_kube_stats(kube)->lists, 1);
		wm_kube_free(kube);
		kube = NULL;
		kube_peer_stop(&peer);
		peer.port = 0;
		unlink(path_of("port-one"));
		unlink(path_of("asked-one"));
	}
}

Test(kube_client, what_the_server_forgot_is_listed_again)
{
	begin(SCENARIO(
		LIST("7", "", O("a", "1")) "," LIST("30", "", "") "," LIST("40", "", ""),
		"{'events':[" E(
			"ERROR",
			"{'kind':'Status','code':410,'message':'old'}") "]},"
									"{'status':410,'json':{'"
									"kind':'Status','code':410}"
									"},"
									"{" HANG));
	UNTIL_TOLD("end 40;watching");
	cr_assert_eq(wm_kube_stats(kube)->gone, 2);
	cr_assert_eq(wm_kube_stats(kube)->relists, 2);
	cr_assert_not(strstr(told, "away"), "%s", told);
}

Test(kube_client, a_list_whose_pages_expire_is_asked_for_whole)
{
	begin(SCENARIO(LIST("7", ",'continue':'x'",
			    O("a", "1")) ","
					 "{'status':410,'json':{'kind':'Status','code':410}}," LIST(
						 "9", "", O("b", "2")),
		       "{" HANG));
	UNTIL_TOLD("end 9;watching");
	cr_assert(strstr(told, "\"a\", \"resourceVersion\": \"1\"}};begin;"), "%s", told);
	cr_assert(strstr(get("asked-one"), SERVICES "?limit=0 -\n"), "%s", get("asked-one"));
}

Test(kube_client, a_list_is_made_again_when_the_caller_lost_count)
{
	begin(SCENARIO(LIST("7", "", O("a", "1")) "," LIST("8", "", O("a", "1")), "{" HANG));
	UNTIL_TOLD("end 7;watching");
	wm_kube_watch_relist(watch);
	UNTIL_TOLD("end 8;watching");
	cr_assert_eq(wm_kube_stats(kube)->relists, 1);
}

Test(kube_client, lists_that_others_wait_for_come_without_a_growing_pause)
{
	static const char *const ends[] = {"end 8;", "end 9;", "end 10;", "end 11;"};

	begin(SCENARIO(LIST("7", "", "") "," LIST("8", "", "") "," LIST("9", "", "") "," LIST(
			       "10", "", "") "," LIST("11", "", ""),
		       "{" HANG));
	UNTIL_TOLD("end 7;watching");
	for (unsigned n = 0; n < sizeof(ends) / sizeof(*ends); n++) {
		wm_kube_watch_ask(watch);
		UNTIL_TOLD(ends[n]);
		cr_assert_eq(watch->relists, 0);
		cr_assert_eq(watch->not_before_ms, 0);
	}
}

Test(kube_client, who_was_let_in_before_asks_again_soon)
{
	begin(SCENARIO(
		LIST("7", "",
		     "") ",{'status':403,'json':{'kind':'Status','code':403}}," LIST("8", "", ""),
		"{" HANG));
	UNTIL_TOLD("end 7;watching");
	wm_kube_watch_ask(watch);
	UNTIL_TOLD("refused: may not list services");
	cr_assert_leq(watch->not_before_ms, wm_kube_now(kube) + 200);
	UNTIL_TOLD("end 8;watching");
}

Test(kube_client, who_may_not_list_is_told_so_by_name)
{
	begin("{'" SERVICES "':{'list':[{'status':403,'json':{'kind':'Status','code':403,"
	      "'message':'User x cannot list'}}]}}");
	UNTIL_TOLD("refused: may not list services (RBAC, 403): User x cannot list;");
	cr_assert_eq(wm_kube_stats(kube)->refused, 1);
	wm_kube_watch_free(watch);
	cr_assert_eq(wm_kube_watch_new(kube, "/apis/discovery.k8s.io/v1/endpointslices?x=y",
				       &telling, NULL, &watch),
		     0);
	UNTIL_TOLD("refused: the API server does not know endpointslices (discovery.k8s.io) (404)");
}

Test(kube_client, a_busy_server_is_left_alone_for_as_long_as_it_says)
{
	begin(SCENARIO(
		"{'status':429,'headers':{'Retry-After':'1'},'json':{'kind':'Status'}},"
		"{'status':503,'headers':{'Retry-After':'1'},'json':{'kind':'Status'}}," LIST(
			"7", "", ""),
		"{" HANG));
	UNTIL_TOLD("end 7;");
	cr_assert_eq(wm_kube_stats(kube)->throttled, 2);
	cr_assert_eq(wm_kube_stats(kube)->failed, 0);
}

Test(kube_client, the_next_server_is_asked)
{
	char urls[2][64];
	const char *servers[] = {urls[0], urls[1], NULL};
	struct wm_kube_config c = {.loop = loop, .servers = servers};

	play(SCENARIO(LIST("7", "", ""), "{" HANG));
	kube_peer_start(&peer, "one", false);
	kube_peer_start(&other, "two", false);
	kube_peer_stop(&peer); /* its port is nobody's */
	client("token: t", 0);
	wm_kube_free(kube);
	snprintf(urls[0], sizeof(urls[0]), "http://127.0.0.1:%u", peer.port);
	snprintf(urls[1], sizeof(urls[1]), "http://127.0.0.1:%u", other.port);
	c.kubeconfig = path_of("config");
	cr_assert_eq(wm_kube_new(&c, &kube, NULL), 0);
	watch_services(&telling);
	UNTIL_TOLD("end 7;watching");
	cr_assert_eq(wm_kube_stats(kube)->failovers, 1);
	cr_assert_str_eq(wm_kube_server(kube), urls[1]);
	cr_assert_not(strstr(told, "away"), "%s", told);
	kube_peer_stop(&other); /* and nobody is left */
	UNTIL_TOLD("away: http://127.0.0.1");
}

Test(kube_client, a_silent_watch_is_opened_again)
{
	play(SCENARIO(LIST("7", "", "") "," LIST("8", "", ""), "{" HANG));
	kube_peer_start(&peer, "one", false);
	client("token: t", 300);
	watch_services(&telling);
	/* and when that brings nothing, what it begins from is in doubt */
	UNTIL_TOLD("end 8;");
	cr_assert_geq(wm_kube_stats(kube)->silent, 3);
	cr_assert_geq(wm_kube_stats(kube)->watches, 3);
}

static bool room;

static bool has_room(void *arg)
{
	(void)arg;
	return room;
}

Test(kube_client, a_server_waits_while_there_is_no_room)
{
	struct wm_kube_watch_ops ops = telling;

	ops.ready = has_room;
	play("{'" SERVICES "':{'list':[{'slices':200}],'watch':[{" HANG "]}}");
	kube_peer_start(&peer, "one", false);
	client("token: t", 0);
	watch_services(&ops);
	UNTIL(watch->paused);
	cr_assert_leq(watch->raw.len, 320u << 10);
	cr_assert_eq(wm_kube_stats(kube)->objects, 0);
	room = true;
	UNTIL(strstr(told, "end 200;") || strlen(told) > sizeof(told) - 2);
	UNTIL(watch->listed);
	cr_assert_eq(wm_kube_stats(kube)->objects, 200);
}

static unsigned objects;

static void count_object(void *arg, enum wm_kube_event event, const char *json, size_t len)
{
	(void)arg;
	(void)event;
	(void)json;
	(void)len;
	objects++;
	cr_assert_leq(watch->raw.cap, 1u << 20);
	cr_assert_leq(watch->stream.object.cap, 1u << 20);
	cr_assert_leq(watch->stream.envelope.cap, 128u << 10);
}

Test(kube_client, a_hundred_thousand_endpoints_are_never_held_at_once)
{
	struct wm_kube_watch_ops ops = telling;

	ops.object = count_object;
	play("{'" SERVICES "':{'list':[{'slices':1000}],'watch':[{" HANG "]}}");
	kube_peer_start(&peer, "one", false);
	client("token: t", 0);
	watch_services(&ops);
	UNTIL_TOLD("end 1000;");
	cr_assert_eq(objects, 1000);
	cr_assert_gt(wm_kube_stats(kube)->octets, 20u << 20);
	cr_assert(strstr(get("asked-one"), "limit=500&continue=500"));
}

/* --- callbacks that free what calls them */

static int free_at;

static void free_something(int at)
{
	if (at != free_at)
		return;
	tell("freed;");
	if (at % 2) {
		wm_kube_watch_free(watch);
	} else {
		wm_kube_free(kube);
		kube = NULL;
	}
}

static void free_begin(void *arg)
{
	on_begin(arg);
	free_something(*(int *)arg);
}

static void free_object(void *arg, enum wm_kube_event event, const char *json, size_t len)
{
	on_object(arg, event, json, len);
	free_something(*(int *)arg + 2);
}

static void free_end(void *arg, const char *version)
{
	on_end(arg, version);
	free_something(*(int *)arg + 4);
}

static void free_state(void *arg, enum wm_kube_state state, const char *text)
{
	on_state(arg, state, text);
	free_something(*(int *)arg + (state == WM_KUBE_LISTING ? 6 : 8));
}

Test(kube_client, callbacks_may_free_what_calls_them)
{
	static const struct wm_kube_watch_ops ops = {
		.begin = free_begin, .object = free_object, .end = free_end, .state = free_state};
	static int parity;

	play(SCENARIO(LIST("7", "", O("a", "1")), "{" HANG));
	kube_peer_start(&peer, "one", false);
	for (free_at = 0; free_at < 10; free_at++) {
		*told = '\0';
		client("token: t", 0);
		parity = free_at % 2;
		cr_assert_eq(wm_kube_watch_new(kube, SERVICES, &ops, &parity, &watch), 0);
		UNTIL_TOLD("freed;");
		for (unsigned n = 0; n < 20; n++)
			wm_loop_turn(loop, 5);
		cr_assert_str_eq(strstr(told, "freed;"), "freed;", "%d: %s", free_at, told);
		wm_kube_free(kube);
		kube = NULL;
	}
}

Test(kube_client, paths_and_their_number_are_bounded)
{
	static const char *const bad[] = {"", "api", "/a b", "/a\n", "/a#b", "/\"", "/\xc3"};
	struct wm_kube_watch *w;

	peer.port = 1;
	client("token: t", 0);
	for (unsigned n = 0; n < sizeof(bad) / sizeof(*bad); n++)
		cr_assert_eq(wm_kube_watch_new(kube, bad[n], &telling, NULL, &w), -EINVAL);
	for (unsigned n = 0; n < WM_KUBE_WATCHES_MAX; n++)
		cr_assert_eq(wm_kube_watch_new(kube, "/api", &telling, NULL, &w), 0);
	cr_assert_eq(wm_kube_watch_new(kube, "/api", &telling, NULL, &w), -ENOSPC);
}

#define STATUS_PATH "/apis/waymark.io/v1/namespaces/x/waymarkpolicies/web/status"
static void on_patched(void *arg, long status, const char *text)
{
	(void)arg;
	tell("%ld %s;", status, text);
}

/* @return what came of it. */
static const char *patched(const char *path)
{
	*told = '\0';
	cr_assert_eq(wm_kube_patch(kube, path, "{\"a\":1}", on_patched, NULL), 0);
	cr_assert_eq(wm_kube_patch(kube, path, "{}", on_patched, NULL), -EBUSY, "one at a time");
	UNTIL(*told);
	return told;
}

Test(kube_client, what_is_written_is_answered_once)
{
	begin("{'" SERVICES "':{'list':[" LIST(
		"7", "",
		"") "],'watch':[{'events':[]," HANG "]},'" STATUS_PATH
		    "':{'patch':[{'json':{}},{'status':409,'json':{'kind':'Status',"
		    "'message':'modified'}},{'status':500,'text':'no'},{'end':'reset'}]}}");
	UNTIL_TOLD("watching;");
	cr_expect_str_eq(patched(STATUS_PATH "?fieldManager=waymark"), "200 ;");
	cr_expect(strstr(get("asked-one"), STATUS_PATH "?fieldManager=waymark - "
						       "application/merge-patch+json {\"a\":1}\n"),
		  "%s", get("asked-one"));
	cr_expect_str_eq(patched(STATUS_PATH), "409 modified;");
	cr_expect_str_eq(patched(STATUS_PATH), "500 Internal Server Error;");
	cr_expect(strncmp(patched(STATUS_PATH), "0 ", 2) == 0, "%s", told);
	cr_expect_eq(wm_kube_patch(kube, "no path", "{}", on_patched, NULL), -EINVAL);
	/* that it ends meanwhile is told to nobody */
	*told = '\0';
	cr_assert_eq(wm_kube_patch(kube, STATUS_PATH, "{}", on_patched, NULL), 0);
}
