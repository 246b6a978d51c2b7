/* test_gguf: types, names, what the writer writes and the reader reads, and the golden files. */
#include "terse/gguf.h"

#include <dirent.h>
#include <ftw.h>
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define STR(s) ((terse_str){ (s), sizeof(s) - 1 })

static char directory[] = "/tmp/terse-gguf-XXXXXX";

static const char *file_in(const char *name)
{
    static char path[64];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static int make_directory(void **state)
{
    (void)state;
    return mkdtemp(directory) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)flag, (void)ftw;
    return remove(path);
}

static int remove_directory(void **state)
{
    (void)state;
    return nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static int n_files(void)
{
    int n = 0;
    DIR *d = opendir(directory);
    assert_non_null(d);
    for (const struct dirent *e; (e = readdir(d));)
        n += e->d_name[0] != '.' || strlen(e->d_name) > 2;
    closedir(d);
    return n;
}

static terse_gguf *open_ok(const char *path)
{
    terse_gguf *g;
    terse_error err;
    if (terse_gguf_open(&g, path, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return g;
}

static void type_sizes_are_those_of_the_blocks(void **state)
{
    (void)state;
    assert_int_equal(terse_type_row_size(TERSE_TYPE_F32, 3), 12);
    assert_int_equal(terse_type_row_size(TERSE_TYPE_Q4_0, 64), 36);
    assert_int_equal(terse_type_row_size(TERSE_TYPE_Q4_0, 65), 0);
    assert_int_equal(terse_type_row_size(TERSE_TYPE_Q8_K, 256), 292);
    assert_int_equal(terse_type_row_size(TERSE_TYPE_F64, INT64_MAX), 0); /* does not fit 64 bits */
    assert_int_equal(terse_type_row_size(4, 32), 0);                     /* withdrawn */
    assert_int_equal(terse_type_row_size(UINT32_MAX, 32), 0);
    assert_int_equal(terse_type_row_size(TERSE_TYPE_F32, -1), 0);
    assert_null(terse_type_of(TERSE_TYPE_COUNT)->name);
    assert_string_equal(terse_type_of(TERSE_TYPE_IQ4_XS)->name, "IQ4_XS");
}

/* Row sizes that the reference quantiser wrote, for every type that it has. */
static void type_sizes_match_the_golden_rows(void **state)
{
    (void)state;
    json_t *root = json_load_file(TERSE_SHARED_DIR "/golden/quants/index.json", 0, NULL);
    if (!root) {
        print_message("SKIPPED: no golden quants in %s\n", TERSE_SHARED_DIR);
        skip();
    }
    const json_int_t cols = json_integer_value(json_object_get(root, "cols"));
    const json_t *types = json_object_get(root, "types");
    assert_true(json_array_size(types) > 20);
    for (size_t i = 0; i < json_array_size(types); i++) {
        const json_t *t = json_array_get(types, i);
        const uint32_t type = (uint32_t)json_integer_value(json_object_get(t, "ggml_type"));
        assert_string_equal(terse_type_of(type)->name, json_string_value(json_object_get(t, "type")));
        assert_int_equal(terse_type_row_size(type, cols), json_integer_value(json_object_get(t, "row_bytes")));
    }
    json_decref(root);
}

static void fill(terse_gguf_writer *w)
{
    static const int16_t i16[] = { -3, 7, INT16_MIN };
    static const float f32[] = { 0.5f, -INFINITY };
    static const terse_str strs[] = { { "one", 3 }, { "", 0 }, { "a\0b", 3 } };
    static const float a[6] = { 1, 2, 3, 4, 5, 6 };
    static uint8_t b[36] = { 9 };
    static const uint64_t big[] = { UINT64_MAX, 1 };
    terse_gguf_writer_str(w, "general.architecture", STR("llama"));
    terse_gguf_writer_tensor(w, "a", TERSE_TYPE_F32, 2, (const int64_t[]){ 3, 2 }, a);
    terse_gguf_writer_u32(w, "u32", 4000000000u);
    terse_gguf_writer_i32(w, "i32", -5);
    terse_gguf_writer_u64(w, "u64", UINT64_MAX);
    terse_gguf_writer_f32(w, "f32", 1e-5f);
    terse_gguf_writer_bool(w, "yes", true);
    terse_gguf_writer_bool(w, "no", false);
    terse_gguf_writer_tensor(w, "b", TERSE_TYPE_Q4_0, 1, (const int64_t[]){ 64 }, b);
    terse_gguf_writer_array(w, "i16s", TERSE_META_I16, i16, 3);
    terse_gguf_writer_array(w, "f32s", TERSE_META_F32, f32, 2);
    terse_gguf_writer_array(w, "u64s", TERSE_META_U64, big, 2);
    terse_gguf_writer_array(w, "none", TERSE_META_U8, NULL, 0);
    terse_gguf_writer_strs(w, "strs", strs, 3);
}

static void check_scalars(const terse_gguf *g)
{
    terse_error err;
    int32_t i = 77;
    float f = 0.0f;
    bool b = false;
    terse_str s;
    assert_int_equal(terse_gguf_get_str(g, "general.architecture", true, &s, &err), TERSE_OK);
    assert_true(s.n == 5 && memcmp(s.p, "llama", 5) == 0);
    assert_int_equal(terse_gguf_get_i32(g, "i32", true, &i, &err), TERSE_OK);
    assert_int_equal(i, -5);
    assert_int_equal(terse_gguf_get_f32(g, "f32", true, &f, &err), TERSE_OK);
    assert_true(f == 1e-5f);
    assert_int_equal(terse_gguf_get_bool(g, "yes", true, &b, &err), TERSE_OK);
    assert_true(b);
    assert_int_equal(terse_gguf_get_bool(g, "no", true, &b, &err), TERSE_OK);
    assert_false(b);
    assert_true(terse_gguf_find_meta(g, "u64")->v.u == UINT64_MAX);
    /* Absent: kept if optional, an error that names the key if not. */
    assert_int_equal(terse_gguf_get_i32(g, "absent", false, &i, &err), TERSE_OK);
    assert_int_equal(i, -5);
    assert_int_equal(terse_gguf_get_i32(g, "absent", true, &i, &err), TERSE_BAD_INPUT);
    assert_non_null(strstr(err.text, "missing key 'absent'"));
    /* Wrong type and out of range: the error names key and offset, the value stays. */
    assert_int_equal(terse_gguf_get_i32(g, "u32", false, &i, &err), TERSE_BAD_INPUT);
    assert_non_null(strstr(err.text, "key 'u32'"));
    assert_non_null(strstr(err.text, " at offset "));
    assert_int_equal(terse_gguf_get_i32(g, "f32", false, &i, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_gguf_get_f32(g, "i32", false, &f, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_gguf_get_bool(g, "u32", false, &b, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_gguf_get_str(g, "u32", false, &s, NULL), TERSE_BAD_INPUT);
    assert_int_equal(i, -5);
}

static void check_arrays(const terse_gguf *g)
{
    terse_error err;
    terse_meta_array a;
    terse_str s;
    assert_int_equal(terse_gguf_get_array(g, "i16s", true, TERSE_META_I16, &a, &err), TERSE_OK);
    assert_int_equal(a.n, 3);
    assert_int_equal(terse_meta_array_i64(&a, 0), -3);
    assert_int_equal(terse_meta_array_i64(&a, 2), INT16_MIN);
    assert_true(terse_meta_array_f64(&a, 1) == 7.0);
    assert_int_equal(terse_gguf_get_array(g, "i16s", true, TERSE_META_F32, &a, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_gguf_get_array(g, "u32", true, TERSE_META_ARRAY, &a, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_gguf_get_array(g, "f32s", true, TERSE_META_ARRAY, &a, &err), TERSE_OK);
    assert_true(terse_meta_array_f64(&a, 0) == 0.5);
    assert_true(terse_meta_array_i64(&a, 1) == INT64_MIN); /* minus infinity */
    assert_int_equal(terse_gguf_get_array(g, "u64s", true, TERSE_META_U64, &a, &err), TERSE_OK);
    assert_true(terse_meta_array_i64(&a, 0) == INT64_MAX);
    assert_true(terse_meta_array_f64(&a, 0) == 0x1p64);
    assert_int_equal(terse_gguf_get_array(g, "none", true, TERSE_META_U8, &a, &err), TERSE_OK);
    assert_int_equal(a.n, 0);
    assert_int_equal(terse_gguf_get_array(g, "strs", true, TERSE_META_STR, &a, &err), TERSE_OK);
    assert_true(terse_meta_array_next_str(&a, &s) && s.n == 3 && memcmp(s.p, "one", 3) == 0);
    assert_true(terse_meta_array_next_str(&a, &s) && s.n == 0);
    assert_true(terse_meta_array_next_str(&a, &s) && s.n == 3 && memcmp(s.p, "a\0b", 3) == 0);
    assert_false(terse_meta_array_next_str(&a, &s));
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    terse_gguf_writer *w;
    terse_error err;
    const char *path = file_in("round.gguf");
    assert_int_equal(terse_gguf_writer_open(&w, &err), TERSE_OK);
    fill(w);
    assert_int_equal(terse_gguf_writer_save(w, path, &err), TERSE_OK);
    terse_gguf *g = open_ok(path);
    assert_int_equal(terse_gguf_version(g), 3);
    assert_string_equal(terse_gguf_path(g), path);
    assert_int_equal(terse_gguf_n_meta(g), 12);
    assert_int_equal(terse_gguf_n_tensor(g), 2);
    assert_int_equal(terse_gguf_data_offset(g) % 32, 0);
    check_scalars(g);
    check_arrays(g);
    const terse_tensor *b = terse_gguf_find_tensor(g, "b");
    assert_ptr_equal(b, terse_gguf_tensor(g, 1));
    assert_int_equal(b->size, 36);
    assert_int_equal(b->offset, terse_gguf_data_offset(g) + 32);
    assert_true(b->ne[0] == 64 && b->ne[1] == 1 && b->ne[3] == 1 && b->n_dim == 1);
    assert_int_equal(*(const uint8_t *)b->data, 9);
    const terse_tensor *a = terse_gguf_find_tensor(g, "a");
    assert_true(a->ne[0] == 3 && a->ne[1] == 2 && ((const float *)a->data)[5] == 6.0f);
    assert_null(terse_gguf_find_tensor(g, "c"));
    assert_null(terse_gguf_find_tensor(g, ""));
    assert_false(terse_gguf_broken(g));
    terse_gguf_close(&g);
    assert_null(g);
    terse_gguf_writer_close(&w);
    terse_gguf_writer_close(&w);
    assert_int_equal(n_files(), 1);
}

/* Copying every key and tensor gives a file whose header is the same, byte for byte. */
static void a_copy_has_the_same_hash(void **state)
{
    (void)state;
    terse_gguf_writer *w;
    terse_error err;
    uint8_t one[16], two[16];
    terse_gguf *g = open_ok(file_in("round.gguf"));
    terse_gguf_hash(g, one);
    assert_int_equal(terse_gguf_writer_open(&w, &err), TERSE_OK);
    for (int32_t i = 0; i < terse_gguf_n_meta(g); i++)
        terse_gguf_writer_copy(w, terse_gguf_meta(g, i));
    for (int32_t i = 0; i < terse_gguf_n_tensor(g); i++) {
        const terse_tensor *t = terse_gguf_tensor(g, i);
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)t->name.n, t->name.p);
        terse_gguf_writer_tensor(w, name, t->type, t->n_dim, t->ne, t->data);
    }
    assert_int_equal(terse_gguf_writer_save(w, file_in("copy.gguf"), &err), TERSE_OK);
    terse_gguf *copy = open_ok(file_in("copy.gguf"));
    terse_gguf_hash(copy, two);
    assert_memory_equal(one, two, 16);
    terse_gguf_close(&copy);
    terse_gguf_writer_u32(w, "one.more", 1);
    assert_int_equal(terse_gguf_writer_save(w, file_in("copy.gguf"), &err), TERSE_OK);
    copy = open_ok(file_in("copy.gguf"));
    terse_gguf_hash(copy, two);
    assert_memory_not_equal(one, two, 16);
    terse_gguf_close(&copy);
    terse_gguf_close(&g);
    terse_gguf_writer_close(&w);
}

static void the_alignment_key_is_obeyed(void **state)
{
    (void)state;
    terse_gguf_writer *w;
    terse_error err;
    static const float x[3] = { 1, 2, 3 };
    assert_int_equal(terse_gguf_writer_open(&w, &err), TERSE_OK);
    terse_gguf_writer_tensor(w, "x", TERSE_TYPE_F32, 1, (const int64_t[]){ 3 }, x);
    terse_gguf_writer_tensor(w, "y", TERSE_TYPE_F32, 1, (const int64_t[]){ 3 }, x);
    terse_gguf_writer_u32(w, "general.alignment", 4096);
    assert_int_equal(terse_gguf_writer_save(w, file_in("align.gguf"), &err), TERSE_OK);
    terse_gguf *g = open_ok(file_in("align.gguf"));
    assert_int_equal(terse_gguf_tensor(g, 0)->offset, 4096);
    assert_int_equal(terse_gguf_tensor(g, 1)->offset, 8192);
    assert_int_equal(terse_gguf_size(g), 3 * 4096);
    terse_gguf_close(&g);
    terse_gguf_writer_close(&w);
}

typedef void misuse(terse_gguf_writer *w);
static void bad_duplicate(terse_gguf_writer *w)
{
    terse_gguf_writer_u32(w, "u32", 1);
}
static void bad_empty_key(terse_gguf_writer *w)
{
    terse_gguf_writer_u32(w, "", 1);
}
static void bad_utf8_key(terse_gguf_writer *w)
{
    terse_gguf_writer_u32(w, "\xff", 1);
}
static void bad_align(terse_gguf_writer *w)
{
    terse_gguf_writer_u32(w, "general.alignment", 12);
}
static void bad_align_type(terse_gguf_writer *w)
{
    terse_gguf_writer_u64(w, "general.alignment", 32);
}
static void bad_array(terse_gguf_writer *w)
{
    terse_gguf_writer_array(w, "k", TERSE_META_STR, "", 1);
}
static void bad_tensor(terse_gguf_writer *w, const char *name, uint32_t type, int32_t n_dim, int64_t ne)
{
    terse_gguf_writer_tensor(w, name, type, n_dim, (const int64_t[]){ ne, ne, 1, 1, 1 }, "");
}
static void bad_dims(terse_gguf_writer *w)
{
    bad_tensor(w, "k", TERSE_TYPE_F32, 5, 1);
}
static void bad_dim(terse_gguf_writer *w)
{
    bad_tensor(w, "k", TERSE_TYPE_F32, 1, 0);
}
static void bad_size(terse_gguf_writer *w)
{
    bad_tensor(w, "k", TERSE_TYPE_F32, 2, INT64_MAX);
}
static void bad_bytes(terse_gguf_writer *w)
{
    bad_tensor(w, "k", TERSE_TYPE_F64, 1, INT64_MAX);
}
static void bad_row(terse_gguf_writer *w)
{
    bad_tensor(w, "k", TERSE_TYPE_Q4_K, 2, 16);
}
static void bad_type(terse_gguf_writer *w)
{
    bad_tensor(w, "k", 5, 1, 32);
}
static void bad_tensor_duplicate(terse_gguf_writer *w)
{
    bad_tensor(w, "a", TERSE_TYPE_F32, 1, 1);
}
static void bad_long_name(terse_gguf_writer *w)
{
    bad_tensor(w, "0123456789012345678901234567890123456789012345678901234567890123", TERSE_TYPE_F32, 1, 1);
}

/* Whatever the reader would refuse is an error of the save; the old file stays and no temporary is left. */
static void misuse_is_reported_by_save(void **state)
{
    (void)state;
    static misuse *const all[] = { bad_duplicate,
                                   bad_empty_key,
                                   bad_utf8_key,
                                   bad_align,
                                   bad_align_type,
                                   bad_array,
                                   bad_dims,
                                   bad_dim,
                                   bad_size,
                                   bad_bytes,
                                   bad_row,
                                   bad_type,
                                   bad_tensor_duplicate,
                                   bad_long_name };
    const int before = n_files();
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        terse_gguf_writer *w;
        terse_error err = { 0 };
        assert_int_equal(terse_gguf_writer_open(&w, &err), TERSE_OK);
        fill(w);
        all[i](w);
        terse_gguf_writer_u32(w, "after", 1); /* the first error stays */
        const terse_status st = terse_gguf_writer_save(w, file_in("round.gguf"), &err);
        assert_int_equal(st, all[i] == bad_type ? TERSE_UNSUPPORTED : TERSE_BAD_INPUT);
        assert_non_null(strstr(err.text, all[i] == bad_align || all[i] == bad_align_type ? "alignment" : "'"));
        assert_null(strstr(err.text, "after"));
        terse_gguf_writer_close(&w);
    }
    assert_int_equal(n_files(), before);
    terse_gguf *g = open_ok(file_in("round.gguf"));
    terse_gguf_close(&g);
}

/* The disk is "full" after 100 bytes (a file size limit): the error is I/O, the old file and nothing else is
 * left. */
static void a_failed_save_leaves_the_old_file(void **state)
{
    (void)state;
    terse_gguf_writer *w;
    terse_error err;
    struct rlimit old, small;
    const int before = n_files();
    assert_int_equal(terse_gguf_writer_open(&w, &err), TERSE_OK);
    fill(w);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){ 100, old.rlim_max };
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    const terse_status st = terse_gguf_writer_save(w, file_in("round.gguf"), &err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(st, TERSE_IO);
    assert_non_null(strstr(err.text, "cannot write"));
    assert_int_equal(n_files(), before);
    terse_gguf *g = open_ok(file_in("round.gguf"));
    terse_gguf_close(&g);
    assert_int_equal(terse_gguf_writer_save(w, file_in("no/such/directory.gguf"), &err), TERSE_IO);
    assert_int_equal(terse_gguf_writer_save(w, "/dev/null", &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_gguf_writer_save(w, directory, &err), TERSE_BAD_INPUT);
    terse_gguf_writer_close(&w);
    assert_int_equal(n_files(), before);
}

/* Look-ups stay right when the tables have grown many times, and 128 Ki strings are walked in milliseconds. */
static void many_names_are_found(void **state)
{
    (void)state;
    enum { N = 3000, N_STRING = 128 * 1024 };
    terse_gguf_writer *w;
    terse_error err;
    char name[32];
    static terse_str strs[N_STRING];
    static const float x = 1.0f;
    for (int i = 0; i < N_STRING; i++)
        strs[i] = STR("token");
    assert_int_equal(terse_gguf_writer_open(&w, &err), TERSE_OK);
    for (int i = 0; i < N; i++) {
        snprintf(name, sizeof name, "n.%d", i);
        terse_gguf_writer_i32(w, name, i);
        terse_gguf_writer_tensor(w, name, TERSE_TYPE_F32, 1, (const int64_t[]){ 1 }, &x);
    }
    terse_gguf_writer_strs(w, "strs", strs, N_STRING);
    assert_int_equal(terse_gguf_writer_save(w, file_in("many.gguf"), &err), TERSE_OK);
    terse_gguf_writer_close(&w);
    terse_gguf *g = open_ok(file_in("many.gguf"));
    for (int i = 0; i < N; i++) {
        int32_t v = -1;
        snprintf(name, sizeof name, "n.%d", i);
        assert_int_equal(terse_gguf_get_i32(g, name, true, &v, &err), TERSE_OK);
        assert_int_equal(v, i);
        assert_ptr_equal(terse_gguf_find_tensor(g, name), terse_gguf_tensor(g, i));
    }
    assert_null(terse_gguf_find_meta(g, "n.3000"));
    assert_int_equal(terse_gguf_find_meta(g, "strs")->v.a.n, N_STRING);
    terse_gguf_close(&g);
}

static int n_golden;

static int open_golden(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st, (void)ftw;
    const size_t n = strlen(path);
    if (flag != FTW_F || n < 5 || strcmp(path + n - 5, ".gguf") != 0)
        return 0;
    terse_gguf *g = open_ok(path);
    terse_error err;
    terse_str arch;
    assert_int_equal(terse_gguf_get_str(g, "general.architecture", true, &arch, &err), TERSE_OK);
    for (int32_t i = 0; i < terse_gguf_n_tensor(g); i++) {
        const terse_tensor *t = terse_gguf_tensor(g, i);
        assert_true(t->offset + t->size <= terse_gguf_size(g));
        assert_int_equal((uintptr_t)t->data % 8, 0);
    }
    terse_gguf_close(&g);
    n_golden++;
    return 0;
}

static void golden_files_open(void **state)
{
    (void)state;
    if (access(TERSE_SHARED_DIR "/golden", R_OK) != 0) {
        print_message("SKIPPED: no golden files in %s\n", TERSE_SHARED_DIR);
        skip();
    }
    assert_int_equal(nftw(TERSE_SHARED_DIR "/golden", open_golden, 16, 0), 0);
    assert_true(n_golden >= 40);
}

/* Control characters of a file never reach a terminal through an error, and a text always ends. */
static void error_texts_are_one_clean_line(void **state)
{
    (void)state;
    terse_error err;
    char text[1024];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    assert_int_equal(terse_fail(&err, TERSE_IO, "a\nb\x1b[2J%s", "\t"), TERSE_IO);
    assert_string_equal(err.text, "a?b?[2J?");
    assert_int_equal(terse_fail(&err, TERSE_NOMEM, "%s", text), TERSE_NOMEM);
    assert_int_equal(strlen(err.text), sizeof err.text - 1);
    assert_string_equal(err.text + sizeof err.text - 4, "...");
    assert_int_equal(terse_fail(NULL, TERSE_IO, "%s", text), TERSE_IO);
    assert_int_equal(terse_status_exit(TERSE_OK), 0);
    assert_int_equal(terse_status_exit(TERSE_UNSUPPORTED), 2);
    assert_int_equal(terse_status_exit(TERSE_NOMEM), 71);
    assert_int_equal(terse_status_exit(TERSE_IO), 74);
    assert_int_equal(terse_status_exit(TERSE_INTERNAL), 70);
    assert_true(strchr(terse_version(), '.') != NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(type_sizes_are_those_of_the_blocks),
        cmocka_unit_test(type_sizes_match_the_golden_rows),
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(a_copy_has_the_same_hash),
        cmocka_unit_test(the_alignment_key_is_obeyed),
        cmocka_unit_test(misuse_is_reported_by_save),
        cmocka_unit_test(a_failed_save_leaves_the_old_file),
        cmocka_unit_test(many_names_are_found),
        cmocka_unit_test(golden_files_open),
        cmocka_unit_test(error_texts_are_one_clean_line),
    };
    return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
