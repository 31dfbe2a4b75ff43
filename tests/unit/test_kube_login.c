/* SPDX-License-Identifier: Apache-2.0 */
/* links: base source */
/* Where API servers are and what is shown to them: kubeconfig files as kubectl writes them, a pod's
 * account, and what of them is refused. */
#include "userspace/source/kube_client_login.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct wm_kube_login login;
static struct wm_err why;
static char dir[64];

/* "-----BEGIN X-----\n" in base64 */
#define PEM "LS0tLS1CRUdJTiBYLS0tLS0K"

static void put(const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "w");
	cr_assert(f && fputs(text, f) >= 0 && !fclose(f));
}

static void setup(void)
{
	strcpy(dir, "/tmp/waymark-kube-login-XXXXXX");
	cr_assert(mkdtemp(dir));
	memset(&login, 0, sizeof(login));
	memset(&why, 0, sizeof(why));
}

static void teardown(void)
{
	char command[128];

	wm_kube_login_done(&login);
	snprintf(command, sizeof(command), "rm -rf %s", dir);
	cr_assert_eq(system(command), 0);
}

TestSuite(kube_login, .init = setup, .fini = teardown, .timeout = 300);

static int read_config(const char *cluster, const char *user)
{
	char text[4096], path[128];
	struct wm_kube_config c = {.kubeconfig = path};

	snprintf(text, sizeof(text),
		 "apiVersion: v1\nkind: Config\ncurrent-context: here\n"
		 "clusters:\n- name: other\n  cluster: {server: 'https://other'}\n"
		 "- name: c1\n  cluster:\n%s"
		 "contexts:\n- {name: there, context: {cluster: other, user: nobody}}\n"
		 "- name: here\n  context:\n    cluster: c1\n    user: u1\n    namespace: ns1\n"
		 "users:\n- name: nobody\n- name: u1\n  user:\n%s",
		 cluster, user);
	put("config", text);
	snprintf(path, sizeof(path), "%s/config", dir);
	wm_kube_login_done(&login);
	return wm_kube_login_read(&c, &login, &why);
}

Test(kube_login, of_a_file_the_current_context_counts)
{
	cr_assert_eq(read_config("    server: https://10.0.0.1:6443/\n"
				 "    certificate-authority-data: " PEM "\n",
				 "    token: secret\n"),
		     0, "%s", why.text);
	cr_assert_eq(login.servers_count, 1);
	cr_assert_str_eq(login.servers[0], "https://10.0.0.1:6443");
	cr_assert_str_eq(login.ns, "ns1");
	cr_assert_str_eq(login.token, "secret");
	cr_assert_str_eq(login.ca_pem, "-----BEGIN X-----\n");
	cr_assert_not(login.skip_verify);
}

Test(kube_login, files_stand_beside_the_file)
{
	char expected[128];

	put("ca.pem", "x");
	put("c.pem", "x");
	put("k.pem", "x");
	put("t", "x");
	cr_assert_eq(read_config("    server: https://[::1]:6443\n    tls-server-name: api\n"
				 "    insecure-skip-tls-verify: true\n"
				 "    certificate-authority: ca.pem\n",
				 "    client-certificate: c.pem\n    client-key: k.pem\n"
				 "    token: unused\n    tokenFile: t\n"),
		     0, "%s", why.text);
	snprintf(expected, sizeof(expected), "%s/c.pem", dir);
	cr_assert_str_eq(login.cert_file, expected);
	snprintf(expected, sizeof(expected), "%s/t", dir);
	cr_assert_str_eq(login.token_file, expected);
	cr_assert_null(login.token);
	cr_assert(login.skip_verify && login.ca_file && login.key_file);
	cr_assert_str_eq(login.server_name, "api");
}

static void refuses(const char *cluster, const char *user, int code, const char *said)
{
	cr_assert_eq(read_config(cluster, user), code, "%s: %d", said, why.code);
	cr_assert(strstr(why.text, said), "\"%s\" is not in \"%s\"", said, why.text);
	cr_assert(strstr(why.text, "/config"), "%s", why.text);
}

Test(kube_login, what_is_not_supported_is_named)
{
	const char *server = "    server: https://10.0.0.1\n";

	refuses(server, "    exec: {command: aws}\n", WM_E_UNSUPPORTED, "exec");
	refuses(server, "    auth-provider: {name: gcp}\n", WM_E_UNSUPPORTED, "auth-provider");
	refuses(server, "    username: me\n", WM_E_UNSUPPORTED, "username");
	refuses(server, "    as: root\n", WM_E_UNSUPPORTED, " as ");
	refuses("    server: https://a\n    proxy-url: http://b\n", "    token: x\n",
		WM_E_UNSUPPORTED, "proxy-url");
}

