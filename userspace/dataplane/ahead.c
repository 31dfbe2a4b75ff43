/* SPDX-License-Identifier: Apache-2.0 */
/* ahead.c - a hash map's entries, many a call: to adopt the tables of a big cluster one by one
 * would be a hundred thousand calls, a tenth of the start. */
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define AHEAD_ENTRIES 512 /* a call: more than any bucket has; 150 KB of names */

struct wm_ahead {
	int fd;
	size_t key_size, value_size;
	char *keys, *values;
	uint32_t at, count; /* of what was read */
	uint32_t token;	    /* the kernel's: the bucket where the next call goes on */
	bool begun, over;
};

struct wm_ahead *wm_ahead_new(int fd, size_t key_size, size_t value_size)
{
	struct wm_ahead *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	*a = (struct wm_ahead){.fd = fd,
			       .key_size = key_size,
			       .value_size = value_size,
			       .keys = malloc(AHEAD_ENTRIES * key_size),
			       .values = malloc(AHEAD_ENTRIES * value_size)};
	if (a->keys && a->values)
		return a;
	wm_ahead_free(a);
	return NULL;
}

void wm_ahead_free(struct wm_ahead *a)
{
	if (!a)
		return;
	free(a->keys);
	free(a->values);
	free(a);
}

int wm_ahead_next(struct wm_ahead *a, bool first, void *key, void *value)
{
	int r;

	if (first) {
		a->at = a->count = 0;
		a->begun = a->over = false;
	}
	while (a->at == a->count) {
		if (a->over)
			return -ENOENT;
		a->at = 0;
		a->count = AHEAD_ENTRIES;
		r = bpf_map_lookup_batch(a->fd, a->begun ? &a->token : NULL, &a->token, a->keys,
					 a->values, &a->count, NULL);
		if (r && r != -ENOENT) {
			a->count = 0;
			return r;
		}
		a->over = r == -ENOENT;
		a->begun = true;
	}
	memcpy(key, a->keys + a->at * a->key_size, a->key_size);
	memcpy(value, a->values + a->at * a->value_size, a->value_size);
	a->at++;
	return 0;
}
