/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_doctor_dns.c - real questions to the addresses that DNS listens on, and to the name
 * servers of /etc/resolv.conf. */
#include "waymark/dns_wire.h"
#include "waymarkctl_ask.h"
#include "waymarkctl_doctor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#define SERVERS_MAX 16 /* name servers and addresses that are asked */
#define RESOLV_CONF "/etc/resolv.conf"

/* --- who is asked ----------------------------------------------------------------------------- */
/* As the kernel's program was told. */
static unsigned from_config(const struct wm_config *c, struct ctl_server ret[SERVERS_MAX])
{
	char text[INET6_ADDRSTRLEN];
	unsigned n = 0;

	for (unsigned k = 0; k < 2; k++) {
		for (unsigned i = 0; c->dns_port_be[k] && i < c->dns_addr4_count; i++) {
			inet_ntop(AF_INET, &c->dns_addr4_be[i], text, sizeof(text));
			if (!(c->dns_skip4 >> (2 * i + k) & 1) && n < SERVERS_MAX)
				n += ctl_server_of(text, ntohs(c->dns_port_be[k]), &ret[n]);
		}
		for (unsigned i = 0; c->dns_port_be[k] && i < c->dns_addr6_count; i++) {
			inet_ntop(AF_INET6, c->dns_addr6_be[i], text, sizeof(text));
			if (!(c->dns_skip6 >> (2 * i + k) & 1) && n < SERVERS_MAX)
				n += ctl_server_of(text, ntohs(c->dns_port_be[k]), &ret[n]);
		}
	}
	return n;
}

static unsigned listening(const json_t *status, const struct wm_inspection *i,
			  struct ctl_server ret[SERVERS_MAX])
{
	const json_t *list = json_object_get(json_object_get(status, "listening"), "dns"), *v;
	unsigned n = 0;
	size_t k;

	if (!status)
		return i->has_config ? from_config(&i->config, ret) : 0;
	json_array_foreach(list, k, v)
	{
		if (n < SERVERS_MAX)
			n += ctl_server_at(json_string_value(v), &ret[n]);
	}
	return n;
}

/* --- findings --------------------------------------------------------------------------------- */
/* What to ask for: with an agent its zone, else a name that the kernel answers. */
struct question {
	const char *name;
	uint16_t type;
	const char *domain;
};

static bool question_of(const json_t *status, const struct wm_inspection *i, struct question *ret)
{
	const char *domain = json_string_value(json_object_get(status, "domain"));

	ret->domain = domain ? domain : i->domain;
	ret->name = domain ? domain : i->name;
	ret->type = domain ? WM_DNS_SOA : WM_DNS_A;
	return *ret->name;
}

static void ask_ours(const struct ctl_server *s, const struct question *q, struct ctl_findings *to)
{
	struct wm_finding f = {.name = "dns"};
	struct ctl_answer a = {0};
	int r = ctl_ask(s, q->name, q->type, &a);

	if (!r && ctl_answer_is_ours(&a)) {
		ctl_finding(to, f, "%s answers for %s", s->text, q->name);
		return;
	}
	f.result = WM_FOUND_FAULT;
	f.error = r;
	snprintf(f.remedy, sizeof(f.remedy), "%s",
		 r == -ECONNREFUSED ? "start the agent, or see dns.addresses and dns.port"
		 : r		    ? "is the agent alive, and no packet filter in the way?"
				    : "another server listens there: dns.addresses, dns.port");
	if (r)
		ctl_finding(to, f, "%s does not answer for %s", s->text, q->name);
	else
		ctl_finding(to, f,
			    "%s answers for %s, but not as Waymark does: code %u, %u answers",
			    s->text, q->name, a.flags & WM_DNS_RCODE, a.answers);
}

static void ask_resolver(const char *address, const struct question *q,
			 const struct ctl_server *ours, struct ctl_findings *to)
{
	struct wm_finding f = {.name = "resolv_conf", .result = WM_FOUND_NOTE};
	struct ctl_answer a = {0};
	struct ctl_server s;

	if (!ctl_server_of(address, 53, &s)) {
		ctl_finding(to, f, RESOLV_CONF ": '%s' is no address", address);
		return;
	}
	f.error = ctl_ask(&s, q->name, q->type, &a);
	if (!f.error && a.answers && !(a.flags & WM_DNS_RCODE)) {
		f.result = WM_FOUND_OK;
		ctl_finding(to, f, RESOLV_CONF " leads to %s, which knows %s", s.text, q->domain);
		return;
	}
	snprintf(f.remedy, sizeof(f.remedy),
		 "forward %.120s to %s there, or dns.port53_addresses and a nameserver line",
		 q->domain, ours ? ours->text : "the agent");
	ctl_finding(to, f,
		    RESOLV_CONF " leads to %s, which %s %s: programs that ask the system do not "
				"find its names",
		    s.text, f.error ? "does not answer for" : "does not know", q->domain);
}

static void resolvers(const struct question *q, const struct ctl_server *ours,
		      struct ctl_findings *to)
{
	struct wm_finding f = {.name = "resolv_conf", .result = WM_FOUND_NOTE};
	FILE *in = fopen(RESOLV_CONF, "re");
	char line[512], address[64];
	unsigned n = 0;

	if (!in) {
		f.error = -errno;
		ctl_finding(to, f, RESOLV_CONF " cannot be read");
		return;
	}
	while (n < SERVERS_MAX && fgets(line, sizeof(line), in))
		if (sscanf(line, " nameserver %63s", address) == 1) {
			ask_resolver(address, q, ours, to);
			n++;
		}
	fclose(in);
	if (!n)
		ctl_finding(to, f, RESOLV_CONF " names no server");
}

void ctl_doctor_dns(const json_t *status, const struct wm_inspection *i, struct ctl_findings *to)
{
	struct wm_finding f = {.name = "dns", .result = WM_FOUND_NOTE};
	struct ctl_server ours[SERVERS_MAX];
	unsigned n = listening(status, i, ours);
	struct question q;

	if (!question_of(status, i, &q)) {
		ctl_finding(to, f, "no agent answers and no name is known, so nothing is asked");
		return;
	}
	for (unsigned k = 0; k < n; k++)
		ask_ours(&ours[k], &q, to);
	if (!n)
		ctl_finding(to, f, "DNS listens on no address");
	resolvers(&q, n ? ours : NULL, to);
}
