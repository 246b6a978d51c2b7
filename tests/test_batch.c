/* Batches of several sessions: the bits that each would have alone, whatever its policy and rule, whoever is in
 * the batch; and what a batch refuses. */
#include "engine/tap.h"
#include "kv/store.h"
#include "tiny_model.h"

enum { CHUNK = 160 };

/* ---- random schedules ---- */

typedef struct {
    const char *policy, *stop;
} setting;

static const setting settings[] = {
    { NULL, "none" },
    { NULL, "mass:delta=0.1,floor=0,from=0+value-share:left=0.05" },
    { "window:sinks=4,budget=96", "none" },
    { "window:sinks=4,budget=96,rotate=1", "mass:delta=0.1,floor=0,from=0" },
    { NULL, "stability:tau=0.05,phi=0.05,patience=2" },
    { "h2o:budget=100", "none" },
    { "snapkv:budget=90", "value-skip:eps=0.3" },
    { NULL, "none" },
};
enum { N_SESSION = sizeof settings / sizeof *settings };

/* A part of random length for session i, which holds `held` tokens. */
static terse_batch_part part_of(terse_session *s, int32_t i, int32_t held, int32_t *tokens, uint32_t *seed)
{
    const bool scores = settings[i].policy && settings[i].policy[0] != 'w';
    const bool prefill = held == 0 || roll(seed, 4) == 0;
    const int32_t n = prefill  ? 1 + (int32_t)roll(seed, roll(seed, 3) ? 12 : CHUNK / N_SESSION)
                      : scores ? 1
                               : 1 + (int32_t)roll(seed, 2) * (int32_t)roll(seed, 4);
    for (int32_t t = 0; t < n; t++)
        tokens[t] = (int32_t)roll(seed, N_VOCAB);
    const int32_t wanted[] = { 0, 1, n };
    return (terse_batch_part){ s, tokens, n, prefill ? wanted[roll(seed, 3)] : n, prefill };
}

/* The same tokens for a session of its own; the logits that the batch gave. */
static void check_alone(terse_session *alone, const terse_batch_part *p, const float *rows, int32_t i)
{
    static float all[CHUNK * N_VOCAB];
    terse_error err = { 0 };
    const terse_status st = p->prefill ? terse_session_prefill(alone, p->tokens, p->n, NULL, all, &err)
                                       : terse_session_decode_many(alone, p->tokens, p->n, all, &err);
    if (st != TERSE_OK)
        fail_msg("%s", err.text);
    const float *want = all + (size_t)(p->n - p->n_logits) * N_VOCAB;
    if (memcmp(want, rows, (size_t)p->n_logits * N_VOCAB * sizeof *want))
        fail_msg("session %d, %s of %d tokens behind %d: other bits in a batch", i,
                 p->prefill ? "prompt" : "decoding", p->n, terse_session_count(alone) - p->n);
}

static void any_batch_gives_the_bits_of_one(void **state)
{
    (void)state;
    static float rows[CHUNK * N_VOCAB];
    static int32_t tokens[N_SESSION][CHUNK];
    for (uint32_t round = 0; round < 6; round++) {
        terse_session *beside[N_SESSION], *alone[N_SESSION];
        uint32_t seed = 77 + round;
        for (int32_t i = 0; i < N_SESSION; i++) {
            terse_session_opts o = { .ctx = CTX,
                                     .threads = 1 + (int32_t)round % 3,
                                     .strands = 1 + (int32_t)round % 2,
                                     .chunk = CHUNK,
                                     .type_k = round % 2 ? TERSE_KV_Q8 : TERSE_KV_F16,
                                     .policy = settings[i].policy,
                                     .stop = settings[i].stop };
            alone[i] = open_with(&o);
            o.beside = i ? beside[0] : NULL;
            beside[i] = open_with(&o);
        }
        for (int32_t step = 0; step < 60; step++) {
            terse_batch_part part[N_SESSION];
            int32_t who[N_SESSION], n = 0;
            for (int32_t i = 0; i < N_SESSION; i++)
                if (roll(&seed, 3) && terse_session_count(beside[i]) < CTX - CHUNK) {
                    part[n] = part_of(beside[i], i, terse_session_count(beside[i]), tokens[i], &seed);
                    who[n++] = i;
                }
            terse_error err = { 0 };
            if (n && terse_session_batch(part, n, rows, &err) != TERSE_OK)
                fail_msg("%s", err.text);
            for (int32_t k = 0, at = 0; k < n; at += part[k++].n_logits)
                check_alone(alone[who[k]], &part[k], rows + (size_t)at * N_VOCAB, who[k]);
        }
        for (int32_t i = 0; i < N_SESSION; i++) {
            const terse_attend_stats a = terse_session_stats(alone[i]), b = terse_session_stats(beside[i]);
            assert_memory_equal(&a, &b, sizeof a);
            terse_session_close(&alone[i]);
        }
        for (uint32_t i = 0; i < N_SESSION; i++)
            terse_session_close(&beside[(i + round) % N_SESSION]);
    }
}

