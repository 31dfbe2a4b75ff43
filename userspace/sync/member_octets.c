/* SPDX-License-Identifier: Apache-2.0 */
/* member_octets.c - what gossip.proto says, in octets and back, by hand: a mesh in trouble tells
 * hundreds of news a second, and protobuf-c takes a microsecond for each. What is written is what
 * protobuf-c writes, what is read is what it reads (tests/unit/test_member_octets.c); fields that
 * are not known are passed over. */
#include "member_internal.h"

enum wire { WIRE_VARINT, WIRE_8, WIRE_OCTETS, WIRE_4 = 5 };

/* --- writing: the caller has the room ----------------------------------------------------------*/
static uint8_t *put_varint(uint8_t *p, uint64_t v)
{
	for (; v >= 0x80; v >>= 7)
		*p++ = (uint8_t)(v | 0x80);
	*p++ = (uint8_t)v;
	return p;
}

static uint8_t *put_key(uint8_t *p, unsigned field, enum wire w)
{
	*p = (uint8_t)(field << 3 | w); /* fields up to 15 */
	return p + 1;
}

static uint8_t *put_number(uint8_t *p, unsigned field, uint64_t v)
{
	return v ? put_varint(put_key(p, field, WIRE_VARINT), v) : p;
}

static uint8_t *put_le(uint8_t *p, uint64_t v, unsigned octets)
{
	for (unsigned i = 0; i < octets; i++)
		p[i] = (uint8_t)(v >> 8 * i);
	return p + octets;
}

static uint8_t *put_octets(uint8_t *p, unsigned field, const void *octets, size_t len)
{
	p = put_varint(put_key(p, field, WIRE_OCTETS), len);
	memcpy(p, octets, len);
	return p + len;
}

static uint8_t *put_text(uint8_t *p, unsigned field, const char *s)
{
	return *s ? put_octets(p, field, s, strlen(s)) : p;
}

static uint32_t bits_of(float f)
{
	uint32_t bits;

	memcpy(&bits, &f, sizeof(bits));
	return bits;
}

static uint8_t *put_float(uint8_t *p, unsigned field, double v)
{
	float f = (float)v;

	return f != 0 ? put_le(put_key(p, field, WIRE_4), bits_of(f), 4) : p;
}

static uint8_t *put_coordinate(uint8_t *p, unsigned field, const struct wm_coordinate *c)
{
	uint8_t *len = put_key(p, field, WIRE_OCTETS), *begin = len + 1; /* below 128 octets */

	p = put_varint(put_key(begin, 1, WIRE_OCTETS), 4 * WM_COORDINATE_DIMS);
	for (unsigned i = 0; i < WM_COORDINATE_DIMS; i++)
		p = put_le(p, bits_of((float)c->vec[i]), 4);
	p = put_float(p, 2, c->height);
	p = put_float(p, 3, c->adjustment);
	p = put_float(p, 4, c->error);
	*len = (uint8_t)(p - begin);
	return p;
}

static uint8_t *put_described(uint8_t *p, const struct node *n)
{
	unsigned from = wm_peer_addr_v4(&n->m.at) ? 12 : 0;
	uint8_t *len, *begin;

	p = put_text(p, 5, n->m.name);
	p = put_text(p, 6, n->m.version);
	len = put_key(p, 7, WIRE_OCTETS);
	begin = len + 1;
	p = put_octets(begin, 1, n->m.at.ip.s6_addr + from, 16 - from);
	p = put_number(p, 2, n->m.at.port);
	*len = (uint8_t)(p - begin);
	p = put_number(p, 8, (uint64_t)n->m.role);
	return n->life ? put_le(put_key(p, 9, WIRE_8), n->life, 8) : p;
}

