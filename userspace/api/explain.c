/* SPDX-License-Identifier: Apache-2.0 */
/* explain.c - GET /v1/waymark/explain/connect: every step of what a connect() would meet now, asked
 * of the live maps by the code that decides in the kernel (resolution/odds.h, dataplane/ask.h). */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/dataplane/ask.h"
#include "userspace/metadata/selection.h"
#include "userspace/resolution/odds.h"
#include "userspace/resolution/plan.h"
#include "userspace/source/kube_cgroup.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#define LISTED_MAX 256 /* candidates of a tier that are listed; all are counted */
#define STEPS_MAX  12
#define STEP_MAX   512 /* octets of a step's text */

struct client {
	uint64_t cgroup, netns;	 /* 0: not given */
	long long uid;		 /* -1: not given */
	char path[1024];	 /* of the cgroup; "": not known */
	struct in6_addr address; /* of the namespace; :: not given */
};
struct explanation {
	struct wm_call *call;
	const struct wm_api *api;
	const char *name;
	uint16_t port;
	uint8_t proto;
	int family; /* AF_INET or AF_INET6; 0: not asked for */
	struct client client;
	__be32 addr_be[4];
	char address[INET6_ADDRSTRLEN];
	bool addressed; /* the name leads to an address */
	bool covered;	/* the programs are asked about it */
	bool found;	/* a set has it */
	bool outside;	/* one of those that who dials from outside the cluster IPs is led to */
	uint32_t set;
	const char *service; /* "": none */
	char subset[WM_TAG_MAX + 1];
	struct wm_odds odds;
	struct wm_selection choice; /* what the tiers are; count 0: not known */
	const char *verdict;
	struct {
		const char *step;
		char text[STEP_MAX];
	} steps[STEPS_MAX];
	unsigned steps_count;
};

__attribute__((format(printf, 3, 4))) static void say(struct explanation *x, const char *step,
						      const char *fmt, ...)
{
	va_list ap;

	if (x->steps_count == STEPS_MAX)
		return;
	x->steps[x->steps_count].step = step;
	va_start(ap, fmt);
	vsnprintf(x->steps[x->steps_count++].text, STEP_MAX, fmt, ap);
	va_end(ap);
}

/* --- what is asked ------------------------------------------------------------------------------
 */
/* @return false: answered, it is no number up to @p max. Not given: @p ret stays. */
static bool read_number(struct wm_call *c, const char *name, uint64_t max, uint64_t *ret)
{
	const char *text = wm_http_query(c->req, name);
	char *end = NULL;

	if (!text || !*text)
		return true;
	errno = 0;
	*ret = strtoull(text, &end, 10);
	if (*end || *text < '0' || *text > '9' || errno || *ret > max) {
		wm_answer_text(c, 400, "%s: a number from 0 to %llu", name,
			       (unsigned long long)max);
		return false;
	}
	return true;
}

static bool read_client(struct wm_call *c, struct client *to)
{
	const char *text = wm_http_query(c->req, "client");

	if (!text || !*text || !wm_kube_address_parse(text, &to->address))
		return true;
	wm_answer_text(c, 400, "client: an IP address is wanted");
	return false;
}

static bool read_question(struct wm_call *c, struct explanation *x)
{
	const char *protocol = wm_http_query(c->req, "protocol");
	uint64_t port = 80, family = 0, uid = UINT64_MAX;

	x->name = wm_http_query(c->req, "name");
	if (!x->name || !*x->name || strlen(x->name) > WM_SERVICE_NAME_MAX) {
		wm_answer_text(c, 400, "name: a service, a name of DNS or an address is wanted");
		return false;
	}
	if (!read_number(c, "port", 65535, &port) || !read_number(c, "family", 6, &family) ||
	    !read_number(c, "uid", UINT32_MAX, &uid) ||
	    !read_number(c, "cgroup", UINT64_MAX, &x->client.cgroup) ||
	    !read_number(c, "netns", UINT64_MAX, &x->client.netns))
		return false;
	if ((family && family != 4 && family != 6) ||
	    (protocol && *protocol && strcmp(protocol, "tcp") != 0 &&
	     strcmp(protocol, "udp") != 0)) {
		wm_answer_text(c, 400, "family is 4 or 6, protocol is tcp or udp");
		return false;
	}
	if (!read_client(c, &x->client))
		return false;
	x->port = (uint16_t)port;
	x->family = !family ? 0 : family == 4 ? AF_INET : AF_INET6;
	x->proto = protocol && *protocol == 'u' ? IPPROTO_UDP : IPPROTO_TCP;
	x->client.uid = uid == UINT64_MAX ? -1 : (long long)uid;
	return true;
}

