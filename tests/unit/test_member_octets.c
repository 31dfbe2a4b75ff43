/* SPDX-License-Identifier: Apache-2.0 */
/* links: base sync */
/* test_member_octets.c - the membership's octets, which are written and read by hand, are those of
 * gossip.proto: what protobuf-c writes of the same, what it reads, and nothing else. */
#include "env_virtual.h"
#include "userspace/sync/member_internal.h"

#include <criterion/criterion.h>
#include <stdlib.h>

#define ROUNDS 20000

static struct virtual_env env;
static struct wm_members ms;

static uint64_t draw(uint64_t below)
{
	return wm_env_below(&env.env, below);
}

static void draw_octets(void *p, size_t len)
{
	for (size_t i = 0; i < len; i++)
		((uint8_t *)p)[i] = (uint8_t)draw(256);
}

static void draw_text(char *p, size_t max)
{
	size_t len = draw(max + 1);

	for (size_t i = 0; i < len; i++)
		p[i] = (char)('!' + draw('~' - '!' + 1));
	p[len] = '\0';
}

static void draw_coordinate(struct wm_coordinate *c)
{
	for (unsigned i = 0; i < WM_COORDINATE_DIMS; i++)
		c->vec[i] = draw(3) ? ((double)draw(2000) - 1000) / 100 : 0;
	c->height = draw(3) ? (double)draw(1000) / 1e5 : 0;
	c->adjustment = draw(3) ? ((double)draw(1000) - 500) / 1e5 : 0;
	c->error = draw(3) ? (double)draw(150) / 100 : 0;
}

static void draw_node(struct node *n, struct doubt *d)
{
	memset(n, 0, sizeof(*n));
	memset(d, 0, sizeof(*d));
	n->ms = &ms;
	draw_octets(&n->m.id, sizeof(n->m.id));
	draw_octets(&n->m.at.ip, sizeof(n->m.at.ip));
	if (draw(2))
		memcpy(&n->m.at.ip, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12);
	n->m.at.port = (uint16_t)(1 + draw(UINT16_MAX));
	n->m.incarnation = (uint32_t)(draw(3) ? draw(UINT32_MAX) : draw(2));
	n->m.state = (enum wm_member_state)draw(4);
	n->m.role = (enum wm_member_role)draw(2);
	n->m.since_ms = wm_env_ms(&env.env) - draw(100000);
	n->m.has_coordinate = draw(2);
	draw_coordinate(&n->m.coordinate);
	draw_text(n->m.name + 1, WM_NODE_NAME_MAX - 1);
	n->m.name[0] = 'n';
	draw_text(n->m.version, WM_MEMBER_VERSION_MAX);
	n->hidden = n->m.state == WM_MEMBER_LEFT && draw(2);
	n->life = draw(2) ? wm_env_random64(&env.env) : 0;
	d->tags_count = (unsigned)draw(MEMBER_TAGS_MAX + 1);
	draw_octets(d->tags, sizeof(d->tags));
	n->doubt = n->m.state == WM_MEMBER_SUSPECT ? d : NULL;
}

/* What protobuf-c is given for it. */
struct proto {
	Gossip__Member m;
	Gossip__Address at;
	Gossip__Coordinate c;
	float vec[WM_COORDINATE_DIMS];
};

static void proto_coordinate(const struct wm_coordinate *c, Gossip__Coordinate *ret, float *vec)
{
	gossip__coordinate__init(ret);
	for (unsigned i = 0; i < WM_COORDINATE_DIMS; i++)
		vec[i] = (float)c->vec[i];
	ret->vec = vec;
	ret->n_vec = WM_COORDINATE_DIMS;
	ret->height = (float)c->height;
	ret->adjustment = (float)c->adjustment;
	ret->error = (float)c->error;
}

