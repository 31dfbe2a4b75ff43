/* SPDX-License-Identifier: Apache-2.0 */
/* regload.c - registrations and lookups over HTTP, by kept-alive clients with one request in flight
 * each, all on one thread and one epoll. A registration counts when its 200 has come, so with a
 * durable server this is durable registrations per second. Bodies: http_registration(). */
#include "http.h"

#include <getopt.h>
#include <sys/epoll.h>

#define CLIENTS_MAX  1024
#define REQUESTS_MAX 10000000
#define BATCH_MAX    128		       /* writes of one transaction: the server's bound */
#define REQUEST_MAX  (1024 + BATCH_MAX * 1024) /* octets of a request */
#define STALL_MS     30000		       /* no answer at all for so long: the server hangs */
#define PER_LOOPBACK 4			       /* instances take 127.0.0.1 .. 127.0.0.4 in turn */

enum mode { REGISTER, LOOKUP, DEREGISTER, BATCH };

struct options {
	const char *address, *prefix;
	long port, clients, requests, instances, first, cpu, server_pid, backend_port, batch,
		services, rate;
	enum mode mode;
	bool check;
};

struct client {
	int fd;
	uint64_t sent_ns;
	size_t have;
	char *answer;
	struct client *next_idle;
};

static struct options opt = {.address = "127.0.0.1",
			     .prefix = "svc-",
			     .port = 8500,
			     .clients = 64,
			     .requests = 1000,
			     .instances = 1,
			     .cpu = -1,
			     .backend_port = 8080,
			     .services = REQUESTS_MAX};
static struct load_samples samples;
static long issued, done, refused;
static struct client *idle; /* wait for their turn, with a rate */
static uint64_t start_ns;

/** A transaction of opt.batch registrations of the same kind, on as many nodes as there are
 * clients.
 */
static void batch(char *body, size_t cap, size_t n)
{
	size_t len = 0, node = n % (size_t)opt.clients;

	len += (size_t)snprintf(body, cap,
				"[{\"Node\":{\"Verb\":\"set\",\"Node\":{\"Node\":\"node-%zu\","
				"\"Address\":\"127.0.0.1\"}}}",
				node);
	for (long k = 0; k < opt.batch - 1; k++) {
		size_t at = n * (size_t)opt.batch + (size_t)k, s = at / (size_t)opt.instances;

		len += (size_t)snprintf(body + len, cap - len,
					",{\"Service\":{\"Verb\":\"set\",\"Node\":\"node-%zu\","
					"\"Service\":",
					node);
		len += http_object(body + len, cap - len, "Service", opt.prefix, s,
				   at % (size_t)opt.instances, "127.0.0.1", opt.backend_port,
				   false);
		len += (size_t)snprintf(body + len, cap - len, "}}");
	}
	snprintf(body + len, cap - len, "]");
}

static uint64_t due_ns(void)
{
	return start_ns + (uint64_t)issued * 1000000000u / (uint64_t)opt.rate;
}

