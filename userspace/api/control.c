/* SPDX-License-Identifier: Apache-2.0 */
/* control.c - what clients ask of the agent itself: read the settings again, and stop. */
#include "internal.h"

#include <stdio.h>

static void on_reloaded(void *write, int code, const char *text)
{
	struct wm_write *w = write;
	char why[WM_ERR_TEXT_MAX];

	snprintf(why, sizeof(why), "Settings are as before: %.*s",
		 (int)(sizeof(why) - sizeof("Settings are as before: ")), text);
	/* whatever is wrong, it is wrong here and not with the request */
	wm_write_done(w, code ? WM_E_INTERNAL : 0, why);
}

void wm_agent_reload(struct wm_call *c)
{
	struct wm_err e = {0};
	struct wm_write *w;

	if (!c->api->d.reload) {
		wm_answer_text(c, 501, "This agent has no settings to read again");
		return;
	}
	w = wm_write_keep(c);
	if (!w || !c->api->d.reload(c->api->d.agent, on_reloaded, w, &e))
		return;
	wm_write_drop(w);
	wm_answer_err(c, &e);
}

void wm_agent_leave(struct wm_call *c)
{
	if (!c->api->d.leave) {
		wm_answer_text(c, 501, "This agent cannot be stopped by a request");
		return;
	}
	c->api->d.leave(c->api->d.agent);
	wm_answer_empty(c);
}
