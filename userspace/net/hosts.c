/* SPDX-License-Identifier: Apache-2.0 */
/* hosts.c - /etc/hosts as a table. */
#include "hosts.h"

#include "userspace/base/log.h"
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

/* One line without its end. @return octets read, 0 at the end of the file; @p line is cut where it
 * is full. */
static size_t next_line(FILE *f, char line[LINE_MAX_LEN], size_t *ret_len)
{
	size_t read = 0, len = 0;
	int c;

	while (read < FILE_MAX && (c = getc_unlocked(f)) != EOF) {
		read++;
		if (c == '\n')
			break;
		if (len < LINE_MAX_LEN - 1)
			line[len++] = (char)c;
	}
	line[len] = '\0';
	*ret_len = len;
	return read;
}

void wm_hosts_load(struct wm_hosts *h, const char *path)
{
	FILE *f = fopen(path, "re");
	size_t read = 0, more, len;
	char line[LINE_MAX_LEN];
	unsigned number = 1;

	clear(h);
	for (; f && read < FILE_MAX && (more = next_line(f, line, &len)); read += more, number++) {
		if (strlen(line) == len)
			read_line(h, line);
		else /* what is behind it would be lost without a word */
			wm_warn("hosts.line",
				"path=%s line=%u text=\"a NUL octet is within the line: not read\"",
				wm_log_q(path), number);
	}
	if (f)
		fclose(f);
}

const struct wm_host *wm_hosts_find(const struct wm_hosts *h, const char *name)
{
	return wm_map_get(h->by_name, name, strlen(name));
}
