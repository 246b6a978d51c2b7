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
    bool follows;       /* a second question: the context is that of the item before */
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
    bool has_second; /* some item is a second question */
};

/* A context with one question or two. Strings are borrowed; prefix may be empty. */
typedef struct {
    const char *context, *question[2], *prefix[2];
    json_t *answers[2]; /* borrowed: of strings */
    bool any;           /* one of the answers is enough */
} terse_task_parts;
/* Appends the prompt that ends with question i. */
terse_status terse_task_text(const terse_task_parts *p, int32_t i, terse_text *out, terse_error *err);
/* What RULER says of a task: the tokens that it may answer with, and whether any of the answers is enough. */
int32_t terse_task_tokens(const char *name);
bool terse_task_any(const char *name);

/* The score of an output, 0 to 1; *decided: more text cannot change it. */
double terse_task_score(const terse_task *t, const char *text, size_t n, bool *decided);

#endif
