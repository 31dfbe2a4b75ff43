/* SPDX-License-Identifier: Apache-2.0 */
/* dnsload.c - DNS questions over UDP or TCP, as cheaply as a client can ask them.
 * Batched: one thread, some connected sockets, a window of questions in flight on each, sendmmsg
 * and recvmmsg, so that the client costs little beside the server; over TCP the window goes out in
 * one piece. One in flight: what one application sees. Resolve: ask once for every name and print
 * its first address, to make a list for connload. Every answer is looked at: one of another RCODE
 * than is expected, or of none and without records, is counted as bad.
 */
#include "load.h"

#include <arpa/inet.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#define SOCKETS_MAX   16
#define WINDOW_MAX    256
#define NAMES_MAX     2000000 /* twice what the data plane is measured with */
#define QUERY_MAX     300     /* octets: header, name of 255, type and class, OPT */
#define ANSWER_MAX    1400    /* octets: more than we announce with EDNS */
#define WAIT_US	      50000   /* us without an answer before what is in flight counts as lost */
#define TCP_WAIT_S    10      /* s without an answer over TCP: the server hangs */
#define LATENCIES_MAX 4000000 /* samples kept in the mode with one in flight */
#define PIDS_MAX      16      /* processes of a server */
#define TYPE_A	      1
#define TYPE_AAAA     28

struct query {
	uint16_t len;
	uint8_t data[QUERY_MAX];
};

struct options {
	const char *address, *pattern, *file;
	long port, names, cpu, sockets, window, seconds_ms, rate, server_pids[PIDS_MAX];
	uint16_t type;
	uint8_t rcode; /* that answers are expected to have */
	bool one, echo, resolve, edns, mixed_case, tcp;
};

struct totals {
	uint64_t sent, answered, lost, bad;
};

/** Write a name in wire form behind @p p; @return octets, 0 if it is no name. */
static size_t put_name(uint8_t *p, const char *text)
{
	size_t at = 0;

	while (*text) {
		size_t len = strcspn(text, ".");

		if (!len || len > 63 || at + len + 2 > 255)
			return 0;
		p[at++] = (uint8_t)len;
		memcpy(p + at, text, len);
		at += len;
		text += len;
		if (*text == '.')
			text++;
	}
	p[at++] = 0;
	return at;
}

static void build_query(struct query *q, const char *name, const struct options *o)
{
	static const uint8_t opt[11] = {0, 0, 41, 4, 208}; /* root, OPT, 1232 octets */
	uint8_t *p = q->data;
	size_t at = 12, len;

	memset(p, 0, 12);
	p[2] = 1; /* RD, as a stub resolver sets it */
	p[5] = 1; /* QDCOUNT */
	len = put_name(p + at, name);
	if (!len)
		load_die("'%s' is not a name", name);
	for (size_t i = 0; o->mixed_case && i < len; i += 2)
		if (p[at + i] >= 'a' && p[at + i] <= 'z')
			p[at + i] -= 32;
	at += len;
	p[at++] = (uint8_t)(o->type >> 8);
	p[at++] = (uint8_t)o->type;
	p[at++] = 0;
	p[at++] = 1;
	if (o->edns) {
		p[11] = 1;
		memcpy(p + at, opt, sizeof(opt));
		at += sizeof(opt);
	}
	q->len = (uint16_t)at;
}

/** All questions, in an order that no cache line prefetcher can guess. */
static struct query *build_queries(const struct options *o, size_t *ret_count)
{
	uint64_t seed = 88172645463325252ull;
	char **lines = NULL, name[512];
	size_t n = (size_t)o->names;
	struct query *q;

	if (o->file)
		n = load_lines(o->file, NAMES_MAX, &lines);
	if (!n)
		load_die("no names to ask for");
	q = load_alloc(n, sizeof(*q));
	for (size_t i = 0; i < n; i++) {
		if (!lines)
			snprintf(name, sizeof(name), "%s%06zu%s", o->pattern, i,
				 strchr(o->pattern, 0) + 1);
		build_query(&q[i], lines ? lines[i] : name, o);
	}
	for (size_t i = n - 1; i > 0 && !o->resolve; i--) {
		size_t j = load_random(&seed) % (i + 1);
		struct query t = q[i];

		q[i] = q[j];
		q[j] = t;
	}
	*ret_count = n;
	return q;
}

