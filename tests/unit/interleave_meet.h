/* SPDX-License-Identifier: Apache-2.0 */
/* interleave_meet.h - every way in which a reader of the tables and their writer can meet. The
 * reader is the real one: it is run again and again, and whenever it loads a word, it goes on with
 * each value that the writer's steps still have for it. That is exhaustive: a reader is told apart
 * by what it loads, and of the moments at which a word has a value the earliest leaves it all that
 * the later ones do. Include before any header of include/waymark/. One thread. */
#pragma once
#include "interleave_stores.h"

static void meet_load(const volatile void *at, size_t size);
#define WM_READ(x) (meet_load(&(x), sizeof(x)), *(const volatile __typeof__(x) *)&(x))

#define DEPTH_MAX 4096

static uint64_t read_words[WORDS]; /* of the reader */

/* --- the reader's ways -------------------------------------------------------------------------
 */
static struct {
	unsigned take, of;
} way[DEPTH_MAX]; /* which of how many at each load where there was a choice */
static unsigned way_len, way_at, position, meet_until;

static void meet_go(unsigned to)
{
	for (; position < to; position++)
		read_words[steps[position].word] = steps[position].is;
}

/* Moments from the present one on at which the @p size octets at @p at of a word have another value
 * than at all before. */
static unsigned values_of(uint32_t word, size_t at, size_t size, unsigned *ret, unsigned cap)
{
	uint64_t known[16];
	unsigned n = 1;

	known[0] = read_words[word];
	ret[0] = position;
	for (unsigned i = position; i < meet_until; i++) {
		unsigned k = 0;

		if (steps[i].word != word)
			continue;
		while (k < n &&
		       memcmp((uint8_t *)&known[k] + at, (uint8_t *)&steps[i].is + at, size))
			k++;
		if (k < n)
			continue;
		cr_assert_lt(n, cap, "a word has more values than are remembered");
		known[n] = steps[i].is;
		ret[n++] = i + 1;
	}
	return n;
}

static void meet_load(const volatile void *from, size_t size)
{
	uintptr_t at = (uintptr_t)from, first = (uintptr_t)read_words;
	unsigned moments[16], n;

	if (at < first || at >= first + MEMORY)
		return;
	n = values_of((uint32_t)((at - first) / 8), (at - first) % 8, size, moments, 16);
	if (n == 1)
		return;
	if (way_at == way_len) {
		cr_assert_lt(way_len, DEPTH_MAX);
		way[way_len].take = 0;
		way[way_len++].of = n;
	}
	cr_assert_eq(way[way_at].of, n, "the reader is not the same when it is run again");
	meet_go(moments[way[way_at++].take]);
}

/** Another way? To be asked in front of each run, first with @p start true; the reader begins
 * behind
 *  @p from steps and sees @p to at most. */
static bool meet_next(bool start, unsigned from, unsigned to)
{
	if (start)
		way_len = 0;
	else
		while (way_len && ++way[way_len - 1].take == way[way_len - 1].of)
			way_len--;
	if (!start && !way_len)
		return false;
	memcpy(read_words, first_words, MEMORY);
	position = 0;
	way_at = 0;
	meet_until = to;
	meet_go(from);
	return true;
}
