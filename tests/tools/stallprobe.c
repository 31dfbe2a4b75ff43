/* SPDX-License-Identifier: Apache-2.0 */
/* stallprobe.c - asks an agent for /v1/status/leader and, from its userspace server, a DNS
 * question, each every 2 ms, until its standard input ends. Prints how often it asked and the
 * longest time from when a question was due to its answer, of each kind, in microseconds. usage:
 * stallprobe http-port dns-port name */
#include "http.h"

#include <poll.h>

#define EVERY_NS 2000000ull /* between two questions of a kind */

struct kind {
	const char *name;
	uint64_t asked, worst_ns;
};

/* A question of type TXT, which no kernel program answers. */
static size_t make_question(uint8_t *q, const char *name)
{
	static const uint8_t head[12] = {0x12, 0x34, 1, 0, 0, 1};
	size_t n = sizeof(head);

	memcpy(q, head, sizeof(head));
	for (const char *label = name; *label;) {
		size_t len = strcspn(label, ".");

		if (len > 63 || n + len > 200)
			load_die("not a name: %s", name);
		q[n++] = (uint8_t)len;
		memcpy(q + n, label, len);
		n += len;
		label += len + (label[len] == '.');
	}
	memcpy(q + n, "\0\0\20\0\1", 5);
	return n + 5;
}

static int dns_open(long port)
{
	struct sockaddr_in in = {.sin_family = AF_INET,
				 .sin_port = htons((uint16_t)port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&in, sizeof(in)))
		load_die("name server on port %ld: %s", port, strerror(errno));
	return fd;
}

static void count(struct kind *k, uint64_t due)
{
	uint64_t took = load_now_ns() - due;

	k->asked++;
	if (took > k->worst_ns)
		k->worst_ns = took;
}

int main(int argc, char **argv)
{
	static const char request[] = "GET /v1/status/leader HTTP/1.1\r\nHost: localhost\r\n\r\n";
	struct kind http = {.name = "http"}, dns = {.name = "dns"};
	struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
	static char answer[65536];
	uint8_t question[256];
	uint64_t due;
	size_t len;
	int web, name_server;

	if (argc != 4)
		load_die("usage: stallprobe http-port dns-port name");
	web = http_open("127.0.0.1", strtol(argv[1], NULL, 10));
	name_server = dns_open(strtol(argv[2], NULL, 10));
	len = make_question(question, argv[3]);
	for (due = load_now_ns(); !poll(&input, 1, 0); due += EVERY_NS) {
		uint64_t now = load_now_ns();
		struct timespec pause = {0, (long)(due > now ? due - now : 0)};

		nanosleep(&pause, NULL);
		if (http_ask(web, request, sizeof(request) - 1, answer, sizeof(answer)) != 200)
			load_die("the agent does not answer 200");
		count(&http, due);
		due = load_now_ns() > due ? load_now_ns() : due;
		if (send(name_server, question, len, 0) != (ssize_t)len ||
		    recv(name_server, answer, sizeof(answer), 0) < 12)
			load_die("the name server does not answer");
		count(&dns, due);
		due = load_now_ns();
	}
	printf("http_asked=%llu http_worst_us=%llu dns_asked=%llu dns_worst_us=%llu\n",
	       (unsigned long long)http.asked, (unsigned long long)http.worst_ns / 1000,
	       (unsigned long long)dns.asked, (unsigned long long)dns.worst_ns / 1000);
	return 0;
}
