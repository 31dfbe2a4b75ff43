/* SPDX-License-Identifier: Apache-2.0 */
/* member_wire.c - members in octets and back. What is read is a stranger's: it is allocated from an
 * arena of a fixed size, and sound or not taken. */
#include "member_internal.h"

#include <errno.h>
#include <stdlib.h>

#define STATE_ARENA_MIN	   (64u << 10)
#define STATE_ARENA_FACTOR 16 /* octets of memory for one that was read: a member takes four */

static void *arena_alloc(void *arg, size_t size)
{
	struct arena *a = arg;
	void *p;

	size = (size + 15) & ~(size_t)15;
	if (size > a->cap - a->used)
		return NULL;
	p = a->p + a->used;
	a->used += size;
	return p;
}

static void arena_free(void *arg, void *p)
{
	(void)arg;
	(void)p;
}

ProtobufCAllocator member_allocator(struct arena *a)
{
	return (ProtobufCAllocator){.alloc = arena_alloc, .free = arena_free, .allocator_data = a};
}

static void pack_described(struct node *n, struct packed *ret)
{
	bool v4 = wm_peer_addr_v4(&n->m.at);

	ret->m.name = n->m.name;
	ret->m.version = n->m.version;
	ret->m.role = (uint32_t)n->m.role;
	ret->m.life = n->life;
	gossip__address__init(&ret->at);
	ret->at.ip.data = n->m.at.ip.s6_addr + (v4 ? 12 : 0);
	ret->at.ip.len = v4 ? 4 : 16;
	ret->at.port = n->m.at.port;
	ret->m.at = &ret->at;
}

void member_pack(struct node *n, bool state, struct packed *ret)
{
	gossip__member__init(&ret->m);
	ret->m.id.data = n->m.id.octets;
	ret->m.id.len = sizeof(n->m.id.octets);
	ret->m.incarnation = n->m.incarnation;
	ret->m.state =
		n->hidden ? GOSSIP__MEMBER__STATE__PRUNED : (enum _Gossip__Member__State)n->m.state;
	if (n->m.state == WM_MEMBER_ALIVE || state)
		pack_described(n, ret);
	if (n->m.state == WM_MEMBER_SUSPECT && n->doubt) {
		memcpy(ret->tags, n->doubt->tags, sizeof(ret->tags));
		ret->m.by = ret->tags;
		ret->m.n_by = n->doubt->tags_count;
	}
	if (!state)
		return;
	ret->m.age_s = (uint32_t)((wm_env_ms(n->ms->env) - n->m.since_ms) / 1000);
	if (n->m.has_coordinate) {
		member_pack_coordinate(&n->m.coordinate, &ret->coordinate, ret->vec);
		ret->m.coordinate = &ret->coordinate;
	}
}

bool member_unpack_id(const ProtobufCBinaryData *b, struct wm_peer_id *ret)
{
	if (b->len != sizeof(ret->octets))
		return false;
	memcpy(ret->octets, b->data, b->len);
	return true;
}

/* Letters, digits and what else is in a node's name or a version; others would end up in logs. */
static bool text(const char *s, size_t max)
{
	size_t len = strnlen(s, max + 1);

	for (size_t i = 0; i < len; i++)
		if (s[i] <= ' ' || s[i] > '~')
			return false;
	return len <= max;
}

static bool unpack_described(const Gossip__Member *m, struct news *ret)
{
	const Gossip__Address *at = m->at;

	if (!at || !*m->name || !text(m->name, WM_NODE_NAME_MAX) ||
	    !text(m->version, WM_MEMBER_VERSION_MAX) || !at->port || at->port > UINT16_MAX ||
	    (at->ip.len != 4 && at->ip.len != 16))
		return false;
	strcpy(ret->name, m->name);
	strcpy(ret->version, m->version);
	if (at->ip.len == 4)
		ret->at.ip.s6_addr[10] = ret->at.ip.s6_addr[11] = 0xff;
	memcpy(ret->at.ip.s6_addr + 16 - at->ip.len, at->ip.data, at->ip.len);
	ret->at.port = (uint16_t)at->port;
	ret->role = m->role == WM_MEMBER_LEAF ? WM_MEMBER_LEAF : WM_MEMBER_FULL;
	ret->life = m->life;
	ret->described = true;
	return true;
}

bool member_unpack(const Gossip__Member *m, struct news *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (!member_unpack_id(&m->id, &ret->id) || m->incarnation > MEMBER_INCARNATION_MAX ||
	    m->state > GOSSIP__MEMBER__STATE__PRUNED)
		return false;
	ret->incarnation = m->incarnation;
	ret->state = m->state;
	for (size_t i = 0; i < m->n_by && ret->tags_count < MEMBER_TAGS_MAX; i++)
		ret->tags[ret->tags_count++] = m->by[i];
	ret->age_ms = (uint64_t)m->age_s * 1000;
	ret->has_coordinate =
		m->coordinate && member_unpack_coordinate(m->coordinate, &ret->coordinate);
	if (m->at || m->state == GOSSIP__MEMBER__STATE__ALIVE)
		return unpack_described(m, ret);
	return true;
}

int wm_members_state(const struct wm_members *ms, struct wm_buf *b)
{
	struct packed one;
	Gossip__Member *list = &one.m;
	Gossip__State s;
	size_t len;

	/* Messages of one form behind each other are read as one whose lists are joined. */
	gossip__state__init(&s);
	s.members = &list;
	s.n_members = 1;
	for (size_t i = 0; i < ms->count; i++) {
		member_pack(ms->nodes[i], true, &one);
		len = gossip__state__get_packed_size(&s);
		if (!wm_buf_reserve(b, len))
			return -ENOMEM;
		gossip__state__pack(&s, (uint8_t *)b->data + b->len);
		b->len += len;
	}
	return 0;
}

static int unsound(struct wm_members *ms, struct wm_err *e, int code, const char *why)
{
	ms->stats.malformed++;
	return wm_err_set(e, code, "state of the members: %s", why);
}

int wm_members_merge(struct wm_members *ms, const void *p, size_t len, struct wm_err *e)
{
	struct arena a = {.cap = len * STATE_ARENA_FACTOR + STATE_ARENA_MIN};
	ProtobufCAllocator al = member_allocator(&a);
	Gossip__State *s = NULL;
	struct news w;
	int r = 0;

	if (len > WM_MEMBERS_MAX * sizeof(struct packed))
		return unsound(ms, e, WM_E_LIMIT, "longer than of WM_MEMBERS_MAX members");
	a.p = malloc(a.cap);
	if (!a.p)
		return wm_err_set(e, -ENOMEM, "state of the members: no memory");
	s = gossip__state__unpack(&al, len, p);
	if (!s || s->n_members > WM_MEMBERS_MAX)
		r = unsound(ms, e, WM_E_INVALID, "cannot be read");
	for (size_t i = 0; s && !r && i < s->n_members; i++)
		if (!member_unpack(s->members[i], &w) || !w.described)
			r = unsound(ms, e, WM_E_INVALID, "a member that is not sound");
	ms->joins = ms->alive == 1;
	for (size_t i = 0; s && !r && i < s->n_members; i++)
		if (member_unpack(s->members[i], &w))
			member_news(ms, &w, true);
	ms->joins = false;
	free(a.p);
	return r;
}
