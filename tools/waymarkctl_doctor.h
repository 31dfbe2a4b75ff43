/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_doctor.h - what the files of `waymarkctl doctor` share. */
#pragma once
#include "userspace/dataplane/doctor.h"
#include "waymarkctl.h"

/* A section of the report, and what it adds up to. */
struct ctl_findings {
	json_t *list;	  /* of the section; owned by the report */
	unsigned *faults; /* of the whole report */
};
/** A wm_finding_fn: @p arg is a struct ctl_findings. */
void ctl_found(void *arg, const struct wm_finding *f);
void ctl_finding(struct ctl_findings *to, struct wm_finding f, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** Connect a datagram socket to a virtual address within @p cgroup; sends nothing. @return 0: it
 * was steered, 1: it was not, negative errno: refused by the kernel's program, or not to be tried.
 */
int ctl_steered(const char *cgroup, uint32_t vip4_be);

/** Ask the addresses that DNS listens on, and where /etc/resolv.conf leads. @p status: of the
 * agent, or NULL. */
void ctl_doctor_dns(const json_t *status, const struct wm_inspection *i, struct ctl_findings *to);
