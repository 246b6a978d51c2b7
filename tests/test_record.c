/* tests/test_record.c: a recording gives back the attention of the session that it was taken from; damaged
 * files are refused by field and offset; a failure leaves what was there before; the command line. */
#include "engine/tap.h"
#include "lab/recording_file.h"
#include "make_model.h"
#include "terse/terse.h"

#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PREFILL = 70, STEPS = 5, LAYERS = 2, HEADS = 2, ROWS = 3, DIM = 32 };
static char directory[] = "/tmp/terse-record-XXXXXX";
static char model_path[64], path[64];
static terse_model *model;
static int32_t tokens[PREFILL + STEPS];

/* ---- memory that runs out: the linker sends the library's calls here (--wrap) ---- */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t align, size_t n);
char *__real_strdup(const char *s);
void *__real_mmap(void *p, size_t n, int prot, int flags, int fd, off_t at);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t align, size_t n);
char *__wrap_strdup(const char *s);
void *__wrap_mmap(void *p, size_t n, int prot, int flags, int fd, off_t at);

static long left = -1; /* requests that still succeed; -1: all */

static bool refuse(void)
{
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
char *__wrap_strdup(const char *s)
{
    return refuse() ? NULL : __real_strdup(s);
}
void *__wrap_mmap(void *p, size_t n, int prot, int flags, int fd, off_t at)
{
    return refuse() ? MAP_FAILED : __real_mmap(p, n, prot, flags, fd, at);
}

/* ---- fixture ---- */

static int set_up(void **state)
{
    (void)state;
    terse_error err = { 0 };
    const make_model_opts o = { .name = "a model \xc3\xbc",
                                .n_layer = LAYERS,
                                .n_embd = 96,
                                .n_head = HEADS * ROWS,
                                .n_head_kv = HEADS,
                                .head_dim = DIM,
                                .n_ff = 96,
                                .n_vocab = 50,
                                .q_gain = 3.0f,
                                .seed = 11 };
    if (!mkdtemp(directory))
        return -1;
    snprintf(model_path, sizeof model_path, "%s/model.gguf", directory);
    snprintf(path, sizeof path, "%s/recording", directory);
    for (int32_t t = 0; t < PREFILL + STEPS; t++)
        tokens[t] = t * 17 % 50;
    if (make_model(model_path, &o, &err) == TERSE_OK && terse_model_open(&model, model_path, &err) == TERSE_OK)
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static int tear_down(void **state)
{
    (void)state;
    char line[128];
    terse_model_close(&model);
    snprintf(line, sizeof line, "rm -r %s", directory);
    return system(line);
}

static void make(terse_kv_type type)
{
    terse_error err = { 0 };
    const terse_record_opts o = {
        .n_prefill = PREFILL, .n_step = STEPS, .threads = 2, .type_k = type, .type_v = type
    };
    if (terse_record_make(path, model, tokens, &o, &err) != TERSE_OK)
        fail_msg("%s", err.text);
}

static terse_record *opened(void)
{
    terse_error err = { 0 };
    terse_record *r;
    if (terse_record_open(&r, path, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return r;
}

/* ---- replay ---- */

typedef float results[STEPS][LAYERS][HEADS][ROWS * DIM];

static void keep_result(void *ctx, int32_t layer, int32_t head, int32_t pos, const float *q, const float *out)
{
    results *r = ctx;
    (void)q;
    memcpy((*r)[pos - PREFILL][layer][head], out, sizeof(*r)[0][0][0]);
}

/* Attention as a session computes it, which knows nothing of recordings. */
static void attend_in_session(terse_kv_type type, results *r)
{
    terse_session *s;
    const terse_session_opts o = { .threads = 1, .type_k = type, .type_v = type };
    assert_int_equal(terse_session_open(&s, model, &o, NULL), TERSE_OK);
    assert_int_equal(terse_session_prefill(s, tokens, PREFILL, NULL, NULL, NULL), TERSE_OK);
    terse_session_tap(s, (terse_tap){ keep_result, r });
    for (int32_t t = 0; t < STEPS; t++)
        assert_int_equal(terse_session_decode(s, tokens[PREFILL + t], NULL, NULL), TERSE_OK);
    terse_session_close(&s);
}

static terse_kv *store_of(const terse_record *r, terse_kv_type type)
{
    const terse_record_info *i = terse_record_about(r);
    const terse_kv_opts o = { .n_layer = i->n_layer,
                              .n_head = i->n_head,
                              .dim_k = i->dim_k,
                              .dim_v = i->dim_v,
                              .type_k = type,
                              .type_v = type,
                              .ctx = i->n_token };
    terse_kv *kv;
    float k[DIM], v[DIM];
    assert_int_equal(terse_kv_open(&kv, &o, NULL), TERSE_OK);
    assert_int_equal(terse_kv_reserve(kv, i->n_token, NULL), TERSE_OK);
    for (int32_t u = 0; u < LAYERS * HEADS; u++)
        for (int32_t t = 0; t < i->n_token; t++) {
            terse_record_kv(r, u / HEADS, u % HEADS, t, k, v);
            terse_kv_put(kv, u / HEADS, u % HEADS, t, k, v);
        }
    terse_kv_commit(kv, i->n_token);
    return kv;
}

/* The walks of the recording have the bits of the session's. */
static void check_replay(terse_kv_type type)
{
    static results want;
    _Alignas(64) float out[ROWS * DIM];
    terse_attend *attend;
    terse_walk *walk;
    terse_attend_stats stats = { 0 };
    make(type);
    attend_in_session(type, &want);
    terse_record *r = opened();
    terse_kv *kv = store_of(r, type);
    assert_int_equal(terse_attend_open(&attend, NULL, NULL, 0, NULL), TERSE_OK);
    assert_int_equal(terse_walk_open(&walk, kv, attend, ROWS, 0, NULL), TERSE_OK);
    for (int32_t s = 0; s < STEPS; s++)
        for (int32_t l = 0; l < LAYERS; l++)
            for (int32_t h = 0; h < HEADS; h++) {
                assert_int_equal(terse_record_depth(r, s), PREFILL + s + 1);
                terse_walk_decode(walk, l, h, terse_record_depth(r, s), terse_record_about(r)->scale,
                                  terse_record_query(r, s, l, h), out, &stats);
                assert_memory_equal(out, want[s][l][h], sizeof out);
            }
    assert_false(terse_record_broken(r));
    terse_walk_close(&walk);
    terse_attend_close(&attend);
    terse_kv_close(&kv);
    terse_record_close(&r);
    assert_null(r);
}

static void a_replay_has_the_bits_of_the_session(void **state)
{
    (void)state;
    check_replay(TERSE_KV_F16);
    check_replay(TERSE_KV_F32);
}

static void the_header_tells_what_was_recorded(void **state)
{
    (void)state;
    make(TERSE_KV_F16);
    terse_record *r = opened();
    const terse_record_info *i = terse_record_about(r);
    const int32_t want[] = { LAYERS, HEADS, ROWS, DIM, DIM, PREFILL + STEPS, STEPS },
                  got[] = { i->n_layer, i->n_head, i->n_row, i->dim_k, i->dim_v, i->n_token, i->n_step };
    assert_memory_equal(got, want, sizeof want);
    assert_string_equal(i->model, "a model ??");
    assert_true(fabsf(i->scale - 1.0f / sqrtf(DIM)) < 1e-6f);
    assert_int_equal(i->type_k, TERSE_KV_F16);
    assert_int_equal(i->type_v, TERSE_KV_F16);
    terse_record_close(&r);
}

/* q8 is recorded as the f32 that its kernels compute with: within half a step of what was stored. */
static void quantised_stores_are_recorded_as_f32(void **state)
{
    (void)state;
    float k[2][DIM], v[2][DIM], most = 0.0f, off = 0.0f;
    make(TERSE_KV_F32);
    terse_record *r = opened();
    terse_record_kv(r, 0, 1, 3, k[0], v[0]);
    terse_record_close(&r);
    make(TERSE_KV_Q8);
    r = opened();
    assert_int_equal(terse_record_about(r)->type_k, TERSE_KV_F32);
    terse_record_kv(r, 0, 1, 3, k[1], v[1]); /* layer 0: not touched by the rounding of others */
    terse_record_close(&r);
    for (int32_t d = 0; d < DIM; d++) {
        most = fmaxf(most, fabsf(v[0][d]));
        off = fmaxf(off, fabsf(v[0][d] - v[1][d]));
    }
    assert_true(off > 0.0f && off <= 0.51f * most / 127.0f);
}

static char *contents(size_t *n)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    char *p = malloc(1 << 20);
    assert_non_null(p);
    *n = fread(p, 1, 1 << 20, f);
    fclose(f);
    return p;
}

static void threads_and_chunks_change_nothing(void **state)
{
    (void)state;
    size_t n[2];
    const terse_record_opts o = { .n_prefill = PREFILL, .n_step = STEPS, .threads = 1, .chunk = 7 };
    make(TERSE_KV_F16);
    char *a = contents(&n[0]);
    assert_int_equal(terse_record_make(path, model, tokens, &o, NULL), TERSE_OK);
    char *b = contents(&n[1]);
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(a, b, n[0]);
    free(a);
    free(b);
}

/* ---- what is wrong ---- */

/* Writes p[n] in place of the recording and expects a refusal that says all of these. */
static void refused(const char *p, size_t n, const char *word, const char *offset)
{
    terse_error err = { 0 };
    terse_record *r;
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
    if (terse_record_open(&r, path, &err) == TERSE_OK)
        fail_msg("accepted: %s %s", word, offset);
    assert_null(r);
    if (!strstr(err.text, word) || !strstr(err.text, offset))
        fail_msg("neither %s nor %s: %s", word, offset, err.text);
}

static void damaged_files_are_refused_by_field(void **state)
{
    (void)state;
    static const struct {
        const char *name, *offset;
        size_t at;
        uint32_t value;
    } damage[] = {
        { "magic", "offset 0", 0, 0 },
        { "version", "offset 8", 8, 1 },
        { "n_layer", "offset 12", 12, 0 },
        { "n_layer", "offset 12", 12, 0xffffffff },
        { "n_head", "offset 16", 16, 5000 },
        { "n_row", "offset 20", 20, 257 },
        { "dim_k", "offset 24", 24, 33 },
        { "dim_v", "offset 28", 28, 592 },
        { "n_token", "offset 32", 32, 1 << 25 },
        { "n_step", "offset 36", 36, 0 },
        { "n_step", "offset 36", 36, 76 },
        { "type_k", "offset 40", 40, 2 },
        { "type_v", "offset 44", 44, 9 },
        { "every", "offset 52", 52, 0 },
        { "n_step", "times every", 52, 16 },
        { "scale", "offset 48", 48, 0x7fc00000 },
        { "scale", "offset 48", 48, 0 },
        { "model", "offset 64", 64, 0x00410041 },
        { "model", "offset 64", 64, 0x41411b41 },
        { "stop", "offset 128", 128, 0x41411b41 },
    };
    size_t n;
    make(TERSE_KV_F16);
    char *good = contents(&n), *bad = malloc(n + 1);
    assert_non_null(bad);
    for (size_t i = 0; i < sizeof damage / sizeof *damage; i++) {
        memcpy(bad, good, n);
        memcpy(bad + damage[i].at, &damage[i].value, sizeof damage[i].value);
        refused(bad, n, damage[i].name, damage[i].offset);
    }
    memcpy(bad, good, n);
    bad[n] = 0;
    const size_t sizes[] = { 1, 255, 256, n - 1, n + 1 };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        refused(bad, sizes[i], "bytes", "header");
    refused(bad, 0, "empty", "");
    free(good);
    free(bad);
}

/* cmocka puts a handler of its own in place of ours before each test. */
static struct sigaction ours;

static void a_file_cut_short_while_open_is_noticed(void **state)
{
    (void)state;
    struct sigaction of_cmocka;
    float k[DIM], v[DIM];
    make(TERSE_KV_F32);
    terse_record *r = opened();
    assert_int_equal(sigaction(SIGBUS, &ours, &of_cmocka), 0);
    assert_int_equal(truncate(path, 0), 0);
    terse_record_kv(r, LAYERS - 1, HEADS - 1, PREFILL, k, v);
    sigaction(SIGBUS, &of_cmocka, NULL);
    assert_true(terse_record_broken(r));
    terse_record_close(&r);
}

static void failures_leave_the_old_file(void **state)
{
    (void)state;
    size_t n[2];
    terse_error err = { 0 };
    atomic_bool stop = true;
    const terse_record_opts bad[] = {
        { .n_prefill = 0 },
        { .n_prefill = 5, .n_step = -1 },
        { .n_prefill = 5, .n_step = 1 << 17 },
        { .n_prefill = 5, .every = -1 },
        { .n_prefill = 5, .n_step = 1 << 10, .every = 1 << 10 },
        { .n_prefill = 5, .stop = "sometimes" },
        { .n_prefill = 5, .threads = -1 },
        { .n_prefill = 5, .chunk = -1 },
        { .n_prefill = 5, .n_step = 1, .abort = &stop },
    };
    make(TERSE_KV_F16);
    char *before = contents(&n[0]);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(terse_record_make(path, model, tokens, &bad[i], &err),
                         bad[i].abort ? TERSE_INTERRUPTED : TERSE_BAD_INPUT);
    const terse_record_opts good = { .n_prefill = 5, .n_step = 2, .threads = 2 };
    assert_int_equal(terse_record_make("/nowhere/x", model, tokens, &good, &err), TERSE_IO);
    assert_int_equal(terse_record_make("/dev/null", model, tokens, &good, &err), TERSE_BAD_INPUT);
    const int32_t wrong[] = { 1, 2, 3, 4, 5, 1, 50 };
    assert_int_equal(terse_record_make(path, model, wrong, &good, &err), TERSE_BAD_INPUT);
    assert_non_null(strstr(err.text, "50"));
    char *after = contents(&n[1]);
    assert_int_equal(n[0], n[1]);
    assert_memory_equal(before, after, n[0]);
    free(before);
    free(after);
}

static terse_status make_and_read(terse_error *err)
{
    const terse_record_opts o = { .n_prefill = 5, .n_step = 2, .threads = 2 };
    const terse_eval_rule rule = { .stop = "mass:from=0+value-share" };
    terse_record *r = NULL;
    terse_replay *p = NULL;
    terse_status st = terse_record_make(path, model, tokens, &o, err);
    if (st == TERSE_OK)
        st = terse_record_open(&r, path, err);
    if (st == TERSE_OK)
        st = terse_replay_open(&p, r, &(terse_replay_opts){ .threads = 2 }, &rule, 1, err);
    terse_replay_close(&p);
    terse_record_close(&r);
    return st;
}

static void every_memory_failure_is_clean(void **state)
{
    (void)state;
    long n = 0;
    for (;; n++) {
        terse_error err = { 0 };
        left = n;
        const terse_status st = make_and_read(&err);
        const bool refused_one = left < 0;
        left = -1;
        if (st == TERSE_OK && !refused_one)
            break;
        if (st != TERSE_NOMEM)
            fail_msg("request %ld: status %d, %s", n, st, err.text);
    }
    assert_true(n > 10);
}

/* ---- the command ---- */

static char said[4096]; /* stderr of the last command */

static int record(const char *args)
{
    char line[1024];
    snprintf(line, sizeof line, "cd %s && '%s' record %s 2>&1 >/dev/null", directory, TERSE_PROGRAM, args);
    FILE *f = popen(line, "r");
    assert_non_null(f);
    said[fread(said, 1, sizeof said - 1, f)] = '\0';
    const int status = pclose(f);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

#define MODEL "'" TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf' "
#define TEXT  "-f '" TERSE_TEST_DIR "/test_record.c' "

static void the_command_writes_a_recording(void **state)
{
    (void)state;
    assert_int_equal(record(MODEL TEXT "-c 40 --steps 3 -t 1 -ctv f32 -o recording"), 0);
    assert_string_equal(said, "");
    terse_record *r = opened();
    const terse_record_info *i = terse_record_about(r);
    assert_int_equal(i->n_token, 43);
    assert_int_equal(i->n_step, 3);
    assert_int_equal(i->type_k, TERSE_KV_F16);
    assert_int_equal(i->type_v, TERSE_KV_F32);
    terse_record_close(&r);
}

static void wrong_commands_are_told_in_one_line(void **state)
{
    (void)state;
    static const struct {
        const char *args, *what;
        int code;
    } wrong[] = {
        { MODEL TEXT "-c 40", "-o FILE", 2 },
        { MODEL "-c 40 -o x", "-f FILE", 2 },
        { TEXT "-o x", "which model", 2 },
        { MODEL TEXT "-c 40 --steps 0 -o x", "--steps", 2 },
        { MODEL TEXT "-c 40 --steps 60000 --every 60000 -o x", "65536 tokens", 2 },
        { MODEL TEXT "-c 40 --stop never -o x", "'never'", 2 },
        { MODEL TEXT "-c 16000 -o x", "tokens, but 16000", 2 },
        { MODEL TEXT "-c 40 -ctk q3 -o x", "q3", 2 },
        { MODEL "-f absent -c 40 -o x", "absent", 2 },
        { MODEL TEXT "-c 40 -o /dev/full", "not a regular file", 2 },
        { MODEL TEXT "-c 40 -o absent/x", "absent/x", 74 },
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const int code = record(wrong[i].args);
        const char *end = strchr(said, '\n');
        if (code != wrong[i].code || !strstr(said, wrong[i].what) || !end || end[1])
            fail_msg("%s: %d, %s", wrong[i].args, code, said);
    }
    assert_int_equal(record(MODEL "--help"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_replay_has_the_bits_of_the_session),
        cmocka_unit_test(the_header_tells_what_was_recorded),
        cmocka_unit_test(quantised_stores_are_recorded_as_f32),
        cmocka_unit_test(threads_and_chunks_change_nothing),
        cmocka_unit_test(damaged_files_are_refused_by_field),
        cmocka_unit_test(a_file_cut_short_while_open_is_noticed),
        cmocka_unit_test(failures_leave_the_old_file),
        cmocka_unit_test(every_memory_failure_is_clean),
        cmocka_unit_test(the_command_writes_a_recording),
        cmocka_unit_test(wrong_commands_are_told_in_one_line),
    };
    terse_record *r;
    if (terse_record_open(&r, "/", NULL) != TERSE_BAD_INPUT || sigaction(SIGBUS, NULL, &ours) != 0)
        return 1;
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
