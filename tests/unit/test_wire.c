/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
/* The headers that kernel and userspace share, on the host. */
#include "tests/unit/chi_square.h"
#include "userspace/base/macros.h"
#include "userspace/base/random.h"
#include "waymark/checksum.h"
#include "waymark/choose.h"
#include "waymark/dns_answer.h"
#include "waymark/name_hash.h"

#include <criterion/criterion.h>
#include <string.h>

Test(fold, only_capitals_change)
{
	for (unsigned c = 0; c < 256; c++) {
		uint64_t w = c * 0x0101010101010101ull;
		uint64_t expected = (c >= 'A' && c <= 'Z' ? c + 32 : c) * 0x0101010101010101ull;

		cr_assert_eq(wm_fold8(w), expected, "%u", c);
	}
}

Test(name_hash, case_is_nothing_and_everything_else_counts)
{
	static const __u64 seed[2] = {1, 2}, other[2] = {1, 3};
	__u8 name[WM_NAME_BUF] = "\3wEb\7service\4mesh\10internal";
	struct wm_name_key a, b;
	unsigned len = 27;

	wm_name_hash(seed, name, len, &a);
	for (unsigned i = 0; i < len; i++) {
		uint8_t was = name[i];

		if (was >= 'a' && was <= 'z') {
			name[i] = (uint8_t)(was - 32);
			wm_name_hash(seed, name, len, &b);
			cr_assert_eq(memcmp(&a, &b, sizeof(a)), 0);
		}
		name[i] = (uint8_t)(was ^ 1);
		wm_name_hash(seed, name, len, &b);
		cr_assert_neq(memcmp(&a, &b, sizeof(a)), 0, "octet %u", i);
		name[i] = was;
	}
	wm_name_hash(other, name, len, &b);
	cr_assert_neq(memcmp(&a, &b, sizeof(a)), 0, "the seed counts");
	wm_name_hash(seed, name, len + 1, &b);
	cr_assert_neq(memcmp(&a, &b, sizeof(a)), 0, "the length counts");
	name[len + 3] = 'x'; /* what lies behind does not */
	wm_name_hash(seed, name, len, &b);
	cr_assert_eq(memcmp(&a, &b, sizeof(a)), 0);
}

Test(name_hash, spreads)
{
	static const __u64 seed[2] = {0x1234, 0x5678};
	static uint8_t seen[1 << 16];
	unsigned twice = 0;

	for (unsigned i = 0; i < 8192; i++) {
		__u8 name[WM_NAME_BUF] = {6};
		struct wm_name_key k;

		for (unsigned d = 0, v = i; d < 6; d++, v /= 10)
			name[1 + d] = (uint8_t)('0' + v % 10);
		wm_name_hash(seed, name, 8, &k);
		twice += seen[k.hash[0] & 0xffff]++ != 0;
	}
	/* 8192 into 65536: 492 expected, 22 the deviation */
	cr_assert_lt(twice, 492 + 6 * 22);
}

Test(dns_name, lengths)
{
	uint8_t longest[300];

	cr_assert_eq(wm_dns_name_len((const uint8_t *)"\0", 1), 1);
	cr_assert_eq(wm_dns_name_len((const uint8_t *)"\1a\0", 3), 3);
	cr_assert_eq(wm_dns_name_len((const uint8_t *)"\1a\0", 2), 0);
	cr_assert_eq(wm_dns_name_len((const uint8_t *)"\1a", 2), 0);
	cr_assert_eq(wm_dns_name_len((const uint8_t *)"\300\14", 2), 0);
	cr_assert_eq(wm_dns_name_len((const uint8_t *)"\100", 1), 0);
	for (unsigned i = 0; i < sizeof(longest); i++)
		longest[i] = i % 2 ? 'a' : 1;
	longest[254] = 0;
	cr_assert_eq(wm_dns_name_len(longest, sizeof(longest)), 255);
	longest[254] = 1;
	longest[256] = 0;
	cr_assert_eq(wm_dns_name_len(longest, sizeof(longest)), 0, "256 octets");
}

