/* SPDX-License-Identifier: Apache-2.0 */
/* ttl.h - rules that give names a TTL, as Consul's dns_config.service_ttl: a name itself, else the
 * longest prefix ("web*"; "*" is every name's). Threading: read-only once made. */
#pragma once
#include "err.h"

#include <stdbool.h>
#include <stdint.h>

#define WM_TTL_MAX_S 604800 /* s: a week, the bound of every TTL that is set */

struct wm_ttls;
/** @param rules "name=10s" or "prefix*=1m" each, NULL at the end. @return 0; WM_E_INVALID, @p e
 *  tells the rule and what is wrong with it; -ENOMEM. */
int wm_ttls_new(char *const *rules, struct wm_ttls **ret, struct wm_err *e);
void wm_ttls_free(struct wm_ttls *t); /* NULL ok */
/** The TTL of @p name, any case, in seconds. @return false: no rule is its. @p t NULL: none. */
bool wm_ttls_find(const struct wm_ttls *t, const char *name, uint32_t *ret_s);
