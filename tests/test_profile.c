/* Profiles: the choice of a scale, files and what is wrong with them, what they do to a session, and
 * calibration, which makes them. */
#include "lab/calibrate.h"
#include "make_model.h"
#include "refuse.h"
#include "terse/terse.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define MODEL TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf"
#define DEMO  TERSE_MODEL_DIR "/demo.txt"
#define RULE  "mass:delta=0.02,from=0+value-share:left=0.02"

enum { N_LAYER = 8, N_HEAD = 2, N_UNIT = N_LAYER * N_HEAD, CTX = 640 };

static char directory[] = "/tmp/terse-profile-XXXXXX";
static terse_model *model;
static terse_tokens tokens; /* of the demo, without bos */

static int set_up(void **state)
{
    (void)state;
    static char demo[30000];
    terse_error err = { 0 };
    FILE *f = fopen(DEMO, "rb");
    const size_t n = f ? fread(demo, 1, sizeof demo, f) : 0;
    if (f)
        fclose(f);
    if (n != sizeof demo || !mkdtemp(directory) || terse_model_open(&model, MODEL, &err) != TERSE_OK)
        return -1;
    return terse_vocab_tokenize(terse_model_vocab(model), demo, n, false, true, &tokens, &err);
}

static int tear_down(void **state)
{
    (void)state;
    char line[128];
    terse_tokens_free(&tokens);
    terse_model_close(&model);
    snprintf(line, sizeof line, "rm -r %s", directory);
    return system(line);
}