/* --- the name -----------------------------------------------------------------------------------
 */
static void take_address(struct explanation *x, int family, const void *a)
{
	x->family = family;
	x->addressed = true;
	inet_ntop(family, a, x->address, sizeof(x->address));
	if (family == AF_INET6) {
		memcpy(x->addr_be, a, sizeof(x->addr_be));
		if (IN6_IS_ADDR_V4MAPPED((const struct in6_addr *)a))
			x->family = AF_INET;
		return;
	}
	x->addr_be[2] = WM_V4_MAPPED_BE;
	memcpy(&x->addr_be[3], a, 4);
}

static void by_entry(struct explanation *x, const char *name, const struct wm_name *n)
{
	static const __be32 none[4];
	bool six = memcmp(n->vip6_be, none, sizeof(none)) != 0;

	if (n->kind != WM_NAME_VIRTUAL) {
		say(x, "name",
		    "%s is answered with addresses of instances: DNS chooses among them, by the "
		    "same tables, and connect() goes where DNS said. Only what is connected to the "
		    "virtual name is chosen for at connect()",
		    name);
		x->verdict = "chosen by DNS";
		return;
	}
	if (n->vip4_be && x->family != AF_INET6)
		take_address(x, AF_INET, &n->vip4_be);
	else if (six && x->family != AF_INET)
		take_address(x, AF_INET6, n->vip6_be);
	if (x->addressed)
		say(x, "name", "%s is %s, a virtual address", name, x->address);
	else
		say(x, "name", "%s has no address of IPv%d: no instance has one", name,
		    x->family == AF_INET ? 4 : 6);
	x->verdict = x->addressed ? NULL : "no address";
}

/* The first address of the family that is asked for, the service's own before others. */
static const struct wm_spec_address *address_of(const struct explanation *x,
						const struct wm_service_spec *s)
{
	const struct wm_spec_address *best = NULL;

	for (unsigned n = 0; n < s->addresses_count; n++) {
		const struct wm_spec_address *a = &s->addresses[n];

		if (x->family && (x->family == AF_INET) != (a->a4.s_addr != 0))
			continue;
		if (!best || a->kind < best->kind)
			best = a;
	}
	return best;
}

/* A service that a source gives addresses, by its key. */
static void by_spec(struct explanation *x, const struct wm_service_spec *s)
{
	const struct wm_spec_address *a = s->headless ? NULL : address_of(x, s);

	x->verdict = a ? NULL : "no address";
	if (s->external_name)
		say(x, "name",
		    "%s is the name %s of DNS, says source %s: there is nothing to steer",
		    s->service, s->external_name, s->source);
	else if (s->headless)
		say(x, "name",
		    "%s is headless, says source %s: DNS tells its instances, which are dialled "
		    "as they are",
		    s->service, s->source);
	else if (!a)
		say(x, "name", "%s has no address of IPv%d, says source %s", s->service,
		    x->family == AF_INET6 ? 6 : 4, s->source);
	if (s->external_name || !a)
		return;
	take_address(x, a->a4.s_addr ? AF_INET : AF_INET6,
		     a->a4.s_addr ? (const void *)&a->a4 : &a->a6);
	say(x, "name", "%s is %s, its %s address, says source %s", s->service, x->address,
	    wm_spec_address_kind_str(a->kind), s->source);
}