/* ---- copies ---- */

enum { N_PREFIX = 300, N_COPY = 3 };

/* A random batch of the copies, or some of their last tokens taken back; the same for those that share nothing.
 */
static void go_on(const setting *how, terse_session **beside, terse_session **apart, uint32_t *seed)
{
    static float rows[CHUNK * N_VOCAB];
    static int32_t tokens[N_COPY][CHUNK];
    terse_batch_part part[N_COPY];
    terse_error err = { 0 };
    int32_t who[N_COPY], n = 0;
    for (int32_t i = 0; i < N_COPY; i++) {
        const int32_t held = terse_session_count(beside[i]);
        if (held > N_PREFIX / 2 && roll(seed, 6) == 0) {
            const int32_t to = held - (int32_t)roll(seed, 50);
            assert_true(terse_session_truncate(beside[i], to));
            assert_true(terse_session_truncate(apart[i], to));
        } else if (held < CTX - CHUNK && roll(seed, 3)) {
            part[n] = part_of(beside[i], (int32_t)(how - settings), held, tokens[i], seed);
            who[n++] = i;
        }
    }
    if (n && terse_session_batch(part, n, rows, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    for (int32_t k = 0, at = 0; k < n; at += part[k++].n_logits)
        check_alone(apart[who[k]], &part[k], rows + (size_t)at * N_VOCAB, who[k]);
}

static void copies_share_pages_until_they_write(void **state)
{
    (void)state;
    int32_t prefix[N_PREFIX];
    uint32_t seed = 5;
    for (int32_t t = 0; t < N_PREFIX; t++)
        prefix[t] = (int32_t)roll(&seed, N_VOCAB);
    for (int32_t k = 0; k < N_SESSION; k++) {
        terse_error err = { 0 };
        terse_session *beside[N_COPY], *apart[N_COPY];
        terse_session_opts o = {
            .ctx = CTX, .threads = 3, .chunk = CHUNK, .policy = settings[k].policy, .stop = settings[k].stop
        };
        terse_session *from = open_with(&o);
        assert_int_equal(terse_session_prefill(from, prefix, N_PREFIX, NULL, NULL, &err), TERSE_OK);
        const terse_pool *pool = terse_session_kv(from)->pool;
        const int32_t used = pool->n_slab * TERSE_SLAB_PAGES - pool->n_free;
        for (int32_t i = 0; i < N_COPY; i++) {
            apart[i] = open_with(&o);
            assert_int_equal(terse_session_copy(apart[i], from, &err), TERSE_OK);
        }
        o.beside = from;
        for (int32_t i = 0; i < N_COPY; i++) {
            beside[i] = open_with(&o);
            assert_int_equal(terse_session_copy(beside[i], from, &err), TERSE_OK);
        }
        assert_int_equal(pool->n_slab * TERSE_SLAB_PAGES - pool->n_free, used); /* no page more */
        if (k % 2)
            terse_session_close(&from);
        for (int32_t step = 0; step < 40; step++)
            go_on(&settings[k], beside, apart, &seed);
        terse_session_close(&from);
        for (int32_t i = 1; i < N_COPY; i++)
            terse_session_close(&beside[i]);
        terse_session_truncate(beside[0], 0);
        assert_int_equal(pool->n_free, pool->n_slab * TERSE_SLAB_PAGES);
        assert_int_equal(pool->n_extra, 0);
        terse_session_close(&beside[0]);
        for (int32_t i = 0; i < N_COPY; i++)
            terse_session_close(&apart[i]);
    }
}

/* Copies that read everything read what they have in common once. */
static void common_pages_are_read_once(void **state)
{
    (void)state;
    enum { N_TWIN = 6, N_LONG = 900, N_STEP = 4 };
    static const terse_kv_type types[] = { TERSE_KV_F16, TERSE_KV_Q8, TERSE_KV_Q4 };
    static float rows[N_TWIN * N_VOCAB], all[80 * N_VOCAB];
    int32_t text[N_LONG];
    uint32_t seed = 9;
    for (int32_t t = 0; t < N_LONG; t++)
        text[t] = (int32_t)roll(&seed, N_VOCAB);
    for (int32_t k = 0; k < 6; k++) {
        terse_error err = { 0 };
        terse_session *twin[N_TWIN], *apart[N_TWIN];
        terse_session_opts o = { .threads = k / 3 ? 4 : 1, /* one group, or three */
                                 .strands = 1 + 2 * (k % 2),
                                 .chunk = CHUNK,
                                 .type_k = types[k % 3],
                                 .type_v = types[k % 3] };
        int64_t together = 0, alone = 0;
        const float *logits;
        for (int32_t i = 0; i < N_TWIN; i++) {
            apart[i] = open_with(&o);
            o.beside = i ? twin[0] : NULL;
            twin[i] = open_with(&o);
            o.beside = NULL;
            if (i)
                assert_int_equal(terse_session_copy(twin[i], twin[0], &err), TERSE_OK);
            else
                assert_int_equal(terse_session_prefill(twin[0], text, 800, NULL, NULL, &err), TERSE_OK);
            assert_int_equal(terse_session_copy(apart[i], twin[0], &err), TERSE_OK);
        }
        for (int32_t i = 0; i < N_TWIN; i++) { /* each its own way, by 0 to 75 tokens */
            assert_int_equal(i ? terse_session_decode_many(twin[i], text + i, i * 15, all, &err) : 0, TERSE_OK);
            assert_int_equal(i ? terse_session_decode_many(apart[i], text + i, i * 15, all, &err) : 0,
                             TERSE_OK);
            terse_session_stats_reset(twin[i]);
            terse_session_stats_reset(apart[i]);
        }
        for (int32_t step = 0; step < N_STEP; step++) {
            terse_batch_part part[N_TWIN];
            for (int32_t i = 0; i < N_TWIN; i++)
                part[i] = (terse_batch_part){ twin[i], text + step + i, 1, 1, false };
            assert_int_equal(terse_session_batch(part, N_TWIN, rows, &err), TERSE_OK);
            for (int32_t i = 0; i < N_TWIN; i++) {
                assert_int_equal(terse_session_decode(apart[i], text[step + i], &logits, &err), TERSE_OK);
                assert_memory_equal(logits, rows + (size_t)i * N_VOCAB, N_VOCAB * sizeof *logits);
            }
        }
        for (int32_t i = 0; i < N_TWIN; i++) {
            const terse_attend_stats a = terse_session_stats(twin[i]), b = terse_session_stats(apart[i]);
            assert_int_equal(a.bytes_dense, b.bytes_dense);
            together += a.bytes_k + a.bytes_v;
            alone += b.bytes_k + b.bytes_v;
            terse_session_close(&apart[i]);
        }
        for (int32_t i = 0; i < N_TWIN; i++)
            terse_session_close(&twin[i]);
        assert_true(together < alone * (k / 3 ? 6 : 3) / 10);
    }
}

/* ---- edges ---- */

static void refuse(const terse_batch_part *part, int32_t n, const char *what)
{
    static float rows[CHUNK * N_VOCAB];
    terse_error err = { 0 };
    int32_t before[4];
    for (int32_t i = 0; i < n; i++)
        before[i] = terse_session_count(part[i].session);
    assert_int_equal(terse_session_batch(part, n, rows, &err), TERSE_BAD_INPUT);
    if (!strstr(err.text, what))
        fail_msg("'%s' does not say '%s'", err.text, what);
    for (int32_t i = 0; i < n; i++)
        assert_int_equal(terse_session_count(part[i].session), before[i]);
}

static void refuses(void **state)
{
    (void)state;
    static const int32_t ids[CHUNK + 1] = { 1, 2, 3 }, bad[] = { 1, N_VOCAB };
    terse_session_opts o = { .ctx = 256, .threads = 1, .chunk = CHUNK };
    terse_session *a = open_with(&o), *stranger = open_with(&o);
    o.beside = a;
    terse_session *b = open_with(&o);
    o.policy = "tova:budget=64";
    terse_session *c = open_with(&o);
    terse_error err = { 0 };
    assert_int_equal(terse_session_batch(NULL, 0, NULL, &err), TERSE_BAD_INPUT);
    refuse((terse_batch_part[]){ { a, ids, 1, 1, true }, { stranger, ids, 1, 1, true } }, 2, "part 1");
    refuse((terse_batch_part[]){ { a, ids, 1, 1, true }, { a, ids, 1, 1, true } }, 2, "that of part 0");
    refuse((terse_batch_part[]){ { a, ids, 1, 1, true }, { b, bad, 2, 1, true } }, 2,
           "part 1 of the batch: token id 96");
    refuse((terse_batch_part[]){ { a, ids, 1, 1, true }, { b, ids, 0, 0, true } }, 2, "no tokens");
    refuse((terse_batch_part[]){ { a, ids, 2, 3, true } }, 1, "last 3 tokens of 2");
    refuse((terse_batch_part[]){ { a, ids, 1, 1, true }, { b, ids, CHUNK, 1, true } }, 2,
           "161 tokens in a batch");
    refuse((terse_batch_part[]){ { a, ids, 1, 1, true }, { c, ids, 2, 1, false } }, 2, "one token at a time");
    assert_int_equal(terse_session_prefill(b, ids, CHUNK, NULL, NULL, &err), TERSE_OK);
    refuse((terse_batch_part[]){ { a, ids, 60, 1, true }, { b, ids, 97, 1, true } }, 2, "part 1");
    terse_session_close(&a);
    terse_session_close(&stranger);
    float row[2 * N_VOCAB]; /* those that are left still have their threads */
    const terse_batch_part last[] = { { b, ids, 1, 1, false }, { c, ids, 3, 1, true } };
    assert_int_equal(terse_session_batch(last, 2, row, &err), TERSE_OK);
    terse_session_close(&b);
    terse_session_close(&c);
}

/* An interrupted batch leaves every session as it was. */
static void interrupted(void **state)
{
    (void)state;
    static const int32_t ids[] = { 5, 6, 7 };
    atomic_bool stop;
    atomic_init(&stop, false);
    terse_session_opts o = { .ctx = 256, .threads = 2, .abort = &stop };
    terse_session *a = open_with(&o);
    o.beside = a;
    terse_session *b = open_with(&o);
    terse_error err = { 0 };
    float want[2 * N_VOCAB], got[2 * N_VOCAB];
    assert_int_equal(terse_session_prefill(a, ids, 3, NULL, NULL, &err), TERSE_OK);
    const terse_batch_part part[] = { { a, ids, 1, 1, false }, { b, ids, 3, 1, true } };
    atomic_store(&stop, true);
    assert_int_equal(terse_session_batch(part, 2, got, &err), TERSE_INTERRUPTED);
    assert_int_equal(terse_session_count(a), 3);
    assert_int_equal(terse_session_count(b), 0);
    atomic_store(&stop, false);
    assert_int_equal(terse_session_batch(part, 2, got, &err), TERSE_OK);
    terse_session *fresh = open_with(&(terse_session_opts){ .ctx = 256, .threads = 1 });
    const float *row;
    assert_int_equal(terse_session_prefill(fresh, ids, 3, &row, NULL, &err), TERSE_OK);
    memcpy(want + N_VOCAB, row, sizeof want / 2);
    assert_int_equal(terse_session_decode(fresh, ids[0], &row, &err), TERSE_OK);
    memcpy(want, row, sizeof want / 2);
    assert_memory_equal(want, got, sizeof want);
    terse_session_close(&a);
    terse_session_close(&b);
    terse_session_close(&fresh);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_batch_gives_the_bits_of_one),
        cmocka_unit_test(copies_share_pages_until_they_write),
        cmocka_unit_test(common_pages_are_read_once),
        cmocka_unit_test(refuses),
        cmocka_unit_test(interrupted),
    };
    return cmocka_run_group_tests(tests, tiny_setup, tiny_teardown);
}
