/* cli/report_style.h: the style sheet of the report. Classes k0 ... k13 colour the curves, "floor" and
 * "ceiling" give them dashes and dots. */
#ifndef TERSE_CLI_REPORT_STYLE_H
#define TERSE_CLI_REPORT_STYLE_H

enum { TERSE_LOOKS = 14 };

/* Constant; the page has no other style. */
extern const char terse_pareto_report_style[];

#endif
