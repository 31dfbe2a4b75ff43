/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* Answers that the kernel is given to say again: what an entry holds, when there is one, and what
 * ends it. */
#include "userspace/dns/ready.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

#define NAME	 "\3far\4node"
#define NAME_LEN (sizeof(NAME)) /* with the root label */
#define BEGIN	 (WM_DNS_HEADER_LEN + NAME_LEN + 4)

static uint64_t words[WM_READY_ENTRIES];
static const __u64 seed[2] = {1, 2};
static struct wm_ready kept;
static uint16_t kept_type;
static unsigned puts_count;
static int refusal;

static int put(void *arg, struct wm_ready *e, uint16_t type)
{
	cr_assert_eq(arg, &kept);
	kept = *e;
	kept_type = type;
	puts_count++;
	return refusal;
}

#define MAX 100

static struct wm_loop *loop;
static unsigned remade_count;
static bool (*remaker)(const uint8_t *name, uint16_t len, uint16_t type); /* NULL: there is none */

static bool remake(void *arg, const uint8_t *name, uint16_t len, uint16_t type)
{
	cr_assert_eq(arg, &loop);
	remade_count++;
	return remaker && remaker(name, len, type);
}

static struct wm_ready_level *level_foreseeing(unsigned fill)
{
	const struct wm_ready_config c = {{put, words, &kept, fill, MAX}, remake, &loop, seed};
	struct wm_ready_level *l;

	loop = wm_loop_new();
	cr_assert(loop);
	l = wm_ready_new(loop, &c);
	cr_assert(l);
	return l;
}

static struct wm_ready_level *level(void)
{
	return level_foreseeing(0);
}

static void done(struct wm_ready_level *l)
{
	wm_ready_free(l);
	wm_loop_free(loop);
}

static uint8_t msg[2048];

static struct wm_ready_made made(size_t records)
{
	struct wm_ready_made m = {.message = msg,
				  .len = BEGIN + records,
				  .name_len = NAME_LEN,
				  .type = 16,
				  .answers = 1,
				  .additionals = 2};

	memcpy(msg + WM_DNS_HEADER_LEN, NAME, NAME_LEN);
	for (size_t i = 0; i < records; i++)
		msg[BEGIN + i] = (uint8_t)(i + 1);
	return m;
}

Test(dns_ready, an_entry_is_what_stands_behind_the_question)
{
	struct wm_ready_level *l = level();
	struct wm_ready_made m = made(50);

	m.serial_at = BEGIN + 20;
	m.rcode = 3;
	m.authorities = 1;
	cr_assert_eq(wm_ready_keep(l, &m), 0);
	cr_assert_eq(kept_type, 16);
	cr_assert_eq(kept.head.len, 50);
	cr_assert_eq(kept.head.serial_at, 20);
	cr_assert_eq(kept.head.rcode, 3);
	cr_assert_eq(kept.head.answers, 1);
	cr_assert_eq(kept.head.authorities, 1);
	cr_assert_eq(kept.head.additionals, 2);
	cr_assert_eq(kept.head.name_len, NAME_LEN);
	cr_assert_eq(memcmp(kept.name, NAME, NAME_LEN), 0);
	cr_assert_eq(memcmp(kept.octets, msg + BEGIN, 50), 0);
	cr_assert_eq(kept.octets[50], 0);
	done(l);
}

Test(dns_ready, its_sum_is_of_its_sources)
{
	struct wm_ready_level *l = level();
	struct wm_ready_made m = made(20);
	uint64_t before;

	m.source[1] = wm_ready_source("far", 3);
	m.source[2] = WM_READY_LABELS;
	cr_assert_geq(m.source[1], WM_READY_FIRST);
	cr_assert_eq(wm_ready_keep(l, &m), 0);
	before = kept.head.sum;
	wm_ready_changed(l, m.source[1] == 9 ? 10 : 9);
	cr_assert_eq(wm_ready_keep(l, &m), 0);
	cr_assert_eq(kept.head.sum, before);
	for (unsigned i = 0; i < 3; i++) {
		wm_ready_changed(l, m.source[i]);
		cr_assert_eq(wm_ready_keep(l, &m), 0);
		cr_assert_gt(kept.head.sum, before);
		before = kept.head.sum;
	}
	cr_assert_eq(wm_ready_counters(l)[WM_READY_C_CHANGES], 4);
	wm_ready_changed(NULL, WM_READY_ALL); /* nobody keeps anything */
	done(l);
}

