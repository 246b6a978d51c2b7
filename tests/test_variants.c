/* What architectures do to attention beside its scale: spans, soft caps and sinks, against a float64 softmax,
 * for every storage type, by decode and by prefill; and stores that give up what no layer sees any more. */
#include "attend/walk.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { DIM = 32, ROWS = 4, CTX = 600, LAYERS = 2 };

static const float sinks[LAYERS * ROWS] = { 0.5f, -3.0f, 6.0f, 1.5f, 2.0f, 0.0f, -1.0f, 4.0f };

typedef struct {
    int32_t span; /* of layer 1 */
    float softcap;
    bool sinks;
    const char *stop;
    int32_t audit, back;
} variant;

typedef struct {
    variant v;
    terse_kv *kv;
    terse_attend *attend;
    terse_walk *walk;
    terse_attend_stats stats;
    float k[CTX][DIM], value[CTX][DIM]; /* of both layers */
    _Alignas(64) float q[CTX][ROWS * DIM];
} fixture;

static uint64_t rng = 7;

static float uniform(void)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (float)(int32_t)(rng >> 32) * 0x1p-31f;
}

static fixture *make(variant v, terse_kv_type type)
{
    terse_error err = { 0 };
    fixture *f = aligned_alloc(64, (sizeof *f + 63) / 64 * 64);
    assert_non_null(f);
    memset(f, 0, sizeof *f);
    f->v = v;
    const int32_t span[LAYERS] = { 0, v.span };
    const terse_kv_opts o = { .n_layer = LAYERS,
                              .n_head = 1,
                              .dim_k = DIM,
                              .dim_v = DIM,
                              .type_k = type,
                              .type_v = type,
                              .ctx = CTX,
                              .span = span,
                              .back = v.back };
    const terse_attend_layer layer[LAYERS] = {
        { .softcap = v.softcap, .sinks = v.sinks ? sinks : NULL },
        { .softcap = v.softcap, .sinks = v.sinks ? sinks + ROWS : NULL },
    };
    if (terse_kv_open(&f->kv, &o, &err) != TERSE_OK ||
        terse_attend_open(&f->attend, NULL, v.stop, v.audit, &err) != TERSE_OK ||
        terse_attend_layers(f->attend, layer, LAYERS, &err) != TERSE_OK ||
        terse_kv_summary_open(f->kv, terse_attend_needs(f->attend), &err) != TERSE_OK ||
        terse_walk_open(&f->walk, f->kv, f->attend, ROWS, 0, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    for (int32_t t = 0; t < CTX; t++) {
        for (int32_t d = 0; d < DIM; d++) {
            f->k[t][d] = 2.0f * uniform();
            f->value[t][d] = uniform();
        }
        for (int32_t i = 0; i < ROWS * DIM; i++)
            f->q[t][i] = 3.0f * uniform();
    }
    return f;
}

static void drop(fixture *f)
{
    terse_walk_close(&f->walk);
    terse_attend_close(&f->attend);
    terse_kv_close(&f->kv);
    free(f);
}

/* Puts the next n tokens and lets prefill attend for layer l; results of each to out[pos]. */
static void put(fixture *f, int32_t n, int32_t l, float (*out)[ROWS * DIM])
{
    terse_error err = { 0 };
    const int32_t from = terse_kv_count(f->kv);
    if (terse_kv_reserve(f->kv, n, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    for (int32_t layer = 0; layer < LAYERS; layer++)
        for (int32_t t = from; t < from + n; t++)
            terse_kv_put(f->kv, layer, 0, t, f->k[t], f->value[t]);
    for (int32_t t = from, m; out && t < from + n; t += m) {
        m = TERSE_PAGE - t % TERSE_PAGE < from + n - t ? TERSE_PAGE - t % TERSE_PAGE : from + n - t;
        terse_walk_prefill(f->walk, l, 0, t, m, 0.25f, f->q[t], ROWS * DIM, out[t], ROWS * DIM);
    }
    terse_kv_commit(f->kv, n);
}

/* Softmax attention of token pos in float64, over what was put, as the storage type holds it. */
static void reference(const fixture *f, int32_t l, int32_t pos, double out[ROWS * DIM])
{
    const int32_t *table = terse_kv_table(f->kv, l, 0);
    const int32_t span = l ? f->v.span : 0, first = span && span <= pos ? pos + 1 - span : 0;
    for (int32_t r = 0; r < ROWS; r++) {
        double sum = f->v.sinks ? exp((double)sinks[l * ROWS + r]) : 0.0, *o = out + r * DIM;
        memset(o, 0, DIM * sizeof *o);
        for (int32_t t = first; t <= pos; t++) {
            const char *page = terse_kv_block(f->kv, table[t / TERSE_PAGE]);
            float x[DIM];
            double s = 0.0;
            terse_page_get_k(f->kv->type_k, page, t % TERSE_PAGE, x, DIM);
            for (int32_t d = 0; d < DIM; d++)
                s += 0.25 * (double)f->q[pos][r * DIM + d] * (double)x[d];
            if (f->v.softcap > 0.0f)
                s = (double)f->v.softcap * tanh(s / (double)f->v.softcap);
            terse_page_get_v(f->kv->type_v, page + f->kv->block_k, t % TERSE_PAGE, x, DIM);
            sum += exp(s);
            for (int32_t d = 0; d < DIM; d++)
                o[d] += exp(s) * (double)x[d];
        }
        for (int32_t d = 0; d < DIM; d++)
            o[d] /= sum;
    }
}

/* q8 and q4 keys meet a query of int8. */
static double tolerance(terse_kv_type type)
{
    return type == TERSE_KV_Q8 ? 0.03 : type == TERSE_KV_Q4 ? 0.1 : 1e-5;
}

static void check_variant(variant v, terse_kv_type type)
{
    static _Alignas(64) float prefilled[CTX][ROWS * DIM], out[ROWS * DIM];
    for (int32_t l = 0; l < LAYERS; l++) {
        fixture *f = make(v, type);
        for (int32_t n = 1; terse_kv_count(f->kv) < 400; n = n * 3 % 97)
            put(f, n, l, prefilled);
        const int32_t last = terse_kv_count(f->kv) - 1;
        for (int32_t pos = last; pos > 0 && pos > last - 90; pos -= 7) { /* within what can be taken back */
            double want[ROWS * DIM];
            reference(f, l, pos, want);
            assert_true(terse_kv_truncate(f->kv, pos + 1));
            terse_walk_decode(f->walk, l, 0, pos + 1, 0.25f, f->q[pos], out, &f->stats);
            assert_memory_equal(out, prefilled[pos], sizeof out);
            for (int32_t i = 0; i < ROWS * DIM; i++)
                if (!(fabs((double)out[i] - want[i]) <= tolerance(type)))
                    fail_msg("layer %d, %s, token %d: %g, expected %g", l, terse_kv_type_name(type), pos,
                             (double)out[i], want[i]);
        }
        drop(f);
    }
}

static void variants_are_exact(void **state)
{
    (void)state;
    static const variant all[] = {
        { .span = 100 },
        { .span = 64 },
        { .span = 1 },
        { .span = 31, .softcap = 2.0f },
        { .softcap = 5.0f },
        { .sinks = true },
        { .span = 40, .sinks = true, .softcap = 3.0f },
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        for (int type = TERSE_KV_F32; type <= TERSE_KV_Q4; type++)
            check_variant(all[i], (terse_kv_type)type);
}

/* Rules know of caps and sinks: bounds hold, estimates are of the right size, something is left out. */
static void rules_know_caps_and_sinks(void **state)
{
    (void)state;
    static const struct {
        const char *stop;
        double error; /* mean of the audits, at most */
    } rows[] = { { "mass:delta=0.05,floor=0,from=0", 0.3 },
                 { "certified:eps=0.9", 0.9 },
                 { "value-skip:eps=0.5", 0.5 },
                 { "mass:delta=0.02,floor=0,from=0+value-share:left=0.1", 0.3 } };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int which = 0; which < 2; which++) {
            const variant v = {
                .softcap = which ? 0.0f : 6.0f, .sinks = which, .stop = rows[i].stop, .audit = 1
            };
            fixture *f = make(v, TERSE_KV_F32);
            static _Alignas(64) float out[ROWS * DIM];
            /* Keys grow towards one end: some pages weigh much more than others. */
            for (int32_t t = 0; t < CTX; t++)
                for (int32_t d = 0; d < DIM; d++)
                    f->k[t][d] = (0.05f * f->k[t][d] + (t / TERSE_PAGE == 5 ? 1.5f : -1.0f));
            for (int32_t k = 0; k < ROWS * DIM; k++)
                f->q[CTX - 1][k] = fabsf(f->q[CTX - 1][k]) * 0.4f;
            put(f, CTX, 0, NULL);
            assert_int_equal(terse_kv_summarize(f->kv, terse_attend_needs(f->attend), NULL), TERSE_OK);
            terse_walk_decode(f->walk, 0, 0, CTX, 0.25f, f->q[CTX - 1], out, &f->stats);
            if (!f->stats.stops || f->stats.audit_violations || !(f->stats.audit_error_sum <= rows[i].error))
                fail_msg("%s, %s: %d stops, %d violations, error %g", rows[i].stop, which ? "sinks" : "cap",
                         (int)f->stats.stops, (int)f->stats.audit_violations, f->stats.audit_error_sum);
            drop(f);
        }
}

/* A layer with a span is read whole, whatever the rule, and that is what dense attention reads. */
static void spans_are_read_whole(void **state)
{
    (void)state;
    const int32_t span = 70, pages = (CTX - 1) / TERSE_PAGE - (CTX - span) / TERSE_PAGE + 1;
    fixture *f = make((variant){ .span = span, .stop = "budget:share=0.1" }, TERSE_KV_F16);
    static _Alignas(64) float out[ROWS * DIM];
    put(f, CTX, 0, NULL);
    assert_int_equal(terse_kv_summarize(f->kv, terse_attend_needs(f->attend), NULL), TERSE_OK);
    terse_walk_decode(f->walk, 1, 0, CTX, 0.25f, f->q[0], out, &f->stats);
    assert_int_equal(f->stats.stops, 0);
    assert_int_equal(f->stats.pages_listed, pages);
    assert_int_equal(f->stats.pages_read, pages);
    assert_int_equal(f->stats.bytes_dense, f->stats.bytes_k + f->stats.bytes_v);
    assert_int_equal(f->stats.bytes_v, span * DIM * 2);
    terse_walk_decode(f->walk, 0, 0, CTX, 0.25f, f->q[0], out, &f->stats);
    assert_int_equal(f->stats.stops, 1); /* the other layer is under the rule */
    drop(f);
}

static void stores_give_up_what_nobody_sees(void **state)
{
    (void)state;
    fixture *f = make((variant){ .span = 50, .back = 20 }, TERSE_KV_F32);
    for (int32_t n = 0; n < 500; n += 10)
        put(f, 10, 1, NULL);
    const int32_t gone = (500 - 20 + 1 - 50) / TERSE_PAGE;
    assert_int_equal(f->kv->n_gone[0], 0);
    assert_int_equal(f->kv->n_gone[1], gone);
    const int32_t used = f->kv->pool->n_slab * TERSE_SLAB_PAGES - f->kv->pool->n_free;
    assert_int_equal(used, 2 * f->kv->n_page - gone);
    /* Back as far as was promised, not as far as the pages end. */
    assert_true(terse_kv_truncate(f->kv, 480));
    assert_false(terse_kv_truncate(f->kv, 100));
    assert_int_equal(terse_kv_count(f->kv), 480);
    put(f, 10, 1, NULL);
    assert_int_equal(terse_kv_count(f->kv), 490);
    /* All of it always; then every page is free. */
    assert_true(terse_kv_truncate(f->kv, 0));
    assert_int_equal(f->kv->pool->n_free, f->kv->pool->n_slab * TERSE_SLAB_PAGES);
    put(f, 300, 1, NULL);
    assert_int_equal(f->kv->n_page, 10);
    drop(f);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    terse_kv *kv;
    terse_attend *a;
    terse_error err;
    const int32_t span[1] = { -1 };
    const terse_kv_opts o = { .n_layer = 1, .n_head = 1, .dim_k = 32, .dim_v = 32, .ctx = 64, .span = span };
    assert_int_equal(terse_kv_open(&kv, &o, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_attend_open(&a, NULL, NULL, 0, &err), TERSE_OK);
    assert_int_equal(terse_attend_layers(a, &(terse_attend_layer){ .softcap = -1.0f }, 1, &err),
                     TERSE_BAD_INPUT);
    assert_int_equal(terse_attend_layers(a, &(terse_attend_layer){ .softcap = NAN }, 1, &err), TERSE_BAD_INPUT);
    terse_attend_close(&a);
    /* layers of another number than the store's */
    fixture *f = make((variant){ .span = 40 }, TERSE_KV_F32);
    terse_walk *w;
    assert_int_equal(terse_attend_layers(f->attend, &(terse_attend_layer){ .softcap = 0.0f }, 1, &err),
                     TERSE_OK);
    assert_int_equal(terse_walk_open(&w, f->kv, f->attend, ROWS, 0, &err), TERSE_BAD_INPUT);
    /* policies that drop tokens keep their own windows */
    assert_int_equal(terse_kv_ragged(f->kv, 64, &err), TERSE_UNSUPPORTED);
    drop(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variants_are_exact),   cmocka_unit_test(rules_know_caps_and_sinks),
        cmocka_unit_test(spans_are_read_whole), cmocka_unit_test(stores_give_up_what_nobody_sees),
        cmocka_unit_test(nonsense_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
