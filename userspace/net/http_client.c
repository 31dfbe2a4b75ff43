/* SPDX-License-Identifier: Apache-2.0 */
/* http_client.c - libcurl's multi interface on the loop: curl says which sockets and which time it
 * waits for, the loop watches them. Callers' callbacks run only after curl has returned, so they
 * may call back into the client. */
#include "http_client.h"

#include "userspace/base/clock.h"

#include <curl/curl.h>
#include <errno.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define REDIRECTS_MAX	5   /* hops: more is a loop */
#define DNS_CACHE_S	5L  /* seconds: probes of one host share an answer, changes show soon */
#define CA_CACHE_S	60L /* seconds: parsing Debian's bundle takes the loop 20 ms */
#define DRAIN_MAX	(1024 * 1024) /* octets read beyond answer_max: a server need not see a reset */
#define ANSWER_HEAD_MAX (64 * 1024) /* octets of an answer's headers, redirects included */
#define ANSWER_FIRST	512	    /* octets: first allocation for a body */
#define SPARE_MAX	64	    /* handles kept for the next call: some 10 KiB each */
#define PHRASE_MAX	64	    /* octets kept of a status line's phrase */

struct wm_http_call {
	struct wm_http_client *client;
	CURL *easy;
	struct curl_slist *headers, *connect_to;
	void (*fn)(void *arg, const struct wm_http_answer *a);
	int (*on_data)(void *arg, const void *data, size_t len);
	void *arg;
	char *body;
	size_t len, cap, max, beyond, head;
	uint64_t deadline_ms;
	/* a conversation after connect_only */
	int (*heard)(const void *data, size_t len, const char **ret_why);
	struct wm_io *io;
	struct wm_timer *timer;
	int talk_error; /* negative errno that ended it */
	size_t said, say_len;
	char say[WM_HTTP_SAY_MAX];
	bool running;	/* curl has it; else it is queued */
	bool finishing; /* its callback runs */
	bool stopped;	/* by on_data */
	char phrase[PHRASE_MAX];
	char error[CURL_ERROR_SIZE];
	TAILQ_ENTRY(wm_http_call) entry;
};
TAILQ_HEAD(calls, wm_http_call);

/* A socket of curl's that the loop watches. */
struct watch {
	struct wm_http_client *client;
	curl_socket_t fd;
	struct wm_io *io;
	LIST_ENTRY(watch) entry;
};

struct wm_http_client {
	struct wm_loop *loop;
	CURLM *multi;
	struct wm_timer *timer; /* curl's */
	struct wm_timer *kick;	/* ours: there are free places and queued calls */
	struct calls running, queued;
	LIST_HEAD(, watch) watches;
	CURL *spare[SPARE_MAX]; /* making one costs more than a call of it */
	unsigned spares;
	unsigned in_flight, calls, max;
	bool bundle;  /* the system's authorities are in one file */
	bool reaping; /* callbacks of finished calls run */
	bool dead;    /* freed from inside one of them */
};

/* --- what curl asks for ---------------------------------------------------------------------- */

static void reap(struct wm_http_client *c);

static void on_socket(void *arg, unsigned events)
{
	struct watch *w = arg;
	struct wm_http_client *c = w->client;
	int mask = 0, left;

	mask |= events & WM_IO_READ ? CURL_CSELECT_IN : 0;
	mask |= events & WM_IO_WRITE ? CURL_CSELECT_OUT : 0;
	/* w may be gone when this returns */
	curl_multi_socket_action(c->multi, w->fd, mask, &left);
	reap(c);
}

static void on_timer(void *arg)
{
	struct wm_http_client *c = arg;
	int left;

	curl_multi_socket_action(c->multi, CURL_SOCKET_TIMEOUT, 0, &left);
	reap(c);
}

static void on_kick(void *arg)
{
	reap(arg);
}

static void unwatch(struct watch *w)
{
	LIST_REMOVE(w, entry);
	wm_io_free(w->io);
	free(w);
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct wm_http_client *c = arg;
	struct watch *w = socket_arg;
	unsigned events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (w) {
			curl_multi_assign(c->multi, fd, NULL);
			unwatch(w);
		}
		return 0;
	}
	events |= what & CURL_POLL_IN ? WM_IO_READ : 0;
	events |= what & CURL_POLL_OUT ? WM_IO_WRITE : 0;
	if (w)
		return wm_io_set(w->io, events) ? -1 : 0;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -1;
	w->client = c;
	w->fd = fd;
	w->io = wm_io_new(c->loop, fd, events, on_socket, w);
	if (!w->io) {
		free(w);
		return -1;
	}
	LIST_INSERT_HEAD(&c->watches, w, entry);
	curl_multi_assign(c->multi, fd, w);
	return 0;
}

