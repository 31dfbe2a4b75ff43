/* SPDX-License-Identifier: Apache-2.0 */
/* slowload.c - what clients feel of a slow backend. The servers are queues of one worker each, on
 * ports that follow one another: they accept at once, answer one octet when the worker has had its
 * time for all that came before, and close. The last is -x times slower. The client dials at
 * moments drawn evenly at random (an open loop: whoever is slow is not spared), and times each
 * answer. slowload -S -p 9100 -n 10 -u 2000 -x 10          the servers, until they are killed
 *   slowload -d "240.0.0.1 80" -r 1000 -t 5          the client */
#include "load.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>

#define SERVERS_MAX   64
#define FDS_MAX	      16384 /* connections at a time; more are failures */
#define EVENTS	      256
#define BACKLOG	      4096
#define GIVE_UP_NS    20000000000ull /* that an answer may take behind the last dial */
#define SETTLE_PERMIL 200 /* of the dials, first ones: not counted, choices learn by them */

static struct {
	bool serve;
	const char *to;
	long port, servers, us, factor, rate, seconds;
} opt = {.port = 9100, .servers = 10, .us = 2000, .factor = 10, .rate = 1000, .seconds = 5};

static struct timespec until(uint64_t ns)
{
	return (struct timespec){.tv_sec = (time_t)(ns / 1000000000ull),
				 .tv_nsec = (long)(ns % 1000000000ull)};
}

static void arm(int timer, uint64_t at)
{
	struct itimerspec t = {.it_value = until(at)};

	if (timerfd_settime(timer, TFD_TIMER_ABSTIME, &t, NULL))
		load_die("timer: %s", strerror(errno));
}

static void watch(int epoll, int fd, uint32_t events, uint32_t tag, uint32_t value)
{
	struct epoll_event e = {.events = events, .data.u64 = (uint64_t)tag << 32 | value};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e))
		load_die("epoll: %s", strerror(errno));
}

/* --- servers --- */
enum { LISTENER, TIMER };

struct server {
	int listener, timer;
	uint64_t work_ns, free_ns; /* when the worker has done all that came */
	int queue[FDS_MAX];	   /* a ring of who waits */
	uint64_t due[FDS_MAX];
	unsigned head, count;
};

static void serve_one(struct server *s, uint64_t now)
{
	while (s->count && s->due[s->head] <= now) {
		int fd = s->queue[s->head];

		(void)!write(fd, "x", 1);
		close(fd);
		s->head = (s->head + 1) % FDS_MAX;
		s->count--;
	}
	if (s->count)
		arm(s->timer, s->due[s->head]);
}