/* @return false: answered, nobody knows the name. */
static bool resolve(struct explanation *x)
{
	const struct wm_tables *t = x->api->d.tables;
	const struct wm_name *n = t ? wm_tables_name_of(t, x->name) : NULL;
	const struct wm_service_spec *spec = wm_registry_spec(x->api->d.registry, x->name);
	char virtual[WM_SERVICE_NAME_MAX + WM_DNS_NAME_MAX + 16];
	unsigned char a[16];

	if (inet_pton(AF_INET, x->name, a) == 1 || inet_pton(AF_INET6, x->name, a) == 1) {
		take_address(x, strchr(x->name, ':') ? AF_INET6 : AF_INET, a);
		return true;
	}
	if (n) {
		by_entry(x, x->name, n);
		return true;
	}
	if (spec && (spec->addresses_count || spec->external_name || spec->headless)) {
		by_spec(x, spec);
		return true;
	}
	snprintf(virtual, sizeof(virtual), "%s.virtual.%s", x->name, x->api->d.domain);
	n = t ? wm_tables_name_of(t, virtual) : NULL;
	if (n) {
		by_entry(x, virtual, n);
		return true;
	}
	if (!wm_registry_service(x->api->d.registry, x->name)) {
		snprintf(virtual, sizeof(virtual), "%s.%s", x->name, x->api->d.domain);
		n = t ? wm_tables_name_of(t, virtual) : NULL;
		if (n) {
			by_entry(x, virtual, n);
			return true;
		}
		wm_answer_text(x->call, 404,
			       "unknown name: %.64s; a service, SUBSET.SERVICE, a name below %s, "
			       "with or without that, or an address is wanted",
			       x->name, x->api->d.domain);
		return false;
	}
	say(x, "name", "%s is a service, but stands in no table: %s", x->name,
	    t ? "they are full (status -v), or no name can be made of it"
	      : "there is no data plane");
	x->verdict = "no address";
	return true;
}

/* --- the programs -------------------------------------------------------------------------------
 */
static void look_at_client(struct explanation *x, const struct wm_plane_hook *h)
{
	struct client *c = &x->client;
	int covers = c->cgroup
			     ? wm_plane_covers(x->api->d.plane, c->cgroup, c->path, sizeof(c->path))
			     : 1;

	if (!c->cgroup)
		say(x, "program", "%s is attached to %s, and asked about processes below it",
		    h->name, h->where);
	else if (covers > 0)
		say(x, "program", "%s is attached to %s, and asked about %s", h->name, h->where,
		    c->path);
	else if (!covers)
		say(x, "program",
		    "%s is attached to %s, and %s is not below it: the process goes to the "
		    "address itself, which is unreachable",
		    h->name, h->where, c->path);
	else
		say(x, "program",
		    "%s is attached to %s; whether cgroup %llu is below is not "
		    "known: %s",
		    h->name, h->where, (unsigned long long)c->cgroup, strerror(-covers));
	x->covered = covers != 0;
	if (!covers)
		x->verdict = "not steered";
}

static void look_at_programs(struct explanation *x)
{
	const struct wm_plane *p = x->api->d.plane;
	const struct wm_plane_hook *h = p ? wm_plane_connect_hook(p, x->family) : NULL;

	if (!h || h->error)
		say(x, "program", "no program is asked about connect(): %s",
		    h ? h->text
		    : x->api->d.plane_error && *x->api->d.plane_error
			    ? x->api->d.plane_error
			    : "it is switched off (kernel.enabled, kernel.attach_connect)");
	else if (!wm_plane_connects(p))
		say(x, "program", "%s is attached to %s, but steering is switched off", h->name,
		    h->where);
	else
		look_at_client(x, h);
	if (!x->covered && !x->verdict)
		x->verdict = "not steered";
}

/* Of which pod is who dials? */
static void say_pod(struct explanation *x)
{
	const struct client *c = &x->client;
	const struct wm_kube_pod_here *pod;
	struct wm_kube_cgroup at;

	if (!x->api->d.pods)
		return;
	pod = wm_kube_pods_of(x->api->d.pods, c->path, &c->address, &at);
	if (pod)
		say(x, "client", "who dials is of pod %s%s%s", pod->key,
		    *at.container ? ", container " : "", at.container);
	if (!pod || !pod->out)
		return;
	say(x, "client",
	    "its annotation " WM_KUBE_STEER_KEY " takes it out: the call goes on untouched");
	x->verdict = "not steered";
}

