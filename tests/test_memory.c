/* Memory failure: every allocation and mapping on the way from a file to three decoded tokens fails once; each
 * time the answer is TERSE_NOMEM and nothing leaks (the sanitizer watches). And: a decode step takes no memory.
 */
#include "make_model.h"
#include "terse/terse.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

/* The linker sends the library's calls here (--wrap). */
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
void *__real_mmap(void *p, size_t n, int prot, int flags, int fd, off_t at);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
void *__wrap_mmap(void *p, size_t n, int prot, int flags, int fd, off_t at);

static long left = -1; /* requests that still succeed; -1: all */
static long requests;

static bool refuse(void)
{
    requests++;
    if (left < 0 || left-- > 0)
        return false;
    errno = ENOMEM;
    return true;
}
void *__wrap_malloc(size_t n)
{
    return refuse() ? NULL : __real_malloc(n);
}
void *__wrap_calloc(size_t n, size_t size)
{
    return refuse() ? NULL : __real_calloc(n, size);
}
void *__wrap_realloc(void *p, size_t n)
{
    return refuse() ? NULL : __real_realloc(p, n);
}
void *__wrap_aligned_alloc(size_t align, size_t n)
{
    return refuse() ? NULL : __real_aligned_alloc(align, n);
}
void *__wrap_mmap(void *p, size_t n, int prot, int flags, int fd, off_t at)
{
    return refuse() ? MAP_FAILED : __real_mmap(p, n, prot, flags, fd, at);
}

static char path[64];

static int setup(void **state)
{
    (void)state;
    terse_error err;
    const make_model_opts o = { .n_layer = 2,
                                .n_embd = 64,
                                .n_head = 4,
                                .n_head_kv = 2,
                                .n_ff = 96,
                                .n_vocab = 50,
                                .n_expert = 4,
                                .types = make_model_uniform(TERSE_TYPE_Q8_0),
                                .seed = 1 };
    snprintf(path, sizeof path, "/tmp/terse-memory-%d.gguf", (int)getpid());
    if (make_model(path, &o, &err) == TERSE_OK)
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static int teardown(void **state)
{
    (void)state;
    unlink(path);
    return 0;
}

/* From a file to three decoded tokens. */
static terse_status three_tokens(const char *file, const terse_session_opts *opts, terse_error *err)
{
    static const int32_t prompt[] = { 1, 2, 3, 4, 5, 6, 7 };
    terse_model *m = NULL;
    terse_session *s = NULL;
    terse_status st = terse_model_open(&m, file, err);
    if (st == TERSE_OK)
        st = terse_session_open(&s, m, opts, err);
    if (st == TERSE_OK)
        st = terse_session_prefill(s, prompt, 7, NULL, NULL, err);
    for (int32_t t = 0; t < 3 && st == TERSE_OK; t++)
        st = terse_session_decode(s, t, NULL, err);
    terse_session_close(&s);
    terse_model_close(&m);
    assert_null(m);
    assert_null(s);
    return st;
}

static void fail_every_request(const char *file, const terse_session_opts *o)
{
    long n = 0;
    for (;; n++) {
        terse_error err = { 0 };
        left = n;
        const terse_status st = three_tokens(file, o, &err);
        const bool all = left >= 0;
        left = -1;
        if (all) { /* fewer than n requests were made */
            assert_int_equal(st, TERSE_OK);
            break;
        }
        if (st != TERSE_NOMEM)
            fail_msg("%s: request %ld refused gives status %d: %s", file, n, st, err.text);
        assert_true(strlen(err.text) > 0);
    }
    assert_true(n > 15);
}

/* Windows, sinks, latents and their routers. */
static void every_failure_of_architectures_is_clean(void **state)
{
    (void)state;
    static const char *const files[] = { "gpt-oss-mxfp4", "deepseek2-mla-f16" };
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char file[512];
        snprintf(file, sizeof file, "%s/golden/models/%s.gguf", TERSE_TEST_DIR, files[i]);
        fail_every_request(file, &(terse_session_opts){ .threads = 2, .chunk = 4, .stop = "mass:from=0" });
    }
}

static void every_failure_is_clean(void **state)
{
    (void)state;
    static const char *const rules[] = { "none", "stability", "value-skip", "mass:from=0+value-share",
                                         "certified" };
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++)
        fail_every_request(path, &(terse_session_opts){ .threads = 2, .stop = rules[r] });
}

static void decode_takes_no_memory(void **state)
{
    (void)state;
    static const char *const rules[] = { "none", "stability:tau=0.1,phi=0.1,patience=1", "value-skip:eps=0.5" };
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
        terse_error err = { 0 };
        terse_model *m;
        terse_session *s;
        const terse_session_opts o = { .threads = 2, .stop = rules[r], .audit = 7 };
        int32_t prompt[300] = { 0 };
        assert_int_equal(terse_model_open(&m, path, &err), TERSE_OK);
        assert_int_equal(terse_session_open(&s, m, &o, &err), TERSE_OK);
        assert_int_equal(terse_session_prefill(s, prompt, 300, NULL, NULL, &err), TERSE_OK);
        requests = 0;
        for (int32_t t = 0; t < 100; t++) /* crosses pages of the store */
            assert_int_equal(terse_session_decode(s, t % 50, NULL, &err), TERSE_OK);
        assert_int_equal(requests, 0);
        terse_session_close(&s);
        terse_model_close(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_failure_is_clean),
        cmocka_unit_test(every_failure_of_architectures_is_clean),
        cmocka_unit_test(decode_takes_no_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
