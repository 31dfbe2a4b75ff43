/* SPDX-License-Identifier: Apache-2.0 */
/* hex.h - hexadecimal digits, of either case. Pure. */
#pragma once

/** @return what a digit is worth, -1: it is none. */
static inline int wm_hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}
