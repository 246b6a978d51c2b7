/* cli/interrupt.h: Ctrl-C. The first one asks the running answer to stop; a second one before it has stopped
 * ends the program with exit code 130. */
#ifndef TERSE_CLI_INTERRUPT_H
#define TERSE_CLI_INTERRUPT_H

#include <stdatomic.h>
#include <stdbool.h>

/* Installs the handler. Reads and writes are not restarted: they return with EINTR. */
void terse_interrupt_catch(void);
/* An answer begins: forgets an earlier Ctrl-C. */
void terse_interrupt_clear(void);
/* Whether Ctrl-C came since then. */
bool terse_interrupt_seen(void);
/* The flag itself, for the library to watch as its abort flag; lives as long as the program. */
const atomic_bool *terse_interrupt_flag(void);

#endif
