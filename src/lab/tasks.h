/* lab/tasks.h: prompts with known answers, as tokens. */
#ifndef TERSE_LAB_TASKS_H
#define TERSE_LAB_TASKS_H

#include "terse/eval.h"

#include <jansson.h>

/* How an output is judged. */
typedef enum {
    TERSE_JUDGE_PREFIX, /* it begins with the answer */
    TERSE_JUDGE_ALL,    /* the share of the answers that occur in it */
    TERSE_JUDGE_ANY     /* one of the answers occurs in it */
} terse_judge;

typedef struct {
    int32_t task;       /* index of its name */
    int32_t *ids;       /* [n] owned: context and question */
    int32_t n, n_dense; /* the first n_dense are context */
    int32_t n_max;      /* tokens of the output at most */
    terse_judge judge;
    json_t *answers; /* owned: array of strings, none empty */
} terse_task;

struct terse_tasks {
    terse_task *item; /* [n] */
    int32_t n, cap;
    char **name;   /* [n_name] of the tasks that have items or lines that were left out */
    int32_t *seen; /* [n_name] lines read */
    int32_t n_name, cap_name;
};

/* The score of an output, 0 to 1; *decided: more text cannot change it. */
double terse_task_score(const terse_task *t, const char *text, size_t n, bool *decided);

#endif
