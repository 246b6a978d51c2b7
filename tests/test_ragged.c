/* Stores that drop tokens, and walks over them: every policy that decides token by token sees what its rule
 * says, in prompts as in decoding; memory comes back; what is taken back was never there. */
#include "ragged_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static ragged *open_or_fail(const char *policy, const char *stop, terse_kv_type type, int32_t n_strand)
{
    terse_error err = { 0 };
    ragged *f = ragged_open(policy, stop, type, n_strand, &err);
    if (!f)
        fail_msg("%s", err.text);
    return f;
}

static void run(ragged *f, int32_t n, bool decode, int32_t layer, int32_t head)
{
    terse_error err = { 0 };
    if (ragged_run(f, n, decode, layer, head, &err) != TERSE_OK)
        fail_msg("%s", err.text);
}

/* ---- the rules of the test: does the token at i see the one at j? ---- */

static bool by_utility(int32_t layer, int32_t head, int32_t i, int32_t j)
{
    return i - j < 40 || j < 2 || ragged_utility(layer, head, j) >= 0.5f;
}

static bool by_other_numbers(int32_t layer, int32_t head, int32_t i, int32_t j)
{
    return i - j < 64 || ragged_utility(layer, head, j) >= 0.8f;
}

static bool by_window(int32_t layer, int32_t head, int32_t i, int32_t j)
{
    (void)layer, (void)head;
    return i - j < 196 || j < 4;
}

static bool by_small_window(int32_t layer, int32_t head, int32_t i, int32_t j)
{
    (void)layer, (void)head;
    return i == j || j < 33;
}

static bool by_sinks_alone(int32_t layer, int32_t head, int32_t i, int32_t j)
{
    (void)layer, (void)head;
    return i - j < 2 || j < 32;
}

static bool by_head(int32_t layer, int32_t head, int32_t i, int32_t j)
{
    return layer != head || i - j < 70 || j < 5;
}

static bool all(int32_t layer, int32_t head, int32_t i, int32_t j)
{
    (void)layer, (void)head, (void)i, (void)j;
    return true;
}

static const struct {
    const char *policy;
    bool (*sees)(int32_t layer, int32_t head, int32_t i, int32_t j);
} rules[] = {
    { "spkv", by_utility },
    { "spkv:threshold=0.8,window=64,sinks=0", by_other_numbers },
    { "window:budget=200", by_window },
    { "window:budget=34,sinks=33", by_small_window },
    { "window:budget=200,rotate=1", by_window },
    { "window:budget=34,sinks=32,rotate=1", by_sinks_alone },
    { "duo:window=70,sinks=5", by_head },
    { "spkv:threshold=-1", all },
    { "dense", all },
};
enum { N_RULES = sizeof rules / sizeof *rules };

static void prompts_see_what_the_rule_says(void **state)
{
    (void)state;
    for (int i = 0; i < N_RULES; i++)
        for (int32_t u = 0; u < RAGGED_LAYERS * RAGGED_HEADS; u++) {
            const int32_t layer = u / RAGGED_HEADS, head = u % RAGGED_HEADS;
            ragged *f = open_or_fail(rules[i].policy, "none", TERSE_KV_F32, 1);
            run(f, 500, false, layer, head);
            for (int32_t pos = 0; pos < 500; pos++)
                if (!(ragged_error(f, pos, rules[i].sees, layer, head) < 1e-5))
                    fail_msg("%s: token %d is wrong", rules[i].policy, (int)pos);
            ragged_close(f);
        }
}

