/* SPDX-License-Identifier: Apache-2.0 */
/* server.c - sockets. Datagrams are read and answered in batches; connections are bounded in number
 * (and by conn.c in the rest). Spec: RFC 1035 4.2, RFC 7766. */
#include "upstream_internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/log.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BATCH	       32   /* datagrams of one read: a turn serves others too */
#define UDP_QUERY_MAX  4096 /* octets read of a datagram; queries are shorter */
#define TCP_BACKLOG    128
#define RETIRE_BATCH   2048 /* names of records that are freed in a turn: less than 1 ms */
#define UDP_BUFFER_MAX (4 * 1024 * 1024) /* octets asked for the sockets' buffers */

struct wm_dns_batch {
	struct mmsghdr in[BATCH], out[BATCH];
	struct iovec in_iov[BATCH], out_iov[BATCH];
	struct sockaddr_storage from[BATCH];
	uint8_t control[BATCH][CMSG_SPACE(sizeof(struct in6_pktinfo))] __attribute__((aligned(8)));
	uint8_t query[BATCH][UDP_QUERY_MAX], answer[BATCH][WM_DNS_EDNS_MAX];
};

/* --- UDP -------------------------------------------------------------------------------------- */
/* Answer from the address that was asked, whatever the socket is bound to. The interface is left to
 * the routing table, but for link-local addresses, which mean nothing without one. */
static void loosen_source(struct msghdr *h)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(h); c; c = CMSG_NXTHDR(h, c)) {
		if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO) {
			struct in_pktinfo *p = (void *)CMSG_DATA(c);

			p->ipi_ifindex = 0;
		} else if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO) {
			struct in6_pktinfo *p = (void *)CMSG_DATA(c);

			if (!IN6_IS_ADDR_LINKLOCAL(&p->ipi6_addr))
				p->ipi6_ifindex = 0;
		}
	}
}

static void batch_prepare(struct wm_dns_batch *b)
{
	for (unsigned i = 0; i < BATCH; i++) {
		b->in_iov[i] = (struct iovec){b->query[i], UDP_QUERY_MAX};
		b->in[i].msg_hdr = (struct msghdr){.msg_name = &b->from[i],
						   .msg_namelen = sizeof(b->from[i]),
						   .msg_iov = &b->in_iov[i],
						   .msg_iovlen = 1,
						   .msg_control = b->control[i],
						   .msg_controllen = sizeof(b->control[i])};
	}
}

/* What is sent in the place of an answer to datagram @p i. @return octets; 0: it is dropped. */
static size_t rated_datagram(struct wm_dns_server *s, struct wm_dns_batch *b, int i,
			     enum wm_rated rated)
{
	const struct sockaddr *from = b->in[i].msg_hdr.msg_name;
	size_t len = b->in[i].msg_len;

	if (rated == WM_RATED_CUT)
		return wm_dns_rate_cut(s, from, b->query[i], len, b->answer[i]);
	wm_dns_note_drop(s, from, b->query[i], len, WM_DNS_LEVEL_OFTEN);
	return 0;
}

