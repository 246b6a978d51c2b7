/* A session's logits: the same bits on every tier, with any number of threads and any chunking of the prompt,
 * under every stop rule; and its behaviour at the edges: context full, bad ids, interruption, truncation. */
#include "tiny_model.h"

#include <math.h>

enum { N_PROMPT = 301, N_SHORT = 100, N_DECODE = 5 };

static int32_t tokens[N_PROMPT + N_DECODE];

/* Three layers, group of 4, head size 32; the types differ so that every dot product is used. */
static int setup(void **state)
{
    (void)state;
    make_model_opts o = { .n_layer = 3,
                          .n_embd = 256,
                          .n_head = 8,
                          .n_head_kv = 2,
                          .head_dim = 32,
                          .n_ff = 512,
                          .n_vocab = N_VOCAB,
                          .n_ctx = 1024,
                          .q_gain = 4.0f,
                          .bias = true,
                          .output = true,
                          .seed = 7 };
    o.types = (make_model_types){ .embd = TERSE_TYPE_Q6_K,
                                  .output = TERSE_TYPE_Q8_0,
                                  .q = TERSE_TYPE_Q4_0,
                                  .k = TERSE_TYPE_F16,
                                  .v = TERSE_TYPE_Q6_K,
                                  .o = TERSE_TYPE_Q5_K,
                                  .gate = TERSE_TYPE_Q4_K,
                                  .up = TERSE_TYPE_BF16,
                                  .down = TERSE_TYPE_F32 };
    for (int32_t t = 0; t < N_PROMPT + N_DECODE; t++)
        tokens[t] = t * 37 % N_VOCAB;
    return tiny_open(&o);
}

/* Logits after the prompt and after each decoded token. */
static void run(const terse_session_opts *opts, float out[N_DECODE + 1][N_VOCAB])
{
    terse_error err = { 0 };
    const float *logits;
    terse_session *s = open_with(opts);
    assert_int_equal(terse_session_prefill(s, tokens, N_PROMPT, &logits, NULL, &err), TERSE_OK);
    memcpy(out[0], logits, sizeof out[0]);
    for (int32_t t = 0; t < N_DECODE; t++) {
        assert_int_equal(terse_session_decode(s, tokens[N_PROMPT + t], &logits, &err), TERSE_OK);
        memcpy(out[t + 1], logits, sizeof out[0]);
    }
    for (int32_t v = 0; v < N_VOCAB; v++)
        assert_true(isfinite(out[N_DECODE][v]));
    terse_session_close(&s);
}

static const char *const rules[] = { "none", "stability:tau=0.05,phi=0.05,patience=2", "value-skip:eps=0.3",
                                     "mass:delta=0.2,floor=0,from=0+value-share:left=0.1" };
static const terse_kv_type types[] = { TERSE_KV_F32, TERSE_KV_F16, TERSE_KV_Q8, TERSE_KV_BF16, TERSE_KV_Q4 };

static void same_bits_everywhere(void **state)
{
    (void)state;
    static const int32_t threads[] = { 1, 3, 2 }, chunks[] = { 1000, 33, 5 };
    static float want[N_DECODE + 1][N_VOCAB], got[N_DECODE + 1][N_VOCAB];
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++)
        for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
            terse_session_opts o = {
                .threads = 1, .chunk = 512, .stop = rules[r], .type_k = types[k], .type_v = types[(k + r) % 5]
            };
            if (r == k) /* scalar is slow: three of the combinations start from it */
                o.cpu = TERSE_CPU_SCALAR;
            run(&o, want);
            for (int i = 0; i < 3; i++)
                for (uint32_t tier = TERSE_CPU_SCALAR; tier <= TERSE_CPU_LAST; tier *= 2) {
                    if (!(terse_cpu_tiers() & tier) || tier == TERSE_CPU_SCALAR)
                        continue;
                    o.threads = threads[i];
                    o.chunk = chunks[i];
                    o.cpu = terse_cpu_tiers() & (2 * tier - 1);
                    run(&o, got);
                    if (memcmp(want, got, sizeof want))
                        fail_msg("%s, %s keys: %s with %d threads in chunks of %d gives other bits", rules[r],
                                 terse_kv_type_name(types[k]), terse_cpu_tier_name(o.cpu), threads[i],
                                 chunks[i]);
                }
        }
}

