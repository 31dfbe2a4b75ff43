/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync */
/* fuzz_forward.c - requests that another agent passed on: the message as protobuf-c reads it, and
 * what is made of it, read as a handler reads it. Whatever comes: it is refused, or answered once.
 */
#include "check.h"
#include "userspace/net/http_server.h"
#include "userspace/sync/forward.pb-c.h"
#include "waymark/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned answers, aborts;

static void on_answer(void *arg, int status, const char *type, const void *body, size_t len)
{
	check(arg == &answers && status == 200 && type && len == 2 && memcmp(body, "ok", 2) == 0);
	answers++;
}

static void on_abort(void *arg)
{
	check(arg == &aborts);
	aborts++;
}

static void read_all(struct wm_http_request *r, size_t body_len)
{
	const char *name, *value, *path = wm_http_path(r), *query = wm_http_raw_query(r), *body;
	char segment[256];
	size_t pos = 0, len, params = 0;

	check(wm_http_is_inner(r) && !wm_http_is_local(r) && wm_http_peer_uid(r) == -1);
	check(path[0] == '/' && !strchr(path, '?') && wm_http_method(r));
	while (wm_http_query_next(r, &pos, &name, &value)) {
		check(strlen(name) + strlen(value) <= strlen(query));
		params++;
	}
	check(params <= WM_HTTP_PARAMS_MAX);
	if (wm_http_segment(path + 1, strcspn(path + 1, "/"), segment, sizeof(segment)))
		check(strlen(segment) < sizeof(segment));
	(void)wm_http_query(r, "node");
	check(!wm_http_header(r, "Host"));
	body = wm_http_body(r, &len);
	check(len == body_len && !body[len]);
	wm_http_on_abort(r, on_abort, &aborts);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	Waymark__Forward__Request *q = waymark__forward__request__unpack(NULL, size, data);
	Waymark__Forward__Reply *p = waymark__forward__reply__unpack(NULL, size, data);
	struct wm_http_request *r = NULL;
	int err;

	answers = aborts = 0;
	if (p)
		waymark__forward__reply__free_unpacked(p, NULL);
	if (!q)
		return 0;
	err = wm_http_inner_new(q->method, q->target, q->body.data, q->body.len, on_answer,
				&answers, &r);
	check(err <= 0 && !err == (r != NULL));
	if (r) {
		read_all(r, q->body.len);
		if (q->number % 2)
			wm_http_inner_abort(r);
		else
			wm_http_reply(r, 200, "text/plain", "ok", 2);
		check(answers + aborts == 1);
	}
	waymark__forward__request__free_unpacked(q, NULL);
	return 0;
}
