/* SPDX-License-Identifier: Apache-2.0 */
/* links: base metadata resolution dataplane net model store registry */
/* What the verifier has to walk through, against tests/bpf/insns.budget: a program that grows by
 * more than a tenth unnoticed will one day not load on somebody's kernel. How much it may be at
 * most, on every kernel: test_insns_most. */
#include "plane_fixture.h"

#include <sys/utsname.h>

#define BUDGET "tests/bpf/insns.budget"
#define ROOM   10 /* percent over the budget that are allowed */

static const char *const veth_only[] = {"none0", NULL};

Test(plane, verified_instructions_stay_within_the_budget)
{
	struct wm_plane_config c = small();
	char line[128], name[32];
	unsigned budget, checked = 0;
	struct utsname u;
	struct wm_plane *p;
	FILE *f = fopen(BUDGET, "re");

	cr_assert(f, "%s is missing: run from the top of the tree", BUDGET);
	uname(&u);
	c.veth_devices = c.link_devices = veth_only;
	c.observe = c.passive = true;
	c.hot_answers = c.ready_answers = 1;
	p = open_ok(&c, false);
	attach_ok(p, CONNECT_HOOKS + TRACE_HOOKS + 1);
	while (fgets(line, sizeof(line), f)) {
		const struct wm_prog *prog = NULL;

		if (*line == '#' || sscanf(line, "%31s %u", name, &budget) != 2)
			continue;
		for (unsigned i = 0; i < WM_PROG_COUNT; i++)
			if (strcmp(wm_prog_name(i), name) == 0)
				prog = &p->progs[i];
		cr_assert(prog, "%s: no such program", name);
		checked++;
		if (kernel_refuses(name)) {
			cr_assert(prog->refused, "%s: the refusal is kept", name);
			continue;
		}
		cr_assert(prog->verified_insns, "%s was not loaded: %s", name, prog->text);
		cr_assert_leq(prog->verified_insns, budget + budget * ROOM / 100,
			      "%s: %u instructions on %s, the budget is %u. If it is worth it, "
			      "write the new figure into %s and say why in the commit",
			      name, prog->verified_insns, u.release, budget, BUDGET);
	}
	fclose(f);
	cr_assert_eq(checked, WM_PROG_COUNT);
	wm_plane_close(p);
}
