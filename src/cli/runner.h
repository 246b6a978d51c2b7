/* cli/runner.h: what answers: the model, a session over it, a sampler. */
#ifndef TERSE_CLI_RUNNER_H
#define TERSE_CLI_RUNNER_H

#include "run_options.h"

typedef struct {
    const terse_run_options *o;
    terse_session_opts opts; /* as the session was opened */
    terse_model *model;
    terse_profile *profile; /* may be NULL */
    terse_session *session;
    terse_draft *draft; /* NULL: no guesses */
    terse_sampler *sampler;
    uint64_t seed;
    double load; /* seconds */
    int32_t end; /* a token that ends an answer, beside those that the vocabulary knows; -1: none */
} terse_runner;

/* Loads and opens all three. The options are borrowed until close. On failure *r is closed. */
terse_status terse_runner_open(terse_runner *r, const terse_run_options *o, terse_error *err);
void terse_runner_close(terse_runner *r);
/* Leaves the session its first n tokens, if it holds all that they would hold by themselves, else none: layers
 * with windows have forgotten, policies dropped. Returns how many are left. */
int32_t terse_runner_back(terse_runner *r, int32_t n);

#endif
