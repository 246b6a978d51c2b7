/* Batches of decoded tokens and guesses ahead change nothing but the time: the same bits, the same reads, the
 * same text, greedy or drawn, under every rule; and at the edges: context full, memory gone, interruption. */
#include "make_model.h"
#include "terse/terse.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_PROMPT = 330, N_MORE = 40, N_VOCAB = 64, N_TEXT = 120 };

static char path[2][64];
static terse_model *dense, *experts;
static int32_t tokens[N_PROMPT + N_MORE];

static terse_model *make(char *file, int32_t i, int32_t n_expert)
{
    terse_error err;
    terse_model *m = NULL;
    make_model_opts o = { .n_layer = 2,
                          .n_embd = 256,
                          .n_head = 4,
                          .n_head_kv = 2,
                          .head_dim = 32,
                          .n_ff = 256,
                          .n_vocab = N_VOCAB,
                          .n_ctx = 1024,
                          .n_expert = n_expert,
                          .q_gain = 4.0f,
                          .types = make_model_uniform(n_expert ? TERSE_TYPE_Q4_0 : TERSE_TYPE_Q8_0),
                          .seed = 11 };
    snprintf(file, sizeof path[0], "/tmp/terse-draft-%d-%d.gguf", (int)getpid(), i);
    if (make_model(file, &o, &err) != TERSE_OK || terse_model_open(&m, file, &err) != TERSE_OK)
        print_error("%s\n", err.text);
    return m;
}

static int setup(void **state)
{
    (void)state;
    dense = make(path[0], 0, 0);
    experts = make(path[1], 1, 4);
    for (int32_t t = 0; t < N_PROMPT + N_MORE; t++)
        tokens[t] = t * 37 % 53; /* repeats */
    return dense && experts ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    terse_model_close(&dense);
    terse_model_close(&experts);
    unlink(path[0]);
    unlink(path[1]);
    return 0;
}