static int want_time(CURLM *multi, long ms, void *arg)
{
	struct wm_http_client *c = arg;

	(void)multi;
	if (ms < 0) {
		wm_timer_disarm(c->timer);
		return 0;
	}
	return wm_timer_arm(c->timer, (uint64_t)ms) ? -1 : 0;
}

static curl_socket_t open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	(void)arg;
	(void)purpose;
	return socket(a->family, a->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->protocol);
}

/* --- what curl delivers ---------------------------------------------------------------------- */

static bool reserve(struct wm_http_call *call, size_t need)
{
	size_t cap = call->cap ? call->cap : ANSWER_FIRST;
	char *p;

	if (need <= call->cap)
		return true;
	while (cap < need)
		cap *= 2;
	p = realloc(call->body, cap);
	if (!p)
		return false;
	call->body = p;
	call->cap = cap;
	return true;
}

static size_t on_body(char *data, size_t one, size_t n, void *arg)
{
	struct wm_http_call *call = arg;
	size_t len = one * n, keep = call->max - call->len;
	long status = 0;

	if (call->on_data)
		curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status == 200) {
		call->stopped = call->on_data(call->arg, data, len) != 0;
		return call->stopped ? 0 : len;
	}
	if (keep > len)
		keep = len;
	if (keep) {
		if (!reserve(call, call->len + keep + 1))
			return 0;
		memcpy(call->body + call->len, data, keep);
		call->len += keep;
		call->body[call->len] = '\0';
	}
	call->beyond += len - keep;
	return call->beyond > DRAIN_MAX ? 0 : len;
}

/* Keep the phrase of "HTTP/1.1 200 OK\r\n"; the last status line wins. */
static void take_phrase(struct wm_http_call *call, const char *line, size_t len)
{
	size_t at = 0, to = 0;

	for (int spaces = 0; at < len && spaces < 2; at++)
		spaces += line[at] == ' ';
	for (; at < len && to < PHRASE_MAX - 1; at++) {
		if (line[at] >= ' ' && line[at] < 0x7f)
			call->phrase[to++] = line[at];
	}
	call->phrase[to] = '\0';
}

static size_t on_header(char *data, size_t one, size_t n, void *arg)
{
	struct wm_http_call *call = arg;
	size_t len = one * n;

	call->head += len;
	if (call->head > ANSWER_HEAD_MAX)
		return 0;
	if (len > 5 && memcmp(data, "HTTP/", 5) == 0) {
		call->len = 0; /* the body of a redirect is not the answer's */
		take_phrase(call, data, len);
	}
	return len;
}

static int errno_of(struct wm_http_call *call, CURLcode code)
{
	long os = 0;

	switch ((int)code) {
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	case CURLE_COULDNT_CONNECT:
		curl_easy_getinfo(call->easy, CURLINFO_OS_ERRNO, &os);
		return os > 0 && os != EINPROGRESS ? (int)-os : -ECONNREFUSED;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -ENXIO;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	case CURLE_TOO_MANY_REDIRECTS:
		return -ELOOP;
	case CURLE_UNSUPPORTED_PROTOCOL:
		return -EPROTONOSUPPORT;
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
		return -ECONNRESET;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_WEIRD_SERVER_REPLY:
		return -EPROTO;
	default:
		return -EIO;
	}
}

