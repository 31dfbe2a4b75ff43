/* SPDX-License-Identifier: Apache-2.0 */
/* kube_client_patch.c - the one thing that is written: a merge patch. It goes to the server that
 * is listed and watched; that one which is away is another's is found by the watches. */
#include "kube_client_internal.h"
#include "userspace/base/plain.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PATCH_MS 30000 /* until nobody answers: as long as an API server works on a request */

static void on_answer(void *arg, const struct wm_http_answer *a)
{
	void (*fn)(void *arg, long status, const char *text);
	char text[WM_KUBE_TEXT_MAX] = "";
	struct wm_kube *k = arg;
	void *fn_arg = k->patch.arg;

	fn = k->patch.fn;
	k->patch.call = NULL;
	if (a->error)
		wm_plain(a->reason, text, sizeof(text));
	else if ((a->status < 200 || a->status > 299) &&
		 !wm_kube_status_read(a->body, a->body_len, text, sizeof(text)))
		wm_plain(a->phrase, text, sizeof(text));
	if (!a->error && a->status == 401) /* the token may have been replaced a moment ago */
		wm_kube_login_again(k);
	fn(fn_arg, a->error ? 0 : a->status, text);
}

int wm_kube_patch(struct wm_kube *k, const char *path, const char *body,
		  void (*fn)(void *arg, long status, const char *text), void *arg)
{
	struct wm_http_call_options o = {
		.method = "PATCH", .body = body, .timeout_ms = PATCH_MS, .keep = true};
	char *url;
	int err = 0;

	if (k->patch.call)
		return -EBUSY;
	if (!wm_kube_path_valid(path))
		return -EINVAL;
	if (asprintf(&url, "%s%s", k->login.servers[k->server], path) < 0)
		return -ENOMEM;
	o.url = url;
	k->patch.fn = fn;
	k->patch.arg = arg;
	k->patch.call =
		wm_kube_ask(k, o, "Content-Type: application/merge-patch+json", on_answer, k, &err);
	free(url);
	return k->patch.call ? 0 : err;
}
