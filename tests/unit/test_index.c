/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata */
/* The bitmap index: what it selects is what asking every row selects, it is planned as it says, and
 * nothing in it outlives its instance. */
#include "registry_help.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/metadata/filter.h"
#include "userspace/metadata/index.h"

#include <stdlib.h>

#define OPERATIONS 1000000 /* random writes; the index is compared with the rows on the way */
#define IDS	   3000
#define BATCH	   500 /* writes of one commit */

static struct wm_registry *registry;
static struct wm_index *indexed;

static void setup(void)
{
	registry = open_at(NULL);
	indexed = wm_index_new(registry);
	cr_assert(indexed);
}

static void teardown(void)
{
	wm_registry_close(registry);
	wm_index_free(indexed);
}

TestSuite(index, .init = setup, .fini = teardown, .timeout = 600);

static struct wm_filter *compile(const char *text)
{
	struct wm_filter *f;
	struct wm_err e = {0};

	cr_assert_eq(wm_filter_compile(text, WM_FILTER_SERVICE, &f, &e), 0, "%s: %s", text, e.text);
	return f;
}

struct seen {
	uint64_t sum, count; /* of the rows' numbers: which, and how many */
};

static bool note(void *arg, const struct wm_instance *i)
{
	struct seen *s = arg;

	s->sum += i->hash;
	s->count++;
	return true;
}

static struct wm_index_query select_all(const char *text, struct seen *s)
{
	struct wm_filter *f = text ? compile(text) : NULL;
	struct wm_index_query q;

	*s = (struct seen){0};
	cr_assert_eq(wm_index_select(indexed, f, note, s, &q), 0);
	cr_assert_eq(q.matched, s->count);
	cr_assert_eq(wm_filter_end(f), WM_FILTER_DONE);
	wm_filter_free(f);
	return q;
}

static struct seen scan(const char *text)
{
	struct wm_filter *f = compile(text);
	struct wm_filter_row row = {.datacenter = "dc1", .node = wm_registry_node(registry)};
	const struct wm_instance *i;
	struct seen s = {0};
	size_t pos = 0;

	while ((i = wm_registry_next_instance(registry, &pos))) {
		row.instance = i;
		if (wm_filter_match(f, &row))
			note(&s, i);
	}
	wm_filter_free(f);
	return s;
}

static void expect_same(const char *text)
{
	struct seen a, b = scan(text);

	select_all(text, &a);
	cr_assert(a.count == b.count && a.sum == b.sum, "%s: %llu, a scan says %llu", text,
		  (unsigned long long)a.count, (unsigned long long)b.count);
}

static void add(const char *id, const char *name, const char *tag, const char *version)
{
	struct wm_pair meta = {mut("version"), mut(version)};
	struct wm_instance_draft d = {.id = id,
				      .name = name,
				      .port = 80,
				      .tags = &tag,
				      .tags_count = tag ? 1 : 0,
				      .meta = &meta,
				      .meta_count = version ? 1 : 0};

	cr_assert_eq(put_draft(registry, &d), 0);
}

Test(index, selects_by_name_tag_key_and_value)
{
	struct wm_index_query q;
	struct seen s;

	add("a", "web", "blue", "1");
	add("b", "web", "green", "2");
	add("c", "db", "blue", "1");
	add("d", "db", NULL, NULL);
	q = select_all("Service == web", &s);
	cr_assert(q.indexed && q.candidates == 2 && !q.asked && s.count == 2);
	q = select_all("blue in Tags and Meta.version == 1", &s);
	cr_assert(q.indexed && q.candidates == 2 && !q.asked && s.count == 2);
	q = select_all("blue in Tags and Port != 81 and Service == db", &s);
	cr_assert(q.indexed && q.candidates == 1 && q.asked == 1 && s.count == 1);
	q = select_all("version in Meta or Service == db", &s);
	cr_assert(q.indexed && q.candidates == 4 && !q.asked && s.count == 4);
	q = select_all("Service == web or Port == 80", &s);
	cr_assert(!q.indexed && q.asked == 4 && s.count == 4);
	q = select_all("not blue in Tags", &s);
	cr_assert(!q.indexed && q.asked == 4 && s.count == 2);
	q = select_all("Service == none", &s);
	cr_assert(q.indexed && !q.candidates && !s.count);
	q = select_all(NULL, &s);
	cr_assert(!q.indexed && q.candidates == 4 && !q.asked && s.count == 4);
	/* replaced as a whole: of what it was nothing is left */
	add("a", "api", "red", "3");
	q = select_all("Service == web or blue in Tags or Meta.version == 1", &s);
	cr_assert(q.candidates == 2 && s.count == 2);
	q = select_all("Service == api and red in Tags and Meta.version == 3", &s);
	cr_assert(q.candidates == 1 && s.count == 1);
	add("e", "team/web", NULL, NULL);
	q = select_all("Service == web", &s);
	cr_assert(q.indexed && q.candidates == 2 && s.count == 2);
	expect_same("Service == web");
}