static int open_socket(const struct options *o)
{
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)o->port)};
	struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)o->port)};
	struct timeval wait = {.tv_sec = o->tcp ? TCP_WAIT_S : 0, .tv_usec = o->tcp ? 0 : WAIT_US};
	int fd, size = 1 << 20, yes = 1, rc;
	bool six = strchr(o->address, ':');

	if (inet_pton(six ? AF_INET6 : AF_INET, o->address,
		      six ? (void *)&in6.sin6_addr : (void *)&in4.sin_addr) != 1)
		load_die("'%s' is not an address", o->address);
	fd = socket(six ? AF_INET6 : AF_INET, (o->tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC,
		    0);
	if (fd < 0)
		load_die("socket: %s", strerror(errno));
	if (o->tcp)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	else
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait));
	rc = six ? connect(fd, (struct sockaddr *)&in6, sizeof(in6))
		 : connect(fd, (struct sockaddr *)&in4, sizeof(in4));
	if (rc)
		load_die("connect to %s port %ld: %s", o->address, o->port, strerror(errno));
	return fd;
}

static bool is_bad(const struct options *o, const uint8_t *a, size_t len)
{
	if (o->echo)
		return len < 12;
	return len < 12 || !(a[2] & 0x80) || (a[3] & 15) != o->rcode ||
	       (!o->rcode && !(a[6] | a[7]));
}

/* One socket and its window. The vectors are set up once: what is asked changes, the room for
 * answers does not. */
struct lane {
	int fd;
	unsigned in_flight;
	struct mmsghdr out[WINDOW_MAX], in[WINDOW_MAX];
	struct iovec out_iov[WINDOW_MAX], in_iov[WINDOW_MAX];
	uint8_t answers[WINDOW_MAX][ANSWER_MAX];
	/* of TCP: a window of questions with their lengths in front; answers that have come */
	uint8_t out_stream[WINDOW_MAX * (2 + QUERY_MAX)], in_stream[WINDOW_MAX * (2 + ANSWER_MAX)];
	size_t have;
};

static void lane_init(struct lane *l, const struct options *o)
{
	l->fd = open_socket(o);
	for (int i = 0; i < WINDOW_MAX; i++) {
		l->in_iov[i] = (struct iovec){l->answers[i], ANSWER_MAX};
		l->in[i].msg_hdr.msg_iov = &l->in_iov[i];
		l->in[i].msg_hdr.msg_iovlen = 1;
		l->out[i].msg_hdr.msg_iov = &l->out_iov[i];
		l->out[i].msg_hdr.msg_iovlen = 1;
	}
}

/** The next question of the list, with a fresh id: servers that see the same packet again may drop
 *  it. */
static struct query *next_query(struct query *q, size_t count, size_t *next, uint64_t id)
{
	struct query *one = &q[*next];

	*next = *next + 1 == count ? 0 : *next + 1;
	one->data[0] = (uint8_t)id;
	one->data[1] = (uint8_t)(id >> 8);
	return one;
}

static void lane_send(struct lane *l, const struct options *o, struct query *q, size_t count,
		      size_t *next, struct totals *t)
{
	unsigned n = (unsigned)o->window - l->in_flight;
	int rc;

	for (unsigned i = 0; i < n; i++) {
		struct query *one = next_query(q, count, next, t->sent + i);

		l->out_iov[i] = (struct iovec){one->data, one->len};
	}
	rc = sendmmsg(l->fd, l->out, n, 0);
	if (rc < 0 && errno != ECONNREFUSED && errno != EAGAIN && errno != ENOBUFS)
		load_die("sendmmsg: %s", strerror(errno));
	if (rc > 0) {
		t->sent += (unsigned)rc;
		l->in_flight += (unsigned)rc;
	}
}

/** Take what has come, waiting for the first; nothing within the wait means that it is lost. */
static void lane_receive(struct lane *l, const struct options *o, struct totals *t)
{
	int rc = recvmmsg(l->fd, l->in, (unsigned)o->window, MSG_WAITFORONE, NULL);

	if (rc <= 0) {
		t->lost += l->in_flight;
		l->in_flight = 0;
		return;
	}
	for (int i = 0; i < rc; i++)
		t->bad += is_bad(o, l->answers[i], l->in[i].msg_len);
	t->answered += (unsigned)rc;
	/* an answer that comes after it was given up counts as answered and stays lost */
	l->in_flight -= (unsigned)rc < l->in_flight ? (unsigned)rc : l->in_flight;
}

