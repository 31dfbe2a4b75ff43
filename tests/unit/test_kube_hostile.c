/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net source */
/* API servers that are broken, or mean harm: nothing that they send ends a list that is not whole,
 * holds the client up or makes it grow; and it is well again as soon as they are. */
#include "kube_peer.h"

#include <netinet/in.h>
#include <sys/socket.h>

TestSuite(kube_hostile, .init = setup, .fini = teardown, .timeout = 300);

#define GOOD                                                                                       \
	"{'json':{'kind':'ServiceList','metadata':{'resourceVersion':'9'},'items':[{'good':1}]}}"
#define HANG		      "{'end':'hang'}"
#define OBJECT(name, version) "{'metadata':{'name':'" name "','resourceVersion':'" version "'}}"

/* A list that is @p answer three times, and good then: nothing is taken for a list before. */
static void bad_list(const char *answer, const char *said)
{
	char scenario[4096];

	snprintf(scenario, sizeof(scenario),
		 "{'" SERVICES "':{'list':[%s,%s,%s," GOOD "],'watch':[" HANG "]}}", answer, answer,
		 answer);
	*told = '\0';
	play(scenario);
	kube_peer_start(&peer, "one", false);
	client("token: t", 300);
	watch_services(&telling);
	UNTIL_TOLD("end 9;watching;");
	cr_assert(strstr(told, said), "%s: \"%s\" was not told: %.2000s", answer, said, told);
	cr_assert(strstr(told, "away: http://127.0.0.1:"), "%.2000s", told);
	cr_assert_eq(strstr(told, "end "), strstr(told, "end 9"), "%.2000s", told);
	wm_kube_free(kube);
	kube = NULL;
	kube_peer_stop(&peer);
	peer.port = 0;
	unlink(path_of("port-one"));
}

#define TEXT(text) "{'text':'" text "'}"

Test(kube_hostile, what_is_no_list_is_none)
{
	bad_list(TEXT("<html>garbage</html>"), "services: no JSON");
	bad_list(TEXT(""), "services: the list ended before its end");
	bad_list(TEXT("{}"), "services: the answer is no list");
	bad_list("{'json':{'kind':'ServiceList','items':[]}}", "without a resourceVersion");
	bad_list("{'json':{'kind':'ServiceList','metadata':{'resourceVersion':7},'items':[]}}",
		 "without a resourceVersion");
	bad_list("{'json':{'kind':'Status','metadata':{'resourceVersion':'7'},'items':[]}}",
		 "the answer is no list");
	bad_list("{'json':{'kind':'ServiceList','metadata':{'resourceVersion':'7'},'items':[1]}}",
		 "an item is no object");
}

Test(kube_hostile, a_list_that_breaks_off_is_none)
{
	bad_list("{'text':'{\\'kind\\':\\'ServiceList\\',\\'items\\':[{\\'a\\':1},{\\'b'}",
		 "services: the list ended before its end");
	bad_list("{'text':'{\\'kind\\':\\'ServiceList\\',\\'items\\':[{\\'a\\':1},{\\'b','end':'"
		 "cut'}",
		 "away: ");
	bad_list("{'text':'{\\'kind\\':\\'ServiceList\\',\\'items\\':[{\\'a\\':1}','end':'reset'}",
		 "away: ");
	bad_list("{'text':'{\\'kind\\':\\'ServiceList\\',\\'items\\':[{\\'a\\':1}','end':'hang'}",
		 "the server says nothing");
	/* all of it, and then an error of the transfer */
	bad_list("{'json':{'kind':'ServiceList','metadata':{'resourceVersion':'7'},'items':[]},"
		 "'end':'reset'}",
		 "away: ");
}

Test(kube_hostile, other_answers_than_json_are_refused)
{
	bad_list("{'type':'text/html','json':{'kind':'ServiceList','metadata':{'resourceVersion':"
		 "'7'},'items':[]}}",
		 "the answer is no JSON, as its Content-Type says");
	bad_list("{'type':'application/vnd.kubernetes.protobuf','text':'k8s'}",
		 "the answer is no JSON");
	bad_list("{'status':302,'headers':{'Location':'http://127.0.0.1:1/'},'text':''}",
		 "a redirect, which is not followed");
	bad_list("{'status':500,'text':'<html>\\u001b[2J'}", "HTTP 500: Internal Server Error");
	bad_list("{'status':500,'json':{'kind':'Status','message':'etcd\\u001b[2J'}}",
		 "HTTP 500: etcd\\x1b[2J");
}

Test(kube_hostile, what_is_endless_ends)
{
	bad_list("{'text':' ','times':0}", "the server says nothing");
	bad_list("{'text':'{\\'a\\':','times':0}", "brackets are nested too deep");
	bad_list("{'text':'{\\'a\\':\\'','times':1},{'text':'x','times':1}", "before its end");
	bad_list("{'text':'[','times':0}", "services: no object");
	bad_list("{'text':'\\'x','times':0}", "services: no JSON");
}

