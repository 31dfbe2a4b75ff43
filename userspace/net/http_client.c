/* SPDX-License-Identifier: Apache-2.0 */
/* http_client.c - libcurl's multi interface on the loop: curl says which sockets and which time it
 * waits for, the loop watches them. Callers' callbacks run only after curl has returned, so they
 * may call back into the client. */
#include "http_client_internal.h"
#include "userspace/base/clock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define DRAIN_MAX	 (1024 * 1024) /* octets read beyond answer_max: a server need not see a reset */
#define ANSWER_HEAD_MAX	 (64 * 1024) /* octets of an answer's headers, redirects included */
#define KEEPALIVE_PROBES 3	     /* unanswered ones, then the peer is given up */
#define ANSWER_FIRST	 512	     /* octets: first allocation for a body */

/* A socket of curl's that the loop watches. */
struct wm_http_watch {
	struct wm_http_client *client;
	curl_socket_t fd;
	struct wm_io *io;
	LIST_ENTRY(wm_http_watch) entry;
};

/* --- what curl asks for ---------------------------------------------------------------------- */

static void reap(struct wm_http_client *c);

static void on_socket(void *arg, unsigned events)
{
	struct wm_http_watch *w = arg;
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

static void unwatch(struct wm_http_watch *w)
{
	LIST_REMOVE(w, entry);
	wm_io_free(w->io);
	free(w);
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
	struct wm_http_client *c = arg;
	struct wm_http_watch *w = socket_arg;
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

/* Refusals are no harm: the deadline of the call is there too. */
static void keep_alive(int fd, int seconds)
{
	int on = 1, probes = KEEPALIVE_PROBES;
	unsigned give_up_ms = (unsigned)(seconds * (KEEPALIVE_PROBES + 1)) * 1000;

	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof(seconds));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof(seconds));
	setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof(probes));
	/* probes do not run while something sent waits to be acknowledged */
	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &give_up_ms, sizeof(give_up_ms));
}

