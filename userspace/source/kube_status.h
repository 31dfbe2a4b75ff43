/* SPDX-License-Identifier: Apache-2.0 */
/* kube_status.h - the statuses of WaymarkPolicies: what the agents make of each. There is no
 * leader. All judge alike (kube_said.h); one whose verdict is not what stands there waits for a
 * while that is drawn, and writes it if that is so still. The longer, the more nodes there are: of
 * all agents about one writes, the others see it by their watch, and who comes too late is told so
 * by the resourceVersion (409). A server that does not let us (403, 404) is asked again seldom.
 * Threading: loop thread only. */
#pragma once
#include "kube_client.h"
#include "kube_said.h"
#include "source.h"

struct kube_status;
struct kube_status_config {
	struct wm_loop *loop;
	struct wm_kube *client;	  /* freed before this is */
	struct kube_said *said;	  /* all borrowed */
	struct wm_source *source; /* counts */
	const unsigned *all;	  /* agents that there may be: each waits its turn among them */
};
/** @return NULL without memory. */
struct kube_status *kube_status_new(const struct kube_status_config *c);
void kube_status_free(struct kube_status *s); /* NULL ok */
/** A verdict is known, or what stands somewhere is another. */
void kube_status_look(struct kube_status *s);