static void decoding_has_the_bits_of_prompts(void **state)
{
    (void)state;
    for (int i = 0; i < N_RULES; i++)
        for (int type = TERSE_KV_F32; type <= TERSE_KV_Q4; type++)
            for (int32_t strands = 1; strands <= 3; strands += 2) {
                ragged *a = open_or_fail(rules[i].policy, "none", (terse_kv_type)type, strands);
                ragged *b = open_or_fail(rules[i].policy, "none", (terse_kv_type)type, strands);
                run(a, 600, false, 1, 0);
                run(b, 250, false, 1, 0);
                run(b, 350, true, 1, 0);
                if (memcmp(a->out, b->out, 600 * sizeof *a->out))
                    fail_msg("%s, type %d, %d strands: other bits", rules[i].policy, type, (int)strands);
                ragged_close(a);
                ragged_close(b);
            }
}

/* Rules that end early go by summaries of the pages that are left, and bound what they leave out of them. */
static void stop_rules_walk_what_is_left(void **state)
{
    (void)state;
    static const char *const stops[] = { "mass:from=0,delta=0.05",      "certified:eps=0.5",
                                         "value-skip:eps=0.05",         "budget:share=0.5",
                                         "stability:tau=1e-2,phi=1e-2", "weight:tau=1e-3" };
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++)
        for (int r = 0; r < N_RULES; r++) {
            ragged *f = open_or_fail(rules[r].policy, stops[i], TERSE_KV_F32, 1);
            f->attend->audit = 1;
            run(f, 700, true, 1, 1);
            assert_int_equal(f->stats.walks, 700);
            assert_int_equal(f->stats.audit_violations, 0);
            const int64_t read = f->stats.bytes_k + f->stats.bytes_v;
            assert_true(read <= f->stats.bytes_kept);
            assert_true(f->stats.tokens_kept <= f->stats.tokens_dense);
            if (i < 3 && ragged_error(f, 699, rules[r].sees, 1, 1) > 0.6) /* the others promise nothing */
                fail_msg("%s under %s: error %g", rules[r].policy, stops[i],
                         ragged_error(f, 699, rules[r].sees, 1, 1));
            ragged_close(f);
        }
}

static bool by_ends(int32_t layer, int32_t head, int32_t i, int32_t j)
{
    (void)layer, (void)head;
    return i - j < 70 || j < 37;
}

/* What calibration looks at, at every fill of the last page. */
static void a_streaming_walk_sees_both_ends(void **state)
{
    (void)state;
    ragged *f = open_or_fail("dense", "none", TERSE_KV_F32, 1);
    run(f, 400, false, 1, 0);
    for (int32_t pos = 0; pos < 400; pos++) {
        memset(f->out[pos], 0, sizeof f->out[pos]);
        terse_walk_streaming(f->walk, 1, 0, pos + 1, 37, 70, 0.25f, f->q[pos], f->out[pos]);
        if (!(ragged_error(f, pos, by_ends, 1, 0) < 1e-5))
            fail_msg("token %d is wrong", (int)pos);
    }
    ragged_close(f);
}

/* ---- the store ---- */

static int64_t held_by_rule(int32_t n, bool (*sees)(int32_t layer, int32_t head, int32_t i, int32_t j))
{
    int64_t sum = 0;
    for (int32_t u = 0; u < RAGGED_LAYERS * RAGGED_HEADS; u++)
        for (int32_t j = 0; j < n; j++)
            sum += sees(u / RAGGED_HEADS, u % RAGGED_HEADS, n - 1, j);
    return sum;
}

static int32_t pages_in_use(const terse_kv *kv)
{
    return kv->pool->n_slab * TERSE_SLAB_PAGES - kv->pool->n_free;
}

static void what_is_dropped_leaves_memory(void **state)
{
    (void)state;
    for (int i = 0; i < N_RULES; i++) {
        ragged *f = open_or_fail(rules[i].policy, "none", TERSE_KV_F16, 1);
        run(f, 800, false, 0, 0);
        const int64_t held = terse_kv_held(f->kv);
        assert_int_equal(held, held_by_rule(800, rules[i].sees));
        /* Whole pages, and recent ones of up to 64 tokens that may be taken back. */
        const int64_t most = held / TERSE_PAGE + RAGGED_LAYERS * RAGGED_HEADS * (2 + 64 / TERSE_PAGE + 2);
        assert_true(pages_in_use(f->kv) <= most);
        ragged_close(f);
    }
}

