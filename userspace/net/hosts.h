/* SPDX-License-Identifier: Apache-2.0 */
/* hosts.h - /etc/hosts as a table: addresses by name and alias. Threading: one owner.
 * Spec: hosts(5). */
#pragma once
#include <netinet/in.h>

#define WM_HOSTS_MAX	  32768 /* names; more are not seen */
#define WM_HOST_ADDRS_MAX 8	/* addresses of one */

struct wm_hosts;
struct wm_host {
	unsigned count;
	char addrs[WM_HOST_ADDRS_MAX][INET6_ADDRSTRLEN];
	char name[]; /* lower case */
};
struct wm_hosts *wm_hosts_new(void);	/* empty; NULL without memory */
void wm_hosts_free(struct wm_hosts *h); /* NULL ok */
/** Read a file in place of what was read before; one that is not there has no names. */
void wm_hosts_load(struct wm_hosts *h, const char *path);
/** @p name in lower case. Borrowed until the next load; NULL: unknown. */
const struct wm_host *wm_hosts_find(const struct wm_hosts *h, const char *name);
