/* cli/run_report.h: what an answer cost: for people, and as JSON. */
#ifndef TERSE_CLI_RUN_REPORT_H
#define TERSE_CLI_RUN_REPORT_H

#include "answer.h"

/* A block of lines on stderr. */
void terse_report_stats(const terse_runner *r, const terse_answer *a);
/* The line of it that audits are worth; nothing without any. */
void terse_report_audit(const terse_runner *r, const terse_answer *a);
/* One object on stdout; a write that fails shows in ferror. */
terse_status terse_report_json(const terse_runner *r, const terse_answer *a, terse_error *err);

#endif
