/* SPDX-License-Identifier: Apache-2.0 */
#include "err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *name, *text;
	int http;
} codes[] = {
#define X(sym, http, rcode, text) {#sym, text, http},
#include "err.def"
#undef X
};

static int index_of(int code)
{
	int i = WM_E_BASE_ - code;

	return i >= 0 && i < WM_E_COUNT_ ? i : -1;
}

int wm_err_set(struct wm_err *e, int code, const char *fmt, ...)
{
	va_list ap;

	if (!e)
		return code;
	e->code = code;
	va_start(ap, fmt);
	vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	return code;
}

const char *wm_err_str(int code)
{
	int i = index_of(code);
	const char *s = i >= 0 ? codes[i].text : strerrordesc_np(code < 0 ? -code : code);

	return s ? s : "unknown error";
}

const char *wm_err_name(int code)
{
	int i = index_of(code);
	const char *s = i >= 0 ? codes[i].name : strerrorname_np(code < 0 ? -code : code);

	return s ? s : "EUNKNOWN";
}

int wm_err_http(int code)
{
	int i = index_of(code);

	if (i >= 0)
		return codes[i].http;
	return code == -ENOSPC || code == -EDQUOT ? 507 : 500;
}
