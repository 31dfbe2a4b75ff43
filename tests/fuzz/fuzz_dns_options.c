/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* Any octets as the options of a query's OPT: what is read of them lies within, the answer has at
 * most what was kept free for it, its OPT is its last record and well formed, padded or not, and
 * what is sent to who asks too often is, too. */
#include "dns_served.h"
#include "userspace/dns/internal.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const uint8_t question[] = "\1a\7service\1x\0\0\1\0\1";
#define QUESTION (sizeof(question) - 1)
#define OPT_AT	 (WM_DNS_HEADER_LEN + QUESTION)

static struct wm_dns_server *server;

static void begin(void)
{
	static const struct wm_dns_cookie_config c = {.file = "", .rotate_ms = 86400000};

	server = served(NULL);
	if (wm_dns_server_cookies(server, &c, NULL))
		abort();
	wm_dns_server_nsid(server, "node-1");
}

/* The OPT at the end of @p len octets holds whole options. */
static void check_opt(const uint8_t *out, size_t opt, size_t len)
{
	size_t at = opt + WM_DNS_OPT_LEN, n;

	if (!opt || at > len || out[opt] || out[opt + 2] != WM_DNS_OPT ||
	    ((size_t)out[opt + 9] << 8 | out[opt + 10]) != len - at)
		abort();
	while (at < len) {
		if (len - at < WM_DNS_OPTION_HEAD)
			abort();
		n = (size_t)out[at + 2] << 8 | out[at + 3];
		at += WM_DNS_OPTION_HEAD;
		if (len - at < n)
			abort();
		at += n;
	}
}

static void check_read(const uint8_t *data, size_t size)
{
	struct wm_options o;

	if (!wm_options_read(data, (uint32_t)size, &o))
		return;
	if (o.at != size || o.cookie_at + o.cookie_len > size ||
	    o.subnet_at + o.subnet_len > size || (o.cookie_at && o.cookie_len < WM_COOKIE_CLIENT) ||
	    o.subnet_len > WM_SUBNET_MAX)
		abort();
}

static void ask(const uint8_t *in, size_t len, unsigned udp, bool tcp)
{
	const struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = {htonl(0xc0000201)}};
	size_t cap = tcp ? WM_DNS_TCP_MAX : WM_DNS_EDNS_MAX, n, opt, pad;
	uint8_t *out = malloc(WM_DNS_TCP_MAX);

	if (!out)
		abort();
	n = wm_dns_respond_to(server, (const struct sockaddr *)&from, in, len, tcp, out, cap);
	opt = server->reply.w.opt_at;
	if (!n || (!tcp && n > (udp < WM_DNS_UDP_MAX ? WM_DNS_UDP_MAX : udp)))
		abort();
	check_opt(out, opt, n);
	pad = wm_dns_padding(opt, n);
	wm_dns_pad(out, opt, n, pad);
	check_opt(out, opt, n + pad);
	n = wm_dns_rate_cut(server, (const struct sockaddr *)&from, in, len, out);
	if (n > len + WM_DNS_OPT_LEN + WM_OPTIONS_ANSWER + 64)
		abort();
	if (out[11])
		check_opt(out, server->reply.w.opt_at, n);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	size_t len = OPT_AT + WM_DNS_OPT_LEN + size;
	unsigned udp = 512 + (unsigned)(size ? data[size - 1] : 0);
	uint8_t *in; /* its exact size, for the sanitizer */

	if (!server)
		begin();
	if (size > 4096)
		return 0;
	check_read(data, size);
	in = calloc(1, len);
	if (!in)
		abort();
	in[2] = WM_DNS_RD >> 8;
	in[5] = in[11] = 1;
	memcpy(in + WM_DNS_HEADER_LEN, question, QUESTION);
	in[OPT_AT + 2] = WM_DNS_OPT;
	in[OPT_AT + 3] = (uint8_t)(udp >> 8);
	in[OPT_AT + 4] = (uint8_t)udp;
	in[OPT_AT + 9] = (uint8_t)(size >> 8);
	in[OPT_AT + 10] = (uint8_t)size;
	if (size)
		memcpy(in + OPT_AT + WM_DNS_OPT_LEN, data, size);
	ask(in, len, udp, false);
	ask(in, len, udp, true);
	free(in);
	return 0;
}
