/* SPDX-License-Identifier: Apache-2.0 */
/* band.h - how far a node is by round trips, in four steps that a node seldom leaves: what goes by
 * them need not be done anew at each measurement. A round trip in fibre takes 1 ms for 100 km.
 * Threading: pure. */
#pragma once
#include <stdint.h>

enum wm_band {
	WM_BAND_NONE,	   /* nobody measured it */
	WM_BAND_SITE,	   /* up to 2 ms: a site, or a zone of a cloud with those beside it */
	WM_BAND_REGION,	   /* up to 10 ms: some 500 km, with what stands on the way */
	WM_BAND_CONTINENT, /* up to 50 ms: so far is it across one */
	WM_BAND_BEYOND
};
/* Percent of an edge that a round trip must be past it for a node to leave its band: those of a
 * quiet network differ by less from one median to the next. */
#define WM_BAND_MARGIN_PCT 25

/** Band of a round trip of @p us microseconds to a node that is in band @p was (WM_BAND_NONE: it
 *  is new). Cost O(1). */
enum wm_band wm_band_of(uint32_t us, enum wm_band was);
/** "2ms", "10ms", "50ms": up to how far; "rest" of the others. Static. */
const char *wm_band_str(enum wm_band b);
