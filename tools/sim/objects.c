/* SPDX-License-Identifier: Apache-2.0 */
/* objects.c - the registry and the store of a node, as far as the replica sees them: for each
 * origin the objects that are here, each a mark and a length from which its octets follow. */
#include "sim_objects.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MEASURED 0x80000000u /* in a mark: the registration of a measured message */
#define PROBE_MS 1000	     /* how often a summary goes to another, as with SWIM's probes */
#define TEXT	 10	     /* digits of a mark */

struct object {
	struct wm_version version; /* seq 0: never was here */
	bool gone;
	uint64_t gone_ms;
	unsigned mark;
	size_t len;
};
struct sim_objects {
	struct object **of; /* by origin; each SIM_KEYS, or NULL */
	uint32_t epoch;
	uint64_t seq, contact_ms;
	struct sim_event probe;
};

/* What a registration looks like, as the store's records have it: numbers and ids differ, words
 * are few; tags make it as long as is asked for. */
static void content(struct wm_buf *b, unsigned mark, size_t len)
{
	static const char *const words[] = {"web", "ledger", "router", "mailer"};
	const char *word = words[mark % 4];
	uint32_t noise = mark * 2654435761u;
	size_t at = b->len;

	wm_buf_printf(b, "%0*u", TEXT, mark);
	wm_buf_printf(b, "node-%03u%c%s-%08x%c%s%c10.%u.%u.%u", mark % 1000, 20, word, noise, 3,
		      word, 10, noise >> 24, noise >> 16 & 255, noise >> 8 & 255);
	wm_buf_printf(b, "%cprimary%cversion%c1.%u.%u", 7, 7, 6, noise % 30, noise % 7);
	wm_buf_printf(b, "%cservice:%s-%08x%cService '%s' check%c", 25, word, noise, 19, word, 0);
	wm_buf_printf(b, "HTTP GET: 200 OK Output: ok%chttp://10.%u.%u.%u:%u/health", 0,
		      noise >> 24, noise >> 16 & 255, noise >> 8 & 255, 1024 + mark % 60000);
	for (unsigned i = 0; b->len - at < len && !b->failed; i++) {
		noise = noise * 1664525 + 1013904223;
		wm_buf_printf(b, "%ctag-%s-%u", 11, words[(noise >> 20) % 4], noise >> 22);
	}
}

static struct object *object_of(struct sim_objects *o, int origin, unsigned key, bool make)
{
	if (!o->of[origin] && make)
		o->of[origin] = calloc(SIM_KEYS, sizeof(struct object));
	return o->of[origin] ? &o->of[origin][key] : NULL;
}

static bool get_key(const struct wm_replica_key *k, unsigned *ret)
{
	const char *text = k->octets;

	if (k->len != 2)
		return false;
	*ret = (unsigned)(text[0] - '0') * 16 + (unsigned)(text[1] - '0');
	return *ret < SIM_KEYS;
}

static void key_text(unsigned key, char ret[static 2])
{
	ret[0] = (char)('0' + key / 16);
	ret[1] = (char)('0' + key % 16);
}

/* --- the replica's calls ---------------------------------------------------------------------- */
static int read_object(void *arg, const struct wm_peer_id *origin, bool shared,
		       const struct wm_replica_key *k, struct wm_buf *b)
{
	struct sim_node *n = arg;
	int at = sim_node_of(n->s, origin);
	unsigned key;
	const struct object *o;

	if (shared || at < 0 || !get_key(k, &key))
		return WM_E_UNKNOWN;
	o = object_of(n->objects, at, key, false);
	if (!o || !o->version.seq || o->gone)
		return WM_E_UNKNOWN;
	content(b, o->mark, o->len);
	return b->failed ? -ENOMEM : 0;
}

static int take(void *arg, const struct wm_replica_change *c, unsigned count)
{
	struct sim_node *n = arg;

	for (unsigned i = 0; i < count; i++) {
		int at = sim_node_of(n->s, &c[i].origin);
		unsigned key;
		struct object *o;

		if (at < 0 || !get_key(&c[i].key, &key))
			return -EINVAL;
		o = object_of(n->objects, at, key, true);
		if (!o)
			return -ENOMEM;
		o->version = c[i].version;
		o->gone = c[i].gone;
		o->gone_ms = c[i].gone_ms;
		if (c[i].gone || c[i].same)
			continue;
		o->mark = (unsigned)strtoul((const char *)c[i].object, NULL, 10);
		o->len = c[i].len;
		if (o->mark & MEASURED && at != n->at)
			sim_reached(n->s, n->at, o->mark & ~MEASURED);
	}
	return 0;
}

