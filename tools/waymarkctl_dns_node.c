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
	const char *domain;  /* NULL: not known */
	const json_t *zones; /* that the agent answers for; likewise */
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
	if ((port_of(s) != DNS_PORT && e->node.owner != CTL_NODE_RESOLVED) ||
	    e->count == CTL_NODE_SERVERS_MAX)
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
		if ((!ctl_server_of(e->c->args[i], DNS_PORT, &s) &&
		     !ctl_server_at(e->c->args[i], &s)) ||
		    !add(e, &s))
			return ctl_fail(e->c, "'%s' is no address of a name server", e->c->args[i]);
	}
	if (e->count)
		return 0;
	json_array_foreach(list, k, v)
	{
		if (ctl_server_at(json_string_value(v), &s))
			(void)add(e, &s);
	}
	return e->count ? 0
			: ctl_fail(e->c, "the agent listens on no address with port 53: set "
					 "dns.port53_addresses and start it again");
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

/* Has the agent anybody to ask for names of no domain in particular? */
static bool has_others(const json_t *doc, const char *mode)
{
	const json_t *s;
	size_t i;

	json_array_foreach(json_object_get(doc, "servers"), i, s)
	{
		if (strcmp(ctl_text(s, "domain"), ".") == 0 &&
		    strcmp(ctl_text(s, "state"), "loops") != 0)
			return true;
	}
	return strcmp(mode, "recursion") == 0;
}

/* Where it is enabled already, the servers may be gone with the uplink. */
static int check_upstream(const struct enabling *e)
{
	json_t *doc = ctl_get(e->c, "/v1/waymark/dns", false);
	const char *mode = ctl_text(doc, "upstream");
	int r = 0;

	if (!doc)
		return CTL_EXIT_FAILED;
	if (strcmp(mode, "off") == 0)
		r = ctl_fail(e->c, "dns.upstream is off, so that this node would find no other "
				   "names: nothing was changed");
	else if (!e->node.ours && !has_others(doc, mode))
		r = ctl_fail(e->c,
			     "dns.upstream is %s, and the agent knows no server for other names: "
			     "nothing was changed",
			     mode);
	json_decref(doc);
	return r;
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
			r == -EBUSY || r == -EXDEV
				? "; a container's is its runtime's to name: --dns there"
			: r == -EPERM ? "; is it immutable (lsattr)?"
				      : "");
}

static int enable_plain(struct enabling *e, bool *changed)
{
	char text[INET6_ADDRSTRLEN];
	const char *path;
	bool differs;
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
	differs = !r && strcmp(b.data, e->node.text.data) != 0;
	*changed |= differs;
	if (differs) {
		r = ctl_node_take(&e->node, b.data, &path);
		if (r)
			r = failed(e, path, r);
	}
	wm_buf_done(&b);
	return r;
}

/* --- by way of systemd-resolved --------------------------------------------------------------- */
static int check_dropin(const struct enabling *e, const struct ctl_dropin *d)
{
	if (d->there && (!d->ours || d->edited) && !e->c->force)
		return ctl_fail(e->c, "%s was %s; --force: write it anew, or take it away", d->path,
				d->ours ? "edited since dns enable wrote it"
					: "not written by dns enable");
	return 0;
}

/* Names of all of our zones, those of virtual addresses as well, are nobody else's to see. With
 * --only our server takes the place of all that are configured, and is preferred to those of
 * links for every name. */
static void put_resolved(const struct enabling *e, struct wm_buf *b)
{
	char text[INET6_ADDRSTRLEN];
	const json_t *zone;
	size_t i;

	wm_buf_puts(b, e->c->only ? "[Resolve]\nDNS=\nDNS=" : "[Resolve]\nDNS=");
	for (i = 0; i < e->count; i++) {
		bare(&e->at[i], text);
		wm_buf_printf(b, strchr(text, ':') ? "%s[%s]:%u" : "%s%s:%u", i ? " " : "", text,
			      port_of(&e->at[i]));
	}
	if (e->c->only) {
		wm_buf_puts(b, "\nFallbackDNS=\nDomains=~.\n");
		return;
	}
	wm_buf_puts(b, "\nDomains=");
	json_array_foreach(e->zones, i, zone)
		wm_buf_printf(b, "%s~%s", i ? " " : "", json_string_value(zone));
	wm_buf_putc(b, '\n');
}

