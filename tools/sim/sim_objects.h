/* SPDX-License-Identifier: Apache-2.0 */
/* sim_objects.h - what a node stores of its own and of others' objects: in the place of the
 * registry and the store. It outlives the agent, unless it is lost. */
#pragma once
#include "sim.h"

#define SIM_KEYS 64 /* objects that a node may have */

int sim_objects_start(struct sim_node *n);
void sim_objects_stop(struct sim_node *n);
void sim_objects_free(struct sim_node *n);
/** Register the object of that key with octets of its own, or remove it. */
void sim_objects_put(struct sim_node *n, unsigned key, size_t len, unsigned mark);
void sim_objects_del(struct sim_node *n, unsigned key);
/** A measured registration. */
void sim_objects_say(struct sim_node *n, unsigned number, size_t len);
/** The store is lost: the agent begins with nothing, in a new epoch. Only while it is stopped. */
void sim_objects_lose(struct sim_node *n);
/** Compare what all that are alive have with what each owner has. @p ret_risen: objects that their
 * owner removed, @p ret_lost: that it has and another lacks, or has otherwise. */
void sim_objects_compare(const struct sim *s, unsigned long *ret_risen, unsigned long *ret_lost);
/** Tell on stderr whose logs are somewhere otherwise than at their owners. */
void sim_objects_tell(const struct sim *s);
bool sim_objects_equal(const struct sim *s);