Test(index, explains_its_plan)
{
	struct wm_index_term t[4];
	struct wm_filter *f = compile("Service == web and (Port == 80 or Meta.version != 2)");

	add("a", "web", "blue", "1");
	add("b", "web", "blue", "1");
	cr_assert_eq(wm_index_explain(indexed, f, t, 4), 3);
	cr_assert(t[0].indexed && t[0].instances == 2);
	cr_assert_str_eq(t[0].selector, "Service");
	cr_assert_str_eq(t[0].op, "Equal");
	cr_assert_str_eq(t[0].value, "web");
	cr_assert(!t[1].indexed && !t[2].indexed);
	cr_assert_str_eq(t[2].selector, "Meta.version");
	cr_assert_eq(wm_index_explain(indexed, f, t, 1), 3, "no more is written than fits");
	wm_filter_free(f);
}

Test(index, knows_what_a_registry_held_before_it)
{
	struct seen s;

	add("a", "web", "blue", "1");
	add("b", "web", "blue", "1");
	wm_registry_close(registry);
	wm_index_free(indexed);
	make_dir();
	registry = open_at(db);
	add("a", "web", "blue", "1");
	wm_registry_close(registry);
	registry = open_at(db);
	indexed = wm_index_new(registry);
	select_all("blue in Tags", &s);
	rm_dir();
	cr_assert_eq(s.count, 1);
}

static bool enough(void *arg, const struct wm_instance *i)
{
	unsigned *left = arg;

	(void)i;
	return --*left > 0;
}

Test(index, a_visitor_ends_the_walk)
{
	unsigned left = 2;

	for (unsigned i = 0; i < 5; i++) {
		char id[8];

		snprintf(id, sizeof(id), "i%u", i);
		add(id, "web", NULL, NULL);
	}
	cr_assert_eq(wm_index_select(indexed, NULL, enough, &left, NULL), 0);
	cr_assert_eq(left, 0);
}

/* --- at random -------------------------------------------------------------------------------- */
static uint64_t state;

static unsigned draw(unsigned n)
{
	state = state * 6364136223846793005u + 1442695040888963407u;
	return (unsigned)(state >> 33) % n;
}

static void random_write(void)
{
	static const char *const names[] = {"web", "db", "api", "cache"};
	static const char *const tag_names[] = {"blue", "green", "v1", "v2", "canary"};
	static const char *const versions[] = {"1", "2", "3"};
	char id[16], unique[16];
	const char *tags[3] = {tag_names[draw(5)], tag_names[draw(5)], tag_names[draw(5)]};
	struct wm_pair meta[] = {{mut("unique"), unique}, {mut("version"), mut(versions[draw(3)])}};
	struct wm_instance_draft d = {.id = id,
				      .name = names[draw(4)],
				      .port = 80 + draw(4),
				      .tags = tags,
				      .tags_count = draw(4),
				      .meta = meta,
				      .meta_count = draw(3)};

	snprintf(id, sizeof(id), "i%u", draw(IDS));
	snprintf(unique, sizeof(unique), "%u", draw(1000000));
	if (draw(3) == 0)
		cr_assert_eq(wm_registry_deregister(registry, id, NULL, NULL, NULL), 0);
	else
		cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, NULL), 0);
}

