/* SPDX-License-Identifier: Apache-2.0 */
/* draft.h - what a client asks for, before it is judged (validate.h) and built (object.h). Borrowed
 * from whoever decoded it. */
#pragma once
#include "model.h"

/* May a client have this agent run programs? Who forgets to say, says no. */
enum wm_scripts { WM_SCRIPTS_REMOTE = 0, WM_SCRIPTS_OFF, WM_SCRIPTS_ALLOWED };
/** Why a script check is refused, or is not run; in Consul's words. */
const char *wm_scripts_refusal(enum wm_scripts s);
/** The same of checks of an OS service, for which systemctl is run. */
const char *wm_units_refusal(enum wm_scripts s);

struct wm_check_draft {
	const char *id, *name, *notes, *target, *method, *body, *tls_server_name, *output;
	const char *type; /* STATED only: what it is called */
	enum wm_check_kind kind;
	unsigned headers_count;
	const struct wm_pair *headers;
	uint64_t interval_ms, timeout_ms, ttl_ms, deregister_after_ms;
	unsigned success_before_passing, failures_before_warning, failures_before_critical;
	enum wm_status status; /* initial; critical if !has_status */
	bool has_status;
	bool tls_skip_verify, disable_redirects;
	bool use_tls;		 /* TCP, gRPC, H2PING: a TLS handshake follows the connect */
	const char *const *args; /* script; STATED: as of struct wm_check */
	unsigned args_count;
	unsigned output_max;	/* octets kept of an output; 0: WM_CHECK_OUTPUT_MAX */
	const char *alias_node; /* alias: NULL, "" or this node's name, any case */
	/* of a check that comes with an instance, the instance's count */
	enum wm_scripts scripts, units; /* script checks; checks of OS services */
};
struct wm_instance_draft {
	const char *id; /* NULL: the name */
	const char *name;
	const char *address; /* NULL or "": the node's */
	uint32_t port;
	unsigned weight_passing, weight_warning; /* 1/1 if !has_weights */
	unsigned tags_count;
	const char *const *tags;
	const struct wm_pair *meta;
	const struct wm_tagged_address *tagged;
	const struct wm_check_draft *checks;
	unsigned meta_count, tagged_count, checks_count;
	const struct wm_traits *traits; /* NULL: none; its strings may be NULL */
	/* Registered along with it by wm_registry_register(), and gone with it. Consul's defaults
	 * stand for what it leaves out; its id is made. NULL: none. */
	const struct wm_instance_draft *sidecar;
	bool has_weights;
	bool enable_tag_override;
	bool replace_checks; /* false: keep checks that the draft does not name */
	enum wm_scripts scripts, units;
	/* Of an instance that is new or was stopped; NONE: running. One that is there keeps its. */
	enum wm_lifecycle lifecycle;
	uint64_t drain_until_ms; /* of stored instances only */
};

/* What is known of a node beside its name; NULL and "" are the same. */
struct wm_node_draft {
	const char *id, *address;
	const struct wm_pair *meta;
	const struct wm_pair *tagged; /* addresses by name */
	unsigned meta_count, tagged_count;
	const char *region, *zone; /* Consul's Locality; NULL or "": none */
};