/* The program of @p unit reads its configuration again, of which @p path is, or was, a file. */
static int reload(const struct enabling *e, const char *path, const char *unit)
{
	int r = ctl_node_reload(&e->node, unit);

	if (r < 0)
		return ctl_fail(e->c,
				"systemctl try-reload-or-restart %s failed: it has not read "
				"its configuration again",
				unit);
	if (r && !e->c->json)
		printf("then: systemctl try-reload-or-restart %s\n", unit);
	ctl_node_end_aside(e->node.root, path);
	return 0;
}

static int enable_resolved(struct enabling *e, bool *changed)
{
	struct ctl_dropin d;
	struct wm_buf b;
	int r = ctl_node_dropin_look(&e->node, CTL_NODE_RESOLVED_FILE, &d);

	wm_buf_init(&b, CTL_NODE_FILE_MAX);
	if (r) {
		r = failed(e, d.path, r);
	} else if (!e->domain) {
		r = ctl_fail(e->c, "no agent answers: start it first");
	} else if (!e->c->only && !json_array_size(e->zones)) {
		r = ctl_fail(e->c, "the agent does not say what it answers for: it is of another "
				   "version than this program");
	} else if (!e->c->only && !e->c->force && !ctl_node_resolved_free(&e->node)) {
		r = ctl_fail(e->c, "%s", e->node.why);
	} else {
		r = check_dropin(e, &d);
		if (!r) {
			put_resolved(e, &b);
			r = ctl_node_dropin_write(&e->node, &d, &b, changed);
			if (r)
				r = failed(e, d.path, r);
		}
	}
	wm_buf_done(&b);
	wm_buf_done(&d.text);
	/* also where nothing changed: who was killed before it did not get here */
	return r ? r : reload(e, CTL_NODE_RESOLVED_FILE, "systemd-resolved.service");
}

/* --- and of NetworkManager -------------------------------------------------------------------- */
/* It goes on writing /run/NetworkManager/no-stub-resolv.conf, where the agent finds the servers of
 * the network. */
static int enable_network_manager(struct enabling *e, bool *changed)
{
	struct ctl_dropin d;
	struct wm_buf b;
	int r = ctl_node_dropin_look(&e->node, CTL_NODE_MANAGER_FILE, &d);

	wm_buf_init(&b, CTL_NODE_FILE_MAX);
	wm_buf_puts(&b, "[main]\nrc-manager=unmanaged\n");
	if (r) {
		r = failed(e, d.path, r);
	} else if (!e->c->force && !ctl_node_network_manager_free(&e->node)) {
		r = ctl_fail(e->c, "%s", e->node.why);
	} else {
		r = check_dropin(e, &d);
		if (!r) {
			r = ctl_node_dropin_write(&e->node, &d, &b, changed);
			if (r)
				r = failed(e, d.path, r);
		}
	}
	wm_buf_done(&b);
	wm_buf_done(&d.text);
	/* it must have let go of the file before that is another */
	if (!r)
		r = reload(e, CTL_NODE_MANAGER_FILE, "NetworkManager.service");
	if (r)
		return r;
	r = enable_plain(e, changed);
	if (r && !d.there) { /* then it goes on with the file */
		(void)ctl_node_remove(e->node.root, d.path);
		(void)reload(e, d.path, "NetworkManager.service");
	}
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
	int r = ctl_node_look(c->root, true, ret);

	return r ? ctl_fail(c, "%s" CTL_NODE_RESOLV ": %s", c->root, wm_err_str(r)) : 0;
}