/* --- the destination ----------------------------------------------------------------------------
 */
static void look_at_frontend(struct explanation *x)
{
	const struct wm_plane *p = x->api->d.plane;
	int found = p ? wm_plane_frontend(p, x->addr_be, htons(x->port), x->proto, &x->set)
		      : WM_PICK_NONE;
	uint16_t port;
	const char *service, *protocol = x->proto == IPPROTO_TCP ? "TCP" : "UDP";

	if (found == WM_PICKED && wm_tables_refuses(x->api->d.tables, x->set)) {
		service = wm_tables_front_owner(x->api->d.tables, x->addr_be);
		x->service = service ? service : "";
		say(x, "destination",
		    "%s is service %s, which has no %s port %u: ECONNREFUSED at once", x->address,
		    x->service, protocol, x->port);
		x->verdict = x->verdict ? x->verdict : "refused";
		return;
	}
	if (found == WM_PICKED) {
		service = wm_tables_service_of(x->api->d.tables, x->set);
		x->service = service ? service : "";
		x->found = true;
		port = wm_tables_part_of(x->api->d.tables, x->set, x->subset);
		x->outside = strcmp(x->subset, WM_LABEL_OUTSIDE) == 0;
		if (x->outside)
			*x->subset = '\0';
		say(x, "destination", "%s, %s port %u, is service %s%s%s%s (set %u)", x->address,
		    protocol, x->port, x->service, *x->subset ? ", subset " : "", x->subset,
		    x->outside ? ", from outside its cluster addresses"
		    : port     ? ", by this port"
			       : "",
		    x->set);
		return;
	}
	if (found == WM_PICK_TORN) {
		say(x, "destination", "%s is being changed: ask again", x->address);
		x->verdict = "refused";
	} else if (p && wm_plane_is_virtual(p, x->addr_be)) {
		say(x, "destination",
		    "%s, %s port %u, is a virtual address that no service has: "
		    "ECONNREFUSED at once",
		    x->address, protocol, x->port);
		x->verdict = x->verdict ? x->verdict : "refused";
	} else {
		say(x, "destination", "%s is no address of a service: the call goes on untouched",
		    x->address);
		x->verdict = x->verdict ? x->verdict : "not a service's";
	}
}

/* --- the choice ---------------------------------------------------------------------------------
 */
/* What a source says of it. */
static void say_spec(struct explanation *x)
{
	static const char *const near[] = {"", "those of this zone first, ",
					   "those of this node first, "};
	const struct wm_service_spec *s = wm_registry_spec(x->api->d.registry, x->service);
	bool local = s && s->local_only && !x->outside;
	char affinity[48] = "";

	if (!s)
		return;
	if (s->affinity_s)
		snprintf(affinity, sizeof(affinity), "a pod stays with one for %u s, ",
			 s->affinity_s);
	if (s->passed)
		say(x, "source",
		    "source %s says: another proxy steers it, its addresses are left alone",
		    s->source);
	else if (local || s->affinity_s || s->prefer != WM_SPEC_ANYWHERE || s->publish_not_ready)
		say(x, "source", "source %s says: %s%s%s%sunless a policy says otherwise",
		    s->source, local ? "only instances of this node, " : "",
		    near[local ? WM_SPEC_ANYWHERE : s->prefer], affinity,
		    s->publish_not_ready ? "who is not ready is dialled, " : "");
}

static const struct wm_instance *instance_of(const struct explanation *x, uint32_t backend)
{
	uint64_t hash = wm_tables_memory(x->api->d.tables)->backends[backend].instance;

	for (unsigned t = 0; t < x->choice.count; t++)
		for (unsigned n = 0; n < x->choice.tiers[t].count; n++)
			if (x->choice.tiers[t].members[n]->hash == hash)
				return x->choice.tiers[t].members[n];
	return NULL;
}

