/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry */
/* test_write_orders.c - two batches of one or two writes, every pair of a small alphabet, with the
 * store on its own thread: each batch is stored or fails, each is applied at once or in slices, and
 * results of checks come between any two steps. The registry is held to the naive model of model.h
 * after each step: what is not durable is not there, what was refused or failed left nothing. */
#include "write_compare.h"

/* --- steps --------------------------------------------------------------------------------------
 */
/* A result that changes something, and one that says more of it: at once. */
static void result(int key, enum wm_status s, const char *first, const char *second)
{
	char id[64];
	struct wm_check *c = wm_registry_check(r, m_key(key, id));

	if (!c)
		return;
	cr_assert_eq(wm_registry_set_status(r, c, s, first), m_status(&model, key, s, M_TEXT), "%s",
		     doing);
	cr_assert_eq(wm_registry_set_status(r, c, s, second), m_status(&model, key, s, M_TEXT));
	note_change();
	said[key] = second;
	said_of[key] = model.checks[key].create;
	results++;
	compare();
}

static void results_come(unsigned gap)
{
	if (gap % 2) {
		result(0, WM_WARNING, "hm", "so so");
		result(NODE_CHECK, WM_PASSING, "yes", "fine");
	} else {
		result(0, WM_PASSING, "up", "well");
		result(NODE_CHECK, WM_WARNING, "slow", "slower");
	}
}

static void one_turn(void)
{
	turns++;
	wm_registry_flush(r);
}

static void judge(struct ask *k, bool failing_batch)
{
	struct model next = model;
	bool node = other;
	int code = apply_to(&next, &node, k);

	k->judged = true;
	cr_assert_eq(k->op.called, 1, "%s", doing);
	if (failing_batch && (k->op.code == WM_E_STORE || k->op.code == -ENOSPC))
		return;
	cr_assert_eq(k->op.code, code, "%s: %c: expected %d, saw %d: %s", doing, k->of->name, code,
		     k->op.code, k->op.text);
	/* what the store did not take cannot have been answered */
	cr_assert(!failing_batch || (next.applied == model.applied && node == other), "%s: %c: %s",
		  doing, k->of->name, k->op.text);
	model = next;
	other = node;
	note_change();
}

/* What was answered by now, in its order. @return whether anything is not. */
static bool judge_all(struct ask *asks, unsigned count, bool failing_batch)
{
	unsigned n = 0;

	while (n < count && (asks[n].judged || asks[n].op.called)) {
		if (!asks[n].judged)
			judge(&asks[n], failing_batch);
		n++;
	}
	for (unsigned rest = n; rest < count; rest++)
		cr_assert_eq(asks[rest].op.called, 0, "%s: out of order", doing);
	compare();
	return n < count;
}

/* A batch that was handed over, or was answered without the store, until all of it is applied.
 * @p gaps: when results come: 1 while it is stored, 2 between its slices. */
static void end_batch(struct ask *asks, unsigned count, enum outcome end, unsigned gaps,
		      unsigned number)
{
	bool flies = in_flight(), ok = end == STORED;

	if (!flies && !judge_all(asks, count, false))
		return;
	cr_assert(flies, "%s", doing);
	at_sync();
	one_turn(); /* waits for nothing, and does nothing */
	(void)judge_all(asks, 0, false);
	if (gaps & 1)
		results_come(number);
	break_disk(end == BROKEN);
	fill_disk(end == FULL);
	hold(false);
	wm_writer_wait(r->writer);
	break_disk(false);
	fill_disk(false);
	hold(true); /* the next one */
	stored += ok;
	failed += !ok;
	if (count > 1) { /* the first of it alone */
		turns++;
		ticking = true;
		(void)wm_registry_spent(r);
		wm_registry_flush(r);
		ticking = false;
		if (judge_all(asks, count, !ok)) {
			slices++;
			if (gaps & 2)
				results_come(number + 1);
		}
	}
	one_turn();
	cr_assert_not(judge_all(asks, count, !ok), "%s", doing);
}

static void restart(void)
{
	struct answer a = {0};
	char *before, *after;

	cr_assert_eq(wm_registry_sync(r, NULL, answered, &a), 0);
	wm_registry_finish(r);
	cr_assert(a.called == 1 && !a.code, "%s: %s", doing, a.text);
	before = show(r);
	wm_registry_close(r);
	open_one();
	after = show(r);
	cr_assert_str_eq(before, after, "%s", doing);
	free(before);
	free(after);
	for (int s = 0; s < NAMES; s++) /* what moved before it is not known any more */
		scope[s] = wm_registry_index(r);
	last = wm_registry_index(r);
}

static void begin_anew(void)
{
	struct ask asks[BEGINNING];

	strcpy(doing, "beginning");
	hold(false);
	for (unsigned n = 0; n < BEGINNING; n++)
		submit(&asks[n], &beginning[n]);
	turns++;
	wm_registry_finish(r);
	cr_assert_not(judge_all(asks, BEGINNING, false));
}