static void send_replica(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	struct sim_node *n = arg;

	sim_send(n->s, n->at, sim_node_of(n->s, to), SIM_REPLICA, p, len);
}

static void spread(void *arg, const void *p, size_t len)
{
	struct sim_node *n = arg;

	n->s->told++;
	n->s->told_octets += len;
	(void)wm_spread_send(n->spread, p, len);
}

static void alarm_of(void *arg, const struct wm_peer_id *about, const char *sentence)
{
	const struct sim_node *n = arg;

	if (n->s->trace)
		fprintf(stderr, "sim: %llu ms: node %d about %d: %s\n",
			(unsigned long long)(n->s->ns / WM_NS_PER_MS), n->at,
			about ? sim_node_of(n->s, about) : -1, sentence);
}

static uint32_t restored(void *arg, uint32_t above)
{
	struct sim_node *n = arg;

	n->objects->epoch = above + 1;
	return n->objects->epoch;
}

/* --- summaries, that ride on probes ----------------------------------------------------------- */
static void compare(struct sim *s, int from, int to)
{
	uint8_t summary[WM_REPLICA_SUMMARY];
	size_t len = wm_replica_summary(s->nodes[from].replica, summary, sizeof(summary));

	(void)wm_replica_compare(s->nodes[to].replica, &s->nodes[from].id, summary, len);
}

static void on_probe(void *arg)
{
	struct sim_node *n = arg;
	struct sim *s = n->s;
	int other = (int)sim_below(s, (uint64_t)s->count);

	sim_at(s, &n->objects->probe, s->ns + PROBE_MS * WM_NS_PER_MS);
	if (other == n->at || !s->nodes[other].alive || sim_cut(s, n->at, other))
		return;
	compare(s, n->at, other);
	if (!sim_cut(s, other, n->at))
		compare(s, other, n->at);
}

/* --- life ------------------------------------------------------------------------------------- */
static int recover(struct sim_node *n)
{
	for (int at = 0; at < n->s->count; at++) {
		for (unsigned key = 0; n->objects->of[at] && key < SIM_KEYS; key++) {
			const struct object *o = &n->objects->of[at][key];
			char text[2];
			struct wm_buf b;
			struct wm_replica_change c = {.origin = n->s->nodes[at].id,
						      .version = o->version,
						      .key = {text, sizeof(text)},
						      .gone = o->gone,
						      .gone_ms = o->gone_ms};
			int r;

			if (!o->version.seq)
				continue;
			key_text(key, text);
			wm_buf_init(&b, 1 << 20);
			if (!o->gone) {
				content(&b, o->mark, o->len);
				c.object = b.data;
				c.len = b.len;
			}
			r = wm_replica_recover(n->replica, &c);
			wm_buf_done(&b);
			if (r)
				return r;
		}
	}
	return 0;
}

int sim_objects_start(struct sim_node *n)
{
	struct wm_replica_config c = {.env = &n->env,
				      .id = n->id,
				      .objects_max = 1u << 20,
				      .brake_pct = n->s->c.brake_pct,
				      .arg = n,
				      .read = read_object,
				      .take = take,
				      .send = send_replica,
				      .spread = spread,
				      .restored = restored,
				      .alarm = alarm_of};

	if (!n->objects) {
		n->objects = calloc(1, sizeof(*n->objects));
		if (!n->objects)
			return -1;
		n->objects->of = calloc((size_t)n->s->count, sizeof(struct object *));
		if (!n->objects->of)
			return -1;
		n->objects->epoch = 1;
	}
	c.epoch = n->objects->epoch;
	c.seq = n->objects->seq;
	c.contact_ms = n->objects->contact_ms;
	n->replica = wm_replica_new(&c);
	sim_event_init(&n->objects->probe, n->at, on_probe, n);
	if (!n->s->c.member)
		sim_at(n->s, &n->objects->probe,
		       n->s->ns + sim_below(n->s, PROBE_MS) * WM_NS_PER_MS);
	return n->replica && !recover(n) ? 0 : -1;
}

void sim_objects_stop(struct sim_node *n)
{
	n->objects->contact_ms = wm_replica_contact_ms(n->replica);
	sim_cancel(n->s, &n->objects->probe);
	wm_replica_free(n->replica);
	n->replica = NULL;
}

static void empty(struct sim_node *n)
{
	for (int at = 0; at < n->s->count; at++) {
		free(n->objects->of[at]);
		n->objects->of[at] = NULL;
	}
}

