/* SPDX-License-Identifier: Apache-2.0 */
/* lookups.c - names and frontends: how a query or a connect() finds a set. */
#include "internal.h"
#include "userspace/base/err.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/model/scope.h"
#include "waymark/dns_wire.h"
#include "waymark/name_hash.h"

#include <errno.h>
#include <netinet/in.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static uint8_t fold(char c)
{
	return (uint8_t)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
}

size_t wm_wire_put_label(uint8_t *out, size_t at, const char *label, size_t len)
{
	if (!len || len > WM_DNS_LABEL_MAX || at + 1 + len + 1 > WM_DNS_NAME_MAX)
		return 0;
	out[at++] = (uint8_t)len;
	for (size_t i = 0; i < len; i++)
		out[at++] = fold(label[i]);
	return at;
}

int wm_wire_domain(const char *text, struct wm_domain *ret)
{
	size_t at = 0;

	memset(ret, 0, sizeof(*ret));
	for (const char *p = text; *p;) {
		size_t len = strcspn(p, ".");

		at = wm_wire_put_label(ret->wire, at, p, len);
		if (!at)
			return -EINVAL;
		p += len;
		if (*p == '.')
			p++;
	}
	if (!at)
		return -EINVAL;
	ret->wire[at] = 0;
	ret->len = at + 1;
	return 0;
}

size_t wm_domain_wire(const char *text, uint8_t ret[256])
{
	struct wm_domain d;

	memset(ret, 0, 256);
	if (wm_wire_domain(text, &d))
		return 0;
	memcpy(ret, d.wire, d.len);
	return d.len;
}

size_t wm_wire_name(const struct wm_domain *d, const char *label, const char *service,
		    const char *kind, uint8_t out[WM_DNS_NAME_MAX + 1])
{
	size_t at = 0, len, scope = wm_scope_len(service);

	memset(out, 0, WM_DNS_NAME_MAX + 1);
	for (bool more = *label; more; label += len + more) {
		len = strcspn(label, ".");
		more = label[len] == '.';
		at = wm_wire_put_label(out, at, label, len);
		if (!at)
			return 0;
	}
	at = wm_wire_put_label(out, at, wm_scope_bare(service), strlen(wm_scope_bare(service)));
	if (at)
		at = wm_wire_put_label(out, at, kind, strlen(kind));
	if (at && scope)
		at = wm_wire_put_label(out, at, service, scope);
	if (at && scope)
		at = wm_wire_put_label(out, at, "ns", 2);
	if (!at || at + d->len > WM_DNS_NAME_MAX)
		return 0;
	memcpy(out + at, d->wire, d->len);
	return at + d->len;
}

/* --- names ------------------------------------------------------------------------------------ */
/* An entry ends with its name: a third of the memory at the usual length. Out of line, or the
 * compiler takes the shorter object for a mistake. */
static __attribute__((noinline)) void *name_room(size_t len)
{
	return malloc(offsetof(struct wm_name_entry, v.name) + len);
}

static struct wm_name_entry *name_new(const struct wm_name_key *k, const struct wm_name *v)
{
	struct wm_name_entry *n = name_room(v->len);

	if (!n)
		return NULL;
	n->key = *k;
	n->kernel = n->claimed = false;
	n->verified = 0;
	memcpy(&n->v, v, offsetof(struct wm_name, name) + v->len);
	return n;
}

/* Put into both dictionaries; an entry whose kernel key another name owns stays out of `hashes`. */
static int name_insert(struct wm_tables *t, struct wm_name_entry *n)
{
	int r = wm_map_put(t->names, n->v.name, n->v.len, n, NULL);

	if (r)
		return r;
	if (wm_map_get(t->hashes, &n->key, sizeof(n->key))) {
		t->stats.collisions++;
		return 0;
	}
	r = wm_map_put(t->hashes, &n->key, sizeof(n->key), n, NULL);
	if (r)
		wm_map_del(t->names, n->v.name, n->v.len);
	return r;
}

/* The kernel may have it, if not as it is wanted: one whose hash another owns it has not. */
static void name_take_back(struct wm_tables *t, const struct wm_name_entry *n)
{
	if (t->ops && wm_map_get(t->hashes, &n->key, sizeof(n->key)) == n)
		t->ops->name_del(t->ops->arg, &n->key);
}