static const char *in_directory(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void said(const terse_error *err, const char *part)
{
    if (!strstr(err->text, part))
        fail_msg("'%s' does not say '%s'", err->text, part);
}

/* All scales x, but unit's, if there is one, is y. */
static terse_profile *make(float x, int32_t unit, float y)
{
    float scale[N_UNIT];
    terse_error err = { 0 };
    terse_profile *p;
    for (int32_t u = 0; u < N_UNIT; u++)
        scale[u] = u == unit ? y : x;
    const terse_profile_info info = { .n_layer = N_LAYER, .n_head = N_HEAD, .scale = scale, .rule = RULE };
    if (terse_profile_make(&p, model, &info, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return p;
}

/* ---- the choice ---- */

static void near(double got, double want)
{
    if (!(fabs(got - want) <= 1e-9 * want))
        fail_msg("%.12g is not %.12g", got, want);
}

static void a_scale_lies_on_the_line(void **state)
{
    (void)state;
    static const double scale[] = { 0.25, 0.5, 1, 2, 4 }, linear[] = { 1, 2, 4, 8, 16 },
                        square[] = { 1, 4, 16, 64, 256 }, flat[] = { 3, 3, 3, 3, 3 }, none[5] = { 0 },
                        bent[] = { 1, 5, 2, 8, 16 };
    near(terse_calibrate_scale(scale, linear, 5, 4), 1);
    near(terse_calibrate_scale(scale, linear, 5, 6), 1.5);
    near(terse_calibrate_scale(scale, linear, 5, 20), 5);
    near(terse_calibrate_scale(scale, linear, 5, 999), 8);
    near(terse_calibrate_scale(scale, linear, 5, 0.6), 0.15);
    near(terse_calibrate_scale(scale, linear, 5, 0.001), 0.125);
    near(terse_calibrate_scale(scale, square, 5, 36), 1.5);
    near(terse_calibrate_scale(scale, flat, 5, 3), 8);
    near(terse_calibrate_scale(scale, flat, 5, 2), 0.125);
    near(terse_calibrate_scale(scale, none, 5, 2), 8);
    near(terse_calibrate_scale(scale, bent, 5, 4), sqrt(2)); /* the largest that is good, between 2 and 8 */
}

/* ---- files ---- */

static void a_file_gives_back_what_was_saved(void **state)
{
    (void)state;
    float scale[N_UNIT], error[N_UNIT];
    terse_error err = { 0 };
    terse_profile *p, *q;
    for (int32_t u = 0; u < N_UNIT; u++) {
        scale[u] = 1.0f / (float)(u + 3);
        error[u] = u == 5 ? NAN : 0.1f / (float)(u + 7);
    }
    terse_profile_info info = { .n_layer = N_LAYER,
                                .n_head = N_HEAD,
                                .scale = scale,
                                .error = error,
                                .rule = RULE,
                                .text = "a \"text\"",
                                .tokens = 12345,
                                .target = 0.1 / 3,
                                .streaming = error,
                                .streaming_of = "prompts" };
    assert_int_equal(terse_profile_make(&p, model, &info, &err), TERSE_OK);
    assert_int_equal(terse_profile_save(p, in_directory("p.json"), &err), TERSE_OK);
    assert_int_equal(terse_profile_open(&q, in_directory("p.json"), model, &err), TERSE_OK);
    const terse_profile_info *got = terse_profile_about(q);
    assert_memory_equal(got->scale, scale, sizeof scale);
    for (int32_t u = 0; u < N_UNIT; u++) {
        assert_true(u == 5 ? isnan(got->error[u]) : got->error[u] == error[u]);
        assert_true(u == 5 ? isnan(got->streaming[u]) : got->streaming[u] == error[u]);
    }
    assert_string_equal(got->streaming_of, "prompts");
    assert_string_equal(got->rule, RULE);
    assert_string_equal(got->text, "a \"text\"");
    assert_int_equal(got->tokens, 12345);
    assert_float_equal(got->target, 0.1 / 3, 1e-9);
    assert_int_equal(got->n_layer, N_LAYER);
    assert_int_equal(got->n_head, N_HEAD);
    terse_profile_close(&q);
    terse_profile_close(&p);
    info.scale = info.error = NULL;
    info.text = "\xff"; /* no UTF-8 */
    assert_int_equal(terse_profile_make(&p, model, &info, &err), TERSE_OK);
    assert_int_equal(terse_profile_save(p, in_directory("p.json"), &err), TERSE_OK);
    assert_int_equal(terse_profile_open(&q, in_directory("p.json"), model, &err), TERSE_OK);
    assert_null(terse_profile_about(q)->error);
    assert_null(terse_profile_about(q)->scale);
    assert_non_null(terse_profile_about(q)->streaming);
    terse_profile_close(&q);
    terse_profile_close(&p);
    info.streaming = NULL;
    assert_int_equal(terse_profile_make(&p, model, &info, &err), TERSE_BAD_INPUT);
    said(&err, "neither");
    p = make(1, -1, 0);
    assert_int_equal(terse_profile_save(p, "/", &err), TERSE_BAD_INPUT);
    terse_profile_close(&p);
}

/* The saved file with one part replaced. */
static void replaced(const char *from, const char *to)
{
    char text[4096], other[8192];
    terse_error err = { 0 };
    terse_profile *p = make(1.5f, 3, 0.25f);
    assert_int_equal(terse_profile_save(p, in_directory("good.json"), &err), TERSE_OK);
    terse_profile_close(&p);
    FILE *f = fopen(in_directory("good.json"), "rb");
    assert_non_null(f);
    text[fread(text, 1, sizeof text - 1, f)] = '\0';
    fclose(f);
    char *at = strstr(text, from);
    if (!at)
        fail_msg("no '%s' in %s", from, text);
    snprintf(other, sizeof other, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    f = fopen(in_directory("bad.json"), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(other, 1, strlen(other), f), strlen(other));
    assert_int_equal(fclose(f), 0);
}

static void wrong_files_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *why;
    } bad[] = {
        { "\"hash\":\"", "\"hash\":\"0", "another model" },
        { "\"hash\"", "\"mash\"", "no hash" },
        { "\"version\":1", "\"version\":2", "another version" },
        { "\"version\":1", "\"version\":\"1\"", "no version" },
        { "\"rule\"", "\"role\"", "no rule" },
        { "[1.5,0.25]", "[1.5]", "table of 8 layers with 2 KV heads" },
        { "[1.5,0.25]", "[1.5,0.25],[1,1]", "table of 8 layers" },
        { "[1.5,0.25]", "1.5", "table of 8 layers" },
        { "[1.5,0.25]", "[1.5,\"x\"]", "table of 8 layers" },
        { "[1.5,0.25]", "[1.5,null]", "layer 1, head 1: a scale of nan" },
        { "[1.5,0.25]", "[1.5,-0.25]", "layer 1, head 1: a scale of -0.25" },
        { "[1.5,0.25]", "[1.5,1e300]", "a scale of inf" },
        { "\"scale\"", "\"snail\"", "neither scales nor streaming" },
        { "\"scale\"", "\"scale\":1,\"x\"", "\"scale\" is not a table" },
        { "\"error\":null", "\"error\":null,\"streaming\":[1]", "\"streaming\" is not a table" },
        { "\"error\":null", "\"error\":[]", "\"error\" is not a table" },
        { "[1.5,0.25]", "[1.5,0.25", "line 1" },
        { "{\"version\"", "", "line 1" },
    };
    terse_error err = { 0 };
    terse_profile *p;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        replaced(bad[i].from, bad[i].to);
        assert_int_equal(terse_profile_open(&p, in_directory("bad.json"), model, &err), TERSE_BAD_INPUT);
        assert_null(p);
        said(&err, bad[i].why);
        said(&err, "bad.json");
    }
    replaced("1.5", "1.5"); /* unless nothing is wrong */
    assert_int_equal(terse_profile_open(&p, in_directory("bad.json"), model, &err), TERSE_OK);
    terse_profile_close(&p);
    assert_int_equal(terse_profile_open(&p, in_directory("missing"), model, &err), TERSE_BAD_INPUT);
    said(&err, "missing");
    assert_int_equal(terse_profile_open(&p, directory, model, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_profile_open(&p, in_directory("missing"), model, NULL), TERSE_BAD_INPUT);
}

static void a_model_is_known_by_its_hash(void **state)
{
    (void)state;
    make_model_opts o = { .n_layer = 2, .n_embd = 64, .n_head = 2, .n_ff = 64, .n_vocab = 64 };
    char path[2][64];
    terse_text name[2] = { { 0 } };
    terse_error err = { 0 };
    terse_model *m[2];
    terse_profile *p;
    const float scale[4] = { 1, 1, 1, 1 };
    const terse_profile_info info = { .n_layer = 2, .n_head = 2, .scale = scale, .rule = "mass" };
    for (int i = 0; i < 2; i++) { /* they differ in their weights only */
        o.seed = 1 + (uint64_t)i;
        snprintf(path[i], sizeof path[i], "%s/%d.gguf", directory, i);
        assert_int_equal(make_model(path[i], &o, &err), TERSE_OK);
        assert_int_equal(terse_model_open(&m[i], path[i], &err), TERSE_OK);
        assert_int_equal(terse_profile_path(m[i], &name[i], &err), TERSE_OK);
        assert_memory_equal(name[i].p, directory, strlen(directory));
        assert_non_null(strstr(name[i].p, "/terse-profile-"));
    }
    assert_string_not_equal(name[0].p, name[1].p);
    assert_int_equal(terse_profile_make(&p, m[0], &info, &err), TERSE_OK);
    assert_int_equal(terse_profile_save(p, name[0].p, &err), TERSE_OK);
    terse_profile_close(&p);
    assert_int_equal(terse_profile_open(&p, name[0].p, m[0], &err), TERSE_OK);
    terse_profile_close(&p);
    assert_int_equal(terse_profile_open(&p, name[0].p, m[1], &err), TERSE_BAD_INPUT);
    said(&err, "another model");
    assert_int_equal(terse_profile_make(&p, model, &info, &err), TERSE_BAD_INPUT);
    said(&err, "2 layers with 2 KV heads, the model has 8 with 2");
    for (int i = 0; i < 2; i++) {
        terse_text_free(&name[i]);
        terse_model_close(&m[i]);
    }
}

static void without_memory_it_says_so(void **state)
{
    (void)state;
    terse_error err = { 0 };
    terse_profile *p = make(1, -1, 0), *q;
    float error[N_UNIT] = { 0 };
    terse_profile_info info = *terse_profile_about(p);
    info.error = info.streaming = error;
    assert_int_equal(terse_profile_save(p, in_directory("memory.json"), &err), TERSE_OK);
    terse_status st = TERSE_NOMEM;
    int n = 0;
    for (; st == TERSE_NOMEM; n++) {
        left = n;
        st = terse_profile_make(&q, model, &info, &err);
        left = -1;
        assert_true((st == TERSE_OK) == (q != NULL));
        terse_profile_close(&q);
    }
    assert_int_equal(st, TERSE_OK);
    assert_true(n > 3);
    for (n = 0, st = TERSE_NOMEM; st == TERSE_NOMEM; n++) {
        left = n;
        st = terse_profile_open(&q, in_directory("memory.json"), model, &err);
        left = -1;
        assert_true((st == TERSE_OK) == (q != NULL));
        terse_profile_close(&q);
    }
    assert_int_equal(st, TERSE_OK);
    assert_true(n > 3);
    terse_profile_close(&p);
}

/* ---- what they do ---- */

static void only_rules_that_estimate_take_one(void **state)
{
    (void)state;
    static const char *const good[] = { "mass", "value-share", "mass+value-skip", "budget+value-share" },
                             *const bad[] = {
                                 "none", "value-skip", "certified", "budget", "weight", "stability"
                             };
    const float one = 1.0f, wrong[] = { NAN, -1.0f, INFINITY };
    terse_error err = { 0 };
    terse_attend *a;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(terse_attend_open(&a, NULL, good[i], 0, &err), TERSE_OK);
        assert_int_equal(terse_attend_profile(a, &one, 1, 1, &err), TERSE_OK);
        for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++)
            assert_int_equal(terse_attend_profile(a, &wrong[k], 1, 1, &err), TERSE_BAD_INPUT);
        assert_int_equal(terse_attend_profile(a, &one, 0, 1, &err), TERSE_BAD_INPUT);
        terse_attend_close(&a);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(terse_attend_open(&a, NULL, bad[i], 0, &err), TERSE_OK);
        assert_int_equal(terse_attend_profile(a, &one, 1, 1, &err), TERSE_BAD_INPUT);
        said(&err, bad[i]);
        terse_attend_close(&a);
    }
}

