/* SPDX-License-Identifier: Apache-2.0 */
/* http_server.c - listeners, connections, their caps and their deadlines. evhttp parses; it
 * bounds headers and bodies by size and a read by inactivity, which a client that sends an octet a
 * second evades. So every connection has one absolute deadline here, looked after by one sweep.
 */
#include "http_internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/err.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/listener.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG		1024	    /* connections that wait for accept() */
#define SWEEPS_PER_TIME 8	    /* sweeps in the shortest timeout: it is kept to an eighth */
#define SWEEP_MIN_MS	10	    /* a sweep visits every connection */
#define SWEEP_MAX_MS	1000	    /* and once a second costs nothing at ten thousand */
#define READ_AHEAD	(64 * 1024) /* octets taken from a client beyond one whole request */
#define METHODS_ALL	0xffff	    /* evhttp refuses none: we answer 405 in our own words */

static void drop_peer(struct wm_http_server *s, struct wm_http_conn *c)
{
	struct wm_http_peer *p = c->peer;

	c->peer = NULL;
	if (!p || --p->connections)
		return;
	wm_map_del(s->peers, &p->address, sizeof(p->address));
	free(p);
}

static struct wm_http_peer *take_peer(struct wm_http_server *s, const struct in6_addr *a)
{
	struct wm_http_peer *p = wm_map_get(s->peers, a, sizeof(*a));

	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return NULL;
		p->address = *a;
		if (wm_map_put(s->peers, &p->address, sizeof(p->address), p, NULL)) {
			free(p);
			return NULL;
		}
	}
	p->connections++;
	return p;
}

/* --- connections ------------------------------------------------------------------------------ */

void wm_http_hold(struct wm_http_conn *c, size_t n)
{
	c->server->memory += n;
	c->server->memory -= c->held;
	c->held = n;
}

static void forget(struct wm_http_conn *c)
{
	struct wm_http_server *s = c->server;

	wm_http_hold(c, 0);
	wm_map_del(s->by_bev, &c->key, sizeof(c->key));
	drop_peer(s, c);
	s->count--;
	wm_http_conn_close(c);
	TAILQ_INSERT_TAIL(&s->dead, c, entry);
	event_active(s->bury, EV_TIMEOUT, 0);
}

/* evhttp shuts the descriptor down after it said that it is about to: not before that may another
 * have its number. */
static void on_bury(evutil_socket_t fd, short what, void *arg)
{
	struct wm_http_server *s = arg;
	struct wm_http_conn *c;

	(void)fd;
	(void)what;
	while ((c = TAILQ_FIRST(&s->dead))) {
		TAILQ_REMOVE(&s->dead, c, entry);
		wm_http_conn_free(c);
	}
}

/* evhttp is about to free the connection, whoever closed it. */
static void on_close(struct evhttp_connection *evcon, void *arg)
{
	struct wm_http_conn *c = arg;

	(void)evcon;
	if (c->request)
		wm_http_request_abort(c->request);
	if (c->sent)
		TAILQ_REMOVE(&c->server->sent, c, sent_entry);
	TAILQ_REMOVE(&c->server->conns, c, entry);
	forget(c);
}

/* Does the empty line behind the headers stand in @p b, and within what evhttp takes? It takes out
 * line by line. Only to tell, when it refuses a size, what was too large. What came before the last
 * @p fresh octets was looked through when it came: else a client that sends its request in small
 * pieces had all of it looked through at each. */
static bool headers_end(struct wm_http_conn *c, struct evbuffer *b, size_t fresh)
{
	size_t length = evbuffer_get_length(b), before = c->received - length; /* taken out */
	size_t room = 2 * c->server->lim.headers_max;
	size_t seen = length > fresh + 2 ? length - fresh - 2 : 0; /* the end may lie across */
	struct evbuffer_ptr from, crlf, lf;
	char first[2] = "";

	evbuffer_ptr_set(b, &from, seen, EVBUFFER_PTR_SET);
	crlf = evbuffer_search(b, "\n\r\n", 3, &from);
	lf = evbuffer_search(b, "\n\n", 2, &from);
	c->server->searched += length - seen;
	evbuffer_copyout(b, first, sizeof(first));
	if (first[0] == '\n' || (first[0] == '\r' && first[1] == '\n'))
		return before <= room;
	return (crlf.pos >= 0 && before + (size_t)crlf.pos <= room) ||
	       (lf.pos >= 0 && before + (size_t)lf.pos <= room);
}

