/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store registry metadata resolution */
/* A reader that is held anywhere while sets are published, freed and their places used again: it
 * never gets another service's address. Every way in which they can meet, at small sizes; and that
 * this is seen where the writer's order is wrong, or nothing is waited for. */
#include "interleave_meet.h"
/* behind it */
#include "interleave_hash.h"
#include "userspace/resolution/tables.h"
#include "waymark/choose.h"
#include "waymark/dns_answer.h"

#include <arpa/inet.h>
#include <stdio.h>

#define SETS	 4
#define HEADS	 8
#define SLOTS	 32
#define BACKENDS 8
#define TRIES	 2 /* of a reader that was overtaken, as in bpf/connect.bpf.c */
#define MARKS	 256
#define DOMAIN	 "d"

/* All of it in `memory`; the reader's copy in `read_words` looks the same. */
struct layout {
	struct wm_set sets[SETS];
	struct wm_table_head heads[HEADS];
	struct wm_slot slots[SLOTS];
	struct wm_backend backends[BACKENDS];
	struct wm_set_live set_live[SETS];
	struct wm_backend_live live[BACKENDS];
	/* the hashes: which element a key has, from 1, 0: none */
	uint64_t front_of[KEYS], name_of[KEYS];
	struct wm_frontend fronts[KEYS];
	struct wm_name names[KEYS];
};
_Static_assert(sizeof(struct layout) <= MEMORY, "fits");

static struct wm_config config = {.seed = {11, 12}};
static struct wm_table_memory mem;
static struct wm_tables *tables;
static struct wm_plane_ops ops;

/* --- what the kernel has ---------------------------------------------------------------------- */
static struct hash fronts, names;

static int front_put(void *arg, const struct wm_frontend_key *k, const struct wm_frontend *v)
{
	struct wm_frontend sealed = *v;

	(void)arg;
	sealed.seal = wm_frontend_seal(k, v->set, v->flags);
	return hash_put(&fronts, k, &sealed);
}

static int front_del(void *arg, const struct wm_frontend_key *k)
{
	(void)arg;
	return hash_del(&fronts, k);
}

static int name_put(void *arg, const struct wm_name_key *k, const struct wm_name *v)
{
	struct wm_name sealed = *v;
	struct wm_named head;

	(void)arg;
	memcpy(&head, &sealed, sizeof(head));
	sealed.seal = wm_name_seal(k, &head);
	return hash_put(&names, k, &sealed);
}

static int name_del(void *arg, const struct wm_name_key *k)
{
	(void)arg;
	return hash_del(&names, k);
}

/* --- what is freed, and when it is over: at once, and who may not be there any more then --------
 */
static struct {
	unsigned freed[MARKS]; /* steps before ticket i */
	unsigned over[MARKS];  /* steps before the i th time that all of `tickets[i]` were over */
	unsigned tickets[MARKS];
	unsigned before, n, waits; /* before: tickets of earlier scripts, over since */
} grace;

static uint64_t ticket(void *arg)
{
	(void)arg;
	cr_assert_lt(grace.n + 1, MARKS);
	grace.freed[++grace.n] = steps_count;
	return grace.n;
}

static uint64_t over(void *arg)
{
	(void)arg;
	if (!grace.n || grace.waits == MARKS)
		return grace.n;
	grace.over[grace.waits] = steps_count;
	grace.tickets[grace.waits++] = grace.n;
	return grace.n;
}

static const struct wm_grace at_once = {NULL, ticket, over};

/* The last step that who begins behind @p from steps can see: it holds up the waits for what was
 * freed since. */
static unsigned until(unsigned from)
{
	for (unsigned i = 0; i < grace.waits; i++)
		for (unsigned n = grace.before + 1; n <= grace.tickets[i]; n++)
			if (grace.freed[n] >= from)
				return grace.over[i];
	return steps_count;
}

/* --- the writer --------------------------------------------------------------------------------
 */
