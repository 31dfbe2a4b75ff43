/* SPDX-License-Identifier: Apache-2.0 */
/* kube_objects_internal.h - how members of Kubernetes' objects are read, for kube_objects*.c. */
#pragma once
#include "kube_objects.h"

#include <errno.h>

/** A text; "" where there is none. */
const char *kube_text(const json_t *o, const char *member);
bool kube_flag(const json_t *o, const char *member, bool fallback);
/** A whole number from 0; one that is left out is 0. @return false: it is none, or above @p max. */
bool kube_number(const json_t *o, const char *member, int64_t max, int64_t *ret);
/** IPPROTO_TCP ("" too), IPPROTO_UDP; 0: another. */
uint8_t kube_proto(const char *name);
/** Lower-case letters, digits and dashes; dots too where it may be longer than a label. */
bool kube_name_valid(const char *s, size_t max);
/** The metadata of an object that lies in a namespace, and has a name of @p max octets at most. */
int kube_named_meta(const json_t *o, size_t max, struct wm_kube_meta *ret, struct wm_err *e);
/** NULL: there is none. */
const char *kube_annotation(const json_t *o, const char *key);
/** Does its annotation WM_KUBE_STEER_KEY say so? */
bool kube_left_alone(const json_t *o);
/* Does that annotation say neither? */
bool kube_steer_unknown(const json_t *o);
/** Is it a Service, or a slice, that kube-proxy does not ask for: another proxy's by the label
 * service.kubernetes.io/service-proxy-name, or nobody's by service.kubernetes.io/headless? */
bool kube_passed(const json_t *o);
/** "": there is none. */
const char *kube_label(const json_t *o, const char *key);
/** @return WM_E_INVALID with a sentence. */
int kube_wrong(const struct wm_kube_meta *m, const char *member, struct wm_err *e);