/* A request begins with its first octet: from there on its deadline runs. */
static void on_input(struct evbuffer *b, const struct evbuffer_cb_info *info, void *arg)
{
	struct wm_http_conn *c = arg;
	size_t fresh = info->n_added;

	if (!info->n_added)
		return;
	if (c->phase == WM_HTTP_IDLE) {
		fresh = evbuffer_get_length(b); /* some may have come behind the request before */
		c->phase = WM_HTTP_RECEIVING;
		c->headed = false;
		c->received = evbuffer_get_length(b) - info->n_added;
		if (!c->over)
			c->deadline_ms = wm_clock_ms() + c->server->lim.read_timeout_ms;
	}
	c->received += info->n_added;
	if (c->phase != WM_HTTP_RECEIVING)
		return;
	if (!c->headed)
		c->headed = headers_end(c, b, fresh);
	wm_http_hold(c, c->received);
	if (c->received <= WM_HTTP_SMALL || c->server->memory <= c->server->lim.memory_max)
		return;
	c->shed = true; /* not in a callback of its own buffer */
	event_active(c->server->reword, EV_TIMEOUT, 0);
}

/* No handler has a request, so it is evhttp that answers: with "100 Continue", or with an error and
 * a page of HTML. The page is looked at when evhttp has written all of it, and before the socket
 * takes it: events that are made active run before the loop asks for sockets that are ready. */
static void on_output(struct evbuffer *b, const struct evbuffer_cb_info *info, void *arg)
{
	struct wm_http_conn *c = arg;

	(void)b;
	if (!info->n_added || c->phase == WM_HTTP_SERVING || c->phase == WM_HTTP_SENDING)
		return;
	c->spoke = true;
	event_active(c->server->reword, EV_TIMEOUT, 0);
}

/* There is no room for the rest of a request. evhttp has not asked us yet, so the answer goes out
 * past it, as far as the stream takes it. */
static void shed(struct wm_http_conn *c)
{
	static const char text[] = "HTTP/1.1 503 Service Unavailable\r\n"
				   "Content-Type: text/plain; charset=utf-8\r\n"
				   "Content-Length: 37\r\nRetry-After: 1\r\n"
				   "Connection: close\r\n\r\nToo much is being received, try again";
	struct iovec part = {(char *)(uintptr_t)text, sizeof(text) - 1};

	c->server->counters[WM_HTTP_NO_ROOM]++;
	wm_http_conn_write(c, &part, 1, NULL);
	evhttp_connection_free(c->evcon);
}

static void on_reword(evutil_socket_t fd, short what, void *arg)
{
	struct wm_http_server *s = arg;
	struct wm_http_conn *c, *next;

	(void)fd;
	(void)what;
	/* rare, and it costs what a sweep does */
	for (c = TAILQ_FIRST(&s->conns); c; c = next) {
		next = TAILQ_NEXT(c, entry);
		if (c->shed && c->phase == WM_HTTP_RECEIVING) {
			shed(c);
			continue;
		}
		if (c->spoke)
			wm_http_reword(c);
		c->spoke = c->shed = false;
	}
}

static void on_finish(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	wm_http_finish(arg);
}

static bool came_to(int fd, uint16_t port)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} a;
	socklen_t len = sizeof(a);

	memset(&a, 0, sizeof(a));
	if (!port || getsockname(fd, &a.sa, &len))
		return false;
	return ntohs(a.sa.sa_family == AF_INET6 ? a.in6.sin6_port : a.in.sin_port) == port;
}

