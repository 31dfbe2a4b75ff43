/* SPDX-License-Identifier: Apache-2.0 */
/* mesh.c - see mesh.h. */
#include "mesh.h"

#include <stdlib.h>
#include <string.h>

const char *wm_mesh_text(const struct wm_instance *i, const char *key)
{
	for (unsigned n = 0; n < i->meta_count; n++) {
		if (strcmp(i->meta[n].key, key) == 0)
			return i->meta[n].value;
	}
	return "";
}

const char *wm_mesh_word(const char **at, size_t *ret_len)
{
	const char *begin = *at + strspn(*at, ", \t");
	size_t len = strcspn(begin, ",");

	*at = begin + len;
	while (len && (begin[len - 1] == ' ' || begin[len - 1] == '\t'))
		len--;
	*ret_len = len;
	return len ? begin : NULL;
}

bool wm_mesh_has_word(const char *list, const char *word)
{
	size_t len = strlen(word), n;
	const char *w;

	while ((w = wm_mesh_word(&list, &n))) {
		if (n == len && memcmp(w, word, len) == 0)
			return true;
	}
	return false;
}

bool wm_mesh_is_list(const char *key)
{
	return strcmp(key, WM_MESH_CAPABILITIES) == 0 || strcmp(key, WM_MESH_DEPENDENCIES) == 0;
}

bool wm_mesh_endpoint(const struct wm_pair *p, struct wm_mesh_endpoint *ret)
{
	const size_t prefix = sizeof(WM_MESH_ENDPOINT) - 1;
	size_t len = strcspn(p->value, ":");
	const char *at = p->value + len;
	char *end;

	if (strncmp(p->key, WM_MESH_ENDPOINT, prefix) != 0 || !p->key[prefix] || !len ||
	    len >= sizeof(ret->protocol) || at[0] != ':' || at[1] < '0' || at[1] > '9')
		return false;
	ret->port = (unsigned)strtoul(at + 1, &end, 10);
	if (ret->port > 65535 || end - at > 6 || (*end && *end != '/'))
		return false;
	ret->name = p->key + prefix;
	ret->path = end;
	memcpy(ret->protocol, p->value, len);
	ret->protocol[len] = '\0';
	return true;
}
