/* attend/stop.h: what a stop rule is. One file each (stop_*.c), one line in the registry (attend.c). */
#ifndef TERSE_ATTEND_STOP_H
#define TERSE_ATTEND_STOP_H

#include "terse/attend.h"

enum { TERSE_STOP_PARAMS = 4 };

typedef struct {
    const char *name;
    double value, low, high; /* default and range */
} terse_stop_param;

/* The accumulator of a group of query heads after a page. Rows are heads; nothing is normalised by l yet. */
typedef struct {
    int32_t n_row, dim;
    const float *o; /* [n_row][dim] sum of weight x value */
    const float *l; /* [n_row] sum of weights */
    const float *z; /* [n_row] sum of this page's weights, on the scale of l */
    /* Two-pass rules: the weight whose values are not in o yet, the largest |v - c| among those, and c. */
    const float *left; /* [n_row] */
    float radius;
    const float *center; /* [dim] */
} terse_acc;

typedef struct {
    const char *name;
    const char *help;
    terse_stop_param param[TERSE_STOP_PARAMS]; /* ended by a NULL name */
    /* Two passes: all keys are scored first; then values are read by falling share, and enough() is asked
     * after each page. Otherwise keys and values are read together, in the policy's order. */
    bool two_pass;
    bool bounded; /* *bound of enough() is a proof */
    size_t (*state_size)(int32_t n_row, int32_t dim);
    void (*begin)(void *state, const double *param, int32_t n_row, int32_t dim);
    /* May the walk end here? If so, *bound is what the error |o_full - o| / |o| is at most (bounded rules). */
    bool (*enough)(void *state, const double *param, const terse_acc *acc, float *bound);
} terse_stop;

extern const terse_stop terse_stop_none, terse_stop_stability, terse_stop_value_skip;

/* What terse_attend_open parsed. */
struct terse_attend {
    const terse_stop *stop;
    double param[TERSE_STOP_PARAMS];
    int32_t audit;
    char text[160];
};

static inline float terse_fold8(const float *lane)
{
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

/* |x|^2 and x . y over 8 virtual lanes folded by halving: the same bits everywhere. */
float terse_square(const float *x, int32_t n);
float terse_inner(const float *x, const float *y, int32_t n);

#endif