void sim_objects_free(struct sim_node *n)
{
	if (!n->objects)
		return;
	empty(n);
	free(n->objects->of);
	free(n->objects);
	n->objects = NULL;
}

void sim_objects_lose(struct sim_node *n)
{
	empty(n);
	n->objects->epoch++;
	n->objects->seq = 0;
	n->objects->contact_ms = 0;
}

static void own(struct sim_node *n, unsigned key, struct object *o)
{
	char text[2];
	struct wm_buf b;
	struct wm_replica_change c = {
		.origin = n->id, .key = {text, sizeof(text)}, .gone = o->gone};

	o->version = (struct wm_version){
		.origin = WM_ORIGIN_OWN, .epoch = n->objects->epoch, .seq = ++n->objects->seq};
	o->gone_ms = o->gone ? wm_env_wall_ms(&n->env) : 0;
	c.version = o->version;
	c.gone_ms = o->gone_ms;
	key_text(key, text);
	wm_buf_init(&b, 1 << 20);
	if (!o->gone) {
		content(&b, o->mark, o->len);
		c.object = b.data;
		c.len = b.len;
	}
	if (wm_replica_own(n->replica, &c))
		abort();
	wm_buf_done(&b);
}

void sim_objects_put(struct sim_node *n, unsigned key, size_t len, unsigned mark)
{
	struct object *o = object_of(n->objects, n->at, key, true);

	if (!o)
		abort();
	o->gone = false;
	o->mark = mark;
	o->len = len;
	own(n, key, o);
}

void sim_objects_del(struct sim_node *n, unsigned key)
{
	struct object *o = object_of(n->objects, n->at, key, false);

	if (!o || !o->version.seq || o->gone)
		return;
	o->gone = true;
	own(n, key, o);
}

void sim_objects_say(struct sim_node *n, unsigned number, size_t len)
{
	sim_objects_put(n, number % SIM_KEYS, len, number | MEASURED);
}

/* --- are they the same? ----------------------------------------------------------------------- */
static bool is_here(const struct object *o)
{
	return o && o->version.seq && !o->gone;
}

static void compare_origin(const struct sim *s, int a, int owner, unsigned long *risen,
			   unsigned long *lost)
{
	for (unsigned key = 0; key < SIM_KEYS; key++) {
		const struct object *have = object_of(s->nodes[a].objects, owner, key, false);
		const struct object *is = object_of(s->nodes[owner].objects, owner, key, false);

		*risen += is_here(have) && !is_here(is);
		*lost += is_here(is) && (!is_here(have) || have->mark != is->mark);
	}
}

void sim_objects_compare(const struct sim *s, unsigned long *ret_risen, unsigned long *ret_lost)
{
	*ret_risen = *ret_lost = 0;
	for (int a = 0; a < s->count; a++)
		for (int owner = 0; owner < s->count; owner++)
			if (a != owner && s->nodes[a].alive && s->nodes[owner].alive)
				compare_origin(s, a, owner, ret_risen, ret_lost);
}

bool sim_objects_equal(const struct sim *s)
{
	uint8_t first[16], other[16];

	wm_replica_digest(s->nodes[0].replica, first);
	for (int a = 1; a < s->count; a++) {
		wm_replica_digest(s->nodes[a].replica, other);
		if (memcmp(first, other, sizeof(first)) != 0)
			return false;
	}
	return true;
}

/* Whose logs are here otherwise than at their owners. */
void sim_objects_tell(const struct sim *s)
{
	for (int a = 0; a < s->count; a++) {
		struct wm_replica_origin o;
		size_t pos = 0;
		bool told = false;

		while (wm_replica_next(s->nodes[a].replica, &pos, &o)) {
			int owner = sim_node_of(s, &o.id);
			const struct sim_objects *is = owner < 0 ? NULL : s->nodes[owner].objects;
			unsigned long risen = 0, lost = 0;

			if (!is)
				continue;
			compare_origin(s, a, owner, &risen, &lost);
			if (o.epoch == is->epoch && o.seq == is->seq && !risen && !lost)
				continue;
			if (!told)
				sim_streams_tell(s, a);
			told = true;
			fprintf(stderr,
				"sim: %llu ms: node %d has %d at %u.%llu, it is at "
				"%u.%llu; "
				"risen %lu, lost %lu\n",
				(unsigned long long)(s->ns / WM_NS_PER_MS), a, owner, o.epoch,
				(unsigned long long)o.seq, is->epoch, (unsigned long long)is->seq,
				risen, lost);
		}
	}
}
