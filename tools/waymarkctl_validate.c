/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_validate.c - what the agent's start would say of a configuration file. */
#include "userspace/api/definitions.h"
#include "userspace/config.h"
#include "waymarkctl.h"

#include <stdlib.h>
#include <string.h>

static void on_fault(void *arg, const struct wm_err *e)
{
	ctl_fail(arg, "%s", e->text);
}

int ctl_validate(const struct ctl *c)
{
	struct wm_settings_source from = {.file = c->args[0], .dir = c->config_dir};
	struct wm_definitions *defined = NULL;
	struct wm_err e = {0};
	struct ctl telling = *c;
	enum wm_config_verdict v;
	struct wm_settings s;
	int r = wm_settings_gather_all(&s, &from, on_fault, &telling);

	if (!r) {
		r = wm_definitions_read(&from, &s, &defined, &e);
		wm_definitions_free(defined);
		if (r)
			on_fault(&telling, &e);
	}
	v = wm_config_check(&s, on_fault, &telling);
	wm_settings_done(&s);
	if (r || v != WM_CONFIG_OK)
		return CTL_EXIT_FAILED;
	puts(c->json ? "{}" : "configuration ok");
	return 0;
}
