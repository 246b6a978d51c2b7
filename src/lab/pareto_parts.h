/* lab/pareto_parts.h: what the grid has computed, in memory and in its journal.
 *
 * The journal is text, one JSON object a line. The first names the model and the grid, each further one is a
 * part, and holds all that results are made of. Results come from lines alone, in whatever run they were
 * written: the part just computed is read back from the line that goes into the file. */
#ifndef TERSE_LAB_PARETO_PARTS_H
#define TERSE_LAB_PARETO_PARTS_H

#include "terse/pareto.h"

#include <jansson.h>

/* One rule in one part. */
typedef struct {
    double *kl; /* [n of the part] per token */
    int64_t agree;
    double nll;
    int64_t k, v, summary, dense; /* bytes; dense: over the part's own storage type */
    int64_t *head;                /* [n_unit][2] bytes read, bytes dense */
    int32_t n_score, lost, gained;
    double correct;
} terse_pareto_cell;

typedef struct {
    int32_t ctx;   /* index; -1: a prompt */
    int32_t index; /* of the window or prompt */
    int32_t type;
    bool done;
    int32_t n; /* tokens decoded and compared */
    double nll_dense;
    terse_pareto_cell *cell; /* [n_rule] if done */
} terse_pareto_part;

struct terse_pareto {
    const terse_model *model;
    terse_pareto_opts opts;
    int32_t *windows;        /* [n_ctx] */
    terse_pareto_part *part; /* [n_part] in the order in which they are computed */
    int32_t n_part, n_done, n_unit;
    char **stop; /* [n_rule] */
    bool *bounded;
    char hash[33];
    int fd;                                   /* the journal; -1: not open */
    int64_t tokens_done, tokens, tokens_part; /* for progress */
};

/* Opens the journal, locks it and reads it, or begins it. */
terse_status terse_pareto_journal_open(terse_pareto *p, terse_error *err);
/* Appends a line (owned by the caller, {"cell": [..]} ...) and takes it as part i. */
terse_status terse_pareto_journal_add(terse_pareto *p, int32_t i, const json_t *line, terse_error *err);
void terse_pareto_part_clear(terse_pareto_part *part, int32_t n_rule);

#endif
