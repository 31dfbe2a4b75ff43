/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* fuzz_register_body.c - bodies of PUT /v1/agent/service/register, of PUT
 * /v1/waymark/instances/:id, of checks and of check updates. Whatever the octets: the decoder stays
 * inside them, a refusal has one sentence and a 4xx or the one 500 that Consul gives, and what is
 * accepted can be judged by the registry's validation and be registered in memory. The first octet
 * chooses the kind of body. */
#include "check.h"
#include "userspace/api/decode.h"
#include "userspace/model/validate.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_error(int code, const struct wm_err *e)
{
	int http = wm_err_http(code);

	check(e->code == code && *e->text && strlen(e->text) < sizeof(e->text));
	check((http >= 400 && http < 500) || code == WM_E_INTERNAL || code == WM_E_CONFLICT);
}

static struct wm_registry *registry_open(void)
{
	struct wm_registry_config c = {.env = &wm_env_system,
				       .node_name = "n",
				       .node_address = "10.0.0.1",
				       .datacenter = "d",
				       .instances_max = 4,
				       .services_max = 4,
				       .vip4_base = 0xf0000000,
				       .vip4_mask = 0xf0000000};
	struct wm_registry *r = NULL;

	c.vip6_prefix.s6_addr[0] = 0xfd;
	check(wm_registry_open(&c, &r, NULL) == 0);
	return r;
}

static void register_body(const char *body, size_t len, bool native)
{
	struct wm_instance_draft draft;
	struct wm_decoded *mem = NULL;
	struct wm_err e = {0};
	struct wm_registry *r;
	int err = native ? wm_decode_native(body, len, &mem, &draft, &e)
			 : wm_decode_register(body, len, &mem, &draft, &e);

	if (err) {
		check_error(err, &e);
		check(!mem);
		return;
	}
	check(mem != NULL);
	check(draft.scripts == WM_SCRIPTS_REMOTE); /* a body cannot say that it is trusted */
	draft.scripts = WM_SCRIPTS_ALLOWED;
	if (native) {
		check(!draft.id);
		check(draft.lifecycle <= WM_LIFE_RUNNING && !draft.drain_until_ms);
		draft.id = "a";
	}
	err = wm_draft_validate(&draft, &e);
	if (err) {
		check_error(err, &e);
	} else {
		r = registry_open();
		if (!wm_registry_register(r, &draft, NULL, NULL, &e)) {
			wm_registry_flush(r);
			check(wm_registry_instances(r) <= 1);
		}
		wm_registry_close(r);
	}
	wm_decoded_free(mem);
}

static void update_body(const char *body, size_t len)
{
	struct wm_decoded *mem = NULL;
	enum wm_status s = WM_CRITICAL;
	const char *output = NULL;
	struct wm_err e = {0};
	int err = wm_decode_check_update(body, len, &mem, &s, &output, &e);

	if (err) {
		check_error(err, &e);
		check(!mem);
		return;
	}
	check((unsigned)s <= WM_CRITICAL && output);
	check(strlen(output) <= len);
	wm_decoded_free(mem);
}

static void check_body(const char *body, size_t len)
{
	struct wm_check_draft draft;
	struct wm_decoded *mem = NULL;
	const char *service_id = NULL;
	struct wm_err e = {0};
	struct wm_registry *r;
	int err = wm_decode_check(body, len, &mem, &draft, &service_id, &e);

	if (err) {
		check_error(err, &e);
		check(!mem);
		return;
	}
	check(mem && service_id && draft.scripts == WM_SCRIPTS_REMOTE);
	draft.scripts = WM_SCRIPTS_ALLOWED;
	r = registry_open();
	err = wm_registry_check_register(r, service_id, &draft, NULL, NULL, &e);
	if (err)
		check_error(err, &e);
	wm_registry_flush(r);
	check(wm_registry_node_checks(r)->checks_count == (!err && !*service_id));
	wm_registry_close(r);
	wm_decoded_free(mem);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *copy;

	if (!size)
		return 0;
	copy = malloc(size); /* exact: a read behind the end is seen */
	check(copy != NULL);
	memcpy(copy, data + 1, size - 1);
	if (data[0] == '!')
		update_body(copy, size - 1);
	else if (data[0] == '?')
		check_body(copy, size - 1);
	else
		register_body(copy, size - 1, data[0] == '#');
	free(copy);
	return 0;
}