void wm_http_narrow(struct wm_http_server *s, uint16_t port)
{
	s->narrow_port = port;
}

/* Who is it, and at which door? @return 0, or negative when there is no peer any more. */
static int identify(struct wm_http_conn *c, int fd)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
		struct sockaddr_un un;
	} a;
	socklen_t len = sizeof(a);
	struct ucred who;
	struct in6_addr key = {0};
	int one = 1;

	memset(&a, 0, sizeof(a));
	if (fd < 0 || getpeername(fd, &a.sa, &len))
		return -ENOTCONN;
	if (a.sa.sa_family == AF_UNIX) {
		len = sizeof(who);
		c->local = true;
		if (!getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len))
			c->uid = (long)who.uid;
		return 0;
	}
	c->narrow = came_to(fd, c->server->narrow_port);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (a.sa.sa_family == AF_INET6) {
		key = a.in6.sin6_addr;
	} else {
		key.s6_addr[10] = key.s6_addr[11] = 0xff;
		memcpy(&key.s6_addr[12], &a.in.sin_addr, 4);
	}
	c->peer = take_peer(c->server, &key);
	return c->peer ? 0 : -ENOMEM;
}

/* evhttp hands out no connection before its first request, but a client that never sends one must
 * be counted and timed too. It is the argument of the callbacks that evhttp has set. */
static struct evhttp_connection *connection_of(struct bufferevent *bev)
{
	bufferevent_data_cb read_cb = NULL, write_cb = NULL;
	bufferevent_event_cb event_cb = NULL;
	void *arg = NULL;

	bufferevent_getcb(bev, &read_cb, &write_cb, &event_cb, &arg);
	if (!arg || !event_cb || evhttp_connection_get_bufferevent(arg) != bev)
		return NULL;
	return arg;
}

static void admit(struct wm_http_conn *c)
{
	struct wm_http_server *s = c->server;
	struct bufferevent *bev = c->bev;
	struct evhttp_connection *evcon;
	int err;

	TAILQ_REMOVE(&s->fresh, c, entry);
	evcon = connection_of(bev);
	if (!evcon) { /* evhttp gave up on it */
		forget(c);
		bufferevent_decref(bev);
		return;
	}
	TAILQ_INSERT_TAIL(&s->conns, c, entry);
	c->evcon = evcon;
	evhttp_connection_set_closecb(evcon, on_close, c);
	bufferevent_decref(bev);
	s->counters[WM_HTTP_ACCEPTED]++;
	err = identify(c, bufferevent_getfd(bev));
	if (!err)
		err = wm_http_conn_open(c);
	c->over = s->count > s->lim.connections_max ||
		  (c->peer && c->peer->connections > s->lim.per_address_max);
	if (c->over)
		s->counters[WM_HTTP_OVER_LIMIT]++;
	if (err == -ENOMEM)
		s->counters[WM_HTTP_NO_MEMORY]++;
	if (err || s->count > s->lim.connections_max + WM_HTTP_OVER_MAX ||
	    (c->peer && c->peer->connections > s->lim.per_address_max + WM_HTTP_OVER_MAX)) {
		evhttp_connection_free(evcon);
		return;
	}
	c->deadline_ms = wm_clock_ms() + (c->over ? WM_HTTP_OVER_MS : s->lim.read_timeout_ms);
	evbuffer_add_cb(bufferevent_get_input(bev), on_input, c);
	evbuffer_add_cb(bufferevent_get_output(bev), on_output, c);
}

static void on_admit(evutil_socket_t fd, short what, void *arg)
{
	struct wm_http_server *s = arg;
	struct wm_http_conn *c;

	(void)fd;
	(void)what;
	while ((c = TAILQ_FIRST(&s->fresh)))
		admit(c);
}

/* evhttp asks for a bufferevent for a connection that it has just accepted. */
static struct bufferevent *on_accept(struct event_base *base, void *arg)
{
	struct wm_http_server *s = arg;
	struct bufferevent *bev;
	struct wm_http_conn *c;

