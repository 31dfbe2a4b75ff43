/* SPDX-License-Identifier: Apache-2.0 */
/* gaiload.c - getaddrinfo() of one name, one at a time, as a program behind /etc/resolv.conf calls
 * it. gaiload [-n look-ups] NAME Prints one JSON object: look-ups, failures, us each at
 * percentiles, CPU of the machine a look-up. */
#include "load.h"

#include <netdb.h>

#define LOOKUPS 5000
#define WARM	20 /* before anything is measured */

static int look_up(const char *name)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
	struct addrinfo *list = NULL;
	int r = getaddrinfo(name, NULL, &hints, &list);

	if (!r)
		freeaddrinfo(list);
	return r;
}

int main(int argc, char **argv)
{
	uint64_t machine_ns, begun_ns;
	struct load_samples s;
	long n = LOOKUPS, failures = 0;
	int c;

	while ((c = getopt(argc, argv, "n:")) != -1) {
		if (c != 'n')
			load_die("gaiload [-n look-ups] NAME");
		n = load_number("-n", optarg, 1, 100000000);
	}
	if (optind + 1 != argc)
		load_die("gaiload [-n look-ups] NAME");
	for (int i = 0; i < WARM; i++)
		(void)look_up(argv[optind]);
	load_samples_init(&s, (size_t)n);
	machine_ns = load_machine_ns();
	begun_ns = load_now_ns();
	for (long i = 0; i < n; i++) {
		uint64_t at_ns = load_now_ns();

		failures += look_up(argv[optind]) != 0;
		load_samples_add(&s, load_now_ns() - at_ns);
	}
	begun_ns = load_now_ns() - begun_ns;
	machine_ns = load_machine_ns() - machine_ns;
	load_samples_sort(&s);
	printf("{\"lookups\": %ld, \"failures\": %ld, \"per_s\": %.1f, \"p50_us\": %.2f, "
	       "\"p99_us\": %.2f, "
	       "\"machine_us\": %.2f}\n",
	       n, failures, (double)n * 1e9 / (double)begun_ns, load_samples_us(&s, 500),
	       load_samples_us(&s, 990), (double)machine_ns / 1000.0 / (double)n);
	return failures != 0;
}
