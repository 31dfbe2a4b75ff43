/* SPDX-License-Identifier: Apache-2.0 */
/* etcdload.c - puts into etcd over gRPC, its own protocol, by clients with a connection and one
 * request in flight each, all on one thread and one epoll: the peer of regload. A put counts when
 * its answer has come with grpc-status 0, so it is a durable put. The message is two fields
 * (etcdserverpb.PutRequest: key = 1, value = 2), written by hand; HTTP/2 is nghttp2's. */
#include "http.h"

#include <fcntl.h>
#include <getopt.h>
#include <nghttp2/nghttp2.h>
#include <sys/epoll.h>

#define CLIENTS_MAX  1024
#define REQUESTS_MAX 10000000
#define MESSAGE_MAX  4096  /* octets of a put with its gRPC prefix */
#define STALL_MS     30000 /* no answer at all for so long: the server hangs */

struct options {
	const char *address, *prefix;
	long port, clients, requests, value, server_pid, cpu;
};

struct client {
	int fd;
	nghttp2_session *session;
	uint8_t message[MESSAGE_MAX];
	size_t len, sent;
	uint64_t sent_ns;
	bool ok;
};

static struct options opt = {.address = "127.0.0.1",
			     .prefix = "svc-",
			     .port = 2379,
			     .clients = 64,
			     .requests = 1000,
			     .value = 300,
			     .cpu = -1};
static struct load_samples samples;
static long issued, done, refused;

static size_t put_varint(uint8_t *to, size_t n)
{
	size_t len = 0;

	for (; n >= 0x80; n >>= 7)
		to[len++] = (uint8_t)(n | 0x80);
	to[len++] = (uint8_t)n;
	return len;
}

static size_t put_field(uint8_t *to, uint8_t tag, const void *data, size_t n)
{
	size_t len = 0;

	to[len++] = tag;
	len += put_varint(to + len, n);
	memcpy(to + len, data, n);
	return len + n;
}

/* One octet "not compressed", four of length, the message. */
static void make_message(struct client *c)
{
	char key[64], value[MESSAGE_MAX / 2];
	int n = snprintf(key, sizeof(key), "%s%09ld", opt.prefix, issued);
	size_t len = 5;

	memset(value, 'v', sizeof(value));
	len += put_field(c->message + len, 1 << 3 | 2, key, (size_t)n);
	len += put_field(c->message + len, 2 << 3 | 2, value, (size_t)opt.value);
	c->message[0] = 0;
	for (int i = 0; i < 4; i++)
		c->message[1 + i] = (uint8_t)((len - 5) >> (8 * (3 - i)));
	c->len = len;
	c->sent = 0;
}

static ssize_t read_message(nghttp2_session *s, int32_t stream, uint8_t *buf, size_t cap,
			    uint32_t *flags, nghttp2_data_source *source, void *arg)
{
	struct client *c = source->ptr;
	size_t n = c->len - c->sent < cap ? c->len - c->sent : cap;

	(void)s;
	(void)stream;
	(void)arg;
	memcpy(buf, c->message + c->sent, n);
	c->sent += n;
	if (c->sent == c->len)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

#define HEADER(name, value)                                                                        \
	{                                                                                          \
		(uint8_t *)(uintptr_t)(name), (uint8_t *)(uintptr_t)(value), strlen(name),         \
			strlen(value), NGHTTP2_NV_FLAG_NONE                                        \
	}

static void flush(struct client *c)
{
	const uint8_t *data;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(c->session, &data)) > 0) {
		if (send(c->fd, data, (size_t)n, MSG_NOSIGNAL) != n)
			load_die("send: %s", strerror(errno));
	}
}

static void issue(struct client *c)
{
	const nghttp2_nv headers[] = {HEADER(":method", "POST"),
				      HEADER(":scheme", "http"),
				      HEADER(":path", "/etcdserverpb.KV/Put"),
				      HEADER(":authority", "localhost"),
				      HEADER("content-type", "application/grpc"),
				      HEADER("te", "trailers")};
	nghttp2_data_provider body = {.source.ptr = c, .read_callback = read_message};

	make_message(c);
	issued++;
	c->ok = false;
	c->sent_ns = load_now_ns();
	if (nghttp2_submit_request(c->session, NULL, headers, sizeof(headers) / sizeof(headers[0]),
				   &body, c) < 0)
		load_die("cannot send a request");
	flush(c);
}

static int on_header(nghttp2_session *s, const nghttp2_frame *frame, const uint8_t *name,
		     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
		     void *arg)
{
	struct client *c = arg;

	(void)s;
	(void)frame;
	(void)flags;
	if (name_len == 11 && memcmp(name, "grpc-status", 11) == 0)
		c->ok = value_len == 1 && value[0] == '0';
	return 0;
}