static void a_few_tokens_can_be_taken_back(void **state)
{
    (void)state;
    for (int i = 0; i < N_RULES; i++) {
        ragged *a = open_or_fail(rules[i].policy, "none", TERSE_KV_F16, 1);
        ragged *b = open_or_fail(rules[i].policy, "none", TERSE_KV_F16, 1);
        run(a, 600, false, 0, 1);
        for (int32_t n = 300; n < 600; n += 50) { /* always too far, then back */
            run(b, n + 60 - terse_kv_count(b->kv), false, 0, 1);
            terse_kv_truncate(b->kv, n);
            assert_int_equal(terse_kv_count(b->kv), n);
            assert_int_equal(terse_kv_held(b->kv), held_by_rule(n, rules[i].sees));
        }
        run(b, 600 - terse_kv_count(b->kv), true, 0, 1);
        assert_memory_equal(a->out, b->out, 600 * sizeof *a->out);
        terse_kv_truncate(b->kv, 0);
        assert_int_equal(pages_in_use(b->kv), 0);
        run(b, 600, false, 0, 1);
        assert_memory_equal(a->out, b->out, 600 * sizeof *a->out);
        ragged_close(a);
        ragged_close(b);
    }
}

/* Further back, tokens of the window are gone; nothing else goes wrong. */
static void a_long_way_back_keeps_what_there_is(void **state)
{
    (void)state;
    ragged *f = open_or_fail("spkv", "mass:from=0", TERSE_KV_F16, 1);
    run(f, 700, false, 0, 0);
    for (int32_t n = 650; n > 0; n -= 97) {
        terse_kv_truncate(f->kv, n);
        assert_true(terse_kv_held(f->kv) <= held_by_rule(n, by_utility));
        run(f, 33, true, 0, 0);
        for (int32_t i = 0; i < RAGGED_ROWS * RAGGED_DIM; i++)
            assert_true(isfinite(f->out[n + 32][i]));
    }
    ragged_close(f);
}

/* A store that dropped nothing comes under a rule: it then holds what the rule had kept from the start. */
static void policies_take_over(void **state)
{
    (void)state;
    for (int i = 0; i < N_RULES; i++) {
        terse_error err = { 0 };
        ragged *f = open_or_fail("dense", "mass:from=0", TERSE_KV_F32, 1);
        run(f, 500, false, 0, 0);
        terse_attend *next;
        assert_int_equal(terse_attend_open(&next, rules[i].policy, "mass:from=0", 0, &err), TERSE_OK);
        terse_attend_gate(next, 0.5, 40, 2);
        assert_int_equal(ragged_tell(f, next, &err), TERSE_OK);
        assert_int_equal(terse_policy_open(next, f->kv, &err), TERSE_OK);
        assert_int_equal(terse_policy_settle(next, f->kv, &err), TERSE_OK);
        for (int32_t u = 0; u < RAGGED_LAYERS * RAGGED_HEADS && terse_attend_drops(next); u++)
            terse_policy_revise(next, f->kv, u / RAGGED_HEADS, u % RAGGED_HEADS);
        terse_walk_close(&f->walk);
        terse_attend_close(&f->attend);
        f->attend = next;
        assert_int_equal(terse_walk_open(&f->walk, f->kv, next, RAGGED_ROWS, 0, &err), TERSE_OK);
        assert_int_equal(terse_kv_held(f->kv), held_by_rule(500, rules[i].sees));
        run(f, 100, true, 0, 0);
        assert_int_equal(terse_kv_held(f->kv), held_by_rule(600, rules[i].sees));
        assert_true(ragged_error(f, 599, rules[i].sees, 0, 0) < 0.3);
        f->attend->page.stop = &terse_stop_none;
        f->attend->order = TERSE_ORDER_NEWEST;
        f->attend->from = 0;
        run(f, 50, true, 0, 0);
        assert_true(ragged_error(f, 649, rules[i].sees, 0, 0) < 1e-5);
        ragged_close(f);
    }
}

