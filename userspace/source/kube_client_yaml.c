/* SPDX-License-Identifier: Apache-2.0 */
/* kube_client_yaml.c - a kubeconfig file: its current context names a cluster and a user. What is
 * there and not supported is refused by name, as it would be another login without it. */
#include "kube_client_login.h"
#include "userspace/base/base64.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

struct reader {
	yaml_document_t doc;
	const char *path;
	struct wm_err *e;
};

static int no_memory(struct reader *r)
{
	return wm_err_set(r->e, -ENOMEM, "out of memory");
}

/* --- the tree -------------------------------------------------------------------------------- */

static const char *text_of(const yaml_node_t *n)
{
	return n && n->type == YAML_SCALAR_NODE ? (const char *)n->data.scalar.value : NULL;
}

/* Does a plain scalar say that there is nothing? */
static bool is_null(const yaml_node_t *n)
{
	const char *s = text_of(n);

	return s && n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE &&
	       (!*s || !strcmp(s, "null") || !strcmp(s, "~"));
}

/* NULL: it is not there, or null. */
static yaml_node_t *member(struct reader *r, const yaml_node_t *map, const char *name)
{
	if (!map || map->type != YAML_MAPPING_NODE)
		return NULL;
	for (const yaml_node_pair_t *p = map->data.mapping.pairs.start;
	     p < map->data.mapping.pairs.top; p++) {
		const char *key = text_of(yaml_document_get_node(&r->doc, p->key));
		yaml_node_t *value = yaml_document_get_node(&r->doc, p->value);

		if (key && !strcmp(key, name))
			return is_null(value) ? NULL : value;
	}
	return NULL;
}

/* "": it is not there. @return NULL: it is no text; told. */
static const char *text(struct reader *r, const yaml_node_t *map, const char *name)
{
	const yaml_node_t *n = member(r, map, name);
	const char *s = text_of(n);

	if (!n)
		return "";
	if (!s || strlen(s) != n->data.scalar.length) {
		wm_err_set(r->e, -EINVAL, "%s: %s is no text", r->path, name);
		return NULL;
	}
	return s;
}

/* The @p kind ("cluster") of the list ("clusters") that has the name. NULL: none; told. */
static yaml_node_t *named(struct reader *r, const char *list, const char *kind, const char *name)
{
	yaml_node_t *root = yaml_document_get_root_node(&r->doc), *all = member(r, root, list);

	if (all && all->type == YAML_SEQUENCE_NODE) {
		for (const yaml_node_item_t *i = all->data.sequence.items.start;
		     i < all->data.sequence.items.top; i++) {
			yaml_node_t *one = yaml_document_get_node(&r->doc, *i);
			const char *is = text_of(member(r, one, "name"));
			yaml_node_t *value = member(r, one, kind);

			if (is && !strcmp(is, name) && value && value->type == YAML_MAPPING_NODE)
				return value;
		}
	}
	wm_err_set(r->e, -EINVAL, "%s: there is no %s \"%.64s\"", r->path, kind, name);
	return NULL;
}

/* --- values ---------------------------------------------------------------------------------- */

static int refuse(struct reader *r, const yaml_node_t *map, const char *const *names)
{
	for (; *names; names++) {
		if (member(r, map, *names))
			return wm_err_set(r->e, WM_E_UNSUPPORTED, "%s: %s is not supported",
					  r->path, *names);
	}
	return 0;
}

static int take(struct reader *r, const yaml_node_t *map, const char *name, char **ret)
{
	const char *s = text(r, map, name);

	if (!s)
		return -EINVAL;
	if (!*s)
		return 0;
	*ret = strdup(s);
	return *ret ? 0 : no_memory(r);
}

/* A file, beside the kubeconfig if its path is relative; it is there. */
static int take_file(struct reader *r, const yaml_node_t *map, const char *name, char **ret)
{
	const char *s = text(r, map, name), *slash = strrchr(r->path, '/');
	int dir = slash && s && *s != '/' ? (int)(slash - r->path) + 1 : 0;

	if (!s)
		return -EINVAL;
	if (!*s)
		return 0;
	if (asprintf(ret, "%.*s%s", dir, r->path, s) < 0) {
		*ret = NULL;
		return no_memory(r);
	}
	if (access(*ret, R_OK))
		return wm_err_set(r->e, -ENOENT, "%s: %s: %s: %s", r->path, name, *ret,
				  strerror(errno));
	return 0;
}

static int take_data(struct reader *r, const yaml_node_t *map, const char *name, char **ret)
{
	const char *s = text(r, map, name);
	_cleanup_free_ char *packed = NULL;
	size_t len = 0;
	long n;

	if (!s)
		return -EINVAL;
	if (!*s)
		return 0;
	packed = malloc(strlen(s) + 1);
	*ret = malloc(strlen(s) + 1);
	if (!packed || !*ret)
		return no_memory(r);
	for (; *s; s++) {
		if (!strchr(" \t\r\n", *s))
			packed[len++] = *s;
	}
	n = wm_base64_read(packed, len, *ret);
	(*ret)[n > 0 ? n : 0] = '\0';
	explicit_bzero(packed, len);
	if (n < 0 || strlen(*ret) != (size_t)n || !strstr(*ret, "-----BEGIN "))
		return wm_err_set(r->e, -EINVAL, "%s: %s is no PEM in base64", r->path, name);
	return 0;
}

