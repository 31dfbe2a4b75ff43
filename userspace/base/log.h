/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - logfmt on stderr: `event=registry.upsert svc=web err=ENOSPC`.
 * Library modules return errors; only main, agent, servers and workers log. Where
 * stderr is the journal, lines carry the <N> priority prefix, elsewhere the time (UTC). Values are
 * quoted and escaped, so untrusted bytes are safe. A call site is limited to WM_LOG_BURST lines per
 * WM_LOG_WINDOW_MS; what is left out is counted and told with the next line that passes. Threading:
 * loop thread only. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum wm_log_level { WM_LOG_ERROR = 3, WM_LOG_WARN = 4, WM_LOG_INFO = 6, WM_LOG_DEBUG = 7 };
#define WM_LOG_BURST	 10    /* lines of one call site per window */
#define WM_LOG_WINDOW_MS 10000 /* milliseconds */

struct wm_log_site {
	uint64_t window_start_ms;
	uint32_t in_window;
	uint32_t left_out;
};
/** Lines above @p level are dropped. Default WM_LOG_INFO. */
void wm_log_set_level(enum wm_log_level level);
/** @param fmt key=value pairs; use WM_Q for untrusted strings: "svc=%s", wm_log_q(...)
 *  Use the macros below. */
void wm_log_at(struct wm_log_site *site, enum wm_log_level level, const char *event,
	       const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/** The same without a limit, for a caller that has one of its own. */
void wm_log_line(enum wm_log_level level, const char *event, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/** Would a line of @p level be written? */
bool wm_log_enabled(enum wm_log_level level);
/** Quote @p s for a value when it needs it. Returns one of 8 rotating static buffers of 512 octets.
 */
const char *wm_log_q(const char *s);

#define wm_log_(level, event, ...)                                                                 \
	do {                                                                                       \
		static struct wm_log_site site_;                                                   \
		wm_log_at(&site_, (level), (event), __VA_ARGS__);                                  \
	} while (0)
#define wm_error(event, ...) wm_log_(WM_LOG_ERROR, event, __VA_ARGS__)
#define wm_warn(event, ...)  wm_log_(WM_LOG_WARN, event, __VA_ARGS__)
#define wm_info(event, ...)  wm_log_(WM_LOG_INFO, event, __VA_ARGS__)
#define wm_debug(event, ...) wm_log_(WM_LOG_DEBUG, event, __VA_ARGS__)
