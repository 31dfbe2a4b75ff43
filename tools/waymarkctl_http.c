/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_http.c - requests to the agent, and how a failure is told. */
#include "userspace/net/http_client.h"
#include "userspace/net/loop.h"
#include "waymarkctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define ANSWER_MAX (64u << 20) /* octets of an answer */
#define ERROR_MAX  1024	       /* octets of a failure's text */

int ctl_fail(const struct ctl *c, const char *fmt, ...)
{
	char text[ERROR_MAX + 256], plain[4 * sizeof(text)];
	json_t *doc;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	for (size_t n = strlen(text); n && text[n - 1] == '\n'; n--)
		text[n - 1] = '\0';
	wm_plain(text, plain, sizeof(plain));
	doc = c->json ? json_pack("{s:s}", "error", plain) : NULL;
	if (doc) {
		json_dumpf(doc, stderr, JSON_COMPACT | JSON_ENSURE_ASCII);
		fputc('\n', stderr);
	} else {
		fprintf(stderr, "waymarkctl: %s\n", plain);
	}
	json_decref(doc);
	return CTL_EXIT_FAILED;
}

size_t ctl_escape(char *path, size_t cap, const char *arg)
{
	size_t at = 0;

	for (; *arg && at + 4 < cap; arg++) {
		unsigned char c = (unsigned char)*arg;

		at += (size_t)snprintf(
			path + at, cap - at,
			c <= ' ' || c > '~' || strchr("%/?#&+\"<>", c) ? "%%%02X" : "%c", c);
	}
	return at;
}

bool ctl_path(const struct ctl *c, char path[CTL_PATH_MAX], const char *head, const char *id,
	      const char *tail)
{
	size_t at;

	if (!*id || strlen(id) > CTL_NAME_MAX) {
		ctl_fail(c, "a name of 1 to %d octets is wanted", CTL_NAME_MAX);
		return false;
	}
	at = (size_t)snprintf(path, CTL_PATH_MAX, "%s", head);
	at += ctl_escape(path + at, CTL_PATH_MAX - at, id);
	snprintf(path + at, CTL_PATH_MAX - at, "%s", tail);
	return true;
}

struct fetch {
	struct wm_loop *loop;
	json_t *doc;
	bool want_doc, done, reached;
	bool silent; /* its socket takes who connects, and no answer came */
	bool other;  /* who answers there is no agent of ours */
	int status;
	int (*on_data)(void *arg, const void *data, size_t len);
	void *data_arg;
	char error[ERROR_MAX];
};

static void on_answer(void *arg, const struct wm_http_answer *a)
{
	struct fetch *f = arg;
	json_error_t je;

	f->reached = !a->error;
	f->status = a->status;
	if (a->error)
		snprintf(f->error, sizeof(f->error), "%s", a->reason);
	else if (a->status != 200)
		snprintf(f->error, sizeof(f->error), "%s",
			 *a->body ? a->body : "the agent refused");
	else if (f->want_doc && !(f->doc = json_loadb(a->body, a->body_len, JSON_DECODE_ANY, &je)))
		snprintf(f->error, sizeof(f->error), "the answer is not JSON: %s", je.text);
	else
		f->done = true;
	wm_loop_stop(f->loop);
}

static int on_part(void *arg, const void *data, size_t len)
{
	struct fetch *f = arg;

	f->reached = true;
	return f->on_data(f->data_arg, data, len);
}

/* Why nobody is reached there; 0: somebody listens. */
static int socket_error(const char *path)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), err;

	snprintf(at.sun_path, sizeof(at.sun_path), "%s", path);
	err = fd < 0 || connect(fd, (struct sockaddr *)&at, sizeof(at)) ? errno : 0;
	if (fd >= 0)
		close(fd);
	return err;
}

static void call_at(const char *agent, const char *path, struct wm_http_call_options o,
		    struct fetch *f)
{
	bool local = strncmp(agent, "unix:", 5) == 0;
	struct wm_http_client *client;
	char url[3 * CTL_PATH_MAX + 1024];

	f->loop = wm_loop_new();
	client = f->loop ? wm_http_client_new(f->loop, 1) : NULL;
	if (local) /* unix:/path and unix:///path */
		o.unix_socket = agent + (strncmp(agent, "unix://", 7) == 0 ? 7 : 5);
	snprintf(url, sizeof(url), "%s%s%s",
		 local			? "http://localhost"
		 : strstr(agent, "://") ? ""
					: "http://",
		 local ? "" : agent, path);
	o.url = url;
	o.answer_max = ANSWER_MAX;
	o.on_data = f->on_data ? on_part : NULL;
	if (client && wm_http_call_start(client, &o, on_answer, f, NULL))
		wm_loop_run(f->loop);
	else
		snprintf(f->error, sizeof(f->error), "%.200s is no address of an agent", agent);
	if (local && !f->reached) { /* the library would speak of localhost */
		int err = socket_error(o.unix_socket);

		f->silent = !err;
		snprintf(f->error, sizeof(f->error), "%s",
			 err ? strerror(err) : "an agent listens there, but gives no answer");
	}
	wm_http_client_free(client);
	wm_loop_free(f->loop);
}

/* Is it another program that answers at an address, as a Consul agent does at its default port,
 * which is ours too? Not, where nobody answers. */
