/* SPDX-License-Identifier: Apache-2.0 */
/* json_text.c - see json_text.h. */
#include "json_text.h"

#include <jansson.h>

bool wm_json_text_valid(const char *s)
{
	json_t *v = json_loads(s, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);

	json_decref(v);
	return v != NULL;
}
