/* The vocabularies of text_spec.h as open files, and what the tests of src/text assert. */
#ifndef TERSE_TESTS_TEXT_FIXTURE_H
#define TERSE_TESTS_TEXT_FIXTURE_H

#include "text_spec.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <unistd.h>

#include <cmocka.h>

typedef struct {
    terse_gguf *g;
    terse_vocab *v;
    terse_error err;
    char path[64];
} vocab_fixture;

/* Saves what the writer holds, closes it, and opens the file. */
static inline void fixture_save(vocab_fixture *f, terse_gguf_writer *w)
{
    memset(f, 0, sizeof *f);
    snprintf(f->path, sizeof f->path, "/tmp/terse-text-XXXXXX");
    const int fd = mkstemp(f->path);
    assert_true(fd >= 0);
    close(fd);
    if (terse_gguf_writer_save(w, f->path, &f->err) != TERSE_OK)
        fail_msg("%s", f->err.text);
    terse_gguf_writer_close(&w);
    if (terse_gguf_open(&f->g, f->path, &f->err) != TERSE_OK)
        fail_msg("%s", f->err.text);
}

static inline void fixture_open(vocab_fixture *f, terse_gguf_writer *w)
{
    fixture_save(f, w);
    if (terse_vocab_open(&f->v, f->g, &f->err) != TERSE_OK)
        fail_msg("%s", f->err.text);
}

static inline void fixture_close(vocab_fixture *f)
{
    terse_vocab_close(&f->v);
    terse_gguf_close(&f->g);
    unlink(f->path);
}

enum { PARSE = 1, SPECIAL = 2 };

/* text[n] gives exactly ids[n_ids]. */
static inline void assert_tokens(const terse_vocab *v, const char *text, size_t n, int how, const int32_t *ids,
                                 size_t n_ids)
{
    terse_tokens t = { 0 };
    terse_error err;
    if (terse_vocab_tokenize(v, text, n, how & SPECIAL, how & PARSE, &t, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    for (size_t i = 0; i < t.n && (t.n != n_ids || memcmp(t.ids, ids, n_ids * sizeof *ids) != 0); i++)
        print_message("token %zu: got %d\n", i, t.ids[i]);
    assert_int_equal(t.n, n_ids);
    if (n_ids > 0)
        assert_memory_equal(t.ids, ids, n_ids * sizeof *ids);
    terse_tokens_free(&t);
}

#define ASSERT_TOKENS(v, text, how, ...)                                                                       \
    assert_tokens(v, text, sizeof(text) - 1, how, (const int32_t[]){ __VA_ARGS__ },                            \
                  sizeof((const int32_t[]){ __VA_ARGS__ }) / sizeof(int32_t))

static inline void assert_detok(const terse_vocab *v, const int32_t *ids, size_t n, bool show, const char *want)
{
    terse_text t = { 0 };
    assert_int_equal(terse_text_append(&t, "", 0, NULL), TERSE_OK);
    assert_int_equal(terse_vocab_detokenize(v, ids, n, show, &t, NULL), TERSE_OK);
    assert_string_equal(t.p, want);
    terse_text_free(&t);
}

#define ASSERT_DETOK(v, want, show, ...)                                                                       \
    assert_detok(v, (const int32_t[]){ __VA_ARGS__ },                                                          \
                 sizeof((const int32_t[]){ __VA_ARGS__ }) / sizeof(int32_t), show, want)

#endif
