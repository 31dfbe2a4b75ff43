/* SPDX-License-Identifier: Apache-2.0 */
/* links: base metadata resolution dataplane net model store registry */
/* What the verifier has to walk through, on whatever kernel this is (tests/kernels: 6.1 and 6.12 as
 * well): some count the same program dearer than the one that tests/bpf/insns.budget is of. */
#include "plane_fixture.h"

/* Of one program: a fortieth of the million that a kernel walks through at all. */
#define MOST 25000

static const char *const veth_only[] = {"none0", NULL};

Test(plane, no_program_is_dear_to_verify)
{
	struct wm_plane_config c = small();
	unsigned loaded = 0;
	struct wm_plane *p;

	c.veth_devices = c.link_devices = veth_only;
	c.observe = c.passive = true;
	c.hot_answers = c.ready_answers = 1;
	p = open_ok(&c, false);
	for (unsigned i = 0; i < WM_PROG_COUNT; i++) {
		const struct wm_prog *prog = &p->progs[i];

		fprintf(stderr, "%s: %u instructions%s%s\n", wm_prog_name(i), prog->verified_insns,
			prog->refused ? ", refused: " : "", prog->refused ? prog->text : "");
	}
	for (unsigned i = 0; i < WM_PROG_COUNT; i++) {
		const struct wm_prog *prog = &p->progs[i];

		/* what this kernel lacks it lacks; too much for it nothing may be */
		cr_assert_neq(prog->refused, -E2BIG, "%s: %s", wm_prog_name(i), prog->text);
		cr_assert_lt(prog->verified_insns, MOST, "%s: %u instructions", wm_prog_name(i),
			     prog->verified_insns);
		loaded += prog->verified_insns != 0;
	}
	cr_assert_geq(loaded, WM_PROG_COUNT / 2, "%u programs were loaded", loaded);
	for (unsigned i = WM_PROG_CONNECT4; i <= WM_PROG_CONNECT6; i++)
		cr_assert(p->progs[i].verified_insns, "%s: %s", wm_prog_name(i), p->progs[i].text);
	cr_assert(p->progs[WM_PROG_DNS_LO].verified_insns, "%s", p->progs[WM_PROG_DNS_LO].text);
	wm_plane_close(p);
}
