/* cli/eval_print.h: what terse eval found, as a table or JSON on stdout. */
#ifndef TERSE_CLI_EVAL_PRINT_H
#define TERSE_CLI_EVAL_PRINT_H

#include "terse/eval.h"

/* Everything is borrowed. */
typedef struct {
    const terse_eval *eval;
    const terse_session_opts *opts;
    const char *model, *file;
    const char *profile;               /* as it was named; NULL: none */
    const terse_eval_windows *windows; /* of kl and perplexity */
    const terse_tasks *tasks;          /* of tasks; NULL: this is one of the others */
    const terse_ruler_opts *ruler;     /* of generated tasks; NULL: they are not */
    bool interrupted;                  /* not all was done */
} terse_eval_report;

terse_status terse_eval_print(const terse_eval_report *r, terse_error *err);
/* One object for one rule, an array for several. */
terse_status terse_eval_print_json(const terse_eval_report *r, terse_error *err);

#endif