static void answer_of(struct wm_http_call *call, CURLcode code, struct wm_http_answer *a)
{
	if (!code && call->talk_error) {
		*a = (struct wm_http_answer){
			.error = call->talk_error, .phrase = "", .body = "", .reason = call->error};
		return;
	}
	*a = (struct wm_http_answer){.body = call->body && call->len ? call->body : "",
				     .body_len = call->len,
				     .phrase = call->phrase,
				     .reason = "",
				     .call = call};
	/* an answer longer than we care to read is whole for us */
	if (code == CURLE_WRITE_ERROR && call->beyond > DRAIN_MAX)
		code = CURLE_OK;
	if (code == CURLE_OK) {
		curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &a->status);
		return;
	}
	if (code == CURLE_WRITE_ERROR && call->head > ANSWER_HEAD_MAX) {
		a->error = -EMSGSIZE;
		a->reason = "the answer's headers are too large";
		return;
	}
	if (call->stopped) {
		a->error = -EIO;
		a->reason = "the answer was not taken";
		return;
	}
	a->error = code == CURLE_WRITE_ERROR ? -ENOMEM : errno_of(call, code);
	a->reason = call->error[0] ? call->error : curl_easy_strerror(code);
}

/* --- life of a call -------------------------------------------------------------------------- */

/* Options go, and with them what the call held; nothing of a call is seen by the next. */
static void handle_put(struct wm_http_client *c, CURL *easy)
{
	if (!easy)
		return;
	if (c->dead || c->spares == SPARE_MAX) {
		curl_easy_cleanup(easy);
		return;
	}
	curl_easy_reset(easy);
	c->spare[c->spares++] = easy;
}

static void call_free(struct wm_http_call *call)
{
	handle_put(call->client, call->easy);
	curl_slist_free_all(call->headers);
	curl_slist_free_all(call->connect_to);
	free(call->body);
	free(call);
}

/* Take the call away from curl or from the queue. */
static void detach(struct wm_http_call *call)
{
	struct wm_http_client *c = call->client;

	c->calls--;
	if (!call->running) {
		TAILQ_REMOVE(&c->queued, call, entry);
		return;
	}
	TAILQ_REMOVE(&c->running, call, entry);
	c->in_flight--;
	wm_io_free(call->io); /* before curl closes what it watches */
	call->io = NULL;
	wm_timer_free(call->timer);
	call->timer = NULL;
	curl_multi_remove_handle(c->multi, call->easy);
}

/* Give the call to the caller and free it. The client may be dead afterwards. */
static void finish(struct wm_http_call *call, CURLcode code)
{
	struct wm_http_answer a;

	answer_of(call, code, &a);
	detach(call);
	call->finishing = true;
	call->fn(call->arg, &a);
	call_free(call);
}

static void start_queued(struct wm_http_client *c)
{
	struct wm_http_call *call;

	while (!c->dead && c->in_flight < c->max && (call = TAILQ_FIRST(&c->queued))) {
		TAILQ_REMOVE(&c->queued, call, entry);
		TAILQ_INSERT_TAIL(&c->running, call, entry);
		call->running = true;
		c->in_flight++;
		if (curl_multi_add_handle(c->multi, call->easy) != CURLM_OK)
			finish(call, CURLE_OUT_OF_MEMORY);
	}
}

static void client_destroy(struct wm_http_client *c)
{
	struct watch *w;

	while (c->spares)
		curl_easy_cleanup(c->spare[--c->spares]);
	if (c->multi)
		curl_multi_cleanup(c->multi);
	while ((w = LIST_FIRST(&c->watches)))
		unwatch(w);
	wm_timer_free(c->timer);
	wm_timer_free(c->kick);
	curl_global_cleanup();
	free(c);
}

/* --- a conversation on a connection that curl made -------------------------------------------- */

static void talk_failed(struct wm_http_call *call, int err, const char *why)
{
	call->talk_error = err;
	snprintf(call->error, sizeof(call->error), "%s", why);
}

/* Send what is left to be said. @return false: it failed. */
static bool speak(struct wm_http_call *call)
{
	while (call->said < call->say_len) {
		size_t n = 0;
		CURLcode code = curl_easy_send(call->easy, call->say + call->said,
					       call->say_len - call->said, &n);

		if (code == CURLE_AGAIN)
			return true;
		if (code) {
			talk_failed(call, errno_of(call, code), curl_easy_strerror(code));
			return false;
		}
		call->said += n;
	}
	return true;
}

