/* SPDX-License-Identifier: Apache-2.0 */
/* config_consul.c - see config_consul.h. */
#include "config_consul.h"

#include "userspace/base/macros.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

int wm_config_consul(const struct wm_settings *s, struct wm_consul_config *ret, struct wm_err *e)
{
	const struct {
		const char *setting, *path;
	} files[] = {{"source.consul_token_file", s->source_consul_token_file},
		     {"source.consul_ca_file", s->source_consul_ca_file},
		     {"source.consul_cert_file", s->source_consul_cert_file},
		     {"source.consul_key_file", s->source_consul_key_file}};

	for (size_t n = 0; n < WM_ARRAY_LEN(files); n++) {
		int err;

		if (!*files[n].path || !access(files[n].path, R_OK))
			continue;
		err = -errno;
		return wm_err_set(e, err, "%s: cannot read %s: %s", files[n].setting, files[n].path,
				  strerror(-err));
	}
	ret->addresses = s->source_consul_addresses;
	ret->token = s->source_consul_token;
	ret->token_file = s->source_consul_token_file;
	ret->ca_file = s->source_consul_ca_file;
	ret->cert_file = s->source_consul_cert_file;
	ret->key_file = s->source_consul_key_file;
	ret->datacenter = s->source_consul_datacenter;
	ret->filter = s->source_consul_filter;
	ret->services = s->source_consul_services;
	ret->wait_ms = s->source_consul_wait_ms;
	ret->queries_max = (unsigned)s->source_consul_queries_max;
	ret->memory_max = s->source_consul_memory_max;
	ret->instances_max = (unsigned)s->source_consul_instances_max;
	ret->services_max = (unsigned)s->source_consul_services_max;
	ret->stale = s->source_consul_stale;
	ret->pass_on = s->source_consul_pass_on;
	ret->ttl_ms = s->source_consul_ttl_ms;
	return 0;
}