static void stream_send(struct lane *l, const struct options *o, struct query *q, size_t count,
			size_t *next, struct totals *t)
{
	size_t len = 0, at = 0;
	ssize_t rc;

	for (; l->in_flight < (unsigned)o->window; l->in_flight++) {
		const struct query *one = next_query(q, count, next, t->sent++);

		l->out_stream[len] = (uint8_t)(one->len >> 8);
		l->out_stream[len + 1] = (uint8_t)one->len;
		memcpy(l->out_stream + len + 2, one->data, one->len);
		len += 2u + one->len;
	}
	while (at < len) {
		rc = send(l->fd, l->out_stream + at, len - at, MSG_NOSIGNAL);
		if (rc <= 0)
			load_die("send: %s", strerror(errno));
		at += (size_t)rc;
	}
}

/** Take what has come, waiting for the first: the last of it may be half an answer. */
static void stream_receive(struct lane *l, const struct options *o, struct totals *t)
{
	ssize_t rc = recv(l->fd, l->in_stream + l->have, sizeof(l->in_stream) - l->have, 0);
	size_t at = 0, len;

	if (rc <= 0)
		load_die("the server %s", rc ? "does not answer" : "closed the connection");
	l->have += (size_t)rc;
	while (l->have - at >= 2) {
		len = (size_t)l->in_stream[at] << 8 | l->in_stream[at + 1];
		if (len > ANSWER_MAX)
			load_die("an answer of %zu octets", len);
		if (l->have - at < 2 + len)
			break;
		t->bad += is_bad(o, l->in_stream + at + 2, len);
		t->answered++;
		l->in_flight--;
		at += 2 + len;
	}
	memmove(l->in_stream, l->in_stream + at, l->have - at);
	l->have -= at;
}

static uint64_t servers_ns(const struct options *o)
{
	uint64_t ns = 0;

	for (unsigned i = 0; i < PIDS_MAX; i++)
		ns += load_process_ns(o->server_pids[i]);
	return ns;
}

static void run_batched(const struct options *o, struct query *q, size_t count)
{
	struct lane *lanes = load_alloc((size_t)o->sockets, sizeof(*lanes));
	uint64_t start, end, stop, machine, server, self;
	struct totals t = {0};
	size_t next = 0;
	double n;

	for (long i = 0; i < o->sockets; i++)
		lane_init(&lanes[i], o);
	machine = load_machine_ns();
	server = servers_ns(o);
	self = load_self_ns();
	start = load_now_ns();
	stop = start + (uint64_t)o->seconds_ms * 1000000ull;
	do {
		for (long i = 0; i < o->sockets; i++)
			(o->tcp ? stream_send : lane_send)(&lanes[i], o, q, count, &next, &t);
		for (long i = 0; i < o->sockets; i++)
			(o->tcp ? stream_receive : lane_receive)(&lanes[i], o, &t);
		end = load_now_ns();
	} while (end < stop);
	self = load_self_ns() - self;
	server = servers_ns(o) - server;
	machine = load_machine_ns() - machine;
	if (!t.answered)
		load_die("no answer from %s port %ld", o->address, o->port);
	n = (double)t.answered;
	printf("{\"qps\":%.0f,\"machine_us\":%.3f,\"client_us\":%.3f,\"server_us\":%.3f,"
	       "\"tasks_us\":%.3f,\"answered\":%llu,\"lost\":%llu,\"bad\":%llu}\n",
	       n * 1e9 / (double)(end - start), (double)machine / n / 1e3, (double)self / n / 1e3,
	       (double)server / n / 1e3, (double)(self + server) / n / 1e3,
	       (unsigned long long)t.answered, (unsigned long long)t.lost,
	       (unsigned long long)t.bad);
}

/** Ask and wait. @return ns, 0 when lost. */
static uint64_t ask(int fd, const struct query *q, uint8_t *answer, size_t *ret_len)
{
	uint64_t start = load_now_ns();
	ssize_t len;

	if (send(fd, q->data, q->len, 0) < 0)
		return 0;
	do {
		len = recv(fd, answer, ANSWER_MAX, 0);
	} while (len >= 2 && memcmp(answer, q->data, 2) != 0);
	if (len < 2)
		return 0;
	*ret_len = (size_t)len;
	return load_now_ns() - start;
}