/* Service 'a' has 10.1.0.x, port 100 + x; 'b' 10.2.0.x, port 200 + x. */
static void put(char service, const char *instances)
{
	struct wm_want_backend b[8] = {0};
	char name[2] = {service, '\0'};
	struct wm_err e = {0};
	unsigned s = (unsigned)(service - 'a') + 1, n = 0;
	struct wm_want_set w = {.service = name, .vip4_be = htonl(0xf0000000 + s), .backends = b};

	for (; instances[n]; n++) {
		unsigned x = (unsigned)(instances[n] - '0');

		b[n] = (struct wm_want_backend){.instance = s * 100 + x,
						.addr4_be = htonl(0x0a000000 + (s << 16) + x),
						.port = (uint16_t)(s * 100 + x),
						.weight = x,
						.state = WM_STATE_UP};
	}
	w.backends_count = n;
	cr_assert_eq(wm_tables_put(tables, &w, NULL, &e), 0, "%s", e.text);
}

static void del(char service)
{
	cr_assert_eq(wm_tables_del(tables, (char[]){service, '\0'}), 0);
}

static void setup(void)
{
	struct layout *m;

	store_memory();
	m = (struct layout *)(void *)memory;
	mem = (struct wm_table_memory){&config,	    m->sets,  m->heads, m->slots, m->backends,
				       m->set_live, m->live,  NULL,	SETS,	  HEADS,
				       SLOTS,	    BACKENDS, KEYS,	KEYS};
	hash_init(&fronts, sizeof(struct wm_frontend_key), sizeof(struct wm_frontend), m->front_of,
		  m->fronts);
	hash_init(&names, sizeof(struct wm_name_key), sizeof(struct wm_name), m->name_of, m->names);
	ops = (struct wm_plane_ops){.name_put = name_put,
				    .name_del = name_del,
				    .frontend_put = front_put,
				    .frontend_del = front_del};
	tables = wm_tables_new(&mem, &ops, DOMAIN, NULL);
	cr_assert(tables);
	wm_tables_set_grace(tables, &at_once);
}

static void teardown(void)
{
	wm_tables_free(tables);
	munmap(memory, MEMORY);
}

/* --- the reader --------------------------------------------------------------------------------
 */
static const struct layout *now_of(void)
{
	return (const struct layout *)(const void *)read_words;
}

static struct wm_view view(void)
{
	const struct layout *n = now_of();

	return (struct wm_view){.sets = n->sets,
				.heads = n->heads,
				.slots = n->slots,
				.backends = n->backends,
				.set_live = n->set_live,
				.live = n->live,
				.sets_cap = SETS,
				.heads_cap = HEADS,
				.slots_cap = SLOTS,
				.backends_cap = BACKENDS};
}

static uint32_t random_word;
static uint32_t drawn(void *arg)
{
	(void)arg;
	return random_word;
}

/* connect() to the virtual address of 'a'. */
static enum wm_pick dial(struct wm_choice *ret)
{
	struct wm_frontend_key key = {.addr_be = {0, 0, WM_V4_MAPPED_BE, htonl(0xf0000001)}};
	unsigned k = key_number(&fronts, &key);
	const struct layout *n = now_of();
	struct wm_view v = view();
	struct wm_ask ask = {.families = WM_FAMILY_4};
	struct wm_frontend f;
	uint64_t element = WM_READ(n->front_of[k]);

	if (!element)
		return WM_PICK_NONE;
	if (!wm_frontend_read(&n->fronts[element - 1], &key, &f))
		return WM_PICK_TORN;
	return wm_choose(&v, f.set, &ask, drawn, NULL, ret);
}

static bool of_a(const struct wm_choice *c)
{
	uint32_t x = ntohl(c->addr_be[3]) - 0x0a010000;

	return x >= 1 && x <= 9 && ntohs(c->port_be) == 100 + x && c->weight == x;
}

