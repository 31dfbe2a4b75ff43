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

/* --- the status of resources: what stands there is to be the verdict, of this generation --------
 */
/* X(symbol, reason) */
#define KUBE_VERDICTS(X)                                                                           \
	X(NONE, "")                                                                                \
	X(ACCEPTED, "Accepted")                                                                    \
	X(INVALID, "Invalid")                                                                      \
	X(CONFLICTED, "Conflicted")
struct kube_said_status {
	const char *key;     /* namespace/name */
	const char *version; /* of the object that was judged */
	int64_t generation;
	bool accepted;
	const char *reason, *message;
	const char *since; /* that it is or is not accepted; "": from now on */
};
/** The next resource whose status is to be another; borrowed until the next call of any. @p pos: 0
 *  begins. One of which this verdict of ours stood once, and another's stands now for the same
 *  generation, is left alone: of agents that do not agree each says it once. */
bool kube_said_differs(struct kube_said *s, size_t *pos, struct kube_said_status *ret);
/** It was written, or cannot be: it does not differ before it comes again. */
void kube_said_settled(struct kube_said *s, const char *key);