static bool is_other(const char *agent)
{
	struct wm_http_call_options o = {.timeout_ms = CTL_TIMEOUT_MS};
	struct fetch f = {0};

	call_at(agent, "/v1/waymark/live", o, &f);
	return f.reached && !f.done && (f.status == 404 || f.status / 100 == 3);
}

/* As call_at(), but what nobody named has to be an agent: before anything is written there, and
 * where the answer is none of ours. */
static void call_known(const struct ctl *c, const char *path, struct wm_http_call_options o,
		       struct fetch *f)
{
	bool guessed = !c->agent_named && strncmp(c->agent, "unix:", 5) != 0;
	bool writes = o.method && strcmp(o.method, "GET") != 0;

	f->other = guessed && writes && is_other(c->agent);
	if (!f->other) {
		call_at(c->agent, path, o, f);
		f->other = guessed && f->reached && !f->done && is_other(c->agent);
	}
	if (!f->other)
		return;
	f->reached = false;
	snprintf(f->error, sizeof(f->error),
		 "another program answers there, no waymarkd (a Consul agent?): name ours by -a");
}

/* @return whether it was done, else after a message. */
static bool call(const struct ctl *c, const char *path, struct wm_http_call_options o,
		 struct fetch *f, bool quiet)
{
	char first[ERROR_MAX];

	call_known(c, path, o, f);
	snprintf(first, sizeof(first), "%s", f->error);
	if (!f->done && !f->reached && !c->agent_named && strncmp(c->agent, "unix:", 5) != 0 &&
	    !access(CTL_SOCKET, F_OK)) {
		call_at("unix:" CTL_SOCKET, path, o, f);
		if (!f->reached)
			snprintf(f->error, sizeof(f->error), "%s", first);
		f->other = f->other && !f->reached;
		f->silent = false; /* the first is named */
	}
	if (f->done || quiet || c->quiet)
		return f->done;
	if (f->reached)
		ctl_fail(c, "%s", f->error);
	else if (f->silent || f->other)
		ctl_fail(c, "%s: %s", c->agent, f->error);
	else
		ctl_fail(c, "%s: %s: is waymarkd running?%s", c->agent, f->error,
			 c->agent_named || strncmp(c->agent, "unix:", 5) != 0
				 ? ""
				 : " if http.socket is another: -a unix:PATH");
	return false;
}

json_t *ctl_get(const struct ctl *c, const char *path, bool quiet)
{
	struct wm_http_call_options o = {.timeout_ms = CTL_TIMEOUT_MS};
	struct fetch f = {.want_doc = true};

	call(c, path, o, &f, quiet);
	return f.doc;
}

bool ctl_call(const struct ctl *c, const char *method, const char *path, uint64_t timeout_ms,
	      int (*on_data)(void *arg, const void *data, size_t len), void *arg)
{
	struct wm_http_call_options o = {.method = method, .timeout_ms = timeout_ms};
	struct fetch f = {.on_data = on_data, .data_arg = arg};

	return call(c, path, o, &f, false);
}

struct ctl ctl_over_socket(const struct ctl *c)
{
	struct ctl o = *c;

	if (!c->agent_named && !access(CTL_SOCKET, F_OK))
		o.agent = "unix:" CTL_SOCKET;
	return o;
}

bool ctl_send(const struct ctl *c, const char *method, const char *path, const char *body,
	      bool operator)
{
	struct ctl o = operator? ctl_over_socket(c) : * c;
	struct wm_http_call_options call_options = {
		.method = method, .body = body, .timeout_ms = CTL_TIMEOUT_MS};
	struct fetch f = {0};

	return call(&o, path, call_options, &f, false);
}

json_t *ctl_fetch_with(const struct ctl *c, const char *method, const char *path, const char *body)
{
	struct wm_http_call_options call_options = {
		.method = method, .body = body, .timeout_ms = CTL_TIMEOUT_MS};
	struct fetch f = {.want_doc = true};

	call(c, path, call_options, &f, false);
	return f.doc;
}

json_t *ctl_fetch_for(const struct ctl *c, const char *method, const char *path, const char *body,
		      uint64_t timeout_ms)
{
	struct ctl o = ctl_over_socket(c);
	struct wm_http_call_options call_options = {
		.method = method, .body = body, .timeout_ms = timeout_ms};
	struct fetch f = {.want_doc = true};

	call(&o, path, call_options, &f, false);
	return f.doc;
}

json_t *ctl_fetch(const struct ctl *c, const char *method, const char *path, uint64_t timeout_ms,
		  bool operator)
{
	struct ctl o = operator? ctl_over_socket(c) : * c;
	struct wm_http_call_options call_options = {.method = method, .timeout_ms = timeout_ms};
	struct fetch f = {.want_doc = true};

	call(&o, path, call_options, &f, false);
	return f.doc;
}

void ctl_lines_take(struct ctl_lines *l, const char *data, size_t len,
		    void (*fn)(void *arg, const char *line), void *arg)
{
	for (; len; data++, len--) {
		if (*data == '\n') {
			l->line[l->len] = '\0';
			l->len = 0;
			fn(arg, l->line);
		} else if (l->len < sizeof(l->line) - 1) {
			l->line[l->len++] = *data;
		}
	}
}

int ctl_print(const struct ctl *c, json_t *doc)
{
	if (!doc)
		return CTL_EXIT_FAILED;
	if (c->json) {
		json_dumpf(doc, stdout, JSON_INDENT(2) | JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
		putchar('\n');
	} else {
		ctl_render(doc, 0, stdout);
	}
	json_decref(doc);
	return 0;
}
