/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* An operator's own way to choose, linked into what steers: tests/custom/. */
#include "../unit/chi_square.h"
#include "connect_fixture.h"
#include "userspace/dataplane/flows.h"
#include "userspace/dataplane/internal.h"
#include "waymark/policy.h"

#include <elf.h>
#include <sys/resource.h>
#include <sys/sendfile.h>

#define DIALS 200
#define MANY  50000

static struct wm_want_rule rule = {.head = {.balance = WM_BALANCE_CUSTOM, .tiers = 1},
				   .spread = {.way[0] = {.carries_pct = WM_TIERS_CARRY_PCT}}};
static char file[64];

/* kernel.custom has the example @p name now. */
static void write_custom(const char *name)
{
	char path[128];
	int from, to;

	snprintf(path, sizeof(path), "build/custom/%s.bpf.o", name);
	snprintf(file, sizeof(file), "/tmp/waymark-test-custom-%d.o", getpid());
	from = open(path, O_RDONLY | O_CLOEXEC);
	cr_assert(from >= 0, "%s: %s", path, strerror(errno));
	to = open(file, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	cr_assert(to >= 0);
	cr_assert_gt(sendfile(to, from, NULL, 1 << 20), 0);
	close(from);
	close(to);
}

/* The plane of the fixture gives way to one with the example @p name. */
static void begin(const char *name)
{
	struct wm_plane_config c = connect_config();

	write_custom(name);
	c.custom = file;
	wm_tables_free(tables);
	wm_plane_close(plane);
	plane = open_ok(&c, true);
	wm_plane_memory_of(plane, &mem);
	tables = wm_tables_new(&mem, wm_plane_ops(plane), "mesh.internal", NULL);
	attach_ok(plane, CONNECT_HOOKS);
	want.rule = &rule;
	for (unsigned i = 0; i < 5; i++)
		backend(i, "127.9.9.9", (uint16_t)(1000 + i), 1, WM_STATE_UP);
	publish();
}

static int replace(const char *name, struct wm_err *e)
{
	bool changed = false;
	int r;

	write_custom(name);
	r = wm_plane_custom_reload(plane, &changed, e);
	if (!r && changed)
		attach_ok(plane, CONNECT_HOOKS);
	return r ? r : changed;
}

static void end(void)
{
	unlink(file);
	connect_teardown();
}
TestSuite(custom, .init = connect_setup, .fini = end, .timeout = 300);

Test(custom, a_function_decides)
{
	begin("by_user");
	cr_assert_null(wm_plane_custom_refused(plane), "%s", wm_plane_custom_refused(plane));
	pick(DIALS);
	cr_assert_eq(picks(4), DIALS, "root: the last");
	cr_assert_eq(counter(WM_C_CONNECT_CUSTOM_NONE), 0);
	wants[4].state = WM_STATE_DOWN;
	publish();
	pick(DIALS);
	cr_assert_eq(picks(4), DIALS, "it is down: by weight");
	cr_assert_gt(picks(0), 0);
	cr_assert_geq(counter(WM_C_CONNECT_CUSTOM_NONE), DIALS);
}

Test(custom, a_function_reads_the_tables)
{
	begin("least_of_three");
	for (unsigned i = 0; i < 5; i++)
		mem.live[index_of(i)].open = i == 2 ? 0 : 100000;
	pick(1000);
	/* of three draws of five one is it in 61 of 125 */
	cr_assert(picks(2) > 380 && picks(2) < 600, "%u", (unsigned)picks(2));
	cr_assert_eq(counter(WM_C_CONNECT_CUSTOM_NONE), 0);
}

/* What tests/custom/least_of_three.bpf.c does with @p random, of backends whose @p open differs. */
static unsigned least_of_three(uint32_t random, const uint32_t *open)
{
	unsigned best = 5;

	for (unsigned i = 0; i < 3; i++, random = random * 2654435761u + 12345) {
		unsigned at = (unsigned)((double)random / 4294967296.0 * 5);

		if (best == 5 || open[at] < open[best])
			best = at;
	}
	return best;
}

Test(custom, a_function_s_shares_are_its_own)
{
	const uint32_t open[] = {300, 100, 0, 400, 200};
	unsigned seen[5], weights[5] = {0};
	uint32_t r = 0;

	begin("least_of_three");
	for (unsigned i = 0; i < 5; i++)
		mem.live[index_of(i)].open = open[i];
	do
		weights[least_of_three(r, open)]++;
	while ((r += 1021) > 1020); /* once through all numbers */
	pick(MANY);
	for (unsigned i = 0; i < 5; i++)
		seen[i] = (unsigned)picks(i);
	/* places are in the order of instances: 1 to 5 */
	chi_square("custom", seen, weights, 5);
	cr_assert_eq(counter(WM_C_CONNECT_CUSTOM_NONE), 0);
}

Test(custom, nonsense_is_left_to_the_weights)
{
	begin("bad_place");
	pick(DIALS);
	cr_assert_eq(counter(WM_C_CONNECT_CUSTOM_NONE), DIALS);
	for (unsigned i = 0; i < 5; i++)
		cr_assert_gt(picks(i), 0);
}

Test(custom, what_the_verifier_refuses_is_said)
{
	struct wm_err e = {0};

	begin("bad_memory");
	cr_assert_not_null(wm_plane_custom_refused(plane));
	cr_assert(strstr(wm_plane_custom_refused(plane), "bounds check") ||
			  strstr(wm_plane_custom_refused(plane), "unbounded memory access"),
		  "%s", wm_plane_custom_refused(plane));
	pick(DIALS);
	cr_assert_gt(picks(0), 0, "by weight meanwhile");
	cr_assert_neq(wm_plane_custom_try(file, &e), 0);
	cr_assert(strstr(e.text, "access"), "%s", e.text);
	cr_assert_eq(replace("by_user", &e), 1, "%s", e.text);
	cr_assert_null(wm_plane_custom_refused(plane));
	pick(DIALS);
	cr_assert_geq(picks(4), DIALS);
}

Test(custom, a_bad_one_leaves_the_good_one)
{
	static const struct {
		const char *name, *text;
	} bad[] = {{"bad_memory", "kernel refused it"},
		   {"bad_program", "cgroup/connect4: functions only"},
		   {"bad_name", "wm_custom()"},
		   {"bad_pinned", "map kept: it may not be pinned"},
		   {"bad_large", "octets, at most 67108864 are allowed"},
		   {"bad_map", "cannot be linked: conflicting non-weak symbol"}};
	uint64_t had = 0;

	begin("by_user");
	for (unsigned i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		struct wm_err e = {0};

		cr_assert_lt(replace(bad[i].name, &e), 0, "%s", bad[i].name);
		cr_assert(strstr(e.text, bad[i].text), "%s: %s", bad[i].name, e.text);
		cr_assert_eq(wm_plane_check(plane), 0);
		pick(DIALS);
		cr_assert_eq(picks(4) - had, DIALS, "%s", bad[i].name);
		had = picks(4);
	}
}

Test(custom, the_same_file_is_not_loaded_again)
{
	struct wm_err e = {0};

	begin("by_user");
	cr_assert_eq(replace("by_user", &e), 0, "%s", e.text);
	cr_assert_eq(replace("least_of_three", &e), 1, "%s", e.text);
	cr_assert_eq(wm_plane_check(plane), 0, "its links are where they were");
}

static void on_flow(void *arg, const struct wm_flow *f)
{
	(void)f;
	++*(unsigned *)arg;
}

Test(custom, who_watches_decisions_goes_on)
{
	struct wm_loop *loop = wm_loop_new();
	struct wm_flows *flows;
	struct wm_err e = {0};
	unsigned told = 0;

	begin("by_user");
	cr_assert_eq(wm_flows_new(loop, plane, on_flow, &told, &flows), 0);
	cr_assert_eq(replace("least_of_three", &e), 1, "%s", e.text);
	pick(3);
	for (int i = 0; i < 600 && told < 3; i++)
		cr_assert_eq(wm_loop_turn(loop, 50), 0);
	cr_assert_eq(told, 3);
	wm_flows_free(flows);
	wm_loop_free(loop);
}

Test(custom, a_file_that_others_may_write_is_refused)
{
	struct wm_err e = {0};

	write_custom("by_user");
	cr_assert_eq(wm_plane_custom_try(file, &e), 0, "%s", e.text);
	cr_assert_eq(chmod(file, 0622), 0);
	cr_assert_eq(wm_plane_custom_try(file, &e), -EPERM);
	cr_assert(strstr(e.text, "may write it"), "%s", e.text);
	cr_assert_eq(truncate(file, 100), 0);
	cr_assert_eq(chmod(file, 0600), 0);
	e = (struct wm_err){0};
	cr_assert_eq(wm_plane_custom_try(file, &e), -EINVAL, "half a file");
	cr_assert_eq(truncate(file, 0), 0);
	e = (struct wm_err){0};
	cr_assert_eq(wm_plane_custom_try(file, &e), -EINVAL, "an empty one");
	cr_assert_eq(truncate(file, 2 << 20), 0);
	e = (struct wm_err){0};
	cr_assert_eq(wm_plane_custom_try(file, &e), -EINVAL, "too long");
}

/* The file again with the 32 bits at @p field of section @p n's head set to @p value. */
static void damage(unsigned n, size_t field, uint32_t value)
{
	Elf64_Ehdr head;
	int fd = open(file, O_RDWR | O_CLOEXEC);

	cr_assert_geq(fd, 0);
	cr_assert_eq(pread(fd, &head, sizeof(head), 0), sizeof(head));
	cr_assert_eq(pwrite(fd, &value, sizeof(value),
			    (off_t)(head.e_shoff + n * sizeof(Elf64_Shdr) + field)),
		     sizeof(value));
	close(fd);
}

/* libbpf's linker went on past what it could not read, as nobody had set errno. */
Test(custom, a_damaged_file_is_refused)
{
	static const size_t fields[] = {
		offsetof(Elf64_Shdr, sh_name), offsetof(Elf64_Shdr, sh_offset),
		offsetof(Elf64_Shdr, sh_size), offsetof(Elf64_Shdr, sh_addralign)};

	wm_bpf_capture();
	for (unsigned i = 0; i < sizeof(fields) / sizeof(*fields); i++) {
		struct wm_err e = {0};
		size_t len = 0, linked_len;
		void *data = NULL, *linked = NULL;

		write_custom("by_user");
		damage(1, fields[i], 0x7fffffff);
		cr_assert_eq(wm_custom_read(file, &data, &len, &e), 0, "%s", e.text);
		errno = 0;
		cr_expect_lt(wm_custom_rehearse(data, len, &linked, &linked_len, &e), 0);
		cr_expect(strstr(e.text, "kernel.custom: it "), "%s", e.text);
		cr_expect_neq(e.text[strlen(e.text) - 1], ' ', "without a reason: %s", e.text);
		free(data);
		e = (struct wm_err){0};
		cr_expect_lt(wm_plane_custom_try(file, &e), 0);
	}
}

/* Whatever it dies of: here it has no stack, as programs that are started have it by this. */
Test(custom, who_dies_of_a_file_is_the_helper)
{
	struct rlimit l, few = {16384, 0};
	struct wm_err e = {0};

	write_custom("by_user");
	cr_assert_eq(getrlimit(RLIMIT_STACK, &l), 0);
	few.rlim_max = l.rlim_max;
	cr_assert_eq(setrlimit(RLIMIT_STACK, &few), 0);
	cr_assert_eq(wm_plane_custom_try(file, &e), -EINVAL);
	cr_assert(strstr(e.text, "libbpf does not survive it"), "%s", e.text);
	cr_assert_eq(setrlimit(RLIMIT_STACK, &l), 0);
	e = (struct wm_err){0};
	cr_assert_eq(wm_plane_custom_try(file, &e), 0, "%s", e.text);
}

/* As main() of the agent: the file is read by this program, started anew. */
int main(int argc, char **argv)
{
	int r = wm_plane_custom_helper(argc, argv);
	struct criterion_test_set *tests;

	if (r >= 0)
		return r;
	tests = criterion_initialize();
	r = criterion_handle_args(argc, argv, true) && !criterion_run_all_tests(tests);
	criterion_finalize(tests);
	return r;
}
