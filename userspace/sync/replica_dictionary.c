/* SPDX-License-Identifier: Apache-2.0 */
/* replica_dictionary.c - what news is compressed with beside itself: words and forms of
 * registrations that all agents have. One for the process, made when it is asked for first. A
 * number stands for its octets for ever: others get another number, and agents that do not know it
 * ask for what they could not read, which comes without. */
#include "replica_internal.h"

#include <zstd.h>

#define LEVEL 3 /* a message has some hundred octets: 2 us */

static const uint8_t octets[] = {
#include "userspace/sync/replica_dictionary.inc"
};

void *wire_dictionary_out(void)
{
	static ZSTD_CDict *d;

	if (!d)
		d = ZSTD_createCDict(octets, sizeof(octets), LEVEL);
	return d;
}

const void *wire_dictionary_in(void)
{
	static ZSTD_DDict *d;

	if (!d)
		d = ZSTD_createDDict(octets, sizeof(octets));
	return d;
}
