/* SPDX-License-Identifier: Apache-2.0 */
/* hot.c - see hot.h. How often a name is asked for is told by userspace until the kernel has it,
 * and then by the kernel. Names that were asked for once or twice are remembered in a table in
 * which another takes their place, so that questions for ever new names cost nothing but chances.
 */
#include "hot.h"

#include "userspace/base/clock.h"
#include "userspace/base/hash.h"
#include "userspace/base/map.h"
#include "waymark/name_hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define LOOK_MS	    250
#define SEEN_A_NAME 4 /* places of the table of those that are not kept, for each that may be */
#define SEEN_WAYS                                                                                  \
	4 /* of these, that a name may have: those that share them are found all the same */
/* A name is renewed when it has so long left, or a tenth of its TTL; but never more than a quarter:
 * what the resolver whose turn it is had before is over by then, a second later than it says. */
#define RENEW_AT_MS  1000
#define RENEW_SHARE  10
#define RENEW_MOST   4
#define RENEW_HITS   2	   /* answers of the kernel since the last time that make it worth it */
#define OPEN_MAX     128   /* questions of ours at a time: 500 a second by looks of LOOK_MS */
#define RETRY_MIN_MS 250   /* between two tries to renew one */
#define RETRY_MAX_MS 30000 /* when no server answers */
#define LINGER_MS    60000 /* what is over stays for so long: the next answer finds its place */
#define ROOM_LOOKS   64	   /* names that are looked at for room in a turn: a system call each */
#define ROOM_AGE_MS  5000  /* that a name has to be asked for, before it makes room for another */

struct wm_hot_name {
	TAILQ_ENTRY(wm_hot_name) entry;
	uint64_t over_ms, renew_ms; /* when its TTL is over; when it is to be asked for again */
	uint64_t retry_ms, kept_ms;
	uint64_t hits;	 /* when it was looked at last, of what is kept */
	uint64_t number; /* names came before it */
	bool asked;
	uint8_t side; /* the resolver whose answer it is */
	uint8_t next; /* that is asked, or to be asked, for another */
	uint8_t turn; /* which address comes first, of those behind the least one */
	bool turned;  /* that is known */
	uint16_t len;
	struct { /* what it is found by: as much of it as the name is long */
		uint16_t type, view;
		uint8_t name[WM_NAME_BUF];
	} key;
};

struct seen {
	uint64_t hash, until_ms;
	unsigned times;
};

struct wm_hot_level {
	struct wm_hot_config c;
	struct wm_map *names;
	TAILQ_HEAD(, wm_hot_name) list; /* as they came */
	struct wm_hot_name *hand;	/* who is looked at for room next; NULL: the first */
	uint64_t number;		/* names that came */
	bool full;			/* somebody found no room since the last look */
	struct seen *seen;
	unsigned open;
	struct wm_timer *look;
	bool waits; /* for it: there are names */
	struct wm_hot scratch;
	uint64_t counters[WM_HOT_COUNTER_COUNT];
};

static size_t key_len(const struct wm_hot_name *n)
{
	return offsetof(struct wm_hot_name, key.name) - offsetof(struct wm_hot_name, key) + n->len;
}

/* What names it to the kernel's side. */
static struct wm_hot *scratch_of(struct wm_hot_level *h, const struct wm_hot_name *n)
{
	memcpy(h->scratch.name, n->key.name, sizeof(h->scratch.name));
	h->scratch.head.name_len = n->len;
	return &h->scratch;
}

static void drop(struct wm_hot_level *h, struct wm_hot_name *n)
{
	h->c.kernel.del(h->c.kernel.arg, scratch_of(h, n), n->key.type, n->key.view);
	wm_map_del(h->names, &n->key, key_len(n));
	if (h->hand == n)
		h->hand = TAILQ_NEXT(n, entry);
	TAILQ_REMOVE(&h->list, n, entry);
	h->open -= n->asked;
	free(n);
}

/* --- which are hot ---------------------------------------------------------------------------- */
/* Was it asked for often enough for its TTL, this time included? */
static bool is_hot(struct wm_hot_level *h, const struct wm_hot_name *n, uint64_t now,
		   uint64_t ttl_ms)
{
	uint64_t hash = wm_hash(&n->key, key_len(n));
	struct seen *ways =
		&h->seen[hash % ((size_t)h->c.max * SEEN_A_NAME / SEEN_WAYS) * SEEN_WAYS];
	struct seen *s = ways;

	/* its own, or the one whose time is over first */
	for (unsigned i = 0; i < SEEN_WAYS && s->hash != hash; i++)
		if (ways[i].hash == hash || ways[i].until_ms < s->until_ms)
			s = &ways[i];
	if (s->hash != hash || now >= s->until_ms)
		*s = (struct seen){.hash = hash, .until_ms = now + ttl_ms};
	return ++s->times >= h->c.after;
}

