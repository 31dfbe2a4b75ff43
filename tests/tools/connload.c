/* SPDX-License-Identifier: Apache-2.0 */
/* connload.c - what connect() and a datagram cost, to destinations drawn at random from a list.
 *   tcp        blocking connect, then a close with SO_LINGER 0: a reset, so nothing in TIME_WAIT
 *   exchange   connect, one octet each way, close: for a proxy, which accepts before it connects
 *   udpconnect connect() of one UDP socket again and again: the hook alone, no packet; by the CPU
 *              that the thread took, which nobody else's work is part of
 *   udpnew     the same with a new socket each time, which is closed
 *   udp        one socket that sends to and receives from a drawn destination, each timed
 *   udpc       the same over connected sockets, one a destination
 * The servers are threads of this program on another CPU: an acceptor that closes, or answers one
 * octet first, and does not sleep while it is measured, for to wake it would be most of what a
 * connect takes, and more often the longer the client takes in between; for udp an echo on the
 * client's own thread, so that no wake-up is timed.
 * With -s, sides that are compared take turns in short bursts, each from a process of its own in
 * its cgroup and network namespace: what else the machine does meets all of them alike. */
#include "load.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define SIDES_MAX      8 /* that are compared in one run: a row of processes on one CPU */
#define ROUNDS_MAX     100000
#define TARGETS_MAX    1000000 /* a line each: the largest table that is measured */
#define UDP_SOCKETS    64      /* connected sockets that udpc goes through in turn */
#define BACKLOG	       4096    /* connections that may wait for the acceptor */
#define OPERATIONS_MAX 10000000

struct target {
	struct sockaddr_storage at;
	socklen_t len;
};

struct options {
	const char *mode, *file, *one;
	const char *begin; /* of the line that is printed */
	long listen_port, cpu, server_cpu, operations, port, rounds;
	bool six;
};

/* What is compared with others: "name,cgroup,pid,port,file", all but the name may be empty. */
struct side {
	const char *name;
	const char *cgroup; /* directory; empty: ours */
	const char *netns;  /* pid of who is in the network namespace; empty: ours */
	const char *port;   /* to listen on, as -a */
	const char *file;   /* as -f */
	int turn, done;	    /* pipes: a turn begins, and has ended */
};

static struct options opt = {.mode = "tcp",
			     .begin = "{",
			     .cpu = 0,
			     .server_cpu = 1,
			     .operations = 12000,
			     .port = 80,
			     .rounds = 20};
static struct target *targets;
static size_t target_count;
static uint64_t seed = 88172645463325252ull;
static unsigned long failures;
static int listener = -1; /* the acceptor's */

/** "address" or "address port" of one line. */
static void parse_target(struct target *t, const char *line)
{
	struct sockaddr_in6 *in6 = (void *)&t->at;
	struct sockaddr_in *in4 = (void *)&t->at;
	char address[64];
	long port = opt.port;
	const char *space = strchr(line, ' ');
	size_t len = space ? (size_t)(space - line) : strlen(line);

	if (len >= sizeof(address))
		load_die("'%s' is not an address", line);
	memcpy(address, line, len);
	address[len] = 0;
	if (space)
		port = load_number("port", space + 1, 1, 65535);
	if (inet_pton(AF_INET, address, &in4->sin_addr) == 1) {
		in4->sin_family = AF_INET;
		in4->sin_port = htons((uint16_t)port);
		t->len = sizeof(*in4);
	} else if (inet_pton(AF_INET6, address, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons((uint16_t)port);
		t->len = sizeof(*in6);
	} else {
		load_die("'%s' is not an address", address);
	}
}

static void read_targets(void)
{
	char *one[] = {(char *)(uintptr_t)opt.one}, **lines = one;

	target_count = 1;
	if (opt.file)
		target_count = load_lines(opt.file, TARGETS_MAX, &lines);
	targets = load_alloc(target_count, sizeof(*targets));
	for (size_t i = 0; i < target_count; i++)
		parse_target(&targets[i], lines[i]);
	opt.six = targets[0].at.ss_family == AF_INET6;
}

static const struct target *draw(void)
{
	return &targets[load_random(&seed) % target_count];
}

/** A socket bound to the listening port on every address; @p type SOCK_STREAM or SOCK_DGRAM. */
static int open_server(int type)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6,
				   .sin6_port = htons((uint16_t)opt.listen_port)};
	struct sockaddr_in in4 = {.sin_family = AF_INET,
				  .sin_port = htons((uint16_t)opt.listen_port)};
	int fd = socket(opt.six ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0), yes = 1, rc;

	if (fd < 0)
		load_die("socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	rc = opt.six ? bind(fd, (struct sockaddr *)&in6, sizeof(in6))
		     : bind(fd, (struct sockaddr *)&in4, sizeof(in4));
	if (rc || (type == SOCK_STREAM && listen(fd, BACKLOG)))
		load_die("port %ld: %s", opt.listen_port, strerror(errno));
	return fd;
}