/* Split pages: the bits depend on the number of strands, not on the threads that share them, nor on the chunks.
 */
static void strands_on_any_thread(void **state)
{
    (void)state;
    enum { LONG = 900 };
    static const char *const splits[] = { "none", "mass:delta=0.2,floor=0,from=0",
                                          "mass:delta=0.2,floor=0,from=0+value-share:left=0.1" };
    static int32_t text[LONG];
    static float want[N_DECODE][N_VOCAB];
    terse_error err = { 0 };
    const float *logits;
    for (int32_t t = 0; t < LONG; t++)
        text[t] = t * t % 89;
    for (size_t r = 0; r < sizeof splits / sizeof *splits; r++)
        for (int32_t threads = 1; threads <= 4; threads++) {
            const terse_session_opts o = {
                .stop = splits[r], .strands = 3, .threads = threads, .chunk = 100 * threads
            };
            terse_session *s = open_with(&o);
            assert_int_equal(terse_session_prefill(s, text, LONG, &logits, NULL, &err), TERSE_OK);
            for (int32_t t = 0; t < N_DECODE; t++) {
                assert_int_equal(terse_session_decode(s, tokens[t], &logits, &err), TERSE_OK);
                if (threads == 1)
                    memcpy(want[t], logits, sizeof want[t]);
                assert_memory_equal(logits, want[t], sizeof want[t]);
            }
            assert_int_equal(terse_session_rule(s, NULL, "stability", NULL, 0, &err), TERSE_OK);
            assert_int_equal(terse_session_decode(s, 1, &logits, &err), TERSE_OK); /* is not split */
            terse_session_close(&s);
        }
}

/* Under dense attention the tokens of a batch share the pages that they read, and the bytes say so. */
static void a_batch_reads_pages_once(void **state)
{
    (void)state;
    enum { BATCH = 8, AT = 124 }; /* four tokens of one page and four of the next */
    static float all[BATCH][N_VOCAB];
    terse_error err = { 0 };
    const float *logits;
    const terse_session_opts o = { .stop = "mass:from=10000" };
    terse_session *one = open_with(&o), *many = open_with(&o);
    assert_int_equal(terse_session_prefill(one, tokens, AT, NULL, NULL, &err), TERSE_OK);
    assert_int_equal(terse_session_prefill(many, tokens, AT, NULL, NULL, &err), TERSE_OK);
    assert_int_equal(terse_session_decode_many(many, tokens + AT, BATCH, all[0], &err), TERSE_OK);
    for (int32_t t = 0; t < BATCH; t++) {
        assert_int_equal(terse_session_decode(one, tokens[AT + t], &logits, &err), TERSE_OK);
        assert_memory_equal(logits, all[t], sizeof all[t]);
    }
    const terse_attend_stats a = terse_session_stats(one), b = terse_session_stats(many);
    assert_int_equal(a.walks, b.walks);
    assert_int_equal(a.bytes_dense, b.bytes_dense);
    assert_int_equal(a.pages_listed, b.pages_listed);
    assert_int_equal(a.bytes_k + a.bytes_v, a.bytes_dense);
    assert_int_equal(b.pages_read, 3 * 2 * (4 + 5)); /* layers x heads x pages of either block of tokens */
    assert_true(4 * (b.bytes_k + b.bytes_v) < 1.2 * (double)b.bytes_dense);
    terse_session_close(&one);
    terse_session_close(&many);
}

/* Under dense attention, decoding a token gives the bits that prefilling it gives. */
static void decode_is_prefill(void **state)
{
    (void)state;
    static float want[N_SHORT][N_VOCAB];
    for (size_t k = 0; k < sizeof types / sizeof *types; k++) {
        terse_error err;
        const float *logits;
        const terse_session_opts o = { .type_k = types[k], .type_v = types[k] };
        terse_session *a = open_with(&o), *b = open_with(&o);
        assert_int_equal(terse_session_prefill(a, tokens, N_SHORT, NULL, want[0], &err), TERSE_OK);
        for (int32_t t = 0; t < N_SHORT; t++) {
            assert_int_equal(terse_session_decode(b, tokens[t], &logits, &err), TERSE_OK);
            assert_memory_equal(logits, want[t], sizeof want[t]);
        }
        terse_session_close(&a);
        terse_session_close(&b);
    }
}

