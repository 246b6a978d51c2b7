/* bench/samples.h: lists of numbers on the command line. */
#ifndef TERSE_BENCH_SAMPLES_H
#define TERSE_BENCH_SAMPLES_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

enum { SAMPLES_LIST = 16 };
typedef struct {
    int32_t v[SAMPLES_LIST], n;
} int_list;

/* "1,2,4", each from min to max; false if it is anything else. */
static inline bool samples_list(int_list *l, const char *text, long min, long max)
{
    l->n = 0;
    for (char *end;; text = end + 1) {
        errno = 0;
        const long x = strtol(text, &end, 10);
        if (end == text || errno || x < min || x > max || l->n == SAMPLES_LIST || (*end && *end != ','))
            return false;
        l->v[l->n++] = (int32_t)x;
        if (!*end)
            return true;
    }
}

#endif