static int enable(struct enabling *e, const json_t *status)
{
	const struct ctl_node *n = &e->node;
	bool changed = false;
	int r;

	if (n->owner == CTL_NODE_OTHER && !e->c->force)
		return ctl_fail(e->c, "%s", n->why);
	if (n->owner != CTL_NODE_RESOLVED && e->c->only)
		return ctl_fail(e->c,
				"--only is of systemd-resolved, which this node does not ask");
	if (n->edited && !e->c->force)
		return ctl_fail(e->c, CTL_NODE_RESOLV " was edited since dns enable wrote it; "
						      "--force: write it anew");
	if (!status && !(e->c->force && e->c->args_count))
		return ctl_fail(e->c, "no agent answers: start it first");
	e->domain = json_string_value(json_object_get(status, "domain"));
	e->zones = json_object_get(status, "zones");
	r = find_addresses(e, status);
	if (!r && !e->c->force) {
		r = check_answers(e);
		if (!r && (n->owner != CTL_NODE_RESOLVED || e->c->only))
			r = check_upstream(e);
	}
	if (!r && n->owner == CTL_NODE_RESOLVED)
		r = enable_resolved(e, &changed);
	else if (!r && n->owner == CTL_NODE_NETWORK_MANAGER)
		r = enable_network_manager(e, &changed);
	else if (!r)
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
static int restore(const struct enabling *e, bool *changed)
{
	const struct ctl_node *n = &e->node;
	int r;

	if (!n->ours && n->kept && !n->same && !n->missing && !e->c->force)
		return ctl_fail(e->c, CTL_NODE_RESOLV " was written by another since; it stays, "
						      "and the one before is " CTL_NODE_KEPT
						      "; --force puts that back");
	if (n->ours && !n->kept)
		return ctl_fail(e->c, CTL_NODE_KEPT " is gone: write " CTL_NODE_RESOLV " yourself");
	if (n->ours && n->edited && !e->c->force)
		return ctl_fail(e->c, CTL_NODE_RESOLV " was edited since dns enable wrote it; "
						      "--force: put back the one before");
	*changed |= n->ours || (n->kept && !n->same);
	r = n->kept ? ctl_node_restore(n) : 0;
	ctl_node_sweep(n->root, CTL_NODE_KEPT);
	ctl_node_sweep(n->root, CTL_NODE_RESOLV);
	return r ? failed(e, CTL_NODE_RESOLV, r) : 0;
}

static int take_away(const struct enabling *e, const char *path, const char *unit, bool *changed)
{
	struct ctl_dropin d;
	int r = ctl_node_dropin_look(&e->node, path, &d);
	bool there = d.there;

	if (!r && there) {
		r = check_dropin(e, &d);
		if (!r) {
			r = ctl_node_set_aside(e->node.root, path);
			r = r ? failed(e, path, r) : 0;
		}
	} else if (r) {
		r = failed(e, path, r);
	}
	wm_buf_done(&d.text);
	/* also where one that was killed took it away */
	if (!r && ctl_node_is_aside(e->node.root, path)) {
		*changed = true;
		r = reload(e, path, unit);
	}
	ctl_node_sweep(e->node.root, path);
	return r;
}

int ctl_dns_disable(const struct ctl *c)
{
	struct enabling e = {.c = c};
	bool changed = false;
	int r = look(c, &e.node);

	if (!r)
		r = restore(&e, &changed);
	if (!r)
		r = take_away(&e, CTL_NODE_RESOLVED_FILE, "systemd-resolved.service", &changed);
	if (!r)
		r = take_away(&e, CTL_NODE_MANAGER_FILE, "NetworkManager.service", &changed);
	if (!r)
		r = tell(c, &e.node, false, changed);
	ctl_node_done(&e.node);
	return r;
}
