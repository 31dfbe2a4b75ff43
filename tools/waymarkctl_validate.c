/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_validate.c - what the agent's start would say of a configuration file. */
#include "userspace/config.h"
#include "waymarkctl.h"

static void on_fault(void *arg, const struct wm_err *e)
{
	ctl_fail(arg, "%s", e->text);
}

int ctl_validate(const struct ctl *c)
{
	struct wm_settings_source from = {.file = c->args[0], .dir = c->config_dir};
	struct ctl telling = *c;

	if (wm_config_examine(&from, on_fault, &telling) != WM_CONFIG_OK)
		return CTL_EXIT_FAILED;
	puts(c->json ? "{}" : "configuration ok");
	return 0;
}
