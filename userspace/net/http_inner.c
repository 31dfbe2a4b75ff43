/* SPDX-License-Identifier: Apache-2.0 */
/* http_inner.c - requests that came over no socket: of another agent's client, over a stream of the
 * mesh. To a handler they are as others, over TCP from nowhere; the answer goes to a function. */
#include "http_internal.h"
#include "waymark/limits.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Path, query and body behind one another in the same memory. */
static struct wm_http_plain *plain_of(const char *target, const void *body, size_t len)
{
	size_t octets = strlen(target) + 1;
	struct wm_http_plain *p = malloc(sizeof(*p) + octets + len + 1);
	char *query;

	if (!p)
		return NULL;
	memset(p, 0, sizeof(*p));
	memcpy(p->text, target, octets);
	if (len)
		memcpy(p->text + octets, body, len);
	p->text[octets + len] = 0;
	query = strchr(p->text, '?');
	if (query)
		*query++ = 0;
	p->path = p->text;
	p->query = query;
	p->body = p->text + octets;
	p->body_len = len;
	return p;
}

static void inner_free(struct wm_http_request *r)
{
	free(r->params);
	free(r->plain);
	wm_buf_done(&r->head);
	free(r);
}

int wm_http_inner_new(const char *method, const char *target, const void *body, size_t len,
		      wm_http_answered fn, void *arg, struct wm_http_request **ret)
{
	unsigned m = wm_http_method_find(method, strlen(method));
	struct wm_http_request *r;
	int err;

	if (!wm_http_method_known(m) || *target != '/' || strlen(target) > WM_HTTP_HEADERS_MAX)
		return -EINVAL;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	wm_buf_init(&r->head, WM_HTTP_HEADERS_MAX);
	r->answered = fn;
	r->answered_arg = arg;
	r->plain = plain_of(target, body, len);
	err = r->plain ? 0 : -ENOMEM;
	if (!err) {
		r->plain->method = m;
		err = r->plain->query ? wm_http_parse_query(r, r->plain->query) : 0;
	}
	if (err) {
		inner_free(r);
		return err;
	}
	*ret = r;
	return 0;
}

bool wm_http_is_inner(const struct wm_http_request *r)
{
	return !r->conn;
}

void wm_http_inner_reply(struct wm_http_request *r, int status, const char *type, const void *body,
			 size_t len)
{
	r->answered(r->answered_arg, status, type, body, len);
	inner_free(r);
}

void wm_http_inner_abort(struct wm_http_request *r)
{
	if (r->on_abort)
		r->on_abort(r->abort_arg);
	inner_free(r);
}