/* Read what is there, ask whether it is enough. @return false: it is over, one way or the other. */
static bool listen_to(struct wm_http_call *call)
{
	for (;;) {
		const char *why = "";
		char data[1024];
		size_t n = 0;
		CURLcode code = curl_easy_recv(call->easy, data, sizeof(data), &n);
		int verdict;

		if (code == CURLE_AGAIN)
			return true;
		if (code || !n) {
			talk_failed(call, -ECONNRESET, "the server closed the connection");
			return false;
		}
		if (on_body(data, 1, n, call) != n) {
			talk_failed(call, -ENOMEM, "out of memory");
			return false;
		}
		verdict = call->heard(call->body, call->len, &why);
		if (!verdict && call->beyond) {
			verdict = -EMSGSIZE;
			why = "the server says too much";
		}
		if (verdict < 0)
			talk_failed(call, verdict, why);
		if (verdict)
			return false;
	}
}

static void finish_talk(struct wm_http_call *call)
{
	struct wm_http_client *c = call->client;

	c->reaping = true;
	finish(call, CURLE_OK);
	start_queued(c);
	c->reaping = false;
	if (c->dead)
		client_destroy(c);
}

static void on_talk(void *arg, unsigned events)
{
	struct wm_http_call *call = arg;

	(void)events;
	if (!speak(call) || !listen_to(call))
		finish_talk(call);
	else if (call->said == call->say_len)
		wm_io_set(call->io, WM_IO_READ);
}

static void on_talk_timeout(void *arg)
{
	struct wm_http_call *call = arg;

	talk_failed(call, -ETIMEDOUT, "timed out");
	finish_talk(call);
}

/* curl has connected; go on by ourselves. @return false: it is over. */
static bool talk(struct wm_http_call *call)
{
	uint64_t now = wm_clock_ms();
	curl_socket_t fd = CURL_SOCKET_BAD;

	if (curl_easy_getinfo(call->easy, CURLINFO_ACTIVESOCKET, &fd) || fd == CURL_SOCKET_BAD) {
		talk_failed(call, -ECONNRESET, "the connection is gone");
		return false;
	}
	call->timer = wm_timer_new(call->client->loop, on_talk_timeout, call);
	call->io = wm_io_new(call->client->loop, fd, WM_IO_READ | WM_IO_WRITE, on_talk, call);
	if (!call->timer || !call->io ||
	    wm_timer_arm(call->timer, call->deadline_ms > now ? call->deadline_ms - now : 0)) {
		talk_failed(call, -ENOMEM, "out of memory");
		return false;
	}
	return true;
}

/* Tell callers of finished calls, then fill the free places. */
static void reap(struct wm_http_client *c)
{
	CURLMsg *m;
	int left;

	c->reaping = true;
	while (!c->dead && (m = curl_multi_info_read(c->multi, &left))) {
		struct wm_http_call *call = NULL;
		CURLcode code = m->data.result;

		if (m->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, (char **)&call);
		if (code || !call->heard || !talk(call))
			finish(call, code);
	}
	start_queued(c);
	c->reaping = false;
	if (c->dead)
		client_destroy(c);
}

/* --- options of a call ------------------------------------------------------------------------ */

static bool one_line(const char *s)
{
	return !strpbrk(s, "\r\n");
}

static bool has_header(const struct wm_http_call_options *o, const char *name)
{
	size_t len = strlen(name);

	for (size_t i = 0; o->headers && o->headers[i]; i++) {
		if (strncasecmp(o->headers[i], name, len) == 0 && o->headers[i][len] == ':')
			return true;
	}
	return false;
}

static int add_line(struct curl_slist **list, const char *line)
{
	struct curl_slist *l = curl_slist_append(*list, line);

	if (!l)
		return -ENOMEM;
	*list = l;
	return 0;
}

/* curl takes "Name:" for "leave it out" and "Name;" for an empty value. */
static int add_header(struct wm_http_call *call, const char *line)
{
	const char *colon = strchr(line, ':');
	char *empty;
	int err;

	if (!colon || colon == line || !one_line(line))
		return -EINVAL;
	if (colon[1 + strspn(colon + 1, " \t")])
		return add_line(&call->headers, line);
	if (asprintf(&empty, "%.*s;", (int)(colon - line), line) < 0)
		return -ENOMEM;
	err = add_line(&call->headers, empty);
	free(empty);
	return err;
}

static int set_headers(struct wm_http_call *call, const struct wm_http_call_options *o)
{
	int err = 0;

	for (size_t i = 0; !err && o->headers && o->headers[i]; i++)
		err = i < WM_HTTP_CALL_HEADERS_MAX ? add_header(call, o->headers[i]) : -EINVAL;
	if (!err)
		err = add_line(&call->headers, "Expect:"); /* no round trip before the body */
	/* curl would call any body a form, and that of a POST that has none */
	if (!err && !has_header(o, "Content-Type"))
		err = add_line(&call->headers, "Content-Type:");
	return err;
}