/* name or name-data; the latter wins, as everywhere. */
static int take_pem(struct reader *r, const yaml_node_t *map, const char *name, char **file,
		    char **pem)
{
	char data[64];
	int err;

	snprintf(data, sizeof(data), "%s-data", name);
	err = take_data(r, map, data, pem);
	return err || *pem ? err : take_file(r, map, name, file);
}

static int take_flag(struct reader *r, const yaml_node_t *map, const char *name, bool *ret)
{
	const char *s = text(r, map, name);

	if (!s || (*s && strcmp(s, "true") != 0 && strcmp(s, "false") != 0))
		return wm_err_set(r->e, -EINVAL, "%s: %s is true or false", r->path, name);
	*ret = !strcmp(s, "true");
	return 0;
}

/* --- what is read ---------------------------------------------------------------------------- */

static int take_cluster(struct reader *r, const yaml_node_t *c, struct wm_kube_login *l)
{
	static const char *const not_known[] = {"proxy-url", NULL};
	const char *server = text(r, c, "server");
	char what[WM_ERR_TEXT_MAX];
	int err = server ? refuse(r, c, not_known) : -EINVAL;

	snprintf(what, sizeof(what), "%.400s: server", r->path);
	if (!err)
		err = wm_kube_login_server(l, server, what, r->e);
	if (!err)
		err = take_pem(r, c, "certificate-authority", &l->ca_file, &l->ca_pem);
	if (!err)
		err = take(r, c, "tls-server-name", &l->server_name);
	return err ? err : take_flag(r, c, "insecure-skip-tls-verify", &l->skip_verify);
}

static int take_user(struct reader *r, const yaml_node_t *u, struct wm_kube_login *l)
{
	static const char *const not_known[] = {
		"exec",	  "auth-provider", "username",	    "password", "as",
		"as-uid", "as-groups",	   "as-user-extra", NULL};
	int err = refuse(r, u, not_known);

	if (!err)
		err = take_pem(r, u, "client-certificate", &l->cert_file, &l->cert_pem);
	if (!err)
		err = take_pem(r, u, "client-key", &l->key_file, &l->key_pem);
	if (!err)
		err = take_file(r, u, "tokenFile", &l->token_file);
	if (!err && !l->token_file)
		err = take(r, u, "token", &l->token);
	if (!err && !(l->cert_file || l->cert_pem) != !(l->key_file || l->key_pem))
		err = wm_err_set(r->e, -EINVAL,
				 "%s: of client-certificate and client-key one is missing",
				 r->path);
	return err;
}

static int take_context(struct reader *r, const char *context, struct wm_kube_login *l)
{
	const yaml_node_t *root = yaml_document_get_root_node(&r->doc), *c, *cluster, *user;
	const char *cluster_name, *user_name;
	int err;

	if (!context || !*context)
		context = text(r, root, "current-context");
	if (!context)
		return -EINVAL;
	if (!*context)
		return wm_err_set(r->e, -EINVAL, "%s: there is no current-context", r->path);
	c = named(r, "contexts", "context", context);
	cluster_name = c ? text(r, c, "cluster") : NULL;
	user_name = c ? text(r, c, "user") : NULL;
	cluster = cluster_name && user_name ? named(r, "clusters", "cluster", cluster_name) : NULL;
	if (!cluster)
		return -EINVAL;
	err = take(r, c, "namespace", &l->ns);
	if (!err)
		err = take_cluster(r, cluster, l);
	if (err || !*user_name)
		return err;
	user = named(r, "users", "user", user_name);
	return user ? take_user(r, user, l) : -EINVAL;
}

int wm_kube_login_yaml(const char *text_, size_t len, const char *path, const char *context,
		       struct wm_kube_login *ret, struct wm_err *e)
{
	struct reader r = {.path = path, .e = e};
	struct wm_kube_login l = {0};
	yaml_parser_t parser;
	int err;

	if (!yaml_parser_initialize(&parser))
		return no_memory(&r);
	yaml_parser_set_input_string(&parser, (const unsigned char *)text_, len);
	if (!yaml_parser_load(&parser, &r.doc)) {
		err = wm_err_set(e, -EINVAL, "%s: line %zu: %s", path, parser.problem_mark.line + 1,
				 parser.problem ? parser.problem : "no YAML");
		yaml_parser_delete(&parser);
		return err;
	}
	err = take_context(&r, context, &l);
	yaml_document_delete(&r.doc);
	yaml_parser_delete(&parser);
	if (err) {
		wm_kube_login_done(&l);
		return err;
	}
	*ret = l;
	return 0;
}