static void run_one(const struct options *o, struct query *q, size_t count)
{
	struct load_samples s;
	struct totals t = {0};
	uint8_t answer[ANSWER_MAX];
	uint64_t stop, ns;
	size_t len = 0;
	int fd = open_socket(o);

	load_samples_init(&s, LATENCIES_MAX);
	stop = load_now_ns() + (uint64_t)o->seconds_ms * 1000000ull;
	for (size_t i = 0; load_now_ns() < stop; i++) {
		struct query *one = &q[i % count];

		one->data[0] = (uint8_t)i;
		one->data[1] = (uint8_t)(i >> 8);
		ns = ask(fd, one, answer, &len);
		t.sent++;
		if (!ns) {
			t.lost++;
			continue;
		}
		t.bad += is_bad(o, answer, len);
		load_samples_add(&s, ns);
	}
	if (!s.count)
		load_die("no answer from %s port %ld", o->address, o->port);
	load_samples_sort(&s);
	printf("{\"p50_us\":%.2f,\"p99_us\":%.2f,\"p999_us\":%.2f,\"answered\":%zu,\"lost\":%llu,"
	       "\"bad\":%llu}\n",
	       load_samples_us(&s, 500), load_samples_us(&s, 990), load_samples_us(&s, 999),
	       s.count, (unsigned long long)t.lost, (unsigned long long)t.bad);
}

/* A burst each millisecond, whoever answers: what a client does that never waits. */
static void run_storm(const struct options *o, struct query *q, size_t count)
{
	struct lane *l = load_alloc(1, sizeof(*l));
	uint64_t start, now, stop, due;
	struct totals t = {0};
	struct options all = *o;
	size_t next = 0;
	int rc;

	lane_init(l, o);
	start = now = load_now_ns();
	stop = start + (uint64_t)o->seconds_ms * 1000000ull;
	while (now < stop) {
		due = (now - start) / 1000 * (uint64_t)o->rate / 1000000;
		while (t.sent < due) {
			l->in_flight = 0;
			all.window = due - t.sent < WINDOW_MAX ? (long)(due - t.sent) : WINDOW_MAX;
			lane_send(l, &all, q, count, &next, &t);
			rc = recvmmsg(l->fd, l->in, WINDOW_MAX, MSG_DONTWAIT, NULL);
			t.answered += rc > 0 ? (unsigned)rc : 0;
			if (load_now_ns() >= stop)
				break;
		}
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
		now = load_now_ns();
	}
	printf("{\"sent_per_s\":%.0f,\"answered_per_s\":%.0f}\n",
	       (double)t.sent * 1e9 / (double)(now - start),
	       (double)t.answered * 1e9 / (double)(now - start));
	free(l);
}

/** Address in the first record of @p type that the answer to @p q holds. */
static bool first_address(const struct query *q, const uint8_t *a, size_t len, uint16_t type,
			  char *text, size_t cap)
{
	size_t at = 12, size = type == TYPE_A ? 4 : 16;

	while (at < len && a[at])
		at += a[at] + 1u;
	at += 5;
	(void)q;
	/* our servers point back at the question: two octets of name, then ten of header */
	if (at + 12 + size > len || (a[at] & 0xc0) != 0xc0 || a[at + 3] != type)
		return false;
	return inet_ntop(type == TYPE_A ? AF_INET : AF_INET6, a + at + 12, text, (socklen_t)cap);
}

static void run_resolve(const struct options *o, struct query *q, size_t count)
{
	char text[INET6_ADDRSTRLEN];
	uint8_t answer[ANSWER_MAX];
	size_t len = 0;
	int fd = open_socket(o);

	for (size_t i = 0; i < count; i++) {
		q[i].data[0] = (uint8_t)i;
		q[i].data[1] = (uint8_t)(i >> 8);
		if (!ask(fd, &q[i], answer, &len) || is_bad(o, answer, len) ||
		    !first_address(&q[i], answer, len, o->type, text, sizeof(text)))
			load_die("no address for name %zu", i);
		puts(text);
	}
}