/* Bring @p n to the kernel. A name whose hash another one owns is answered by userspace. What stood
 * there before is not left where memory is short for another in its place: its set may be another
 * service's soon. Nor is it denied then. */
static int name_push(struct wm_tables *t, struct wm_name_entry *n, struct wm_err *e)
{
	struct wm_name full = {0};
	int r;

	if (n->kernel || !t->ops || wm_map_get(t->hashes, &n->key, sizeof(n->key)) != n)
		return 0;
	memcpy(&full, &n->v, offsetof(struct wm_name, name) + n->v.len);
	r = t->ops->name_put(t->ops->arg, &n->key, &full);
	if (!r) {
		n->kernel = true;
		return 0;
	}
	__atomic_and_fetch(&t->mem.config->flags, ~WM_CONFIG_F_COMPLETE, __ATOMIC_SEQ_CST);
	name_take_back(t, n);
	return wm_err_set(e, WM_E_FULL, "names: the kernel's table took no more (%u of %u, %s)",
			  (unsigned)wm_map_len(t->names), t->mem.names_cap, strerror(-r));
}

void wm_name_remove(struct wm_tables *t, struct wm_name_entry *n)
{
	if (n->kernel)
		name_take_back(t, n);
	wm_map_del(t->names, n->v.name, n->v.len);
	if (wm_map_get(t->hashes, &n->key, sizeof(n->key)) == n)
		wm_map_del(t->hashes, &n->key, sizeof(n->key));
	free(n);
}

int wm_name_adopt(struct wm_tables *t, const struct wm_name_key *k, const struct wm_name *v)
{
	struct wm_name_entry *n;
	struct wm_name_key key;
	int r;

	if (!v->len || v->name[v->len - 1] || v->set >= t->mem.sets_cap)
		return -EINVAL;
	wm_name_hash(t->mem.config->seed, v->name, v->len, &key);
	if (memcmp(&key, k, sizeof(key)) != 0 || v->seal || wm_map_get(t->names, v->name, v->len))
		return -EINVAL;
	n = name_new(k, v);
	if (!n)
		return -ENOMEM;
	n->kernel = true;
	r = name_insert(t, n);
	if (r)
		free(n);
	return r;
}

int wm_name_store(struct wm_tables *t, const struct wm_name *v, struct wm_name_entry **ret,
		  struct wm_err *e)
{
	struct wm_name_entry *n = wm_map_get(t->names, v->name, v->len);
	struct wm_name_key key;
	int r;

	if (n) {
		if (memcmp(&n->v, v, offsetof(struct wm_name, name)) != 0) {
			memcpy(&n->v, v, offsetof(struct wm_name, name));
			n->kernel = false;
		}
	} else {
		wm_name_hash(t->mem.config->seed, v->name, v->len, &key);
		n = name_new(&key, v);
		if (!n)
			return -ENOMEM;
		r = name_insert(t, n);
		if (r) {
			free(n);
			return r == -ENOSPC
				       ? wm_err_set(e, WM_E_FULL,
						    "names: %u are the limit (kernel.services_max)",
						    t->mem.names_cap)
				       : r;
		}
	}
	n->claimed = true;
	*ret = n;
	return name_push(t, n, e);
}

/* --- frontends -------------------------------------------------------------------------------- */
void wm_front_remove(struct wm_tables *t, struct wm_front_entry *f)
{
	if (f->kernel && t->ops)
		t->ops->frontend_del(t->ops->arg, &f->key);
	wm_map_del(t->fronts, &f->key, sizeof(f->key));
	free(f);
}

struct wm_front_entry *wm_front_new(struct wm_tables *t, const struct wm_frontend_key *k,
				    int *ret_err, struct wm_err *e)
{
	struct wm_front_entry *f = calloc(1, sizeof(*f));

	*ret_err = -ENOMEM;
	if (!f)
		return NULL;
	f->key = *k;
	*ret_err = wm_map_put(t->fronts, &f->key, sizeof(f->key), f, NULL);
	if (*ret_err) {
		free(f);
		if (*ret_err == -ENOSPC)
			*ret_err = wm_err_set(e, WM_E_FULL,
					      "frontends: %u are the limit (kernel.frontends_max)",
					      t->mem.frontends_cap);
		return NULL;
	}
	return f;
}

