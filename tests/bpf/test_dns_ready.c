/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* Answers that userspace made, as the kernel gives them again: until what they are made of changes.
 */
#include "dns_fixture.h"

#define NAME "printer.corp.example"

TestSuite(dns_ready, .init = dns_setup, .fini = dns_teardown, .timeout = 300);

/* An entry for the question of @p q: records of @p len octets, and the words of @p sources. */
static struct wm_ready entry(const struct frame *q, unsigned len, const uint16_t sources[4])
{
	const uint64_t *words = wm_plane_ready_words(plane);
	struct wm_ready e = {.head = {.len = (uint16_t)len, .answers = 1}};
	struct wm_dns_query query;

	cr_assert(words);
	cr_assert_eq(wm_dns_parse(q->at + q->dns, (uint32_t)(q->len - q->dns), &query), WM_DNS_OK);
	e.head.name_len = query.name_len;
	memcpy(e.name, q->at + q->dns + WM_DNS_HEADER_LEN, query.name_len);
	for (unsigned i = 0; i < 4; i++) {
		e.head.source[i] = sources[i];
		e.head.sum += words[sources[i]];
	}
	for (unsigned i = 0; i < len; i++)
		e.octets[i] = (uint8_t)(i + 1);
	return e;
}

static const uint16_t constant[4];

static void keep(const struct frame *q, unsigned len, uint16_t type)
{
	struct wm_ready e = entry(q, len, constant);

	cr_assert_eq(wm_plane_ready_put(plane, &e, type), 0);
}

/* The octets of entry() behind question, in an answer with the flags of ours. */
static void is_given(const struct frame *q, const struct frame *a, unsigned len)
{
	size_t question = WM_DNS_HEADER_LEN + strlen(NAME) + 2 + 4;
	size_t opt = q->at[q->dns + 11] ? WM_DNS_OPT_LEN : 0;
	const uint8_t *got = a->at + a->dns;

	cr_assert_eq(a->len - a->dns, question + len + opt);
	cr_assert_eq(memcmp(got + WM_DNS_HEADER_LEN, q->at + q->dns + WM_DNS_HEADER_LEN,
			    question - WM_DNS_HEADER_LEN),
		     0, "the question as it was asked");
	cr_assert_eq(got[2], 0x85, "QR, AA, RD");
	cr_assert_eq(got[3], 0);
	cr_assert_eq(got[7], 1);
	cr_assert_eq(got[11], opt != 0);
	for (unsigned i = 0; i < len; i++)
		cr_assert_eq(got[question + i], (uint8_t)(i + 1));
}

Test(dns_ready, small_and_large_ones_of_both_families)
{
	static const unsigned lens[] = {13, 17, WM_READY_SMALL_OCTETS, WM_READY_SMALL_OCTETS + 1,
					1175};
	struct frame none, same;

	query_frame(&none, false, NAME, 16, 0);
	cr_assert_not(answered(&none, &same), "nobody has said it");
	for (unsigned i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		for (unsigned v6 = 0; v6 < 2; v6++) {
			struct frame q, a;

			query_frame(&q, v6, NAME, 16, lens[i] > 400 ? 1232 : 0);
			keep(&q, lens[i], 16);
			query_frame(&q, v6, "PRINTER.corp.EXAMPLE", 16, lens[i] > 400 ? 1232 : 0);
			cr_assert(answered(&q, &a), "%u octets", lens[i]);
			is_given(&q, &a, lens[i]);
			check_envelope(&q, &a, q.v6);
			cr_assert_eq(run(WM_PROG_DNS_VETH, &q, &a), (uint32_t)TC_ACT_REDIRECT);
			is_given(&q, &a, lens[i]);
			check_envelope(&q, &a, true);
		}
	}
	cr_assert_eq(counter(WM_C_DNS_READY), 20);
}

static bool passes(const char *name, uint16_t type, unsigned edns)
{
	struct frame q, a;

	query_frame(&q, false, name, type, edns);
	return !answered(&q, &a);
}

Test(dns_ready, each_source_ends_it)
{
	static const uint16_t sources[4] = {0, 7, 65535, 1};
	uint64_t *words = wm_plane_ready_words(plane);
	struct wm_ready e;
	struct frame q;

	query_frame(&q, false, NAME, 1, 0);
	for (unsigned large = 0; large < 2; large++) {
		for (unsigned i = 0; i < 4; i++) {
			e = entry(&q, large ? 300 : 30, sources);
			cr_assert_eq(wm_plane_ready_put(plane, &e, 1), 0);
			cr_assert_not(passes(NAME, 1, 0));
			words[2]++;
			cr_assert_not(passes(NAME, 1, 0), "nothing of it");
			words[sources[i]]++;
			cr_assert(passes(NAME, 1, 0));
		}
	}
}

Test(dns_ready, another_question_is_passed)
{
	struct frame q;

	query_frame(&q, false, NAME, 1, 0);
	keep(&q, 30, 1);
	cr_assert_not(passes(NAME, 1, 0));
	cr_assert(passes(NAME, 28, 0), "of another type");
	cr_assert(passes("printers.corp.example", 1, 0), "of another name");
	cr_assert_eq(counter(WM_C_DNS_PASS_UNKNOWN), 2);
}