static void proto_of(struct node *n, bool state, struct proto *p)
{
	bool v4 = wm_peer_addr_v4(&n->m.at);

	gossip__member__init(&p->m);
	gossip__address__init(&p->at);
	p->m.id = (ProtobufCBinaryData){sizeof(n->m.id.octets), n->m.id.octets};
	p->m.incarnation = n->m.incarnation;
	p->m.state =
		n->hidden ? GOSSIP__MEMBER__STATE__PRUNED : (enum _Gossip__Member__State)n->m.state;
	if (n->doubt) {
		p->m.by = n->doubt->tags;
		p->m.n_by = n->doubt->tags_count;
	}
	if (state || n->m.state == WM_MEMBER_ALIVE) {
		p->m.name = n->m.name;
		p->m.version = n->m.version;
		p->m.role = (uint32_t)n->m.role;
		p->m.life = n->life;
		p->at.ip = (ProtobufCBinaryData){v4 ? 4 : 16, n->m.at.ip.s6_addr + (v4 ? 12 : 0)};
		p->at.port = n->m.at.port;
		p->m.at = &p->at;
	}
	if (!state)
		return;
	p->m.age_s = (uint32_t)((wm_env_ms(&env.env) - n->m.since_ms) / 1000);
	if (n->m.has_coordinate) {
		proto_coordinate(&n->m.coordinate, &p->c, p->vec);
		p->m.coordinate = &p->c;
	}
}

static void same(const struct news *w, const struct node *n, bool described)
{
	cr_assert(wm_peer_id_same(&w->id, &n->m.id));
	cr_assert_eq(w->incarnation, n->m.incarnation);
	cr_assert_eq(w->tags_count, n->doubt ? n->doubt->tags_count : 0);
	cr_assert(!w->tags_count || !memcmp(w->tags, n->doubt->tags, 4ul * w->tags_count));
	cr_assert_eq(w->described, described);
	if (!described)
		return;
	cr_assert_str_eq(w->name, n->m.name);
	cr_assert_str_eq(w->version, n->m.version);
	cr_assert(wm_peer_addr_same(&w->at, &n->m.at));
	cr_assert_eq(w->role, n->m.role);
	cr_assert_eq(w->life, n->life);
}

static void begin(void)
{
	virtual_env_init(&env, 7);
	env.ns = 86400 * WM_NS_PER_S;
	ms.env = &env.env;
}

Test(member_octets, a_member_is_what_protobuf_writes_and_is_read_again)
{
	uint8_t ours[MEMBER_OCTETS], theirs[MEMBER_OCTETS];
	struct doubt d;
	struct proto p;
	struct news w;
	struct node n;
	size_t len;

	begin();
	for (unsigned i = 0; i < ROUNDS; i++) {
		bool state = i % 2;

		draw_node(&n, &d);
		proto_of(&n, state, &p);
		cr_assert_leq(gossip__member__get_packed_size(&p.m), sizeof(theirs));
		len = gossip__member__pack(&p.m, theirs);
		cr_assert_eq(member_write(&n, state ? MEMBER_STATE : MEMBER_NEWS, ours), len);
		cr_assert_arr_eq(ours, theirs, len);
		cr_assert(member_read((struct octets){ours, len}, &w));
		same(&w, &n, state || n.m.state == WM_MEMBER_ALIVE);
		cr_assert_eq(w.has_coordinate, state && n.m.has_coordinate);
		for (size_t cut = 0; cut < 18; cut++) /* its id is not whole */
			cr_assert_not(member_read((struct octets){ours, cut}, &w));
	}
}

static void draw_packet(struct packet *k, uint8_t *ride)
{
	packet_init(k, (enum _Gossip__Packet__Kind)draw(8));
	k->number = draw(4) ? (uint32_t)draw(UINT32_MAX) : 0;
	draw_octets(&k->from, sizeof(k->from));
	draw_octets(&k->target, sizeof(k->target));
	k->has_target = draw(2);
	k->has_coordinate = draw(2);
	draw_coordinate(&k->coordinate);
	draw_octets(ride, WM_MEMBER_RIDE_MAX);
	k->ride = (struct octets){ride, draw(2) ? draw(WM_MEMBER_RIDE_MAX + 1) : 0};
	k->up_ms = draw(2) ? wm_env_random64(&env.env) : 0;
}