	/* a burst comes in one turn: the ones before this know their socket by now */
	on_admit(-1, 0, s);
	bev = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
	c = calloc(1, sizeof(*c));
	if (bev && c) {
		c->bev = bev;
		c->key = (uintptr_t)bev;
		c->server = s;
		c->stream = (struct wm_stream){.kind = s->kind, .fd = -1};
		c->uid = -1;
	}
	if (!bev || !c || wm_map_put(s->by_bev, &c->key, sizeof(c->key), c, NULL)) {
		/* evhttp makes a bufferevent of its own, and wm_http_on_request() refuses it */
		s->counters[WM_HTTP_NO_MEMORY]++;
		if (bev)
			bufferevent_free(bev);
		free(c);
		return NULL;
	}
	bufferevent_incref(bev);
	TAILQ_INSERT_TAIL(&s->fresh, c, entry);
	s->count++;
	event_active(s->admit, EV_TIMEOUT, 0);
	return bev;
}

struct wm_http_conn *wm_http_conn_of(struct wm_http_server *s, struct evhttp_connection *evcon)
{
	uintptr_t key = (uintptr_t)evhttp_connection_get_bufferevent(evcon);
	struct wm_http_conn *c = wm_map_get(s->by_bev, &key, sizeof(key));

	if (c && !c->evcon) {
		admit(c);
		c = wm_map_get(s->by_bev, &key, sizeof(key));
	}
	return c;
}

static void enable_listeners(struct wm_http_server *s)
{
	struct wm_http_listener *l;

	TAILQ_FOREACH (l, &s->listeners, entry)
		evconnlistener_enable(evhttp_bound_socket_get_listener(l->bound));
}

static void on_sweep(void *arg)
{
	struct wm_http_server *s = arg;
	struct wm_http_conn *c, *next;
	uint64_t now = wm_clock_ms();

	for (c = TAILQ_FIRST(&s->conns); c; c = next) {
		next = TAILQ_NEXT(c, entry);
		if (c->deadline_ms && now >= c->deadline_ms) {
			s->counters[WM_HTTP_DEADLINE]++;
			evhttp_connection_free(c->evcon);
		}
	}
	enable_listeners(s);
	wm_timer_tick(s->sweep, s->sweep_ms);
}

/* --- the server --------------------------------------------------------------------------------
 */

static uint64_t sweep_interval(const struct wm_http_limits *lim)
{
	uint64_t ms = lim->read_timeout_ms < lim->write_timeout_ms ? lim->read_timeout_ms
								   : lim->write_timeout_ms;

	ms /= SWEEPS_PER_TIME;
	return ms < SWEEP_MIN_MS ? SWEEP_MIN_MS : ms > SWEEP_MAX_MS ? SWEEP_MAX_MS : ms;
}

/* Of time the sweep keeps account: evhttp's timeouts would be timers of every connection. */
static void set_limits(struct wm_http_server *s)
{
	const struct wm_http_limits *lim = &s->lim;

	s->input_max = 2 * (lim->body_max + lim->headers_max) + READ_AHEAD;
	/* what is over the limit but below twice that is refused by us, with a sentence */
	evhttp_set_max_headers_size(s->http, (ev_ssize_t)(2 * lim->headers_max));
	evhttp_set_max_body_size(s->http, (ev_ssize_t)(2 * lim->body_max));
	evhttp_set_allowed_methods(s->http, METHODS_ALL);
	evhttp_set_default_content_type(s->http, NULL);
	evhttp_set_flags(s->http, EVHTTP_SERVER_LINGERING_CLOSE);
	evhttp_set_bevcb(s->http, on_accept, s);
	evhttp_set_gencb(s->http, wm_http_on_request, s);
}

