/* SPDX-License-Identifier: Apache-2.0 */
/* reference.h - the reference pages, printed from the tables in the code. Threading: no state. */
#pragma once
#include <stdio.h>

/** Print page @p name ("settings", "counters", "errors", "endpoints") in Markdown, or
 *  "openapi" in JSON, "man" in roff.
 *  @return 0, -ENOENT. */
int wm_reference(const char *name, FILE *out);
