/* cli/run_options.h: what terse run accepts. */
#ifndef TERSE_CLI_RUN_OPTIONS_H
#define TERSE_CLI_RUN_OPTIONS_H

#include "chat_template.h"
#include "engine_options.h"
#include "terse/draft.h"

/* The options that only run has. Strings are borrowed from argv or the environment; NULL: not given. */
typedef struct {
    const char *prompt, *file;
    const char *system;  /* of a chat */
    const char *reverse; /* an answer ends after this text */
    int32_t n_predict;   /* below 0: no limit */
    bool chat, raw, single_turn;
    bool ignore_eos, json, stats, quiet;
    const char *cache; /* a snapshot of the session */
    bool cache_all, cache_ro;
    const char *draft; /* "none", "ngram" */
    terse_draft_opts drafts;
} terse_run_values;

typedef struct {
    terse_engine_options engine;
    terse_sample_opts sample;
    terse_run_values run;
    terse_chat_values chat;
    const char *model; /* the file */
} terse_run_options;

/* As terse_options_parse. */
int terse_run_options_parse(terse_run_options *o, int argc, char **argv);

#endif
