/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_names.h - names of DNS on the command line, label by label, escapes taken away: a
 * service's name may have dots. Threading: no state. */
#pragma once
#include "waymarkctl.h"

#define CTL_LABELS_MAX 128 /* of a name: a label and its dot are two octets at least */

struct ctl_name {
	char text[CTL_NAME_MAX + 2];
	char *label[CTL_LABELS_MAX];
	int n;
};

/** Split @p arg at the dots that have no backslash before them. */
void ctl_name_split(struct ctl_name *n, const char *arg);
/** Take @p domain from its end. @return false: it is not there, or "". */
bool ctl_name_cut(struct ctl_name *n, const char *domain);
/** Which label tells the kind (service, virtual, node, addr, query): the last, or the one before
 *  a datacenter. @return -1: none. */
int ctl_name_kind(const struct ctl_name *n, const char *datacenter);
/** Labels @p first to @p end, dots between. */
void ctl_name_join(const struct ctl_name *n, int first, int end, char *out, size_t cap);
/** The address of a name below in-addr.arpa or ip6.arpa, as text. @return 1; 0: it is no such name;
 *  -1: it is, and not of one address. */
int ctl_name_reverse(const struct ctl_name *n, char out[CTL_NAME_MAX + 1]);