Test(kube_hostile, an_envelope_without_end_is_cut)
{
	bad_list("{'json':{'kind':'ServiceList','metadata':{'x':[0]}},'text':''}",
		 "without a resourceVersion");
	begin("{'" SERVICES "':{'list':[{'text':'{\\'a\\':1,','times':1},{'text':'1,','times':0},"
	      "{'text':'{\\'kind\\':[1','end':'whole'}]}}");
	UNTIL_TOLD("away: ");
}

Test(kube_hostile, an_endless_object_is_skipped_by_name)
{
	char *huge = malloc(3u << 20), *scenario = malloc(4u << 20);

	cr_assert(huge && scenario);
	memset(huge, 'x', (3u << 20) - 1);
	huge[(3u << 20) - 1] = '\0';
	snprintf(scenario, 4u << 20,
		 "{'" SERVICES "':{'list':[{'json':{'kind':'ServiceList','metadata':{"
		 "'resourceVersion':'9'},'items':[{'metadata':{'name':'big','namespace':'ns'},"
		 "'x':'%s'},{'good':1}]}}],'watch':[{'events':[{'type':'MODIFIED','object':"
		 "{'metadata':{'name':'big2','resourceVersion':'12'},'x':'%s'}},{'type':'ADDED',"
		 "'object':" OBJECT("small", "13") "}],'end':'hang'}]}}",
		 huge, "short");
	begin(scenario);
	UNTIL_TOLD("small");
	cr_assert(strstr(told, "begin;listing;skipped ns/big;+{\"good\": 1};end 9;watching;"),
		  "%.500s", told);
	cr_assert_eq(wm_kube_stats(kube)->oversize, 1);
	cr_assert_leq(watch->stream.object.cap, 256u << 10);
	free(huge);
	free(scenario);
}

/* Watches that are broken, then one that is not, from where the last good event was. */
static void bad_watch(const char *answer)
{
	char scenario[4096];

	snprintf(scenario, sizeof(scenario),
		 "{'" SERVICES "':{'list':[" GOOD "],'watch':[%s,{'events':[{'type':'ADDED',"
		 "'object':" OBJECT("after", "77") "}],'end':'hang'}]}}",
		 answer);
	*told = '\0';
	begin(scenario);
	UNTIL_TOLD("after");
	cr_assert_gt(wm_kube_stats(kube)->malformed, 0);
	cr_assert_eq(wm_kube_stats(kube)->lists, 1);
	cr_assert(strstr(get("asked-one"), "&resourceVersion=10 "), "%s", get("asked-one"));
	wm_kube_free(kube);
	kube = NULL;
	kube_peer_stop(&peer);
	peer.port = 0;
	unlink(path_of("port-one"));
	unlink(path_of("asked-one"));
}

#define FIRST "{'type':'ADDED','object':" OBJECT("first", "10") "}"

Test(kube_hostile, a_watch_that_breaks_is_opened_again)
{
	bad_watch("{'events':[" FIRST "],'text':'{\\'type\\':\\'ADDED\\',\\'obj'}");
	bad_watch("{'events':[" FIRST "],'text':'garbage'}");
	bad_watch("{'events':[" FIRST ",{'type':'WHAT','object':" OBJECT("x", "11") "}]}");
	bad_watch("{'events':[" FIRST ",{'type':'ADDED','object':{'metadata':{}}}]}");
	bad_watch("{'events':[" FIRST ",{'type':'ADDED'}]}");
	bad_watch("{'events':[" FIRST ",{'type':'ERROR','object':{'kind':'Pod','code':410}}]}");
	bad_watch("{'events':[" FIRST ",{}]}");
	bad_watch("{'events':[" FIRST "]},{'type':'text/plain','text':''}");
}

Test(kube_hostile, a_list_that_goes_round_is_none)
{
	begin("{'" SERVICES "':{'list':[{'json':{'kind':'ServiceList','metadata':{"
	      "'resourceVersion':'9','continue':'same'},'items':[]}}]}}");
	UNTIL_TOLD("services: a list that goes round");
	cr_assert_not(strstr(told, "end "), "%s", told);
}

/* It listens, and never says anything: no scenario at all. */
Test(kube_hostile, a_server_that_only_accepts_is_given_up)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert(!bind(fd, (struct sockaddr *)&a, sizeof(a)) && !listen(fd, 8) &&
		  !getsockname(fd, (struct sockaddr *)&a, &len));
	peer.port = ntohs(a.sin_port);
	client("token: t", 100);
	watch_services(&telling);
	UNTIL_TOLD("the server says nothing");
	close(fd);
}