/* All that the index should hold, counted from the rows. */
static uint64_t values_of_rows(void)
{
	struct wm_map *values = wm_map_new(1 << 20);
	const struct wm_instance *i;
	size_t pos = 0;
	uint64_t n;
	char *text;

	while ((i = wm_registry_next_instance(registry, &pos))) {
		for (unsigned t = 0; t < 1u + i->tags_count + 2u * i->meta_count; t++) {
			unsigned m = t - 1 - i->tags_count;
			void *old = NULL;
			int len = t == 0	       ? asprintf(&text, "n%s", i->service->name)
				  : t <= i->tags_count ? asprintf(&text, "t%s", i->tags[t - 1])
				  : m % 2	       ? asprintf(&text, "k%s", i->meta[m / 2].key)
					  : asprintf(&text, "p%s=%s", i->meta[m / 2].key,
						     i->meta[m / 2].value);

			cr_assert_geq(len, 0);
			cr_assert_eq(wm_map_put(values, text, (size_t)len, text, &old), 0);
			free(old);
		}
	}
	n = wm_map_len(values);
	pos = 0;
	while ((text = wm_map_next(values, &pos)))
		free(text);
	wm_map_free(values);
	return n;
}

/* Built in slices after a start, while instances come, go and change: a filter looks at every row
 * until it is done, explain says so, and then the index is what it would have been. */
Test(index, built_in_slices_agrees_while_it_is_built)
{
	struct wm_index_term term;
	struct wm_index_stats s;
	struct wm_filter *f;
	struct wm_err e;
	unsigned slices = 0;

	state = wm_clock_ms();
	fprintf(stderr, "seed %llu\n", (unsigned long long)state);
	wm_registry_close(registry);
	wm_index_free(indexed);
	registry = open_at(NULL);
	for (unsigned n = 0; n < 20 * IDS; n++) {
		random_write();
		wm_registry_flush(registry);
	}
	indexed = wm_index_new_later(registry);
	cr_assert_not(wm_index_complete(indexed));
	cr_assert_eq(wm_filter_compile("Service == web", WM_FILTER_SERVICE, &f, &e), 0);
	while (!wm_index_build(indexed, 3)) {
		cr_assert_eq(wm_index_explain(indexed, f, &term, 1), 1);
		cr_assert_not(term.indexed);
		expect_same("Service == web and blue in Tags");
		expect_same("Meta.version == 2 or canary in Tags");
		for (unsigned n = 0; n < 2; n++)
			random_write();
		wm_registry_flush(registry);
		slices++;
	}
	cr_assert_gt(slices, 10);
	cr_assert(wm_index_complete(indexed));
	wm_index_explain(indexed, f, &term, 1);
	cr_assert(term.indexed);
	wm_filter_free(f);
	for (unsigned n = 0; n < 5000; n++) {
		wm_index_stats(indexed, &s);
		cr_assert_eq(s.instances, wm_registry_instances(registry));
		if (n % 500 == 0)
			cr_assert_eq(s.entries, values_of_rows());
		random_write();
		wm_registry_flush(registry);
		expect_same("Service == db and green in Tags");
	}
}

Test(index, agrees_with_the_rows_after_a_million_random_writes)
{
	static const char *const filters[] = {
		"Service == web",
		"blue in Tags and green in Tags",
		"Meta.version == 2 and Service == db and canary in Tags",
		"Meta.version == 2 and Port == 81 and not v1 in Tags",
		"unique in Meta or v2 in Tags",
		"(Service == api or Service == cache) and (v1 in Tags or Meta.version == 3)",
		"Meta.unique == 77",
		"Tags is empty and Meta is empty",
	};
	struct wm_index_stats s;

	state = wm_clock_ms();
	fprintf(stderr, "seed %llu\n", (unsigned long long)state);
	for (unsigned n = 1; n <= OPERATIONS; n++) {
		random_write();
		if (n % BATCH)
			continue;
		wm_registry_flush(registry);
		if (n % (100 * BATCH))
			continue;
		for (size_t i = 0; i < WM_ARRAY_LEN(filters); i++)
			expect_same(filters[i]);
		wm_index_stats(indexed, &s);
		cr_assert_eq(s.instances, wm_registry_instances(registry));
		cr_assert_eq(s.entries, values_of_rows());
		cr_assert_eq(s.lost, 0);
	}
	for (unsigned n = 0; n < IDS; n++) {
		char id[16];

		snprintf(id, sizeof(id), "i%u", n);
		cr_assert_eq(wm_registry_deregister(registry, id, NULL, NULL, NULL), 0);
	}
	wm_registry_flush(registry);
	wm_index_stats(indexed, &s);
	cr_assert(!s.instances && !s.entries, "%llu values of no instance",
		  (unsigned long long)s.entries);
}