static int set_method(struct wm_http_call *call, const struct wm_http_call_options *o)
{
	const char *method = o->method && *o->method ? o->method : "GET";
	bool post = strcmp(method, "POST") == 0, bad = false;
	const char *body = o->body;

	if (!one_line(method) || strchr(method, ' '))
		return -EINVAL;
	if (post && !body)
		body = "";
	if (body) {
		size_t len = o->body_len ? o->body_len : strlen(body);

		bad |= curl_easy_setopt(call->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)len) !=
		       CURLE_OK;
		bad |= curl_easy_setopt(call->easy, CURLOPT_COPYPOSTFIELDS, body) != CURLE_OK;
	}
	if (strcmp(method, "HEAD") == 0)
		bad |= curl_easy_setopt(call->easy, CURLOPT_NOBODY, 1L) != CURLE_OK;
	/* left to curl, a POST becomes a GET where a redirect says so */
	else if (!post && (body || strcmp(method, "GET") != 0))
		bad |= curl_easy_setopt(call->easy, CURLOPT_CUSTOMREQUEST, method) != CURLE_OK;
	return bad ? -ENOMEM : 0;
}

/* Dial the URL's host, but ask for another name in TLS: the URL gets that name, curl is told where
 * it lives, and the Host header keeps what the URL said. */
static int set_server_name(struct wm_http_call *call, const struct wm_http_call_options *o,
			   CURLU *u)
{
	char *host = NULL, *port = NULL, *explicit_port = NULL, *to = NULL, *line = NULL;
	int err = -ENOMEM;

	if (!one_line(o->tls_server_name))
		return -EINVAL;
	if (curl_url_get(u, CURLUPART_HOST, &host, 0) ||
	    curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT))
		goto out;
	curl_url_get(u, CURLUPART_PORT, &explicit_port, CURLU_NO_DEFAULT_PORT);
	if (asprintf(&to, "%s:%s:%s:%s", o->tls_server_name, port, host, port) < 0) {
		to = NULL;
		goto out;
	}
	if (asprintf(&line, "Host: %s%s%s", host, explicit_port ? ":" : "",
		     explicit_port ? explicit_port : "") < 0) {
		line = NULL;
		goto out;
	}
	if (curl_url_set(u, CURLUPART_HOST, o->tls_server_name, 0)) {
		err = -EINVAL;
		goto out;
	}
	err = add_line(&call->connect_to, to);
	if (!err && !has_header(o, "Host"))
		err = add_line(&call->headers, line);
	if (!err && curl_easy_setopt(call->easy, CURLOPT_CONNECT_TO, call->connect_to))
		err = -ENOMEM;
out:
	curl_free(host);
	curl_free(port);
	curl_free(explicit_port);
	free(to);
	free(line);
	return err;
}

static int set_url(struct wm_http_call *call, const struct wm_http_call_options *o)
{
	CURLU *u = curl_url();
	char *scheme = NULL, *url = NULL;
	int err = -EINVAL;

	if (!u)
		return -ENOMEM;
	if (!o->url || curl_url_set(u, CURLUPART_URL, o->url, 0) ||
	    curl_url_get(u, CURLUPART_SCHEME, &scheme, 0))
		goto out;
	if (strcasecmp(scheme, "http") != 0 && strcasecmp(scheme, "https") != 0)
		goto out;
	err = 0;
	if (o->tls_server_name && *o->tls_server_name && strcasecmp(scheme, "https") == 0)
		err = set_server_name(call, o, u);
	if (!err && (curl_url_get(u, CURLUPART_URL, &url, 0) ||
		     curl_easy_setopt(call->easy, CURLOPT_URL, url)))
		err = -ENOMEM;
out:
	curl_free(scheme);
	curl_free(url);
	curl_url_cleanup(u);
	return err;
}

