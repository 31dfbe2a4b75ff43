/* SPDX-License-Identifier: Apache-2.0 */
/* rules_file.h - reads the operator's rules (metadata/rules.h) from a JSON file:
 *   {"rules": [{"name": "owned", "services": ["pay-*"], "required": ["owner"],
 *     "patterns": {"version": "^[0-9]+"}, "allowed": {"environment": ["prod", "test"]},
 *     "tags_required": ["team"], "tags_max": 8}]}
 * Only "name" must be there; an unknown key is an error. Threading: loop thread only; it blocks for
 * the file. */
#pragma once
#include "userspace/metadata/rules.h"

#define WM_RULES_FILE_MAX (1u << 20) /* octets of the file */

/** @param ret_rules for wm_rules_free(). @return 0, negative errno, WM_E_INVALID, WM_E_LIMIT; @p e
 *  names the file and the line, or the rule and the field. */
int wm_rules_read(const char *path, struct wm_rules **ret_rules, struct wm_err *e);
