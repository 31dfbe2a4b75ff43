/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - see verify.h. */
#include "verify.h"

#include "internal.h"
#include "userspace/base/macros.h"
#include "waymark/policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#define TEXT_MAX 600 /* octets of a difference: a name of DNS and what is said of it */

#define PART_MAX 400 /* and of the service, subset and port that it is about */

struct verify {
	struct wm_tables *t;
	wm_difference_fn fn;
	void *arg;
	const char *of; /* service, subset, port; NULL: all entries */
};

/* @return @p out, or the service as it is: of most there are no parts. */
static const char *part_text(const struct wm_want_set *w, char *out, size_t cap)
{
	bool all = !w->label || !*w->label;
	char port[sizeof(":65535/udp")] = "";

	if (all && !w->port)
		return w->service;
	if (w->port)
		snprintf(port, sizeof(port), ":%u%s", w->port,
			 w->proto == IPPROTO_UDP ? "/udp" : "");
	snprintf(out, cap, "%s%s%s%s", all ? "" : w->label, all ? "" : ".", w->service, port);
	return out;
}

__attribute__((format(printf, 3, 4))) static void differ(const struct verify *v, const char *map,
							 const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	v->fn(v->arg, map, text);
}

/* --- backends --------------------------------------------------------------------------------- */
static void place_text(uint32_t addr4_be, const void *addr6, uint16_t port, char *out, size_t cap)
{
	char address[INET6_ADDRSTRLEN] = "";

	if (addr4_be)
		inet_ntop(AF_INET, &addr4_be, address, sizeof(address));
	else
		inet_ntop(AF_INET6, addr6, address, sizeof(address));
	snprintf(out, cap, addr4_be ? "%s:%u" : "[%s]:%u", address, port);
}

/* What userspace last stored there. */
static uint32_t stored(uint32_t word)
{
	return word & WM_STATE_F_FELL ? WM_STATE_UP : word & WM_STATE_MASK;
}

static const char *state_text(uint32_t state)
{
	static const char *const names[] = {[WM_STATE_FREE] = "free",
					    [WM_STATE_UP] = "up",
					    [WM_STATE_DOWN] = "down",
					    [WM_STATE_DRAIN] = "draining"};

	return state < WM_ARRAY_LEN(names) ? names[state] : "in no state that there is";
}

static void tell_backend(const struct verify *v, uint32_t index, uint32_t word,
			 const struct wm_want_backend *b)
{
	const struct wm_backend *have = &v->t->mem.backends[index];
	char place[INET6_ADDRSTRLEN + 10];

	place_text(b->addr4_be, b->addr6, b->port, place, sizeof(place));
	if (stored(word) != b->state)
		differ(v, "backends", "%s: %s is %s, and should be %s", v->of, place,
		       state_text(stored(word)), state_text(b->state));
	if (have->weight != (uint16_t)b->weight)
		differ(v, "backends", "%s: %s has weight %u, and should have %u", v->of, place,
		       have->weight, b->weight);
	if (v->t->mem.live && v->t->mem.live[index].stamp != word >> 16)
		differ(v, "backend_live", "%s: what is counted of %s is another occupant's", v->of,
		       place);
}

/* @return whether it stands where it is wanted. */
static bool check_backend(const struct verify *v, uint32_t index, const struct wm_want_backend *b)
{
	const struct wm_backend *have = &v->t->mem.backends[index];
	char place[INET6_ADDRSTRLEN + 10];
	uint32_t word;

	if (index == WM_NO_BACKEND) {
		place_text(b->addr4_be, b->addr6, b->port, place, sizeof(place));
		differ(v, "backends", "%s: %s is in no entry", v->of, place);
		return false;
	}
	word = __atomic_load_n(&have->state, __ATOMIC_ACQUIRE);
	if (stored(word) != b->state || have->weight != (uint16_t)b->weight ||
	    (v->t->mem.live && v->t->mem.live[index].stamp != word >> 16))
		tell_backend(v, index, word, b);
	return true;
}

