/* SPDX-License-Identifier: Apache-2.0 */
/* err.h - errors as values: 0 or positive is success, negative errno or a code of err.def is
 * failure. A function that must tell a person why takes a `struct wm_err *` and fills the text; the
 * text is one sentence that names the field and the limit. NULL is allowed everywhere. Threading:
 * no state. */
#pragma once
#include <stddef.h>

enum wm_err_code {
	WM_E_BASE_ = -1000,
#define X(sym, http, rcode, text) sym##_ORD_,
	WM_E_ORD_FIRST_ = -1,
#include "err.def"
#undef X
	WM_E_COUNT_,
};
enum {
#define X(sym, http, rcode, text) sym = WM_E_BASE_ - sym##_ORD_,
#include "err.def"
#undef X
};

#define WM_ERR_TEXT_MAX 512 /* octets of a message, NUL included; longer ones are cut */
struct wm_err {
	int code; /* 0: none */
	char text[WM_ERR_TEXT_MAX];
};

/** Fill @p e (may be NULL) and return @p code, so that `return wm_err_set(e, -EINVAL, "...")`
 * works. */
int wm_err_set(struct wm_err *e, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/** Constant text of a code: err.def's, else strerror's. Never NULL. */
const char *wm_err_str(int code);
/** Short symbol of a code ("WM_E_LIMIT", "ENOSPC"). Never NULL. */
const char *wm_err_name(int code);
/** HTTP status that a code is answered with; 500 for system errors, 507 for ENOSPC. */
int wm_err_http(int code);
