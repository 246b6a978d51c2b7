/* Replay: the same bits and bytes as the session that was recorded, under the rule that it was recorded under;
 * the same figures for any number of threads; the command line. */
#include "engine/tap.h"
#include "lab/replay.h"
#include "make_model.h"
#include "terse/terse.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

/* The steps fill a page, so that pages with summaries come along. */
enum {
    PREFILL = 475,
    STEPS = 8,
    EVERY = 3,
    LAYERS = 2,
    HEADS = 2,
    ROWS = 3,
    DIM = 32,
    TEXT = PREFILL + STEPS * EVERY
};
enum { UNITS = LAYERS * HEADS, RULES = 4, AUDIT = 2 };

/* Each leaves something out. */
static const terse_eval_rule rules[RULES] = {
    { .stop = "mass:delta=0.08,floor=0,from=0+value-share:left=0.05" },
    { .stop = "value-skip:eps=0.6" },
    { .stop = "budget:share=0.6" },
    { .policy = "dense:order=mass", .stop = "weight:tau=0.05,patience=2" },
};
static char directory[] = "/tmp/terse-replay-XXXXXX";
static char path[64];
static terse_model *model;
static int32_t tokens[TEXT];

static int set_up(void **state)
{
    (void)state;
    terse_error err = { 0 };
    const make_model_opts o = { .name = "small",
                                .n_layer = LAYERS,
                                .n_embd = 96,
                                .n_head = HEADS * ROWS,
                                .n_head_kv = HEADS,
                                .head_dim = DIM,
                                .n_ff = 96,
                                .n_vocab = 50,
                                .q_gain = 4.0f,
                                .seed = 5 };
    if (!mkdtemp(directory))
        return -1;
    snprintf(path, sizeof path, "%s/model.gguf", directory);
    for (int32_t t = 0; t < TEXT; t++)
        tokens[t] = (t * t + t / 7) % 50;
    if (make_model(path, &o, &err) != TERSE_OK || terse_model_open(&model, path, &err) != TERSE_OK) {
        print_error("%s\n", err.text);
        return -1;
    }
    snprintf(path, sizeof path, "%s/recording", directory);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char line[128];
    terse_model_close(&model);
    snprintf(line, sizeof line, "rm -r %s", directory);
    return system(line);
}

static int32_t n_strand = 1;