static void counters_add_up(void **state)
{
    (void)state;
    for (size_t r = 0; r < sizeof rules / sizeof *rules; r++) {
        terse_error err;
        const terse_session_opts o = {
            .stop = rules[r], .audit = 1, .type_k = TERSE_KV_F16, .type_v = TERSE_KV_F16
        };
        terse_session *s = open_with(&o);
        assert_int_equal(terse_session_prefill(s, tokens, N_PROMPT, NULL, NULL, &err), TERSE_OK);
        assert_int_equal(terse_session_stats(s).walks, 0);
        for (int32_t t = 0; t < N_DECODE; t++)
            assert_int_equal(terse_session_decode(s, tokens[t], NULL, &err), TERSE_OK);
        const terse_attend_stats a = terse_session_stats(s);
        int64_t k = 0, v = 0, pages = 0;
        for (int32_t t = 1; t <= N_DECODE;
             t++) { /* 3 layers x 2 heads; K is read by whole pages, V by tokens */
            pages += 6 * ((N_PROMPT + t + 31) / 32);
            v += 6 * (N_PROMPT + t) * 32 * 2;
        }
        k = pages * 32 * 32 * 2;
        assert_int_equal(a.walks, 6 * N_DECODE);
        assert_int_equal(a.pages_listed, pages);
        assert_int_equal(a.bytes_dense, k + v);
        assert_int_equal(a.audits, a.walks);
        assert_int_equal(a.audit_violations, 0);
        if (r == 0) {
            assert_int_equal(a.pages_read, pages);
            assert_int_equal(a.bytes_k + a.bytes_v, a.bytes_dense);
            assert_true(a.audit_error_max == 0.0f && a.bound_max == 0.0f && a.stops == 0);
        } else {
            assert_true(a.stops > 0 && a.pages_read < pages && a.bytes_v < v);
            assert_true(a.audit_error_max > 0.0f);
            assert_int_equal(a.pages_scored == pages, r == 2);
        }
        if (r == 2)
            assert_true(a.bound_max > 0.0f && a.bound_max <= 0.3f && a.audit_error_max <= 0.3f);
        assert_int_equal(terse_session_bounded(s), r == 0 || r == 2);
        terse_session_stats_reset(s);
        assert_int_equal(terse_session_stats(s).bytes_k, 0);
        terse_session_close(&s);
    }
}

