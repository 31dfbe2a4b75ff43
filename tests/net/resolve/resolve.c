/* SPDX-License-Identifier: Apache-2.0 */
/* resolve.c - the C library's getaddrinfo(): glibc's or musl's, as this was compiled.
 *   resolve loop NAME STOP    until the file STOP is there; prints "begun", "<look-ups> <failures>"
 *   resolve first NAME N      N look-ups; prints the address that came first, one a line
 *   resolve all NAME TYPE     what A, AAAA or SRV (by res_query()) has, one a line
 */
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netdb.h>
#include <netinet/in.h>
#include <resolv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAUSE_US 5000

static void text_of(const struct addrinfo *a, char text[INET6_ADDRSTRLEN])
{
	const void *addr = a->ai_family == AF_INET
				   ? (void *)&((struct sockaddr_in *)(void *)a->ai_addr)->sin_addr
				   : &((struct sockaddr_in6 *)(void *)a->ai_addr)->sin6_addr;

	inet_ntop(a->ai_family, addr, text, INET6_ADDRSTRLEN);
}

/* @return 0 and the first address as text, or why not. */
static int resolve(const char *name, char text[INET6_ADDRSTRLEN])
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	int r = getaddrinfo(name, NULL, &hints, &list);

	if (r)
		return r;
	text_of(list, text);
	freeaddrinfo(list);
	return 0;
}

static void loop(const char *name, const char *stop)
{
	unsigned ops = 0, failures = 0;
	char text[INET6_ADDRSTRLEN];

	for (; access(stop, F_OK) != 0; ops++, usleep(PAUSE_US)) {
		int r = resolve(name, text);

		if (r) {
			fprintf(stderr, "%u: %s\n", ops, gai_strerror(r));
			failures++;
		}
		if (!ops && puts("begun") >= 0)
			fflush(stdout);
	}
	printf("%u %u\n", ops, failures);
}

static int addresses(const char *name, int family)
{
	const struct addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	char text[INET6_ADDRSTRLEN];

	if (getaddrinfo(name, NULL, &hints, &list))
		return 1;
	for (struct addrinfo *a = list; a; a = a->ai_next) {
		text_of(a, text);
		puts(text);
	}
	freeaddrinfo(list);
	return 0;
}

static int services(const char *name)
{
	static unsigned char answer[NS_MAXMSG];
	char target[NS_MAXDNAME];
	int len = res_query(name, ns_c_in, ns_t_srv, answer, sizeof(answer));
	ns_msg m;
	ns_rr rr;

	if (len < 0 || ns_initparse(answer, len, &m))
		return 1;
	for (int i = 0; i < ns_msg_count(m, ns_s_an); i++) {
		const unsigned char *d;

		if (ns_parserr(&m, ns_s_an, i, &rr))
			return 1;
		d = ns_rr_rdata(rr);
		if (ns_rr_type(rr) != ns_t_srv ||
		    dn_expand(answer, answer + len, d + 6, target, sizeof(target)) < 0)
			continue;
		printf("%u %u %u %s\n", ns_get16(d), ns_get16(d + 2), ns_get16(d + 4), target);
	}
	return 0;
}

int main(int argc, char **argv)
{
	char text[INET6_ADDRSTRLEN];

	if (argc != 4)
		return 2;
	if (strcmp(argv[1], "loop") == 0) {
		loop(argv[2], argv[3]);
		return 0;
	}
	if (strcmp(argv[1], "all") == 0)
		return strcmp(argv[3], "SRV") == 0
			       ? services(argv[2])
			       : addresses(argv[2], strcmp(argv[3], "A") == 0 ? AF_INET : AF_INET6);
	for (long n = strtol(argv[3], NULL, 10); n > 0; n--) {
		if (resolve(argv[2], text))
			return 1;
		puts(text);
	}
	return 0;
}
