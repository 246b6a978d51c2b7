/* test_gguf_memory: the n-th allocation fails, for every n, while a file is written and read back. Each time
 * the answer is TERSE_NOMEM, nothing leaks (the sanitizer watches) and no file is left behind. */
#include "gguf_walk.h"

#include <dirent.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

/* The linker sends the library's calls here (--wrap). */
void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
char *__real_strndup(const char *s, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
char *__wrap_strndup(const char *s, size_t n);

static long left = -1; /* allocations that still succeed; -1: all */
static bool refuse(void)
{
    return left >= 0 && left-- == 0;
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
char *__wrap_strdup(const char *s)
{
    return refuse() ? NULL : __real_strdup(s);
}
char *__wrap_strndup(const char *s, size_t n)
{
    return refuse() ? NULL : __real_strndup(s, n);
}

static char directory[] = "/tmp/terse-memory-XXXXXX";
static char path[64];

static terse_status write_one(terse_error *err)
{
    static const float x = 1.0f;
    terse_gguf_writer *w;
    terse_status st = terse_gguf_writer_open(&w, err);
    if (st != TERSE_OK)
        return st;
    for (int i = 0; i < 100; i++) { /* enough for the tables to grow */
        char name[32];
        snprintf(name, sizeof name, "name.%d", i);
        terse_gguf_writer_i32(w, name, i);
        terse_gguf_writer_tensor(w, name, TERSE_TYPE_F32, 1, (const int64_t[]){ 1 }, &x);
    }
    st = terse_gguf_writer_save(w, path, err);
    terse_gguf_writer_close(&w);
    return st;
}

static terse_status read_one(terse_error *err)
{
    terse_gguf *g;
    const terse_status st = terse_gguf_open(&g, path, err);
    assert_true((st == TERSE_OK) == (g != NULL));
    terse_gguf_close(&g);
    return st;
}

/* A file in two parts, in a folder of its own. */
static char parts[] = "/tmp/terse-memory-parts-XXXXXX";
static char part_path[2][96];

static void write_parts(void)
{
    for (uint32_t no = 0; no < 2; no++) {
        static const float x = 1.0f;
        terse_gguf_writer *w;
        char name[32];
        snprintf(part_path[no], sizeof part_path[no], "%s/m-%05u-of-00002.gguf", parts, no + 1);
        assert_int_equal(terse_gguf_writer_open(&w, NULL), TERSE_OK);
        terse_gguf_writer_u32(w, "split.no", no);
        terse_gguf_writer_u32(w, "split.count", 2);
        for (int i = 0; i < 100; i++) { /* enough for the index to grow when they are joined */
            snprintf(name, sizeof name, "t.%u.%d", no, i);
            terse_gguf_writer_tensor(w, name, TERSE_TYPE_F32, 1, (const int64_t[]){ 1 }, &x);
        }
        assert_int_equal(terse_gguf_writer_save(w, part_path[no], NULL), TERSE_OK);
        terse_gguf_writer_close(&w);
    }
}

static terse_status read_parts(terse_error *err)
{
    terse_gguf *g;
    const terse_status st = terse_gguf_open(&g, part_path[1], err);
    assert_true((st == TERSE_OK) == (g != NULL));
    terse_gguf_close(&g);
    return st;
}

static int n_files(void)
{
    int n = 0;
    DIR *d = opendir(directory);
    assert_non_null(d);
    while (readdir(d))
        n++;
    closedir(d);
    return n - 2;
}

/* Returns how many allocations the call makes. */
static long sweep(terse_status (*call)(terse_error *))
{
    for (long n = 0;; n++) {
        terse_error err = { 0 };
        left = n;
        const terse_status st = call(&err);
        const bool ran_out = left < 0;
        left = -1;
        if (!ran_out) {
            assert_int_equal(st, TERSE_OK);
            return n;
        }
        if (st != TERSE_NOMEM)
            fail_msg("allocation %ld: status %d, \"%s\"", n, st, err.text);
        assert_int_equal(err.status, TERSE_NOMEM);
        assert_true(n_files() <= 1);
        assert_true(access(path, F_OK) == 0 || n_files() == 0);
    }
}

static void every_failed_allocation_is_reported(void **state)
{
    (void)state;
    assert_true(sweep(write_one) > 200);
    assert_int_equal(n_files(), 1);
    assert_true(sweep(read_one) >= 6);
    write_parts();
    assert_true(sweep(read_parts) >= 12);
    assert_int_equal(n_files(), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(every_failed_allocation_is_reported) };
    if (!mkdtemp(directory) || !mkdtemp(parts))
        return 1;
    snprintf(path, sizeof path, "%s/one.gguf", directory);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(path);
    for (int i = 0; i < 2; i++)
        unlink(part_path[i]);
    return rmdir(directory) != 0 || rmdir(parts) != 0 || failed;
}
