/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* Who stands first in an answer, over 20,000 questions for each way that userspace takes: by weight
 * among those that are usable, whoever else is down. The kernel's way: tests/bpf/test_dns_prog.c.
 */
#include "tests/unit/chi_square.h"
#include "tests/unit/dns_help.h"

#define QUESTIONS 20000
#define A	  1
#define AAAA	  28
#define SRV	  33

TestSuite(even, .init = dns_setup, .fini = dns_teardown, .timeout = 600);

/* An instance that passes has a weight; one that warns may have none. */
static void weighed(const char *name, unsigned i, unsigned weight, bool up)
{
	static const char *const tags[] = {"t"};
	struct wm_check_draft check = {.kind = WM_CHECK_TTL,
				       .ttl_ms = 60000,
				       .status = !up	  ? WM_CRITICAL
						 : weight ? WM_PASSING
							  : WM_WARNING,
				       .has_status = true};
	char id[16], address[32];
	struct wm_instance_draft d = {.id = id,
				      .name = name,
				      .address = address,
				      .port = 1000 + i,
				      .tags = tags,
				      .tags_count = 1,
				      .checks = &check,
				      .checks_count = 1,
				      .has_weights = true,
				      .weight_passing = weight ? weight : 1,
				      .weight_warning = weight};
	struct wm_err e = {0};

	snprintf(id, sizeof(id), "%s%u", name, i);
	snprintf(address, sizeof(address), "10.1.%u.%u", i / 200, i % 200 + 1);
	cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, &e), 0, "%s", e.text);
}

static unsigned first_of(const char *name, uint16_t type, bool tcp)
{
	const struct record *r = &answer.r[0];
	unsigned a, b, port;

	ask_raw(build(name, type, 1232), tcp);
	cr_assert_gt(answer.counts[1], 0);
	if (type == SRV) {
		cr_assert_eq(sscanf(r->text, "%*u %*u %u", &port), 1);
		return port - 1000;
	}
	cr_assert_eq(sscanf(r->text, "10.1.%u.%u", &a, &b), 2);
	return a * 200 + b - 1;
}

static void even(const char *name, uint16_t type, bool tcp, const unsigned *weights, unsigned n)
{
	unsigned seen[1000] = {0}, i;

	for (unsigned q = 0; q < QUESTIONS; q++) {
		i = first_of(name, type, tcp);
		cr_assert_lt(i, n);
		seen[i]++;
	}
	chi_square(name, seen, weights, n);
}

static void every_way(const char *service, const unsigned *weights, unsigned n)
{
	char name[64];

	snprintf(name, sizeof(name), "%s.service.mesh.internal", service);
	even(name, A, false, weights, n);
	even(name, SRV, false, weights, n);
	snprintf(name, sizeof(name), "t.%s.service.mesh.internal", service);
	even(name, A, false, weights, n);
	even(name, SRV, false, weights, n);
}

/* Neighbours of who is down do not get its share. */
Test(even, eight_of_ten_are_down)
{
	static const unsigned weights[10] = {[3] = 1, [4] = 1};

	for (unsigned i = 0; i < 10; i++)
		weighed("web", i, 1, weights[i]);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	every_way("web", weights, 10);
	even("web.service.mesh.internal", A, true, weights, 10);
	/* the same where the service is in no table */
	wm_tables_del(tables, "web");
	even("web.service.mesh.internal", A, false, weights, 10);
}

Test(even, by_weight)
{
	static const unsigned weights[5] = {1, 9, 0, 5, 65};

	for (unsigned i = 0; i < 5; i++)
		weighed("web", i, weights[i], true);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	every_way("web", weights, 5);
	ask("t.web.service.mesh.internal", A);
	cr_assert_eq(have(1, NULL), 4, "no weight, no connections");
	ask("t.web.service.mesh.internal", SRV);
	cr_assert_eq(have(1, NULL), 5, "SRV says what the weight is");
}

/* Sets of which only a part is looked through, half of it down, and a heavy one. */
Test(even, large_sets)
{
	static unsigned weights[700];

	for (unsigned i = 0; i < 700; i++) {
		weights[i] = i < 350 && i % 7 ? 0 : i == 699 ? 100 : 1;
		weighed("web", i, weights[i] ? weights[i] : 1, weights[i]);
	}
	published("web", 700);
	even("web.service.mesh.internal", A, false, weights, 700);
}

/* Whoever is second when the first is tried in vain: evenly any other. */
Test(even, the_others_are_shuffled)
{
	static const unsigned weights[6] = {0, 1, 1, 1, 1, 1};
	unsigned seen[6] = {0}, a, b;

	for (unsigned i = 0; i < 6; i++)
		weighed("web", i, 1, true);
	cr_assert_eq(wm_loop_turn(loop, 0), 0);
	for (unsigned q = 0; q < QUESTIONS; q++) {
		if (first_of("web.service.mesh.internal", A, false) != 0)
			continue;
		cr_assert_eq(sscanf(answer.r[1].text, "10.1.%u.%u", &a, &b), 2);
		seen[b - 1]++;
	}
	chi_square("second", seen, weights, 6);
}
