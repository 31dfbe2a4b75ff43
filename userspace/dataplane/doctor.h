/* SPDX-License-Identifier: Apache-2.0 */
/* doctor.h - what `waymarkctl doctor` finds in the kernel: what it offers, by trying, and what is
 * pinned and attached, from the pins alone, so that no agent need run. Everything is a finding with
 * the errno it rests on and a remedy. Nothing is changed. Threading: none. */
#pragma once
#include "plane.h"

enum wm_found {
	WM_FOUND_OK,
	WM_FOUND_NOTE,	/* worth knowing, with a way round it, or not to be found out */
	WM_FOUND_FAULT, /* something does not work that should */
};
struct wm_finding {
	const char *name; /* "bpffs" */
	enum wm_found result;
	int error; /* negative errno, or 0 */
	char text[512];
	char remedy[256]; /* "": none is needed */
};
typedef void (*wm_finding_fn)(void *arg, const struct wm_finding *f);

/** What this kernel offers and this user may do. Without the permission to ask the kernel that is
 *  the finding, and no feature is called missing. @return 0 or -EPERM. */
int wm_plane_probe(const struct wm_plane_config *c, wm_finding_fn fn, void *arg);

/* What the pins tell, for further questions. */
struct wm_inspection {
	bool pinned, held; /* by a running agent */
	bool has_config;
	struct wm_config config;
	char cgroup[256]; /* that is steered, "": none or not to be found */
	bool has_vip4;
	uint32_t vip4_be;		  /* of some service */
	char name[WM_DNS_NAME_MAX + 1];	  /* a virtual name with that address, dotted; "": none */
	char domain[WM_DNS_NAME_MAX + 1]; /* of the names; "": there are none */
};
/** What is pinned under @p pin_dir, attached where, whole or not, and who else is on those hooks.
 */
void wm_plane_inspect(const char *pin_dir, wm_finding_fn fn, void *arg, struct wm_inspection *ret);
