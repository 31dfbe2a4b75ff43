/* SPDX-License-Identifier: Apache-2.0 */
/* validate.h - what a client may register, judged by itself without the registry's state. Texts are
 * Consul's where Consul has one, else one sentence that names field and limit. Pure. */
#pragma once
#include "draft.h"
#include "userspace/base/err.h"

/** @return 0 or WM_E_INVALID / WM_E_LIMIT with @p e filled. Cost O(size of the draft). */
int wm_draft_validate(const struct wm_instance_draft *d, struct wm_err *e);
/** The same of a check that is registered by itself. */
int wm_check_draft_validate(const struct wm_check_draft *d, struct wm_err *e);
/** Name of a node: 1 to 63 printable octets. */
int wm_node_name_validate(const char *name, struct wm_err *e);
int wm_node_draft_validate(const struct wm_node_draft *d, struct wm_err *e);
/** True for letters, digits and dashes, 1..63 octets, no dash at either end: one DNS label. */
bool wm_label_valid(const char *s);
/** May a service have this name: 1..255 octets, none a control character?
 */
bool wm_service_name_valid(const char *name);