Test(dns_ready, what_the_client_does_not_take_is_passed)
{
	const unsigned room = 512 - WM_DNS_HEADER_LEN - (sizeof(NAME) + 1) - 4;
	struct frame q;

	query_frame(&q, false, NAME, 1, 0);
	keep(&q, room, 1);
	cr_assert_not(passes(NAME, 1, 0));
	cr_assert(passes(NAME, 1, 512), "an OPT needs its place");
	keep(&q, room + 1, 1);
	cr_assert(passes(NAME, 1, 0));
	cr_assert_not(passes(NAME, 1, 1232));
	cr_assert_eq(counter(WM_C_DNS_PASS_SIZE), 2);
}

/* The kernel gives an entry's memory to another while a program may read it. */
Test(dns_ready, an_entry_that_is_half_another_is_passed)
{
	struct bpf_object *o = plane->objects[WM_OBJECT_DNS];
	int fd = bpf_object__find_map_fd_by_name(o, "dns_ready_small");
	struct wm_ready_small e;
	struct wm_ready_key key;
	uint8_t *octets[] = {&e.octets[29], &e.name[3], (uint8_t *)&e.head.answers};
	struct frame q;

	query_frame(&q, false, NAME, 1, 0);
	keep(&q, 30, 1);
	cr_assert_eq(bpf_map_get_next_key(fd, NULL, &key), 0);
	cr_assert_eq(bpf_map_lookup_elem(fd, &key, &e), 0);
	for (unsigned i = 0; i < 3; i++) {
		*octets[i] ^= 2;
		cr_assert_eq(bpf_map_update_elem(fd, &key, &e, BPF_ANY), 0);
		cr_assert(passes(NAME, 1, 0), "%u", i);
		*octets[i] ^= 2;
	}
	cr_assert_eq(bpf_map_update_elem(fd, &key, &e, BPF_ANY), 0);
	cr_assert_not(passes(NAME, 1, 0));
}

/* More than there is room for: none is refused, the last ones are there. */
Test(dns_ready, the_oldest_make_room)
{
	unsigned there = 0;

	for (unsigned i = 0; i < 1000; i++) {
		struct wm_ready e;
		char name[32];
		struct frame q;

		snprintf(name, sizeof(name), "p%u.corp.example", i);
		query_frame(&q, false, name, 1, 0);
		e = entry(&q, 30, constant);
		cr_assert_eq(wm_plane_ready_put(plane, &e, 1), 0);
		cr_assert_not(passes(name, 1, 0), "%s", name);
	}
	for (unsigned i = 0; i < 1000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "p%u.corp.example", i);
		there += !passes(name, 1, 0);
	}
	cr_assert(there > 0 && there <= 256, "%u", there);
}

/* Octets of the values of map @p fd: less than this no kernel charges. */
static uint64_t values_of(int fd)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);

	cr_assert_eq(bpf_obj_get_info_by_fd(fd, &info, &len), 0);
	return (uint64_t)info.max_entries * info.value_size;
}

/* kernel.memory_max is for what is kept, too. A kernel that does not say what it charges (before
 * 6.4) charges at least the values, and these are most of it. */
Test(dns_ready, memory_is_computed_as_the_kernel_charges)
{
	static const char *const names[] = {"dns_answers", "dns_ready_small", "dns_ready_large",
					    "dns_ready_words"};
	struct wm_plane_config c = plane->c;
	uint64_t sum = wm_plane_kept_memory(&c), charged = 0, values = 0, off;
	unsigned told = 0, maps = sizeof(names) / sizeof(*names);
	struct wm_err e = {0};
	struct wm_plane *none = NULL;

	for (size_t i = 0; i < maps; i++) {
		int fd = bpf_object__find_map_fd_by_name(plane->objects[WM_OBJECT_DNS], names[i]);
		uint64_t bytes;

		cr_assert_geq(fd, 0, "%s", names[i]);
		bytes = wm_map_charged(fd);
		told += bytes != 0;
		charged += bytes;
		values += values_of(fd);
	}
	cr_assert(told == 0 || told == maps, "%u of %u", told, maps);
	off = sum > charged ? sum - charged : charged - sum;
	cr_assert(!told || off * 100 <= charged * 15, "computed %llu, charged %llu",
		  (unsigned long long)sum, (unsigned long long)charged);
	cr_assert(sum > values && sum * 100 < values * 150, "computed %llu, values %llu",
		  (unsigned long long)sum, (unsigned long long)values);
	c.hot_answers = c.ready_answers = 0;
	cr_assert_eq(wm_plane_kept_memory(&c), 0);
	c.memory_max = wm_plane_memory(&c, NULL, NULL);
	c.ready_answers = 1;
	cr_assert_eq(wm_plane_open(&c, &none, NULL, &e), WM_E_BUDGET);
	cr_assert(strstr(e.text, "dns.kernel_ready"), "%s", e.text);
}
