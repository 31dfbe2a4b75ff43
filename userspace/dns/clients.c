/* SPDX-License-Identifier: Apache-2.0 */
/* clients.c - how much of something each client has: of IPv6 one network, as one host has many
 * addresses of it. */
#include "internal.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

struct wm_dns_client {
	uint8_t addr[WM_DNS_CLIENT_LEN];
	unsigned count;
};

struct wm_dns_clients {
	struct wm_map *all;
	unsigned max;
};

void wm_dns_client_of(const struct sockaddr_storage *from, uint8_t ret[WM_DNS_CLIENT_LEN])
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)from;

	memset(ret, 0, WM_DNS_CLIENT_LEN);
	if (from->ss_family == AF_INET6)
		memcpy(ret, &in6->sin6_addr, 8);
	else
		wm_places_map4(&((const struct sockaddr_in *)from)->sin_addr, ret);
}

struct wm_dns_clients *wm_dns_clients_new(unsigned all_max, unsigned max)
{
	struct wm_dns_clients *k = calloc(1, sizeof(*k));

	if (!k)
		return NULL;
	k->max = max;
	k->all = wm_map_new(all_max);
	if (!k->all) {
		free(k);
		return NULL;
	}
	return k;
}

void wm_dns_clients_free(struct wm_dns_clients *k)
{
	if (k)
		wm_map_free(k->all);
	free(k);
}

int wm_dns_clients_enter(struct wm_dns_clients *k, const uint8_t addr[WM_DNS_CLIENT_LEN],
			 struct wm_dns_client **ret)
{
	struct wm_dns_client *c = wm_map_get(k->all, addr, WM_DNS_CLIENT_LEN);

	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c)
			return -ENOMEM;
		memcpy(c->addr, addr, sizeof(c->addr));
		if (wm_map_put(k->all, c->addr, sizeof(c->addr), c, NULL)) {
			free(c);
			return -ENOMEM;
		}
	} else if (c->count >= k->max) {
		return -EDQUOT;
	}
	c->count++;
	*ret = c;
	return 0;
}

void wm_dns_clients_leave(struct wm_dns_clients *k, struct wm_dns_client *c)
{
	if (!c || --c->count)
		return;
	wm_map_del(k->all, c->addr, sizeof(c->addr));
	free(c);
}
