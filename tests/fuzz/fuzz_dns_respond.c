/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* Any octets as a query, over UDP and TCP: the answer stays in its bounds, is a response to the
 * same id, and is never sent for a response. */
#include "dns_served.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct wm_dns_server *server;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t *out, *in = malloc(size + 1); /* its exact size, for the sanitizer */
	size_t cap, n;

	if (!server)
		server = served(NULL);
	for (int tcp = 0; tcp < 2; tcp++) {
		cap = tcp ? WM_DNS_TCP_MAX : WM_DNS_EDNS_MAX;
		out = malloc(cap);
		if (!in || !out)
			abort();
		memcpy(in, data, size);
		n = wm_dns_respond(server, in, size, tcp, out, cap);
		if (n > cap || (n && (n < 12 || memcmp(in, out, 2) != 0 || !(out[2] & 0x80))))
			abort();
		if (size >= 12 && (in[2] & 0x80 ? n != 0 : n == 0))
			abort(); /* responses are dropped, every query is answered */
		free(out);
	}
	free(in);
	return 0;
}