static bool key_of(const struct explanation *x, uint32_t hash_on, uint64_t *ret)
{
	const struct client *c = &x->client;

	*ret = hash_on == WM_HASH_ON_NETNS    ? (c->netns ? c->netns : wm_plane_home())
	       : hash_on == WM_HASH_ON_CGROUP ? c->cgroup
	       : hash_on == WM_HASH_ON_UID    ? (uint64_t)c->uid
					      : 0;
	return hash_on == WM_HASH_ON_UID ? c->uid >= 0 : *ret != 0;
}

/* Why a client does not stay with the backend that it had, even where those that are not up are
 * asked; NULL: it does. */
static const char *why_not_kept(const struct wm_odds *o, uint32_t backend)
{
	for (uint32_t n = 0; n < o->count; n++)
		if (o->candidates[n].backend == backend)
			return o->candidates[n].why_not;
	return "not selected";
}

/* Whom has the client been with, and does it stay there? */
static void say_affinity(struct explanation *x)
{
	const struct wm_table_head *h = &x->odds.table.head;
	uint32_t by = h->flags & WM_HEAD_AFFINITY, backend;
	const struct wm_instance *i;
	char had[WM_INSTANCE_ID_MAX + 96] = "";
	const char *id, *why_not;
	uint64_t key, left_ns;

	if (!by || by - 1 == WM_HASH_ON_SOCKET || !h->affinity_s)
		return;
	if (!key_of(x, by - 1, &key)) {
		snprintf(had, sizeof(had), "who dials is not known");
	} else if (!wm_plane_kept(x->api->d.plane, x->set, key, &backend, &left_ns)) {
		snprintf(had, sizeof(had), "this one has none");
	} else {
		i = instance_of(x, backend);
		id = i ? i->id : "one";
		why_not = why_not_kept(&x->odds, backend);
		if (why_not)
			snprintf(had, sizeof(had), "this one had %s, which is %s: it gets another",
				 id, why_not);
		else
			snprintf(had, sizeof(had), "this one has %s for %llu s more", id,
				 (unsigned long long)(left_ns / WM_NS_PER_S));
	}
	say(x, "client",
	    "affinity: told apart by %s, clients keep their instance while it is usable, until "
	    "%u s after their last connection: %s. The odds are of one that has none",
	    wm_policy_word("affinity", "key", by), h->affinity_s, had);
}

static void say_policy(struct explanation *x)
{
	const struct wm_table_head *h = &x->odds.table.head;
	const char *of = x->choice.policy ? x->choice.policy->service : NULL;

	for (unsigned n = 0; n < x->choice.hops_count; n++)
		say(x, "policy", "%s redirects", x->choice.hops[n]);
	if (of)
		say(x, "policy", "the policy of %s: select %s, balance %s, when_none %s", of,
		    wm_policy_word("", "select", x->choice.policy->select),
		    wm_policy_word("", "balance", h->balance),
		    wm_policy_word("", "when_none", h->when_none));
	else
		say(x, "policy", "%s has no policy: at random by weight among all that are up",
		    x->service);
	if (of && wm_policy_idle(x->api, x->choice.policy))
		say(x, "policy", "%s", wm_policy_idle(x->api, x->choice.policy));
	if (of && h->balance == WM_BALANCE_WEIGHTED && wm_table_is_wide(x->choice.policy->balance))
		say(x, "policy", "there is no room for a table of %s (kernel.backends_max)",
		    wm_policy_word("", "balance", x->choice.policy->balance));
	if (*x->choice.nearness)
		say(x, "policy", "%s", x->choice.nearness);
	say_spec(x);
	if (h->balance == WM_BALANCE_MAGLEV)
		say(x, "client", "clients are told apart by %s",
		    wm_policy_word("", "hash_on", h->hash_on));
	say_affinity(x);
}

