/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_validate.c - what the agent's start would say of a configuration file. */
#include "userspace/base/settings.h"
#include "waymarkctl.h"

#include <stdlib.h>
#include <string.h>

int ctl_validate(const struct ctl *c)
{
	struct wm_settings s;
	struct wm_err e = {0};
	int r = wm_settings_init(&s);

	if (!r)
		r = wm_settings_load(&s, c->args[0], &e);
	if (!r)
		r = wm_settings_check(&s, &e);
	wm_settings_done(&s);
	if (r)
		return ctl_fail(c, "%s", e.text);
	puts(c->json ? "{}" : "configuration ok");
	return 0;
}