Test(kube_login, what_is_wrong_is_named)
{
	const char *server = "    server: https://10.0.0.1\n";

	refuses("    server: 10.0.0.1:6443\n", "    token: x\n", -EINVAL, "server");
	refuses("    server: https://user:pw@10.0.0.1\n", "    token: x\n", -EINVAL, "server");
	refuses(server, "    client-key-data: '###'\n", -EINVAL, "client-key-data");
	refuses(server, "    client-key-data: eHh4\n", -EINVAL, "client-key-data");
	refuses(server, "    client-key-data: " PEM "\n", -EINVAL, "client-certificate");
	refuses(server, "    tokenFile: missing\n", -ENOENT, "tokenFile");
	refuses(server, "    token: [1]\n", -EINVAL, "token");
	refuses("    server: https://a\n    insecure-skip-tls-verify: maybe\n", "    token: x\n",
		-EINVAL, "insecure-skip-tls-verify");
	refuses(server, "    token: \"a\n  - }\n", -EINVAL, "line ");
}

Test(kube_login, contexts_and_servers_are_chosen)
{
	static const char *const servers[] = {"https://a:1", "https://b:2/", NULL};
	char path[128];
	struct wm_kube_config c = {.kubeconfig = path, .context = "there"};

	cr_assert_eq(read_config("    server: https://c\n", "    token: x\n"), 0);
	snprintf(path, sizeof(path), "%s/config", dir);
	wm_kube_login_done(&login);
	cr_assert_eq(wm_kube_login_read(&c, &login, &why), -EINVAL);
	cr_assert(strstr(why.text, "user \"nobody\""), "%s", why.text);
	c.context = "nowhere";
	cr_assert_eq(wm_kube_login_read(&c, &login, &why), -EINVAL);
	cr_assert(strstr(why.text, "context \"nowhere\""), "%s", why.text);
	c.context = NULL;
	c.servers = servers;
	cr_assert_eq(wm_kube_login_read(&c, &login, &why), 0, "%s", why.text);
	cr_assert_eq(login.servers_count, 2);
	cr_assert_str_eq(login.servers[1], "https://b:2");
}

Test(kube_login, a_pod_has_an_account)
{
	struct wm_kube_config c = {.account_dir = dir};

	unsetenv("KUBERNETES_SERVICE_HOST");
	cr_assert_eq(wm_kube_login_read(&c, &login, &why), -ENOENT);
	cr_assert(strstr(why.text, "KUBERNETES_SERVICE_HOST"), "%s", why.text);
	setenv("KUBERNETES_SERVICE_HOST", "fd00::1", 1);
	setenv("KUBERNETES_SERVICE_PORT", "443", 1);
	cr_assert_eq(wm_kube_login_read(&c, &login, &why), -ENOENT);
	cr_assert(strstr(why.text, "/token"), "%s", why.text);
	put("token", "t");
	cr_assert_eq(wm_kube_login_read(&c, &login, &why), -ENOENT);
	cr_assert(strstr(why.text, "/ca.crt"), "%s", why.text);
	put("ca.crt", "x");
	cr_assert_eq(wm_kube_login_read(&c, &login, &why), 0, "%s", why.text);
	cr_assert_str_eq(login.servers[0], "https://[fd00::1]:443");
	cr_assert_str_eq(login.ns, "default");
	wm_kube_login_done(&login);
	put("namespace", "waymark\n");
	cr_assert_eq(wm_kube_login_read(&c, &login, &why), 0, "%s", why.text);
	cr_assert_str_eq(login.ns, "waymark");
}

Test(kube_login, no_file_and_no_fifo_is_read)
{
	struct wm_kube_config c = {.kubeconfig = "/nonexistent/config"};
	char path[128];

	cr_assert_eq(wm_kube_login_read(&c, &login, &why), -ENOENT);
	snprintf(path, sizeof(path), "%s/fifo", dir);
	cr_assert_eq(mkfifo(path, 0600), 0);
	c.kubeconfig = path;
	cr_assert_eq(wm_kube_login_read(&c, &login, &why), -EINVAL);
}
