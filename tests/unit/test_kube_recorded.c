/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net source */
/* What a real API server said (tests/net/kubernetes/, v1.34): lists, watches and errors of it are
 * taken for what they are. */
#include "kube_peer.h"

#include <jansson.h>

TestSuite(kube_recorded, .init = setup, .fini = teardown, .timeout = 300);

#define HANG "{'end':'hang'}"

static json_t *listed, *changed; /* names by namespace/name, as objects that came */

static void collect(void *arg, enum wm_kube_event event, const char *json, size_t len)
{
	json_t *o = json_loadb(json, len, JSON_REJECT_DUPLICATES, NULL);
	const json_t *m = json_object_get(o, "metadata");
	const char *name = json_string_value(json_object_get(m, "name"));

	(void)arg;
	cr_assert(name, "%.300s", json);
	if (watch->listed) {
		tell("%c%s;", "+~-"[event], name);
		json_array_append_new(changed, json_string(name));
	} else {
		cr_assert_eq(event, WM_KUBE_ADDED);
		json_array_append_new(listed, json_string(name));
	}
	json_decref(o);
}

static const struct wm_kube_watch_ops collecting = {
	.begin = on_begin, .object = collect, .end = on_end, .state = on_state};

static void start(const char *path, const char *scenario)
{
	listed = json_array();
	changed = json_array();
	play(scenario);
	kube_peer_start(&peer, "one", false);
	client("token: t", 0);
	cr_assert_eq(wm_kube_watch_new(kube, path, &collecting, NULL, &watch), 0);
}

static void end(void)
{
	json_decref(listed);
	json_decref(changed);
}

/* Are these the items of the recorded list, in order? */
static void listed_is(const char *file)
{
	char path[128];
	json_t *list, *item;
	size_t n;

	snprintf(path, sizeof(path), "tests/net/kubernetes/%s", file);
	list = json_load_file(path, 0, NULL);
	cr_assert(json_array_size(json_object_get(list, "items")) > 0);
	cr_assert_eq(json_array_size(json_object_get(list, "items")), json_array_size(listed));
	json_array_foreach(json_object_get(list, "items"), n, item)
	{
		const json_t *m = json_object_get(item, "metadata");

		cr_assert_str_eq(json_string_value(json_object_get(m, "name")),
				 json_string_value(json_array_get(listed, n)));
	}
	json_decref(list);
}

static void follows(const char *path, const char *name)
{
	char scenario[512], file[64];

	snprintf(scenario, sizeof(scenario),
		 "{'%s':{'list':[{'file':'%s.list'}],'watch':[{'file':'%s.watch','end':'hang'}]}}",
		 path, name, name);
	start(path, scenario);
	UNTIL_TOLD("watching;");
	UNTIL(wm_kube_stats(kube)->events + wm_kube_stats(kube)->bookmarks > 1);
	snprintf(file, sizeof(file), "%s.list", name);
	listed_is(file);
	cr_assert_eq(wm_kube_stats(kube)->malformed, 0);
	cr_assert_eq(wm_kube_stats(kube)->failed, 0);
	wm_kube_free(kube);
	kube = NULL;
	kube_peer_stop(&peer);
	peer.port = 0;
	unlink(path_of("port-one"));
	*told = '\0';
	end();
}

Test(kube_recorded, each_resource_is_listed_and_watched)
{
	follows("/api/v1/services", "services");
	follows("/apis/discovery.k8s.io/v1/endpointslices", "endpointslices");
	follows("/api/v1/nodes", "nodes");
	follows("/api/v1/namespaces", "namespaces");
	follows("/api/v1/pods", "pods");
}

Test(kube_recorded, pages_make_the_list)
{
	start(SERVICES,
	      "{'" SERVICES "':{'list':[{'file':'services.page1'},{'file':'services.page2'},"
	      "{'file':'services.page3'},{'file':'services.page4'}],'watch':[{"
	      "'file':'services.watch','end':'hang'}]}}");
	UNTIL(json_array_size(changed) == 4);
	listed_is("services.list");
	cr_assert_eq(wm_kube_stats(kube)->bookmarks, 2);
	cr_assert(strstr(get("asked-one"), "limit=500&continue=eyJ2IjoibWV0YS5r"), "%s",
		  get("asked-one"));
	end();
}

Test(kube_recorded, what_it_forgot_is_listed_again)
{
	start(SERVICES, "{'" SERVICES "':{'list':[{'file':'services.page1'},{'status':410,"
			"'file':'continue.gone'},{'file':'services.list'}],'watch':[{"
			"'file':'services.gone.watch'}," HANG "]}}");
	UNTIL(wm_kube_stats(kube)->gone == 2 && wm_kube_stats(kube)->lists == 3 && watch->listed);
	cr_assert(strstr(get("asked-one"), "?limit=0 "), "%s", get("asked-one"));
	cr_assert_not(strstr(told, "away"), "%s", told);
	end();
}

Test(kube_recorded, its_errors_are_told_as_they_are)
{
	start(SERVICES, "{'" SERVICES "':{'list':[{'status':403,'file':'forbidden'},"
			"{'status':401,'file':'unauthorized'}]}}");
	UNTIL_TOLD("refused: may not list services (RBAC, 403): services is forbidden: "
		   "User \"nobody\" cannot list resource \"services\" in API group \"\" at the "
		   "cluster scope;");
	UNTIL_TOLD("refused: the API server does not know who we are (401): Unauthorized;");
	wm_kube_watch_free(watch);
	*told = '\0';
	play("{'/toonew':{'list':[{'status':504,'file':'toonew'}]}}");
	cr_assert_eq(wm_kube_watch_new(kube, "/toonew", &collecting, NULL, &watch), 0);
	UNTIL_TOLD("HTTP 504: Timeout: Too large resource version");
	wm_kube_watch_free(watch);
	play("{'/x':{'list':[{'status':404,'type':'text/plain','file':'notfound'}]}}");
	cr_assert_eq(wm_kube_watch_new(kube, "/x", &collecting, NULL, &watch), 0);
	UNTIL_TOLD("refused: the API server does not know x (404): Not Found;");
	end();
}