/* --- the table -------------------------------------------------------------------------------- */
/* What was built against what programs read. */
static void check_table(const struct verify *v, const struct wm_svc *s, uint32_t count)
{
	const struct wm_tables *t = v->t;
	const struct wm_published *p = &s->published;
	const struct wm_set_table *word = &t->mem.sets[s->set].table;
	bool shown = count || t->head_new.when_none == WM_NONE_PASS;
	struct wm_table_head have;

	if (memcmp(word, &p->word, sizeof(*word)) != 0) {
		differ(v, "sets",
		       "%s: entry %u leads to head %u of generation %u, and %u of %u was "
		       "published",
		       v->of, s->set, word->head, word->generation, p->word.head,
		       p->word.generation);
		return;
	}
	if (shown != (p->word.generation != 0) || s->damaged) {
		differ(v, "sets", "%s: entry %u is %s", v->of, s->set,
		       shown ? "empty, and should have a table" : "not empty, and should be");
		return;
	}
	if (!shown)
		return;
	have = t->mem.heads[p->word.head];
	if (have.generation != p->word.generation || have.set != s->set || have.first != p->first)
		differ(v, "heads", "%s: entry %u is another set's", v->of, p->word.head);
	have.generation = have.set = have.first = 0;
	if (memcmp(&have, &t->head_new, sizeof(have)) != 0)
		differ(v, "heads", "%s: entry %u says other than the registry", v->of,
		       p->word.head);
	else if (memcmp(t->mem.slots + p->first, t->slots_new, count * sizeof(*t->slots_new)) != 0)
		differ(v, "slots", "%s: its %u entries from %u on are not those of the registry",
		       v->of, count, p->first);
}

static void check_counts(const struct verify *v, const struct wm_svc *s)
{
	const struct wm_tables *t = v->t;
	const struct wm_set_live *l = t->mem.set_live ? &t->mem.set_live[s->set] : NULL;
	uint32_t up4 = 0, up6 = 0;

	for (uint32_t i = 0; i < s->refs_count; i++) {
		const struct wm_backend *b = &t->mem.backends[s->refs[i].index];
		bool up = stored(b->state) == WM_STATE_UP;

		up4 += up && b->families & WM_FAMILY_4;
		up6 += up && b->families & WM_FAMILY_6;
	}
	if (l && (l->up4 != up4 || l->up6 != up6))
		differ(v, "set_live",
		       "%s: counts %u IPv4 and %u IPv6 backends as up, which are %u "
		       "and %u",
		       v->of, l->up4, l->up6, up4, up6);
}

/* A listener that is gone changes a state at once, and the shares when userspace has heard of it.
 */
static bool is_hearing(const struct wm_tables *t, const struct wm_svc *s)
{
	for (uint32_t i = 0; i < s->refs_count; i++)
		if (t->mem.backends[s->refs[i].index].state & WM_STATE_F_FELL)
			return true;
	return s->cuts && s->cuts->listed;
}

static void check_cuts(const struct verify *v, const struct wm_svc *s, const struct wm_want_set *w)
{
	const struct wm_tables *t = v->t;
	uint16_t cut[WM_TIERS_MAX];

	if (!t->mem.set_live || is_hearing(t, s))
		return;
	wm_cuts_of(t, t->refs_new, w->backends_count, w->rule, cut);
	for (unsigned i = 0; i < WM_TIERS_MAX; i++) {
		unsigned have = t->mem.set_live[s->set].cut[i];

		if (have == cut[i])
			continue;
		differ(v, "set_live", "%s: tier %u is drawn up to %u of 65535, and should be to %u",
		       v->of, i, have, cut[i]);
		return;
	}
}

int wm_tables_verify(struct wm_tables *t, const struct wm_want_set *w, wm_difference_fn fn,
		     void *arg)
{
	char part[PART_MAX];
	const char *of = part_text(w, part, sizeof(part));
	const struct verify v = {t, fn, arg, of};
	const struct wm_svc *s = wm_svc_find(t, w->service, w->label, w->port, w->proto);
	uint32_t n = w->backends_count;
	bool whole = true;
	int64_t slots;
	int r;

	if (!s) {
		differ(&v, "sets", "%s: has no entry", of);
		return 0;
	}
	r = wm_tables_match(t, w);
	if (r)
		return r;
	for (uint32_t i = 0; i < n; i++)
		whole &= check_backend(&v, t->refs_new[i].index, &w->backends[t->order[i]]);
	check_counts(&v, s);
	if (!whole)
		return 0; /* its table follows */
	check_cuts(&v, s, w);
	wm_refs_sort(t->refs_new, n);
	slots = wm_table_build(t, w, n, false);
	if (slots < 0)
		return (int)slots;
	check_table(&v, s, (uint32_t)slots);
	return 0;
}

/* --- what programs do at all -------------------------------------------------------------------
 */
