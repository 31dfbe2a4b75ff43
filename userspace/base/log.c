/* SPDX-License-Identifier: Apache-2.0 */
#include "log.h"

#include "clock.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOG_LINE_MAX  2048 /* octets of one line; longer ones are cut */
#define QUOTE_MAX     512  /* octets of one quoted value; longer ones are cut */
#define QUOTE_BUFFERS 8	   /* quoted values that one call may carry */

static enum wm_log_level log_level = WM_LOG_INFO;

void wm_log_set_level(enum wm_log_level level)
{
	log_level = level;
}

static bool plain(const char *s)
{
	if (!*s)
		return false;
	for (; *s; s++)
		if (*s <= ' ' || *s == '"' || *s == '=' || *s == '\\' || *s == 0x7f || (*s & 0x80))
			return false;
	return true;
}

/* Append one octet of a quoted value, escaped. @return octets written, 4 at most. */
static size_t quote_octet(char *out, unsigned char c)
{
	static const char hex[] = "0123456789abcdef";

	switch (c) {
	case '"':
	case '\\':
		out[0] = '\\';
		out[1] = (char)c;
		return 2;
	case '\n':
		out[0] = '\\';
		out[1] = 'n';
		return 2;
	default:
		break;
	}
	if (c >= ' ' && c < 0x7f) {
		out[0] = (char)c;
		return 1;
	}
	out[0] = '\\';
	out[1] = 'x';
	out[2] = hex[c >> 4];
	out[3] = hex[c & 15];
	return 4;
}

const char *wm_log_q(const char *s)
{
	static char buffers[QUOTE_BUFFERS][QUOTE_MAX];
	static unsigned next;
	char *b = buffers[next++ % QUOTE_BUFFERS];
	size_t n = 0;

	if (!s)
		return "-";
	if (plain(s) && strlen(s) < QUOTE_MAX)
		return s;
	b[n++] = '"';
	for (; *s && n < QUOTE_MAX - 6; s++)
		n += quote_octet(b + n, (unsigned char)*s);
	b[n++] = '"';
	b[n] = '\0';
	return b;
}

/* Journald reads a <N> prefix as the priority when stderr is its stream, and dates each line. The
 * variable outlives a redirection, so it is compared with what stderr is (systemd.exec(5)). */
static bool under_journald(void)
{
	static int known = -1;
	const char *stream = getenv("JOURNAL_STREAM");
	char here[48] = "";
	struct stat st;

	if (known < 0) {
		if (!fstat(STDERR_FILENO, &st))
			snprintf(here, sizeof(here), "%ju:%ju", (uintmax_t)st.st_dev,
				 (uintmax_t)st.st_ino);
		known = stream && *here && !strcmp(stream, here);
	}
	return known;
}

/* "<6>" for the journal, "2026-01-31T12:00:00.000Z " for everybody else. @return octets. */
static int write_head(char *line, size_t cap, enum wm_log_level level)
{
	struct timespec now;
	struct tm utc;
	char date[32];

	if (under_journald())
		return snprintf(line, cap, "<%d>", (int)level);
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(date, sizeof(date), "%Y-%m-%dT%H:%M:%S", &utc);
	return snprintf(line, cap, "%s.%03ldZ ", date, now.tv_nsec / 1000000);
}

static bool admit(struct wm_log_site *site, uint32_t *ret_left_out)
{
	uint64_t now = wm_clock_ms();

	*ret_left_out = 0;
	if (now - site->window_start_ms >= WM_LOG_WINDOW_MS || !site->window_start_ms) {
		*ret_left_out = site->left_out;
		site->window_start_ms = now;
		site->in_window = 0;
		site->left_out = 0;
	}
	if (site->in_window >= WM_LOG_BURST) {
		site->left_out++;
		return false;
	}
	site->in_window++;
	return true;
}

static void __attribute__((format(printf, 4, 0)))
write_line(enum wm_log_level level, const char *event, uint32_t left_out, const char *fmt,
	   va_list ap)
{
	static const char *const names[] = {[WM_LOG_ERROR] = "error",
					    [WM_LOG_WARN] = "warn",
					    [5] = "notice",
					    [WM_LOG_INFO] = "info",
					    [WM_LOG_DEBUG] = "debug"};
	char line[LOG_LINE_MAX];
	int n = write_head(line, sizeof(line), level);

	n += snprintf(line + n, sizeof(line) - (size_t)n, "level=%s event=%s ", names[level],
		      event);
	n += vsnprintf(line + n, sizeof(line) - (size_t)n, fmt, ap);
	if (left_out && n < (int)sizeof(line))
		n += snprintf(line + n, sizeof(line) - (size_t)n, " left_out=%u", left_out);
	if (n > (int)sizeof(line) - 2)
		n = (int)sizeof(line) - 2;
	line[n++] = '\n';
	/* A log that cannot be written must not stop the agent. */
	if (write(STDERR_FILENO, line, (size_t)n) < 0)
		errno = 0;
}

void wm_log_at(struct wm_log_site *site, enum wm_log_level level, const char *event,
	       const char *fmt, ...)
{
	int saved = errno;
	uint32_t left_out;
	va_list ap;

	if (level > log_level || !admit(site, &left_out))
		return;
	va_start(ap, fmt);
	write_line(level, event, left_out, fmt, ap);
	va_end(ap);
	errno = saved;
}

void wm_log_line(enum wm_log_level level, const char *event, const char *fmt, ...)
{
	int saved = errno;
	va_list ap;

	if (level > log_level)
		return;
	va_start(ap, fmt);
	write_line(level, event, 0, fmt, ap);
	va_end(ap);
	errno = saved;
}

bool wm_log_enabled(enum wm_log_level level)
{
	return level <= log_level;
}
