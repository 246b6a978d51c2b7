/* cli/progress.h: a progress bar on stderr, for people only: nothing is written unless stderr is a terminal. */
#ifndef TERSE_CLI_PROGRESS_H
#define TERSE_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    const char *label; /* borrowed until the end */
    const char *unit;  /* plural, "tokens"; borrowed until the end */
    bool shown;
    int64_t start, drawn; /* ns */
} terse_progress;

/* wanted: false keeps it quiet (--no-progress). */
void terse_progress_begin(terse_progress *p, const char *label, const char *unit, bool wanted);
/* total: 0 if unknown. Draws at most ten times a second, so it may be called often. */
void terse_progress_update(terse_progress *p, int64_t done, int64_t total);
/* The same with a terse_progress behind the pointer, as evaluations call it. */
void terse_progress_show(void *progress, int64_t done, int64_t total);
/* Clears the line until the next update, for a line of output. */
void terse_progress_clear(terse_progress *p);
/* Clears the line. */
void terse_progress_end(terse_progress *p);

/* The text that is drawn, at most width columns (ASCII), into line[size]. */
void terse_progress_line(char *line, size_t size, int32_t width, const terse_progress *p, int64_t now,
                         int64_t done, int64_t total);

#endif
