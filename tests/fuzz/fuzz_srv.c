/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net */
/* fuzz_srv.c - what name servers answer to a question for SRV records. Whatever the octets behind
 * the question: reading stays inside them, records are bounded, each has a host and a port, and
 * ordering loses none. */
#include "check.h"
#include "userspace/base/random.h"
#include "userspace/net/srv.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The first four octets are the header's flags and its number of answers; the question is ours. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct wm_srv_answer a;
	uint8_t q[WM_SRV_OCTETS_MAX], *p;
	size_t q_len = wm_srv_question("_waymark._tcp.example.com", 7, q), head = q_len - 11;
	unsigned ports = 0, after = 0;

	if (size < 4)
		return 0;
	p = malloc(head + size - 4); /* exact: a read behind the end is seen */
	check(p != NULL);
	memcpy(p, q, head);
	memcpy(p + 2, data, 2);
	memcpy(p + 6, data + 2, 2);
	memcpy(p + head, data + 4, size - 4);
	if (!wm_srv_parse(q, q_len, p, head + size - 4, &a)) {
		check(a.count && a.count <= WM_SRV_MAX);
		for (unsigned n = 0; n < a.count; n++) {
			check(a.records[n].port && *a.records[n].target &&
			      strlen(a.records[n].target) <= WM_RESOLVER_NAME_MAX);
			ports += a.records[n].port;
		}
		wm_srv_order(&a, wm_random_below);
		for (unsigned n = 0; n < a.count; n++) {
			check(!n || a.records[n - 1].priority <= a.records[n].priority);
			after += a.records[n].port;
		}
		check(ports == after);
	}
	free(p);
	return 0;
}