size_t member_write(const struct node *n, enum member_detail d, uint8_t ret[static MEMBER_OCTETS])
{
	enum wm_member_state state = d == MEMBER_AS_ALIVE ? WM_MEMBER_ALIVE : n->m.state;
	uint8_t *p = put_octets(ret, 1, n->m.id.octets, sizeof(n->m.id.octets));

	p = put_number(p, 2, n->m.incarnation);
	p = put_number(p, 3, n->hidden ? GOSSIP__MEMBER__STATE__PRUNED : (uint64_t)state);
	if (state == WM_MEMBER_SUSPECT && n->doubt && n->doubt->tags_count) {
		p = put_varint(put_key(p, 4, WIRE_OCTETS), 4ul * n->doubt->tags_count);
		for (unsigned i = 0; i < n->doubt->tags_count; i++)
			p = put_le(p, n->doubt->tags[i], 4);
	}
	if (state == WM_MEMBER_ALIVE || d == MEMBER_STATE)
		p = put_described(p, n);
	if (d == MEMBER_STATE) {
		p = put_number(p, 10, (uint32_t)((wm_env_ms(n->ms->env) - n->m.since_ms) / 1000));
		if (n->m.has_coordinate)
			p = put_coordinate(p, 11, &n->m.coordinate);
	}
	return (size_t)(p - ret);
}

size_t member_write_field(unsigned field, const void *octets, size_t len, uint8_t *ret)
{
	return (size_t)(put_octets(ret, field, octets, len) - ret);
}

size_t member_write_head(const struct packet *k, uint8_t *ret)
{
	uint8_t *p = put_number(ret, 1, (uint64_t)k->kind);

	p = put_octets(p, 2, k->from.octets, sizeof(k->from.octets));
	if (k->number)
		p = put_le(put_key(p, 3, WIRE_4), k->number, 4);
	if (k->has_target)
		p = put_octets(p, 4, k->target.octets, sizeof(k->target.octets));
	if (k->has_coordinate)
		p = put_coordinate(p, 5, &k->coordinate);
	if (k->ride.len)
		p = put_octets(p, 6, k->ride.p, k->ride.len);
	return (size_t)(p - ret);
}

size_t member_write_tail(const struct packet *k, uint8_t *ret)
{
	uint8_t *p = k->who.p ? put_octets(ret, 8, k->who.p, k->who.len) : ret;

	return (size_t)(put_number(p, 9, k->up_ms) - ret);
}

/* --- reading: of a stranger's octets -----------------------------------------------------------*/
struct field {
	unsigned number;
	enum wire wire;
	uint64_t value; /* of a number */
	struct octets octets;
};

static bool get_varint(struct octets *in, uint64_t *ret)
{
	*ret = 0;
	for (unsigned i = 0; i < 10 && i < in->len; i++) {
		*ret |= (uint64_t)(in->p[i] & 0x7f) << 7 * i;
		if (in->p[i] & 0x80)
			continue;
		in->p += i + 1;
		in->len -= i + 1;
		return true;
	}
	return false;
}

static uint64_t get_le(const uint8_t *p, unsigned octets)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < octets; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

static bool get(struct octets *in, struct field *f)
{
	uint64_t key, len;

	if (!get_varint(in, &key) || key >> 3 == 0 || key > UINT32_MAX)
		return false;
	f->number = (unsigned)(key >> 3);
	f->wire = (enum wire)(key & 7);
	if (f->wire == WIRE_VARINT)
		return get_varint(in, &f->value);
	len = f->wire == WIRE_8 ? 8 : 4;
	if (f->wire == WIRE_OCTETS ? !get_varint(in, &len) : f->wire != WIRE_8 && f->wire != WIRE_4)
		return false;
	if (len > in->len)
		return false;
	f->octets = (struct octets){in->p, (size_t)len};
	if (f->wire != WIRE_OCTETS)
		f->value = get_le(in->p, (unsigned)len);
	in->p += len;
	in->len -= (size_t)len;
	return true;
}

static double get_float(uint64_t bits)
{
	uint32_t b = (uint32_t)bits;
	float f;

	memcpy(&f, &b, sizeof(f));
	return (double)f;
}