Test(dns_ready, what_is_too_long_or_refused_is_counted)
{
	struct wm_ready_level *l = level();
	struct wm_ready_made m = made(WM_READY_OCTETS);

	cr_assert_eq(wm_ready_keep(l, &m), 0);
	m = made(WM_READY_OCTETS + 1);
	cr_assert_eq(wm_ready_keep(l, &m), -EMSGSIZE);
	cr_assert_eq(puts_count, 1);
	refusal = -ENOMEM;
	m = made(20);
	cr_assert_eq(wm_ready_keep(l, &m), -ENOMEM);
	cr_assert_eq(wm_ready_counters(l)[WM_READY_C_KEPT], 1);
	cr_assert_eq(wm_ready_counters(l)[WM_READY_C_LONG], 1);
	cr_assert_eq(wm_ready_counters(l)[WM_READY_C_REFUSED], 1);
	done(l);
}

/* Names that are not there may be ever new ones: these are nobody's to keep. */
Test(dns_ready, without_records_it_is_asked_for_twice)
{
	static const uint8_t name[] = NAME;
	struct wm_ready_level *l = level();
	unsigned again = 0;

	cr_assert(wm_ready_wants(l, name, NAME_LEN, 1, true));
	cr_assert_not(wm_ready_wants(l, name, NAME_LEN, 28, false));
	cr_assert(wm_ready_wants(l, name, NAME_LEN, 28, false));
	for (unsigned i = 0; i < 10000; i++)
		again += wm_ready_wants(l, (uint8_t *)&i, sizeof(i), 1, false);
	cr_assert_eq(again, 0);
	done(l);
}

Test(dns_ready, an_entry_that_is_half_another_is_not_read)
{
	const struct wm_ready_key key = {.name = {{1, 2}}, .type = 16};
	struct wm_ready_key other = key;
	struct wm_ready_level *l = level();
	struct wm_ready_made m = made(75);
	__u64 out[WM_READY_OCTETS / 8];
	struct wm_ready_small s;
	uint8_t *head = (uint8_t *)&kept.head;

	cr_assert_eq(wm_ready_keep(l, &m), 0);
	wm_ready_seal(&key, &kept);
	cr_assert(wm_ready_read(&key, &kept.head, &kept.seal, kept.octets, WM_READY_OCTETS, out));
	cr_assert_eq(memcmp(out, kept.octets, 75), 0);
	cr_assert(wm_ready_shrink(&kept, &s));
	cr_assert(wm_ready_read(&key, &s.head, &s.seal, s.octets, WM_READY_SMALL_OCTETS, out));
	other.type = 1;
	cr_assert_not(
		wm_ready_read(&other, &kept.head, &kept.seal, kept.octets, WM_READY_OCTETS, out));
	for (size_t i = 0; i < sizeof(kept.head); i++) {
		head[i] ^= 1;
		cr_assert_not(wm_ready_read(&key, &kept.head, &kept.seal, kept.octets,
					    WM_READY_OCTETS, out),
			      "octet %zu of the head", i);
		head[i] ^= 1;
	}
	for (size_t i = 0; i < 75; i++) {
		kept.octets[i] ^= 1;
		cr_assert_not(wm_ready_read(&key, &kept.head, &kept.seal, kept.octets,
					    WM_READY_OCTETS, out),
			      "octet %zu", i);
		kept.octets[i] ^= 1;
	}
	m = made(WM_READY_SMALL_OCTETS + 1);
	cr_assert_eq(wm_ready_keep(l, &m), 0);
	cr_assert_not(wm_ready_shrink(&kept, &s));
	done(l);
}

/* --- what has changed is made anew ---------------------------------------------------------------
 */
static struct wm_ready_level *again;

static bool keep_one(struct wm_ready_level *l, uint8_t letter)
{
	struct wm_ready_made m = made(20);

	msg[WM_DNS_HEADER_LEN + 1] = letter;
	m.source[1] = (uint16_t)(1000 + letter);
	return !wm_ready_keep(l, &m);
}

/* As it was, with another sum. */
static bool make_again(const uint8_t *name, uint16_t len, uint16_t type)
{
	cr_assert_eq(len, NAME_LEN);
	cr_assert_eq(type, 16);
	return keep_one(again, name[1]);
}

/* Let the looks pass that come by themselves. */
static void looks(void)
{
	for (unsigned i = 0; i < 40; i++)
		cr_assert_eq(wm_loop_turn(loop, 10), 0);
}

