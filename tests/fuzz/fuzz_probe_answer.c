/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry health */
/* fuzz_probe_answer.c - what probed peers send and we read ourselves: a gRPC health answer, HTTP/2
 * frames, systemctl's lines. Whatever the octets: reading stays inside them, and a verdict has its
 * sentence. The first octet chooses the kind. */
#include "check.h"
#include "userspace/health/probe.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const char *why = NULL;
	char text[512];
	uint64_t status;
	char *copy;
	int verdict;

	if (!size)
		return 0;
	copy = malloc(size); /* exact but for a NUL: a read behind the end is seen */
	check(copy != NULL);
	memcpy(copy, data + 1, size - 1);
	copy[size - 1] = '\0';
	if (data[0] == 'g') {
		(void)wm_grpc_serving((const uint8_t *)copy, size - 1, &status);
	} else if (data[0] == 'h') {
		verdict = wm_h2_heard(copy, size - 1, &why);
		check((verdict < 0) == (why != NULL) && verdict <= 1);
	} else {
		check((unsigned)wm_unit_judge("a.service", copy, text, sizeof(text)) <=
		      WM_CRITICAL);
		check(strlen(text) > 0);
	}
	free(copy);
	return 0;
}