static bool get_id(const struct field *f, struct wm_peer_id *ret)
{
	if (f->wire != WIRE_OCTETS || f->octets.len != sizeof(ret->octets))
		return false;
	memcpy(ret->octets, f->octets.p, sizeof(ret->octets));
	return true;
}

/* Numbers of four octets, packed or one by one. */
static bool each_4(const struct field *f, bool (*take)(void *arg, uint32_t v), void *arg)
{
	if (f->wire == WIRE_4)
		return take(arg, (uint32_t)f->value);
	if (f->wire != WIRE_OCTETS || f->octets.len % 4)
		return false;
	for (size_t i = 0; i < f->octets.len; i += 4)
		if (!take(arg, (uint32_t)get_le(f->octets.p + i, 4)))
			return false;
	return true;
}

struct vec {
	double *v;
	unsigned count;
};

static bool take_vec(void *arg, uint32_t bits)
{
	struct vec *v = arg;

	if (v->count < WM_COORDINATE_DIMS)
		v->v[v->count] = get_float(bits);
	v->count++;
	return true;
}

static bool take_tag(void *arg, uint32_t tag)
{
	struct news *w = arg;

	if (w->tags_count < MEMBER_TAGS_MAX)
		w->tags[w->tags_count++] = tag;
	return true;
}

/* @return false: it cannot be read. @p ok: it is sound too. */
static bool read_coordinate(struct octets in, struct wm_coordinate *ret, bool *ok)
{
	struct wm_coordinate c = {.height = 0};
	struct vec vec = {.v = c.vec};
	struct field f;

	while (in.len) {
		if (!get(&in, &f))
			return false;
		if (f.number == 1 ? !each_4(&f, take_vec, &vec) : f.number <= 4 && f.wire != WIRE_4)
			return false;
		if (f.number == 2)
			c.height = get_float(f.value);
		else if (f.number == 3)
			c.adjustment = get_float(f.value);
		else if (f.number == 4)
			c.error = get_float(f.value);
	}
	*ok = vec.count == WM_COORDINATE_DIMS && member_coordinate_sound(&c);
	if (*ok)
		*ret = c;
	return true;
}

/* Letters, digits and what else is in a node's name or a version; others would end up in logs. */
static bool get_text(const struct field *f, size_t max, char *ret)
{
	if (f->wire != WIRE_OCTETS || f->octets.len > max)
		return false;
	for (size_t i = 0; i < f->octets.len; i++)
		if (f->octets.p[i] <= ' ' || f->octets.p[i] > '~')
			return false;
	memcpy(ret, f->octets.p, f->octets.len);
	ret[f->octets.len] = '\0';
	return true;
}

static bool read_address(struct octets in, struct wm_peer_addr *ret)
{
	struct octets ip = {NULL, 0};
	uint64_t port = 0;
	struct field f;

	while (in.len) {
		if (!get(&in, &f) || (f.number == 1 && f.wire != WIRE_OCTETS) ||
		    (f.number == 2 && f.wire != WIRE_VARINT))
			return false;
		if (f.number == 1)
			ip = f.octets;
		else if (f.number == 2)
			port = (uint32_t)f.value;
	}
	if (!port || port > UINT16_MAX || (ip.len != 4 && ip.len != 16))
		return false;
	memset(ret, 0, sizeof(*ret));
	if (ip.len == 4)
		ret->ip.s6_addr[10] = ret->ip.s6_addr[11] = 0xff;
	memcpy(ret->ip.s6_addr + 16 - ip.len, ip.p, ip.len);
	ret->port = (uint16_t)port;
	return true;
}

struct seen {
	bool id, at;
};

/* What is a number, in a member. */
static bool read_number(const struct field *f, struct news *w)
{
	if (f->wire != (f->number == 9 ? WIRE_8 : WIRE_VARINT))
		return false;
	if (f->number == 2)
		w->incarnation = (uint32_t)f->value;
	else if (f->number == 3 && f->value > GOSSIP__MEMBER__STATE__PRUNED)
		return false;
	else if (f->number == 3)
		w->state = (enum _Gossip__Member__State)f->value;
	else if (f->number == 8)
		w->role = f->value == WM_MEMBER_LEAF ? WM_MEMBER_LEAF : WM_MEMBER_FULL;
	else if (f->number == 9)
		w->life = f->value;
	else
		w->age_ms = (uint64_t)(uint32_t)f->value * 1000;
	return true;
}