curl_socket_t wm_http_call_open_socket(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
	const struct wm_http_call *call = arg;
	curl_socket_t fd =
		socket(a->family, a->socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, a->protocol);

	(void)purpose;
	if (fd >= 0 && call->keepalive_s && a->family != AF_UNIX)
		keep_alive(fd, (int)call->keepalive_s);
	return fd;
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

size_t wm_http_call_on_body(char *data, size_t one, size_t n, void *arg)
{
	struct wm_http_call *call = arg;
	size_t len = one * n, keep = call->max - call->len;
	long status = 0;

	if (call->on_data)
		curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status == 200) {
		int verdict = call->on_data(call->arg, data, len);

		if (verdict == WM_HTTP_LATER)
			return CURL_WRITEFUNC_PAUSE;
		call->stopped = verdict != 0;
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
static void keep_phrase(struct wm_http_call *call, const char *line, size_t len)
{
	size_t at = 0, to = 0;

	for (int spaces = 0; at < len && spaces < 2; at++)
		spaces += line[at] == ' ';
	for (; at < len && to < WM_HTTP_PHRASE_MAX - 1; at++) {
		if (line[at] >= ' ' && line[at] < 0x7f)
			call->phrase[to++] = line[at];
	}
	call->phrase[to] = '\0';
}

/* An empty line ends them; those of a 100 are not the answer's. */
static void heads_end(struct wm_http_call *call)
{
	struct curl_header *type = NULL;
	long status = 0;

	curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status);
	if (status < 200)
		return;
	if (curl_easy_header(call->easy, "Content-Type", 0, CURLH_HEADER, -1, &type))
		type = NULL;
	call->on_head(call->arg, status, type ? type->value : "");
}

size_t wm_http_call_on_header(char *data, size_t one, size_t n, void *arg)
{
	struct wm_http_call *call = arg;
	size_t len = one * n;

	call->head += len;
	if (call->head > ANSWER_HEAD_MAX)
		return 0;
	if (len > 5 && memcmp(data, "HTTP/", 5) == 0) {
		call->len = 0; /* the body of a redirect is not the answer's */
		keep_phrase(call, data, len);
	}
	if (call->on_head && len <= 2 && (*data == '\r' || *data == '\n'))
		heads_end(call);
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
	if (c->dead || c->spares == WM_HTTP_SPARE_MAX) {
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
	curl_slist_free_all(call->resolved);
	free(call->dial);
	free(call->dial_as);
	free(call->body);
	free(call);
}

/* Take the call away from curl or from the queue. */
static void detach(struct wm_http_call *call)
{
	struct wm_http_client *c = call->client;

	c->calls--;
	if (!call->running) {
		TAILQ_REMOVE(call->lookup ? &c->looking : &c->queued, call, entry);
		wm_timer_free(call->timer);
		call->timer = NULL;
		wm_lookup_cancel(call->lookup);
		call->lookup = NULL;
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
	struct wm_http_watch *w;

	while (c->spares)
		curl_easy_cleanup(c->spare[--c->spares]);
	if (c->multi)
		curl_multi_cleanup(c->multi);
	while ((w = LIST_FIRST(&c->watches)))
		unwatch(w);
	wm_timer_free(c->timer);
	wm_timer_free(c->kick);
	wm_resolver_free(c->resolver);
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

/* Read what has arrived, ask whether it is enough. @return false: it is over, one way or the other.
 */
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
		if (wm_http_call_on_body(data, 1, n, call) != n) {
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

/* --- names: curl's own resolver has a thread for each, and no end of them -----------------------
 */

/* Where the call goes to now: to the host of its URL, or of where that was redirected to. Sets host
 * and port. @return false: an address, or no name at all. */
static bool host_of(struct wm_http_call *call)
{
	unsigned char any[sizeof(struct in_addr)];
	char *url = NULL, *host = NULL, *port = NULL;
	CURLU *u = curl_url();
	bool ok;

	ok = u && !curl_easy_getinfo(call->easy, CURLINFO_EFFECTIVE_URL, &url) && url &&
	     !curl_url_set(u, CURLUPART_URL, url, 0) &&
	     !curl_url_get(u, CURLUPART_HOST, &host, 0) &&
	     !curl_url_get(u, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT);
	if (ok) {
		/* the URL has the name for TLS: see set_server_name() */
		bool other = call->dial && strcasecmp(host, call->dial_as) == 0;

		snprintf(call->host, sizeof(call->host), "%s", other ? call->dial : host);
		snprintf(call->port, sizeof(call->port), "%s", port);
		ok = *call->host != '[' && inet_pton(AF_INET, call->host, any) != 1;
	}
	curl_free(host);
	curl_free(port);
	curl_url_cleanup(u);
	return ok;
}

/* curl is about to look a name up: stop it. It takes the call up again when the name is known. */
int wm_http_call_on_resolve(void *state, void *reserved, void *arg)
{
	struct wm_http_call *call = arg;

	(void)state;
	(void)reserved;
	call->unknown = host_of(call);
	return call->unknown;
}

static void resolve_failed(struct wm_http_call *call, int error)
{
	snprintf(call->error, sizeof(call->error), "Could not resolve host: %.180s%s", call->host,
		 error == -ENODATA ? " (no answer from the name servers)" : "");
	call->talk_error = error;
}

/* "+host:port:address,address": an entry of curl's cache that is not for ever. */
static int give_addresses(struct wm_http_call *call, const struct wm_resolver_answer *a)
{
	char text[WM_RESOLVER_NAME_MAX + 16 + WM_RESOLVER_ADDRS_MAX * (INET6_ADDRSTRLEN + 3)];
	size_t n = (size_t)snprintf(text, sizeof(text), "+%s:%s:", call->host, call->port);

	for (unsigned i = 0; i < a->count && n < sizeof(text); i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n,
				      strchr(a->addrs[i], ':') ? "%s[%s]" : "%s%s", i ? "," : "",
				      a->addrs[i]);
	return n < sizeof(text) ? wm_http_add_line(&call->resolved, text) : -ENOMEM;
}

static void on_looked_up(void *arg, const struct wm_resolver_answer *a)
{
	struct wm_http_call *call = arg;
	struct wm_http_client *c = call->client;
	uint64_t now = wm_clock_ms();
	long left = call->deadline_ms > now ? (long)(call->deadline_ms - now) : 1;
	int error = a->error;

	call->lookup = NULL;
	TAILQ_REMOVE(&c->looking, call, entry);
	TAILQ_INSERT_HEAD(&c->queued, call, entry); /* it had its turn */
	wm_timer_free(call->timer);
	call->timer = NULL;
	if (!error)
		error = give_addresses(call, a);
	if (!error && (curl_easy_setopt(call->easy, CURLOPT_RESOLVE, call->resolved) ||
		       curl_easy_setopt(call->easy, CURLOPT_TIMEOUT_MS, left)))
		error = -ENOMEM;
	if (!error) {
		wm_timer_arm(c->kick, 0);
		return;
	}
	resolve_failed(call, error);
	finish_talk(call);
}

static void on_lookup_timeout(void *arg)
{
	struct wm_http_call *call = arg;

	talk_failed(call, -ETIMEDOUT, "timed out: no answer from the name servers");
	finish_talk(call);
}

/* Take the call from curl and ask for the name. @return false: it failed. */
static bool look_up(struct wm_http_call *call)
{
	struct wm_http_client *c = call->client;
	uint64_t now = wm_clock_ms();

	call->unknown = false;
	if (++call->lookups > WM_HTTP_REDIRECTS_MAX + 1)
		return false;
	wm_http_client_resolver(c);
	call->timer = wm_timer_new(c->loop, on_lookup_timeout, call);
	if (c->resolver && call->timer &&
	    !wm_timer_arm(call->timer, call->deadline_ms > now ? call->deadline_ms - now : 0))
		call->lookup = wm_resolver_ask(c->resolver, call->host, on_looked_up, call);
	if (!call->lookup) {
		resolve_failed(call, -ENOMEM);
		return false;
	}
	TAILQ_REMOVE(&c->running, call, entry);
	TAILQ_INSERT_TAIL(&c->looking, call, entry);
	c->in_flight--;
	call->running = false;
	curl_multi_remove_handle(c->multi, call->easy);
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
		if (code && call->unknown) {
			if (!look_up(call))
				finish(call, call->talk_error ? CURLE_OK : code);
		} else if (code || !call->heard || !talk(call)) {
			finish(call, code);
		}
	}
	start_queued(c);
	c->reaping = false;
	if (c->dead)
		client_destroy(c);
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
	TAILQ_INIT(&c->looking);
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

void wm_http_client_resolve(struct wm_http_client *c, const struct wm_resolver_config *r)
{
	c->resolving = *r;
}

struct wm_resolver *wm_http_client_resolver(struct wm_http_client *c)
{
	if (!c->resolver)
		c->resolver = wm_resolver_new(c->loop, &c->resolving);
	return c->resolver;
}

uint64_t wm_http_client_questions(const struct wm_http_client *c)
{
	return c->resolver ? wm_resolver_questions(c->resolver) : 0;
}

void wm_http_client_free(struct wm_http_client *c)
{
	struct wm_http_call *call;

	if (!c || c->dead)
		return;
	while ((call = TAILQ_FIRST(&c->running)) || (call = TAILQ_FIRST(&c->queued)) ||
	       (call = TAILQ_FIRST(&c->looking))) {
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
	call->on_head = o->on_head;
	call->keepalive_s = o->tcp_keepalive_s;
	call->easy = c->spares ? c->spare[--c->spares] : curl_easy_init();
	if (!call->easy)
		goto out;
	err = wm_http_call_set(call, o);
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

void wm_http_call_resume(struct wm_http_call *call)
{
	if (call->running && !call->finishing)
		curl_easy_pause(call->easy, CURLPAUSE_CONT);
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
