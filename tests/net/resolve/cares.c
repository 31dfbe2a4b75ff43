/* SPDX-License-Identifier: Apache-2.0 */
/* cares.c - c-ares, which curl, Node and Envoy resolve with.
 *   cares loop NAME STOP    until the file STOP is there; prints "begun", "<look-ups> <failures>"
 *   cares all NAME TYPE     what A, AAAA or SRV has, one a line
 */
#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/select.h>
#include <unistd.h>

#define PAUSE_US 5000

struct ask {
	int status;
	int print;
};

static void on_addresses(void *arg, int status, int timeouts, struct ares_addrinfo *list)
{
	struct ask *a = arg;
	char text[INET6_ADDRSTRLEN];

	(void)timeouts;
	a->status = status;
	for (struct ares_addrinfo_node *n = list && a->print ? list->nodes : NULL; n;
	     n = n->ai_next) {
		const void *addr =
			n->ai_family == AF_INET
				? (void *)&((struct sockaddr_in *)(void *)n->ai_addr)->sin_addr
				: &((struct sockaddr_in6 *)(void *)n->ai_addr)->sin6_addr;

		puts(inet_ntop(n->ai_family, addr, text, sizeof(text)));
	}
	ares_freeaddrinfo(list);
}

static void on_services(void *arg, int status, int timeouts, unsigned char *answer, int len)
{
	struct ask *a = arg;
	struct ares_srv_reply *list = NULL;

	(void)timeouts;
	a->status = status ? status : ares_parse_srv_reply(answer, len, &list);
	for (struct ares_srv_reply *s = list; s; s = s->next)
		printf("%u %u %u %s\n", s->priority, s->weight, s->port, s->host);
	ares_free_data(list);
}

static void wait_for(ares_channel channel)
{
	struct timeval tv;
	fd_set in, out;
	int n;

	for (;;) {
		FD_ZERO(&in);
		FD_ZERO(&out);
		n = ares_fds(channel, &in, &out);
		if (!n)
			return;
		select(n, &in, &out, NULL, ares_timeout(channel, NULL, &tv));
		ares_process(channel, &in, &out);
	}
}

static void addresses(ares_channel channel, const char *name, int family, struct ask *a)
{
	const struct ares_addrinfo_hints hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};

	ares_getaddrinfo(channel, name, NULL, &hints, on_addresses, a);
	wait_for(channel);
}

static void loop(ares_channel channel, const char *name, const char *stop)
{
	unsigned ops = 0, failures = 0;

	for (; access(stop, F_OK) != 0; ops++, usleep(PAUSE_US)) {
		struct ask a = {.status = ARES_ENODATA};

		addresses(channel, name, AF_UNSPEC, &a);
		if (a.status) {
			fprintf(stderr, "%u: %s\n", ops, ares_strerror(a.status));
			failures++;
		}
		if (!ops && puts("begun") >= 0)
			fflush(stdout);
	}
	printf("%u %u\n", ops, failures);
}

int main(int argc, char **argv)
{
	struct ask a = {.status = ARES_ENODATA, .print = 1};
	ares_channel channel;

	if (argc != 4 || ares_library_init(ARES_LIB_INIT_ALL) || ares_init(&channel))
		return 2;
	if (strcmp(argv[1], "loop") == 0) {
		loop(channel, argv[2], argv[3]);
		return 0;
	}
	if (strcmp(argv[3], "SRV") == 0) {
		ares_query(channel, argv[2], ns_c_in, ns_t_srv, on_services, &a);
		wait_for(channel);
	} else {
		addresses(channel, argv[2], strcmp(argv[3], "A") == 0 ? AF_INET : AF_INET6, &a);
	}
	return a.status ? 1 : 0;
}