/* --- picking ---------------------------------------------------------------------------------- */
static struct wm_set set;
static struct wm_table_head head;
static struct wm_slot slots[8];
static struct wm_backend backends[8];
static const struct wm_view view = {.sets = &set,
				    .heads = &head,
				    .slots = slots,
				    .backends = backends,
				    .sets_cap = 1,
				    .heads_cap = 1,
				    .slots_cap = 8,
				    .backends_cap = 8};

static void published(unsigned n)
{
	head = (struct wm_table_head){.generation = 5, .tiers = 1, .end = {n}};
	set.table = (struct wm_set_table){.head = 0, .generation = 5};
}

static void one(unsigned i, uint32_t state, uint16_t families)
{
	slots[i] = (struct wm_slot){
		.backend = i, .alias = i, .keep = ~0u, .stamp = 7, .alias_stamp = 7};
	backends[i] = (struct wm_backend){
		.state = state | 7u << 16, .families = families, .addr4_be = i + 1};
	backends[i].addr6_be[3] = i + 1;
	published(i + 1);
}

static __u32 random32(void *arg)
{
	(void)arg;
	return (__u32)wm_random64();
}

static enum wm_pick choose(__u32 families, __u32 prefer6, struct wm_choice *ret)
{
	struct wm_ask a = {.families = families, .prefer6 = prefer6};

	return wm_choose(&view, 0, &a, random32, NULL, ret);
}

Test(pick, families)
{
	struct wm_choice c;

	one(0, WM_STATE_UP, WM_FAMILY_4 | WM_FAMILY_6);
	cr_assert_eq(choose(WM_FAMILY_4 | WM_FAMILY_6, 1, &c), 0);
	cr_assert_eq(c.family, WM_FAMILY_6);
	cr_assert_eq(choose(WM_FAMILY_4 | WM_FAMILY_6, 0, &c), 0);
	cr_assert_eq(c.family, WM_FAMILY_4);
	cr_assert_eq(c.addr_be[2], WM_V4_MAPPED_BE);
	one(0, WM_STATE_UP, WM_FAMILY_6);
	cr_assert_eq(choose(WM_FAMILY_4, 0, &c), WM_PICK_NONE);
	cr_assert_eq(choose(WM_FAMILY_6 | WM_FAMILY_4, 0, &c), 0);
	cr_assert_eq(c.family, WM_FAMILY_6);
}

Test(pick, states_and_generations)
{
	struct wm_choice c;

	for (uint32_t state = 0; state < 5; state++) {
		one(0, state, WM_FAMILY_4);
		cr_assert_eq(choose(WM_FAMILY_4, 0, &c),
			     state == WM_STATE_UP ? WM_PICKED : WM_PICK_NONE);
	}
	one(0, WM_STATE_UP, WM_FAMILY_4);
	head.generation = 4;
	cr_assert_eq(choose(WM_FAMILY_4, 0, &c), WM_PICK_TORN);
	head.generation = 5;
	head.first = 9;
	cr_assert_eq(choose(WM_FAMILY_4, 0, &c), WM_PICK_TORN);
	head.end[0] = 0;
	cr_assert_eq(choose(WM_FAMILY_4, 0, &c), WM_PICK_NONE);
	set.table.generation = 0;
	cr_assert_eq(choose(WM_FAMILY_4, 0, &c), WM_PICK_NONE);
	slots[0].backend = slots[0].alias = 77; /* out of the table */
	published(1);
	cr_assert_eq(choose(WM_FAMILY_4, 0, &c), WM_PICK_NONE);
}

Test(pick, the_last_one_standing_is_found)
{
	struct wm_choice c;

	for (unsigned i = 0; i < 8; i++)
		one(i, i == 6 ? WM_STATE_UP : WM_STATE_DOWN, WM_FAMILY_4);
	for (unsigned n = 0; n < 1000; n++) {
		cr_assert_eq(choose(WM_FAMILY_4, 0, &c), WM_PICKED);
		cr_assert_eq(c.backend, 6);
	}
}

