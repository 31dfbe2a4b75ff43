/* SPDX-License-Identifier: Apache-2.0 */
#include "band.h"

/* How far each goes. */
static const uint32_t edge_us[] = {
	[WM_BAND_SITE] = 2000, [WM_BAND_REGION] = 10000, [WM_BAND_CONTINENT] = 50000};

static enum wm_band plain(uint32_t us)
{
	enum wm_band b = WM_BAND_SITE;

	while (b < WM_BAND_BEYOND && us > edge_us[b])
		b++;
	return b;
}

enum wm_band wm_band_of(uint32_t us, enum wm_band was)
{
	enum wm_band now = plain(us);
	uint64_t scaled = us * 100ull;

	if (was == WM_BAND_NONE || now == was)
		return now;
	if (now > was)
		return scaled > edge_us[was] * (100ull + WM_BAND_MARGIN_PCT) ? now : was;
	return scaled < edge_us[was - 1] * (100ull - WM_BAND_MARGIN_PCT) ? now : was;
}

const char *wm_band_str(enum wm_band b)
{
	static const char *const names[] = {
		[WM_BAND_SITE] = "2ms", [WM_BAND_REGION] = "10ms", [WM_BAND_CONTINENT] = "50ms"};

	return b > WM_BAND_NONE && b < WM_BAND_BEYOND ? names[b] : "rest";
}
