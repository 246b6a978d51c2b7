/* text/merge.h: what byte-pair encoding and SentencePiece share. A text is a linked list of symbols; again and
 * again the best pair of neighbours becomes one symbol. Candidates wait in a queue as 64-bit keys (priority,
 * then position), so equal priorities merge from left to right; a key that no longer fits its symbol is
 * skipped. n symbols cost O(n log n). Keys mostly come in a few ascending sequences: each such sequence is a
 * lane, where pushing and popping is one step, and only what fits no lane goes through a heap. */
#ifndef TERSE_TEXT_MERGE_H
#define TERSE_TEXT_MERGE_H

#include "terse/base.h"

typedef struct {
    int32_t prev, next; /* neighbours, or -1 */
    int32_t id;         /* token of the symbol, or -1 */
    uint32_t start;     /* its first byte in the text; it ends where its neighbour starts */
    int32_t merged;     /* token of this symbol and the next, or -1: they do not merge */
    uint32_t prio;      /* of that merge; lowest first */
} terse_symbol;

enum { TERSE_MERGE_LANES = 8 };

/* Ascending keys [head, n). */
typedef struct {
    uint64_t *keys;
    size_t head, n, cap;
} terse_merge_lane;

/* Zero is empty and may be freed. */
typedef struct {
    terse_symbol *symbols;
    size_t cap_symbols;
    terse_merge_lane lanes[TERSE_MERGE_LANES];
    int32_t n_lane; /* lanes in use */
    uint64_t *heap; /* the rest, smallest first */
    size_t n_heap, cap_heap;
    char *text; /* room for a rewritten text */
    size_t cap_text;
} terse_merge;

/* The token that two neighbours covering bytes [left->start, end) merge into and its priority; false if none.
 */
typedef bool terse_pair_fn(const void *ctx, const terse_symbol *left, const terse_symbol *right, uint32_t end,
                           int32_t *merged, uint32_t *prio);

/* Room for n symbols; id and start are the caller's to fill. */
terse_status terse_merge_reserve(terse_merge *m, size_t n, terse_error *err);
/* Room for n bytes of text. */
terse_status terse_merge_reserve_text(terse_merge *m, size_t n, terse_error *err);
/* Merges symbols [0, n) of a text of end bytes; the result is the list from symbol 0 along next. n >= 1. */
terse_status terse_merge_run(terse_merge *m, size_t n, uint32_t end, terse_pair_fn *pair, const void *ctx,
                             terse_error *err);
/* Where symbol s ends in a text of end bytes. */
static inline uint32_t terse_symbol_end(const terse_merge *m, const terse_symbol *s, uint32_t end)
{
    return s->next < 0 ? end : m->symbols[s->next].start;
}
void terse_merge_free(terse_merge *m);

#endif