static void look_soon(struct wm_hot_level *h)
{
	if (!h->waits)
		wm_timer_arm(h->look, LOOK_MS);
	h->waits = true;
}

static struct wm_hot_name *keep_name(struct wm_hot_level *h, const struct wm_hot_name *of)
{
	struct wm_hot_name *n;

	if (wm_map_len(h->names) >= h->c.max) {
		h->counters[WM_HOT_C_FULL]++;
		h->full = true;
		return NULL;
	}
	n = malloc(sizeof(*n));
	if (!n)
		return NULL;
	*n = *of;
	if (wm_map_put(h->names, &n->key, key_len(n), n, NULL)) {
		free(n);
		return NULL;
	}
	n->number = ++h->number;
	TAILQ_INSERT_TAIL(&h->list, n, entry);
	look_soon(h);
	return n;
}

/* --- which address comes first ---------------------------------------------------------------- */
/* Where the addresses that were asked for are, as one set of records. @return how many. */
static unsigned find_addresses(const struct wm_hot *e, uint16_t type, uint16_t at[WM_HOT_TTLS])
{
	size_t len = type == WM_DNS_A ? 4 : 16, begin = 0, owner = 0;
	unsigned count = 0;

	for (unsigned i = 0; i < e->head.answers; i++) {
		size_t fixed = e->head.ttl_at[i] - 4u; /* behind its owner's name */
		const uint8_t *p = e->octets + fixed;
		size_t data_len = (size_t)p[8] << 8 | p[9];

		if ((p[0] << 8 | p[1]) == type && data_len == len) {
			if (!count)
				owner = begin;
			/* a pointer, and the same: others' addresses are not exchanged */
			if (fixed - begin != 2 || memcmp(e->octets + owner, p - 2, 2) != 0)
				return 0;
			at[count++] = (uint16_t)(fixed + 10);
		}
		begin = fixed + 10 + data_len;
	}
	return count;
}

/* What is kept has one order until it is renewed, and most clients take the first: each time
 * another one is. The least one says where the round begins, wherever the resolver began. */
static void turn_addresses(struct wm_hot_name *n, struct wm_hot *e)
{
	size_t len = n->key.type == WM_DNS_A ? 4 : 16;
	uint8_t data[WM_HOT_TTLS][16];
	uint16_t at[WM_HOT_TTLS];
	unsigned count, least = 0;

	if (n->key.type != WM_DNS_A && n->key.type != WM_DNS_AAAA)
		return;
	count = find_addresses(e, n->key.type, at);
	if (count < 2)
		return;
	for (unsigned i = 0; i < count; i++) {
		memcpy(data[i], e->octets + at[i], len);
		if (memcmp(data[i], data[least], len) < 0)
			least = i;
	}
	/* as it came, the first time */
	n->turn = (uint8_t)(n->turned ? (n->turn + 1u) % count : (count - least) % count);
	n->turned = true;
	for (unsigned i = 0; i < count; i++)
		memcpy(e->octets + at[i], data[(least + n->turn + i) % count], len);
}

static bool keep_answer(struct wm_hot_level *h, struct wm_hot_name *n, struct wm_hot *e,
			unsigned side)
{
	uint64_t ttl_ms = (e->head.expires_ns - e->head.made_ns) / WM_NS_PER_MS;
	uint64_t before_ms =
		ttl_ms / RENEW_SHARE > RENEW_AT_MS ? ttl_ms / RENEW_SHARE : RENEW_AT_MS;

	turn_addresses(n, e);
	if (h->c.kernel.put(h->c.kernel.arg, e, n->key.type, n->key.view)) {
		h->counters[WM_HOT_C_REFUSED]++;
		return false;
	}
	h->counters[WM_HOT_C_KEPT]++;
	n->over_ms = e->head.expires_ns / WM_NS_PER_MS;
	if (before_ms > ttl_ms / RENEW_MOST)
		before_ms = ttl_ms / RENEW_MOST;
	n->renew_ms = n->over_ms - before_ms;
	n->retry_ms = n->hits = 0;
	n->side = (uint8_t)side;
	if (!n->asked)
		n->next = !side;
	n->kept_ms = e->head.made_ns / WM_NS_PER_MS;
	return true;
}