static __u8 out[WM_DNS_GATHER_MAX * WM_DNS_RR_AAAA] __attribute__((aligned(8)));
static bool more;

static int addresses(const struct wm_view *v, const struct wm_name *name, uint16_t type,
		     uint32_t fits, uint32_t limit, __u32 *len)
{
	struct wm_dns_want q = {
		.type = type, .ttl_s = 60, .fits = fits, .limit = limit, .random = wm_random64()};

	return wm_dns_addresses(v, name, &q, out, len, &more);
}

/* Neighbours of who is down do not get its share, nor does the order of slots matter: by weight
 * among the usable, by draws or by the scan behind them. */
Test(pick, even_among_the_usable)
{
	static const unsigned weights[8] = {[2] = 1, [3] = 9, [6] = 30};
	unsigned seen[8] = {0};
	struct wm_choice c;

	for (unsigned i = 0; i < 8; i++) {
		one(i, weights[i] ? WM_STATE_UP : WM_STATE_DOWN, WM_FAMILY_4);
		backends[i].weight = (uint16_t)(weights[i] ? weights[i] : 1);
		/* no draw finds one: the scan alone decides */
		slots[i].keep = 0;
		slots[i].alias = 0;
	}
	for (unsigned n = 0; n < 20000; n++) {
		cr_assert_eq(choose(WM_FAMILY_4, 0, &c), WM_PICKED);
		seen[c.backend]++;
	}
	chi_square("scan", seen, weights, 8);
}

Test(answer, records)
{
	struct wm_name name = {.kind = WM_NAME_SERVICE};
	__u32 len;

	for (unsigned i = 0; i < 8; i++)
		one(i, i % 2 ? WM_STATE_UP : WM_STATE_DOWN, WM_FAMILY_4);
	cr_assert_eq(addresses(&view, &name, WM_DNS_A, 8, 0, &len), 4);
	cr_assert_eq(len, 4 * WM_DNS_RR_A);
	cr_assert_eq(memcmp(out, "\300\14\0\1\0\1\0\0\0\74\0\4", 12), 0);
	cr_assert_eq(addresses(&view, &name, WM_DNS_A, 3, 0, &len), 3);
	cr_assert(more, "the fourth did not fit");
	cr_assert_eq(addresses(&view, &name, WM_DNS_A, 8, 3, &len), 3);
	cr_assert_not(more, "three were wanted");
	cr_assert_eq(addresses(&view, &name, WM_DNS_AAAA, 8, 0, &len), 0);
	set.table.generation++;
	cr_assert_eq(addresses(&view, &name, WM_DNS_A, 8, 0, &len), -1);
	name.kind = WM_NAME_VIRTUAL;
	cr_assert_eq(addresses(&view, &name, WM_DNS_A, 8, 0, &len), 0);
	name.vip4_be = 1;
	cr_assert_eq(addresses(&view, &name, WM_DNS_A, 8, 0, &len), 1);
	cr_assert_eq(len, WM_DNS_RR_A);
}

/* --- the same address more than once ---------------------------------------------------------- */
#define MANY 600

static struct wm_slot many_slots[MANY];
static struct wm_backend many_backends[MANY];
static const struct wm_view many = {.sets = &set,
				    .heads = &head,
				    .slots = many_slots,
				    .backends = many_backends,
				    .sets_cap = 1,
				    .heads_cap = 1,
				    .slots_cap = MANY,
				    .backends_cap = MANY};

static bool record_of(uint32_t n, uint16_t type, uint32_t number)
{
	uint32_t len = type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA, got;

	memcpy(&got, out + n * len + len - 4, sizeof(got));
	return got == number;
}