static void copies_go_on_alike(void **state)
{
    (void)state;
    for (int i = 0; i < N_RULES; i++) {
        terse_error err = { 0 };
        ragged *a = open_or_fail(rules[i].policy, "none", TERSE_KV_Q8, 1);
        ragged *b = open_or_fail(rules[i].policy, "none", TERSE_KV_Q8, 1);
        run(a, 400, false, 1, 0);
        run(b, 123, false, 1, 0);
        assert_int_equal(terse_kv_copy(b->kv, a->kv, &err), TERSE_OK);
        assert_int_equal(terse_kv_count(b->kv), 400);
        assert_int_equal(terse_kv_held(b->kv), terse_kv_held(a->kv));
        run(a, 100, true, 1, 0);
        run(b, 100, true, 1, 0);
        assert_memory_equal(a->out + 400, b->out + 400, 100 * sizeof *a->out);
        ragged_close(a);
        ragged_close(b);
    }
}

/* Slots that are dropped one by one, or by a rule: the others are there still, each with its position. */
static bool odd(void *ctx, int32_t slot, int32_t pos)
{
    (void)ctx, (void)slot;
    return pos % 2 == 1;
}

static void check_slots(const ragged *f, size_t u, int32_t n)
{
    const int32_t *pos = terse_kv_positions(f->kv, u);
    assert_int_equal(f->kv->n_long[u], n);
    for (int32_t s = 0; s < n; s++) {
        float v[RAGGED_DIM];
        const int32_t place = f->kv->n_ring + s / TERSE_PAGE;
        const char *page = terse_kv_block(f->kv, f->kv->table[u * (size_t)f->kv->cap + (size_t)place]);
        terse_page_get_v(f->kv->type_v, page + f->kv->block_k, s % TERSE_PAGE, v, RAGGED_DIM);
        assert_memory_equal(v, f->v[pos[s]], sizeof v);
        assert_true(terse_kv_radius(f->kv, u, page, s % TERSE_PAGE) <=
                    f->kv->radius[u * (size_t)f->kv->cap + (size_t)place]);
    }
}

static void slots_stay_with_their_tokens(void **state)
{
    (void)state;
    ragged *f = open_or_fail("spkv:threshold=-1", "mass:from=0", TERSE_KV_F32, 1);
    run(f, 340, false, 0, 0);
    check_slots(f, 1, 300);
    terse_kv_filter(f->kv, 1, odd, NULL);
    check_slots(f, 1, 149 + 1);
    for (int32_t i = 0; i < 50; i++)
        terse_kv_drop(f->kv, 1, i * 7 % f->kv->n_long[1]);
    check_slots(f, 1, 100);
    check_slots(f, 2, 300);
    terse_kv_settle(f->kv);
    assert_int_equal(f->kv->n_long_page[1], 4);
    run(f, 60, true, 0, 1);
    check_slots(f, 1, 160);
    ragged_close(f);
}