static bool read_field(const struct field *f, struct news *w, struct seen *s)
{
	switch (f->number) {
	case 1:
		s->id = get_id(f, &w->id);
		return s->id;
	case 4:
		return each_4(f, take_tag, w);
	case 5:
		return get_text(f, WM_NODE_NAME_MAX, w->name);
	case 6:
		return get_text(f, WM_MEMBER_VERSION_MAX, w->version);
	case 7:
		s->at = f->wire == WIRE_OCTETS && read_address(f->octets, &w->at);
		return s->at;
	case 2:
	case 3:
	case 8:
	case 9:
	case 10:
		return read_number(f, w);
	case 11:
		return f->wire == WIRE_OCTETS &&
		       read_coordinate(f->octets, &w->coordinate, &w->has_coordinate);
	default:
		return true;
	}
}

bool member_read(struct octets in, struct news *ret)
{
	struct seen s = {false, false};
	struct field f;

	ret->state = GOSSIP__MEMBER__STATE__ALIVE;
	ret->incarnation = 0;
	ret->tags_count = 0;
	ret->described = ret->has_coordinate = false;
	ret->name[0] = ret->version[0] = '\0';
	ret->role = WM_MEMBER_FULL;
	ret->life = ret->age_ms = 0;
	while (in.len)
		if (!get(&in, &f) || !read_field(&f, ret, &s))
			return false;
	if (!s.id)
		return false;
	ret->described = s.at && *ret->name;
	return ret->described || (!s.at && ret->state != GOSSIP__MEMBER__STATE__ALIVE);
}

static bool read_packet_field(const struct field *f, struct packet *k, bool *from)
{
	static const enum wire wires[] = {0,	       WIRE_VARINT, WIRE_OCTETS, WIRE_4,
					  WIRE_OCTETS, WIRE_OCTETS, WIRE_OCTETS, WIRE_OCTETS,
					  WIRE_OCTETS, WIRE_VARINT};

	if (f->number >= WM_ARRAY_LEN(wires))
		return true;
	if (f->wire != wires[f->number])
		return false;
	switch (f->number) {
	case 1:
		k->kind = (int)f->value;
		break;
	case 2:
		*from = get_id(f, &k->from);
		return *from;
	case 3:
		k->number = (uint32_t)f->value;
		break;
	case 4:
		k->has_target = get_id(f, &k->target);
		return k->has_target || !f->octets.len;
	case 5:
		return read_coordinate(f->octets, &k->coordinate, &k->has_coordinate);
	case 6:
		k->ride = f->octets;
		return k->ride.len <= WM_MEMBER_RIDE_MAX;
	case 7:
		if (k->news_count == MEMBER_NEWS_READ)
			return false;
		k->news[k->news_count++] = f->octets;
		break;
	case 8:
		k->who = f->octets;
		break;
	default:
		k->up_ms = f->value;
	}
	return true;
}

bool member_read_packet(const void *p, size_t len, struct packet *ret)
{
	struct octets in = {p, len};
	bool from = false;
	struct field f;

	packet_init(ret, GOSSIP__PACKET__KIND__GOSSIP);
	while (in.len)
		if (!get(&in, &f) || !read_packet_field(&f, ret, &from))
			return false;
	return from;
}

bool member_read_state(struct octets *in, struct octets *ret)
{
	struct field f;

	ret->p = NULL;
	while (in->len) {
		if (!get(in, &f) || (f.number == 1 && f.wire != WIRE_OCTETS))
			return false;
		if (f.number != 1)
			continue;
		*ret = f.octets;
		return true;
	}
	return true;
}