/* @return octets of the answer to datagram @p i, 0: there is none, or it comes later. */
static size_t answer_datagram(struct wm_dns_socket *k, struct wm_dns_batch *b, int i)
{
	struct msghdr *h = &b->in[i].msg_hdr;
	const struct sockaddr *from = h->msg_name;
	size_t len = b->in[i].msg_len;
	enum wm_rated rated;
	size_t made = 0;
	int asked;

	wm_dns_received(k->s, false);
	if (!wm_dns_may_ask(k->s, from)) {
		wm_dns_note_drop(k->s, from, b->query[i], len, WM_DNS_LEVEL_REFUSED);
		return 0;
	}
	rated = wm_dns_rate(k->s, from, b->query[i], len);
	loosen_source(h);
	if (rated != WM_RATED_ANSWER)
		return rated_datagram(k->s, b, i, rated);
	if (wm_dns_pass_datagram(k->s, k->fd, h, len))
		return 0;
	asked = wm_dns_park(k->s, k->fd, h, len);
	if (!asked) {
		made = wm_dns_respond_to(k->s, from, b->query[i], len, false, b->answer[i],
					 sizeof(b->answer[i]));
		asked = wm_dns_park_led(k->s, k->fd, h, len);
	}
	if (asked == 1)
		return 0;
	if (asked)
		made = wm_dns_servfail(k->s, from, b->query[i], len, false, b->answer[i],
				       sizeof(b->answer[i]));
	else if (wm_dns_lead_datagram(k->s, k->fd, h, len))
		return 0;
	else if (made)
		rated = wm_dns_rate_made(k->s, from, b->query[i], len, b->answer[i]);
	if (rated != WM_RATED_ANSWER)
		return rated_datagram(k->s, b, i, rated);
	wm_dns_say(k->s);
	return made;
}

static void on_datagrams(void *arg, unsigned events)
{
	struct wm_dns_socket *k = arg;
	struct wm_dns_batch *b = k->s->batch;
	unsigned out = 0;
	int n, sent;

	(void)events;
	batch_prepare(b);
	n = recvmmsg(k->fd, b->in, BATCH, MSG_DONTWAIT, NULL);
	for (int i = 0; i < n; i++) {
		size_t len = answer_datagram(k, b, i);

		if (!len)
			continue;
		b->out_iov[out] = (struct iovec){b->answer[i], len};
		b->out[out].msg_hdr = b->in[i].msg_hdr;
		b->out[out].msg_hdr.msg_flags = 0;
		b->out[out].msg_hdr.msg_iov = &b->out_iov[out];
		out++;
	}
	for (unsigned at = 0; at < out; at += (unsigned)sent) {
		sent = sendmmsg(k->fd, b->out + at, out - at, MSG_DONTWAIT);
		if (sent <= 0) {
			k->s->counters[WM_DNS_C_UNSENT]++;
			sent = 1; /* this one cannot be delivered; the client asks again */
		}
	}
}

/* --- TCP -------------------------------------------------------------------------------------- */
#define ACCEPT_AGAIN_MS 100 /* behind one that failed */

static void on_accept_again(void *arg)
{
	struct wm_dns_socket *k = arg;

	wm_io_set(k->io, WM_IO_READ);
}

/* Out of descriptors, as a rule: the connection stays in the backlog, so trying at once would spin.
 */
static void pause_accept(struct wm_dns_socket *k)
{
	k->s->counters[WM_DNS_C_TCP_NO_ACCEPT]++;
	wm_io_set(k->io, 0);
	wm_timer_arm(k->again, ACCEPT_AGAIN_MS);
}

static void on_accept(void *arg, unsigned events)
{
	struct wm_dns_socket *k = arg;
	struct sockaddr_storage from;
	int fd;

	(void)events;
	for (int i = 0; i < BATCH; i++) {
		socklen_t len = sizeof(from);

		fd = accept4(k->fd, (struct sockaddr *)&from, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (fd < 0 && errno != EAGAIN)
			pause_accept(k);
		if (fd < 0)
			return;
		if (!wm_dns_may_ask(k->s, (struct sockaddr *)&from)) {
			k->s->counters[WM_DNS_C_TCP_DENIED]++;
			close(fd);
		} else if (k->s->conns_count < k->s->c.tcp_max) {
			wm_dns_conn_open(k->s, fd, &from, k->tls);
		} else {
			k->s->counters[WM_DNS_C_TCP_LIMIT]++;
			close(fd);
		}
	}
}

/* --- listening -------------------------------------------------------------------------------- */
union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static int parse_address(const char *text, uint16_t port, union address *ret, socklen_t *ret_len)
{
	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, text, &ret->in.sin_addr) == 1) {
		ret->in.sin_family = AF_INET;
		ret->in.sin_port = htons(port);
		*ret_len = sizeof(ret->in);
		return 0;
	}
	if (inet_pton(AF_INET6, text, &ret->in6.sin6_addr) == 1) {
		ret->in6.sin6_family = AF_INET6;
		ret->in6.sin6_port = htons(port);
		*ret_len = sizeof(ret->in6);
		return 0;
	}
	return -EINVAL;
}

