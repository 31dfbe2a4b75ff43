/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_words.h - what is printed of the tables of commands and options: usage, one command's
 * help, suggestions, the reference page, the manual page, the completion. Threading: none. */
#pragma once
#include "waymarkctl.h"

struct ctl_command {
	const char *name, *args; /* args: "" where there are none */
	int min, max;		 /* words behind the name */
	int (*fn)(const struct ctl *c);
	const char *text;
};
struct ctl_option {
	const char *name;
	int letter;	   /* 0: none */
	const char *value; /* NULL: none */
	const char *of;	   /* commands that look at it; NULL: all. One that means several things has
			    * several    entries */
	const char *text;
};

/* Both tables end with an entry without a name. */
void ctl_words_usage(FILE *out, const struct ctl_command *c, const struct ctl_option *o);
/** @return false: there is no command of this name. */
bool ctl_words_command(FILE *out, const struct ctl_command *c, const struct ctl_option *o,
		       const char *name);
/** Does the command look at the option of a name? @return false after a message that says which do.
 */
bool ctl_words_takes(FILE *err, const struct ctl_option *o, const char *name, const char *command);
/** What was meant, perhaps: the commands nearest to @p name. */
void ctl_words_unknown(FILE *out, const struct ctl_command *c, const char *name);
void ctl_words_reference(FILE *out, const struct ctl_command *c);
void ctl_words_man(FILE *out, const struct ctl_command *c, const struct ctl_option *o);
void ctl_words_completion(FILE *out, const struct ctl_command *c, const struct ctl_option *o);
