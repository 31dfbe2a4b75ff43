/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_doctor_dns.c - real questions to the addresses that DNS listens on, and to the name
 * servers of /etc/resolv.conf. */
#include "waymark/dns_wire.h"
#include "waymarkctl_doctor.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_WAIT_MS 1500
#define SERVERS_MAX    16 /* name servers and addresses that are asked */
#define RESOLV_CONF    "/etc/resolv.conf"

struct server {
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} at;
	char text[64];
};

struct answer {
	uint16_t flags, answers;
};

/* --- one question ----------------------------------------------------------------------------- */
/* @return octets, 0: the name is none. */
static size_t put_question(uint8_t *out, size_t cap, uint16_t id, const char *name, uint16_t type)
{
	size_t at = WM_DNS_HEADER_LEN;

	memset(out, 0, cap);
	out[0] = (uint8_t)(id >> 8);
	out[1] = (uint8_t)id;
	out[2] = WM_DNS_RD >> 8;
	out[5] = 1;
	for (const char *p = name; *p;) {
		size_t len = strcspn(p, ".");

		if (!len || len > WM_DNS_LABEL_MAX || at + len + 6 > cap)
			return 0;
		out[at++] = (uint8_t)len;
		memcpy(out + at, p, len);
		at += len;
		p += len + (p[len] == '.');
	}
	out[++at] = (uint8_t)(type >> 8);
	out[++at] = (uint8_t)type;
	out[++at] = 0;
	out[++at] = WM_DNS_IN;
	return at + 1;
}

/* @return 0 or negative errno: -ETIMEDOUT, -ECONNREFUSED. */
static int ask(const struct server *s, const char *name, uint16_t type, struct answer *ret)
{
	uint8_t query[WM_DNS_HEADER_LEN + WM_DNS_NAME_MAX + 8], reply[WM_DNS_UDP_MAX];
	socklen_t len = s->at.any.sa_family == AF_INET ? sizeof(s->at.in) : sizeof(s->at.in6);
	int fd = socket(s->at.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), r = -ETIMEDOUT;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint16_t id = 0;
	size_t n;
	ssize_t got;

	if (getrandom(&id, sizeof(id), 0) < 0)
		id = (uint16_t)getpid();
	n = put_question(query, sizeof(query), id, name, type);
	if (fd < 0 || !n || connect(fd, &s->at.any, len) || send(fd, query, n, 0) < 0) {
		r = n ? -errno : -EINVAL;
	} else if (poll(&p, 1, ANSWER_WAIT_MS) == 1) {
		got = recv(fd, reply, sizeof(reply), 0);
		r = got < 0 ? -errno : -EBADMSG;
		if (got >= WM_DNS_HEADER_LEN && !memcmp(reply, query, 2) &&
		    (reply[2] & (WM_DNS_QR >> 8))) {
			ret->flags = (uint16_t)(reply[2] << 8 | reply[3]);
			ret->answers = (uint16_t)(reply[6] << 8 | reply[7]);
			r = 0;
		}
	}
	if (fd >= 0)
		close(fd);
	return r;
}

/* --- who is asked ----------------------------------------------------------------------------- */
static bool server_of(const char *address, uint16_t port, struct server *ret)
{
	char plain[64];

	memset(ret, 0, sizeof(*ret));
	snprintf(plain, sizeof(plain), "%.*s", (int)strcspn(address, "%"), address);
	if (inet_pton(AF_INET, plain, &ret->at.in.sin_addr) == 1) {
		if (ret->at.in.sin_addr.s_addr == INADDR_ANY)
			ret->at.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		ret->at.in.sin_family = AF_INET;
		ret->at.in.sin_port = htons(port);
	} else if (inet_pton(AF_INET6, plain, &ret->at.in6.sin6_addr) == 1) {
		if (IN6_IS_ADDR_UNSPECIFIED(&ret->at.in6.sin6_addr))
			ret->at.in6.sin6_addr = in6addr_loopback;
		ret->at.in6.sin6_family = AF_INET6;
		ret->at.in6.sin6_port = htons(port);
	} else {
		return false;
	}
	snprintf(ret->text, sizeof(ret->text), strchr(plain, ':') ? "[%.45s]:%u" : "%.45s:%u",
		 plain, port);
	return true;
}

/* "127.0.0.1:8600", "[::1]:8600" */
static bool server_at(const char *text, struct server *ret)
{
	char copy[64];
	char *colon;

	snprintf(copy, sizeof(copy), "%s", *text == '[' ? text + 1 : text);
	colon = strrchr(copy, ':');
	if (!colon)
		return false;
	*colon = 0;
	copy[strcspn(copy, "]")] = 0;
	return server_of(copy, (uint16_t)strtoul(colon + 1, NULL, 10), ret);
}

/* As the kernel's program was told. */
static unsigned from_config(const struct wm_config *c, struct server ret[SERVERS_MAX])
{
	char text[INET6_ADDRSTRLEN];
	unsigned n = 0;

	for (unsigned k = 0; k < 2; k++) {
		for (unsigned i = 0; c->dns_port_be[k] && i < c->dns_addr4_count; i++) {
			inet_ntop(AF_INET, &c->dns_addr4_be[i], text, sizeof(text));
			if (!(c->dns_skip4 >> (2 * i + k) & 1) && n < SERVERS_MAX)
				n += server_of(text, ntohs(c->dns_port_be[k]), &ret[n]);
		}
		for (unsigned i = 0; c->dns_port_be[k] && i < c->dns_addr6_count; i++) {
			inet_ntop(AF_INET6, c->dns_addr6_be[i], text, sizeof(text));
			if (!(c->dns_skip6 >> (2 * i + k) & 1) && n < SERVERS_MAX)
				n += server_of(text, ntohs(c->dns_port_be[k]), &ret[n]);
		}
	}
	return n;
}

static unsigned listening(const json_t *status, const struct wm_inspection *i,
			  struct server ret[SERVERS_MAX])
{
	const json_t *list = json_object_get(json_object_get(status, "listening"), "dns"), *v;
	unsigned n = 0;
	size_t k;

	if (!status)
		return i->has_config ? from_config(&i->config, ret) : 0;
	json_array_foreach(list, k, v)
	{
		if (n < SERVERS_MAX)
			n += server_at(json_string_value(v), &ret[n]);
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

static bool is_ours(const struct answer *a)
{
	return a->answers && (a->flags & WM_DNS_AA) && !(a->flags & WM_DNS_RCODE);
}

static void ask_ours(const struct server *s, const struct question *q, struct ctl_findings *to)
{
	struct wm_finding f = {.name = "dns"};
	struct answer a = {0};
	int r = ask(s, q->name, q->type, &a);

	if (!r && is_ours(&a)) {
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

static void ask_resolver(const char *address, const struct question *q, const struct server *ours,
			 struct ctl_findings *to)
{
	struct wm_finding f = {.name = "resolv_conf", .result = WM_FOUND_NOTE};
	struct answer a = {0};
	struct server s;

	if (!server_of(address, 53, &s)) {
		ctl_finding(to, f, RESOLV_CONF ": '%s' is no address", address);
		return;
	}
	f.error = ask(&s, q->name, q->type, &a);
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

static void resolvers(const struct question *q, const struct server *ours, struct ctl_findings *to)
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
	struct server ours[SERVERS_MAX];
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