/* @p code: which letters, count[] of them; @p gaps: two bits a batch. */
static void run(const unsigned letter[BATCHES][WRITES], const unsigned count[BATCHES],
		const enum outcome end[BATCHES], unsigned gaps)
{
	struct ask asks[BATCHES][WRITES];
	size_t at = 0;

	begin_anew();
	for (unsigned b = 0; b < BATCHES; b++) {
		for (unsigned n = 0; n < count[b]; n++)
			doing[at++] = letters[letter[b][n]].name;
		at += (size_t)snprintf(doing + at, sizeof(doing) - at, "%s ",
				       &"\0\0!\0?"[2 * end[b]]);
	}
	snprintf(doing + at, sizeof(doing) - at, "results %x", gaps);
	hold(true);
	for (unsigned n = 0; n < count[0]; n++)
		submit(&asks[0][n], &letters[letter[0][n]]);
	one_turn();
	if (in_flight())
		at_sync();
	for (unsigned n = 0; n < count[1]; n++)
		submit(&asks[1][n], &letters[letter[1][n]]);
	end_batch(asks[0], count[0], end[0], gaps & 3, 0);
	if (!r->plan)
		one_turn();
	end_batch(asks[1], count[1], end[1], gaps >> 2, 2);
	hold(false);
	if (++runs % REOPEN == 0)
		restart();
}

static unsigned number_of(char name)
{
	for (unsigned n = 0; n < LETTERS; n++) {
		if (letters[n].name == name)
			return n;
	}
	cr_assert_fail("no letter %c", name);
	return 0;
}

/* --- all of them --------------------------------------------------------------------------------
 */
static void setup(void)
{
	make_dir();
	instant = true;
	virtual_env_init(&clock_env, 1);
	clock_env.env.now_ns = now_ns;
	open_one();
	last = wm_registry_index(r);
	model.index = 1;
	for (int s = 0; s < NAMES; s++)
		scope[s] = wm_registry_extinct(r);
	seen = m_look(&model);
}

static void teardown(void)
{
	hold(false);
	if (!runs) /* it was cut short */
		return;
	restart();
	wm_registry_close(r);
	fprintf(stderr, "%u runs, %u batches stored, %u failed, %u results, %u slices\n", runs,
		stored, failed, results, slices);
	cr_assert(stored && failed && results);
	rm_dir();
}

TestSuite(write_orders, .init = setup, .fini = teardown, .timeout = 600);

/* How the two batches end, and when results come: two bits each. */
struct way {
	enum outcome end[BATCHES];
	unsigned gaps;
};

/* Every pair of batches of so many writes each, of these letters. */
static void every_pair(unsigned first, unsigned second, const char *order, const struct way *ways,
		       unsigned ways_count)
{
	const unsigned count[BATCHES] = {first, second}, of = (unsigned)strlen(order);
	unsigned total = 1;

	for (unsigned n = 0; n < first + second; n++)
		total *= of;
	for (unsigned n = 0; n < total; n++) {
		unsigned letter[BATCHES][WRITES] = {{0}}, rest = n;

		for (unsigned b = 0; b < BATCHES; b++) {
			for (unsigned k = 0; k < count[b]; k++, rest /= of)
				letter[b][k] = number_of(order[rest % of]);
		}
		for (unsigned w = 0; w < ways_count; w++)
			run(letter, count, ways[w].end, ways[w].gaps);
	}
}
#define EVERY_PAIR(first, second, order, ways)                                                     \
	every_pair(first, second, order, ways, sizeof(ways) / sizeof(*(ways)))

Test(write_orders, one_and_one)
{
	static const struct way ways[] = {{{STORED, STORED}, 0}, {{STORED, STORED}, 1},
					  {{STORED, STORED}, 4}, {{STORED, STORED}, 5},
					  {{FULL, STORED}, 1},	 {{STORED, FULL}, 4},
					  {{BROKEN, STORED}, 1}, {{FULL, FULL}, 5}};

	EVERY_PAIR(1, 1, ALL, ways);
}

Test(write_orders, two_and_one)
{
	static const struct way ways[] = {
		{{STORED, STORED}, 1}, {{STORED, STORED}, 2}, {{FULL, STORED}, 1}};

	EVERY_PAIR(2, 1, ALL, ways);
}

Test(write_orders, one_and_two)
{
	static const struct way ways[] = {
		{{STORED, STORED}, 4}, {{STORED, STORED}, 8}, {{STORED, FULL}, 4}};

	EVERY_PAIR(1, 2, ALL, ways);
}

Test(write_orders, two_and_two)
{
	static const struct way ways[] = {{{STORED, STORED}, 10}, {{FULL, STORED}, 5}};

	EVERY_PAIR(2, 2, "NCMDGH", ways);
}
