/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_ca.c - certificates and keys for a mesh, made without an agent. */
#include "userspace/base/err.h"
#include "userspace/security/ca.h"
#include "waymarkctl.h"

#include <stdlib.h>
#include <string.h>

#define DATACENTER "dc1" /* default of node.datacenter */

static const char *dir_of(const struct ctl *c)
{
	return c->dir ? c->dir : ".";
}

int ctl_ca_init(const struct ctl *c)
{
	const char *datacenter = c->args_count ? c->args[0] : DATACENTER;
	struct wm_err e = {0};

	if (wm_ca_init(dir_of(c), datacenter, c->days ? c->days : WM_CA_DAYS, &e))
		return ctl_fail(c, "%s", e.text);
	if (!c->json)
		printf("made %s/ca.pem, for every node of datacenter %s, and ca-key.pem, which "
		       "stays here\n"
		       "next: waymarkctl ca issue NODE --dir %s\n",
		       dir_of(c), datacenter, dir_of(c));
	return 0;
}

int ctl_ca_issue(const struct ctl *c)
{
	const char *addresses[WM_CA_ADDRESSES_MAX + 1] = {NULL};
	struct wm_err e = {0};
	int count = c->args_count - 1;

	if (count > WM_CA_ADDRESSES_MAX)
		return ctl_fail(c, "at most %d addresses are allowed", WM_CA_ADDRESSES_MAX);
	for (int n = 0; n < count; n++)
		addresses[n] = c->args[n + 1];
	if (wm_ca_issue(dir_of(c), c->args[0], addresses, c->days ? c->days : WM_CA_ISSUED, &e))
		return ctl_fail(c, "%s", e.text);
	if (!c->json)
		printf("made %s/%s.pem and %s-key.pem\n", dir_of(c), c->args[0], c->args[0]);
	return 0;
}

int ctl_ca_show(const struct ctl *c)
{
	struct wm_ca_shown shown = {0};
	struct wm_err e = {0};
	json_t *doc;

	if (wm_ca_show(c->args[0], &shown, &e))
		return ctl_fail(c, "%s", e.text);
	doc = json_pack("{s:s, s:I}", "identity", shown.identity, "days_left",
			(json_int_t)shown.days_left);
	return ctl_print(c, doc);
}
