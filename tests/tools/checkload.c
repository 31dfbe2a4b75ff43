/* SPDX-License-Identifier: Apache-2.0 */
/* checkload.c - what checks cost and when they start: registers instances with a check of one kind,
 * is the server that is checked, and after one interval of warming up looks at whole intervals: the
 * agent's CPU, and how evenly connections come. The measure of that is Kolmogorov's: the largest
 * difference between the share of the interval that has passed and the share of connections that
 * has come; 0 is a metronome, random starts of n checks give about 0.9 / sqrt(n). */
#include "http.h"

#include <getopt.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>

#define BACKLOG	    65535
#define REQUEST_MAX 2048 /* octets of a request */
#define REGISTERS   64	 /* connections that register, a request in flight on each */
#define STARTS_MAX  (1 << 22)
#define LOOPBACKS   200 /* addresses that are checked in turn: no port range runs out */

struct options {
	long n, interval_s, rounds, port, server_pid;
	bool http;
};
static struct options opt = {.n = 10000, .interval_s = 10, .rounds = 2, .port = 8500};
static uint64_t *starts;
static atomic_size_t starts_count;
static unsigned short listen_port;

/* --- the server ------------------------------------------------------------------------------- */

static int listener(void)
{
	struct sockaddr_in in = {.sin_family = AF_INET};
	socklen_t len = sizeof(in);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0 || bind(fd, (struct sockaddr *)&in, sizeof(in)) || listen(fd, BACKLOG) ||
	    getsockname(fd, (struct sockaddr *)&in, &len))
		load_die("listen: %s", strerror(errno));
	listen_port = ntohs(in.sin_port);
	return fd;
}

static void answer(int fd)
{
	static const char ok[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	char request[REQUEST_MAX];
	ssize_t n = recv(fd, request, sizeof(request), MSG_DONTWAIT);

	if (n <= 0 && (n == 0 || errno != EAGAIN)) {
		close(fd);
		return;
	}
	if (n > 0 && send(fd, ok, sizeof(ok) - 1, MSG_NOSIGNAL) < 0)
		close(fd);
}

static void *serve(void *arg)
{
	int lfd = *(int *)arg, ep = epoll_create1(EPOLL_CLOEXEC), n, fd;
	struct epoll_event events[64], ev = {.events = EPOLLIN, .data.fd = lfd};

	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, lfd, &ev))
		load_die("epoll: %s", strerror(errno));
	while ((n = epoll_wait(ep, events, 64, -1)) >= 0 || errno == EINTR) {
		for (int i = 0; i < n; i++) {
			if (events[i].data.fd != lfd) {
				answer(events[i].data.fd);
				continue;
			}
			while ((fd = accept4(lfd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
				size_t at = atomic_fetch_add(&starts_count, 1);

				if (at < STARTS_MAX)
					starts[at] = load_now_ns();
				if (!opt.http) {
					close(fd);
					continue;
				}
				ev = (struct epoll_event){.events = EPOLLIN, .data.fd = fd};
				if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev))
					close(fd);
			}
		}
	}
	return NULL;
}

/* --- registration ----------------------------------------------------------------------------- */

static size_t registration(char *request, long i)
{
	char body[REQUEST_MAX / 2], check[256];

	snprintf(check, sizeof(check), "\"%s127.0.1.%ld:%u%s\"", opt.http ? "http://" : "",
		 1 + i % LOOPBACKS, listen_port, opt.http ? "/health" : "");
	snprintf(body, sizeof(body),
		 "{\"ID\":\"c%ld\",\"Name\":\"checked-%ld\",\"Port\":1,\"Check\":{\"%s\":%s,"
		 "\"Interval\":\"%lds\",\"Timeout\":\"5s\"}}",
		 i, i / 10, opt.http ? "HTTP" : "TCP", check, opt.interval_s);
	return http_request(request, REQUEST_MAX, "PUT", "/v1/agent/service/register", body);
}

