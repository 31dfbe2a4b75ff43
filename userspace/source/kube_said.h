/* SPDX-License-Identifier: Apache-2.0 */
/* kube_said.h - the policies that a cluster states: annotations of Services, and WaymarkPolicies,
 * which stand above them. Of two resources for one Service the first by name counts. They are texts
 * here; what they mean is judged where they are taken. Threading: one owner. */
#pragma once
#include "kubernetes.h"

#define WM_KUBE_SAID_MAX 4096 /* policies of each kind: as many as files in policy.dir */

struct kube_said;
struct kube_said *kube_said_new(void);	  /* NULL without memory */
void kube_said_free(struct kube_said *s); /* NULL ok */
/** @p json NULL: the Service has none any more. @return 0, WM_E_CAPACITY, -ENOMEM. */
int kube_said_annotation(struct kube_said *s, const char *service, const char *json);
/** A WaymarkPolicy, as of wm_kube_view_object() and the others there. */
int kube_said_object(struct kube_said *s, const char *json, size_t len, struct wm_err *e);
int kube_said_gone(struct kube_said *s, const char *json, size_t len, struct wm_err *e);
void kube_said_skipped(struct kube_said *s, const char *namespace, const char *name);
void kube_said_begin(struct kube_said *s);
void kube_said_end(struct kube_said *s);
/** Did anything of what is said change since the last kube_said_all()? A status is no part of it.
 */
bool kube_said_is_news(const struct kube_said *s);
/** All of them, one a service, sorted by it. Borrowed until the next call. All are accepted from
 *  here on, but resources that stand behind another one's. @return 0, -ENOMEM. */
int kube_said_all(struct kube_said *s, const struct wm_kube_said **ret, unsigned *ret_count);
/** One of kube_said_all()'s cannot be, by its service. What is no fault of its text (memory, room)
 *  leaves it without a verdict. */
void kube_said_refuse(struct kube_said *s, const char *service, const struct wm_err *why);

/* X(symbol, reason) */
#define KUBE_VERDICTS(X)                                                                           \
	X(NONE, "")                                                                                \
	X(ACCEPTED, "Accepted")                                                                    \
	X(INVALID, "Invalid")                                                                      \
	X(CONFLICTED, "Conflicted")
