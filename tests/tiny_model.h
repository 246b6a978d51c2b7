/* tests/tiny_model.h: a random model of two layers with two KV heads, for tests of sessions. */
#ifndef TINY_MODEL_H
#define TINY_MODEL_H

#include "make_model.h"
#include "terse/terse.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_VOCAB = 96, CTX = 1024 };

static char tiny_path[64];
static terse_model *model;

static inline make_model_opts tiny_shape(uint64_t seed)
{
    make_model_opts o = { .n_layer = 2,
                          .n_embd = 128,
                          .n_head = 8,
                          .n_head_kv = 2,
                          .head_dim = 32,
                          .n_ff = 256,
                          .n_vocab = N_VOCAB,
                          .n_ctx = CTX,
                          .q_gain = 4.0f,
                          .output = true,
                          .seed = seed };
    o.types = (make_model_types){ .embd = TERSE_TYPE_Q8_0,
                                  .output = TERSE_TYPE_Q8_0,
                                  .q = TERSE_TYPE_Q4_0,
                                  .k = TERSE_TYPE_Q8_0,
                                  .v = TERSE_TYPE_Q8_0,
                                  .o = TERSE_TYPE_Q4_0,
                                  .gate = TERSE_TYPE_Q4_0,
                                  .up = TERSE_TYPE_Q4_0,
                                  .down = TERSE_TYPE_Q4_0 };
    return o;
}

static int tiny_open(const make_model_opts *o)
{
    terse_error err;
    snprintf(tiny_path, sizeof tiny_path, "/tmp/terse-tiny-%d.gguf", (int)getpid());
    if (make_model(tiny_path, o, &err) == TERSE_OK && terse_model_open(&model, tiny_path, &err) == TERSE_OK)
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static inline int tiny_setup(void **state)
{
    (void)state;
    const make_model_opts o = tiny_shape(11);
    return tiny_open(&o);
}

static int tiny_teardown(void **state)
{
    (void)state;
    terse_model_close(&model);
    unlink(tiny_path);
    return 0;
}

static terse_session *open_with(const terse_session_opts *opts)
{
    terse_error err = { 0 };
    terse_session *s;
    if (terse_session_open(&s, model, opts, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return s;
}

static inline uint32_t roll(uint32_t *seed, uint32_t n)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 8) % n;
}

#endif