static void accept_all(struct server *s)
{
	int fd;

	while ((fd = accept4(s->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
		uint64_t now = load_now_ns();
		unsigned at = (s->head + s->count) % FDS_MAX;

		if (s->count == FDS_MAX) {
			close(fd);
			continue;
		}
		s->free_ns = (s->free_ns > now ? s->free_ns : now) + s->work_ns;
		s->queue[at] = fd;
		s->due[at] = s->free_ns;
		if (!s->count++)
			arm(s->timer, s->free_ns);
	}
}

static void serve(void)
{
	struct server *all = load_alloc(SERVERS_MAX, sizeof(*all));
	struct epoll_event e[EVENTS];
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	for (long i = 0; i < opt.servers; i++) {
		struct sockaddr_in a = {.sin_family = AF_INET,
					.sin_port = htons((uint16_t)(opt.port + i)),
					.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
		struct server *s = &all[i];
		int one = 1;

		s->work_ns =
			(uint64_t)opt.us * 1000 * (uint64_t)(i == opt.servers - 1 ? opt.factor : 1);
		s->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		setsockopt(s->listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
		if (bind(s->listener, (void *)&a, sizeof(a)) || listen(s->listener, BACKLOG))
			load_die("port %ld: %s", opt.port + i, strerror(errno));
		s->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
		watch(epoll, s->listener, EPOLLIN, LISTENER, (uint32_t)i);
		watch(epoll, s->timer, EPOLLIN, TIMER, (uint32_t)i);
	}
	for (;;) {
		int n = epoll_wait(epoll, e, EVENTS, -1);

		for (int k = 0; k < n; k++) {
			struct server *s = &all[(uint32_t)e[k].data.u64];
			uint64_t ticks;

			if (e[k].data.u64 >> 32 == LISTENER) {
				accept_all(s);
				continue;
			}
			(void)!read(s->timer, &ticks, sizeof(ticks));
			serve_one(s, load_now_ns());
		}
	}
}

/* --- client --- */
struct call {
	uint64_t since;
	bool counts;
};
static struct call calls[FDS_MAX];
static struct load_samples samples;
static unsigned long failed, open_calls;

static void dial(int epoll, const struct sockaddr_in *to, uint64_t due, bool counts)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0 || fd >= FDS_MAX ||
	    (connect(fd, (const void *)to, sizeof(*to)) && errno != EINPROGRESS)) {
		failed++;
		if (fd >= 0)
			close(fd);
		return;
	}
	calls[fd] = (struct call){.since = due, .counts = counts};
	open_calls++;
	watch(epoll, fd, EPOLLIN, 0, (uint32_t)fd);
}

static void answers(int epoll, int wait_ms)
{
	struct epoll_event e[EVENTS];
	int n = epoll_wait(epoll, e, EVENTS, wait_ms);

	for (int k = 0; k < n; k++) {
		int fd = (int)(uint32_t)e[k].data.u64;
		char octet;

		if (read(fd, &octet, 1) != 1)
			failed++;
		else if (calls[fd].counts)
			load_samples_add(&samples, load_now_ns() - calls[fd].since);
		close(fd);
		open_calls--;
	}
}

/* Moments drawn evenly within the time: a Poisson process, given how many there are. */
static int by_time(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint64_t *moments(size_t n, uint64_t span_ns)
{
	uint64_t *ret = load_alloc(n, sizeof(*ret)), seed = 88172645463325252ull;

	for (size_t i = 0; i < n; i++)
		ret[i] = load_random(&seed) % span_ns;
	qsort(ret, n, sizeof(*ret), by_time);
	return ret;
}

static void call(void)
{
	size_t n = (size_t)(opt.rate * opt.seconds), i = 0;
	uint64_t *at = moments(n, (uint64_t)opt.seconds * 1000000000ull), begin;
	struct sockaddr_in to = {.sin_family = AF_INET};
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	char address[64];
	int port;

	if (sscanf(opt.to, "%63s %d", address, &port) != 2 ||
	    inet_pton(AF_INET, address, &to.sin_addr) != 1)
		load_die("-d \"ADDRESS PORT\", not '%s'", opt.to);
	to.sin_port = htons((uint16_t)port);
	load_samples_init(&samples, n);
	begin = load_now_ns();
	while (i < n || open_calls) {
		uint64_t now = load_now_ns() - begin;

		if (now > (uint64_t)opt.seconds * 1000000000ull + GIVE_UP_NS)
			break;
		for (; i < n && at[i] <= now; i++)
			dial(epoll, &to, begin + at[i], i >= n * SETTLE_PERMIL / 1000);
		answers(epoll, i < n && at[i] - now < 1000000 ? 0 : 1);
	}
	failed += open_calls;
	load_samples_sort(&samples);
	printf("{\"answers\": %zu, \"failed\": %lu, \"p50_us\": %.0f, \"p99_us\": %.0f}\n",
	       samples.count, failed, load_samples_us(&samples, 500),
	       load_samples_us(&samples, 990));
}

int main(int argc, char **argv)
{
	int c;

	while ((c = getopt(argc, argv, "Sp:n:u:x:d:r:t:")) != -1) {
		switch (c) {
		case 'S':
			opt.serve = true;
			break;
		case 'p':
			opt.port = load_number("-p", optarg, 1, 65535);
			break;
		case 'n':
			opt.servers = load_number("-n", optarg, 1, SERVERS_MAX);
			break;
		case 'u':
			opt.us = load_number("-u", optarg, 1, 1000000);
			break;
		case 'x':
			opt.factor = load_number("-x", optarg, 1, 1000);
			break;
		case 'd':
			opt.to = optarg;
			break;
		case 'r':
			opt.rate = load_number("-r", optarg, 1, 100000);
			break;
		case 't':
			opt.seconds = load_number("-t", optarg, 1, 600);
			break;
		default:
			load_die("see the head of slowload.c");
		}
	}
	if (opt.serve)
		serve();
	if (!opt.to)
		load_die("-S or -d");
	call();
	return 0;
}