/* A question for the addresses of a.service.d. */
static const uint8_t asked[WM_NAME_BUF] __attribute__((aligned(8))) = "\1a\7service\1d";
#define ASKED_LEN 13

static bool same_name(const struct wm_name *e)
{
	const uint64_t *name = (const uint64_t *)(const void *)e->name;
	uint64_t want[WM_NAME_WORDS];

	memcpy(want, asked, sizeof(want));
	if (WM_READ(e->len) != ASKED_LEN)
		return false;
	for (unsigned i = 0; i * 8 < ASKED_LEN; i++)
		if (WM_READ(name[i]) != want[i])
			return false;
	return true;
}

static enum wm_pick ask(uint8_t *records, struct wm_dns_walk *w)
{
	const struct layout *n = now_of();
	struct wm_view v = view();
	const struct wm_name *e;
	struct wm_name_key key;
	struct wm_named head;
	enum wm_pick p;
	uint64_t element;
	bool same;

	wm_name_hash(config.seed, asked, ASKED_LEN, &key);
	element = WM_READ(n->name_of[key_number(&names, &key)]);
	if (!element)
		return WM_PICK_NONE;
	e = &n->names[element - 1];
	wm_name_read(e, &head);
	same = same_name(e);
	if (!wm_name_sealed(&key, &head) || !same)
		return WM_PICK_TORN;
	p = wm_dns_walk_begin(&v, head.set, random_word, 1, w);
	return p == WM_PICKED ? wm_dns_gather(&v, WM_DNS_A, WM_DNS_SCAN_KERNEL, w, records) : p;
}

static bool all_of_a(const uint8_t *records, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		if (memcmp(records + i * WM_DNS_RR_A + WM_DNS_RR_DATA, "\12\1\0", 3) != 0)
			return false;
	return true;
}

/* --- all their meetings ------------------------------------------------------------------------
 */
static struct {
	uint64_t ways, picked, none, torn, wrong; /* torn: each time that it was overtaken */
} met;

static void run_dial(void)
{
	struct wm_choice c = {0};
	enum wm_pick p = WM_PICK_TORN;

	for (unsigned i = 0; i < TRIES && p == WM_PICK_TORN; i++) {
		p = dial(&c);
		met.torn += p == WM_PICK_TORN;
	}
	met.picked += p == WM_PICKED;
	met.none += p == WM_PICK_NONE;
	met.wrong += p == WM_PICKED && !of_a(&c);
}

static void run_ask(void)
{
	uint8_t records[WM_DNS_SCAN_KERNEL * WM_DNS_RR_A] __attribute__((aligned(4)));
	struct wm_dns_walk w = {0};
	enum wm_pick p = ask(records, &w);

	met.picked += p == WM_PICK_NONE && w.records;
	met.none += p == WM_PICK_NONE && !w.records;
	met.torn += p == WM_PICK_TORN;
	met.wrong += p == WM_PICK_NONE && !all_of_a(records, w.records);
}

static void all_ways(void (*run)(void), unsigned from, unsigned to)
{
	for (bool more = meet_next(true, from, to); more; more = meet_next(false, from, to)) {
		met.ways++;
		run();
	}
}

/* From the first step and from behind each that freed something. */
static void meet(void (*run)(void), bool waited)
{
	static const uint32_t words[] = {0, 0xffffffff, 0x70000000, 0xa0000001};

	memset(&met, 0, sizeof(met));
	for (unsigned i = 0; i < 4; i++) {
		random_word = words[i];
		all_ways(run, 0, waited ? until(0) : steps_count);
		for (unsigned n = grace.before + 1; waited && n <= grace.n; n++)
			if (grace.freed[n] + 1 < steps_count)
				all_ways(run, grace.freed[n] + 1, until(grace.freed[n] + 1));
	}
	fprintf(stderr, "%u steps, %llu ways: %llu picked, %llu none, %llu torn, %llu wrong\n",
		steps_count, (unsigned long long)met.ways, (unsigned long long)met.picked,
		(unsigned long long)met.none, (unsigned long long)met.torn,
		(unsigned long long)met.wrong);
}

