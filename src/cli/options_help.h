/* cli/options_help.h: the help text, made from the same tables that the parser reads. */
#ifndef TERSE_CLI_OPTIONS_HELP_H
#define TERSE_CLI_OPTIONS_HELP_H

#include "options.h"

/* Prints to stdout. The groups' structs hold the defaults. */
void terse_options_help(const terse_options *o, const terse_option_group *groups, int32_t n_group);

#endif
