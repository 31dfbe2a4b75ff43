/* SPDX-License-Identifier: Apache-2.0 */
/* links: base sync registry store model metadata net security */
/* How far nodes were when the agent ran last: what is read of it, and what is passed over. That it
 * is written, and used, net/test_mesh_api holds. */
#include "registry_help.h"
#include "userspace/sync/sync.h"

TestSuite(bands_kept, .init = make_dir, .fini = rm_dir, .timeout = 300);

static void node(struct wm_registry *r, const char *name, const char *id)
{
	const struct wm_node_draft facts = {.id = id, .address = "10.1.0.1"};
	const struct wm_catalog_op op = {
		.verb = WM_VERB_SET, .object = WM_OBJECT_NODE, .node = name, .facts = &facts};
	const struct wm_catalog_batch b = {.ops = &op, .count = 1};
	struct wm_err e = {0};
	unsigned failed;

	cr_assert_eq(wm_registry_catalog(r, &b, &failed, &e), 0, "%s", e.text);
	wm_registry_flush(r);
}

static unsigned recalled(struct wm_registry *r, const char *text)
{
	char path[80];
	FILE *f;

	snprintf(path, sizeof(path), "%s/bands", dir);
	f = fopen(path, "we");
	cr_assert_not_null(f);
	cr_assert_geq(fputs(text, f), 0);
	cr_assert_eq(fclose(f), 0);
	return wm_sync_recall(r, dir);
}

static unsigned band_of(struct wm_registry *r, const char *name)
{
	return wm_registry_node_named(r, name)->band;
}

#define ID(n) "0f3c1a52-7d2b-4a0e-8a5e-2f6f0a4b9c0" n
#define LONG  "a-name-that-is-longer-than-any-which-a-node-may-have-so-it-ends-on-the-next-line"

Test(bands_kept, are_of_the_nodes_of_that_time)
{
	struct wm_registry *r = open_at(NULL);

	node(r, "near", ID("1"));
	node(r, "far", ID("2"));
	node(r, "known", ID("3"));
	node(r, "bare", "");
	cr_expect_eq(wm_sync_recall(r, dir), 0, "there is no file");
	cr_expect_not(wm_registry_has_bands(r));
	cr_expect_eq(recalled(r, ID("3") " 4 known\n"), 1);
	cr_expect_eq(recalled(r, ID("2") " 4 far\n" ID("9") " 2 gone\n" ID("3") " 1 known\n" ID(
					 "1") " 1 renamed\n"),
		     2, "of one another band is known");
	cr_expect_eq(band_of(r, "near"), WM_BAND_SITE);
	cr_expect_eq(band_of(r, "far"), WM_BAND_BEYOND);
	cr_expect_eq(band_of(r, "known"), WM_BAND_BEYOND);
	cr_expect_eq(band_of(r, "bare"), WM_BAND_NONE);
	cr_expect_eq(band_of(r, "n1"), WM_BAND_NONE);
	wm_registry_close(r);
}

Test(bands_kept, what_is_wrong_in_the_file_is_passed_over)
{
	struct wm_registry *r = open_at(NULL);

	node(r, "a", ID("1"));
	node(r, "b", ID("2"));
	cr_expect_eq(
		recalled(r, "\n" ID("1") "\n" ID("1") " 0 a\n" ID("1") " 5 a\n" ID(
				    "1") " x a\n"
					 "1 1 a\n" ID("1") ID(
						 "1") " 1 a\nxf3c1a52-7d2b-4a0e-8a5e-2f6f0a4b9c01 "
						      "1 a\n" ID("3") " 2 " LONG "\n" ID("2") " 3"),
		1);
	cr_expect_eq(band_of(r, "a"), WM_BAND_NONE);
	cr_expect_eq(band_of(r, "b"), WM_BAND_CONTINENT, "without a name, and an end");
	wm_registry_close(r);
}