static const char usage[] =
	"usage: dnsload [-s address] [-p port] [-t ms] [-c cpu] [-k sockets] [-w window]\n"
	"               [-S pid,...] [-6 | -q type] [-E] [-m] [-T | -o | -R | -r rate]\n"
	"               [-e | -x rcode] (-n names [-P prefix:suffix] | -f file)\n"
	"Asks for names and prints one JSON line: queries/s and CPU us per query, or with -o, one\n"
	"question in flight, its percentiles. -R prints the first address of each name instead.\n"
	"-r asks so often a second without waiting, and prints how many were sent and answered.\n"
	"  -n, -P  names <prefix>NNNNNN<suffix>, by default svc-NNNNNN.service.mesh.internal\n"
	"  -6 ask for AAAA  -q ask for that number of a type  -E add EDNS  -m mixed case  -T over\n"
	"  TCP  -e the server is a bare echo  -x answers have that RCODE  -S also account the CPU\n"
	"  of these processes\n";

static void parse_pids(struct options *o, char *text)
{
	unsigned n = 0;

	for (char *p = strtok(text, ","); p; p = strtok(NULL, ",")) {
		if (n == PIDS_MAX)
			load_die("-S: more than %d processes", PIDS_MAX);
		o->server_pids[n++] = load_number("-S", p, 0, INT32_MAX);
	}
}

static void parse(struct options *o, int argc, char **argv)
{
	char *colon;
	int c;

	while ((c = getopt(argc, argv, "s:p:t:c:k:w:S:6q:EmToRer:x:P:n:f:h")) != -1) {
		switch (c) {
		case 's':
			o->address = optarg;
			break;
		case 'p':
			o->port = load_number("-p", optarg, 1, 65535);
			break;
		case 't':
			o->seconds_ms = load_number("-t", optarg, 1, 3600000);
			break;
		case 'c':
			o->cpu = load_number("-c", optarg, 0, CPU_SETSIZE - 1);
			break;
		case 'k':
			o->sockets = load_number("-k", optarg, 1, SOCKETS_MAX);
			break;
		case 'w':
			o->window = load_number("-w", optarg, 1, WINDOW_MAX);
			break;
		case 'S':
			parse_pids(o, optarg);
			break;
		case '6':
			o->type = TYPE_AAAA;
			break;
		case 'q':
			o->type = (uint16_t)load_number("-q", optarg, 1, UINT16_MAX);
			break;
		case 'T':
			o->tcp = true;
			break;
		case 'x':
			o->rcode = (uint8_t)load_number("-x", optarg, 0, 15);
			break;
		case 'E':
			o->edns = true;
			break;
		case 'm':
			o->mixed_case = true;
			break;
		case 'o':
			o->one = true;
			break;
		case 'R':
			o->resolve = true;
			break;
		case 'r':
			o->rate = load_number("-r", optarg, 1, 10000000);
			break;
		case 'e':
			o->echo = true;
			break;
		case 'n':
			o->names = load_number("-n", optarg, 1, NAMES_MAX);
			break;
		case 'f':
			o->file = optarg;
			break;
		case 'P':
			colon = strchr(optarg, ':');
			if (!colon)
				load_die("-P needs prefix:suffix");
			*colon = 0; /* build_queries finds the suffix behind this end */
			o->pattern = optarg;
			break;
		default:
			fputs(usage, c == 'h' ? stdout : stderr);
			exit(c == 'h' ? 0 : 2);
		}
	}
	if (optind != argc || (!o->names && !o->file) || (o->tcp && (o->one || o->resolve))) {
		fputs(usage, stderr);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	struct options o = {.address = "127.0.0.1",
			    .pattern = "svc-\0.service.mesh.internal",
			    .port = 53,
			    .cpu = -1,
			    .sockets = 4,
			    .window = 32,
			    .seconds_ms = 1500,
			    .type = TYPE_A};
	struct query *q;
	size_t count;

	parse(&o, argc, argv);
	load_pin((int)o.cpu);
	q = build_queries(&o, &count);
	if (o.resolve)
		run_resolve(&o, q, count);
	else if (o.rate)
		run_storm(&o, q, count);
	else if (o.one)
		run_one(&o, q, count);
	else
		run_batched(&o, q, count);
	free(q);
	return 0;
}
