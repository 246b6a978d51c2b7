/* cli/cpu_option.h: which CPUs threads use: --cpu-mask, --cpu-range, --cpu-strict. */
#ifndef TERSE_CLI_CPU_OPTION_H
#define TERSE_CLI_CPU_OPTION_H

#include "options.h"
#include "terse/session.h"

typedef struct {
    const char *mask, *range; /* NULL: all CPUs that the process may use */
    int32_t strict;           /* 1: TERSE_PIN_EACH */
} terse_cpu_options;
terse_option_group terse_cpu_group(terse_cpu_options *o);

/* Limits the calling thread, and those that it will start, to the CPUs that either names; NULL names none.
 * mask: bits of a hexadecimal number, with or without 0x; range: "0-3", "0-3,6", "4-" (to the last one), "-3".
 * CPUs that the process may not use are passed over; TERSE_BAD_INPUT if none is left, or a text is neither. */
terse_status terse_cpu_limit(const char *mask, const char *range, terse_error *err);
/* Both of the above and the session's pin. */
terse_status terse_cpu_use(const terse_cpu_options *o, terse_session_opts *out, terse_error *err);
/* Says on stderr if the session's threads were to be bound and could not be. */
void terse_cpu_note(const terse_session *s, const terse_session_opts *o);

#endif
