/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_dns_node.c - `dns enable` and `dns disable`: the agent becomes the name server of this
 * node's programs, or ceases to be. */
#include "userspace/base/err.h"
#include "waymark/dns_wire.h"
#include "waymarkctl.h"
#include "waymarkctl_ask.h"
#include "waymarkctl_node.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#define DNS_PORT 53

/* What is to be written. */
struct enabling {
	const struct ctl *c;
	struct ctl_node node;
	const char *domain;
	unsigned count;
	struct ctl_server at[CTL_NODE_SERVERS_MAX];
};

/* --- addresses -------------------------------------------------------------------------------- */
static void bare(const struct ctl_server *s, char ret[INET6_ADDRSTRLEN])
{
	const void *addr = s->at.any.sa_family == AF_INET ? (const void *)&s->at.in.sin_addr
							  : &s->at.in6.sin6_addr;

	inet_ntop(s->at.any.sa_family, addr, ret, INET6_ADDRSTRLEN);
}

static uint16_t port_of(const struct ctl_server *s)
{
	return ntohs(s->at.any.sa_family == AF_INET ? s->at.in.sin_port : s->at.in6.sin6_port);
}

/* A libc asks port 53 only. */
static bool add(struct enabling *e, const struct ctl_server *s)
{
	if (port_of(s) != DNS_PORT || e->count == CTL_NODE_SERVERS_MAX)
		return false;
	e->at[e->count++] = *s;
	return true;
}

static int find_addresses(struct enabling *e, const json_t *status)
{
	const json_t *list = json_object_get(json_object_get(status, "listening"), "dns"), *v;
	struct ctl_server s;
	size_t k;

	for (int i = 0; i < e->c->args_count; i++) {
		if (!ctl_server_of(e->c->args[i], DNS_PORT, &s) || !add(e, &s))
			return ctl_fail(e->c, "'%s' is no address", e->c->args[i]);
	}
	if (e->count)
		return 0;
	json_array_foreach(list, k, v)
	{
		if (ctl_server_at(json_string_value(v), &s))
			(void)add(e, &s);
	}
	return e->count ? 0
			: ctl_fail(e->c, "the agent listens on no address with port 53: "
					 "dns.port53_addresses");
}

/* --- is it to be trusted with that? ----------------------------------------------------------- */
static int check_answers(const struct enabling *e)
{
	for (unsigned i = 0; i < e->count; i++) {
		struct ctl_answer a = {0};
		int r = ctl_ask(&e->at[i], e->domain, WM_DNS_SOA, &a);

		if (r || !ctl_answer_is_ours(&a))
			return ctl_fail(e->c, "%s %s for %s%s%s: nothing was changed",
					e->at[i].text,
					r ? "does not answer" : "answers, but not as this agent,",
					e->domain, r ? ": " : "", r ? wm_err_str(r) : "");
	}
	return 0;
}

static int check_upstream(const struct enabling *e)
{
	json_t *doc = ctl_get(e->c, "/v1/waymark/dns", false);
	const char *mode = json_string_value(json_object_get(doc, "upstream"));
	bool off = mode && strcmp(mode, "off") == 0;

	json_decref(doc);
	if (!doc)
		return CTL_EXIT_FAILED;
	if (off)
		return ctl_fail(e->c, "dns.upstream is off, so that this node would find no other "
				      "names: nothing was changed");
	return 0;
}

/* --- a plain file ----------------------------------------------------------------------------- */
/* What of the file before stands in ours, too: all but who is asked. */
static int carry(const struct enabling *e, struct wm_buf *to)
{
	static const char *const words[] = {"search", "domain", "options", "sortlist"};
	const char *at = e->node.before.data, *end;

	for (; *at; at = *end ? end + 1 : end) {
		size_t len = strcspn(at, "\n"), word, i = 0;

		end = at + len;
		at += strspn(at, " \t\r");
		word = strcspn(at, " \t\r\n");
		if (!word || *at == '#' || *at == ';' ||
		    (word == strlen("nameserver") && !strncmp(at, "nameserver", word)))
			continue;
		while (i < sizeof(words) / sizeof(*words) &&
		       (strlen(words[i]) != word || strncmp(at, words[i], word) != 0))
			i++;
		if (i < sizeof(words) / sizeof(*words))
			wm_buf_printf(to, "%.*s\n", (int)(end - at), at);
		else if (!e->c->force)
			return ctl_fail(e->c,
					CTL_NODE_RESOLV " has a line that is not understood: "
							"'%.*s'; --force: without it",
					(int)(end - at < 100 ? end - at : 100), at);
	}
	return 0;
}

static int failed(const struct enabling *e, const char *path, int r)
{
	return ctl_fail(e->c, "%s: %s%s", path, wm_err_str(r),
			r == -EBUSY ? "; a container's is its runtime's to name: --dns there" : "");
}

