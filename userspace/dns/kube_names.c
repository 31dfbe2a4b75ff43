/* SPDX-License-Identifier: Apache-2.0 */
/* kube_names.c - what a name of the cluster's domain asks for, and the labels of endpoints. */
#include "kube.h"
#include "text.h"
#include "userspace/metadata/mesh.h"

#include <arpa/inet.h>
#include <string.h>

#define LABELS_MAX 5 /* of the longest form, before the zone's: _http._tcp.web.default.svc */
/* Octets that a service's names need before the zone: three labels, the longest of each. */
#define BEFORE_MAX (2 * (WM_DNS_LABEL_MAX + 1) + sizeof("\3svc") - 1)

bool wm_kube_zone_of(const char *text, struct wm_kube_zone *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (!*text || !wm_dns_wire(text, ret->wire) || !*ret->wire)
		return false;
	for (const uint8_t *l = ret->wire; *l; l += *l + 1u)
		ret->len += *l + 1u;
	ret->len++;
	return ret->len + BEFORE_MAX <= WM_DNS_NAME_MAX;
}

static bool is(const uint8_t *label, const char *text)
{
	return *label == strlen(text) && memcmp(label + 1, text, *label) == 0;
}

/* Labels before the zone. @return how many, LABELS_MAX + 1 for more; -1: it is not in the zone. */
static int split(const struct wm_kube_zone *z, const uint8_t *folded, size_t len,
		 const uint8_t *at[LABELS_MAX])
{
	size_t before = len - z->len;
	int n = 0;

	if (len < z->len || memcmp(folded + before, z->wire, z->len) != 0)
		return -1;
	for (size_t i = 0; i != before; i += folded[i] + 1u) {
		if (i > before)
			return -1; /* it ends with the zone's octets, within a label */
		if (n < LABELS_MAX)
			at[n] = folded + i;
		n += n <= LABELS_MAX;
	}
	return n;
}

/* @return false: it holds an octet 0, which would end a string, or a slash, which ends a scope. */
static bool take(const uint8_t *label, size_t skip, char *out)
{
	size_t len = *label - skip;

	memcpy(out, label + 1 + skip, len);
	out[len] = '\0';
	return len && strlen(out) == len && !strchr(out, '/');
}

static bool take_key(const uint8_t *scope, const uint8_t *service, char *out)
{
	size_t len = *scope;

	if (!take(scope, 0, out))
		return false;
	out[len++] = '/';
	out[len] = '\0';
	return !service || take(service, 0, out + len);
}

static bool is_tag(const uint8_t *label)
{
	return *label > 1 && label[1] == '_';
}

/* @p n labels stand before <namespace>.svc, the last of which is the service. */
static bool parse_service(const uint8_t *const *at, int n, struct wm_kube_ask *ret)
{
	if (n == 1) {
		ret->form = WM_KUBE_SERVICE;
		return true;
	}
	if (n == 2) {
		ret->form = is_tag(at[0]) ? WM_KUBE_PROTO : WM_KUBE_ENDPOINT;
		return take(at[0], is_tag(at[0]), ret->first);
	}
	ret->form = WM_KUBE_PORT;
	return n == 3 && is_tag(at[0]) && is_tag(at[1]) && take(at[0], 1, ret->second) &&
	       take(at[1], 1, ret->first);
}

static enum wm_kube_form parse_one(const uint8_t *label)
{
	return is(label, "svc") || is(label, "pod") ? WM_KUBE_BRANCH
	       : is(label, "ns")		    ? WM_KUBE_NS
	       : is(label, "dns-version")	    ? WM_KUBE_DNS_VERSION
						    : WM_KUBE_NOTHING;
}

/* @return false: no such name can be. */
static bool parse(const uint8_t *const *at, int n, struct wm_kube_ask *ret)
{
	bool pod;

	if (n < 2) {
		ret->form = n ? parse_one(at[0]) : WM_KUBE_APEX;
		return true;
	}
	if (n > LABELS_MAX)
		return false;
	pod = is(at[n - 1], "pod");
	if (!pod && !is(at[n - 1], "svc"))
		return false;
	if (!take_key(at[n - 2], n > 2 && !pod ? at[n - 3] : NULL, ret->key))
		return false;
	if (n == 2) {
		ret->form = WM_KUBE_NAMESPACE;
		return true;
	}
	if (!pod)
		return parse_service(at, n - 2, ret);
	ret->form = WM_KUBE_POD;
	return n == 3 && take(at[0], 0, ret->first);
}

bool wm_kube_parse(const struct wm_kube_zone *z, const uint8_t *folded, size_t len,
		   struct wm_kube_ask *ret)
{
	const uint8_t *at[LABELS_MAX] = {NULL};
	int n = split(z, folded, len, at);

	if (n < 0)
		return false;
	memset(ret, 0, sizeof(*ret));
	if (!parse(at, n, ret))
		ret->form = WM_KUBE_NOTHING;
	return true;
}

/* --- endpoints -------------------------------------------------------------------------------- */
void wm_kube_dashed(const struct in_addr *a4, const struct in6_addr *a6, char ret[INET6_ADDRSTRLEN])
{
	ret[0] = '\0';
	if (a4->s_addr)
		inet_ntop(AF_INET, a4, ret, INET6_ADDRSTRLEN);
	else
		inet_ntop(AF_INET6, a6, ret, INET6_ADDRSTRLEN);
	for (char *p = ret; *p; p++)
		if (*p == '.' || *p == ':')
			*p = '-';
}

int wm_kube_undashed(const char *label, struct in_addr *ret4, struct in6_addr *ret6)
{
	char text[WM_DNS_LABEL_MAX + 1], again[INET6_ADDRSTRLEN];
	unsigned dashes = 0;
	bool is4;

	memset(ret4, 0, sizeof(*ret4));
	memset(ret6, 0, sizeof(*ret6));
	for (const char *p = label; *p; p++)
		dashes += *p == '-';
	is4 = dashes == 3 && !strstr(label, "--");
	for (size_t i = 0; i <= strlen(label); i++)
		text[i] = (char)(label[i] != '-' ? label[i] : is4 ? '.' : ':');
	if (is4 ? inet_pton(AF_INET, text, ret4) != 1 : inet_pton(AF_INET6, text, ret6) != 1)
		return 0;
	/* an address has one such name */
	wm_kube_dashed(ret4, ret6, again);
	return strcmp(again, label) != 0 ? 0 : is4 ? 4 : 6;
}

const char *wm_kube_host(const struct wm_instance *i, char room[INET6_ADDRSTRLEN])
{
	const char *host = wm_mesh_value(i, "hostname");

	if (*host)
		return host;
	wm_kube_dashed(&i->addr4, &i->addr6, room);
	return room;
}