void wm_hot_answered(struct wm_hot_level *h, const struct wm_dns_query *q, const uint8_t *msg,
		     size_t len, unsigned side)
{
	struct wm_hot_name as = {.len = q->name_len,
				 .key = {.type = q->type, .view = wm_hot_view(q)}};
	uint64_t now_ns = wm_clock_ns();
	struct wm_hot_name *n;

	if (!h || !wm_hot_type(q->type) || len < (size_t)WM_DNS_HEADER_LEN + q->name_len)
		return;
	for (unsigned i = 0; i < q->name_len; i++) {
		uint8_t c = msg[WM_DNS_HEADER_LEN + i];

		as.key.name[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c + 'a' - 'A') : c;
	}
	if (!wm_hot_make(msg, (uint32_t)len, q, as.key.name, now_ns, &h->scratch))
		return;
	n = wm_map_get(h->names, &as.key, key_len(&as));
	if (!n && is_hot(h, &as, now_ns / WM_NS_PER_MS,
			 (h->scratch.head.expires_ns - now_ns) / WM_NS_PER_MS))
		n = keep_name(h, &as);
	if (n && !keep_answer(h, n, &h->scratch, side))
		drop(h, n);
}

unsigned wm_hot_side(const struct wm_hot_level *h, const uint8_t *name, uint16_t type)
{
	struct wm_hot_name as = {.len = (uint16_t)wm_dns_name_len(name, WM_NAME_BUF),
				 .key = {.type = type}};
	const struct wm_hot_name *n, *newest = NULL;

	if (!h || !wm_map_len(h->names))
		return 0;
	memcpy(as.key.name, name, as.len);
	for (; as.key.view <= (WM_HOT_DO | WM_HOT_CD | WM_HOT_AD); as.key.view++) {
		n = wm_map_get(h->names, &as.key, key_len(&as));
		if (n && (!newest || n->over_ms > newest->over_ms))
			newest = n;
	}
	return newest ? newest->side : 0;
}

/* --- renewed ---------------------------------------------------------------------------------- */
/* In twice the time, but once before it is over. */
static void again_in(struct wm_hot_name *n, uint64_t now)
{
	uint64_t left_ms = n->over_ms > now ? (n->over_ms - now) / 2 : RETRY_MAX_MS;

	n->retry_ms = n->retry_ms ? n->retry_ms * 2 : RETRY_MIN_MS;
	if (n->retry_ms > RETRY_MAX_MS)
		n->retry_ms = RETRY_MAX_MS;
	if (left_ms > n->retry_ms)
		left_ms = n->retry_ms;
	n->renew_ms = now + (left_ms > RETRY_MIN_MS ? left_ms : RETRY_MIN_MS);
}

void wm_hot_renewed(struct wm_hot_level *h, const uint8_t *name, const struct wm_dns_query *q,
		    const uint8_t *msg, size_t len)
{
	struct wm_hot_name as = {.len = q->name_len,
				 .key = {.type = q->type, .view = wm_hot_view(q)}};
	uint64_t now_ns = wm_clock_ns();
	struct wm_hot_name *n;

	memcpy(as.key.name, name, q->name_len);
	n = wm_map_get(h->names, &as.key, key_len(&as));
	if (!n)
		return; /* it left meanwhile */
	h->open -= n->asked;
	n->asked = false;
	again_in(n, now_ns / WM_NS_PER_MS);
	if (!msg || !wm_hot_make(msg, (uint32_t)len, q, n->key.name, now_ns, &h->scratch))
		return;
	/* what is no newer was in its cache, as a part of it is of another name, too: the other's
	 * may be over by then */
	if (h->scratch.head.expires_ns / WM_NS_PER_MS <= n->over_ms + RETRY_MIN_MS)
		n->next = !n->next;
	else if (keep_answer(h, n, &h->scratch, n->next))
		h->counters[WM_HOT_C_RENEWED]++;
	else
		drop(h, n);
}

static bool is_asked_for(struct wm_hot_level *h, const struct wm_hot_name *n)
{
	return !h->c.kernel.get(h->c.kernel.arg, scratch_of(h, n), n->key.type, n->key.view) &&
	       h->scratch.hits >= RENEW_HITS;
}

