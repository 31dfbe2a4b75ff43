/* SPDX-License-Identifier: Apache-2.0 */
/* watchload.c - blocking queries, thousands at a time: how long a change takes to reach the last of
 * them, and that it reaches nobody else. All connections on one thread and one epoll. Each round
 * registers one instance of the first service anew with another port; its watchers must answer, the
 * others must stay. -I only holds the watches, to see what they cost while nothing happens. After
 * each round the same octets are sent as often over plain sockets whose peers nobody waits for:
 * what no server can be faster than. */
#include "http.h"

#include <getopt.h>
#include <sys/epoll.h>

#define WATCHES_MAX 15000 /* a process has 20,000 open files at most */
#define STALL_MS    30000
#define QUIET_MS    200	  /* after a round: nobody else may answer */
#define EVENTS	    512	  /* of one epoll_wait */
#define PAIRS	    2000  /* plain connections at a time: files are few */
#define ANSWER	    16384 /* octets of an answer that are looked at */

struct watch {
	int fd;
	bool first;	   /* watches the first service */
	size_t have, want; /* octets of the answer; want 0: the head is not whole */
	uint64_t index;
	char head[1024];
};

static struct {
	const char *address;
	long port, watches, others, rounds, server_pid, idle_s, cpu;
} opt = {.address = "127.0.0.1",
	 .port = 8500,
	 .watches = 1000,
	 .others = 100,
	 .rounds = 5,
	 .cpu = -1};

static struct watch *all;
static long total, strangers;
static char answer[1 << 20];
static size_t answer_size; /* octets of one to a watch */
static int pairs[PAIRS][2];

