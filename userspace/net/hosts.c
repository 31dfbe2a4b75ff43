/* SPDX-License-Identifier: Apache-2.0 */
/* hosts.c - /etc/hosts as a table. */
#include "hosts.h"

#include "userspace/base/map.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LINE_MAX_LEN 1024	/* octets of a line; the rest of a longer one is not seen */
#define FILE_MAX     (1u << 20) /* octets that are read: some 10 ms of the loop */

struct wm_hosts {
	struct wm_map *by_name;
};

struct wm_hosts *wm_hosts_new(void)
{
	struct wm_hosts *h = calloc(1, sizeof(*h));

	if (h)
		h->by_name = wm_map_new(WM_HOSTS_MAX);
	if (h && !h->by_name) {
		free(h);
		return NULL;
	}
	return h;
}

static void clear(struct wm_hosts *h)
{
	struct wm_host *e;
	size_t pos = 0;

	while ((e = wm_map_next(h->by_name, &pos))) {
		wm_map_del(h->by_name, e->name, strlen(e->name));
		free(e);
	}
}

void wm_hosts_free(struct wm_hosts *h)
{
	if (!h)
		return;
	clear(h);
	wm_map_free(h->by_name);
	free(h);
}

static void add(struct wm_hosts *h, const char *name, const char *address)
{
	size_t len = strlen(name);
	struct wm_host *e = wm_map_get(h->by_name, name, len);

	if (!e) {
		e = calloc(1, sizeof(*e) + len + 1);
		if (!e)
			return;
		memcpy(e->name, name, len);
		if (wm_map_put(h->by_name, e->name, len, e, NULL)) {
			free(e);
			return;
		}
	}
	if (e->count < WM_HOST_ADDRS_MAX)
		snprintf(e->addrs[e->count++], INET6_ADDRSTRLEN, "%s", address);
}

static void read_line(struct wm_hosts *h, char *line)
{
	char *save = NULL, *address, *name;
	unsigned char any[16];

	line[strcspn(line, "#")] = '\0';
	for (char *c = line; *c; c++)
		*c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
	address = strtok_r(line, " \t\r\n", &save);
	if (!address ||
	    (inet_pton(AF_INET, address, any) != 1 && inet_pton(AF_INET6, address, any) != 1))
		return;
	while ((name = strtok_r(NULL, " \t\r\n", &save)))
		add(h, name, address);
}

void wm_hosts_load(struct wm_hosts *h, const char *path)
{
	FILE *f = fopen(path, "re");
	char line[LINE_MAX_LEN];
	size_t read = 0;

	clear(h);
	while (f && read < FILE_MAX && fgets(line, sizeof(line), f)) {
		read += strlen(line);
		read_line(h, line);
	}
	if (f)
		fclose(f);
}

const struct wm_host *wm_hosts_find(const struct wm_hosts *h, const char *name)
{
	return wm_map_get(h->by_name, name, strlen(name));
}