/* curl keeps parsed authorities only when they come from a file alone, not from a directory too. */
static bool set_tls(struct wm_http_call *call, const struct wm_http_call_options *o)
{
	bool own = o->tls_ca_file && *o->tls_ca_file;
	CURL *e = call->easy;
	unsigned bad = 0;

	bad |= curl_easy_setopt(e, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) != CURLE_OK;
	bad |= curl_easy_setopt(e, CURLOPT_CA_CACHE_TIMEOUT, CA_CACHE_S) != CURLE_OK;
	if (own)
		bad |= curl_easy_setopt(e, CURLOPT_CAINFO, o->tls_ca_file) != CURLE_OK;
	if (own || call->client->bundle)
		bad |= curl_easy_setopt(e, CURLOPT_CAPATH, NULL) != CURLE_OK;
	if (o->tls_skip_verify) {
		bad |= curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 0L) != CURLE_OK;
		bad |= curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 0L) != CURLE_OK;
	}
	return !bad;
}

static long version_of(const struct wm_http_call_options *o)
{
	if (!o->http2)
		return CURL_HTTP_VERSION_1_1;
	return strncasecmp(o->url, "https:", 6) == 0 ? CURL_HTTP_VERSION_2TLS
						     : CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE;
}

/* Were curl to offer it, it would speak it as well. */
static CURLcode offer_http2(CURL *easy, void *ctx, void *arg)
{
	static const unsigned char protocols[] = "\2h2"; /* length, name: RFC 7301 */

	(void)easy;
	(void)arg;
	return SSL_CTX_set_alpn_protos(ctx, protocols, sizeof(protocols) - 1) ? CURLE_OUT_OF_MEMORY
									      : CURLE_OK;
}