static void context_is_a_limit(void **state)
{
    (void)state;
    terse_error err;
    const terse_session_opts o = { .ctx = 40 };
    const int32_t bad[] = { 1, N_VOCAB, 2 }, negative = -1;
    terse_session *s = open_with(&o);
    assert_int_equal(terse_session_prefill(s, tokens, 41, NULL, NULL, &err), TERSE_BAD_INPUT);
    assert_non_null(strstr(err.text, "41"));
    assert_int_equal(terse_session_count(s), 0);
    assert_int_equal(terse_session_prefill(s, tokens, 40, NULL, NULL, &err), TERSE_OK);
    assert_int_equal(terse_session_decode(s, 1, NULL, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_session_count(s), 40);
    terse_session_truncate(s, 20);
    assert_int_equal(terse_session_count(s), 20);
    assert_int_equal(terse_session_prefill(s, bad, 3, NULL, NULL, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_session_decode(s, negative, NULL, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_session_prefill(s, tokens, 0, NULL, NULL, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_session_count(s), 20);
    terse_session_close(&s);
}

/* What was forgotten leaves no trace. */
static void truncation_goes_back(void **state)
{
    (void)state;
    terse_error err;
    const float *logits;
    float want[N_VOCAB];
    terse_session *s = open_with(NULL);
    assert_int_equal(terse_session_prefill(s, tokens, 100, &logits, NULL, &err), TERSE_OK);
    memcpy(want, logits, sizeof want);
    assert_int_equal(terse_session_prefill(s, tokens + 150, 90, NULL, NULL, &err), TERSE_OK);
    terse_session_truncate(s, 70);
    assert_int_equal(terse_session_prefill(s, tokens + 70, 30, &logits, NULL, &err), TERSE_OK);
    assert_memory_equal(logits, want, sizeof want);
    terse_session_close(&s);
}

/* A depth of copies: decoding goes on from there, and what was computed is still there behind it. */
static void a_session_repeats_itself(void **state)
{
    (void)state;
    terse_error err;
    const float *logits;
    float want[N_VOCAB];
    const terse_session_opts dropping = { .policy = "window:sinks=4,budget=96" };
    terse_session *s = open_with(NULL);
    assert_int_equal(terse_session_prefill(s, tokens, 31, NULL, NULL, &err), TERSE_OK);
    assert_int_equal(terse_session_repeat(s, 100, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_session_prefill(s, tokens + 31, 33, NULL, NULL, &err), TERSE_OK);
    assert_int_equal(terse_session_decode(s, 5, &logits, &err), TERSE_OK);
    memcpy(want, logits, sizeof want);
    assert_int_equal(terse_session_repeat(s, 500, &err), TERSE_OK);
    assert_int_equal(terse_session_count(s), 500);
    terse_session_stats_reset(s);
    assert_int_equal(terse_session_decode(s, 5, &logits, &err), TERSE_OK);
    const terse_attend_stats stats = terse_session_stats(s);
    assert_int_equal(stats.bytes_v, 3 * 2 * 501 * 32 * 2); /* layers, heads, tokens, channels, f16 */
    terse_session_truncate(s, 64);
    assert_int_equal(terse_session_decode(s, 5, &logits, &err), TERSE_OK);
    assert_memory_equal(logits, want, sizeof want);
    terse_session_close(&s);
    s = open_with(&dropping);
    assert_int_equal(terse_session_prefill(s, tokens, 64, NULL, NULL, &err), TERSE_OK);
    assert_int_equal(terse_session_repeat(s, 100, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_session_count(s), 64);
    terse_session_close(&s);
}

/* Also under a rule that keeps statistics of the stored values: the bits and the bytes read are the same. */
static void forgotten_values_bound_nothing(void **state)
{
    (void)state;
    terse_error err;
    const float *logits;
    const terse_session_opts o = { .stop = "value-skip:eps=0.3" };
    for (int32_t n = 0; n <= 200; n += 100) {
        terse_session *a = open_with(&o), *b = open_with(&o);
        float want[N_VOCAB];
        assert_int_equal(terse_session_prefill(a, tokens, N_PROMPT, NULL, NULL, &err), TERSE_OK);
        assert_int_equal(terse_session_decode(a, 5, NULL, &err), TERSE_OK);
        terse_session_truncate(a, n);
        terse_session_stats_reset(a);
        if (n)
            assert_int_equal(terse_session_prefill(b, tokens, n, NULL, NULL, &err), TERSE_OK);
        for (int32_t t = 0; t < 3; t++) {
            assert_int_equal(terse_session_decode(a, tokens[n + t], &logits, &err), TERSE_OK);
            memcpy(want, logits, sizeof want);
            assert_int_equal(terse_session_decode(b, tokens[n + t], &logits, &err), TERSE_OK);
            assert_memory_equal(logits, want, sizeof want);
        }
        assert_int_equal(terse_session_stats(a).bytes_v, terse_session_stats(b).bytes_v);
        assert_true(terse_session_stats(a).bound_max == terse_session_stats(b).bound_max);
        terse_session_close(&a);
        terse_session_close(&b);
    }
}

/* Decoding under one rule after another gives what a session of each rule's own gives. */
static void rules_take_turns(void **state)
{
    (void)state;
    static float want[N_DECODE + 1][N_VOCAB];
    terse_error err = { 0 };
    const float *logits;
    const terse_session_opts o = { .threads = 2 };
    terse_session *s = open_with(&o);
    assert_int_equal(terse_session_prefill(s, tokens, N_PROMPT, NULL, NULL, &err), TERSE_OK);
    for (size_t i = 0; i < 6; i++) {
        const terse_session_opts own = { .stop = rules[i % 3], .audit = i < 3 };
        run(&own, want);
        assert_int_equal(terse_session_rule(s, "dense", rules[i % 3], NULL, i < 3, &err), TERSE_OK);
        assert_int_equal(terse_session_stats(s).walks, 0);
        for (int32_t t = 0; t < N_DECODE; t++) {
            assert_int_equal(terse_session_decode(s, tokens[N_PROMPT + t], &logits, &err), TERSE_OK);
            assert_memory_equal(logits, want[t + 1], sizeof want[0]);
        }
        assert_int_equal(terse_session_stats(s).audits, i < 3 ? 6 * N_DECODE : 0);
        terse_session_truncate(s, N_PROMPT);
    }
    assert_int_equal(terse_session_rule(s, "dense", "value-skip:eps=x", NULL, 0, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_session_rule(s, "nothing", NULL, NULL, 0, &err), TERSE_BAD_INPUT);
    assert_string_equal(terse_session_stop(s), "value-skip:eps=0.3");
    assert_int_equal(terse_session_decode(s, tokens[N_PROMPT], &logits, &err), TERSE_OK);
    assert_memory_equal(logits, want[1], sizeof want[0]);
    terse_session_close(&s);
}

static void abort_leaves_the_session_as_it_was(void **state)
{
    (void)state;
    terse_error err;
    const float *logits;
    float want[N_VOCAB];
    atomic_bool stop = false;
    const terse_session_opts o = { .abort = &stop, .chunk = 64, .threads = 3 };
    terse_session *s = open_with(&o);
    assert_int_equal(terse_session_prefill(s, tokens, 50, &logits, NULL, &err), TERSE_OK);
    assert_int_equal(terse_session_decode(s, 5, &logits, &err), TERSE_OK);
    memcpy(want, logits, sizeof want);
    terse_session_truncate(s, 50);
    stop = true;
    assert_int_equal(terse_session_prefill(s, tokens, 200, NULL, NULL, &err), TERSE_INTERRUPTED);
    assert_int_equal(terse_session_decode(s, 5, NULL, &err), TERSE_INTERRUPTED);
    assert_int_equal(terse_session_count(s), 50);
    stop = false;
    assert_int_equal(terse_session_decode(s, 5, &logits, &err), TERSE_OK);
    assert_memory_equal(logits, want, sizeof want);
    terse_session_close(&s);
}

static void options_are_checked(void **state)
{
    (void)state;
    static const terse_session_opts bad[] = {
        { .ctx = -1 },
        { .threads = -2 },
        { .chunk = -1 },
        { .policy = "guess" },
        { .stop = "never" },
        { .stop = "stability:tau" },
        { .stop = "stability:tau=x" },
        { .stop = "stability:eps=1" },
        { .stop = "value-skip:eps=-1" },
        { .stop = "value-skip:eps=nan" },
        { .stop = "none:x=1" },
        { .audit = -1 },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        terse_error err = { 0 };
        terse_session *s = (terse_session *)&err;
        assert_int_equal(terse_session_open(&s, model, &bad[i], &err), TERSE_BAD_INPUT);
        assert_null(s);
        assert_true(strlen(err.text) > 0);
    }
    terse_session *s = open_with(&(terse_session_opts){ .stop = "value-skip" });
    assert_string_equal(terse_session_stop(s), "value-skip:eps=0.1");
    terse_session_close(&s);
}

static void kv_limit_is_kept(void **state)
{
    (void)state;
    terse_error err;
    const terse_session_opts o = { .kv_limit = 1 << 20 };
    terse_session *s = open_with(&o);
    assert_int_equal(terse_session_prefill(s, tokens, 10, NULL, NULL, &err), TERSE_NOMEM);
    assert_int_equal(terse_session_count(s), 0);
    assert_int_equal(terse_session_kv_bytes(s), 0);
    terse_session_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bits_everywhere),
        cmocka_unit_test(strands_on_any_thread),
        cmocka_unit_test(a_batch_reads_pages_once),
        cmocka_unit_test(decode_is_prefill),
        cmocka_unit_test(counters_add_up),
        cmocka_unit_test(context_is_a_limit),
        cmocka_unit_test(truncation_goes_back),
        cmocka_unit_test(a_session_repeats_itself),
        cmocka_unit_test(forgotten_values_bound_nothing),
        cmocka_unit_test(rules_take_turns),
        cmocka_unit_test(abort_leaves_the_session_as_it_was),
        cmocka_unit_test(options_are_checked),
        cmocka_unit_test(kv_limit_is_kept),
    };
    return cmocka_run_group_tests(tests, setup, tiny_teardown);
}
