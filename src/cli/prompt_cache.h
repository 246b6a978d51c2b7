/* cli/prompt_cache.h: the session between two runs, in a file (terse_session_save). */
#ifndef TERSE_CLI_PROMPT_CACHE_H
#define TERSE_CLI_PROMPT_CACHE_H

#include "runner.h"

/* Loads the file, if there is one, and leaves of it what the prompt begins with: *held tokens, less than n.
 * Says on stderr what is used. */
terse_status terse_prompt_cache_use(terse_runner *r, const int32_t *prompt, size_t n, size_t *held,
                                    terse_error *err);
/* Saves the session: ids are those of its tokens, in two pieces (of the second as many as the session holds).
 */
terse_status terse_prompt_cache_save(const terse_runner *r, const int32_t *ids, size_t n,
                                     const terse_tokens *more, terse_error *err);

#endif
