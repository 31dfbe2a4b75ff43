/* SPDX-License-Identifier: Apache-2.0 */
/* node_ready.c - addresses of nodes, and what the domain itself has, are made for the kernel before
 * anybody asks for them, so that it answers them while no agent runs: SRV and PTR lead there. */
#include "internal.h"

#include <string.h>

static size_t wire_len(const uint8_t *wire)
{
	size_t len = 1;

	for (; *wire; wire += *wire + 1u)
		len += *wire + 1u;
	return len;
}

static void foresee(struct wm_dns_server *s, const uint8_t *wire)
{
	size_t len = wire_len(wire);

	wm_ready_foresee(s->ready, wire, len, WM_DNS_A);
	wm_ready_foresee(s->ready, wire, len, WM_DNS_AAAA);
}

/* By both of its names. */
static void foresee_node(struct wm_dns_server *s, const struct wm_node *n)
{
	struct wm_reply *r = &s->reply;
	uint8_t wire[WM_DNS_NAME_MAX + 1];

	r->s = s;
	r->ask.alt = false;
	for (int dc = 0; dc < 2; dc++)
		if (wm_name_in_domain(r, n->folded, "node", dc, wire))
			foresee(s, wire);
}

void wm_dns_node_there(struct wm_dns_server *s, const char *folded, bool more)
{
	struct wm_reply *r = &s->reply;
	uint8_t wire[WM_DNS_NAME_MAX + 1];
	size_t len;

	r->s = s;
	for (int alt = 0; alt < 2; alt++) {
		r->ask.alt = alt;
		if (!wm_tables_domain(s->tables, alt, &len))
			continue;
		for (int dc = 0; dc < 2; dc++)
			if (wm_name_in_domain(r, folded, "node", dc, wire))
				wm_ready_there(s->ready, wire, wire_len(wire), more);
	}
}

static void foresee_domain(struct wm_dns_server *s)
{
	uint8_t ns[WM_DNS_NAME_MAX + 1];
	size_t len, at = wm_wire_label(ns, 0, "ns", 2);
	const uint8_t *domain = wm_tables_domain(s->tables, false, &len);

	wm_ready_foresee(s->ready, domain, len, WM_DNS_NS);
	if (at + len > WM_DNS_NAME_MAX)
		return;
	memcpy(ns + at, domain, len);
	foresee(s, ns);
}

static void on_change(void *arg, const struct wm_change *c)
{
	if (c->kind == WM_CHANGE_NODE_UPSERT)
		foresee_node(arg, c->instance->node);
}

int wm_dns_foresee(struct wm_dns_server *s)
{
	const struct wm_node *n;
	size_t pos = 0;

	foresee_domain(s);
	foresee_node(s, wm_registry_node(s->registry));
	while (wm_ready_foresees(s->ready) && (n = wm_registry_next_node(s->registry, &pos)))
		foresee_node(s, n);
	return wm_registry_subscribe(s->registry, on_change, s);
}
