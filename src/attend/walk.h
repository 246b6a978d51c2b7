/* attend/walk.h: the working memory of one thread's walks. */
#ifndef TERSE_ATTEND_WALK_H
#define TERSE_ATTEND_WALK_H

#include "attend/stop.h"
#include "kv/store.h"
#include "simd/kernels.h"

struct terse_walk {
    const terse_kv *kv;
    const terse_attend *attend;
    terse_attn_kernels kernels;
    int32_t n_row;   /* query heads per KV head */
    int32_t max_row; /* n_row * TERSE_PAGE: a page of prefill tokens */
    size_t map_size; /* bytes of the mapping that all arrays below live in */
    char *map;

    char *query;             /* [max_row] prepared rows */
    float *s;                /* [max_row][P] scores, then weights */
    float *o;                /* [max_row][dim_v] sum of weight x value */
    float *m, *l, *keep, *z; /* [max_row] */
    int32_t *n;              /* [max_row] tokens of the page that a row sees */
    int32_t *list;           /* [cap] page indices in walking order */
    float *full;             /* [n_row][dim_v] what an audit finds */
    char *state;             /* of the stop rule */

    /* Two-pass rules; by position in list. */
    float *weights;  /* [cap][n_row][P] */
    float *mass;     /* [cap][n_row] sum of the page's weights */
    int32_t *order;  /* [cap] positions by falling share */
    float *left;     /* [cap + 1][n_row] weight from this place in order on */
    float *radius;   /* [cap + 1] largest page radius from this place in order on */
    uint16_t *share; /* [cap] sort key */
};

/* attend/two_pass.c: all keys, then values by falling share until the rule has enough. */
void terse_walk_two_pass(terse_walk *w, int32_t layer, int32_t head, int32_t n_token, float *out,
                         terse_attend_stats *stats, float *bound);

/* Page indices in walking order: the page of the sinks, then newest first. Returns how many. */
int32_t terse_walk_plan(int32_t *list, int32_t n_token);
/* Tokens of page p that a sequence of n_token has. */
static inline int32_t terse_walk_fill(int32_t p, int32_t n_token)
{
    const int32_t n = n_token - p * TERSE_PAGE;
    return n < TERSE_PAGE ? n : TERSE_PAGE;
}

#endif