static void say_outcome(struct explanation *x)
{
	const struct wm_odds *o = &x->odds;
	uint32_t usable = 0;

	for (uint32_t n = 0; n < o->count; n++)
		usable += !o->candidates[n].why_not;
	if (o->passed > 0)
		say(x, "outcome",
		    "nobody is usable, and the policy lets the call pass: it goes on "
		    "to %s itself",
		    x->address);
	else if (o->refused > 0)
		say(x, "outcome", "none of %u is usable: ECONNREFUSED at once", o->count);
	else if (o->states == (WM_ASK_UP | WM_ASK_EJECTED))
		say(x, "outcome",
		    "nobody else is up, so those are asked that this set alone would not have left "
		    "out: one of %u",
		    o->count);
	else if (o->states != WM_ASK_UP)
		say(x, "outcome", "too few are up, so those that are not are asked, too: one of %u",
		    o->count);
	else
		say(x, "outcome", "one of %u of %u", usable, o->count);
	if (!x->verdict)
		x->verdict = o->passed > 0 ? "passed" : o->refused > 0 ? "refused" : "steered";
}

/* @return 0, -ENOMEM. */
static int choose(struct explanation *x)
{
	const struct wm_tables *t = x->api->d.tables;
	struct wm_view v = wm_tables_view(t);
	uint64_t home = wm_plane_home();
	struct wm_odds_client c = {.now_ns = wm_clock_ns(),
				   .families = x->family == AF_INET ? WM_FAMILY_4 : WM_FAMILY_6,
				   .other_family = x->family == AF_INET6,
				   .budget_ns = WM_API_SLICE_MS * 1000000ull};
	struct wm_table table;
	int r;

	if (x->client.netns && home && x->client.netns != home)
		c.families |= WM_NOT_LOOPBACK;
	if (wm_table_load(&v, x->set, &table) == WM_PICKED)
		c.keyed = key_of(x, table.head.hash_on, &c.key);
	r = wm_odds_make(&v, x->set, &c, &x->odds);
	if (r == -ENOENT || r == -EAGAIN) {
		say(x, "outcome",
		    r == -ENOENT ? "no instance is registered: ECONNREFUSED at once"
				 : "its table is being changed: ask again");
		x->verdict = x->verdict ? x->verdict : "refused";
		return 0;
	}
	if (!r)
		r = wm_selection_make(x->api->d.registry, x->service, x->subset,
				      wm_only_passing(x->api), &x->choice);
	if (r)
		return r;
	say_policy(x);
	say_outcome(x);
	return 0;
}

/* --- the answer ---------------------------------------------------------------------------------
 */
static const char *state_of(uint32_t state)
{
	static const char *const names[] = {[WM_STATE_FREE] = "free",
					    [WM_STATE_UP] = "up",
					    [WM_STATE_DOWN] = "down",
					    [WM_STATE_DRAIN] = "draining"};

	return (state & WM_STATE_MASK) <= WM_STATE_DRAIN ? names[state & WM_STATE_MASK] : "free";
}

static void put_double(struct wm_json *j, const char *key, double d)
{
	wm_json_key(j, key);
	wm_json_double(j, d);
}

static void put_candidate(struct wm_json *j, const struct explanation *x,
			  const struct wm_odds_candidate *c)
{
	const struct wm_backend *b = &wm_tables_memory(x->api->d.tables)->backends[c->backend];
	const struct wm_instance *i = instance_of(x, c->backend);

	wm_json_open(j, '{');
	wm_json_ks(j, "id", i ? i->id : "");
	wm_json_ks(j, "node", i ? i->node->name : "");
	wm_json_ku(j, "backend", c->backend);
	wm_encode_address(j, "address", AF_INET, &b->addr4_be);
	wm_encode_address(j, "address6", AF_INET6, b->addr6_be);
	wm_json_ku(j, "port", b->port_be ? ntohs(b->port_be) : x->port);
	wm_json_ku(j, "weight", b->weight);
	wm_json_ks(j, "state", state_of(c->state));
	wm_json_ks(j, "why_not", c->why_not);
	wm_json_ku(j, "ejected_ms", (c->ejected_ns + 999999) / 1000000);
	wm_json_ku(j, "open", c->live.open);
	wm_json_ku(j, "latency_us", c->live.rtt_us);
	wm_json_ku(j, "picks", c->live.picks);
	wm_json_ku(j, "failures", c->live.failures);
	wm_json_ku(j, "ejections", c->live.ejections);
	put_double(j, "odds", c->odds);
	wm_json_close(j, '}');
}

