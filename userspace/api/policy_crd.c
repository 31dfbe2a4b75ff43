/* SPDX-License-Identifier: Apache-2.0 */
/* policy_crd.c - the custom resource WaymarkPolicy, whose spec is a policy: from the table of a
 * policy's fields, so that an API server refuses what the agent would refuse. Structural schemas
 * have neither `oneOf` of types nor properties beside additionalProperties: what may be written in
 * two forms is left open there, and judged by the agent. */
#include "api.h"
#include "userspace/base/macros.h"
#include "userspace/model/policy.h"
#include "writer.h"

#include <stdio.h>

#define CRD_MAX	       (64u << 10) /* octets of it: some 8 KiB today */
#define KUBE_OPEN      "x-kubernetes-preserve-unknown-fields"
#define KUBE_EITHER    "x-kubernetes-int-or-string"
#define KUBE_LIST      "x-kubernetes-list-type"
#define KUBE_KEYS      "x-kubernetes-list-map-keys"
#define CONDITION      ".status.conditions[?(@.type==\"Accepted\")]"
#define CONDITIONS_MAX 8 /* there is one today */

static void put_field(struct wm_json *j, const struct wm_policy_field *f)
{
	wm_json_kopen(j, f->name, '{');
	wm_json_ks(j, "description", f->help);
	switch (f->type) {
	case WM_POLICY_ENUM:
		wm_json_ks(j, "type", "string");
		wm_json_kopen(j, "enum", '[');
		for (uint32_t n = 0; n <= f->max; n++)
			wm_json_string(j, f->names[n]);
		wm_json_close(j, ']');
		break;
	case WM_POLICY_SECONDS: /* "10s", or 10 */
		wm_json_kb(j, KUBE_EITHER, true);
		break;
	case WM_POLICY_NUMBER:
		wm_json_ks(j, "type", "integer");
		wm_json_ku(j, "minimum", f->min);
		wm_json_ku(j, "maximum", f->max);
		break;
	case WM_POLICY_PERCENT:
	case WM_POLICY_RATIO:
		wm_json_ks(j, "type", "number");
		break;
	case WM_POLICY_FLAG:
		wm_json_ks(j, "type", "boolean");
		break;
	case WM_POLICY_TEXT:
		wm_json_ks(j, "type", "string");
		wm_json_ku(j, "maxLength", f->max);
		break;
	}
	wm_json_close(j, '}');
}

static void put_fields(struct wm_json *j, const struct wm_policy_section *s)
{
	wm_json_ks(j, "type", "object");
	wm_json_kopen(j, "properties", '{');
	for (unsigned n = 0; n < s->fields_count; n++)
		put_field(j, &s->fields[n]);
	wm_json_close(j, '}');
}

static void put_section(struct wm_json *j, const struct wm_policy_section *s)
{
	wm_json_kopen(j, s->name, '{');
	if (s->form == WM_POLICY_OBJECT) {
		put_fields(j, s);
	} else if (s->form == WM_POLICY_MAP) { /* its second field alone may stand for all */
		wm_json_ks(j, "type", "object");
		wm_json_ku(j, "maxProperties", s->max);
		wm_json_kopen(j, "additionalProperties", '{');
		wm_json_kb(j, KUBE_OPEN, true);
		wm_json_close(j, '}');
	} else {
		wm_json_ks(j, "type", "array");
		wm_json_ku(j, "maxItems", s->max);
		wm_json_kopen(j, "items", '{');
		put_fields(j, s);
		wm_json_close(j, '}');
	}
	wm_json_close(j, '}');
}

static void put_spec(struct wm_json *j)
{
	wm_json_kopen(j, "spec", '{');
	wm_json_ks(j, "description", "The object that /v1/waymark/policies takes");
	wm_json_ks(j, "type", "object");
	wm_json_kopen(j, "properties", '{');
	wm_json_kopen(j, "service", '{');
	wm_json_ks(j, "description",
		   "Service of this namespace; left out: of the resource's own name");
	wm_json_ks(j, "type", "string");
	wm_json_ku(j, "maxLength", WM_DNS_LABEL_MAX);
	wm_json_close(j, '}');
	for (unsigned n = 0; n < wm_policy_sections[0].fields_count; n++)
		put_field(j, &wm_policy_sections[0].fields[n]);
	for (unsigned n = 1; n < wm_policy_sections_count; n++) {
		if (!wm_policy_sections[n].hidden)
			put_section(j, &wm_policy_sections[n]);
	}
	wm_json_close(j, '}');
	wm_json_close(j, '}');
}

/* As metav1.Condition has it; `type` is the key of the list. */
static void put_condition(struct wm_json *j)
{
	static const char *const texts[] = {"type", "status", "reason", "message"};
	static const unsigned most[] = {316, 7, 1024, 32768};

	wm_json_ks(j, "type", "object");
	wm_json_kopen(j, "required", '[');
	wm_json_string(j, "type");
	wm_json_string(j, "status");
	wm_json_close(j, ']');
	wm_json_kopen(j, "properties", '{');
	for (unsigned n = 0; n < WM_ARRAY_LEN(texts); n++) {
		wm_json_kopen(j, texts[n], '{');
		wm_json_ks(j, "type", "string");
		wm_json_ku(j, "maxLength", most[n]);
		wm_json_close(j, '}');
	}
	wm_json_kopen(j, "observedGeneration", '{');
	wm_json_ks(j, "type", "integer");
	wm_json_ks(j, "format", "int64");
	wm_json_close(j, '}');
	wm_json_kopen(j, "lastTransitionTime", '{');
	wm_json_ks(j, "type", "string");
	wm_json_ks(j, "format", "date-time");
	wm_json_close(j, '}');
	wm_json_close(j, '}');
}

