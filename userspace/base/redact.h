/* SPDX-License-Identifier: Apache-2.0 */
/* redact.h - URLs that may be shown: in outputs of checks, answers and logs. Pure. */
#pragma once
#include <stddef.h>

/** Copy @p url with "hidden" in place of user and password, and of the value of each parameter
 * whose name tells of a secret (token, key, secret, pass, auth, sig, cred; any case), cut at @p
 * cap.
 *  @return @p to. Spec: RFC 3986, 3.2.1 and 3.4. */
const char *wm_redact_url(const char *url, char *to, size_t cap);