static terse_session *open_session(const char *stop, const terse_profile *p)
{
    const terse_session_opts o = { .ctx = CTX + 8, .stop = stop, .profile = p, .audit = 2 };
    terse_error err = { 0 };
    terse_session *s;
    if (terse_session_open(&s, model, &o, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    assert_int_equal(terse_session_prefill(s, tokens.ids, CTX, NULL, NULL, &err), TERSE_OK);
    return s;
}

static const float *decode(terse_session *s)
{
    terse_error err = { 0 };
    const float *logits = NULL;
    for (int32_t t = 0; t < 4; t++)
        assert_int_equal(terse_session_decode(s, tokens.ids[CTX + t], &logits, &err), TERSE_OK);
    return logits;
}

static void ones_change_no_bit(void **state)
{
    (void)state;
    const size_t size = (size_t)terse_model_about(model)->n_vocab * sizeof(float);
    terse_profile *ones = make(1, -1, 0), *fours = make(4, -1, 0);
    terse_session *plain = open_session(RULE, NULL), *scaled = open_session(RULE, ones);
    terse_error err = { 0 };
    const float *want = decode(plain);
    assert_memory_equal(decode(scaled), want, size);
    for (int32_t u = 0; u < N_UNIT; u++) {
        const terse_attend_stats *a = terse_session_stats_of(plain, u / N_HEAD, u % N_HEAD),
                                 *b = terse_session_stats_of(scaled, u / N_HEAD, u % N_HEAD);
        assert_int_equal(a->bytes_k, b->bytes_k);
        assert_int_equal(a->bytes_v, b->bytes_v);
        assert_true(a->audit_error_sum == b->audit_error_sum);
        assert_int_equal(a->audits, 2);
    }
    const int64_t before = terse_session_stats(plain).bytes_v;
    terse_session_truncate(plain, CTX);
    assert_int_equal(terse_session_rule(plain, NULL, RULE, fours, 0, &err), TERSE_OK);
    decode(plain);
    assert_true(terse_session_stats(plain).bytes_v < before);
    terse_session_truncate(plain, CTX);
    assert_int_equal(terse_session_rule(plain, NULL, "none", fours, 0, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_session_rule(plain, NULL, RULE, ones, 0, &err), TERSE_OK);
    assert_memory_equal(decode(plain), want, size);
    terse_session_close(&plain);
    terse_session_close(&scaled);
    terse_profile_close(&ones);
    terse_profile_close(&fours);
}

static void a_scale_is_of_one_head(void **state)
{
    (void)state;
    enum { UNIT = 2 * N_HEAD + 1 };
    terse_profile *p = make(0, UNIT, 8);
    terse_session *s = open_session("mass:delta=0.05,from=0,norm=sum", p);
    decode(s);
    for (int32_t u = 0; u < N_UNIT; u++) {
        const terse_attend_stats *a = terse_session_stats_of(s, u / N_HEAD, u % N_HEAD);
        if (u == UNIT)
            assert_true(a->pages_scored < a->pages_listed);
        else
            assert_int_equal(a->pages_scored, a->pages_listed);
    }
    terse_session_close(&s);
    terse_profile_close(&p);
}

/* ---- counters of heads ---- */

static void counters_of_heads_add_up(void **state)
{
    (void)state;
    const terse_eval_opts o = { .session = { .ctx = 384, .audit = 3 } };
    const terse_eval_rule rule = { .stop = RULE };
    const terse_eval_windows w = { .scored = 5, .windows = 2 };
    terse_error err = { 0 };
    terse_attend_stats sum = { 0 };
    terse_eval_result k;
    terse_eval *e;
    assert_int_equal(terse_eval_open(&e, model, &o, &rule, 1, &err), TERSE_OK);
    assert_int_equal(terse_eval_text(e, tokens.ids, tokens.n, &w, &err), TERSE_OK);
    assert_int_equal(terse_eval_result_of(e, 0, &k, &err), TERSE_OK);
    for (int32_t u = 0; u < N_UNIT; u++) {
        const terse_attend_stats *s = terse_eval_stats_of(e, 0, u / N_HEAD, u % N_HEAD);
        int64_t error = 0, estimate = 0;
        for (int i = 0; i < TERSE_AUDIT_BINS; i++) {
            error += s->audit_error[i];
            estimate += s->audit_bound[i];
        }
        assert_int_equal(s->audits, 2 * 2); /* the first and fourth step of each window */
        assert_int_equal(error, s->audits);
        assert_int_equal(estimate, s->audits);
        terse_attend_stats_add(&sum, s);
    }
    assert_int_equal(sum.walks, k.read.walks);
    assert_int_equal(sum.bytes_v, k.read.bytes_v);
    assert_int_equal(sum.audits, k.read.audits);
    assert_true(sum.audit_error_max == k.read.audit_error_max);
    assert_null(terse_eval_stats_of(e, 0, N_LAYER, 0));
    assert_null(terse_eval_stats_of(e, 0, 0, N_HEAD));
    terse_eval_close(&e);
}

/* ---- calibration ---- */

static void calibration_finds_scales(void **state)
{
    (void)state;
    terse_calibrate_opts o = { .session = { .ctx = 384, .stop = RULE },
                               .windows = { .scored = 6, .windows = 1 },
                               .text = "demo" };
    terse_error err = { 0 };
    terse_calibration *c;
    if (terse_calibrate(&c, model, tokens.ids, tokens.n, &o, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    const terse_calibration_info *i = terse_calibration_about(c);
    const terse_profile_info *p = terse_profile_about(i->profile);
    double mean = 0.0;
    bool differ = false;
    assert_true(i->unseen);
    assert_true(i->scale[0] == 0.25 && i->scale[TERSE_LADDER - 1] == 4.0);
    for (int32_t u = 0; u < N_UNIT; u++) {
        double error[TERSE_LADDER];
        for (int32_t k = 0; k < TERSE_LADDER; k++)
            error[k] = i->error[k * N_UNIT + u];
        mean += error[2] / N_UNIT;
        assert_true(p->scale[u] == (float)terse_calibrate_scale(i->scale, error, TERSE_LADDER, i->target));
        assert_true(p->scale[u] >= 0.125f && p->scale[u] <= 8.0f);
        assert_true(p->error[u] >= 0.0f && p->error[u] < 10.0f);
        differ |= p->scale[u] != p->scale[0];
    }
    assert_true(differ);
    assert_float_equal(i->target, mean, 1e-12);
    assert_float_equal(i->ladder[2].error, mean, 1e-12);
    assert_true(i->ladder[0].error < i->ladder[4].error);
    assert_true(i->ladder[0].read > i->ladder[4].read);
    assert_true(i->before.read < 1.0 && i->after.read < 1.0);
    assert_int_equal(p->tokens, 6);
    assert_string_equal(p->text, "demo");
    assert_int_equal(strncmp(p->rule, "mass:delta=0.02,floor=", 22), 0);
    terse_calibration_close(&c);
    o.target = mean / 4; /* a smaller error needs smaller scales; a text of one window is used twice */
    assert_int_equal(terse_calibrate(&c, model, tokens.ids, 400, &o, &err), TERSE_OK);
    i = terse_calibration_about(c);
    assert_false(i->unseen);
    assert_true(i->target == mean / 4);
    assert_true(i->after.error < i->before.error);
    assert_true(i->after.read > i->before.read);
    terse_calibration_close(&c);
}

static void calibration_refuses(void **state)
{
    (void)state;
    static const struct {
        const char *stop;
        double target;
        size_t n;
        const char *why;
    } bad[] = {
        { "none", 0, 2000, "not with none" },
        { "value-skip", 0, 2000, "not with value-skip" },
        { NULL, 0, 2000, "leaves nothing out" },
        { RULE, -1, 2000, "target" },
        { RULE, NAN, 2000, "target" },
        { RULE, 0, 100, "a window of 384 needs" },
        { "mass:delta=x", 0, 2000, "delta must be" },
    };
    terse_error err = { 0 };
    terse_calibration *c;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const terse_calibrate_opts o = { .session = { .ctx = 384, .stop = bad[i].stop },
                                         .windows = { .scored = 2, .windows = 1 },
                                         .target = bad[i].target };
        assert_int_equal(terse_calibrate(&c, model, tokens.ids, bad[i].n, &o, &err), TERSE_BAD_INPUT);
        assert_null(c);
        said(&err, bad[i].why);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_scale_lies_on_the_line),  cmocka_unit_test(a_file_gives_back_what_was_saved),
        cmocka_unit_test(wrong_files_are_refused),   cmocka_unit_test(a_model_is_known_by_its_hash),
        cmocka_unit_test(without_memory_it_says_so), cmocka_unit_test(only_rules_that_estimate_take_one),
        cmocka_unit_test(ones_change_no_bit),        cmocka_unit_test(a_scale_is_of_one_head),
        cmocka_unit_test(counters_of_heads_add_up),  cmocka_unit_test(calibration_finds_scales),
        cmocka_unit_test(calibration_refuses),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
