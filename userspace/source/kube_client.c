/* SPDX-License-Identifier: Apache-2.0 */
/* kube_client.c - see kube_client.h. */
#include "kube_client.h"

const char *wm_kube_state_name(enum wm_kube_state state)
{
	static const char *const names[] = {
		[WM_KUBE_CONNECTING] = "connecting", [WM_KUBE_LISTING] = "listing",
		[WM_KUBE_WATCHING] = "watching",     [WM_KUBE_AWAY] = "away",
		[WM_KUBE_REFUSED] = "refused",
	};

	return names[state];
}