static int on_close(nghttp2_session *s, int32_t stream, uint32_t code, void *arg)
{
	struct client *c = arg;

	(void)s;
	(void)stream;
	(void)code;
	load_samples_add(&samples, load_now_ns() - c->sent_ns);
	done++;
	refused += !c->ok;
	if (issued < opt.requests)
		issue(c);
	return 0;
}

static void open_client(struct client *c)
{
	nghttp2_session_callbacks *callbacks;

	c->fd = http_open(opt.address, opt.port);
	nghttp2_session_callbacks_new(&callbacks);
	nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
	nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
	if (nghttp2_session_client_new(&c->session, callbacks, c) ||
	    nghttp2_submit_settings(c->session, NGHTTP2_FLAG_NONE, NULL, 0))
		load_die("cannot begin HTTP/2");
	nghttp2_session_callbacks_del(callbacks);
	flush(c);
}

static void readable(struct client *c)
{
	uint8_t buf[16384];
	ssize_t n = recv(c->fd, buf, sizeof(buf), 0);

	if (n <= 0)
		load_die("the server closed a connection after %ld answers", done);
	if (nghttp2_session_mem_recv(c->session, buf, (size_t)n) != n)
		load_die("not HTTP/2");
	flush(c);
}

static void run(void)
{
	struct client *clients = load_alloc((size_t)opt.clients, sizeof(*clients));
	struct epoll_event events[64];
	uint64_t start, machine, server, took, self;
	int ep = epoll_create1(EPOLL_CLOEXEC), n;
	double count;

	load_samples_init(&samples, (size_t)opt.requests);
	for (long i = 0; i < opt.clients; i++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &clients[i]};

		open_client(&clients[i]);
		if (epoll_ctl(ep, EPOLL_CTL_ADD, clients[i].fd, &ev))
			load_die("epoll: %s", strerror(errno));
	}
	machine = load_machine_ns();
	server = load_process_ns(opt.server_pid);
	self = load_self_ns();
	start = load_now_ns();
	for (long i = 0; i < opt.clients && issued < opt.requests; i++)
		issue(&clients[i]);
	while (done < opt.requests) {
		n = epoll_wait(ep, events, 64, STALL_MS);
		if (n <= 0 && errno != EINTR)
			load_die("no answer for %d ms, after %ld", STALL_MS, done);
		for (int i = 0; i < n; i++)
			readable(events[i].data.ptr);
	}
	took = load_now_ns() - start;
	self = load_self_ns() - self;
	server = load_process_ns(opt.server_pid) - server;
	machine = load_machine_ns() - machine;
	count = (double)done;
	load_samples_sort(&samples);
	printf("{\"per_s\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"machine_us\":%.2f,\"client_us\":%"
	       ".2f,\"server_us\":%.2f,\"done\":%ld,\"refused\":%ld}\n",
	       count * 1e9 / (double)took, load_samples_us(&samples, 500),
	       load_samples_us(&samples, 990), (double)machine / count / 1e3,
	       (double)self / count / 1e3, (double)server / count / 1e3, done, refused);
	for (long i = 0; i < opt.clients; i++) {
		nghttp2_session_del(clients[i].session);
		close(clients[i].fd);
	}
	close(ep);
	free(clients);
}

static const char usage[] =
	"usage: etcdload [-s address] [-p port] [-N clients] [-n puts] "
	"[-v octets-a-value] [-P key-prefix]\n"
	"                [-c cpu] [-S pid]\n"
	"Puts keys into etcd over gRPC; prints one JSON line. -S accounts the CPU "
	"of that process.\n";

int main(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "s:p:N:n:v:P:c:S:h")) != -1) {
		switch (c) {
		case 's':
			opt.address = optarg;
			break;
		case 'p':
			opt.port = load_number("-p", optarg, 1, 65535);
			break;
		case 'N':
			opt.clients = load_number("-N", optarg, 1, CLIENTS_MAX);
			break;
		case 'n':
			opt.requests = load_number("-n", optarg, 1, REQUESTS_MAX);
			break;
		case 'v':
			opt.value = load_number("-v", optarg, 0, MESSAGE_MAX / 2);
			break;
		case 'P':
			opt.prefix = optarg;
			break;
		case 'c':
			opt.cpu = load_number("-c", optarg, 0, CPU_SETSIZE - 1);
			break;
		case 'S':
			opt.server_pid = load_number("-S", optarg, 0, INT32_MAX);
			break;
		default:
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	}
	if (optind != argc) {
		fputs(usage, stderr);
		return 2;
	}
	load_pin((int)opt.cpu);
	run();
	return refused ? 1 : 0;
}