static size_t proto_packet(struct packet *k, struct proto *who, uint8_t *ret)
{
	float vec[WM_COORDINATE_DIMS];
	Gossip__Coordinate c;
	Gossip__Packet g;

	gossip__packet__init(&g);
	g.kind = (enum _Gossip__Packet__Kind)k->kind;
	g.number = k->number;
	g.from = (ProtobufCBinaryData){sizeof(k->from.octets), k->from.octets};
	if (k->has_target)
		g.target = (ProtobufCBinaryData){sizeof(k->target.octets), k->target.octets};
	if (k->has_coordinate) {
		proto_coordinate(&k->coordinate, &c, vec);
		g.coordinate = &c;
	}
	g.ride = (ProtobufCBinaryData){k->ride.len, (uint8_t *)(uintptr_t)k->ride.p};
	g.who = who ? &who->m : NULL;
	g.up_ms = k->up_ms;
	return gossip__packet__pack(&g, ret);
}

Test(member_octets, a_datagram_is_what_protobuf_writes_and_is_read_again)
{
	uint8_t ride[WM_MEMBER_RIDE_MAX], who[MEMBER_OCTETS];
	uint8_t ours[WM_MEMBER_PACKET_MAX], theirs[WM_MEMBER_PACKET_MAX];
	struct packet k, in;
	struct doubt d;
	struct proto p;
	struct node n;
	size_t len;

	begin();
	for (unsigned i = 0; i < ROUNDS; i++) {
		draw_packet(&k, ride);
		draw_node(&n, &d);
		proto_of(&n, true, &p);
		if (i % 2)
			k.who = (struct octets){who, member_write(&n, MEMBER_STATE, who)};
		len = member_write_head(&k, ours);
		len += member_write_tail(&k, ours + len);
		cr_assert_eq(proto_packet(&k, i % 2 ? &p : NULL, theirs), len);
		cr_assert_arr_eq(ours, theirs, len);
		cr_assert(member_read_packet(ours, len, &in));
		cr_assert(in.kind == k.kind && in.number == k.number && in.up_ms == k.up_ms);
		cr_assert(wm_peer_id_same(&in.from, &k.from));
		cr_assert_eq(in.has_target, k.has_target);
		cr_assert_eq(in.has_coordinate, k.has_coordinate);
		cr_assert(in.ride.len == k.ride.len && in.who.len == k.who.len);
		cr_assert(!in.ride.len || !memcmp(in.ride.p, ride, in.ride.len));
	}
}

/* Octets that are changed by chance: what is read, protobuf-c reads, and reads the same. */
Test(member_octets, what_protobuf_cannot_read_is_not_read)
{
	uint8_t octets[MEMBER_OCTETS];
	Gossip__Member *m;
	unsigned read = 0;
	struct doubt d;
	struct news w;
	struct node n;
	size_t len;

	begin();
	for (unsigned i = 0; i < 10 * ROUNDS; i++) {
		draw_node(&n, &d);
		len = member_write(&n, i % 2 ? MEMBER_STATE : MEMBER_NEWS, octets);
		for (uint64_t k = draw(4); k; k--)
			octets[draw(len)] = (uint8_t)draw(256);
		len -= draw(2) ? draw(len) : 0;
		if (!member_read((struct octets){octets, len}, &w))
			continue;
		m = gossip__member__unpack(NULL, len, octets);
		cr_assert(m);
		read++;
		cr_assert_eq(m->incarnation, w.incarnation);
		cr_assert_eq(m->state, w.state);
		cr_assert_arr_eq(m->id.data, w.id.octets, 16);
		cr_assert(!w.described || (!strcmp(m->name, w.name) && m->life == w.life));
		gossip__member__free_unpacked(m, NULL);
	}
	cr_assert_gt(read, ROUNDS);
}

/* A later version says more. */
Test(member_octets, fields_that_are_not_known_are_passed_over)
{
	static const uint8_t more[] = {0x7a, 2, 'h', 'i', 0x80, 0x01, 5, 0x85, 0x01, 1, 2, 3, 4};
	uint8_t octets[MEMBER_OCTETS + sizeof(more)];
	struct doubt d;
	struct node n;
	struct news w;
	size_t len;

	begin();
	draw_node(&n, &d);
	len = member_write(&n, MEMBER_STATE, octets);
	memcpy(octets + len, more, sizeof(more));
	cr_assert(member_read((struct octets){octets, len + sizeof(more)}, &w));
	same(&w, &n, true);
	for (size_t cut = 1; cut < 4; cut++)
		cr_assert_not(member_read((struct octets){octets, len + cut}, &w));
}
