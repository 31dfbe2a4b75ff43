/* SPDX-License-Identifier: Apache-2.0 */
/* spec.c - see spec.h. */
#include "spec.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

static const char *text(const char *s)
{
	return s ? s : "";
}

/* --- judging ------------------------------------------------------------------------------------
 */
static int judge_service(const struct wm_service_spec *s, struct wm_err *e)
{
	const char *name = text(s->service);

	if (!*name || strlen(name) > WM_SERVICE_NAME_MAX)
		return wm_err_set(e, WM_E_INVALID,
				  "A service of a source has a name of 1 to %d octets",
				  WM_SERVICE_NAME_MAX);
	for (const char *c = name; *c; c++)
		if (isupper((unsigned char)*c) || (unsigned char)*c <= ' ')
			return wm_err_set(e, WM_E_INVALID,
					  "Service \"%.64s\": its key is in lower case", name);
	if (!*text(s->source) || strlen(s->source) > WM_SPEC_SOURCE_MAX)
		return wm_err_set(e, WM_E_INVALID,
				  "Service \"%.64s\" has no source, or a name of over %d octets",
				  name, WM_SPEC_SOURCE_MAX);
	if (strlen(text(s->external_name)) > WM_ADDRESS_MAX)
		return wm_err_set(e, WM_E_LIMIT, "Service \"%.64s\": a name has at most %d octets",
				  name, WM_ADDRESS_MAX);
	if (s->affinity_s > WM_SPEC_AFFINITY_MAX_S)
		return wm_err_set(e, WM_E_LIMIT,
				  "Service \"%.64s\": an affinity of %u s, %d are the limit", name,
				  s->affinity_s, WM_SPEC_AFFINITY_MAX_S);
	if (s->prefer >= WM_SPEC_PREFERS)
		return wm_err_set(e, WM_E_INVALID, "Service \"%.64s\": prefers %u, which is none",
				  name, s->prefer);
	return 0;
}

static int judge_port(const struct wm_service_spec *s, unsigned n, struct wm_err *e)
{
	const struct wm_spec_port *p = &s->ports[n];

	if (!p->port)
		return wm_err_set(e, WM_E_INVALID, "Service \"%.64s\": port %u is 0", s->service,
				  n);
	if (p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP)
		return wm_err_set(e, WM_E_INVALID,
				  "Service \"%.64s\": port %u is neither of TCP nor of UDP",
				  s->service, p->port);
	if (strlen(text(p->name)) > WM_SPEC_PORT_NAME_MAX ||
	    strlen(text(p->endpoint)) > WM_META_KEY_MAX)
		return wm_err_set(e, WM_E_LIMIT,
				  "Service \"%.64s\": the name of port %u is too long", s->service,
				  p->port);
	for (unsigned k = 0; k < n; k++)
		if (s->ports[k].port == p->port && s->ports[k].proto == p->proto)
			return wm_err_set(e, WM_E_INVALID,
					  "Service \"%.64s\": port %u is there twice", s->service,
					  p->port);
	return 0;
}

int wm_service_spec_validate(const struct wm_service_spec *s, struct wm_err *e)
{
	int r = judge_service(s, e);

	if (r)
		return r;
	if (s->addresses_count > WM_SPEC_ADDRESSES_MAX || s->ports_count > WM_SPEC_PORTS_MAX)
		return wm_err_set(e, WM_E_LIMIT,
				  "Service \"%.64s\": %u addresses and %u ports, %d and %d are the "
				  "limit",
				  s->service, s->addresses_count, s->ports_count,
				  WM_SPEC_ADDRESSES_MAX, WM_SPEC_PORTS_MAX);
	for (unsigned n = 0; n < s->addresses_count; n++)
		if (s->addresses[n].kind >= WM_SPEC_ADDRESS_KINDS)
			return wm_err_set(e, WM_E_INVALID,
					  "Service \"%.64s\": an address of kind %u, which is none",
					  s->service, s->addresses[n].kind);
	for (unsigned n = 0; !r && n < s->ports_count; n++)
		r = judge_port(s, n, e);
	return r;
}