static terse_session *open_with(const terse_model *m, const terse_session_opts *opts)
{
    terse_error err = { 0 };
    terse_session *s;
    if (terse_session_open(&s, m, opts, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return s;
}

static terse_draft *draft_of(terse_session *s, const terse_draft_opts *opts)
{
    terse_error err = { 0 };
    terse_draft *d;
    if (terse_draft_open(&d, s, opts, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return d;
}

/* From 64 tokens on, so that rules have pages to leave out. */
static const char *const rules[] = { "none",
                                     "mass:delta=0.2,floor=0,from=64+value-share:left=0.1",
                                     "mass:delta=0.4,floor=0,from=0",
                                     "stability:tau=0.05,phi=0.05,patience=1",
                                     "value-skip:eps=0.3",
                                     "budget:share=0.3" };
enum { N_RULE = sizeof rules / sizeof *rules };

/* Decodes the tokens behind the prompt in batches of n; the logits of all of them. */
static terse_session *decode_by(int32_t n, const terse_model *m, const terse_session_opts *o,
                                float out[N_MORE][N_VOCAB])
{
    terse_error err = { 0 };
    terse_session *s = open_with(m, o);
    assert_int_equal(terse_session_prefill(s, tokens, N_PROMPT, NULL, NULL, &err), TERSE_OK);
    for (int32_t t = 0; t < N_MORE; t += n) {
        const int32_t some = n < N_MORE - t ? n : N_MORE - t;
        assert_int_equal(terse_session_decode_many(s, tokens + N_PROMPT + t, some, out[t], &err), TERSE_OK);
    }
    assert_int_equal(terse_session_count(s), N_PROMPT + N_MORE);
    return s;
}

/* Logits and everything that was counted on the way, head by head. */
static void batches_decode_as_single_tokens(void **state)
{
    (void)state;
    static float want[N_MORE][N_VOCAB], got[N_MORE][N_VOCAB];
    static const int32_t sizes[] = { 1, 2, 7, 16, N_MORE };
    for (int32_t r = 0; r < N_RULE; r++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            const terse_model *m = r == 1 ? experts : dense;
            const terse_kv_type type = r % 2 ? TERSE_KV_Q8 : TERSE_KV_F16;
            terse_session_opts o = { .threads = 1,
                                     .stop = rules[r],
                                     .type_k = type,
                                     .type_v = type,
                                     .audit = 3,
                                     .chunk = 12,
                                     .strands = 1 + r % 3 };
            terse_error err;
            const float *logits;
            terse_session *a = open_with(m, &o);
            assert_int_equal(terse_session_prefill(a, tokens, N_PROMPT, NULL, NULL, &err), TERSE_OK);
            for (int32_t t = 0; t < N_MORE; t++) {
                assert_int_equal(terse_session_decode(a, tokens[N_PROMPT + t], &logits, &err), TERSE_OK);
                memcpy(want[t], logits, sizeof want[t]);
            }
            o.threads = 1 + (int32_t)i % 2;
            terse_session *b = decode_by(sizes[i], m, &o, got);
            if (memcmp(want, got, sizeof want))
                fail_msg("%s: other bits in batches of %d", rules[r], sizes[i]);
            for (int32_t l = 0; l < 2; l++)
                for (int32_t h = 0; h < 2; h++)
                    assert_memory_equal(terse_session_stats_of(a, l, h), terse_session_stats_of(b, l, h),
                                        sizeof(terse_attend_stats));
            if (r > 0)
                assert_true(terse_session_stats(a).stops > 0);
            terse_session_close(&a);
            terse_session_close(&b);
        }
}

/* ---- texts ---- */

typedef struct {
    int32_t ids[N_TEXT];
    float last[N_VOCAB]; /* logits after all of them */
} text;

static void generate(text *out, terse_session *s, terse_draft *d, const terse_sample_opts *sample)
{
    terse_error err = { 0 };
    const float *logits;
    terse_sampler *sampler;
    assert_int_equal(terse_sampler_open(&sampler, sample, N_VOCAB, &err), TERSE_OK);
    assert_int_equal(terse_session_prefill(s, tokens, N_PROMPT, &logits, NULL, &err), TERSE_OK);
    if (d)
        terse_draft_tell(d, tokens, N_PROMPT);
    for (int32_t t = 0; t < N_TEXT; t++) {
        out->ids[t] = terse_sampler_next(sampler, logits);
        terse_sampler_accept(sampler, out->ids[t]);
        const terse_status st = d ? terse_draft_decode(d, out->ids[t], &logits, &err)
                                  : terse_session_decode(s, out->ids[t], &logits, &err);
        if (st != TERSE_OK)
            fail_msg("%s", err.text);
        assert_int_equal(d ? terse_draft_count(d) : terse_session_count(s), N_PROMPT + t + 1);
    }
    memcpy(out->last, logits, sizeof out->last);
    terse_sampler_close(&sampler);
}

/* Both ways give one text; adds up what the drafter did. */
static void compare(const terse_session_opts *o, const terse_draft_opts *drafts,
                    const terse_sample_opts *sample, terse_draft_stats *sum)
{
    static text want, got;
    terse_session *a = open_with(dense, o), *b = open_with(dense, o);
    terse_draft *d = draft_of(b, drafts);
    generate(&want, a, NULL, sample);
    generate(&got, b, d, sample);
    assert_memory_equal(want.ids, got.ids, sizeof want.ids);
    assert_memory_equal(want.last, got.last, sizeof want.last);
    const terse_draft_stats stats = terse_draft_stats_of(d);
    assert_int_equal(stats.steps + stats.accepted, N_TEXT);
    sum->guessed += stats.guessed;
    sum->accepted += stats.accepted;
    terse_draft_close(&d);
    assert_int_equal(terse_session_count(b), N_PROMPT + N_TEXT);
    terse_session_close(&a);
    terse_session_close(&b);
}

static void greedy_text_is_the_same(void **state)
{
    (void)state;
    const terse_sample_opts greedy = { .temp = 0.0f };
    terse_draft_stats sum = { 0 };
    for (int32_t r = 0; r < N_RULE; r++)
        for (int32_t i = 0; i < 4; i++) {
            const terse_kv_type type = i % 2 ? TERSE_KV_Q8 : TERSE_KV_F16;
            const terse_session_opts o = { .threads = 1 + i / 2,
                                           .stop = rules[r],
                                           .type_k = type,
                                           .type_v = type,
                                           .chunk = r % 2 ? 7 : 0,
                                           .strands = 1 + i % 3 };
            const terse_draft_opts drafts = { .max = 3 + 4 * i, .min = 1 + i, .ngram = 1 + r % 3 };
            compare(&o, &drafts, &greedy, &sum);
        }
    assert_true(sum.accepted > 100 && sum.guessed > sum.accepted); /* both ways were gone */
}

static void drawn_text_is_the_same(void **state)
{
    (void)state;
    terse_draft_stats sum = { 0 };
    for (uint64_t seed = 0; seed < 12; seed++) {
        terse_sample_opts sample = terse_sample_defaults();
        sample.seed = seed;
        sample.temp = 1.0f + 4.0f * (float)(seed % 4);
        sample.penalty_repeat = seed % 3 ? 1.0f : 1.2f;
        const terse_session_opts o = { .threads = 1 + (int32_t)seed % 2, .stop = rules[seed % N_RULE] };
        compare(&o, &(terse_draft_opts){ .ngram = 1 }, &sample, &sum);
    }
    assert_true(sum.accepted > 0 && sum.guessed > sum.accepted);
}

/* ---- the law of what is drawn ---- */

enum { TOP = 4, N_TRIAL = 3000, LAST = 5 };

/* The logits deviate by 16. */
static const terse_sample_opts four = { .temp = 20.0f, .top_k = TOP, .top_p = 1.0f };

/* The TOP likeliest ids and their probabilities under `four`, by the definition. */
static void law_of(const float *logits, int32_t id[TOP], double p[TOP])
{
    double sum = 0.0;
    for (int32_t k = 0; k < TOP; k++) {
        id[k] = -1;
        for (int32_t v = 0; v < N_VOCAB; v++) {
            bool taken = false;
            for (int32_t j = 0; j < k; j++)
                taken |= id[j] == v;
            if (!taken && (id[k] < 0 || logits[v] > logits[id[k]]))
                id[k] = v;
        }
        sum += p[k] = exp(((double)logits[id[k]] - (double)logits[id[0]]) / 20.0);
    }
    for (int32_t k = 0; k < TOP; k++)
        p[k] /= sum;
}

/* Draws the two tokens after LAST behind a guess of ours: what the drafter is told need not be so. */
static void draw_two(terse_session *s, terse_draft *d, const int32_t guess[2], uint64_t seed, int32_t drawn[2])
{
    terse_error err = { 0 };
    const float *logits;
    terse_sample_opts o = four;
    terse_sampler *sampler;
    const int32_t told[20] = { [10] = LAST, guess[0], guess[1] };
    o.seed = seed;
    terse_session_truncate(s, 20);
    terse_draft_tell(d, told, 20);
    assert_int_equal(terse_sampler_open(&sampler, &o, N_VOCAB, &err), TERSE_OK);
    assert_int_equal(terse_draft_decode(d, LAST, &logits, &err), TERSE_OK);
    assert_int_equal(terse_session_count(s), 23); /* both guesses are open */
    drawn[0] = terse_sampler_next(sampler, logits);
    assert_int_equal(terse_draft_decode(d, drawn[0], &logits, &err), TERSE_OK);
    drawn[1] = terse_sampler_next(sampler, logits);
    terse_draft_settle(d);
    terse_sampler_close(&sampler);
}

static int32_t place_of(int32_t id, const int32_t list[TOP])
{
    int32_t k = 0;
    while (k < TOP && list[k] != id)
        k++;
    assert_true(k < TOP);
    return k;
}

/* Pairs of tokens drawn behind guesses, counted against the probabilities that enumeration gives: 16 cells,
 * guesses that are often and seldom right. */
static void drawn_tokens_follow_the_law(void **state)
{
    (void)state;
    terse_error err = { 0 };
    const float *logits;
    double p[TOP], q[TOP][TOP];
    int32_t first[TOP], second[TOP][TOP];
    terse_session *s = open_with(dense, NULL);
    assert_int_equal(terse_session_prefill(s, tokens, 20, NULL, NULL, &err), TERSE_OK);
    assert_int_equal(terse_session_decode(s, LAST, &logits, &err), TERSE_OK);
    law_of(logits, first, p);
    for (int32_t k = 0; k < TOP; k++) {
        assert_int_equal(terse_session_decode(s, first[k], &logits, &err), TERSE_OK);
        law_of(logits, second[k], q[k]);
        terse_session_truncate(s, 21);
    }
    for (int32_t g = 0; g < TOP; g += TOP - 1) {
        int32_t count[TOP][TOP] = { { 0 } };
        double chi = 0.0;
        terse_draft *d = draft_of(s, &(terse_draft_opts){ .min = 2, .ngram = 1 });
        for (int32_t trial = 0; trial < N_TRIAL; trial++) {
            int32_t drawn[2];
            draw_two(s, d, (const int32_t[]){ first[g], second[g][0] }, (uint64_t)trial, drawn);
            const int32_t a = place_of(drawn[0], first);
            count[a][place_of(drawn[1], second[a])]++;
        }
        for (int32_t a = 0; a < TOP; a++)
            for (int32_t b = 0; b < TOP; b++) {
                const double want = N_TRIAL * p[a] * q[a][b];
                chi += ((double)count[a][b] - want) * ((double)count[a][b] - want) / want;
            }
        assert_true(chi < 37.7); /* 15 degrees of freedom: 0.001 */
        const double share = (double)terse_draft_stats_of(d).accepted / N_TRIAL;
        assert_true(p[g] < 0.95 && fabs(share - p[g]) < 4.0 * sqrt(p[g] * (1.0 - p[g]) / N_TRIAL));
        terse_draft_close(&d);
    }
    terse_session_close(&s);
}

/* ---- edges ---- */

static int32_t likeliest(const float *logits)
{
    int32_t best = 0;
    for (int32_t v = 1; v < N_VOCAB; v++)
        best = logits[v] > logits[best] ? v : best;
    return best;
}

static void context_is_filled_to_its_end(void **state)
{
    (void)state;
    terse_error err;
    const float *logits, *plain;
    const terse_session_opts o = { .ctx = 45 };
    terse_session *a = open_with(dense, &o), *b = open_with(dense, &o);
    terse_draft *d = draft_of(b, &(terse_draft_opts){ .ngram = 1, .min = 4 });
    assert_int_equal(terse_session_prefill(a, tokens, 30, &plain, NULL, &err), TERSE_OK);
    assert_int_equal(terse_session_prefill(b, tokens, 30, &logits, NULL, &err), TERSE_OK);
    terse_draft_tell(d, tokens, 30);
    for (int32_t t = 30; t < 45; t++) {
        const int32_t id = likeliest(plain);
        assert_int_equal(terse_session_decode(a, id, &plain, &err), TERSE_OK);
        assert_int_equal(terse_draft_decode(d, id, &logits, &err), TERSE_OK);
        assert_memory_equal(plain, logits, N_VOCAB * sizeof *plain);
    }
    assert_int_equal(terse_draft_decode(d, 1, &logits, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_draft_count(d), 45);
    terse_draft_close(&d);
    terse_session_close(&a);
    terse_session_close(&b);
}

static void bad_ids_change_nothing(void **state)
{
    (void)state;
    terse_error err;
    const float *logits;
    static const int32_t bad[] = { -1, N_VOCAB };
    terse_session *s = open_with(dense, NULL);
    terse_draft *d = draft_of(s, &(terse_draft_opts){ .ngram = 1 });
    assert_int_equal(terse_session_prefill(s, tokens, 100, &logits, NULL, &err), TERSE_OK);
    terse_draft_tell(d, tokens, 100);
    assert_int_equal(terse_draft_decode(d, tokens[100], &logits, &err), TERSE_OK);
    assert_true(terse_session_count(s) > 101); /* a guess is open */
    for (int i = 0; i < 2; i++) {
        assert_int_equal(terse_draft_decode(d, bad[i], &logits, &err), TERSE_BAD_INPUT);
        assert_int_equal(terse_session_count(s), 101);
    }
    assert_int_equal(terse_session_decode_many(s, (const int32_t[]){ 1, N_VOCAB }, 2, NULL, &err),
                     TERSE_BAD_INPUT);
    assert_int_equal(terse_session_decode_many(s, tokens, 0, NULL, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_session_count(s), 101);
    terse_draft_close(&d);
    terse_session_close(&s);
}

/* Where the cache may not grow, the tokens that still fit are decoded without a guess. */
static void memory_limit_ends_guesses_first(void **state)
{
    (void)state;
    enum { FULL = 4096 }; /* tokens of one slab: 512 pages of 4 heads */
    terse_error err;
    const float *logits;
    static int32_t long_text[FULL];
    for (int32_t t = 0; t < FULL; t++)
        long_text[t] = t % 7;
    const terse_session_opts o = {
        .ctx = 5000, .kv_limit = 3 << 20, .type_k = TERSE_KV_Q8, .type_v = TERSE_KV_Q8
    };
    terse_session *s = open_with(dense, &o);
    terse_draft *d = draft_of(s, &(terse_draft_opts){ .min = 16 });
    assert_int_equal(terse_session_prefill(s, long_text, FULL - 3, NULL, NULL, &err), TERSE_OK);
    terse_draft_tell(d, long_text, FULL - 3);
    for (int32_t t = FULL - 3; t < FULL; t++) {
        assert_int_equal(terse_draft_decode(d, long_text[t], &logits, &err), TERSE_OK);
        assert_int_equal(terse_session_count(s), t + 1);
    }
    assert_int_equal(terse_draft_decode(d, 1, &logits, &err), TERSE_NOMEM);
    assert_int_equal(terse_session_count(s), FULL);
    assert_int_equal(terse_draft_stats_of(d).guessed, 0);
    terse_draft_close(&d);
    terse_session_close(&s);
}

static void abort_leaves_the_text_as_it_was(void **state)
{
    (void)state;
    terse_error err;
    const float *logits;
    float want[N_VOCAB];
    atomic_bool stop = false;
    const terse_session_opts o = { .abort = &stop, .threads = 2 };
    terse_session *s = open_with(dense, &o);
    terse_draft *d = draft_of(s, NULL);
    assert_int_equal(terse_session_prefill(s, tokens, 100, NULL, NULL, &err), TERSE_OK);
    terse_draft_tell(d, tokens, 100);
    assert_int_equal(terse_draft_decode(d, tokens[100], &logits, &err), TERSE_OK);
    terse_draft_settle(d);
    assert_int_equal(terse_session_decode(s, 7, &logits, &err), TERSE_OK);
    memcpy(want, logits, sizeof want);
    terse_session_truncate(s, 101);
    stop = true;
    assert_int_equal(terse_draft_decode(d, 7, &logits, &err), TERSE_INTERRUPTED);
    assert_int_equal(terse_draft_count(d), 101);
    assert_int_equal(terse_session_count(s), 101);
    stop = false;
    assert_int_equal(terse_draft_decode(d, 7, &logits, &err), TERSE_OK);
    assert_memory_equal(logits, want, sizeof want);
    terse_draft_close(&d);
    terse_session_close(&s);
}

/* A text that was cut off and went on otherwise is looked up as it is now. */
static void forgotten_text_is_not_looked_up(void **state)
{
    (void)state;
    terse_error err;
    const float *logits;
    static const int32_t before[] = { 1, 2, 3, 4, 5, 6, 7, 8, 9 }, after[] = { 1, 2, 3, 9, 9, 1, 2 };
    terse_session *s = open_with(dense, NULL);
    terse_draft *d = draft_of(s, &(terse_draft_opts){ .max = 1, .ngram = 3 });
    assert_int_equal(terse_session_prefill(s, before, 9, NULL, NULL, &err), TERSE_OK);
    terse_draft_tell(d, before, 9);
    terse_session_truncate(s, 0);
    assert_int_equal(terse_session_prefill(s, after, 7, NULL, NULL, &err), TERSE_OK);
    terse_draft_tell(d, after, 7);
    assert_int_equal(terse_draft_decode(d, 3, &logits, &err), TERSE_OK); /* 1 2 3: it was 4, now it is 9 */
    assert_int_equal(terse_session_count(s), 9);
    assert_int_equal(terse_draft_decode(d, 9, &logits, &err), TERSE_OK);
    assert_int_equal(terse_draft_stats_of(d).accepted, 1);
    terse_draft_settle(d);
    /* A prompt that it was not told of: it looks up nothing across the gap. */
    assert_int_equal(terse_session_prefill(s, before, 9, NULL, NULL, &err), TERSE_OK);
    terse_draft_stats_reset(d);
    assert_int_equal(terse_draft_decode(d, 1, &logits, &err), TERSE_OK);
    assert_int_equal(terse_draft_decode(d, 2, &logits, &err), TERSE_OK);
    assert_int_equal(terse_draft_stats_of(d).guessed, 0);
    assert_int_equal(terse_draft_decode(d, 3, &logits, &err), TERSE_OK);
    assert_int_equal(terse_draft_stats_of(d).guessed, 1);
    terse_draft_close(&d);
    terse_session_close(&s);
}

static void options_are_checked(void **state)
{
    (void)state;
    static const terse_draft_opts bad[] = { { .max = -1 },          { .max = TERSE_DRAFT_MOST + 1 },
                                            { .max = 4, .min = 5 }, { .min = -1 },
                                            { .ngram = -1 },        { .ngram = 1000 } };
    terse_session *s = open_with(dense, NULL);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        terse_error err = { 0 };
        terse_draft *d = (terse_draft *)&err;
        assert_int_equal(terse_draft_open(&d, s, &bad[i], &err), TERSE_BAD_INPUT);
        assert_null(d);
        assert_non_null(strstr(err.text, "draft option"));
    }
    terse_session_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_decode_as_single_tokens), cmocka_unit_test(greedy_text_is_the_same),
        cmocka_unit_test(drawn_text_is_the_same),          cmocka_unit_test(drawn_tokens_follow_the_law),
        cmocka_unit_test(context_is_filled_to_its_end),    cmocka_unit_test(bad_ids_change_nothing),
        cmocka_unit_test(memory_limit_ends_guesses_first), cmocka_unit_test(abort_leaves_the_text_as_it_was),
        cmocka_unit_test(forgotten_text_is_not_looked_up), cmocka_unit_test(options_are_checked),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
