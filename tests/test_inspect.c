/* test_inspect: what `terse inspect` prints of a file made to be awkward, and its exit codes. */
#include "cli/commands.h"
#include "terse/gguf.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static char directory[] = "/tmp/terse-inspect-XXXXXX";
static char path[64], out_path[64];
static char out[65536];

static int set_up(void **state)
{
    (void)state;
    terse_gguf_writer *w;
    terse_error err;
    static const float x[8] = { 1 };
    static terse_str strs[7] = { { "a", 1 }, { "", 0 },  { "\xff", 1 }, { "d", 1 },
                                 { "e", 1 }, { "f", 1 }, { "g", 1 } };
    static char very_long[4001];
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/file.gguf", directory);
    snprintf(out_path, sizeof out_path, "%s/out", directory);
    memset(very_long, 'l', sizeof very_long - 1);
    if (terse_gguf_writer_open(&w, &err) != TERSE_OK)
        return -1;
    terse_gguf_writer_str(w, "k.steer", (terse_str){ "\x1b[2J\"x\"\n\xc2\x9b", 10 });
    terse_gguf_writer_str(w, "k.long", (terse_str){ very_long, 4000 });
    terse_gguf_writer_strs(w, "k.strs", strs, 7);
    terse_gguf_writer_f32(w, "k.nan", NAN);
    terse_gguf_writer_u64(w, "k.big", UINT64_MAX);
    terse_gguf_writer_i32(w, "k.i32", -7);
    terse_gguf_writer_array(w, "k.u64s", TERSE_META_U64, (const uint64_t[]){ UINT64_MAX, 3 }, 2);
    terse_gguf_writer_tensor(w, "t.one", TERSE_TYPE_F32, 2, (const int64_t[]){ 4, 2 }, x);
    terse_gguf_writer_tensor(w, "t.two", TERSE_TYPE_F16, 1, (const int64_t[]){ 5 }, x);
    const terse_status st = terse_gguf_writer_save(w, path, &err);
    terse_gguf_writer_close(&w);
    return st != TERSE_OK;
}

static int tear_down(void **state)
{
    (void)state;
    unlink(path);
    unlink(out_path);
    return rmdir(directory);
}

/* Runs the command with stdout and stderr going to a file whose text is then in out. */
static int run(const char *to, const char *one, const char *two)
{
    char name[] = "inspect", a[128], b[128], *argv[] = { name, a, b, NULL };
    snprintf(a, sizeof a, "%s", one ? one : "");
    snprintf(b, sizeof b, "%s", two ? two : "");
    const int argc = 1 + (one != NULL) + (two != NULL);
    argv[argc] = NULL;
    fflush(stdout);
    const int fd = open(to, O_RDWR | O_CREAT | O_TRUNC, 0600), saved = dup(1), saved_err = dup(2);
    assert_true(fd >= 0 && saved >= 0 && saved_err >= 0);
    dup2(fd, 1);
    dup2(fd, 2);
    const int code = terse_cmd_inspect(argc, argv);
    fflush(stdout);
    clearerr(stdout);
    dup2(saved, 1);
    dup2(saved_err, 2);
    close(saved);
    close(saved_err);
    memset(out, 0, sizeof out);
    assert_true(strcmp(to, "/dev/full") == 0 || pread(fd, out, sizeof out - 1, 0) > 0);
    close(fd);
    return code;
}

static void the_listing_is_short_and_safe(void **state)
{
    (void)state;
    assert_int_equal(run(out_path, path, NULL), 0);
    assert_non_null(strstr(out, "\"\\x1b[2J\\\"x\\\"\\n\\xc2\\x9b\""));
    assert_null(strchr(out, '\x1b'));
    assert_non_null(strstr(out, "lll\"... (4000 bytes)"));
    assert_true(strlen(out) < 3000);
    assert_non_null(strstr(out, "str[7]       [\"a\", \"\", \"\\xff\", \"d\", \"e\", ...]"));
    assert_non_null(strstr(out, "[18446744073709551615, 3]"));
    assert_non_null(strstr(out, "F32           1   32 bytes"));
    assert_non_null(strstr(out, "total         2   42 bytes"));
    assert_non_null(strstr(out, "13 parameters"));
    assert_null(strstr(out, "t.one"));
    assert_int_equal(run(out_path, "--tensors", path), 0);
    assert_non_null(strstr(out, "t.one F32      4 x 2 "));
}

static void the_json_says_everything(void **state)
{
    (void)state;
    assert_int_equal(run(out_path, path, "--json"), 0);
    json_t *root = json_loads(out, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(root);
    const json_t *meta = json_object_get(root, "metadata");
    assert_int_equal(json_object_size(meta), 7);
    assert_string_equal(json_string_value(json_object_get(meta, "k.steer")), "\x1b[2J\"x\"\n\xc2\x9b");
    assert_int_equal(json_string_length(json_object_get(meta, "k.long")), 4000);
    assert_string_equal(json_string_value(json_object_get(meta, "k.nan")), "nan");
    assert_string_equal(json_string_value(json_object_get(meta, "k.big")), "18446744073709551615");
    assert_int_equal(json_integer_value(json_object_get(meta, "k.i32")), -7);
    const json_t *strs = json_object_get(meta, "k.strs"), *first = json_object_get(strs, "first");
    assert_string_equal(json_string_value(json_object_get(strs, "type")), "str");
    assert_int_equal(json_integer_value(json_object_get(strs, "n")), 7);
    assert_int_equal(json_array_size(first), 5);
    assert_string_equal(json_string_value(json_array_get(first, 2)), "\\xff");
    const json_t *two = json_array_get(json_object_get(root, "tensors"), 1);
    assert_string_equal(json_string_value(json_object_get(two, "type")), "F16");
    assert_int_equal(json_integer_value(json_object_get(two, "bytes")), 10);
    assert_int_equal(json_integer_value(json_array_get(json_object_get(two, "shape"), 0)), 5);
    assert_int_equal(json_integer_value(json_object_get(root, "n_parameter")), 13);
    assert_int_equal(json_integer_value(json_object_get(root, "tensor_bytes")), 42);
    assert_null(strchr(out, '\x1b'));
    json_decref(root);
}

static void exit_codes_tell_what_failed(void **state)
{
    (void)state;
    assert_int_equal(run(out_path, "--help", NULL), 0);
    assert_non_null(strstr(out, "--json"));
    assert_int_equal(run(out_path, NULL, NULL), 2);
    assert_int_equal(run(out_path, path, path), 2);
    assert_int_equal(run(out_path, "--bogus", path), 2);
    assert_int_equal(run(out_path, directory, NULL), 2);
    assert_non_null(strstr(out, "not a regular file"));
    assert_int_equal(run("/dev/full", path, NULL), 74);
    assert_int_equal(run("/dev/full", path, "--json"), 74);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_listing_is_short_and_safe),
        cmocka_unit_test(the_json_says_everything),
        cmocka_unit_test(exit_codes_tell_what_failed),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