/** Accepts for ever; ends with the process. */
static void *acceptor(void *arg)
{
	bool exchange = !strcmp(opt.mode, "exchange");
	char octet;

	(void)arg;
	load_pin((int)opt.server_cpu);
	for (;;) {
		int c = accept4(listener, NULL, NULL, SOCK_CLOEXEC);

		if (c < 0)
			continue;
		if (exchange && recv(c, &octet, 1, 0) == 1)
			(void)send(c, &octet, 1, MSG_NOSIGNAL);
		close(c);
	}
	return NULL;
}

static void start_acceptor(void)
{
	pthread_t thread;

	listener = open_server(SOCK_STREAM);
	if (pthread_create(&thread, NULL, acceptor, NULL))
		load_die("no thread for the acceptor");
	pthread_detach(thread);
}

/** One connection. @return ns that connect (and exchange) took, 0 when it failed. */
static uint64_t connect_once(bool exchange)
{
	struct linger linger = {.l_onoff = 1};
	const struct target *t = draw();
	int fd = socket(t->at.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0), yes = 1;
	uint64_t start, ns = 0;
	char octet = 'x';

	if (fd < 0)
		load_die("socket: %s", strerror(errno));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
	if (exchange)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	start = load_now_ns();
	if (!connect(fd, (const struct sockaddr *)&t->at, t->len) &&
	    (!exchange || (send(fd, &octet, 1, MSG_NOSIGNAL) == 1 && recv(fd, &octet, 1, 0) == 1)))
		ns = load_now_ns() - start;
	close(fd);
	return ns;
}

/** Let the acceptor ask again and again for who has come, or sleep until somebody has: one of a
 * side whose turn it is not takes nothing from the others. */
static void acceptor_sleeps(bool on)
{
	if (listener >= 0 && fcntl(listener, F_SETFL, on ? 0 : O_NONBLOCK))
		load_die("fcntl: %s", strerror(errno));
}

static uint64_t thread_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void run_tcp(bool exchange)
{
	uint64_t start, machine, cpu, ns;
	struct load_samples s;
	double took;

	load_samples_init(&s, (size_t)opt.operations);
	acceptor_sleeps(false);
	machine = load_machine_ns();
	cpu = thread_ns();
	start = load_now_ns();
	for (long i = 0; i < opt.operations; i++) {
		ns = connect_once(exchange);
		if (ns)
			load_samples_add(&s, ns);
		else
			failures++;
	}
	took = (double)(load_now_ns() - start);
	cpu = thread_ns() - cpu;
	machine = load_machine_ns() - machine;
	acceptor_sleeps(true);
	load_samples_sort(&s);
	printf("%s\"per_s\":%.0f,\"p50_us\":%.2f,\"p99_us\":%.2f,\"machine_us\":%.2f,"
	       "\"cpu_us\":%.3f,\"failed\":%lu}\n",
	       opt.begin, (double)s.count * 1e9 / took, load_samples_us(&s, 500),
	       load_samples_us(&s, 990), (double)machine / 1e3 / (double)opt.operations,
	       (double)cpu / 1e3 / (double)opt.operations, failures);
	free(s.ns);
}