static int enable_plain(struct enabling *e, bool *changed)
{
	char text[INET6_ADDRSTRLEN];
	struct wm_buf b;
	int r;

	wm_buf_init(&b, CTL_NODE_FILE_MAX);
	for (unsigned i = 0; i < e->count; i++) {
		bare(&e->at[i], text);
		wm_buf_printf(&b, "nameserver %s\n", text);
	}
	r = carry(e, &b);
	if (!r && (b.failed || !ctl_node_seal(&b)))
		r = ctl_fail(e->c, CTL_NODE_RESOLV " is too long");
	*changed = !r && strcmp(b.data, e->node.text.data) != 0;
	if (*changed && !e->node.ours) {
		r = ctl_node_keep(&e->node);
		if (r)
			r = failed(e, CTL_NODE_KEPT, r);
	}
	if (*changed && !r) {
		r = ctl_node_write(e->node.root, CTL_NODE_RESOLV, b.data);
		if (r)
			r = failed(e, CTL_NODE_RESOLV, r);
	}
	wm_buf_done(&b);
	return r;
}

/* --- commands --------------------------------------------------------------------------------- */
static int tell(const struct ctl *c, const struct ctl_node *n, bool enabled, bool changed)
{
	if (c->json)
		return ctl_print(c, json_pack("{s:b, s:b, s:s}", "enabled", enabled, "changed",
					      changed, "owner", ctl_node_owner_str(n->owner)));
	if (enabled)
		printf("this node's programs ask the agent%s\n", changed ? "" : " already");
	else
		printf("this node's programs ask whom they asked before%s\n",
		       changed ? "" : ": it was not enabled");
	return 0;
}

static int look(const struct ctl *c, struct ctl_node *ret)
{
	int r = ctl_node_look(c->root, ret);

	return r ? ctl_fail(c, "%s" CTL_NODE_RESOLV ": %s", c->root, wm_err_str(r)) : 0;
}

static int enable(struct enabling *e, const json_t *status)
{
	const struct ctl_node *n = &e->node;
	bool changed = false;
	int r;

	if (n->owner == CTL_NODE_OTHER && !e->c->force)
		return ctl_fail(e->c, "%s", n->why);
	if (n->owner == CTL_NODE_RESOLVED || n->owner == CTL_NODE_NETWORK_MANAGER)
		return ctl_fail(e->c, "%s decides whom this node asks: docs/dns.md",
				ctl_node_owner_str(n->owner));
	if (n->edited && !e->c->force)
		return ctl_fail(e->c, CTL_NODE_RESOLV " was edited since dns enable wrote it; "
						      "--force: write it anew");
	if (!status && !(e->c->force && e->c->args_count))
		return ctl_fail(e->c, "no agent answers: start it first");
	e->domain = json_string_value(json_object_get(status, "domain"));
	r = find_addresses(e, status);
	if (!r && !e->c->force) {
		r = check_answers(e);
		if (!r)
			r = check_upstream(e);
	}
	if (!r)
		r = enable_plain(e, &changed);
	return r ? r : tell(e->c, n, true, changed);
}

int ctl_dns_enable(const struct ctl *c)
{
	struct enabling e = {.c = c};
	int r = look(c, &e.node);
	json_t *status = r ? NULL : ctl_get(c, "/v1/waymark/status", true);

	if (!r)
		r = enable(&e, status);
	json_decref(status);
	ctl_node_done(&e.node);
	return r;
}

/* What was written by dns enable, and by nobody since, is given up without a word. */
static int disable(const struct ctl *c, const struct ctl_node *n)
{
	int r;

	if (!n->ours && n->kept && !n->same && !c->force)
		return ctl_fail(c, CTL_NODE_RESOLV " was written by another since; it stays, and "
						   "the one before is " CTL_NODE_KEPT
						   "; --force puts that back");
	if (n->ours && !n->kept)
		return ctl_fail(c, CTL_NODE_KEPT " is gone: write " CTL_NODE_RESOLV " yourself");
	if (n->ours && n->edited && !c->force)
		return ctl_fail(c, CTL_NODE_RESOLV " was edited since dns enable wrote it; "
						   "--force: put back the one before");
	r = n->kept ? ctl_node_restore(n) : 0;
	if (r)
		return ctl_fail(c, CTL_NODE_RESOLV ": %s", wm_err_str(r));
	return tell(c, n, false, n->ours || (n->kept && !n->same));
}

int ctl_dns_disable(const struct ctl *c)
{
	struct ctl_node n;
	int r = look(c, &n);

	if (!r)
		r = disable(c, &n);
	ctl_node_done(&n);
	return r;
}
