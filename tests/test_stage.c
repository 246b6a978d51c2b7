/* The stages of sampling: golden chains, and cuts against a full sort. */
#include "engine/stage.h"

#include "sample_logits.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

enum { MAX_VOCAB = 4096, MAX_ARGS = 8 };

/* Runs one stage given as "name:a,b,c"; returns the chosen id of greedy, else -1. */
static int32_t run_stage(terse_cands *l, const char *stage, const json_t *previous)
{
    char name[32] = { 0 };
    double a[MAX_ARGS] = { 0 };
    const size_t n_name = strcspn(stage, ":");
    assert_true(n_name < sizeof name);
    memcpy(name, stage, n_name);
    int n = 0;
    for (const char *p = stage + n_name; *p && n < MAX_ARGS; n++) {
        char *end;
        a[n] = strtod(p + 1, &end);
        p = end;
    }
    const int32_t keep = n > 1 ? (int32_t)a[1] : 1;
    if (strcmp(name, "greedy") == 0)
        return terse_stage_greedy(l);
    if (strcmp(name, "top_k") == 0) {
        terse_stage_top_k(l, (int32_t)a[0]);
    } else if (strcmp(name, "top_p") == 0) {
        terse_stage_top_p(l, (float)a[0], keep);
    } else if (strcmp(name, "min_p") == 0) {
        terse_stage_min_p(l, (float)a[0], keep);
    } else if (strcmp(name, "typical") == 0) {
        terse_stage_typical(l, (float)a[0], keep);
    } else if (strcmp(name, "temp") == 0) {
        terse_stage_temp(l, (float)a[0]);
    } else if (strcmp(name, "temp_ext") == 0) {
        terse_stage_temp_ext(l, (float)a[0], (float)a[1], (float)a[2]);
    } else if (strcmp(name, "top_n_sigma") == 0) {
        terse_stage_top_n_sigma(l, (float)a[0], 1);
    } else if (strcmp(name, "penalties") == 0) {
        int32_t count[MAX_VOCAB] = { 0 };
        const size_t n_previous = json_array_size(previous), last = (size_t)a[0];
        for (size_t i = n_previous > last ? n_previous - last : 0; i < n_previous; i++)
            count[json_integer_value(json_array_get(previous, i))]++;
        terse_stage_penalties(l, count, (float)a[1], (float)a[2], (float)a[3]);
    } else if (strcmp(name, "logit_bias") == 0) {
        for (int i = 0; i + 1 < n; i += 2)
            terse_stage_logit_bias(l, (const int32_t[]){ (int32_t)a[i] }, (const float[]){ (float)a[i + 1] },
                                   1);
    } else {
        fail_msg("stage %s", stage);
    }
    return -1;
}

/* Candidates and probabilities as sets: every expected id is there, and no other. */
static void compare(const char *name, const terse_cands *l, const json_t *want)
{
    const json_t *ids = json_object_get(want, "ids"), *p = json_object_get(want, "p"),
                 *logits = json_object_get(want, "logits");
    if ((size_t)l->n != json_array_size(ids))
        fail_msg("%s: %d candidates, not %zu", name, (int)l->n, json_array_size(ids));
    for (size_t i = 0; i < json_array_size(ids); i++) {
        const int32_t id = (int32_t)json_integer_value(json_array_get(ids, i));
        int32_t at = 0;
        while (at < l->n && l->c[at].id != id)
            at++;
        if (at == l->n)
            fail_msg("%s: id %d is missing", name, (int)id);
        const terse_cand *c = &l->c[at];
        const json_t *logit = json_array_get(logits, i);
        if (fabs(c->p - json_number_value(json_array_get(p, i))) > 1e-5)
            fail_msg("%s: id %d has p %g", name, (int)id, (double)c->p);
        if (json_is_null(logit) ? c->logit != -INFINITY
                                : fabs(c->logit - json_number_value(logit)) > 1e-5 * (1 + fabs(c->logit)))
            fail_msg("%s: id %d has logit %g", name, (int)id, (double)c->logit);
    }
}