static void slabs_go_back_to_the_system(void **state)
{
    (void)state;
    terse_error err = { 0 };
    terse_kv *kv;
    const terse_kv_opts o = { .n_layer = 16, .n_head = 8, .dim_k = 32, .dim_v = 32, .ctx = 1024 };
    float k[32], v[32];
    assert_int_equal(terse_kv_open(&kv, &o, &err), TERSE_OK);
    assert_int_equal(terse_kv_reserve(kv, 1024, &err), TERSE_OK);
    for (int32_t pos = 0; pos < 1024; pos++)
        for (int32_t u = 0; u < 128; u++) {
            for (int32_t d = 0; d < 32; d++) {
                k[d] = (float)(pos % 64);
                v[d] = (float)u;
            }
            terse_kv_put(kv, u / 8, u % 8, pos, k, v);
        }
    terse_kv_commit(kv, 1024);
    const size_t before = terse_kv_bytes(kv);
    kv->step = 1;
    assert_int_equal(terse_kv_ragged(kv, 64, &err), TERSE_OK);
    for (size_t u = 0; u < 128; u++)
        while (kv->n_long[u] > 40)
            terse_kv_drop(kv, u, kv->n_long[u] - 1);
    terse_kv_settle(kv);
    assert_true(terse_kv_bytes(kv) < before / 2);
    for (size_t u = 0; u < 128; u++)
        for (int32_t s = 0; s < 40; s++) {
            const char *page =
                terse_kv_block(kv, kv->table[u * (size_t)kv->cap + (size_t)(kv->n_ring + s / 32)]);
            terse_page_get_v(kv->type_v, page + kv->block_k, s % 32, v, 32);
            assert_true(v[5] == (float)u);
        }
    terse_kv_close(&kv);
}

/* The floor keeps its share. */
static void random_keeps_its_share(void **state)
{
    (void)state;
    ragged *f = open_or_fail("random:keep=0.3,window=50", "none", TERSE_KV_F16, 1);
    run(f, 850, false, 0, 0);
    const double kept = (double)(terse_kv_held(f->kv) - 4 * 54), most = 4.0 * (850 - 54);
    assert_true(fabs(kept / most - 0.3) < 0.05);
    assert_int_not_equal(f->kv->n_long[0], 0);
    assert_memory_not_equal(terse_kv_positions(f->kv, 0), terse_kv_positions(f->kv, 1), 50 * sizeof(int32_t));
    ragged_close(f);
}

/* Policies that keep every token choose pages for each query. */
static void quest_reads_its_budget(void **state)
{
    (void)state;
    static const char *const policies[] = { "quest:keep=0.5", "oracle:keep=0.5", "quest:budget=416" };
    double error[2];
    for (int i = 0; i < 3; i++) {
        ragged *f = open_or_fail(policies[i], "none", TERSE_KV_F32, 1);
        run(f, 832, true, 0, 0); /* the last token ends a page */
        f->stats = (terse_attend_stats){ 0 };
        terse_walk_decode(f->walk, 0, 0, 832, 0.25f, f->q[831], f->out[831], &f->stats);
        assert_int_equal(f->stats.pages_scored, 13);
        assert_int_equal(f->stats.tokens_kept, 832);
        error[i % 2] = ragged_error(f, 831, all, 0, 0);
        ragged_close(f);
        for (size_t s = 0; s < 2; s++) { /* a rule on top reads no more */
            static const char *const stops[] = { "mass:from=0,delta=0.1", "stability:tau=1e-1,phi=1e-1" };
            f = open_or_fail(policies[i], stops[s], TERSE_KV_F32, 1);
            run(f, 832, true, 0, 0);
            f->stats = (terse_attend_stats){ 0 };
            terse_walk_decode(f->walk, 0, 0, 832, 0.25f, f->q[831], f->out[831], &f->stats);
            assert_true(f->stats.pages_scored <= 13);
            ragged_close(f);
        }
    }
    assert_true(error[1] <= error[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(prompts_see_what_the_rule_says),
        cmocka_unit_test(decoding_has_the_bits_of_prompts),
        cmocka_unit_test(stop_rules_walk_what_is_left),
        cmocka_unit_test(a_streaming_walk_sees_both_ends),
        cmocka_unit_test(what_is_dropped_leaves_memory),
        cmocka_unit_test(a_few_tokens_can_be_taken_back),
        cmocka_unit_test(a_long_way_back_keeps_what_there_is),
        cmocka_unit_test(policies_take_over),
        cmocka_unit_test(copies_go_on_alike),
        cmocka_unit_test(slots_stay_with_their_tokens),
        cmocka_unit_test(slabs_go_back_to_the_system),
        cmocka_unit_test(random_keeps_its_share),
        cmocka_unit_test(quest_reads_its_budget),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