void wm_tables_verify_config(struct wm_tables *t, const struct wm_config *want, wm_difference_fn fn,
			     void *arg)
{
	const size_t places = offsetof(struct wm_config, dns_port_be);
	const struct wm_config *k = t->mem.config;
	static const struct {
		uint32_t flag;
		const char *what;
	} flags[] = {{WM_CONFIG_F_CONNECT, "connect() is"}, {WM_CONFIG_F_DNS, "questions are"}};
	const struct verify v = {t, fn, arg, NULL};
	uint32_t have = __atomic_load_n(&k->flags, __ATOMIC_ACQUIRE);

	for (unsigned i = 0; i < WM_ARRAY_LEN(flags); i++)
		if ((have ^ want->flags) & flags[i].flag)
			differ(&v, "config", "%s%s seen to, and should%s be", flags[i].what,
			       have & flags[i].flag ? "" : " not",
			       have & flags[i].flag ? " not" : "");
	if (memcmp(k->seed, want->seed, sizeof(k->seed)) != 0)
		differ(&v, "config", "names are looked for under another seed: none is found");
	if (k->stale_after_ns != want->stale_after_ns || k->ttl_s != want->ttl_s ||
	    memcmp((const char *)k + places, (const char *)want + places, sizeof(*k) - places) != 0)
		differ(&v, "config", "says other than the settings where and how DNS is answered");
}

/* --- addresses of a source ----------------------------------------------------------------------
 */
static void front_text(const struct wm_frontend_key *k, char *out, size_t cap)
{
	bool four = !k->addr_be[0] && !k->addr_be[1] && k->addr_be[2] == htonl(0xffff);

	place_text(four ? k->addr_be[3] : 0, k->addr_be, ntohs(k->port_be), out, cap);
}

void wm_tables_verify_fronts(struct wm_tables *t, const char *service,
			     const struct wm_want_front *want, unsigned count, wm_difference_fn fn,
			     void *arg)
{
	const struct verify v = {t, fn, arg, service};
	char text[INET6_ADDRSTRLEN + 10];
	const struct wm_front_entry *f;
	struct wm_frontend_key k;

	/* whoever has not got all that it wants has told so */
	if (wm_tables_contested(t, service))
		return;
	for (unsigned i = 0; i < count; i++) {
		if (want[i].unfit) { /* its ports follow it */
			while (i + 1 < count && want[i + 1].port)
				i++;
			continue;
		}
		wm_front_key(&want[i], &k);
		f = wm_map_get(t->fronts, &k, sizeof(k));
		if (f && (!want[i].port || f->v.set == want[i].set))
			continue;
		front_text(&k, text, sizeof(text));
		if (!f)
			differ(&v, "frontends", "%s: %s does not lead to it", service, text);
		else
			differ(&v, "frontends", "%s: %s leads to entry %u, and should to %u",
			       service, text, f->v.set, want[i].set);
	}
}

/* --- all entries ------------------------------------------------------------------------------ */
/* Dots for lengths. */
static void dotted(const uint8_t *wire, size_t len, char *out, size_t cap)
{
	size_t at = 0;

	for (size_t k = 0; k < len && wire[k] && at + wire[k] + 2 < cap; k += wire[k] + 1u) {
		memcpy(out + at, wire + k + 1, wire[k]);
		at += wire[k];
		out[at++] = '.';
	}
	out[at ? at - 1 : 0] = '\0';
}

static bool says_name(const struct wm_name_entry *n, const struct wm_name *have)
{
	return !have->seal && memcmp(have, &n->v, offsetof(struct wm_name, seal)) == 0 &&
	       memcmp(have->name, n->v.name, n->v.len) == 0;
}

static void check_name(const struct verify *v, const struct wm_name_entry *n)
{
	const struct wm_plane_ops *ops = v->t->ops;
	char text[WM_DNS_NAME_MAX + 1];
	struct wm_name have;
	int r;

	if (!n->claimed || wm_map_get(v->t->hashes, &n->key, sizeof(n->key)) != n)
		return; /* another name has its hash: userspace answers */
	r = n->kernel ? ops->name_get(ops->arg, &n->key, &have) : -ENOENT;
	if (!r && says_name(n, &have))
		return;
	dotted(n->v.name, n->v.len, text, sizeof(text));
	differ(v, "names", "%s %s", text, r ? "is not there" : "says other than the registry");
}

static bool says_front(const struct wm_front_entry *f, const struct wm_frontend *have)
{
	return !have->seal && have->set == f->v.set && have->flags == f->v.flags;
}

static void check_front(const struct verify *v, const struct wm_front_entry *f)
{
	const struct wm_plane_ops *ops = v->t->ops;
	char text[INET6_ADDRSTRLEN + 10];
	struct wm_frontend have;
	int r;

	if (!f->claimed)
		return;
	r = f->kernel ? ops->frontend_get(ops->arg, &f->key, &have) : -ENOENT;
	if (!r && says_front(f, &have))
		return;
	front_text(&f->key, text, sizeof(text));
	differ(v, "frontends", "%s %s", text, r ? "is not there" : "says other than the registry");
}

/* --- the kernel's, then ours ---------------------------------------------------------------------
 * The kernel's entries are read many a call; one that says what ours says is marked so. What seems
 * to differ is read once more by itself, as who reads ahead reads what was. */
/* One that is deleted while it is stood on begins the kernel's walk anew, where that goes one by
 * one: it ends by the count. */
