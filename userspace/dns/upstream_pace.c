/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_pace.c - how long the servers of a domain take: a histogram of octaves in quarters,
 * which halves as it fills, so that it follows them; and how many questions may be asked twice. */
#include "upstream_internal.h"

#include <string.h>

#define FIRST_US   128	  /* what is quicker is in the first place */
#define SHARE	   4	  /* places of an octave: an edge is at most a quarter off */
#define HALVE_AT   1024	  /* samples: about the last so many count */
#define ENOUGH	   32	  /* samples: with fewer the slowest 5 % are chance */
#define UNKNOWN_US 150000 /* is what they take until then: two of it are the 300 ms of a person */
#define LEAST_US   10000  /* nobody waits for less, and a timer turns are a millisecond */
#define TOKEN	   100	  /* a question asked twice; each that is asked gives as many as percent */
#define TOKENS_MAX (64 * TOKEN) /* at once, when a server that was good dies */

static unsigned place_of(uint64_t us)
{
	unsigned octave = 0, n;

	while (octave < WM_UPSTREAM_PACE_PLACES / SHARE && us >= (uint64_t)FIRST_US << (octave + 1))
		octave++;
	if (us < FIRST_US)
		return 0;
	if (octave == WM_UPSTREAM_PACE_PLACES / SHARE)
		return WM_UPSTREAM_PACE_PLACES - 1;
	n = octave * SHARE + (unsigned)((us - ((uint64_t)FIRST_US << octave)) * SHARE /
					((uint64_t)FIRST_US << octave));
	return n;
}

/* What lies in it is less. */
static uint64_t edge_of(unsigned place)
{
	uint64_t octave = (uint64_t)FIRST_US << place / SHARE;

	return octave + octave / SHARE * (place % SHARE + 1);
}

void wm_upstream_pace_init(struct wm_upstream_pace *p)
{
	memset(p, 0, sizeof(*p));
	p->tokens = TOKENS_MAX;
}

void wm_upstream_pace_note(struct wm_upstream_pace *p, uint64_t us)
{
	p->n[place_of(us)]++;
	if (++p->count < HALVE_AT)
		return;
	p->count = 0;
	for (unsigned i = 0; i < WM_UPSTREAM_PACE_PLACES; i++) {
		p->n[i] /= 2;
		p->count += p->n[i];
	}
}

uint64_t wm_upstream_pace_p95_us(const struct wm_upstream_pace *p)
{
	unsigned seen = 0, i = 0;
	uint64_t us;

	if (p->count < ENOUGH)
		return UNKNOWN_US;
	for (; i < WM_UPSTREAM_PACE_PLACES - 1; i++) {
		seen += p->n[i];
		if (seen * 100ull >= p->count * 95ull)
			break;
	}
	us = edge_of(i);
	return us < LEAST_US ? LEAST_US : us;
}

void wm_upstream_pace_earn(struct wm_upstream_pace *p, unsigned percent)
{
	p->tokens += percent;
	if (p->tokens > TOKENS_MAX)
		p->tokens = TOKENS_MAX;
}

bool wm_upstream_pace_spend(struct wm_upstream_pace *p)
{
	if (p->tokens < TOKEN)
		return false;
	p->tokens -= TOKEN;
	return true;
}
