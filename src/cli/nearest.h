/* cli/nearest.h: "did you mean ...": the known word that is nearest to a misspelt one. */
#ifndef TERSE_CLI_NEAREST_H
#define TERSE_CLI_NEAREST_H

#include <stddef.h>

/* Start from { .word = WORD }, offer every known word, then read best (NULL: none is near enough). */
typedef struct {
    const char *word;
    const char *best; /* borrowed from the call that offered it, not NUL-terminated */
    size_t n_best;
    size_t distance;
} terse_nearest;

void terse_nearest_offer(terse_nearest *n, const char *known, size_t n_known);

#endif