/** The next request of the run, for whichever client is free. */
static void issue(struct client *c)
{
	size_t n = (size_t)(opt.first + issued), s = n / (size_t)opt.instances,
	       i = n % (size_t)opt.instances;
	static char request[REQUEST_MAX], body[REQUEST_MAX];
	char path[256], address[16];
	size_t len;

	if (opt.mode == BATCH) {
		batch(body, sizeof(body), n);
		len = http_request(request, sizeof(request), "PUT", "/v1/txn", body);
	} else if (opt.mode == REGISTER) {
		snprintf(address, sizeof(address), "127.0.0.%zu", 1 + (s + i) % PER_LOOPBACK);
		http_registration(body, sizeof(body), opt.prefix, s, i, address, opt.backend_port,
				  opt.check);
		len = http_request(request, sizeof(request), "PUT", "/v1/agent/service/register",
				   body);
	} else if (opt.mode == DEREGISTER) {
		snprintf(path, sizeof(path), "/v1/agent/service/deregister/%s%06zu-%zu", opt.prefix,
			 s, i);
		len = http_request(request, sizeof(request), "PUT", path, NULL);
	} else {
		s %= (size_t)opt.services;
		snprintf(path, sizeof(path), "/v1/health/service/%s%06zu?passing", opt.prefix, s);
		len = http_request(request, sizeof(request), "GET", path, NULL);
	}
	c->have = 0;
	/* with a rate it counts from when it was due: a server that stalls makes the rest wait */
	c->sent_ns = opt.rate ? due_ns() : load_now_ns();
	issued++;
	if (send(c->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len)
		load_die("send: %s", strerror(errno));
}

/** Read what has come for @p c; count a whole answer and go on to the next request. */
static void readable(struct client *c)
{
	ssize_t n = recv(c->fd, c->answer + c->have, HTTP_ANSWER_MAX - c->have - 1, 0);
	size_t size;
	int status;

	if (n <= 0)
		load_die("the server closed a connection after %ld answers", done);
	c->have += (size_t)n;
	status = http_complete(c->answer, c->have, &size);
	if (!status)
		return;
	load_samples_add(&samples, load_now_ns() - c->sent_ns);
	done++;
	if (status != 200 && !refused++)
		fprintf(stderr, "status %d: %.200s\n", status, strstr(c->answer, "\r\n\r\n") + 4);
	if (opt.rate) {
		c->next_idle = idle;
		idle = c;
	} else if (issued < opt.requests) {
		issue(c);
	}
}

/** Issue what is due. @return ns until the next is, 0: none is to come before an answer does. */
static uint64_t keep_rate(void)
{
	while (opt.rate && idle && issued < opt.requests) {
		uint64_t now = load_now_ns(), due = due_ns();
		struct client *c = idle;

		if (due > now)
			return due - now;
		idle = c->next_idle;
		issue(c);
	}
	return 0;
}

/** @return events that are there. The server hangs when none comes where one must. */
static int await(int ep, struct epoll_event *events, int max)
{
	uint64_t pause = keep_rate();
	struct timespec t = {.tv_nsec = (long)(pause % 1000000000u),
			     .tv_sec = (long)(pause / 1000000000u)};
	int n;

	if (!pause)
		t = (struct timespec){.tv_sec = STALL_MS / 1000};
	n = epoll_pwait2(ep, events, max, &t, NULL);
	if (n < 0 && errno != EINTR)
		load_die("epoll: %s", strerror(errno));
	if (n == 0 && !pause)
		load_die("no answer for %d ms, after %ld", STALL_MS, done);
	return n;
}

static void run(void)
{
	struct client *clients = load_alloc((size_t)opt.clients, sizeof(*clients));
	struct epoll_event events[64];
	uint64_t machine, server, took, self;
	int ep = epoll_create1(EPOLL_CLOEXEC), n;
	double count;

	load_samples_init(&samples, (size_t)opt.requests);
	for (long i = 0; i < opt.clients; i++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &clients[i]};

		clients[i].fd = http_open(opt.address, opt.port);
		clients[i].answer = load_alloc(1, HTTP_ANSWER_MAX);
		if (epoll_ctl(ep, EPOLL_CTL_ADD, clients[i].fd, &ev))
			load_die("epoll: %s", strerror(errno));
	}
	machine = load_machine_ns();
	server = load_process_ns(opt.server_pid);
	self = load_self_ns();
	start_ns = load_now_ns();
	for (long i = 0; i < opt.clients && (opt.rate || issued < opt.requests); i++) {
		if (!opt.rate) {
			issue(&clients[i]);
			continue;
		}
		clients[i].next_idle = idle;
		idle = &clients[i];
	}
	while (done < opt.requests) {
		n = await(ep, events, 64);
		for (int i = 0; i < n; i++)
			readable(events[i].data.ptr);
	}
	took = load_now_ns() - start_ns;
	self = load_self_ns() - self;
	server = load_process_ns(opt.server_pid) - server;
	machine = load_machine_ns() - machine;
	count = (double)done;
	load_samples_sort(&samples);
	printf("{\"per_s\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,\"machine_us\":%.2f,\"client_us\":%"
	       ".2f,"
	       "\"server_us\":%.2f,\"done\":%ld,\"refused\":%ld}\n",
	       count * 1e9 / (double)took, load_samples_us(&samples, 500),
	       load_samples_us(&samples, 990), (double)machine / count / 1e3,
	       (double)self / count / 1e3, (double)server / count / 1e3, done, refused);
	for (long i = 0; i < opt.clients; i++) {
		close(clients[i].fd);
		free(clients[i].answer);
	}
	close(ep);
	free(clients);
}

static const char usage[] =
	"usage: regload [-s address] [-p port] [-N clients] [-n requests] [-i "
	"instances-a-service]\n"
	"               [-P name-prefix] [-b first] [-B backend-port] [-c cpu] [-q rate] "
	"[-S pid] [-C] [-l | -d | -T writes]\n"
	"Registers <prefix>NNNNNN-I, or -l looks the services up, or -d "
	"deregisters, or -T\n"
	"registers that many in each transaction; prints one JSON\n"
	"line. -m looks up that many services in turn. -C gives each instance "
	"a TTL check that passes. -q keeps to that many a second. -S accounts the "
	"CPU of that process.\n";

int main(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "s:p:N:n:i:P:b:B:c:S:T:m:q:Cldh")) != -1) {
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
		case 'i':
			opt.instances = load_number("-i", optarg, 1, 65535);
			break;
		case 'P':
			opt.prefix = optarg;
			break;
		case 'b':
			opt.first = load_number("-b", optarg, 0, REQUESTS_MAX);
			break;
		case 'B':
			opt.backend_port = load_number("-B", optarg, 1, 65535);
			break;
		case 'c':
			opt.cpu = load_number("-c", optarg, 0, CPU_SETSIZE - 1);
			break;
		case 'S':
			opt.server_pid = load_number("-S", optarg, 0, INT32_MAX);
			break;
		case 'T':
			opt.mode = BATCH;
			opt.batch = load_number("-T", optarg, 2, BATCH_MAX);
			break;
		case 'm':
			opt.services = load_number("-m", optarg, 1, REQUESTS_MAX);
			break;
		case 'q':
			opt.rate = load_number("-q", optarg, 1, 1000000);
			break;
		case 'C':
			opt.check = true;
			break;
		case 'l':
			opt.mode = LOOKUP;
			break;
		case 'd':
			opt.mode = DEREGISTER;
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
