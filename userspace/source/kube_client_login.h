/* SPDX-License-Identifier: Apache-2.0 */
/* kube_client_login.h - where the API servers are and what is shown to them: of a pod's service
 * account, or of a kubeconfig file. Blocks on small files. The only user of libyaml.
 * Spec: client-go's clientcmd/api v1; "Accessing the Kubernetes API from a Pod". */
#pragma once
#include "kube_client.h"

#define WM_KUBE_FILE_MAX  (1u << 20)  /* octets of a kubeconfig: large ones name 100 clusters */
#define WM_KUBE_TOKEN_MAX (16u << 10) /* octets: a server takes no longer headers anyway */

struct wm_kube_login {
	char *servers[WM_KUBE_SERVERS_MAX]; /* URLs without a slash at the end */
	unsigned servers_count;
	char *ns;
	char *ca_file, *ca_pem, *server_name;
	char *cert_file, *cert_pem, *key_file, *key_pem;
	char *token, *token_file; /* the file is read for each call: it rotates */
	bool skip_verify;
};

/** Read what @p c names. @return as wm_kube_new(); @p ret is to be freed if it is 0. */
int wm_kube_login_read(const struct wm_kube_config *c, struct wm_kube_login *ret, struct wm_err *e);
void wm_kube_login_done(struct wm_kube_login *l); /* secrets are wiped */

/* --- kube_client_yaml.c --- */
/** The same of a kubeconfig in memory. @param path of it, for messages, and for files beside it. */
int wm_kube_login_yaml(const char *text, size_t len, const char *path, const char *context,
		       struct wm_kube_login *ret, struct wm_err *e);
/* --- kube_client_login.c --- */
/** Read a file of @p max octets at most, NUL-terminated. @return 0, negative errno. */
int wm_kube_file_read(const char *path, size_t max, char **ret, size_t *ret_len);
/** Wipe and free; NULL ok. */
void wm_kube_secret_free(char *s);
/** Take a URL of a server. @param what it is of, for the message. */
int wm_kube_login_server(struct wm_kube_login *l, const char *url, const char *what,
			 struct wm_err *e);