/* Is it every address? */
static bool is_any(const union address *at)
{
	return at->any.sa_family == AF_INET ? at->in.sin_addr.s_addr == htonl(INADDR_ANY)
					    : IN6_IS_ADDR_UNSPECIFIED(&at->in6.sin6_addr);
}

static void set_options(int fd, const union address *at, int type, bool shared)
{
	int yes = 1, size = UDP_BUFFER_MAX, family = at->any.sa_family;

	if (shared)
		setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &yes, sizeof(yes));
	if (family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes));
	if (type == SOCK_STREAM) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
		return;
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	if (!is_any(at))
		return; /* answers have its address anyway, and need not be told of it each time */
	if (family == AF_INET)
		setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &yes, sizeof(yes));
	else
		setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &yes, sizeof(yes));
}

/* @return the socket or negative errno. */
static int open_socket(const union address *at, socklen_t len, int type, bool shared)
{
	int fd = socket(at->any.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return -errno;
	set_options(fd, at, type, shared);
	if (bind(fd, &at->any, len) || (type == SOCK_STREAM && listen(fd, TCP_BACKLOG))) {
		r = -errno;
		close(fd);
		return r;
	}
	return fd;
}

static void socket_free(struct wm_dns_socket *k)
{
	wm_timer_free(k->again);
	wm_io_free(k->io);
	close(k->fd);
	free(k);
}

static int watch(struct wm_dns_server *s, int fd, bool tls, void (*fn)(void *, unsigned))
{
	struct wm_dns_socket *k = calloc(1, sizeof(*k));

	if (k) {
		k->s = s;
		k->fd = fd;
		k->tls = tls;
		k->io = wm_io_new(s->loop, fd, WM_IO_READ, fn, k);
		k->again = wm_timer_new(s->loop, on_accept_again, k);
	}
	if (!k || !k->io || !k->again) {
		if (k)
			socket_free(k);
		else
			close(fd);
		return -ENOMEM;
	}
	SLIST_INSERT_HEAD(&s->sockets, k, entry);
	return 0;
}

static uint16_t port_of(const union address *at)
{
	return ntohs(at->any.sa_family == AF_INET ? at->in.sin_port : at->in6.sin6_port);
}

static int listen_at(struct wm_dns_server *s, const char *address, uint16_t port, bool shared,
		     uint16_t *ret_port)
{
	union address at;
	socklen_t len, got = sizeof(at);
	int udp, tcp, r = parse_address(address, port, &at, &len);

	if (r)
		return r;
	/* the port that the kernel chooses for TCP must be free for UDP as well */
	for (int tries = 0;; tries++) {
		tcp = open_socket(&at, len, SOCK_STREAM, shared);
		if (tcp < 0)
			return tcp;
		if (getsockname(tcp, &at.any, &got)) {
			close(tcp);
			return -EIO;
		}
		udp = open_socket(&at, len, SOCK_DGRAM, shared);
		if (udp >= 0)
			break;
		close(tcp);
		if (port || udp != -EADDRINUSE || tries == BATCH)
			return udp;
		parse_address(address, 0, &at, &len);
	}
	if (ret_port)
		*ret_port = port_of(&at);
	r = watch(s, udp, false, on_datagrams);
	if (r) {
		close(tcp);
		return r;
	}
	return watch(s, tcp, false, on_accept);
}

int wm_dns_listen(struct wm_dns_server *s, const char *address, uint16_t port, uint16_t *ret_port)
{
	return listen_at(s, address, port, false, ret_port);
}

bool wm_dns_is_taken(const char *address, uint16_t port)
{
	union address at;
	socklen_t len;
	int fd = parse_address(address, port, &at, &len);

	fd = fd ? fd : open_socket(&at, len, SOCK_DGRAM, false);
	if (fd >= 0)
		close(fd);
	return fd == -EADDRINUSE;
}

int wm_dns_listen_shared(struct wm_dns_server *s, const char *address, uint16_t port,
			 uint16_t *ret_port)
{
	return listen_at(s, address, port, true, ret_port);
}

int wm_dns_listen_tls(struct wm_dns_server *s, const char *address, uint16_t port,
		      uint16_t *ret_port)
{
	union address at;
	socklen_t len, got = sizeof(at);
	int fd, r = parse_address(address, port, &at, &len);

	if (r)
		return r;
	fd = open_socket(&at, len, SOCK_STREAM, false);
	if (fd < 0)
		return fd;
	if (ret_port && !getsockname(fd, &at.any, &got))
		*ret_port = port_of(&at);
	return watch(s, fd, true, on_accept);
}

static void on_certificate(void *arg, int err, const char *sentence)
{
	const struct wm_dns_server *s = arg;
	struct wm_cert_validity v = wm_tls_server_validity(s->tls);

	if (err)
		wm_error("dns.certificate", "text=%s", wm_log_q(sentence));
	else
		wm_info("dns.certificate", "days=%lld text=\"a new certificate serves\"",
			(long long)wm_cert_days_left(&v, wm_clock_wall_s()));
}

int wm_dns_server_tls(struct wm_dns_server *s, const char *cert, const char *key, struct wm_err *e)
{
	const struct wm_tls_server_config c = {
		.cert = cert, .key = key, .alpn = "dot", .arg = s, .changed = on_certificate};

	return wm_tls_server_new(s->loop, &c, &s->tls, e);
}

/* --- life ------------------------------------------------------------------------------------- */
struct wm_dns_server *wm_dns_server_new(struct wm_loop *l, struct wm_registry *r,
					struct wm_tables *t, const struct wm_dns_config *c)
{
	struct wm_dns_server *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->loop = l;
	s->registry = r;
	s->tables = t;
	s->c = *c;
	SLIST_INIT(&s->sockets);
	LIST_INIT(&s->conns);
	LIST_INIT(&s->parked);
	LIST_INIT(&s->passed);
	s->datacenter = strdup(c->datacenter);
	s->batch = calloc(1, sizeof(*s->batch));
	s->places = wm_places_new(l, r);
	s->seen = wm_dns_seen_new(false);
	if (c->kube_domain)
		s->kube = wm_kube_dns_new(r, t, c->kube_domain, c->kube_pods);
	wm_tables_cluster_sweep(t);
	s->conn_clients = wm_dns_clients_new(c->tcp_max ? c->tcp_max : 1,
					     c->tcp_client_max ? c->tcp_client_max : c->tcp_max);
	if (!s->conn_clients || !s->datacenter || !s->batch || !s->places || !s->seen ||
	    (c->kube_domain && !s->kube)) {
		wm_dns_server_free(s);
		return NULL;
	}
	for (char *p = s->datacenter; *p; p++)
		if (*p >= 'A' && *p <= 'Z')
			*p = (char)(*p + 'a' - 'A'); /* compared with folded names */
	return s;
}

void wm_dns_server_ask(struct wm_dns_server *s, const struct wm_dns_lookup *l)
{
	wm_dns_unpark(s, &s->parked);
	(void)wm_dns_unpass_led(&s->passed);
	wm_dns_conns_unpark(s);
	s->lookup = l ? *l : (struct wm_dns_lookup){0};
}

void wm_dns_server_tags(struct wm_dns_server *s, const struct wm_dns_tags *t)
{
	s->tags = t ? *t : (struct wm_dns_tags){0};
}

void wm_dns_server_near(struct wm_dns_server *s, const struct wm_dns_near *n)
{
	s->near = n ? *n : (struct wm_dns_near){0};
}

void wm_dns_server_free(struct wm_dns_server *s)
{
	struct wm_dns_socket *k;

	if (!s)
		return;
	wm_dns_unpark(s, &s->parked);
	wm_dns_unpass(&s->passed);
	wm_dns_renewals_free(s);
	wm_hot_free(s->hot);
	wm_ready_free(s->ready);
	wm_timer_free(s->fill);
	while (!LIST_EMPTY(&s->conns))
		wm_dns_conn_close(LIST_FIRST(&s->conns));
	wm_upstream_free(s->upstream);
	while ((k = SLIST_FIRST(&s->sockets))) {
		SLIST_REMOVE_HEAD(&s->sockets, entry);
		socket_free(k);
	}
	wm_tls_server_free(s->tls);
	wm_dns_clients_free(s->conn_clients);
	wm_kube_dns_free(s->kube);
	wm_places_free(s->places);
	wm_dns_guard_done(&s->guard);
	wm_dns_rate_done(&s->rate);
	wm_dns_cookies_done(s);
	wm_statics_free(s->fixed);
	wm_statics_free(s->gone);
	wm_timer_free(s->retire);
	wm_dns_seen_free(s->seen);
	if (s->sampler.end)
		s->sampler.end(s->sampler.arg);
	wm_dns_seen_free(s->kernel_seen);
	free(s->datacenter);
	free(s->batch);
	free(s->chosen);
	free(s);
}

static void on_retire(void *arg)
{
	struct wm_dns_server *s = arg;

	if (wm_statics_free_some(s->gone, RETIRE_BATCH))
		s->gone = NULL;
	else
		wm_timer_arm(s->retire, 0);
}

/* Nobody uses them from the end of this turn on. */
static void retire(struct wm_dns_server *s, struct wm_statics *t)
{
	wm_statics_free(s->gone); /* a reload just before this one */
	s->gone = t;
	if (!s->retire)
		s->retire = wm_timer_new(s->loop, on_retire, s);
	if (s->retire)
		wm_timer_arm(s->retire, 0);
}

void wm_dns_server_statics(struct wm_dns_server *s, struct wm_statics *t)
{
	if (wm_statics_same(s->fixed, t)) { /* what others said stays: no server may be left */
		retire(s, t);
		return;
	}
	if (s->upstream && (t || s->fixed))
		(void)wm_upstream_apart(s->upstream, t); /* no memory: until the TTLs are over */
	retire(s, s->fixed);
	s->fixed = t;
	wm_ready_changed(s->ready, WM_READY_ALL);
	wm_dns_fill(s);
}

int wm_dns_server_ready(struct wm_dns_server *s, const struct wm_ready_kernel *k)
{
	const struct wm_ready_config c = {.kernel = *k,
					  .remake = wm_reply_remake,
					  .arg = s,
					  .seed = wm_tables_memory(s->tables)->config->seed};

	s->ready = wm_ready_new(s->loop, &c);
	if (!s->ready)
		return -ENOMEM;
	wm_places_tell(s->places, s);
	if (s->kube)
		wm_kube_dns_tell(s->kube, s->ready);
	return wm_dns_foresee(s);
}

const char *wm_dns_cluster_domain(const struct wm_dns_server *s)
{
	return s->kube ? wm_kube_text(s->kube) : "";
}

const struct wm_ready_level *wm_dns_ready(const struct wm_dns_server *s)
{
	return s->ready;
}

int wm_dns_server_upstream(struct wm_dns_server *s, const struct wm_upstream_config *c)
{
	s->upstream = wm_upstream_new(s->loop, c);
	return s->upstream ? 0 : -ENOMEM;
}

struct wm_upstream *wm_dns_upstream(const struct wm_dns_server *s)
{
	return s->upstream;
}

const uint64_t *wm_dns_counters(const struct wm_dns_server *s)
{
	return s->counters;
}

const struct wm_dns_seen *wm_dns_seen_of(const struct wm_dns_server *s)
{
	return s->seen;
}