Test(dns_ready, what_has_changed_is_made_anew)
{
	struct wm_ready_level *l = again = level();

	remaker = make_again;
	for (unsigned i = 0; i < 2 * MAX; i++)
		cr_assert(keep_one(l, (uint8_t)(1 + i)));
	looks();
	cr_assert_eq(remade_count, 0, "nothing has changed");
	wm_ready_changed(l, 1000 + 50); /* it made room for others */
	wm_ready_changed(l, 1000 + 150);
	while (!wm_ready_counters(l)[WM_READY_C_REMADE])
		cr_assert_eq(wm_loop_turn(loop, 10), 0);
	looks();
	cr_assert_eq(remade_count, 1);
	cr_assert_eq(kept.name[1], 150);
	wm_ready_changed(l, WM_READY_ALL);
	while (wm_ready_counters(l)[WM_READY_C_REMADE] < 1 + MAX)
		cr_assert_eq(wm_loop_turn(loop, 10), 0);
	looks();
	cr_assert_eq(remade_count, 1 + MAX, "each once");
	done(l);
}

Test(dns_ready, what_is_nothing_any_more_is_forgotten)
{
	struct wm_ready_level *l = level();

	cr_assert(keep_one(l, 'a') && keep_one(l, 'b'));
	wm_ready_changed(l, 1000 + 'a');
	while (!remade_count)
		cr_assert_eq(wm_loop_turn(loop, 10), 0);
	wm_ready_changed(l, 1000 + 'a');
	looks();
	cr_assert_eq(remade_count, 1);
	cr_assert_eq(wm_ready_counters(l)[WM_READY_C_REMADE], 0);
	done(l);
}

Test(dns_ready, what_is_foreseen_outlasts_any_number_of_names)
{
	struct wm_ready_level *l = again = level_foreseeing(MAX);

	remaker = make_again;
	wm_ready_foresee(l, (const uint8_t *)NAME, NAME_LEN, 16);
	while (!remade_count)
		cr_assert_eq(wm_loop_turn(loop, 10), 0);
	for (unsigned i = 0; i < 2 * MAX; i++)
		cr_assert(i == 'f' || keep_one(l, (uint8_t)i));
	looks();
	cr_assert_eq(remade_count, 1);
	wm_ready_changed(l, 1000 + 'f');
	while (remade_count < 2)
		cr_assert_eq(wm_loop_turn(loop, 10), 0);
	looks();
	cr_assert_eq(remade_count, 2);
	cr_assert_eq(kept.name[1], 'f');
	done(l);
}

/* Is the name counted, at both of its places? */
static bool is_there(const char *wire, size_t len)
{
	uint8_t name[WM_NAME_BUF] = {0};
	struct wm_name_key k;

	memcpy(name, wire, len);
	wm_name_hash(seed, name, (uint32_t)len, &k);
	return words[wm_there_at(&k, 0)] && words[wm_there_at(&k, 1)];
}

Test(dns_ready, names_that_are_there_are_counted)
{
	struct wm_ready_level *l = level();

	cr_assert_not(is_there(NAME, NAME_LEN));
	wm_ready_there(l, (const uint8_t *)NAME, NAME_LEN, true);
	wm_ready_there(l, (const uint8_t *)NAME, NAME_LEN, true);
	cr_assert(is_there(NAME, NAME_LEN));
	cr_assert(is_there("\3FAR\4Node", NAME_LEN));
	cr_assert_not(is_there("\3fat\4node", NAME_LEN));
	wm_ready_there(l, (const uint8_t *)NAME, NAME_LEN, false);
	cr_assert(is_there(NAME, NAME_LEN), "it was told twice");
	wm_ready_there(l, (const uint8_t *)NAME, NAME_LEN, false);
	for (unsigned i = WM_THERE_FIRST; i < WM_READY_ENTRIES; i++)
		cr_assert_eq(words[i], 0);
	cr_assert_eq(words[WM_THERE_NODES] | words[WM_THERE_CLUSTER], 0);
	wm_ready_whole(l, WM_THERE_NODES, true);
	cr_assert_eq(words[WM_THERE_NODES], 1);
	cr_assert_eq(words[WM_THERE_CLUSTER], 0);
	wm_ready_whole(l, WM_THERE_NODES, false);
	cr_assert_eq(words[WM_THERE_NODES], 0);
	wm_ready_there(NULL, (const uint8_t *)NAME, NAME_LEN, true);
	wm_ready_whole(NULL, WM_THERE_NODES, true);
	done(l);
}