static void register_all(void)
{
	static char answers[REGISTERS][16384];
	char request[REQUEST_MAX];
	int fds[REGISTERS];
	size_t have, size;
	long i = 0;

	for (int c = 0; c < REGISTERS; c++)
		fds[c] = http_open("127.0.0.1", opt.port);
	while (i < opt.n) {
		int sent = 0;

		for (; sent < REGISTERS && i < opt.n; sent++, i++) {
			size_t len = registration(request, i);

			if (send(fds[sent], request, len, MSG_NOSIGNAL) != (ssize_t)len)
				load_die("send: %s", strerror(errno));
		}
		for (int c = 0; c < sent; c++) {
			int status;

			for (have = 0; !(status = http_complete(answers[c], have, &size));) {
				ssize_t n = recv(fds[c], answers[c] + have,
						 sizeof(answers[c]) - have - 1, 0);

				if (n <= 0)
					load_die("the agent closed a connection");
				have += (size_t)n;
			}
			if (status != 200)
				load_die("status %d: %.200s", status, answers[c]);
		}
	}
	for (int c = 0; c < REGISTERS; c++)
		close(fds[c]);
}

/* --- measuring -------------------------------------------------------------------------------- */

static int by_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* Largest difference between the shares of time and of connections, in percent. */
static double unevenness(uint64_t from, uint64_t span, size_t *ret_count)
{
	size_t total = atomic_load(&starts_count), n = 0;
	uint64_t *in = load_alloc(total, sizeof(*in));
	double worst = 0;

	for (size_t i = 0; i < total && i < STARTS_MAX; i++) {
		if (starts[i] >= from && starts[i] < from + span)
			in[n++] = starts[i] - from;
	}
	qsort(in, n, sizeof(*in), by_time);
	for (size_t i = 0; i < n; i++) {
		double time = (double)in[i] / (double)span;
		double lo = (double)i / (double)n - time, hi = (double)(i + 1) / (double)n - time;

		if (-lo > worst)
			worst = -lo;
		if (hi > worst)
			worst = hi;
	}
	free(in);
	*ret_count = n;
	return worst * 100;
}

static void nap_until(uint64_t ns)
{
	struct timespec ts = {.tv_sec = (time_t)(ns / 1000000000),
			      .tv_nsec = (long)(ns % 1000000000)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
		;
}

static const char usage[] =
	"usage: checkload [-p port] [-n checks] [-i interval, s] [-r intervals] [-H] -S pid\n"
	"Registers that many instances with a TCP check each, -H: HTTP, of a server of its own, "
	"and\n"
	"prints one JSON line: the agent's CPU in percent of one, us a check, connections, and "
	"how\n"
	"uneven they come within an interval.\n";

int main(int argc, char **argv)
{
	uint64_t span, from, cpu;
	pthread_t thread;
	double uneven;
	size_t count;
	int c, lfd;

	while ((c = getopt(argc, argv, "p:n:i:r:S:Hh")) != -1) {
		switch (c) {
		case 'p':
			opt.port = load_number("-p", optarg, 1, 65535);
			break;
		case 'n':
			opt.n = load_number("-n", optarg, 1, 1000000);
			break;
		case 'i':
			opt.interval_s = load_number("-i", optarg, 1, 3600);
			break;
		case 'r':
			opt.rounds = load_number("-r", optarg, 1, 100);
			break;
		case 'S':
			opt.server_pid = load_number("-S", optarg, 1, INT32_MAX);
			break;
		case 'H':
			opt.http = true;
			break;
		default:
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	}
	if (optind != argc || !opt.server_pid) {
		fputs(usage, stderr);
		return 2;
	}
	starts = load_alloc(STARTS_MAX, sizeof(*starts));
	lfd = listener();
	if (pthread_create(&thread, NULL, serve, &lfd))
		load_die("no thread");
	register_all();
	span = (uint64_t)opt.interval_s * 1000000000ull;
	nap_until(load_now_ns() + span + span / 10);
	from = load_now_ns();
	cpu = load_process_ns(opt.server_pid);
	nap_until(from + span * (uint64_t)opt.rounds);
	cpu = load_process_ns(opt.server_pid) - cpu;
	uneven = unevenness(from, span, &count);
	printf("{\"cpu_percent\":%.2f,\"us\":%.1f,\"count\":%zu,\"uneven_percent\":%.2f}\n",
	       (double)cpu * 100 / (double)(span * (uint64_t)opt.rounds),
	       (double)cpu / 1e3 / (double)(opt.n * opt.rounds), count, uneven);
	return count * 100 < (size_t)opt.n * 98; /* most must come, else the figures mean nothing */
}