/* "a12": the service is put with these instances; "-a": it is deleted. */
static void write_steps(const char *const *script)
{
	grace.before = grace.n;
	grace.waits = 0;
	store_begin();
	for (; *script; script++)
		if (**script == '-')
			del((*script)[1]);
		else
			put(**script, *script + 1);
	store_end();
	cr_assert_gt(steps_count, 0);
}

TestSuite(interleave, .init = setup, .fini = teardown, .timeout = 300);

static void needs_stores(void)
{
	if (!STORES_ARE_SEEN)
		cr_skip("stores are seen one by one on x86-64 only");
}

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Both readers, and none of them is wrong. */
static void none_is_wrong(bool waited)
{
	void (*const readers[])(void) = {run_dial, run_ask};

	for (unsigned i = 0; i < 2; i++) {
		meet(readers[i], waited);
		cr_assert_eq(met.wrong, 0, "reader %u", i);
		cr_assert(met.picked && met.torn + met.none, "reader %u met nothing", i);
	}
}

/* Head, slots and backends are protected by what the reader compares alone. */
Test(interleave, another_size_and_places_used_again_at_once)
{
	needs_stores();
	write_steps(SCRIPT("a12", "b1"));
	write_steps(SCRIPT("a13", "a123", "a2"));
	none_is_wrong(false);
	write_steps(SCRIPT("a3", "b123"));
	none_is_wrong(false);
	write_steps(SCRIPT("b4", "a12", "-b", "a3", "c123"));
	none_is_wrong(false);
}

/* So are entries of the hashes, whichever way the kernel copies. A set's index is waited for. */
Test(interleave, a_service_goes_and_another_has_its_places)
{
	needs_stores();
	for (unsigned i = 0; i < 2; i++) {
		backwards = i;
		write_steps(SCRIPT("a12", "b1"));
		write_steps(SCRIPT("-a", "c12"));
		none_is_wrong(true);
		write_steps(SCRIPT("a3", "-b", "b12", "-a", "c3", "a1"));
		none_is_wrong(true);
		write_steps(SCRIPT("-a", "-b", "-c"));
	}
}

Test(interleave, a_wait_that_is_left_out_is_seen)
{
	needs_stores();
	write_steps(SCRIPT("a12", "b1"));
	write_steps(SCRIPT("-a", "c12"));
	meet(run_dial, false);
	cr_assert_gt(met.wrong, 0);
	meet(run_ask, false);
	cr_assert_gt(met.wrong, 0);
}

/* The first step that changes the state of backend @p i. */
static unsigned state_step(unsigned i)
{
	uint32_t word =
		(uint32_t)((offsetof(struct layout, backends) + i * sizeof(struct wm_backend)) / 8);
	unsigned at = 0;

	while (at < steps_count && steps[at].word != word)
		at++;
	return at;
}

/* A new occupant's address in front of the store that takes the old one away. */
static unsigned exchange(unsigned backend)
{
	unsigned at = state_step(backend), from = at;
	struct step address;

	while (from < steps_count && steps[from].word != steps[at].word + 1)
		from++;
	if (from >= steps_count)
		return 0;
	address = steps[from];
	memmove(&steps[at + 1], &steps[at], (from - at) * sizeof(*steps));
	steps[at] = address;
	return 1;
}

Test(interleave, a_writer_with_two_stores_exchanged_is_seen)
{
	unsigned exchanged = 0;

	needs_stores();
	write_steps(SCRIPT("a12", "b1"));
	write_steps(SCRIPT("a3", "b123"));
	for (unsigned i = 0; i < BACKENDS; i++)
		exchanged += exchange(i);
	cr_assert_gt(exchanged, 0);
	meet(run_dial, false);
	cr_assert_gt(met.wrong, 0);
}