static int set_options(struct wm_http_call *call, const struct wm_http_call_options *o)
{
	long ms = o->timeout_ms < 1	      ? 1
		  : o->timeout_ms > INT32_MAX ? INT32_MAX
					      : (long)o->timeout_ms;
	CURL *e = call->easy;
	unsigned bad = 0;

#define SET(option, value) (bad |= curl_easy_setopt(e, option, value) != CURLE_OK)
	SET(CURLOPT_PRIVATE, call);
	SET(CURLOPT_ERRORBUFFER, call->error);
	SET(CURLOPT_NOSIGNAL, 1L);
	SET(CURLOPT_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
	SET(CURLOPT_PROXY, ""); /* not even from the environment */
	SET(CURLOPT_NOPROXY, "*");
	SET(CURLOPT_HTTP_VERSION, version_of(o));
	SET(CURLOPT_FRESH_CONNECT, 1L);
	/* a conversation goes on after curl is done; what only connected is not used again anyway
	 */
	SET(CURLOPT_FORBID_REUSE, o->heard ? 0L : 1L);
	SET(CURLOPT_TIMEOUT_MS, ms);
	SET(CURLOPT_CONNECTTIMEOUT_MS, ms);
	SET(CURLOPT_DNS_CACHE_TIMEOUT, DNS_CACHE_S);
	SET(CURLOPT_QUICK_EXIT, 1L);	      /* do not wait for a resolver's thread */
	SET(CURLOPT_SSL_SESSIONID_CACHE, 0L); /* each handshake judges the certificate anew */
	SET(CURLOPT_USERAGENT, "waymark/" WM_VERSION);
	SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
	SET(CURLOPT_WRITEFUNCTION, on_body);
	SET(CURLOPT_WRITEDATA, call);
	SET(CURLOPT_HEADERFUNCTION, on_header);
	SET(CURLOPT_HEADERDATA, call);
	SET(CURLOPT_HTTPHEADER, call->headers);
	SET(CURLOPT_FOLLOWLOCATION, o->follow_redirects ? 1L : 0L);
	SET(CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
	if (o->unix_socket)
		SET(CURLOPT_UNIX_SOCKET_PATH, o->unix_socket);
	SET(CURLOPT_CONNECT_ONLY, o->connect_only ? 1L : 0L);
	/* what listens need not be HTTP, and may refuse who offers only that */
	SET(CURLOPT_SSL_ENABLE_ALPN, o->connect_only ? 0L : 1L);
	if (o->connect_only && o->http2)
		SET(CURLOPT_SSL_CTX_FUNCTION, offer_http2);
#undef SET
	return bad || !set_tls(call, o) ? -ENOMEM : 0;
}

/* --- public ----------------------------------------------------------------------------------- */

struct wm_http_client *wm_http_client_new(struct wm_loop *l, unsigned calls_max)
{
	const curl_version_info_data *v;
	struct wm_http_client *c;
	unsigned bad = 0;

	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		return NULL;
	v = curl_version_info(CURLVERSION_NOW);
	c = calloc(1, sizeof(*c));
	if (!c) {
		curl_global_cleanup();
		return NULL;
	}
	c->loop = l;
	c->max = calls_max ? calls_max : 1;
	c->bundle = v->cainfo && access(v->cainfo, R_OK) == 0;
	TAILQ_INIT(&c->running);
	TAILQ_INIT(&c->queued);
	LIST_INIT(&c->watches);
	c->timer = wm_timer_new(l, on_timer, c);
	c->kick = wm_timer_new(l, on_kick, c);
	c->multi = curl_multi_init();
	if (!c->timer || !c->kick || !c->multi)
		goto fail;
	bad |= curl_multi_setopt(c->multi, CURLMOPT_SOCKETFUNCTION, want_socket) != CURLM_OK;
	bad |= curl_multi_setopt(c->multi, CURLMOPT_SOCKETDATA, c) != CURLM_OK;
	bad |= curl_multi_setopt(c->multi, CURLMOPT_TIMERFUNCTION, want_time) != CURLM_OK;
	bad |= curl_multi_setopt(c->multi, CURLMOPT_TIMERDATA, c) != CURLM_OK;
	if (!bad)
		return c;
fail:
	client_destroy(c);
	return NULL;
}

void wm_http_client_free(struct wm_http_client *c)
{
	struct wm_http_call *call;

	if (!c || c->dead)
		return;
	while ((call = TAILQ_FIRST(&c->running)) || (call = TAILQ_FIRST(&c->queued))) {
		detach(call);
		call_free(call);
	}
	c->dead = true;
	if (!c->reaping)
		client_destroy(c);
}

struct wm_http_call *wm_http_call_start(struct wm_http_client *c,
					const struct wm_http_call_options *o,
					void (*fn)(void *arg, const struct wm_http_answer *a),
					void *arg, int *ret_err)
{
	struct wm_http_call *call = NULL;
	int err = -ENOSPC;

	if (c->dead || c->calls >= WM_HTTP_CALLS_MAX)
		goto out;
	err = -EINVAL;
	if (o->say_len > WM_HTTP_SAY_MAX)
		goto out;
	err = -ENOMEM;
	call = calloc(1, sizeof(*call));
	if (!call)
		goto out;
	call->client = c;
	call->fn = fn;
	call->arg = arg;
	call->max = o->answer_max;
	call->deadline_ms = wm_clock_ms() + o->timeout_ms;
	call->heard = o->heard;
	call->say_len = o->say_len;
	if (o->say_len)
		memcpy(call->say, o->say, o->say_len);
	call->on_data = o->on_data;
	call->easy = c->spares ? c->spare[--c->spares] : curl_easy_init();
	if (!call->easy)
		goto out;
	err = set_headers(call, o);
	if (!err)
		err = set_url(call, o);
	if (!err)
		err = set_method(call, o);
	if (!err)
		err = set_options(call, o);
	if (err)
		goto out;
	c->calls++;
	TAILQ_INSERT_TAIL(&c->queued, call, entry);
	/* from curl's own hands only when it waits anyway: a failure must not call back from here
	 */
	if (!c->reaping && c->in_flight < c->max)
		wm_timer_arm(c->kick, 0);
	return call;
out:
	if (call)
		call_free(call);
	if (ret_err)
		*ret_err = err;
	return NULL;
}

const char *wm_http_answer_header(const struct wm_http_answer *a, const char *name)
{
	struct curl_header *h = NULL;

	if (curl_easy_header(a->call->easy, name, 0, CURLH_HEADER | CURLH_TRAILER, -1, &h))
		return NULL;
	/* of several, any request for an index gives their number */
	if (h->amount > 1 && curl_easy_header(a->call->easy, name, h->amount - 1,
					      CURLH_HEADER | CURLH_TRAILER, -1, &h))
		return NULL;
	return h->value;
}

void wm_http_call_cancel(struct wm_http_call *call)
{
	struct wm_http_client *c;

	if (!call || call->finishing)
		return;
	c = call->client;
	detach(call);
	call_free(call);
	if (!c->reaping && !TAILQ_EMPTY(&c->queued))
		wm_timer_arm(c->kick, 0);
}
