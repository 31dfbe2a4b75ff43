/* SPDX-License-Identifier: Apache-2.0 */
/* mesh.c - see mesh.h. */
#include "mesh.h"

#include <errno.h>
#include <string.h>

/* What Consul's Locality says stands before metadata of the same name. */
static const char *locality(const struct wm_instance *i, const char *key)
{
	return !i->traits		    ? ""
	       : strcmp(key, "region") == 0 ? i->traits->region
	       : strcmp(key, "zone") == 0   ? i->traits->zone
					    : "";
}

const char *wm_mesh_value(const struct wm_instance *i, const char *key)
{
	const char *place = locality(i, key);

	if (*place)
		return place;
	for (unsigned n = 0; n < i->meta_count; n++) {
		if (*i->meta[n].key == *key && strcmp(i->meta[n].key, key) == 0)
			return i->meta[n].value;
	}
	return "";
}

bool wm_mesh_next(const char **at, const char **ret, size_t *ret_len)
{
	const char *s = *at + strspn(*at, ", \t");
	size_t len = strcspn(s, ",");

	*at = s + len;
	while (len && (s[len - 1] == ' ' || s[len - 1] == '\t'))
		len--;
	*ret = s;
	*ret_len = len;
	return len > 0;
}

bool wm_mesh_has(const char *list, const char *element)
{
	size_t want = strlen(element), len;
	const char *s;

	while (wm_mesh_next(&list, &s, &len)) {
		if (len == want && memcmp(s, element, len) == 0)
			return true;
	}
	return false;
}

bool wm_mesh_protocol_valid(const char *s)
{
	size_t n = 0;

	if (*s < 'a' || *s > 'z')
		return false;
	for (; s[n]; n++) {
		if (n == WM_MESH_PROTOCOL_MAX ||
		    (!(s[n] >= 'a' && s[n] <= 'z') && !(s[n] >= '0' && s[n] <= '9') &&
		     s[n] != '+' && s[n] != '-' && s[n] != '.'))
			return false;
	}
	return true;
}

int wm_mesh_endpoint_parse(const char *s, struct wm_mesh_endpoint *ret)
{
	size_t n = strcspn(s, ":");

	*ret = (struct wm_mesh_endpoint){.path = ""};
	if (!s[n] || n > WM_MESH_PROTOCOL_MAX)
		return -EINVAL;
	memcpy(ret->protocol, s, n);
	if (!wm_mesh_protocol_valid(ret->protocol))
		return -EINVAL;
	for (s += n + 1; *s >= '0' && *s <= '9' && ret->port <= UINT16_MAX; s++)
		ret->port = ret->port * 10 + (unsigned)(*s - '0');
	if (!ret->port || ret->port > UINT16_MAX || (*s && *s != '/'))
		return -EINVAL;
	ret->path = s;
	return 0;
}

const char *wm_mesh_endpoint_name(const char *key)
{
	size_t n = sizeof(WM_MESH_ENDPOINT_KEY) - 1;

	return strncmp(key, WM_MESH_ENDPOINT_KEY, n) == 0 && key[n] ? key + n : NULL;
}

unsigned wm_mesh_endpoint_port(const struct wm_instance *i, const char *name)
{
	struct wm_mesh_endpoint e;

	for (unsigned n = 0; n < i->meta_count; n++) {
		const char *its = wm_mesh_endpoint_name(i->meta[n].key);

		if (its && strcmp(its, name) == 0)
			return wm_mesh_endpoint_parse(i->meta[n].value, &e) ? 0 : e.port;
	}
	return 0;
}
