/* SPDX-License-Identifier: Apache-2.0 */
/* source.c - see source.h. */
#include "source.h"

const char *wm_source_state_str(enum wm_source_state st)
{
	static const char *const texts[] = {
#define X(symbol, text) [WM_SOURCE_##symbol] = text,
		WM_SOURCE_STATES(X)
#undef X
	};

	return texts[st];
}
