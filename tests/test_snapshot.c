/* Sessions in files: what is loaded goes on as a copy would; what is damaged or does not fit is refused. */
#include "tiny_model.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <xxhash.h>

enum { N_PROMPT = 300, N_MORE = 40, CHUNK = 64 };

static char file[80];
static int32_t text[N_PROMPT + N_MORE];

static int setup(void **state)
{
    uint32_t seed = 3;
    snprintf(file, sizeof file, "/tmp/terse-snapshot-%d.kv", (int)getpid());
    for (int32_t t = 0; t < N_PROMPT + N_MORE; t++)
        text[t] = (int32_t)roll(&seed, N_VOCAB);
    return tiny_setup(state);
}

static int teardown(void **state)
{
    unlink(file);
    return tiny_teardown(state);
}

static const char *const policies[] = { NULL, "window:sinks=4,budget=96", "h2o:budget=100", "snapkv:budget=90",
                                        "tova:budget=80" };
static const char *const stops[] = { "none", "mass:delta=0.1,floor=0,from=0+value-share:left=0.05",
                                     "value-skip:eps=0.3" };

static terse_session *prefilled(const terse_session_opts *o)
{
    terse_error err = { 0 };
    float rows[7 * N_VOCAB];
    terse_session *s = open_with(o);
    assert_int_equal(terse_session_prefill(s, text, N_PROMPT - 7, NULL, NULL, &err), TERSE_OK);
    for (int32_t t = N_PROMPT - 7; t < N_PROMPT; t++)
        assert_int_equal(terse_session_decode_many(s, text + t, 1, rows, &err), TERSE_OK);
    return s;
}