int wm_front_store(struct wm_tables *t, struct wm_front_entry *f, const struct wm_frontend *v,
		   struct wm_err *e)
{
	int r;

	if (memcmp(&f->v, v, sizeof(*v)) != 0)
		f->kernel = false;
	f->v = *v;
	f->claimed = true;
	if (f->kernel || !t->ops)
		return 0;
	r = t->ops->frontend_put(t->ops->arg, &f->key, &f->v);
	f->kernel = !r;
	if (!r)
		return 0;
	t->ops->frontend_del(t->ops->arg, &f->key); /* what stood there before, as of names */
	return wm_err_set(e, WM_E_FULL, "frontends: the kernel's table took no more (%u of %u, %s)",
			  (unsigned)wm_map_len(t->fronts), t->mem.frontends_cap, strerror(-r));
}

int wm_front_hold_set(struct wm_tables *t, uint32_t set)
{
	static const struct wm_svc_key nobody;

	return t->by_set[set] || wm_svc_new(t, &nobody, set) ? 0 : -ENOMEM;
}

int wm_front_adopt(struct wm_tables *t, const struct wm_frontend_key *k,
		   const struct wm_frontend *v)
{
	struct wm_front_entry *f;
	int r;

	if (v->set >= t->mem.sets_cap || v->seal || wm_map_get(t->fronts, k, sizeof(*k)))
		return -EINVAL;
	f = wm_front_new(t, k, &r, NULL);
	if (!f)
		return r;
	f->v = *v;
	f->kernel = true;
	return 0;
}

static int front_put(struct wm_tables *t, struct wm_svc *s, unsigned i,
		     const struct wm_frontend_key *k, uint32_t flags, struct wm_err *e)
{
	struct wm_front_entry *f = wm_map_get(t->fronts, k, sizeof(*k)), *old = s->fronts[i];
	struct wm_frontend v = {.set = s->set, .flags = flags};
	int r = 0;

	if (old && old != f) { /* the service got another address */
		wm_front_remove(t, old);
		s->fronts[i] = NULL;
	}
	if (f && f->owner) /* a policy gives the virtual address this port */
		wm_fronts_forget(f);
	if (!f)
		f = wm_front_new(t, k, &r, e);
	if (!f)
		return r;
	s->fronts[i] = f;
	return wm_front_store(t, f, &v, e);
}

/* --- both ------------------------------------------------------------------------------------- */
/* Front @p i of a set: IPv4, then IPv6; of a port each by TCP and by UDP. @return false: none. */
static bool key_of(const struct wm_want_set *w, unsigned i, struct wm_frontend_key *ret)
{
	static const uint8_t none[16];
	bool six = w->port ? i / 2 : i;

	*ret = (struct wm_frontend_key){.addr_be = {0, 0, __builtin_bswap32(0xffff), w->vip4_be}};
	if (six)
		memcpy(ret->addr_be, w->vip6, 16);
	if (w->port) {
		ret->port_be = __builtin_bswap16(w->port);
		ret->proto = i % 2 ? IPPROTO_UDP : IPPROTO_TCP;
	}
	return six ? memcmp(w->vip6, none, 16) != 0 : w->vip4_be != 0;
}

uint32_t wm_lookups_adopted(const struct wm_tables *t, const struct wm_want_set *w)
{
	const struct wm_front_entry *f = NULL;
	struct wm_frontend_key k;

	if (!w->proto && key_of(w, 0, &k))
		f = wm_map_get(t->fronts, &k, sizeof(k));
	if (!f && w->front) {
		wm_front_key(w->front, &k);
		f = wm_map_get(t->fronts, &k, sizeof(k));
	}
	return f && !f->claimed ? f->v.set : WM_NO_SET;
}