struct wm_http_server *wm_http_server_new(struct wm_loop *l, const struct wm_http_limits *lim,
					  wm_http_handler fn, void *arg)
{
	struct wm_http_server *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->loop = l;
	s->lim = *lim;
	if (!s->lim.memory_max)
		s->lim.memory_max = WM_HTTP_MEMORY_MAX;
	s->fn = fn;
	s->arg = arg;
	s->sweep_ms = sweep_interval(lim);
	TAILQ_INIT(&s->listeners);
	TAILQ_INIT(&s->fresh);
	TAILQ_INIT(&s->conns);
	TAILQ_INIT(&s->sent);
	TAILQ_INIT(&s->dead);
	s->kind = &wm_stream_socket;
	s->gone_fd = -1;
	s->http = evhttp_new(wm_loop_base(l));
	s->by_bev = wm_map_new(lim->connections_max + 2 * WM_HTTP_OVER_MAX);
	s->peers = wm_map_new(lim->connections_max + 2 * WM_HTTP_OVER_MAX);
	s->admit = event_new(wm_loop_base(l), -1, 0, on_admit, s);
	s->reword = event_new(wm_loop_base(l), -1, 0, on_reword, s);
	s->gone_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->gone_fd >= 0)
		s->gone = event_new(wm_loop_base(l), s->gone_fd, EV_READ | EV_PERSIST,
				    wm_http_on_gone, s);
	s->finish = event_new(wm_loop_base(l), -1, 0, on_finish, s);
	s->bury = event_new(wm_loop_base(l), -1, 0, on_bury, s);
	s->sweep = wm_timer_new(l, on_sweep, s);
	if (!s->http || !s->by_bev || !s->peers || !s->admit || !s->reword || !s->finish ||
	    !s->bury || !s->sweep || !s->gone || event_add(s->gone, NULL) ||
	    wm_timer_arm(s->sweep, s->sweep_ms)) {
		wm_http_server_free(s);
		return NULL;
	}
	set_limits(s);
	return s;
}

/* Remove the socket file if it is still the one that we made. */
static void unlink_ours(const struct wm_http_listener *l)
{
	struct stat st;

	if (l->path && !lstat(l->path, &st) && st.st_dev == l->dev && st.st_ino == l->ino)
		unlink(l->path);
}

static void last_words(struct wm_http_server *s)
{
	struct wm_http_conn *c;

	TAILQ_FOREACH (c, &s->conns, entry) {
		if (c->phase == WM_HTTP_SENDING)
			wm_http_conn_write(c, NULL, 0, NULL);
	}
}

void wm_http_server_free(struct wm_http_server *s)
{
	struct wm_http_listener *l;

	if (!s)
		return;
	if (s->http) {
		on_admit(-1, 0, s);
		last_words(s);
		evhttp_free(s->http); /* listeners too; connections through on_close() */
		on_bury(-1, 0, s);
	}
	while ((l = TAILQ_FIRST(&s->listeners))) {
		TAILQ_REMOVE(&s->listeners, l, entry);
		unlink_ours(l);
		free(l->path);
		free(l);
	}
	if (s->admit)
		event_free(s->admit);
	if (s->reword)
		event_free(s->reword);
	if (s->finish)
		event_free(s->finish);
	if (s->bury)
		event_free(s->bury);
	if (s->gone)
		event_free(s->gone);
	if (s->gone_fd >= 0)
		close(s->gone_fd);
	wm_timer_free(s->sweep);
	wm_map_free(s->by_bev);
	wm_map_free(s->peers);
	for (unsigned i = 0; i < s->hosts_count; i++)
		free(s->hosts[i]);
	free(s);
}

unsigned wm_http_connections(const struct wm_http_server *s)
{
	return s->count;
}

const uint64_t *wm_http_counters(const struct wm_http_server *s)
{
	return s->counters;
}

int wm_http_allow_host(struct wm_http_server *s, const char *name)
{
	char *copy;

	if (s->hosts_count == WM_HTTP_HOSTS_MAX)
		return -ENOSPC;
	copy = strdup(name);
	if (!copy)
		return -ENOMEM;
	s->hosts[s->hosts_count++] = copy;
	return 0;
}

/* --- listeners ---------------------------------------------------------------------------------
 */