static void load(terse_session *s)
{
    terse_error err = { 0 };
    int32_t *ids, n;
    if (terse_session_load(s, file, &ids, &n, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    assert_int_equal(n, N_PROMPT);
    assert_int_equal(terse_session_count(s), N_PROMPT);
    assert_memory_equal(ids, text, N_PROMPT * sizeof *ids);
    free(ids);
}

/* Both give the same bits from here on, in one piece of prompt and in steps. */
static void same_future(terse_session *a, terse_session *b)
{
    terse_error err = { 0 };
    const float *x, *y;
    for (int32_t t = N_PROMPT; t < N_PROMPT + N_MORE; t++) {
        const bool prefill = t % 8 == 0;
        if (prefill) {
            assert_int_equal(terse_session_prefill(a, text + t, 1, &x, NULL, &err), TERSE_OK);
            assert_int_equal(terse_session_prefill(b, text + t, 1, &y, NULL, &err), TERSE_OK);
        } else {
            assert_int_equal(terse_session_decode(a, text[t], &x, &err), TERSE_OK);
            assert_int_equal(terse_session_decode(b, text[t], &y, &err), TERSE_OK);
        }
        assert_memory_equal(x, y, N_VOCAB * sizeof *x);
    }
}

static void goes_on_as_a_copy(void **state)
{
    (void)state;
    static const terse_kv_type types[] = { TERSE_KV_F16, TERSE_KV_Q8, TERSE_KV_Q4, TERSE_KV_F32,
                                           TERSE_KV_BF16 };
    for (int32_t k = 0; k < 15; k++) {
        terse_error err = { 0 };
        terse_session_opts o = { .threads = 2,
                                 .chunk = CHUNK,
                                 .policy = policies[k % 5],
                                 .stop = stops[k % 3],
                                 .type_k = types[k % 5],
                                 .type_v = types[(k + 2) % 5] };
        terse_session *s = prefilled(&o), *copy = open_with(&o);
        assert_int_equal(terse_session_copy(copy, s, &err), TERSE_OK);
        assert_int_equal(terse_session_save(s, text, file, &err), TERSE_OK);
        terse_session_close(&s);
        terse_snapshot_info info;
        assert_int_equal(terse_snapshot_about(file, &info, &err), TERSE_OK);
        assert_int_equal(info.n_token, N_PROMPT);
        assert_int_equal(info.n_held, terse_session_held(copy));
        assert_true(info.type_k == o.type_k && info.type_v == o.type_v && info.n_layer == 2 &&
                    info.n_head == 2);
        o.threads = 1;
        o.chunk = 1 + k * 30; /* steps may be longer than where it was saved */
        s = open_with(&o);
        assert_int_equal(terse_session_prefill(s, text, 5, NULL, NULL, &err), TERSE_OK); /* goes */
        load(s);
        assert_int_equal(terse_session_held(s), terse_session_held(copy));
        same_future(s, copy);
        terse_session_close(&s);
        terse_session_close(&copy);
    }
}

/* A snapshot of a session that dropped nothing can go on under any policy. */
static void another_policy_may_go_on(void **state)
{
    (void)state;
    terse_error err = { 0 };
    terse_session_opts o = { .threads = 2, .chunk = CHUNK, .observe = true };
    terse_session *s = prefilled(&o);
    assert_int_equal(terse_session_save(s, text, file, &err), TERSE_OK);
    for (int32_t i = 1; i < 5; i++) {
        o.policy = policies[i];
        terse_session *a = open_with(&o), *b = open_with(&o);
        load(a);
        assert_int_equal(terse_session_copy(b, s, &err), TERSE_OK);
        same_future(a, b);
        assert_true(terse_session_held(a) < 4 * 200);
        terse_session_close(&a);
        terse_session_close(&b);
    }
    terse_session_close(&s);
}

static void refuse(terse_session *s, const char *path, const char *what)
{
    terse_error err = { 0 };
    int32_t *ids, n;
    assert_int_not_equal(terse_session_load(s, path, &ids, &n, &err), TERSE_OK);
    assert_null(ids);
    assert_int_equal(terse_session_count(s), 0);
    if (!strstr(err.text, what))
        fail_msg("'%s' does not say '%s'", err.text, what);
}

static void refuses_what_does_not_fit(void **state)
{
    (void)state;
    terse_error err = { 0 };
    terse_session_opts o = { .threads = 1, .chunk = CHUNK };
    terse_session *s = open_with(&o);
    assert_int_equal(terse_session_save(s, text, file, &err), TERSE_BAD_INPUT);
    terse_session_close(&s);
    s = prefilled(&o);
    assert_int_equal(terse_session_save(s, text, file, &err), TERSE_OK);
    refuse(s, "/tmp/there-is-no-such-snapshot", "No such file");
    terse_snapshot_info info;
    assert_int_equal(terse_snapshot_about(tiny_path, &info, &err), TERSE_BAD_INPUT);
    refuse(s, tiny_path, "not a snapshot");
    terse_session_close(&s);
    o.type_k = TERSE_KV_Q8;
    s = open_with(&o);
    refuse(s, file, "-ctk");
    terse_session_close(&s);
    o = (terse_session_opts){ .ctx = 256, .threads = 1 };
    s = open_with(&o);
    refuse(s, file, "300 tokens, the context 256");
    terse_session_close(&s);

    terse_model *own = model;
    char other[80];
    const make_model_opts shape = tiny_shape(12);
    snprintf(other, sizeof other, "/tmp/terse-other-%d.gguf", (int)getpid());
    assert_int_equal(make_model(other, &shape, &err), TERSE_OK);
    assert_int_equal(terse_model_open(&model, other, &err), TERSE_OK);
    s = open_with(&(terse_session_opts){ .threads = 1 });
    refuse(s, file, "another model");
    terse_session_close(&s);
    terse_model_close(&model);
    unlink(other);
    model = own;
}

static void write_file(const char *path, const uint8_t *p, size_t n)
{
    const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, p, n), (ssize_t)n);
    close(fd);
}

/* To be freed. */
static uint8_t *read_file(size_t *n)
{
    struct stat about;
    assert_int_equal(stat(file, &about), 0);
    *n = (size_t)about.st_size;
    uint8_t *p = malloc(*n);
    const int fd = open(file, O_RDONLY);
    assert_non_null(p);
    assert_int_equal(read(fd, p, *n), (ssize_t)*n);
    close(fd);
    return p;
}

