/* cli/fit.h: whether a session will find the memory that it needs, said before work begins. */
#ifndef TERSE_CLI_FIT_H
#define TERSE_CLI_FIT_H

#include "terse/session.h"

typedef struct {
    terse_session_need need;
    size_t kv_q8; /* need.kv with keys and values in q8 */
    bool whole;   /* the cache is going to be filled: the context was asked for, and no policy drops tokens */
} terse_fit;

/* What is wrong, in one line with figures and what to do. TERSE_NOMEM: keys and values cannot be had. Otherwise
 * TERSE_OK, with a note, "" if all is well: weights that do not stay in memory are read from the file again and
 * again, and a context that nobody asked for may never be filled. */
terse_status terse_fit_check(const terse_fit *fit, const terse_memory_room *room, char *note, size_t size,
                             terse_error *err);
/* The same for n sessions that will be open at the same time on this machine, each one of n_beside that stand
 * beside each other with keys and values of their own, with the note on stderr. Call before terse_session_open.
 */
terse_status terse_fit_here(const terse_model *m, const terse_session_opts *o, int32_t n, int32_t n_beside,
                            terse_error *err);

#endif
