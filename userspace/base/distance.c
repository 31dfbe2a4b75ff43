/* SPDX-License-Identifier: Apache-2.0 */
#include "distance.h"

#include <stddef.h>
#include <string.h>

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

unsigned wm_distance(const char *a, const char *b)
{
	unsigned d[WM_DISTANCE_MAX + 1][WM_DISTANCE_MAX + 1];
	size_t la = strnlen(a, WM_DISTANCE_MAX), lb = strnlen(b, WM_DISTANCE_MAX);

	for (size_t j = 0; j <= lb; j++)
		d[0][j] = (unsigned)j;
	for (size_t i = 1; i <= la; i++) {
		d[i][0] = (unsigned)i;
		for (size_t j = 1; j <= lb; j++) {
			d[i][j] = least(least(d[i - 1][j] + 1, d[i][j - 1] + 1),
					d[i - 1][j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				d[i][j] = least(d[i][j], d[i - 2][j - 2] + 1);
		}
	}
	return d[la][lb];
}

bool wm_distance_slip(const char *written, const char *known)
{
	return wm_distance(written, known) <= (strlen(known) < 6 ? 1u : 2u) ||
	       (strlen(written) > 2 && strncmp(written, known, strlen(written)) == 0);
}
