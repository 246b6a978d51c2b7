/* cli/bench.h: the parts of terse bench: the plan (bench.c), the runs (bench_run.c), the result
 * (bench_print.c). */
#ifndef TERSE_CLI_BENCH_H
#define TERSE_CLI_BENCH_H

#include "terse/draft.h"
#include "terse/model.h"
#include "terse/probe.h"
#include "terse/session.h"

#include <time.h>

enum { TERSE_BENCH_LIST = 64, TERSE_BENCH_BATCH = 64 };

/* What a run is made of. Everything is borrowed. */
typedef struct {
    const terse_model *model;
    const char *path;
    const int32_t *tokens; /* [ctx]: the token of each position */
    const char *source;    /* of the tokens: "random" or a file */
    int32_t ctx;
    int32_t prompts[TERSE_BENCH_LIST], gens[TERSE_BENCH_LIST], depths[TERSE_BENCH_LIST]; /* depths rise */
    int32_t n_prompt, n_gen, n_depth;
    int32_t batches[TERSE_BENCH_LIST], n_batch; /* sequences that generate together, 1 .. TERSE_BENCH_BATCH */
    bool shared; /* the sequences of a batch are copies of the first: their depths are the same pages */
    bool copies; /* depths: a computed prompt's keys and values again and again, not those of their tokens */
    int32_t reps;
    bool warm_up;
    size_t probe_size; /* bytes; 0: the probe's default */
} terse_bench_plan;

/* A prompt (n_gen = 0) or a generation (n_prompt = 0) at a depth under one setting, and its samples. */
typedef struct {
    int32_t n_prompt, n_gen, n_depth, n_batch; /* n_gen tokens of each of n_batch sequences */
    const terse_session *session;              /* borrowed: the first */
    const terse_session_opts *opts;            /* borrowed */
    bool draft;                                /* with guesses ahead */
    time_t when;
    int32_t n;                /* samples so far */
    terse_sample *samples;    /* [reps] */
    terse_attend_stats stats; /* of all samples and sequences */
    terse_draft_stats guesses;
    terse_spending spent[2]; /* of samples that the machine disturbed, and of those that it did not */
} terse_bench_record;

typedef enum { TERSE_BENCH_MD, TERSE_BENCH_CSV, TERSE_BENCH_JSON } terse_bench_format;

/* The result on stdout. Records are printed as they come. */
typedef struct {
    terse_bench_format format;
    const terse_bench_plan *plan;
    bool stops, policies, drafts; /* the table has columns for them */
    bool phases;                  /* and for what a token's time went to */
    int32_t n;                    /* records printed */
    int32_t n_other;              /* of them, those none of whose samples had the machine to itself */
} terse_bench_out;
/* Tokens of a sample. */
static inline int32_t terse_bench_tokens(const terse_bench_record *r)
{
    return r->n_prompt + r->n_gen * r->n_batch;
}
void terse_bench_begin(const terse_bench_out *out);
terse_status terse_bench_print(terse_bench_out *out, const terse_bench_record *r, terse_error *err);
void terse_bench_end(const terse_bench_out *out);

/* A session and whether it guesses ahead. */
typedef struct {
    terse_session_opts opts;
    bool draft;
} terse_bench_setting;

/* All tests of the plan under n settings that differ in policy, stop rule and guesses only: a depth is computed
 * once for each, and their samples take turns, so that what else the machine does meets all alike. After
 * TERSE_INTERRUPTED what was measured has been printed. */
terse_status terse_bench_run(const terse_bench_plan *plan, const terse_bench_setting *settings, int32_t n,
                             terse_bench_out *out, terse_error *err);

#endif
