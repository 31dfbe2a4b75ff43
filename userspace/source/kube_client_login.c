/* SPDX-License-Identifier: Apache-2.0 */
/* kube_client_login.c - see kube_client_login.h. */
#include "kube_client_login.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ACCOUNT_DIR   "/var/run/secrets/kubernetes.io/serviceaccount"
#define NAMESPACE_MAX 63  /* octets: a DNS label */
#define URL_MAX	      512 /* octets of a server's */

/* --- files ----------------------------------------------------------------------------------- */

int wm_kube_file_read(const char *path, size_t max, char **ret, size_t *ret_len)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO does not hold us */
	struct stat st;
	size_t len = 0;
	ssize_t n = 0;
	char *text;
	int err = 0;

	if (fd < 0)
		return -errno;
	text = malloc(max + 1);
	if (!text)
		err = -ENOMEM;
	else if (fstat(fd, &st) || !S_ISREG(st.st_mode))
		err = -EINVAL;
	while (!err && len <= max && (n = read(fd, text + len, max + 1 - len)) > 0)
		len += (size_t)n;
	if (!err && n < 0)
		err = -errno;
	if (!err && len > max)
		err = -EFBIG;
	close(fd);
	if (err) {
		free(text);
		return err;
	}
	text[len] = '\0';
	*ret = text;
	*ret_len = len;
	return 0;
}

void wm_kube_secret_free(char *s)
{
	if (s)
		explicit_bzero(s, strlen(s));
	free(s);
}

void wm_kube_login_done(struct wm_kube_login *l)
{
	for (unsigned i = 0; i < l->servers_count; i++)
		free(l->servers[i]);
	free(l->ns);
	free(l->ca_file);
	free(l->ca_pem);
	free(l->server_name);
	free(l->cert_file);
	free(l->cert_pem);
	free(l->key_file);
	wm_kube_secret_free(l->key_pem);
	wm_kube_secret_free(l->token);
	free(l->token_file);
	memset(l, 0, sizeof(*l));
}

/* --- servers --------------------------------------------------------------------------------- */

int wm_kube_login_server(struct wm_kube_login *l, const char *url, const char *what,
			 struct wm_err *e)
{
	bool secure = strncmp(url, "https://", 8) == 0;
	const char *host = url + (secure ? 8 : 7);
	size_t len = strlen(url);

	if ((!secure && strncmp(url, "http://", 7) != 0) || !*host || len > URL_MAX ||
	    strpbrk(url, " \t\r\n?#@\\\""))
		return wm_err_set(e, -EINVAL,
				  "%s: a URL such as https://10.0.0.1:6443 is wanted, not "
				  "\"%.64s\"",
				  what, url);
	if (l->servers_count == WM_KUBE_SERVERS_MAX)
		return wm_err_set(e, -EINVAL, "%s: more than %u servers", what,
				  WM_KUBE_SERVERS_MAX);
	while (len && url[len - 1] == '/')
		len--;
	l->servers[l->servers_count] = strndup(url, len);
	if (!l->servers[l->servers_count])
		return wm_err_set(e, -ENOMEM, "out of memory");
	l->servers_count++;
	return 0;
}

static int take_servers(const struct wm_kube_config *c, struct wm_kube_login *l, struct wm_err *e)
{
	int err = 0;

	if (!c->servers || !c->servers[0])
		return 0;
	while (l->servers_count)
		free(l->servers[--l->servers_count]);
	for (unsigned i = 0; !err && c->servers[i]; i++)
		err = wm_kube_login_server(l, c->servers[i], "server", e);
	return err;
}

/* --- a pod's account ------------------------------------------------------------------------- */

static int account_server(struct wm_kube_login *l, struct wm_err *e)
{
	const char *host = getenv("KUBERNETES_SERVICE_HOST");
	const char *port = getenv("KUBERNETES_SERVICE_PORT");
	char url[URL_MAX];

	if (!host || !*host || !port || !*port)
		return wm_err_set(e, -ENOENT,
				  "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not "
				  "set: this is no pod; name a kubeconfig or servers");
	snprintf(url, sizeof(url), strchr(host, ':') ? "https://[%s]:%s" : "https://%s:%s", host,
		 port);
	return wm_kube_login_server(l, url, "KUBERNETES_SERVICE_HOST", e);
}

static int account_file(const char *dir, const char *name, char **ret, struct wm_err *e)
{
	char *path;

	if (asprintf(&path, "%s/%s", dir, name) < 0)
		return wm_err_set(e, -ENOMEM, "out of memory");
	if (access(path, R_OK)) {
		wm_err_set(e, -ENOENT, "%s: %s", path, strerror(errno));
		free(path);
		return -ENOENT;
	}
	*ret = path;
	return 0;
}

static void account_namespace(const char *dir, struct wm_kube_login *l)
{
	char *path, *ns = NULL;
	size_t len;

	if (asprintf(&path, "%s/namespace", dir) < 0)
		return;
	if (!wm_kube_file_read(path, NAMESPACE_MAX + 1, &ns, &len) && ns) {
		ns[strcspn(ns, " \r\n")] = '\0';
		l->ns = ns;
	}
	free(path);
}

static int read_account(const struct wm_kube_config *c, struct wm_kube_login *l, struct wm_err *e)
{
	const char *dir = c->account_dir && *c->account_dir ? c->account_dir : ACCOUNT_DIR;
	bool named = c->servers && c->servers[0];
	int err = named ? 0 : account_server(l, e);

	if (!err)
		err = account_file(dir, "token", &l->token_file, e);
	if (!err)
		err = account_file(dir, "ca.crt", &l->ca_file, e);
	if (!err)
		account_namespace(dir, l);
	return err;
}

/* --- both ------------------------------------------------------------------------------------ */

static int read_kubeconfig(const struct wm_kube_config *c, struct wm_kube_login *l,
			   struct wm_err *e)
{
	char *text = NULL;
	size_t len = 0;
	int err = wm_kube_file_read(c->kubeconfig, WM_KUBE_FILE_MAX, &text, &len);

	if (err || !text) {
		wm_err_set(e, err, "%s: %s", c->kubeconfig, strerror(-err));
		return err;
	}
	err = wm_kube_login_yaml(text, len, c->kubeconfig, c->context, l, e);
	explicit_bzero(text, len);
	free(text);
	return err;
}

int wm_kube_login_read(const struct wm_kube_config *c, struct wm_kube_login *ret, struct wm_err *e)
{
	struct wm_kube_login l = {0};
	bool file = c->kubeconfig && *c->kubeconfig;
	int err = file ? read_kubeconfig(c, &l, e) : read_account(c, &l, e);

	if (!err)
		err = take_servers(c, &l, e);
	if (!err && (!l.ns || !*l.ns)) {
		free(l.ns);
		l.ns = strdup("default");
		err = l.ns ? 0 : wm_err_set(e, -ENOMEM, "out of memory");
	}
	if (err) {
		wm_kube_login_done(&l);
		return err;
	}
	*ret = l;
	return 0;
}
