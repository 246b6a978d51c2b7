/* cli/terminal.h: what we know of the terminal, and how to write to it text that we did not make. */
#ifndef TERSE_CLI_TERMINAL_H
#define TERSE_CLI_TERMINAL_H

#include "terse/base.h"

#include <stdio.h>

bool terse_terminal_is(int fd);
/* Columns of the terminal at fd; 80 if it is none or does not say. */
int32_t terse_terminal_width(int fd);

/* Writes text[n]. Control characters except newline and tab, and bytes that are not UTF-8, become \xNN, so that
 * a file or a model cannot steer the terminal. */
void terse_terminal_write(FILE *out, const char *text, size_t n);

/* One line on stderr: "terse: " and the formatted text, escaped as above. */
void terse_complain(const char *fmt, ...) TERSE_PRINTF(1, 2);
/* Complains about *err and returns the exit code that belongs to it. */
int terse_complain_error(const terse_error *err);

/* Remembers the terminal's settings; terse_terminal_restore puts them back and clears the line that a progress
 * bar may have left. Restoring is safe in a signal handler and does nothing unless they were saved. */
void terse_terminal_save(void);
void terse_terminal_restore(void);

#endif