static void look_at(struct wm_hot_level *h, struct wm_hot_name *n, uint64_t now)
{
	if (n->asked || now < n->renew_ms)
		return;
	if (!is_asked_for(h, n) || now >= n->over_ms + h->c.stale_ms) {
		if (now >= n->over_ms + LINGER_MS) {
			h->counters[WM_HOT_C_LEFT]++;
			drop(h, n);
		}
	} else if (h->open < OPEN_MAX) {
		h->open++;
		n->asked = true;
		if (!h->c.renew(h->c.arg, n->key.name, n->len, n->key.type, n->key.view, n->next)) {
			h->open--;
			n->asked = false;
		} else {
			h->counters[WM_HOT_C_ASKED]++;
		}
	}
}

/* Others want in: whoever was not asked for since the last look makes room, whatever its TTL. */
static void make_room(struct wm_hot_level *h, uint64_t now)
{
	size_t left = wm_map_len(h->names);
	struct wm_hot_name *n;

	if (left > ROOM_LOOKS)
		left = ROOM_LOOKS;
	for (; left; left--) {
		n = h->hand ? h->hand : TAILQ_FIRST(&h->list);
		h->hand = TAILQ_NEXT(n, entry);
		if (now - n->kept_ms < ROOM_AGE_MS)
			continue;
		if (h->c.kernel.get(h->c.kernel.arg, scratch_of(h, n), n->key.type, n->key.view) ||
		    h->scratch.hits == n->hits) {
			h->counters[WM_HOT_C_LEFT]++;
			drop(h, n);
		} else {
			n->hits = h->scratch.hits;
		}
	}
	h->full = false;
}

static void on_look(void *arg)
{
	struct wm_hot_level *h = arg;
	uint64_t now = wm_clock_ms();
	struct wm_hot_name *n, *next;

	for (n = TAILQ_FIRST(&h->list); n; n = next) {
		next = TAILQ_NEXT(n, entry);
		look_at(h, n, now);
	}
	if (h->full)
		make_room(h, now);
	h->waits = false;
	if (!TAILQ_EMPTY(&h->list))
		look_soon(h);
}

/* --- life ------------------------------------------------------------------------------------- */
struct wm_hot_level *wm_hot_new(struct wm_loop *l, const struct wm_hot_config *c)
{
	struct wm_hot_level *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->c = *c;
	TAILQ_INIT(&h->list);
	h->names = wm_map_new(c->max);
	h->seen = calloc((size_t)c->max * SEEN_A_NAME, sizeof(*h->seen));
	h->look = wm_timer_new(l, on_look, h);
	if (!h->names || !h->seen || !h->look) {
		wm_hot_free(h);
		return NULL;
	}
	return h;
}

void wm_hot_forget(struct wm_hot_level *h)
{
	while (h && !TAILQ_EMPTY(&h->list))
		drop(h, TAILQ_FIRST(&h->list));
	if (h)
		memset(h->seen, 0, (size_t)h->c.max * SEEN_A_NAME * sizeof(*h->seen));
}

void wm_hot_free(struct wm_hot_level *h)
{
	struct wm_hot_name *n;

	if (!h)
		return;
	while ((n = TAILQ_FIRST(&h->list))) {
		TAILQ_REMOVE(&h->list, n, entry);
		free(n);
	}
	wm_timer_free(h->look);
	wm_map_free(h->names);
	free(h->seen);
	free(h);
}

/* --- what others ask about it ----------------------------------------------------------------- */
static bool is_below(const struct wm_hot_name *n, const uint8_t *domain, size_t len)
{
	size_t at = 0;

	while (n->len - at > len)
		at += n->key.name[at] + 1u;
	return n->len - at == len && memcmp(n->key.name + at, domain, len) == 0;
}

void wm_hot_list(struct wm_hot_level *h, uint64_t after, const uint8_t *domain,
		 bool (*fn)(void *arg, const struct wm_hot_one *one), void *arg)
{
	const struct wm_hot_name *n;
	size_t len = 1;

	for (const uint8_t *l = domain; *l; l += *l + 1u)
		len += *l + 1u;
	TAILQ_FOREACH (n, &h->list, entry) {
		struct wm_hot_one one = {n->number, n->key.type, n->key.view, &h->scratch};

		if (n->number > after && is_below(n, domain, len) &&
		    !h->c.kernel.get(h->c.kernel.arg, scratch_of(h, n), one.type, one.view) &&
		    !fn(arg, &one))
			break;
	}
}

unsigned wm_hot_max(const struct wm_hot_level *h)
{
	return h->c.max;
}

size_t wm_hot_names(const struct wm_hot_level *h)
{
	return h ? wm_map_len(h->names) : 0;
}

const uint64_t *wm_hot_counters(const struct wm_hot_level *h)
{
	return h->counters;
}
