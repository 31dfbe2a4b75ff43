/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_records.c - see waymarkctl_records.h. Spec: RFC 1035 3.3 and 4.1.3, 2782, 3596, 8659
 * (CAA). */
#include "waymarkctl_records.h"

#include "waymarkctl.h"

#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define DATA_MAX 2048 /* octets of a record as text: an answer over UDP has 512 */

/* --- types ------------------------------------------------------------------------------------ */
static const struct {
	const char *name;
	uint16_t type;
} types[] = {{"A", 1},		 {"NS", 2},	  {"CNAME", 5},	 {"SOA", 6},	 {"PTR", 12},
	     {"HINFO", 13},	 {"MX", 15},	  {"TXT", 16},	 {"RP", 17},	 {"AFSDB", 18},
	     {"AAAA", 28},	 {"LOC", 29},	  {"SRV", 33},	 {"NAPTR", 35},	 {"CERT", 37},
	     {"DNAME", 39},	 {"DS", 43},	  {"SSHFP", 44}, {"RRSIG", 46},	 {"NSEC", 47},
	     {"DNSKEY", 48},	 {"NSEC3", 50},	  {"TLSA", 52},	 {"SMIMEA", 53}, {"CDS", 59},
	     {"NSEC3PARAM", 51}, {"CDNSKEY", 60}, {"CSYNC", 62}, {"ZONEMD", 63}, {"SVCB", 64},
	     {"OPENPGPKEY", 61}, {"HTTPS", 65},	  {"SPF", 99},	 {"ANY", 255},	 {"URI", 256},
	     {"CAA", 257}};
#define TYPES (sizeof(types) / sizeof(*types))

bool ctl_type_parse(const char *text, uint16_t *ret)
{
	unsigned long n;
	char *end;

	for (size_t i = 0; i < TYPES; i++) {
		if (strcasecmp(text, types[i].name) == 0) {
			*ret = types[i].type;
			return true;
		}
	}
	if (strncasecmp(text, "TYPE", 4) != 0 || text[4] < '0' || text[4] > '9')
		return false;
	n = strtoul(text + 4, &end, 10);
	*ret = (uint16_t)n;
	return !*end && n && n <= UINT16_MAX;
}

const char *ctl_dns_type(json_int_t type, char other[16])
{
	for (size_t i = 0; i < TYPES; i++)
		if (types[i].type == type)
			return types[i].name;
	snprintf(other, 16, "TYPE%u", (unsigned)type & 0xffff);
	return other;
}