/* Out of descriptors, as a rule: the connection stays in the backlog, so trying at once would spin.
 * The next sweep enables the listener again. */
static void on_accept_error(struct evconnlistener *lev, void *arg)
{
	(void)arg;
	wm_warn("http.accept", "err=%s", wm_err_name(-errno));
	evconnlistener_disable(lev);
}

/* Take over a listening socket; it is closed on failure. @return 0 or -ENOMEM. */
static int listen_on(struct wm_http_server *s, int fd, const char *path)
{
	struct wm_http_listener *l = calloc(1, sizeof(*l));
	struct stat st = {0};

	if (l && path)
		l->path = strdup(path);
	if (!l || (path && (!l->path || lstat(path, &st))))
		goto fail;
	l->dev = st.st_dev;
	l->ino = st.st_ino;
	l->bound = evhttp_accept_socket_with_handle(s->http, fd);
	if (!l->bound)
		goto fail;
	evconnlistener_set_error_cb(evhttp_bound_socket_get_listener(l->bound), on_accept_error);
	TAILQ_INSERT_TAIL(&s->listeners, l, entry);
	return 0;
fail:
	close(fd);
	if (l)
		free(l->path);
	free(l);
	return -ENOMEM;
}

static int take_fd(int *fd)
{
	int r = *fd;

	*fd = -1;
	return r;
}

int wm_http_listen_tcp(struct wm_http_server *s, const char *address, uint16_t port,
		       uint16_t *ret_port)
{
	union {
		struct sockaddr sa;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} a;
	socklen_t len;
	_cleanup_close_ int fd = -1;
	int one = 1, err;

	memset(&a, 0, sizeof(a));
	if (inet_pton(AF_INET, address, &a.in.sin_addr) == 1) {
		a.in.sin_family = AF_INET;
		a.in.sin_port = htons(port);
		len = sizeof(a.in);
	} else if (inet_pton(AF_INET6, address, &a.in6.sin6_addr) == 1) {
		a.in6.sin6_family = AF_INET6;
		a.in6.sin6_port = htons(port);
		len = sizeof(a.in6);
	} else {
		return -EINVAL;
	}
	fd = socket(a.sa.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)) ||
	    (a.sa.sa_family == AF_INET6 &&
	     setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one))) ||
	    bind(fd, &a.sa, len) || listen(fd, BACKLOG) || getsockname(fd, &a.sa, &len))
		return -errno;
	err = listen_on(s, take_fd(&fd), NULL);
	if (!err && ret_port)
		*ret_port = ntohs(a.sa.sa_family == AF_INET ? a.in.sin_port : a.in6.sin6_port);
	return err;
}

/* Make way for a socket at @p a: a file that nobody listens on goes. @return 0, -EADDRINUSE,
 * -EEXIST (no socket), other negative errno. */
static int clear_stale(const struct sockaddr_un *a)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (lstat(a->sun_path, &st))
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (!connect(fd, (const struct sockaddr *)a, sizeof(*a)) || errno == EAGAIN)
		return -EADDRINUSE; /* EAGAIN: it lives, and its backlog is full */
	if (errno != ECONNREFUSED)
		return -errno;
	return unlink(a->sun_path) ? -errno : 0;
}

int wm_http_listen_unix(struct wm_http_server *s, const char *path, unsigned mode)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = -1;
	int err;

	if (strlen(path) >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	memcpy(a.sun_path, path, strlen(path) + 1);
	err = clear_stale(&a);
	if (err)
		return err;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* bind() gives the file the socket's mode less the umask, so it is never wider than asked;
	 * chmod() then gives back what the umask took */
	if (fchmod(fd, mode & 0777) || bind(fd, (struct sockaddr *)&a, sizeof(a)))
		return -errno;
	err = chmod(path, mode & 0777) || listen(fd, BACKLOG) ? -errno : 0;
	if (!err)
		err = listen_on(s, take_fd(&fd), path);
	if (err)
		unlink(path);
	return err;
}