static bool next_kernel_name(const struct verify *v, struct wm_verify_walk *w)
{
	const struct wm_plane_ops *ops = v->t->ops;
	char text[WM_DNS_NAME_MAX + 1];
	struct wm_name_entry *ours;
	struct wm_name_key k;
	struct wm_name n;

	if (!ops || w->at > v->t->mem.names_cap || ops->name_next(ops->arg, !w->at, &k, &n))
		return false;
	w->at++;
	ours = wm_map_get(v->t->hashes, &k, sizeof(k));
	if (ours) {
		if (ours->kernel && says_name(ours, &n))
			ours->verified = w->number;
		return true;
	}
	if (ops->name_get(ops->arg, &k, &n))
		return true;
	dotted(n.name, n.len < WM_DNS_NAME_MAX ? n.len : WM_DNS_NAME_MAX, text, sizeof(text));
	differ(v, "names", "%s is there, and no service has it", text);
	return true;
}

static bool next_name(const struct verify *v, struct wm_verify_walk *w)
{
	const struct wm_name_entry *n = v->t->ops ? wm_map_next(v->t->names, &w->at) : NULL;

	if (n && n->verified != w->number)
		check_name(v, n);
	return n;
}

static bool next_kernel_front(const struct verify *v, struct wm_verify_walk *w)
{
	const struct wm_plane_ops *ops = v->t->ops;
	char text[INET6_ADDRSTRLEN + 10];
	struct wm_front_entry *ours;
	struct wm_frontend_key k;
	struct wm_frontend f;

	if (!ops || w->at > v->t->mem.frontends_cap || ops->frontend_next(ops->arg, !w->at, &k, &f))
		return false;
	w->at++;
	ours = wm_map_get(v->t->fronts, &k, sizeof(k));
	if (ours) {
		if (ours->kernel && says_front(ours, &f))
			ours->verified = w->number;
		return true;
	}
	if (ops->frontend_get(ops->arg, &k, &f))
		return true;
	front_text(&k, text, sizeof(text));
	differ(v, "frontends", "%s is there, and no service has it", text);
	return true;
}

static bool next_front(const struct verify *v, struct wm_verify_walk *w)
{
	const struct wm_front_entry *f = v->t->ops ? wm_map_next(v->t->fronts, &w->at) : NULL;

	if (f && f->verified != w->number)
		check_front(v, f);
	return f;
}

static bool next_backend(const struct verify *v, struct wm_verify_walk *w)
{
	const struct wm_backend *b = &v->t->mem.backends[w->at];
	char place[INET6_ADDRSTRLEN + 10];

	if (w->at >= v->t->mem.backends_cap)
		return false;
	if ((b->state & WM_STATE_MASK) != WM_STATE_FREE &&
	    v->t->places[w->at].hold == WM_NO_INDEX) {
		place_text(b->addr4_be, b->addr6_be, ntohs(b->port_be), place, sizeof(place));
		differ(v, "backends", "entry %zu (%s) is in use, and no service has it", w->at,
		       place);
	}
	w->at++;
	return true;
}

static bool next_set(const struct verify *v, struct wm_verify_walk *w)
{
	if (w->at >= v->t->mem.sets_cap)
		return false;
	if (v->t->mem.sets[w->at].table.generation && !v->t->by_set[w->at])
		differ(v, "sets", "entry %zu has a table, and no service has it", w->at);
	w->at++;
	return true;
}

static void begin(struct wm_tables *t, struct wm_verify_walk *w)
{
	if (w->number)
		return;
	t->verifies += t->verifies == UINT16_MAX ? 2 : 1; /* 0: never */
	w->number = t->verifies;
	if (t->ops && t->ops->ahead)
		t->ops->ahead(t->ops->arg, true);
}

void wm_tables_verify_done(struct wm_tables *t, struct wm_verify_walk *w)
{
	if (w->number && t->ops && t->ops->ahead)
		t->ops->ahead(t->ops->arg, false);
	*w = (struct wm_verify_walk){0};
}

bool wm_tables_verify_rest(struct wm_tables *t, struct wm_verify_walk *w, unsigned count,
			   wm_difference_fn fn, void *arg)
{
	static bool (*const phases[])(const struct verify *v, struct wm_verify_walk *w) = {
		next_kernel_name, next_name, next_kernel_front, next_front, next_backend, next_set};
	const struct verify v = {t, fn, arg, NULL};

	begin(t, w);
	while (count && w->phase < WM_ARRAY_LEN(phases)) {
		count--;
		if (phases[w->phase](&v, w))
			continue;
		w->phase++;
		w->at = 0;
	}
	if (w->phase < WM_ARRAY_LEN(phases))
		return true;
	wm_tables_verify_done(t, w);
	return false;
}
