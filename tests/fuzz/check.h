/* SPDX-License-Identifier: Apache-2.0 */
/* check.h - what holds whatever the input is; where it does not, the log says what and where. */
#pragma once
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define check(ok)                                                                                  \
	do {                                                                                       \
		if (!(ok)) {                                                                       \
			fprintf(stderr, "%s:%d: not %s, errno %d\n", __FILE__, __LINE__, #ok,      \
				errno);                                                            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)