static void put_status(struct wm_json *j)
{
	wm_json_kopen(j, "status", '{');
	wm_json_ks(j, "description",
		   "What the agents make of it: condition Accepted, its message names the field");
	wm_json_ks(j, "type", "object");
	wm_json_kopen(j, "properties", '{');
	wm_json_kopen(j, "conditions", '{');
	wm_json_ks(j, "type", "array");
	wm_json_ks(j, KUBE_LIST, "map");
	wm_json_kopen(j, KUBE_KEYS, '[');
	wm_json_string(j, "type");
	wm_json_close(j, ']');
	wm_json_ku(j, "maxItems", CONDITIONS_MAX);
	wm_json_kopen(j, "items", '{');
	put_condition(j);
	wm_json_close(j, '}');
	wm_json_close(j, '}');
	wm_json_close(j, '}');
	wm_json_close(j, '}');
}

/* @p wide: only by -o wide. */
static void put_column(struct wm_json *j, const char *name, const char *type, const char *path,
		       bool wide)
{
	wm_json_open(j, '{');
	wm_json_ks(j, "name", name);
	wm_json_ks(j, "type", type);
	wm_json_ks(j, "jsonPath", path);
	if (wide)
		wm_json_ku(j, "priority", 1);
	wm_json_close(j, '}');
}

static void put_columns(struct wm_json *j)
{
	wm_json_kopen(j, "additionalPrinterColumns", '[');
	put_column(j, "Service", "string", ".spec.service", false);
	put_column(j, "Accepted", "string", CONDITION ".status", false);
	put_column(j, "Reason", "string", CONDITION ".reason", false);
	put_column(j, "Select", "string", ".spec.select", true);
	put_column(j, "Balance", "string", ".spec.balance", true);
	put_column(j, "Message", "string", CONDITION ".message", true);
	put_column(j, "Age", "date", ".metadata.creationTimestamp", false);
	wm_json_close(j, ']');
}

static void put_version(struct wm_json *j)
{
	wm_json_open(j, '{');
	wm_json_ks(j, "name", "v1");
	wm_json_kb(j, "served", true);
	wm_json_kb(j, "storage", true);
	/* what is written to it is no change of the spec, and asks for a right of its own */
	wm_json_kopen(j, "subresources", '{');
	wm_json_kempty(j, "status", '{');
	wm_json_close(j, '}');
	put_columns(j);
	wm_json_kopen(j, "schema", '{');
	wm_json_kopen(j, "openAPIV3Schema", '{');
	wm_json_ks(j, "description",
		   "A policy of a Service, for all Waymark agents of the cluster");
	wm_json_ks(j, "type", "object");
	wm_json_kopen(j, "required", '[');
	wm_json_string(j, "spec");
	wm_json_close(j, ']');
	wm_json_kopen(j, "properties", '{');
	put_spec(j);
	put_status(j);
	wm_json_close(j, '}');
	wm_json_close(j, '}');
	wm_json_close(j, '}');
	wm_json_close(j, '}');
}

static void put_names(struct wm_json *j)
{
	wm_json_kopen(j, "names", '{');
	wm_json_ks(j, "plural", "waymarkpolicies");
	wm_json_ks(j, "singular", "waymarkpolicy");
	wm_json_ks(j, "kind", "WaymarkPolicy");
	wm_json_kopen(j, "shortNames", '[');
	wm_json_string(j, "wmp");
	wm_json_close(j, ']');
	wm_json_close(j, '}');
}

int wm_api_policy_crd(FILE *out)
{
	struct wm_json j;
	struct wm_buf b;
	int err;

	wm_buf_init(&b, CRD_MAX);
	wm_json_init(&j, &b, true);
	wm_json_open(&j, '{');
	wm_json_ks(&j, "apiVersion", "apiextensions.k8s.io/v1");
	wm_json_ks(&j, "kind", "CustomResourceDefinition");
	wm_json_kopen(&j, "metadata", '{');
	wm_json_ks(&j, "name", "waymarkpolicies.waymark.io");
	wm_json_close(&j, '}');
	wm_json_kopen(&j, "spec", '{');
	wm_json_ks(&j, "group", "waymark.io");
	wm_json_ks(&j, "scope", "Namespaced");
	put_names(&j);
	wm_json_kopen(&j, "versions", '[');
	put_version(&j);
	wm_json_close(&j, ']');
	wm_json_close(&j, '}');
	wm_json_close(&j, '}');
	wm_json_done(&j);
	err = b.failed || fwrite(b.data, 1, b.len, out) != b.len ? -1 : 0;
	wm_buf_done(&b);
	return err;
}