/* Every cut and every changed byte among the heads is noticed, and the session works afterwards. */
static void damage_is_noticed(void **state)
{
    (void)state;
    for (int32_t k = 0; k < 2; k++) {
        terse_error err = { 0 };
        const terse_session_opts o = { .threads = 1, .chunk = CHUNK, .policy = k ? "h2o:budget=100" : NULL };
        terse_session *s = prefilled(&o);
        assert_int_equal(terse_session_save(s, text, file, &err), TERSE_OK);
        size_t n;
        uint8_t *p = read_file(&n);
        uint32_t seed = 1;
        for (int32_t i = 0; i < 40; i++) {
            write_file(file, p, i < 20 ? 1 + (size_t)i * 61 : roll(&seed, (uint32_t)n));
            refuse(s, file, "snapshot");
        }
        for (int32_t i = 0; i < 300; i++) {
            const size_t at = i < 240 ? (size_t)i : roll(&seed, (uint32_t)n);
            const uint8_t was = p[at];
            int32_t *ids, count;
            p[at] ^= (uint8_t)(1 + roll(&seed, 255));
            write_file(file, p, n);
            const terse_status st = terse_session_load(s, file, &ids, &count, &err);
            free(ids);
            /* Only zeros behind a head may be anything. */
            assert_true(st != TERSE_OK || was == 0);
            p[at] = was;
        }
        free(p);
        assert_int_equal(terse_session_prefill(s, text, N_PROMPT, NULL, NULL, &err), TERSE_OK);
        terse_session_close(&s);
    }
}

/* Numbers of a file whose hashes are right: nothing in it may be trusted. */
static void malice_is_survived(void **state)
{
    (void)state;
    for (int32_t k = 0; k < 2; k++) {
        terse_error err = { 0 };
        const terse_session_opts o = { .threads = 1, .chunk = CHUNK, .policy = k ? "h2o:budget=100" : NULL };
        terse_session *s = prefilled(&o);
        assert_int_equal(terse_session_save(s, text, file, &err), TERSE_OK);
        size_t n;
        uint8_t *p = read_file(&n);
        static const int32_t values[] = { -1, 0, 1, 31, 33, 1000, 1 << 20, INT32_MAX, INT32_MIN };
        uint32_t seed = 21, loaded = 0;
        for (size_t at = 0; at < n;) {
            uint64_t size;
            memcpy(&size, p + at + 8, sizeof size);
            uint8_t *data = p + at + 64, *hash = data + (size + 63) / 64 * 64;
            for (int32_t i = 0; i < 200 && size >= 4 && size < 40000; i++) {
                const size_t word =
                    size / 4 <= 40 && i < 160 ? (size_t)i / 4 : roll(&seed, (uint32_t)(size / 4));
                uint8_t was[4];
                if (word >= size / 4)
                    continue;
                memcpy(was, data + 4 * word, 4);
                memcpy(data + 4 * word, &values[roll(&seed, 9)], 4);
                XXH64_hash_t sum = XXH3_64bits(data, size);
                memcpy(hash, &sum, sizeof sum);
                write_file(file, p, n);
                int32_t *ids, count;
                if (terse_session_load(s, file, &ids, &count, &err) == TERSE_OK) {
                    loaded++;
                    terse_session_decode(s, 3, NULL, &err);
                    terse_session_truncate(s, terse_session_count(s) - 40);
                    terse_session_prefill(s, text, 70, NULL, NULL, &err);
                }
                free(ids);
                terse_snapshot_info info;
                terse_snapshot_about(file, &info, &err);
                memcpy(data + 4 * word, was, 4);
                sum = XXH3_64bits(data, size);
                memcpy(hash, &sum, sizeof sum);
            }
            at += 128 + (size + 63) / 64 * 64;
        }
        assert_true(loaded > 0); /* token ids, radii */
        free(p);
        terse_session_close(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(goes_on_as_a_copy),         cmocka_unit_test(another_policy_may_go_on),
        cmocka_unit_test(refuses_what_does_not_fit), cmocka_unit_test(damage_is_noticed),
        cmocka_unit_test(malice_is_survived),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
