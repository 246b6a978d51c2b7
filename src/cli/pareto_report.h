/* cli/pareto_report.h: what terse eval pareto found, as JSON, CSV and a page to look at. Nothing in them
 * depends on the run (threads, time): the same grid gives the same files. */
#ifndef TERSE_CLI_PARETO_REPORT_H
#define TERSE_CLI_PARETO_REPORT_H

#include "files.h"
#include "pareto_grid.h"
#include "terse/pareto.h"

/* Everything but result is borrowed. Groups of results: the contexts, then, with prompts, all tasks together
 * and each task. */
typedef struct {
    const terse_pareto *pareto;
    const terse_pareto_opts *opts;
    const terse_model *model;
    const terse_grid *grid;
    const char *model_name, *text_name, *prompts_name; /* prompts_name NULL: none */
    int32_t n_group;
    terse_pareto_result *result; /* owned: [n_group][n_type][grid->n] */
} terse_pareto_report;

/* Fills in n_group and result from the rest. */
terse_status terse_pareto_report_make(terse_pareto_report *r, terse_error *err);
void terse_pareto_report_clear(terse_pareto_report *r);
terse_pareto_at terse_pareto_report_at(const terse_pareto_report *r, int32_t group, int32_t type,
                                       int32_t setting);
const terse_pareto_result *terse_pareto_report_result(const terse_pareto_report *r, int32_t group, int32_t type,
                                                      int32_t setting);
/* "f16", or "f16/q8" where keys and values differ. */
const char *terse_pareto_report_type(const terse_pareto_report *r, int32_t type, char text[32]);
/* The task of a group; NULL: all, or none. */
const char *terse_pareto_report_task(const terse_pareto_report *r, int32_t group);
/* Whether a group has results: a task may have had no prompt. */
bool terse_pareto_report_has(const terse_pareto_report *r, int32_t group);

/* Closes a file that has been written with stdio; says if any of that failed. */
terse_status terse_pareto_report_finish(terse_output *out, terse_error *err);
/* Each replaces the file as a whole. */
terse_status terse_pareto_report_json(const terse_pareto_report *r, const char *path, terse_error *err);
terse_status terse_pareto_report_csv(const terse_pareto_report *r, const char *path, terse_error *err);
terse_status terse_pareto_report_html(const terse_pareto_report *r, const char *path, terse_error *err);

#endif
