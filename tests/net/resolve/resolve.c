/* SPDX-License-Identifier: Apache-2.0 */
/* resolve.c - the C library's getaddrinfo(): glibc's or musl's, as this was compiled.
 *   resolve loop NAME STOP   until the file STOP is there; prints "begun", and "<look-ups>
 * <failures>" resolve first NAME N     N look-ups; prints the address that came first, one a line
 */
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAUSE_US 5000

/* @return 0 and the first address as text, or why not. */
static int resolve(const char *name, char text[INET6_ADDRSTRLEN])
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	int r = getaddrinfo(name, NULL, &hints, &list);

	if (r)
		return r;
	if (list->ai_family == AF_INET)
		inet_ntop(AF_INET, &((struct sockaddr_in *)(void *)list->ai_addr)->sin_addr, text,
			  INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, &((struct sockaddr_in6 *)(void *)list->ai_addr)->sin6_addr,
			  text, INET6_ADDRSTRLEN);
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

int main(int argc, char **argv)
{
	char text[INET6_ADDRSTRLEN];

	if (argc != 4)
		return 2;
	if (strcmp(argv[1], "loop") == 0) {
		loop(argv[2], argv[3]);
		return 0;
	}
	for (long n = strtol(argv[3], NULL, 10); n > 0; n--) {
		if (resolve(argv[2], text))
			return 1;
		puts(text);
	}
	return 0;
}