static void put_tier(struct wm_json *j, const struct explanation *x, unsigned tier)
{
	const struct wm_selection_tier *t = tier < x->choice.count ? &x->choice.tiers[tier] : NULL;
	unsigned count = 0;

	wm_json_open(j, '{');
	if (x->odds.table.head.tiers > x->choice.count) /* a source's: near ones first */
		wm_json_ks(j, "what", tier ? "farther" : "nearest");
	else
		wm_json_ks(j, "what", t ? t->what : "");
	wm_json_ks(j, "service", t ? t->service : "");
	wm_json_ks(j, "subset", t ? t->subset : "");
	wm_json_ks(j, "region", t ? t->region : "");
	put_double(j, "drawn", x->odds.drawn[tier]);
	put_double(j, "odds", x->odds.tier[tier]);
	wm_json_kopen(j, "candidates", '[');
	for (uint32_t n = 0; n < x->odds.count; n++)
		if (x->odds.candidates[n].tier == tier && count++ < LISTED_MAX)
			put_candidate(j, x, &x->odds.candidates[n]);
	wm_json_close(j, ']');
	wm_json_ku(j, "count", count);
	wm_json_close(j, '}');
}

static void put_client(struct wm_json *j, const struct wm_api *a, const struct client *c)
{
	wm_json_kopen(j, "client", '{');
	wm_json_ku(j, "cgroup", c->cgroup);
	wm_json_ks(j, "cgroup_path", c->path);
	wm_json_ku(j, "netns", c->netns);
	wm_json_key(j, "uid");
	if (c->uid < 0)
		wm_json_null(j);
	else
		wm_json_u64(j, (uint64_t)c->uid);
	wm_api_put_pod(j, a, c->path, &c->address);
	wm_json_close(j, '}');
}

static void put_answer(struct wm_json *j, const struct explanation *x)
{
	const struct wm_odds *o = &x->odds;

	wm_json_open(j, '{');
	wm_json_ks(j, "name", x->name);
	wm_json_ks(j, "address", x->address);
	wm_json_ku(j, "port", x->port);
	wm_json_ks(j, "protocol", x->proto == IPPROTO_TCP ? "tcp" : "udp");
	wm_json_ks(j, "service", x->service);
	wm_json_ks(j, "subset", x->subset);
	put_client(j, x->api, &x->client);
	wm_json_ks(j, "verdict", x->verdict);
	wm_json_kopen(j, "steps", '[');
	for (unsigned n = 0; n < x->steps_count; n++) {
		wm_json_open(j, '{');
		wm_json_ks(j, "step", x->steps[n].step);
		wm_json_ks(j, "text", x->steps[n].text);
		wm_json_close(j, '}');
	}
	wm_json_close(j, ']');
	wm_json_ks(j, "balance", wm_policy_word("", "balance", o->table.head.balance));
	wm_json_ks(j, "when_none", wm_policy_word("", "when_none", o->table.head.when_none));
	wm_json_ku(j, "tries", o->tries);
	put_double(j, "refused", o->refused);
	put_double(j, "passed", o->passed);
	wm_json_kopen(j, "tiers", '[');
	for (unsigned n = 0; n < o->table.head.tiers && o->tries; n++)
		put_tier(j, x, n);
	wm_json_close(j, ']');
	wm_json_close(j, '}');
}

void wm_native_explain_connect(struct wm_call *c)
{
	struct explanation *x = calloc(1, sizeof(*x));
	struct wm_json j;
	int r = 0;

	if (!x) {
		wm_answer_text(c, 503, "Out of memory");
		return;
	}
	x->call = c;
	x->api = c->api;
	if (!read_question(c, x) || !resolve(x)) {
		free(x);
		return;
	}
	if (x->addressed) {
		look_at_programs(x);
		say_pod(x);
		look_at_frontend(x);
	}
	if (x->found)
		r = choose(x);
	if (r) {
		wm_answer_text(c, 503, "Out of memory");
	} else {
		wm_answer_begin(c, &j);
		put_answer(&j, x);
		wm_answer_end(c, &j, 0);
	}
	wm_odds_done(&x->odds);
	if (x->choice.service)
		wm_selection_done(&x->choice);
	free(x);
}