static int open_client(void)
{
	int fd = socket(opt.six ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		load_die("socket: %s", strerror(errno));
	return fd;
}

static void run_udpconnect(bool anew)
{
	int fd = open_client();
	uint64_t start = thread_ns();

	for (long i = 0; i < opt.operations; i++) {
		const struct target *t = draw();

		failures += connect(fd, (const struct sockaddr *)&t->at, t->len) != 0;
		if (anew) {
			close(fd);
			fd = open_client();
		}
	}
	printf("%s\"connect_ns\":%.1f,\"failed\":%lu}\n", opt.begin,
	       (double)(thread_ns() - start) / (double)opt.operations, failures);
	close(fd);
}

/** Send one octet back to where the datagram came from. */
static void echo(int server)
{
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	char octet;

	if (recvfrom(server, &octet, 1, MSG_DONTWAIT, (struct sockaddr *)&from, &len) != 1 ||
	    sendto(server, &octet, 1, 0, (struct sockaddr *)&from, len) != 1)
		failures++;
}

static void run_udp(bool connected)
{
	int server = open_server(SOCK_DGRAM), fds[UDP_SOCKETS];
	uint64_t send_ns = 0, recv_ns = 0, a, b;
	struct sockaddr_storage from;
	struct timeval wait = {.tv_sec = 1};
	char octet = 'x';

	for (int i = 0; i < UDP_SOCKETS; i++) {
		const struct target *t = draw();

		fds[i] = socket(t->at.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		setsockopt(fds[i], SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
		if (fds[i] < 0 || (connected && connect(fds[i], (const void *)&t->at, t->len)))
			load_die("UDP socket: %s", strerror(errno));
	}
	for (long i = 0; i < opt.operations; i++) {
		const struct target *t = draw();
		int fd = fds[connected ? i % UDP_SOCKETS : 0];
		socklen_t len = sizeof(from);
		ssize_t rc;

		a = load_now_ns();
		rc = connected ? send(fd, &octet, 1, 0)
			       : sendto(fd, &octet, 1, 0, (const void *)&t->at, t->len);
		b = load_now_ns();
		send_ns += b - a;
		failures += rc != 1;
		echo(server);
		a = load_now_ns();
		rc = recvfrom(fd, &octet, 1, 0, (struct sockaddr *)&from, &len);
		b = load_now_ns();
		recv_ns += b - a;
		failures += rc != 1;
	}
	printf("%s\"send_ns\":%.0f,\"recv_ns\":%.0f,\"failed\":%lu}\n", opt.begin,
	       (double)send_ns / (double)opt.operations, (double)recv_ns / (double)opt.operations,
	       failures);
	for (int i = 0; i < UDP_SOCKETS; i++)
		close(fds[i]);
	close(server);
}

static bool is_mode(const char *a, const char *b)
{
	return !strcmp(opt.mode, a) || !strcmp(opt.mode, b);
}

/** All that is not measured: in the process that measures, once. */
static void prepare(void)
{
	bool exchange = is_mode("exchange", "exchange");

	read_targets();
	load_pin((int)opt.cpu);
	if (!is_mode("tcp", "exchange"))
		return;
	if (opt.listen_port)
		start_acceptor();
	for (int i = 0; i < 200; i++) /* warm caches, and see that somebody answers */
		if (!connect_once(exchange) && i == 199)
			load_die("connect: %s", strerror(errno));
}

static void measure(void)
{
	if (is_mode("tcp", "exchange"))
		run_tcp(is_mode("exchange", "exchange"));
	else if (is_mode("udpconnect", "udpnew"))
		run_udpconnect(is_mode("udpnew", "udpnew"));
	else if (is_mode("udp", "udpc"))
		run_udp(is_mode("udpc", "udpc"));
	else
		load_die("unknown mode '%s'", opt.mode);
	fflush(stdout);
}

static void parse_side(struct side *s, char *text)
{
	const char **to[] = {&s->name, &s->cgroup, &s->netns, &s->port, &s->file};

	for (size_t i = 0; i < sizeof(to) / sizeof(*to); i++) {
		*to[i] = strsep(&text, ",");
		if (!*to[i])
			load_die("a side is 'name,cgroup,pid,port,file'");
	}
}

static void enter(const struct side *s)
{
	char path[4096];
	int fd;

	if (*s->cgroup) {
		snprintf(path, sizeof(path), "%s/cgroup.procs", s->cgroup);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || write(fd, "0", 1) != 1)
			load_die("%s: %s", path, strerror(errno));
		close(fd);
	}
	if (*s->netns) {
		snprintf(path, sizeof(path), "/proc/%s/ns/net", s->netns);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || setns(fd, CLONE_NEWNET))
			load_die("%s: %s", path, strerror(errno));
		close(fd);
	}
}

/** A side's process: it measures when it is its turn, and ends with who gives the turns. */
static void take_turns(const struct side *s, int turn, int done)
{
	static char begin[256];
	char octet;

	enter(s);
	snprintf(begin, sizeof(begin), "{\"side\":\"%s\",", s->name);
	opt.begin = begin;
	opt.file = s->file;
	opt.listen_port = *s->port ? load_number("port", s->port, 1, 65535) : 0;
	prepare();
	while (write(done, "", 1) == 1 && read(turn, &octet, 1) == 1)
		measure();
}

static void start_side(struct side *s)
{
	int turn[2], done[2];
	pid_t pid;

	if (pipe2(turn, O_CLOEXEC) || pipe2(done, O_CLOEXEC))
		load_die("pipe: %s", strerror(errno));
	pid = fork();
	if (pid < 0)
		load_die("fork: %s", strerror(errno));
	if (!pid) {
		close(turn[1]);
		close(done[0]);
		take_turns(s, turn[0], done[1]);
		_exit(0);
	}
	close(turn[0]);
	close(done[1]);
	s->turn = turn[1];
	s->done = done[0];
}

static void await(const struct side *s)
{
	char octet;

	if (read(s->done, &octet, 1) != 1)
		load_die("side '%s' has ended", s->name);
}

/** Put the @p n sides in another order: who comes behind whom would count as well. */
static void shuffle(int *order, int n)
{
	for (int i = n - 1; i > 0; i--) {
		int j = (int)(load_random(&seed) % (unsigned)(i + 1)), at = order[i];

		order[i] = order[j];
		order[j] = at;
	}
}

/** Each side has one turn a round. */
static void compare(struct side *sides, int n)
{
	int order[SIDES_MAX];

	for (int i = 0; i < n; i++) {
		order[i] = i;
		start_side(&sides[i]);
		await(&sides[i]);
	}
	for (long r = 0; r < opt.rounds; r++) {
		shuffle(order, n);
		for (int i = 0; i < n; i++) {
			const struct side *s = &sides[order[i]];

			if (write(s->turn, "", 1) != 1)
				load_die("side '%s' has ended", s->name);
			await(s);
		}
	}
	for (int i = 0; i < n; i++)
		close(sides[i].turn);
	while (wait(NULL) > 0)
		;
}

static const char usage[] =
	"usage: connload [-m tcp|exchange|udpconnect|udpnew|udp|udpc] [-n operations] [-c cpu]\n"
	"                [-a listen-port [-C cpu]] (-d 'address port' | -f file |\n"
	"                [-r rounds] -s 'name,cgroup,pid,port,file' -s ...)\n"
	"Connects to destinations drawn from a file of lines 'address [port]' (port: -p, 80) and\n"
	"prints one JSON line. -a serves that port on every address from a thread on CPU -C.\n"
	"-s: sides that take turns, -n operations each time, and print a line each time; in a\n"
	"cgroup, in the network namespace of a process, with a listening port and a file; each\n"
	"of these may be empty.\n";

int main(int argc, char **argv)
{
	struct side sides[SIDES_MAX];
	int c, n = 0;

	while ((c = getopt(argc, argv, "m:n:c:a:C:d:f:p:r:s:h")) != -1) {
		switch (c) {
		case 'm':
			opt.mode = optarg;
			break;
		case 'n':
			opt.operations = load_number("-n", optarg, 1, OPERATIONS_MAX);
			break;
		case 'c':
			opt.cpu = load_number("-c", optarg, 0, CPU_SETSIZE - 1);
			break;
		case 'a':
			opt.listen_port = load_number("-a", optarg, 1, 65535);
			break;
		case 'C':
			opt.server_cpu = load_number("-C", optarg, 0, CPU_SETSIZE - 1);
			break;
		case 'd':
			opt.one = optarg;
			break;
		case 'f':
			opt.file = optarg;
			break;
		case 'p':
			opt.port = load_number("-p", optarg, 1, 65535);
			break;
		case 'r':
			opt.rounds = load_number("-r", optarg, 1, ROUNDS_MAX);
			break;
		case 's':
			if (n == SIDES_MAX)
				load_die("more than %d sides", SIDES_MAX);
			parse_side(&sides[n++], optarg);
			break;
		default:
			fputs(usage, c == 'h' ? stdout : stderr);
			return c == 'h' ? 0 : 2;
		}
	}
	if (optind != argc || !!opt.one + !!opt.file + !!n != 1) {
		fputs(usage, stderr);
		return 2;
	}
	if (n) {
		compare(sides, n);
		return 0;
	}
	prepare();
	measure();
	free(targets);
	return 0;
}