/* Short answers and long ones, by two ways, against counting. */
static void each_address_once(uint32_t n, uint32_t kinds, uint16_t type, uint32_t max)
{
	struct wm_name name = {.kind = WM_NAME_SERVICE};
	uint32_t seen = 0, times, len;
	int got;

	for (uint32_t i = 0; i < n; i++) {
		many_slots[i] = (struct wm_slot){.backend = i, .alias = i, .keep = ~0u};
		many_backends[i] = (struct wm_backend){.state = WM_STATE_UP,
						       .families = WM_FAMILY_4 | WM_FAMILY_6,
						       .addr4_be = i % kinds + 1};
		/* the first three words agree: all of an address has to be compared */
		many_backends[i].addr6_be[0] = 0xfd;
		many_backends[i].addr6_be[3] = i % kinds + 1;
	}
	published(n);
	got = addresses(&many, &name, type, max, 0, &len);
	cr_assert_eq(got, (int)(kinds < max ? kinds : max), "%u of %u, at most %u: %d", kinds, n,
		     max, got);
	cr_assert_eq(more, kinds > max);
	cr_assert_eq(len, (uint32_t)got * (type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA));
	for (uint32_t k = 1; k <= kinds; k++) {
		times = 0;
		for (int i = 0; i < got; i++)
			times += record_of((uint32_t)i, type, k);
		cr_assert_leq(times, 1);
		seen += times;
	}
	cr_assert_eq(seen, (uint32_t)got);
}

Test(answer, each_address_once)
{
	static const uint32_t kinds[] = {1, 2, 7, 8, 9, 60, MANY};
	static const uint32_t maxima[] = {1, 7, 8, 9, 100, MANY};

	for (unsigned k = 0; k < WM_ARRAY_LEN(kinds); k++)
		for (unsigned m = 0; m < WM_ARRAY_LEN(maxima); m++) {
			each_address_once(MANY, kinds[k], WM_DNS_A, maxima[m]);
			each_address_once(MANY, kinds[k], WM_DNS_AAAA, maxima[m]);
			each_address_once(kinds[k], kinds[k], WM_DNS_A, maxima[m]);
		}
}

/* --- the checksum's arithmetic ------------------------------------------------------------------
 */
static uint16_t slow_sum(const uint16_t *w, unsigned n)
{
	uint32_t sum = 0;

	for (unsigned i = 0; i < n; i++) {
		sum += w[i];
		sum = sum > 0xffff ? sum - 0xffff : sum;
	}
	return (uint16_t)sum;
}

/* 0 and 0xffff are the same number in this arithmetic. */
static bool same_sum(uint16_t a, uint16_t b)
{
	return a == b || (a == 0 && b == 0xffff) || (a == 0xffff && b == 0);
}

Test(checksum, folding)
{
	cr_assert_eq(wm_csum_fold(0), 0);
	cr_assert_eq(wm_csum_fold(0xffff), 0xffff);
	cr_assert_eq(wm_csum_fold(0x10000), 1);
	cr_assert_eq(wm_csum_fold(~0ull), 0xffff);
	for (unsigned n = 0; n < 100000; n++) {
		uint64_t sum = wm_random64() >> n % 64;
		uint16_t w[4] = {(uint16_t)sum, (uint16_t)(sum >> 16), (uint16_t)(sum >> 32),
				 (uint16_t)(sum >> 48)};

		cr_assert(same_sum(wm_csum_fold(sum), slow_sum(w, 4)), "%llx",
			  (unsigned long long)sum);
	}
}

Test(checksum, replacing_a_word_is_as_good_as_summing_again)
{
	for (unsigned n = 0; n < 100000; n++) {
		uint64_t r = wm_random64();
		/* among the words are the ends of the range, often */
		uint16_t w[4] = {n % 3 ? (uint16_t)r : 0xffff, n % 5 ? (uint16_t)(r >> 16) : 0,
				 (uint16_t)(r >> 32), n % 7 ? (uint16_t)(r >> 48) : 0xffff};
		uint16_t check = (uint16_t)~slow_sum(w, 4), was = w[0];

		w[0] = n % 11 ? (uint16_t)wm_random64() : (uint16_t)(n % 2 ? 0xffff : 0);
		check = wm_csum_replace(check, was, w[0]);
		cr_assert(same_sum((uint16_t)~check, slow_sum(w, 4)));
	}
}
