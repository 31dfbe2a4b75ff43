/* SPDX-License-Identifier: Apache-2.0 */
/* probe_grpc.c - gRPC's own health protocol, grpc.health.v1.Health/Check: a POST over HTTP/2 with
 * one framed message each way and the result of the call in the trailers. SERVING passes, all else
 * is critical. The two messages have one field each, so they are written and read here. */
#include "probe.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAME_HEAD  5			/* octets before a message: compressed or not, length */
#define SERVICE_MAX WM_CHECK_TARGET_MAX /* octets of a service's name: it is part of the target */
#define VARINT_MAX  10			/* octets of a number: 64 bits, 7 in each */
#define REQUEST_MAX (FRAME_HEAD + 1 + VARINT_MAX + SERVICE_MAX)
#define ANSWER_MAX  1024 /* octets of an answer that are read: it has some seven */
#define SERVING	    1

/* --- messages --------------------------------------------------------------------------------- */

/* HealthCheckRequest { string service = 1; } in its frame. @return octets. */
static size_t put_request(uint8_t *to, const char *service)
{
	size_t len = strlen(service), n = FRAME_HEAD, left = len;

	if (len) {
		to[n++] = 1 << 3 | 2; /* field 1, with a length */
		for (; left >= 0x80; left >>= 7)
			to[n++] = (uint8_t)(left | 0x80);
		to[n++] = (uint8_t)left;
		memcpy(to + n, service, len);
		n += len;
	}
	to[0] = 0; /* not compressed */
	for (unsigned i = 0; i < 4; i++)
		to[1 + i] = (uint8_t)((n - FRAME_HEAD) >> (24 - 8 * i));
	return n;
}

static bool get_varint(const uint8_t **p, const uint8_t *end, uint64_t *ret)
{
	*ret = 0;
	for (unsigned i = 0; i < VARINT_MAX && *p < end; i++) {
		uint8_t octet = *(*p)++;

		*ret |= (uint64_t)(octet & 0x7f) << (7 * i);
		if (!(octet & 0x80))
			return true;
	}
	return false;
}

/* HealthCheckResponse { enum status = 1; }, and fields that later versions may add. */
bool wm_grpc_serving(const uint8_t *p, size_t n, uint64_t *ret)
{
	const uint8_t *end = p + n;
	uint64_t tag, skip, len = 0;

	*ret = 0; /* what is not sent is UNKNOWN */
	if (n < FRAME_HEAD || p[0])
		return false;
	for (unsigned i = 1; i < FRAME_HEAD; i++)
		len = len << 8 | p[i];
	p += FRAME_HEAD;
	if (len > (size_t)(end - p))
		return false;
	end = p + len;
	while (p < end) {
		if (!get_varint(&p, end, &tag))
			return false;
		skip = 0;
		switch (tag & 7) {
		case 0:
			if (!get_varint(&p, end, tag >> 3 == 1 ? ret : &skip))
				return false;
			skip = 0;
			break;
		case 1:
			skip = 8;
			break;
		case 2:
			if (!get_varint(&p, end, &skip))
				return false;
			break;
		case 5:
			skip = 4;
			break;
		default:
			return false;
		}
		if (skip > (size_t)(end - p))
			return false;
		p += skip;
	}
	return true;
}

/* --- the call --------------------------------------------------------------------------------- */

static const char *code_name(long code)
{
	static const char *const names[] = {"OK",
					    "Canceled",
					    "Unknown",
					    "InvalidArgument",
					    "DeadlineExceeded",
					    "NotFound",
					    "AlreadyExists",
					    "PermissionDenied",
					    "ResourceExhausted",
					    "FailedPrecondition",
					    "Aborted",
					    "OutOfRange",
					    "Unimplemented",
					    "Internal",
					    "Unavailable",
					    "DataLoss",
					    "Unauthenticated"};

	return code >= 0 && (size_t)code < WM_ARRAY_LEN(names) ? names[code] : "Unknown";
}

static const char *serving_name(uint64_t s)
{
	static const char *const names[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};

	return s < WM_ARRAY_LEN(names) ? names[s] : "a status that is not known";
}

static void judge_answer(struct wm_prober *p, const struct wm_http_answer *a)
{
	const char *status = wm_http_answer_header(a, "grpc-status");
	const char *message = wm_http_answer_header(a, "grpc-message");
	uint64_t serving = 0;
	long code;

	if (!status) {
		wm_prober_done(
			p, WM_CRITICAL,
			"gRPC %s: no gRPC server answers: HTTP status %ld without grpc-status",
			p->check->target, a->status);
		return;
	}
	code = strtol(status, NULL, 10);
	if (code || a->status != 200)
		wm_prober_done(p, WM_CRITICAL, "rpc error: code = %s desc = %s", code_name(code),
			       message ? message : "");
	else if (!wm_grpc_serving((const uint8_t *)a->body, a->body_len, &serving))
		wm_prober_done(p, WM_CRITICAL, "gRPC %s: the answer is no HealthCheckResponse",
			       p->check->target);
	else if (serving == SERVING)
		wm_prober_done(p, WM_PASSING, "gRPC check %s: success", p->check->target);
	else
		wm_prober_done(p, WM_CRITICAL, "gRPC application didn't report service healthy: %s",
			       serving_name(serving));
}

static void on_answer(void *arg, const struct wm_http_answer *a)
{
	struct wm_prober *p = arg;

	p->call = NULL;
	if (wm_probe_own_fault(a->error))
		wm_prober_skip(p);
	else if (a->error == -ETIMEDOUT)
		wm_prober_done(
			p, WM_CRITICAL,
			"rpc error: code = DeadlineExceeded desc = context deadline exceeded");
	else if (a->error)
		wm_prober_done(p, WM_CRITICAL, "rpc error: code = Unavailable desc = %s",
			       a->reason);
	else
		judge_answer(p, a);
}

static void grpc_prepare(struct wm_prober *p)
{
	p->family = 0;
}

static void grpc_cancel(struct wm_prober *p)
{
	wm_http_call_cancel(p->call);
	p->call = NULL;
}

static void grpc_start(struct wm_prober *p, uint64_t timeout_ms)
{
	static const char *const lines[] = {"Content-Type: application/grpc", "TE: trailers", NULL};
	const struct wm_check *c = p->check;
	size_t host = strcspn(c->target, "/");
	const char *service = c->target + host + (c->target[host] == '/');
	char url[WM_CHECK_TARGET_MAX + 64];
	uint8_t request[REQUEST_MAX];
	struct wm_http_call_options o = {.method = "POST",
					 .url = url,
					 .headers = lines,
					 .body = (const char *)request,
					 .timeout_ms = timeout_ms,
					 .answer_max = ANSWER_MAX,
					 .http2 = true,
					 .tls_skip_verify = c->tls_skip_verify,
					 .tls_server_name = c->tls_server_name,
					 .tls_ca_file = p->h->config.ca_file};
	int err = 0;

	o.body_len = put_request(request, service);
	snprintf(url, sizeof(url), "%s://%.*s/grpc.health.v1.Health/Check",
		 c->use_tls ? "https" : "http", (int)host, c->target);
	p->call = wm_http_call_start(p->h->http, &o, on_answer, p, &err);
	if (p->call)
		return;
	if (err == -EINVAL)
		wm_prober_done(p, WM_CRITICAL, "gRPC %s: address is not valid", c->target);
	else
		wm_prober_skip(p);
}

const struct wm_probe_kind wm_probe_grpc = {
	.prepare = grpc_prepare, .start = grpc_start, .cancel = grpc_cancel};