static void golden_chains(void **state)
{
    (void)state;
    json_error_t error;
    json_t *root = json_load_file(TERSE_TEST_DIR "/golden/sampling.json", 0, &error);
    if (!root)
        fail_msg("%s:%d: %s", error.source, error.line, error.text);
    const json_t *logits = json_object_get(root, "logits"), *cases = json_object_get(root, "cases");
    assert_int_equal(json_array_size(cases), 43);
    static terse_cand c[MAX_VOCAB];
    assert_true(json_array_size(logits) <= MAX_VOCAB);
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *t = json_array_get(cases, i), *chain = json_object_get(t, "chain");
        const char *name = json_string_value(json_object_get(t, "name"));
        terse_cands l = { c, (int32_t)json_array_size(logits) };
        for (int32_t id = 0; id < l.n; id++)
            c[id] = (terse_cand){ id, (float)json_number_value(json_array_get(logits, (size_t)id)), 0.0f };
        int32_t chosen = -1;
        for (size_t k = 0; k < json_array_size(chain); k++)
            chosen = run_stage(&l, json_string_value(json_array_get(chain, k)), json_object_get(t, "previous"));
        const json_t *selected = json_object_get(t, "selected");
        if (!json_is_null(selected))
            assert_int_equal(chosen, json_integer_value(selected));
        terse_stage_softmax(&l);
        compare(name, &l, t);
    }
    json_decref(root);
}

/* Two of four candidates are possible and equal: half of the largest entropy, so with exponent 2 a quarter of
 * the way from 0.5 to 1.5. */
static void dynamic_temperature_uses_its_exponent(void **state)
{
    (void)state;
    terse_cand c[4] = { { 0, 3.0f, 0 }, { 1, -INFINITY, 0 }, { 2, 3.0f, 0 }, { 3, -INFINITY, 0 } };
    terse_cands l = { c, 4 };
    terse_stage_temp_ext(&l, 1.0f, 0.5f, 2.0f);
    assert_int_equal(l.n, 4);
    for (int i = 0; i < 4; i++)
        assert_true(i % 2 ? c[i].logit == -INFINITY : fabsf(c[i].logit - 4.0f) < 1e-5f);
}

static int by_logit(const void *a, const void *b)
{
    const terse_cand *x = a, *y = b;
    if (x->logit != y->logit)
        return x->logit < y->logit ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

/* The selection against a full sort: random, ordered, tied, signed zeros and mostly -inf. */
static void top_k_is_the_front_of_a_sort(void **state)
{
    (void)state;
    enum { N = 5000 };
    static const int32_t ks[] = { 1, 2, 40, 500, 3000, N - 1 };
    terse_cand *c = malloc(N * sizeof *c), *sorted = malloc(N * sizeof *sorted);
    assert_true(c && sorted);
    for (int kind = 0; kind < N_KIND; kind++)
        for (size_t j = 0; j < sizeof ks / sizeof *ks; j++) {
            for (int i = 0; i < N; i++) /* 7 and N have no common factor: every id once, not in order */
                sorted[i] = c[i] = (terse_cand){ i * 7 % N, value_of_kind(kind, i, N), 0.0f };
            qsort(sorted, N, sizeof *sorted, by_logit);
            terse_cands l = { c, N };
            terse_stage_top_k(&l, ks[j]);
            assert_int_equal(l.n, ks[j]);
            for (int i = 0; i < l.n; i++)
                assert_int_equal(c[i].id, sorted[i].id);
        }
    free(c);
    free(sorted);
}

/* top-p over a flat vocabulary needs more than the first sorted front. */
static void top_p_grows_its_front(void **state)
{
    (void)state;
    enum { N = 4000 };
    static terse_cand c[N];
    for (int i = 0; i < N; i++)
        c[i] = (terse_cand){ i, 0.0f, 0.0f };
    terse_cands l = { c, N };
    terse_stage_top_p(&l, 0.75f, 1);
    assert_int_equal(l.n, 3000);
    for (int i = 0; i < l.n; i++)
        assert_int_equal(c[i].id, i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_chains),
        cmocka_unit_test(dynamic_temperature_uses_its_exponent),
        cmocka_unit_test(top_k_is_the_front_of_a_sort),
        cmocka_unit_test(top_p_grows_its_front),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