/* --- copying ------------------------------------------------------------------------------------
 */
/* Room for texts behind the lists; NULL: it is only counted. */
struct arena {
	char *at;
	size_t used;
};

static const char *take(struct arena *a, const char *s)
{
	size_t n = strlen(s) + 1;
	char *to = a->at;

	a->used += n;
	if (!to)
		return s;
	memcpy(to, s, n);
	a->at += n;
	return to;
}

static const char *take_some(struct arena *a, const char *s)
{
	return *text(s) ? take(a, s) : NULL;
}

/* Into @p to, whose ports @p ports have room; NULL: they are only counted. */
static void take_texts(struct arena *a, struct wm_service_spec *to, struct wm_spec_port *ports)
{
	struct wm_spec_port port;

	to->service = take(a, to->service);
	to->source = take(a, to->source);
	to->external_name = take_some(a, to->external_name);
	for (unsigned n = 0; n < to->ports_count; n++) {
		port = to->ports[n];
		port.name = take(a, text(port.name));
		port.endpoint = take_some(a, port.endpoint);
		if (ports)
			ports[n] = port;
	}
}

struct wm_service_spec *wm_service_spec_copy(const struct wm_service_spec *s)
{
	size_t addresses = s->addresses_count * sizeof(*s->addresses),
	       ports = s->ports_count * sizeof(*s->ports);
	struct wm_service_spec count = *s, *to;
	struct wm_spec_address *a;
	struct wm_spec_port *p;
	struct arena room = {0};

	take_texts(&room, &count, NULL);
	to = malloc(sizeof(*to) + ports + addresses + room.used);
	if (!to)
		return NULL;
	*to = *s;
	p = (struct wm_spec_port *)(to + 1);
	a = (struct wm_spec_address *)(p + s->ports_count);
	room = (struct arena){.at = (char *)(a + s->addresses_count)};
	take_texts(&room, to, p);
	if (addresses)
		memcpy(a, s->addresses, addresses);
	to->ports = p;
	to->addresses = a;
	return to;
}

void wm_service_spec_free(struct wm_service_spec *s)
{
	free(s);
}

/* --- comparing ----------------------------------------------------------------------------------
 */
static bool same_text(const char *a, const char *b)
{
	return strcmp(text(a), text(b)) == 0;
}

static bool same_port(const struct wm_spec_port *a, const struct wm_spec_port *b)
{
	return a->port == b->port && a->node_port == b->node_port && a->proto == b->proto &&
	       same_text(a->name, b->name) && same_text(a->endpoint, b->endpoint);
}

static bool same_address(const struct wm_spec_address *a, const struct wm_spec_address *b)
{
	return a->kind == b->kind && a->a4.s_addr == b->a4.s_addr &&
	       memcmp(&a->a6, &b->a6, sizeof(a->a6)) == 0;
}

bool wm_service_spec_same(const struct wm_service_spec *a, const struct wm_service_spec *b)
{
	if (!same_text(a->service, b->service) || !same_text(a->source, b->source) ||
	    !same_text(a->external_name, b->external_name) || a->headless != b->headless ||
	    a->passed != b->passed || a->local_only != b->local_only ||
	    a->publish_not_ready != b->publish_not_ready || a->created != b->created ||
	    a->affinity_s != b->affinity_s || a->prefer != b->prefer ||
	    a->addresses_count != b->addresses_count || a->ports_count != b->ports_count)
		return false;
	for (unsigned n = 0; n < a->ports_count; n++)
		if (!same_port(&a->ports[n], &b->ports[n]))
			return false;
	for (unsigned n = 0; n < a->addresses_count; n++)
		if (!same_address(&a->addresses[n], &b->addresses[n]))
			return false;
	return true;
}

const char *wm_spec_address_kind_str(uint8_t kind)
{
	static const char *const names[] = {"cluster", "external", "load-balancer", "node"};

	return kind < WM_SPEC_ADDRESS_KINDS ? names[kind] : "";
}