static void ask_index(struct watch *w)
{
	char request[256], path[128];
	size_t len;

	snprintf(path, sizeof(path), "/v1/health/service/watch-%s?index=%llu&wait=600s",
		 w->first ? "first" : "other", (unsigned long long)w->index);
	len = http_request(request, sizeof(request), "GET", path, NULL);
	w->have = w->want = 0;
	if (send(w->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len)
		load_die("send: %s", strerror(errno));
}

/** @return true when the answer is whole. Its head is kept, its body only counted. */
static bool readable(struct watch *w)
{
	static char buf[ANSWER];
	const char *end, *h;
	ssize_t n = recv(w->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n <= 0)
		load_die("the server closed a connection");
	if (!w->want) {
		size_t room = sizeof(w->head) - 1 - w->have;
		size_t take = (size_t)n < room ? (size_t)n : room;

		memcpy(w->head + w->have, buf, take);
		w->head[w->have + take] = 0;
		end = strstr(w->head, "\r\n\r\n");
		h = end ? http_header(w->head, "Content-Length") : NULL;
		if (end)
			w->want = (size_t)(end - w->head) + 4 + (h ? strtoul(h, NULL, 10) : 0);
	}
	w->have += (size_t)n;
	if (!w->want || w->have < w->want)
		return false;
	h = http_header(w->head, "X-Consul-Index");
	if (strncmp(w->head, "HTTP/1.1 200", 12) != 0 || !h)
		load_die("answer: %.100s", w->head);
	w->index = strtoull(h, NULL, 10);
	answer_size = w->want;
	return true;
}

static void open_pairs(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;

	if (fd < 0 || bind(fd, (struct sockaddr *)&in, len) || listen(fd, 16) ||
	    getsockname(fd, (struct sockaddr *)&in, &len))
		load_die("listen: %s", strerror(errno));
	for (int i = 0; i < PAIRS; i++) {
		pairs[i][0] = http_open("127.0.0.1", ntohs(in.sin_port));
		pairs[i][1] = accept(fd, NULL, NULL);
		if (pairs[i][1] < 0)
			load_die("accept: %s", strerror(errno));
		setsockopt(pairs[i][1], IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	}
	close(fd);
}

/** Send an answer's octets as often as there are watches. @return ns that send() took. */
static uint64_t send_bare(void)
{
	static char sink[1 << 20];
	uint64_t took = 0, start;

	if (answer_size > sizeof(sink))
		load_die("an answer has %zu octets", answer_size);
	for (long n = 0; n < opt.watches;) {
		long count = opt.watches - n < PAIRS ? opt.watches - n : PAIRS;

		start = load_now_ns();
		for (long i = 0; i < count; i++) {
			if (send(pairs[i][1], sink, answer_size, MSG_NOSIGNAL) !=
			    (ssize_t)answer_size)
				load_die("send: %s", strerror(errno));
		}
		took += load_now_ns() - start;
		for (long i = 0; i < count; i++) {
			if (recv(pairs[i][0], sink, answer_size, MSG_WAITALL) !=
			    (ssize_t)answer_size)
				load_die("recv: %s", strerror(errno));
		}
		n += count;
	}
	return took;
}

static void put(int fd, const char *name, long port)
{
	char request[1024], body[256];
	size_t len;

	snprintf(body, sizeof(body),
		 "{\"ID\":\"watch-%s-1\",\"Name\":\"watch-%s\",\"Address\":\"127.0.0.1\","
		 "\"Port\":%ld}",
		 name, name, port);
	len = http_request(request, sizeof(request), "PUT", "/v1/agent/service/register", body);
	if (http_ask(fd, request, len, answer, sizeof(answer)) != 200)
		load_die("registration: %.200s", answer);
}

static uint64_t index_now(int fd, const char *name)
{
	char request[256], path[96];
	size_t len;

	snprintf(path, sizeof(path), "/v1/health/service/watch-%s", name);
	len = http_request(request, sizeof(request), "GET", path, NULL);
	if (http_ask(fd, request, len, answer, sizeof(answer)) != 200)
		load_die("lookup: %.200s", answer);
	return strtoull(http_header(answer, "X-Consul-Index"), NULL, 10);
}

/** Collect answers until @p want have come, or for @p ms. @return how many came of the first. */
static long collect(int ep, long want, int ms)
{
	struct epoll_event events[EVENTS];
	uint64_t until = load_now_ns() + (uint64_t)ms * 1000000;
	long got = 0;

	while (got < want || !want) {
		uint64_t now = load_now_ns();
		int n = now < until
				? epoll_wait(ep, events, EVENTS, (int)((until - now) / 1000000) + 1)
				: 0;

		if (n <= 0 && load_now_ns() >= until)
			break;
		for (int i = 0; i < n; i++) {
			struct watch *w = events[i].data.ptr;

			if (!readable(w))
				continue;
			if (w->first)
				got++;
			else
				strangers++;
		}
	}
	return got;
}

static void open_all(int ep, int fd)
{
	uint64_t first = index_now(fd, "first"), other = index_now(fd, "other");

	total = opt.watches + opt.others;
	all = load_alloc((size_t)total, sizeof(*all));
	for (long i = 0; i < total; i++) {
		struct epoll_event ev = {.events = EPOLLIN, .data.ptr = &all[i]};

		all[i].first = i < opt.watches;
		all[i].index = all[i].first ? first : other;
		all[i].fd = http_open(opt.address, opt.port);
		ask_index(&all[i]);
		if (epoll_ctl(ep, EPOLL_CTL_ADD, all[i].fd, &ev))
			load_die("epoll: %s", strerror(errno));
	}
	collect(ep, 0, 1000); /* they have arrived */
}

static void run(void)
{
	int ep = epoll_create1(EPOLL_CLOEXEC), fd = http_open(opt.address, opt.port);
	struct load_samples last, bare, ratio;
	uint64_t start, server, before;

	load_samples_init(&last, (size_t)opt.rounds);
	load_samples_init(&bare, (size_t)opt.rounds);
	load_samples_init(&ratio, (size_t)opt.rounds); /* in thousandths */
	open_pairs();
	put(fd, "first", 1);
	put(fd, "other", 1);
	open_all(ep, fd);
	before = load_process_ns(opt.server_pid);
	start = load_now_ns();
	if (opt.idle_s)
		collect(ep, 0, (int)opt.idle_s * 1000);
	server = load_process_ns(opt.server_pid) - before;
	printf("{\"watches\":%ld,\"idle_cpu\":%.4f", total,
	       opt.idle_s ? (double)server / (double)(load_now_ns() - start) : 0.0);
	server = 0;
	for (long r = 0; r < opt.rounds; r++) {
		uint64_t took, sends;

		before = load_process_ns(opt.server_pid);
		start = load_now_ns();
		put(fd, "first", 2 + r);
		if (collect(ep, opt.watches, STALL_MS) != opt.watches)
			load_die("round %ld: not all watches woke in %d ms", r, STALL_MS);
		took = load_now_ns() - start;
		load_samples_add(&last, took);
		server += load_process_ns(opt.server_pid) - before;
		collect(ep, 0, QUIET_MS);
		sends = send_bare();
		load_samples_add(&bare, sends);
		load_samples_add(&ratio, took * 1000 / (sends ? sends : 1));
		for (long i = 0; i < opt.watches; i++)
			ask_index(&all[i]);
		collect(ep, 0, 500);
	}
	load_samples_sort(&last);
	load_samples_sort(&bare);
	load_samples_sort(&ratio);
	printf(",\"last_ms\":%.2f,\"worst_ms\":%.2f,\"bare_ms\":%.2f,\"of_bare\":%.2f,"
	       "\"server_us\":%.2f,\"strangers\":%ld}\n",
	       load_samples_us(&last, 500) / 1e3, load_samples_us(&last, 1000) / 1e3,
	       load_samples_us(&bare, 500) / 1e3, load_samples_us(&ratio, 500),
	       (double)server / 1e3 / (double)(opt.rounds * opt.watches), strangers);
}

static const char usage[] =
	"usage: watchload [-s address] [-p port] [-w watches] [-o watches-of-another-service]\n"
	"                 [-r rounds] [-I seconds-idle] [-c cpu] [-S pid]\n"
	"Changes a service and waits until all its watches have answered; prints one JSON line.\n";

int main(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "s:p:w:o:r:I:c:S:h")) != -1) {
		switch (c) {
		case 's':
			opt.address = optarg;
			break;
		case 'p':
			opt.port = load_number("-p", optarg, 1, 65535);
			break;
		case 'w':
			opt.watches = load_number("-w", optarg, 1, WATCHES_MAX);
			break;
		case 'o':
			opt.others = load_number("-o", optarg, 0, WATCHES_MAX);
			break;
		case 'r':
			opt.rounds = load_number("-r", optarg, 1, 1000);
			break;
		case 'I':
			opt.idle_s = load_number("-I", optarg, 0, 600);
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
	return strangers ? 1 : 0;
}
