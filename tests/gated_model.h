/* tests/gated_model.h: a small random model with predictors of utility, and the same one without. */
#ifndef TERSE_TESTS_GATED_MODEL_H
#define TERSE_TESTS_GATED_MODEL_H

#include "make_model.h"
#include "terse/terse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_VOCAB = 96, N = 400, WINDOW = 40, SINKS = 2 };

static char path[64], plain_path[64], side_path[64];
static terse_model *model;
static int32_t tokens[N];

static int setup(void **state)
{
    (void)state;
    terse_error err;
    make_model_opts o = { .n_layer = 3,
                          .n_embd = 128,
                          .n_head = 8,
                          .n_head_kv = 2,
                          .head_dim = 32,
                          .n_ff = 256,
                          .n_vocab = N_VOCAB,
                          .n_ctx = 1024,
                          .q_gain = 4.0f,
                          .utility = 48,
                          .seed = 3 };
    snprintf(path, sizeof path, "/tmp/terse-spkv-%d.gguf", (int)getpid());
    snprintf(plain_path, sizeof plain_path, "/tmp/terse-plain-%d.gguf", (int)getpid());
    snprintf(side_path, sizeof side_path, "/tmp/terse-side-%d.gguf", (int)getpid());
    for (int32_t t = 0; t < N; t++)
        tokens[t] = (t * t + 37 * t) % N_VOCAB;
    if (make_model(path, &o, &err) != TERSE_OK || terse_model_open(&model, path, &err) != TERSE_OK) {
        print_error("%s\n", err.text);
        return -1;
    }
    o.utility = 0;
    if (make_model(plain_path, &o, &err) != TERSE_OK) {
        print_error("%s\n", err.text);
        return -1;
    }
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    terse_model_close(&model);
    unlink(path);
    unlink(plain_path);
    unlink(side_path);
    return 0;
}

static terse_session *open_on(const terse_model *m, terse_session_opts o)
{
    terse_session *s;
    terse_error err;
    o.ctx = o.ctx ? o.ctx : N + 40;
    if (terse_session_open(&s, m, &o, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return s;
}

/* Logits of the last of n tokens, those from `from` on decoded; the caller frees them. */
static inline float *logits_of(const terse_model *m, terse_session_opts o, int32_t n, int32_t from)
{
    terse_error err;
    const float *last = NULL;
    terse_session *s = open_on(m, o);
    terse_status st = from ? terse_session_prefill(s, tokens, from, &last, NULL, &err) : TERSE_OK;
    for (int32_t t = from; t < n && st == TERSE_OK; t++)
        st = terse_session_decode(s, tokens[t], &last, &err);
    if (st != TERSE_OK)
        fail_msg("%s", err.text);
    float *copy = malloc(N_VOCAB * sizeof *copy);
    assert_non_null(copy);
    memcpy(copy, last, N_VOCAB * sizeof *copy);
    terse_session_close(&s);
    return copy;
}

#endif
