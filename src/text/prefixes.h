/* text/prefixes.h: tokens sorted by their texts. Those that begin with the same bytes lie side by side, and
 * each further byte narrows their range: all tokens that a text begins with are found in one pass over its
 * first bytes. */
#ifndef TERSE_TEXT_PREFIXES_H
#define TERSE_TEXT_PREFIXES_H

#include "terse/text.h"

typedef struct {
    int32_t *ids; /* [n], sorted by text */
    int32_t n;
} terse_prefixes;

typedef bool terse_prefix_fn(const terse_vocab *v, int32_t id);

/* Takes the tokens for which take is true; tokens without text are never taken. */
terse_status terse_prefixes_open(terse_prefixes *p, const terse_vocab *v, terse_prefix_fn *take,
                                 terse_error *err);
void terse_prefixes_close(terse_prefixes *p);

/* Tokens [lo, hi) of the list share their first bytes. Start from { 0, n }. */
typedef struct {
    int32_t lo, hi;
} terse_prefix_range;
/* Keeps those whose byte d is byte, where all share the d bytes before. Returns the token that ends there, or
 * -1. */
int32_t terse_prefixes_narrow(const terse_vocab *v, const terse_prefixes *p, terse_prefix_range *r, uint32_t d,
                              uint8_t byte);

#endif
