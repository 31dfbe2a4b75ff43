/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net source */
/* What is shown to an API server, and what it has to show: certificates, tokens as they rotate. */
#include "kube_peer.h"

#define HANG "{'end':'hang'}"
#define LIST(version)                                                                              \
	"{'json':{'kind':'ServiceList','metadata':{'resourceVersion':'" version "'},'items':[]}}"

static void shell(const char *command)
{
	char line[1024];

	snprintf(line, sizeof(line), "cd %s && { %s; } >log 2>&1", dir, command);
	cr_assert_eq(system(line), 0, "%s: %s", command, get("log"));
}

#define KEY "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"

/* An authority, and what it signed: the server's (127.0.0.1) and a client's. Another of its own. */
static void certificates(void)
{
	put("san", "subjectAltName = IP:127.0.0.1\n");
	shell("openssl req -x509 " KEY " -days 30 -subj /CN=ca -keyout ca.key -out ca.pem");
	shell("openssl req -x509 " KEY
	      " -days 30 -subj /CN=other -keyout other.key -out other.pem");
	shell("for n in server client; do openssl req " KEY " -subj /CN=$n -keyout $n.key "
	      "-out $n.csr && openssl x509 -req -in $n.csr -CA ca.pem -CAkey ca.key "
	      "-CAcreateserial -days 30 -extfile san -out $n.pem; done");
}

static void setup_tls(void)
{
	setup();
	certificates();
}

TestSuite(kube_tls, .init = setup_tls, .fini = teardown, .timeout = 300);

/* In base64, as kubeconfigs have it. */
static char *packed(const char *name)
{
	char command[256];

	snprintf(command, sizeof(command), "base64 -w0 %s >packed", name);
	shell(command);
	return strdup(get("packed"));
}

Test(kube_tls, a_client_shows_its_certificate_and_its_token)
{
	play("{'" SERVICES "':{'list':[{'if_token':'secret','json':{'kind':'ServiceList',"
	     "'metadata':{'resourceVersion':'7'},'items':[]}}],'watch':[" HANG "]}}");
	kube_peer_start(&peer, "one", true);
	client("token: secret, client-certificate: client.pem, client-key: client.key", 0);
	watch_services(&telling);
	UNTIL_TOLD("end 7;watching;");
	cr_assert(strstr(get("asked-one"), " Bearer secret\n"), "%s", get("asked-one"));
	cr_assert_not(strstr(told, "secret"));
}

Test(kube_tls, certificates_may_stand_in_the_file_itself)
{
	char user[8192], *cert, *key;

	play("{'" SERVICES "':{'list':[" LIST("7") "],'watch':[" HANG "]}}");
	kube_peer_start(&peer, "one", true);
	cert = packed("client.pem");
	key = packed("client.key");
	snprintf(user, sizeof(user), "client-certificate-data: %s, client-key-data: %s", cert, key);
	client(user, 0);
	watch_services(&telling);
	UNTIL_TOLD("end 7;watching;");
	free(cert);
	free(key);
}

Test(kube_tls, who_has_no_certificate_is_turned_away)
{
	play("{'" SERVICES "':{'list':[" LIST("7") "]}}");
	kube_peer_start(&peer, "one", true);
	client("token: t", 0);
	watch_services(&telling);
	UNTIL_TOLD("away: https://127.0.0.1");
	cr_assert_not(strstr(told, "begin"), "%s", told);
}

/* The token goes to nobody whose certificate is not of the authority. */
Test(kube_tls, a_server_of_another_authority_is_told_nothing)
{
	play("{'" SERVICES "':{'list':[" LIST("7") "]}}");
	kube_peer_start(&peer, "one", true);
	shell("cp other.pem ca.pem");
	client("token: t, client-certificate: client.pem, client-key: client.key", 0);
	watch_services(&telling);
	UNTIL_TOLD("away: https://127.0.0.1");
	cr_assert(strstr(told, "certificate"), "%s", told);
	cr_assert_str_eq(get("asked-one"), "");
}

/* As a pod has it: a token that the kubelet replaces. */
static void account(void)
{
	static char host[] = "127.0.0.1";
	struct wm_kube_config c = {.loop = loop, .account_dir = dir};
	struct wm_err why = {0};
	char port[16];

	snprintf(port, sizeof(port), "%u", peer.port);
	setenv("KUBERNETES_SERVICE_HOST", host, 1);
	setenv("KUBERNETES_SERVICE_PORT", port, 1);
	shell("cp ca.pem ca.crt && echo waymark >namespace");
	put("token", "one\n");
	cr_assert_eq(wm_kube_new(&c, &kube, &why), 0, "%s", why.text);
	cr_assert_str_eq(wm_kube_namespace(kube), "waymark");
}

Test(kube_tls, a_token_is_read_again_as_it_rotates)
{
	play("{'" SERVICES "':{'list':[{'if_token':'two','json':{'kind':'ServiceList','metadata':"
	     "{'resourceVersion':'7'},'items':[]}}],'watch':[" HANG "]}}");
	peer.any_client = true;
	kube_peer_start(&peer, "one", true);
	account();
	watch_services(&telling);
	UNTIL_TOLD("refused: the API server does not know who we are (401): Unauthorized;");
	cr_assert_eq(wm_kube_stats(kube)->refused, 2, "asked again at once, but once only");
	put("token", "two\n");
	UNTIL_TOLD("end 7;watching;");
	cr_assert(strstr(get("asked-one"), " Bearer one\n"));
	cr_assert(strstr(get("asked-one"), " Bearer two\n"));
}

/* A file that is half written, or gone, is not shown: the last one is. */
Test(kube_tls, a_token_that_cannot_be_read_is_the_last_one)
{
	play("{'" SERVICES "':{'list':[{'if_token':'one','json':{'kind':'ServiceList','metadata':"
	     "{'resourceVersion':'7'},'items':[]}}],'watch':[" HANG "]}}");
	peer.any_client = true;
	kube_peer_start(&peer, "one", true);
	account();
	watch_services(&telling);
	UNTIL_TOLD("end 7;watching;");
	put("token", "two lines\nof garbage\n");
	wm_kube_watch_relist(watch);
	UNTIL(wm_kube_stats(kube)->relists == 1 && watch->listed);
	unlink(path_of("token"));
	wm_kube_watch_relist(watch);
	UNTIL(wm_kube_stats(kube)->relists == 2 && watch->listed);
	cr_assert_not(strstr(get("asked-one"), "garbage"));
	cr_assert_eq(wm_kube_stats(kube)->refused, 0);
}