static terse_record *make(const terse_eval_rule *rule, terse_kv_type type, int32_t every)
{
    terse_error err = { 0 };
    terse_record *r = NULL;
    const terse_record_opts o = { .n_prefill = PREFILL,
                                  .n_step = STEPS,
                                  .every = every,
                                  .policy = rule->policy,
                                  .stop = rule->stop,
                                  .threads = 2,
                                  .strands = n_strand,
                                  .type_k = type,
                                  .type_v = type };
    if (terse_record_make(path, model, tokens, &o, &err) != TERSE_OK ||
        terse_record_open(&r, path, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    assert_int_equal(terse_record_about(r)->every, every);
    return r;
}

/* ---- the live run ---- */

typedef float outputs[STEPS * EVERY][LAYERS][HEADS][ROWS * DIM];

typedef struct {
    outputs out;
    terse_attend_stats stats[UNITS]; /* after STEPS decoded tokens */
} live;

static void keep_live(void *ctx, int32_t layer, int32_t head, int32_t pos, const float *q, const float *out)
{
    live *l = ctx;
    (void)q;
    memcpy(l->out[pos - PREFILL][layer][head], out, sizeof l->out[0][0][0]);
}

static void run_live(const terse_eval_rule *rule, terse_kv_type type, live *l)
{
    terse_session *s;
    const terse_session_opts o = { .threads = 1,
                                   .strands = n_strand,
                                   .type_k = type,
                                   .type_v = type,
                                   .policy = rule->policy,
                                   .stop = rule->stop,
                                   .audit = AUDIT };
    assert_int_equal(terse_session_open(&s, model, &o, NULL), TERSE_OK);
    assert_int_equal(terse_session_prefill(s, tokens, PREFILL, NULL, NULL, NULL), TERSE_OK);
    terse_session_tap(s, (terse_tap){ keep_live, l });
    for (int32_t t = 0; t < STEPS * EVERY; t++) {
        assert_int_equal(terse_session_decode(s, tokens[PREFILL + t], NULL, NULL), TERSE_OK);
        for (int32_t u = 0; t == STEPS - 1 && u < UNITS; u++)
            l->stats[u] = *terse_session_stats_of(s, u / HEADS, u % HEADS);
    }
    terse_session_close(&s);
}

/* ---- replay ---- */

static void keep_replayed(void *ctx, int32_t rule, int32_t step, int32_t layer, int32_t head, const float *out)
{
    outputs *o = ctx;
    assert_int_equal(rule, 0);
    memcpy((*o)[step][layer][head], out, sizeof(*o)[0][0][0]);
}

static void walk(const terse_record *r, const terse_eval_rule *rule, int32_t n_thread, outputs *out,
                 terse_replay_sums *sums)
{
    const terse_replay_source source = terse_replay_recorded(r);
    const terse_record_info *i = terse_record_about(r);
    const terse_kv_opts ko = { .n_layer = LAYERS,
                               .n_head = HEADS,
                               .dim_k = DIM,
                               .dim_v = DIM,
                               .type_k = i->type_k,
                               .type_v = i->type_v,
                               .ctx = i->n_token };
    terse_attend *attend;
    terse_kv *kv;
    memset(sums, 0, UNITS * sizeof *sums);
    assert_int_equal(terse_attend_open(&attend, rule->policy, rule->stop, AUDIT, NULL), TERSE_OK);
    assert_int_equal(terse_kv_open(&kv, &ko, NULL), TERSE_OK);
    const terse_replay_job job = { .source = &source,
                                   .kv = kv,
                                   .n_thread = n_thread,
                                   .n_strand = n_strand,
                                   .cpu = terse_cpu_tiers(),
                                   .attended = keep_replayed,
                                   .attended_ctx = out };
    assert_int_equal(terse_replay_walk(&job, &attend, 1, sums, NULL), TERSE_OK);
    terse_attend_close(&attend);
    terse_kv_close(&kv);
}

static void same_stats(const terse_attend_stats *a, const terse_attend_stats *b)
{
    assert_int_equal(a->walks, b->walks);
    assert_int_equal(a->bytes_k, b->bytes_k);
    assert_int_equal(a->bytes_v, b->bytes_v);
    assert_int_equal(a->bytes_summary, b->bytes_summary);
    assert_int_equal(a->bytes_dense, b->bytes_dense);
    assert_int_equal(a->pages_listed, b->pages_listed);
    assert_int_equal(a->pages_scored, b->pages_scored);
    assert_int_equal(a->pages_read, b->pages_read);
    assert_int_equal(a->stops, b->stops);
    assert_int_equal(a->audits, b->audits);
    assert_true(a->pages_alone == b->pages_alone && a->left_sum == b->left_sum && a->left_max == b->left_max);
    assert_true(a->bound_max == b->bound_max && a->audit_error_sum == b->audit_error_sum);
}

static void replay_is_the_live_run(void **state)
{
    (void)state;
    static const terse_kv_type types[] = { TERSE_KV_F16, TERSE_KV_F32 };
    static live want;
    static outputs got;
    terse_replay_sums sums[UNITS];
    for (int32_t i = 0; i < RULES; i++)
        for (int32_t t = 0; t < 2; t++) {
            n_strand = 1 + t;
            terse_record *r = make(&rules[i], types[t], 1);
            assert_string_not_equal(terse_record_about(r)->stop, "none");
            run_live(&rules[i], types[t], &want);
            walk(r, &rules[i], 3, &got, sums);
            assert_memory_equal(got, want.out, STEPS * sizeof *got);
            int64_t read = 0, dense = 0;
            for (int32_t u = 0; u < UNITS; u++) {
                same_stats(&sums[u].read, &want.stats[u]);
                read += sums[u].read.bytes_k + sums[u].read.bytes_v;
                dense += sums[u].read.bytes_dense;
            }
            assert_true(read < dense); /* the rule did something */
            terse_record_close(&r);
        }
    n_strand = 1;
}

static void chosen_steps_are_those_of_the_live_run(void **state)
{
    (void)state;
    static live want;
    static outputs got;
    terse_replay_sums sums[UNITS];
    for (int32_t i = 0; i < 2; i++) {
        terse_record *r = make(&rules[i], TERSE_KV_F16, EVERY);
        run_live(&rules[i], TERSE_KV_F16, &want);
        walk(r, &rules[i], 2, &got, sums);
        for (int32_t s = 0; s < STEPS; s++) {
            assert_int_equal(terse_record_depth(r, s), PREFILL + (s + 1) * EVERY);
            assert_memory_equal(got[s], want.out[(s + 1) * EVERY - 1], sizeof *got);
        }
        terse_record_close(&r);
    }
}

static terse_replay *replay(const terse_record *r, const terse_replay_opts *o, const terse_eval_rule *rule,
                            int32_t n)
{
    terse_error err = { 0 };
    terse_replay *p;
    if (terse_replay_open(&p, r, o, rule, n, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return p;
}

/* Errors by hand from the outputs; several rules at once are as each alone; threads change nothing. */
static void errors_are_those_of_the_outputs(void **state)
{
    (void)state;
    static const terse_eval_rule exact = { .stop = "none" };
    static outputs dense, got;
    terse_replay_sums sums[UNITS];
    terse_record *r = make(&exact, TERSE_KV_F16, 1);
    terse_replay *p[2];
    for (int32_t i = 0; i < 2; i++)
        p[i] = replay(r, &(terse_replay_opts){ .threads = 1 + 2 * i, .audit = AUDIT }, rules, RULES);
    assert_int_equal(terse_replay_rules(p[0]), RULES);
    walk(r, &exact, 1, &dense, sums);
    for (int32_t i = 0; i < RULES; i++) {
        double sum = 0.0, max = 0.0;
        walk(r, &rules[i], 2, &got, sums);
        for (int32_t at = 0; at < STEPS * UNITS * ROWS; at++) {
            const float *a = &got[0][0][0][0] + at * DIM, *b = &dense[0][0][0][0] + at * DIM;
            double off = 0.0, all = 0.0;
            for (int32_t d = 0; d < DIM; d++) {
                off += pow((double)a[d] - (double)b[d], 2);
                all += pow((double)b[d], 2);
            }
            sum += sqrt(off / all);
            max = fmax(max, sqrt(off / all));
        }
        for (int32_t j = 0; j < 2; j++) {
            const terse_replay_result k = terse_replay_result_of(p[j], i, -1, 0);
            assert_true(fabs(k.error_mean - sum / (STEPS * UNITS * ROWS)) < 1e-9 &&
                        fabs(k.error_max - max) < 1e-9);
            assert_true(k.error_mean > 0.0);
        }
        terse_replay_result all = terse_replay_result_of(p[0], i, -1, 0);
        const terse_replay_result other = terse_replay_result_of(p[1], i, -1, 0);
        assert_true(all.error_mean == other.error_mean);
        same_stats(&all.read, &other.read);
        for (int32_t u = 0; u < UNITS; u++) {
            const terse_replay_result one = terse_replay_result_of(p[1], i, u / HEADS, u % HEADS);
            same_stats(&one.read, &sums[u].read);
            all.read.bytes_k -= one.read.bytes_k;
        }
        assert_int_equal(all.read.bytes_k, 0);
    }
    terse_replay_close(&p[0]);
    terse_replay_close(&p[1]);
    terse_record_close(&r);
}

static void types_have_their_price(void **state)
{
    (void)state;
    static const terse_kv_type types[] = { TERSE_KV_F16, TERSE_KV_Q8, TERSE_KV_Q4 };
    static const terse_eval_rule exact = { .policy = "dense" };
    terse_record *r = make(&exact, TERSE_KV_F16, 1);
    double before = -1.0, mean, max;
    for (size_t i = 0; i < 3; i++) {
        terse_replay *p = replay(r, &(terse_replay_opts){ .type_k = types[i], .type_v = types[i] }, &exact, 1);
        terse_replay_type_error(p, &mean, &max);
        assert_true(mean > before && max >= mean);
        assert_true(i > 0 || max < 1e-5);
        before = mean;
        assert_true(terse_replay_result_of(p, 0, -1, 0).error_max == 0.0);
        terse_replay_close(&p);
    }
    terse_record_close(&r);
}

static void wrong_settings_are_refused(void **state)
{
    (void)state;
    static const terse_eval_rule exact = { 0 }, wrong = { .stop = "sometimes" };
    static const terse_replay_opts bad[] = {
        { .threads = -1 }, { .threads = 5000 }, { .strands = 65 }, { .audit = -1 }
    };
    atomic_bool stop = true;
    terse_error err = { 0 };
    terse_record *r = make(&exact, TERSE_KV_F16, 1);
    terse_replay *p;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(terse_replay_open(&p, r, &bad[i], &exact, 1, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_replay_open(&p, r, NULL, &wrong, 1, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_replay_open(&p, r, &(terse_replay_opts){ .kv_limit = 1 }, &exact, 1, &err),
                     TERSE_NOMEM);
    assert_int_equal(terse_replay_open(&p, r, &(terse_replay_opts){ .abort = &stop }, &exact, 1, &err),
                     TERSE_INTERRUPTED);
    assert_null(p);
    terse_record_close(&r);
}

/* ---- the command ---- */

static char out[1 << 16], said[4096];

static int command(const char *args)
{
    char line[512], name[64];
    snprintf(line, sizeof line, "cd %s && '%s' replay %s >out 2>said", directory, TERSE_PROGRAM, args);
    const int status = system(line);
    char *const to[] = { out, said };
    const size_t size[] = { sizeof out, sizeof said };
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s/%s", directory, i ? "said" : "out");
        FILE *f = fopen(name, "rb");
        assert_non_null(f);
        to[i][fread(to[i], 1, size[i] - 1, f)] = '\0';
        fclose(f);
    }
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static double number(const json_t *root, const char *outer, const char *inner)
{
    const json_t *x = json_object_get(root, outer);
    x = inner ? json_object_get(x, inner) : x;
    if (!json_is_number(x))
        fail_msg("%s %s is no number in %s", outer, inner ? inner : "", out);
    return json_number_value(x);
}

static void the_command_prints_what_the_library_finds(void **state)
{
    (void)state;
    static const terse_eval_rule exact = { .stop = "none" };
    terse_record *r = make(&exact, TERSE_KV_F16, 1);
    terse_replay *p = replay(r, NULL, &rules[1], 1);
    const terse_replay_result want = terse_replay_result_of(p, 0, -1, 0);
    assert_int_equal(command("recording --stop 'none;value-skip:eps=0.6' -t 1 --json"), 0);
    assert_string_equal(said, "");
    json_t *root = json_loads(out, 0, NULL), *one = json_array_get(root, 1);
    assert_int_equal(json_array_size(root), 2);
    assert_true(number(json_array_get(root, 0), "error", "max") == 0.0);
    assert_true(number(json_array_get(root, 0), "bytes_ratio", NULL) == 1.0);
    assert_true(number(one, "bytes", "v") == (double)want.read.bytes_v);
    assert_true(fabs(number(one, "error", "mean") - want.error_mean) < 1e-8);
    assert_true(fabs(number(one, "error", "max") - want.error_max) < 1e-8);
    assert_true(number(one, "stop", "bound_max") <= 0.6 + 1e-6 && number(one, "steps", NULL) == STEPS);
    assert_int_equal(json_array_size(json_object_get(one, "heads")), LAYERS);
    assert_string_equal(json_string_value(json_object_get(one, "type_k")), "f16");
    json_decref(root);
    assert_int_equal(command("recording --quality exact,fast -ctk q8 -ctv q4"), 0);
    assert_non_null(
        strstr(out, "small: 8 steps of 2 layers of 2 KV heads, up to 483 tokens, decoded under none"));
    assert_non_null(strstr(out, "keys q8, values q4"));
    assert_non_null(strstr(out, "| mass:delta=0.015"));
    terse_replay_close(&p);
    terse_record_close(&r);
}

static void wrong_commands_are_told_in_one_line(void **state)
{
    (void)state;
    static const char *const wrong[][2] = { { "", "which recording" },
                                            { "absent", "absent" },
                                            { "model.gguf", "magic" },
                                            { "recording --stop never", "'never'" },
                                            { "recording -ctk q99", "q99" },
                                            { "recording --quality best", "best" },
                                            { "recording --profile auto", "--profile" },
                                            { "recording more", "more" } };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        const int code = command(wrong[i][0]);
        const char *end = strchr(said, '\n');
        if (code != 2 || *out || !strstr(said, wrong[i][1]) || !end || end[1])
            fail_msg("%s: %d, %s", wrong[i][0], code, said);
    }
    assert_int_equal(command("--help"), 0);
    assert_null(strstr(out, "--profile"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replay_is_the_live_run),
        cmocka_unit_test(chosen_steps_are_those_of_the_live_run),
        cmocka_unit_test(errors_are_those_of_the_outputs),
        cmocka_unit_test(types_have_their_price),
        cmocka_unit_test(wrong_settings_are_refused),
        cmocka_unit_test(the_command_prints_what_the_library_finds),
        cmocka_unit_test(wrong_commands_are_told_in_one_line),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