static int virtual_put(struct wm_tables *t, struct wm_svc *s, const struct wm_want_set *w,
		       struct wm_err *e)
{
	unsigned n = w->port ? WM_SET_FRONTS : WM_SET_FRONTS / 2;
	uint32_t flags = w->ports ? WM_FRONTEND_F_EXACT : 0;
	struct wm_frontend_key k;
	int bad = 0, r;

	for (unsigned i = 0; i < n && !w->proto; i++) {
		r = 0;
		if (key_of(w, i, &k)) {
			r = front_put(t, s, i, &k, flags, e);
		} else if (s->fronts[i]) {
			wm_front_remove(t, s->fronts[i]);
			s->fronts[i] = NULL;
		}
		bad = bad ? bad : r;
	}
	return bad;
}

/* Families that some backend has, whatever its health. */
static unsigned families_of(const struct wm_want_set *w)
{
	static const uint8_t none[16];
	unsigned families = 0;

	for (uint32_t i = 0; i < w->backends_count; i++) {
		if (w->backends[i].addr4_be)
			families |= WM_FAMILY_4;
		if (memcmp(w->backends[i].addr6, none, 16) != 0)
			families |= WM_FAMILY_6;
	}
	return families;
}

/* The addresses stay in the entry either way. */
static uint8_t virtual_kind(const struct wm_tables *t)
{
	return t->no_virtual ? WM_NAME_SERVICE : WM_NAME_VIRTUAL;
}

bool wm_tables_virtual(const struct wm_tables *t)
{
	return !t->no_virtual;
}

void wm_tables_set_virtual(struct wm_tables *t, bool addresses)
{
	if (t->no_virtual != addresses)
		return;
	t->no_virtual = !addresses;
	for (uint32_t i = 0; i < t->mem.sets_cap; i++) {
		struct wm_svc *s = t->by_set[i];

		for (unsigned k = 1; s && k < WM_SERVICE_NAMES; k += 2) {
			if (!s->names[k])
				continue;
			s->names[k]->v.kind = virtual_kind(t);
			s->names[k]->kernel = false;
			name_push(t, s->names[k], NULL); /* the next put tries again */
		}
	}
}

int wm_lookups_put(struct wm_tables *t, struct wm_svc *s, const struct wm_want_set *w,
		   struct wm_err *e)
{
	static const char *const kinds[] = {"service", "virtual"};
	unsigned families = families_of(w);
	int bad = virtual_put(t, s, w, e), r;

	for (unsigned i = 0; i < WM_SERVICE_NAMES && !w->port; i++) {
		const struct wm_domain *d = &t->domains[i / 2];
		struct wm_name v = {.set = s->set};
		size_t len;

		if (!d->len || (w->tag && i % 2))
			continue;
		if (w->nameless) {
			if (s->names[i])
				wm_name_remove(t, s->names[i]);
			s->names[i] = NULL;
			continue;
		}
		len = wm_wire_name(d, s->label ? s->name + s->label : "", s->name, kinds[i % 2],
				   v.name);
		if (!len)
			continue; /* longer than a name may be: no one can ask for it */
		v.len = (uint8_t)len;
		if (wm_ttls_find(t->policy.ttls, s->name, &v.ttl_s))
			v.flags |= WM_NAME_F_TTL;
		v.kind = WM_NAME_SERVICE;
		if (i % 2) {
			v.kind = virtual_kind(t);
			/* an address that not every socket could use is told to nobody */
			if (families & WM_FAMILY_4)
				v.vip4_be = w->vip4_be;
			if (families & WM_FAMILY_6)
				memcpy(v.vip6_be, w->vip6, 16);
		}
		r = wm_name_store(t, &v, &s->names[i], e);
		if (r && !bad)
			bad = r;
	}
	return bad;
}

void wm_lookups_remove(struct wm_tables *t, struct wm_svc *s)
{
	for (unsigned i = 0; i < WM_SERVICE_NAMES; i++) {
		if (s->names[i])
			wm_name_remove(t, s->names[i]);
		s->names[i] = NULL;
	}
	for (unsigned i = 0; i < WM_ARRAY_LEN(s->fronts); i++) {
		if (s->fronts[i])
			wm_front_remove(t, s->fronts[i]);
		s->fronts[i] = NULL;
	}
}
