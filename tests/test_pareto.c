/* The grid of settings: results against those of terse_eval and of sessions, a journal that is cut anywhere,
 * grids and journals that are refused. */
#include "lab/statistics.h"
#include "terse/terse.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MODEL TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf"
#define DEMO  TERSE_MODEL_DIR "/demo.txt"

enum { N_RULE = 3, N_CTX = 2, N_TYPE = 2, SCORED = 3, WINDOWS = 2, N_RESULT = (N_CTX + 2) * N_TYPE * N_RULE };

static const terse_eval_rule rules[N_RULE] = { { .stop = "none" },
                                               { .stop = "mass:delta=0.5,floor=0,from=0" },
                                               { .policy = "dense:order=random", .stop = "budget:share=0.3" } };
static const int32_t contexts[N_CTX] = { 320, 256 };
static const terse_pareto_type types[N_TYPE] = { { TERSE_KV_F16, TERSE_KV_F16 }, { TERSE_KV_Q8, TERSE_KV_Q8 } };
static const char prompts[] =
    "{\"task\":\"never\",\"prompt\":\"The captain looked at\",\"answer\":\"\\t\\t\\t\"}\n"
    "{\"task\":\"r\",\"context\":\"one two three four five six\",\"question\":\" seven eight\","
    "\"answers\":[\"\\u0001\",\"e\"],\"max_new_tokens\":5}";

static char directory[] = "/tmp/terse-pareto-XXXXXX", whole[64], path[64];
static terse_model *model;
static terse_text demo;
static terse_tokens tokens;
static terse_tasks *tasks;
static terse_pareto_result expected[N_RESULT]; /* of the grid without interruption */

static terse_pareto_opts grid(const char *journal)
{
    return (terse_pareto_opts){ .rules = rules,
                                .n_rule = N_RULE,
                                .ctx = contexts,
                                .n_ctx = N_CTX,
                                .type = types,
                                .n_type = N_TYPE,
                                .scored = SCORED,
                                .windows = WINDOWS,
                                .token = tokens.ids,
                                .n_token = tokens.n,
                                .tasks = tasks,
                                .journal = journal };
}

static void results_of(const terse_pareto *p, terse_pareto_result *out)
{
    terse_error err;
    for (int32_t i = 0; i < N_RESULT; i++) {
        const int32_t group = i / (N_TYPE * N_RULE);
        const terse_pareto_at at = { group < N_CTX ? group : -1, group - N_CTX, i / N_RULE % N_TYPE,
                                     i % N_RULE };
        assert_int_equal(terse_pareto_result_of(p, at, &out[i], &err), TERSE_OK);
    }
}

/* Opens the grid at a journal; *done: what it had. */
static terse_pareto *open_grid(const char *journal, int32_t *done)
{
    const terse_pareto_opts o = grid(journal);
    terse_pareto *p;
    terse_error err;
    if (terse_pareto_open(&p, model, &o, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    *done = terse_pareto_done(p);
    return p;
}

static void run_grid(terse_pareto *p)
{
    terse_error err;
    if (terse_pareto_run(p, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    assert_int_equal(terse_pareto_done(p), terse_pareto_parts(p));
}

static int set_up(void **state)
{
    (void)state;
    terse_error err = { 0 };
    char piece[4096];
    FILE *f = fopen(DEMO, "rb");
    if (!f || !mkdtemp(directory) || terse_model_open(&model, MODEL, &err) != TERSE_OK)
        return -1;
    if (terse_text_append(&demo, piece, fread(piece, 1, sizeof piece, f), &err) != TERSE_OK)
        return -1;
    fclose(f);
    snprintf(whole, sizeof whole, "%s/whole", directory);
    snprintf(path, sizeof path, "%s/journal", directory);
    const terse_vocab *v = terse_model_vocab(model);
    const terse_tasks_opts all = { 0 };
    if (terse_vocab_tokenize(v, demo.p, demo.n, false, true, &tokens, &err) != TERSE_OK ||
        terse_tasks_open(&tasks, v, "prompts", prompts, strlen(prompts), &all, &err) != TERSE_OK)
        return -1;
    int32_t done;
    terse_pareto *p = open_grid(whole, &done);
    assert_int_equal(done, 0);
    assert_int_equal(terse_pareto_parts(p), N_TYPE * (N_CTX * WINDOWS + 2));
    run_grid(p);
    results_of(p, expected);
    terse_pareto_close(&p);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char line[128];
    terse_tasks_close(&tasks);
    terse_tokens_free(&tokens);
    terse_text_free(&demo);
    terse_model_close(&model);
    snprintf(line, sizeof line, "rm -r %s", directory);
    return system(line);
}

static const terse_pareto_result *expected_at(int32_t group, int32_t type, int32_t rule)
{
    return &expected[(group * N_TYPE + type) * N_RULE + rule];
}

/* ---- results ---- */

static void f16_is_what_eval_finds(void **state)
{
    (void)state;
    terse_error err;
    int32_t done;
    terse_pareto *p = open_grid(whole, &done);
    assert_int_equal(done, terse_pareto_parts(p));
    for (int32_t c = 0; c < N_CTX; c++) {
        const terse_eval_opts opts = { .session = { .ctx = contexts[c] } };
        const terse_eval_windows w = { .ctx = contexts[c], .scored = SCORED, .windows = WINDOWS };
        terse_eval *e;
        assert_int_equal(terse_eval_open(&e, model, &opts, rules, N_RULE, &err), TERSE_OK);
        assert_int_equal(terse_eval_text(e, tokens.ids, tokens.n, &w, &err), TERSE_OK);
        for (int32_t r = 0; r < N_RULE; r++) {
            const terse_pareto_result *x = expected_at(c, 0, r);
            terse_eval_result want;
            assert_int_equal(terse_eval_result_of(e, r, &want, &err), TERSE_OK);
            const terse_attend_stats *s = &want.read, *head = terse_eval_stats_of(e, r, 2, 1);
            assert_int_equal(x->n_sample, WINDOWS);
            assert_int_equal(x->n_token, WINDOWS * SCORED);
            assert_true(x->kl == want.mean && x->low == want.low && x->high == want.high);
            assert_true(x->p50 == want.p50 && x->p90 == want.p90 && x->p99 == want.p99);
            assert_true(x->p999 == want.p999 && x->max == want.max && x->top1 == want.top1);
            assert_true(fabs(x->ppl / want.ppl - 1) < 1e-12);
            assert_true(fabs(x->ppl_dense / want.ppl_dense - 1) < 1e-12);
            assert_true(x->ratio ==
                        (double)(s->bytes_k + s->bytes_v + s->bytes_summary) / (double)s->bytes_dense);
            assert_true(x->k == (double)s->bytes_k / (WINDOWS * SCORED));
            assert_true(x->v == (double)s->bytes_v / (WINDOWS * SCORED));
            assert_true(x->dense_f16 == (double)s->bytes_dense / (WINDOWS * SCORED));
            assert_true(terse_pareto_head(p, (terse_pareto_at){ c, -1, 0, r }, 2, 1) ==
                        (double)(head->bytes_k + head->bytes_v + head->bytes_summary) /
                            (double)head->bytes_dense);
        }
        assert_true(expected_at(c, 0, 0)->kl == 0.0 && expected_at(c, 0, 0)->ratio == 1.0);
        assert_true(expected_at(c, 0, 1)->ratio < 0.95 && expected_at(c, 0, 1)->kl > 0.0);
        terse_eval_close(&e);
    }
    terse_pareto_close(&p);
}

/* Logits of the first window's scored tokens under dense attention. */
static float *dense_rows(const terse_pareto_type *type, int32_t ctx)
{
    const int32_t n_vocab = terse_model_about(model)->n_vocab;
    const bool bos = terse_vocab_adds_bos(terse_model_vocab(model));
    const terse_session_opts opts = { .ctx = ctx, .type_k = type->type_k, .type_v = type->type_v };
    terse_session *s;
    terse_error err;
    int32_t ids[512] = { terse_vocab_bos(terse_model_vocab(model)) };
    float *rows = calloc((size_t)SCORED * (size_t)n_vocab, sizeof *rows);
    memcpy(ids + bos, tokens.ids, (size_t)(ctx - bos) * sizeof *ids);
    assert_int_equal(terse_session_open(&s, model, &opts, &err), TERSE_OK);
    assert_int_equal(terse_session_prefill(s, ids, ctx - SCORED, NULL, NULL, &err), TERSE_OK);
    for (int32_t i = 0; i < SCORED; i++) {
        const float *logits;
        assert_int_equal(terse_session_decode(s, ids[ctx - SCORED + i], &logits, &err), TERSE_OK);
        memcpy(rows + i * n_vocab, logits, (size_t)n_vocab * sizeof *rows);
    }
    terse_session_close(&s);
    return rows;
}

static void q8_is_held_against_f16(void **state)
{
    (void)state;
    const terse_pareto_result *x = expected_at(0, 1, 0);
    const int32_t n_vocab = terse_model_about(model)->n_vocab;
    assert_true(x->ratio == 34.0 / 64.0); /* 32 codes and a scale beside 32 f16 */
    assert_true(x->dense_f16 == expected_at(0, 0, 0)->dense_f16);
    assert_true(x->ppl_dense == expected_at(0, 0, 0)->ppl_dense && x->ppl != x->ppl_dense);

    const terse_pareto_opts o = grid(path);
    terse_pareto_opts one = o;
    terse_pareto *p;
    terse_error err;
    terse_pareto_result got;
    one.n_ctx = one.windows = one.n_rule = 1;
    one.type = &types[1]; /* without f16 in the grid: it is the reference nevertheless */
    one.n_type = 1;
    one.tasks = NULL;
    assert_int_equal(terse_pareto_open(&p, model, &one, &err), TERSE_OK);
    run_grid(p);
    assert_int_equal(terse_pareto_result_of(p, (terse_pareto_at){ .ctx = 0, .task = -1 }, &got, &err),
                     TERSE_OK);
    float *f16 = dense_rows(&types[0], contexts[0]), *q8 = dense_rows(&types[1], contexts[0]);
    double sum = 0.0;
    for (int32_t i = 0; i < SCORED; i++) {
        const float *a = f16 + i * n_vocab, *b = q8 + i * n_vocab;
        sum +=
            terse_logits_kl(a, terse_logits_log_sum(a, n_vocab), b, terse_logits_log_sum(b, n_vocab), n_vocab);
    }
    assert_true(sum > 0.0 && fabs(got.kl - sum / SCORED) <= 1e-12 * sum);
    assert_true(isnan(got.low)); /* a single window */
    free(f16);
    free(q8);
    terse_pareto_close(&p);
    assert_int_equal(unlink(path), 0);
}

static void prompts_are_what_eval_finds(void **state)
{
    (void)state;
    terse_error err;
    for (int32_t t = 0; t < N_TYPE; t++) {
        const terse_eval_opts opts = {
            .session = { .ctx = terse_tasks_ctx(tasks), .type_k = types[t].type_k, .type_v = types[t].type_v }
        };
        terse_eval *e;
        assert_int_equal(terse_eval_open(&e, model, &opts, rules, N_RULE, &err), TERSE_OK);
        assert_int_equal(terse_eval_tasks(e, tasks, &err), TERSE_OK);
        for (int32_t r = 0; r < N_RULE; r++)
            for (int32_t task = 0; task < 2; task++) { /* groups N_CTX, N_CTX + 1 are tasks 0 and 1 */
                const terse_eval_score want = terse_eval_score_of(e, r, task);
                const terse_pareto_result *x = expected_at(N_CTX + task, t, r);
                assert_int_equal(x->n, 1);
                assert_int_equal(x->n_sample, 1);
                assert_true(x->correct == want.correct && x->share_low == want.low &&
                            x->share_high == want.high);
                assert_true(isnan(x->kl) && isnan(x->ppl) && x->ratio > 0.0);
            }
        terse_eval_close(&e);
    }
}

/* ---- the journal ---- */

static char *journal_text;
static size_t journal_size;

static void read_whole(void)
{
    FILE *f = fopen(whole, "rb");
    assert_non_null(f);
    journal_text = calloc(1, 1 << 20);
    journal_size = fread(journal_text, 1, (1 << 20) - 1, f);
    fclose(f);
    assert_true(journal_size > 1000 && journal_text[journal_size - 1] == '\n');
}

static void write_journal(const char *text, size_t n)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, n, f), n);
    assert_int_equal(fclose(f), 0);
}

static size_t line_end(int32_t line)
{
    const char *p = journal_text;
    while (line-- > 0)
        p = strchr(p, '\n') + 1;
    return (size_t)(p - journal_text);
}

static bool same(const terse_pareto_result *a, const terse_pareto_result *b)
{
    return !memcmp(&a->ratio, &b->ratio, sizeof a->ratio) && !memcmp(&a->kl, &b->kl, sizeof a->kl) &&
           !memcmp(&a->high, &b->high, sizeof a->high) && !memcmp(&a->ppl, &b->ppl, sizeof a->ppl) &&
           a->n_token == b->n_token && a->n_sample == b->n_sample && a->n == b->n && a->correct == b->correct &&
           !memcmp(&a->p999, &b->p999, sizeof a->p999) && !memcmp(&a->top1, &b->top1, sizeof a->top1);
}

static void a_cut_journal_goes_on(void **state)
{
    (void)state;
    read_whole();
    const struct {
        size_t size;
        int32_t done;
    } cuts[] = { { 0, 0 },
                 { line_end(1) - 1, 0 }, /* the first line without its end */
                 { line_end(1), 0 },
                 { line_end(2) - 1, 0 },
                 { line_end(4), 3 }, /* between the types of a window */
                 { line_end(6) + 100, 5 },
                 { journal_size - 1, 11 },
                 { journal_size, 12 } };
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        terse_pareto_result got[N_RESULT];
        int32_t done;
        struct stat s;
        write_journal(journal_text, cuts[i].size);
        terse_pareto *p = open_grid(path, &done);
        assert_int_equal(done, cuts[i].done);
        if (done == 0 && i > 0) { /* the rest is the same work again */
            terse_pareto_close(&p);
            continue;
        }
        run_grid(p);
        results_of(p, got);
        terse_pareto_close(&p);
        for (int32_t k = 0; k < N_RESULT; k++)
            assert_true(same(&got[k], &expected[k]));
        assert_int_equal(stat(path, &s), 0);
        assert_int_equal(s.st_size, journal_size);
    }
    unlink(path);
    free(journal_text);
}

static atomic_bool stop_now;

static void stop_after_first(void *ctx, int64_t done, int64_t total)
{
    int64_t *most = ctx;
    assert_true(done >= *most && done <= total);
    *most = done;
    if (done > total / 3)
        atomic_store(&stop_now, true);
}

static void an_interrupted_grid_keeps_its_parts(void **state)
{
    (void)state;
    terse_pareto_opts o = grid(path);
    terse_pareto *p;
    terse_error err;
    int64_t most = 0;
    int32_t done;
    o.session.abort = &stop_now;
    o.progress = stop_after_first;
    o.progress_ctx = &most;
    assert_int_equal(terse_pareto_open(&p, model, &o, &err), TERSE_OK);
    assert_int_equal(terse_pareto_run(p, &err), TERSE_INTERRUPTED);
    const int32_t kept = terse_pareto_done(p);
    assert_true(kept > 0 && kept < terse_pareto_parts(p));
    terse_pareto_close(&p);
    p = open_grid(path, &done);
    assert_int_equal(done, kept);
    terse_pareto_close(&p);
    unlink(path);
}

static void refuse(const terse_pareto_opts *o, const char *why)
{
    terse_pareto *p;
    terse_error err;
    assert_int_equal(terse_pareto_open(&p, model, o, &err), TERSE_BAD_INPUT);
    assert_null(p);
    if (!strstr(err.text, why))
        fail_msg("'%s' does not say '%s'", err.text, why);
}

static void another_grid_is_refused(void **state)
{
    (void)state;
    static const terse_eval_rule other[N_RULE] = { { .stop = "none" },
                                                   { .stop = "mass:delta=0.6,floor=0,from=0" },
                                                   { .policy = "dense:order=random",
                                                     .stop = "budget:share=0.3" } };
    static const int32_t longer[N_CTX] = { 320, 257 };
    static const terse_pareto_type swapped[N_TYPE] = { { TERSE_KV_Q8, TERSE_KV_Q8 },
                                                       { TERSE_KV_F16, TERSE_KV_F16 } };
    terse_pareto_opts o = grid(whole);
    o.scored = 4;
    refuse(&o, "\"scored\" is 3 there, 4 here");
    o = grid(whole);
    o.rules = other;
    refuse(&o, "\"settings\" 2 is \"dense mass:delta=0.5,floor=0");
    o = grid(whole);
    o.n_rule = 2;
    refuse(&o, "3 settings there, 2 here");
    o = grid(whole);
    o.ctx = longer;
    refuse(&o, "\"contexts\" 2 is 256 there, 257 here");
    o = grid(whole);
    o.windows = 1;
    refuse(&o, "\"windows\" 1 is 2 there, 1 here");
    o = grid(whole);
    o.type = swapped;
    refuse(&o, "\"types\" 1 is \"f16/f16\" there, \"q8/q8\" here");
    o = grid(whole);
    o.n_token--;
    refuse(&o, "\"text\"");
    o = grid(whole);
    o.tasks = NULL;
    refuse(&o, "\"prompts\"");
}

static void bad_journals_are_refused(void **state)
{
    (void)state;
    terse_pareto_opts o = grid(path);
    int32_t done;
    read_whole();
    char *text = calloc(1, journal_size + 64);
    memcpy(text, journal_text, line_end(2));
    strcat(text, "{\"ctx\":1}\n");
    write_journal(text, strlen(text)); /* no part of this grid */
    refuse(&o, "line 3: damaged");
    memcpy(text, journal_text, journal_size);
    memcpy(text + line_end(2), journal_text + line_end(1), line_end(2) - line_end(1));
    write_journal(text, line_end(2) + line_end(2) - line_end(1)); /* the same part twice */
    refuse(&o, "line 3: damaged");
    memcpy(text, journal_text, journal_size);
    strstr(text + line_end(1), "\"agree\":")[8] = '-'; /* a count below 0, or no JSON */
    write_journal(text, journal_size);
    refuse(&o, "line 2: damaged");
    write_journal("[]\n", 3);
    refuse(&o, "line 1: damaged");
    write_journal("{}\n", 3);
    refuse(&o, "\"version\" is nothing there");
    unlink(path);
    o.journal = directory;
    refuse(&o, "directory");
    o.journal = "/no/such/folder/journal";
    refuse(&o, "No such file");
    terse_pareto *p = open_grid(whole, &done);
    o.journal = whole;
    refuse(&o, "another run");
    terse_pareto_close(&p);
    free(text);
    free(journal_text);
}

static void bad_grids_are_refused(void **state)
{
    (void)state;
    static const int32_t one[] = { 1 }, much[] = { 1 << 20 }, most[] = { 4000 };
    static const terse_pareto_type twice[] = { { TERSE_KV_Q8, TERSE_KV_Q8 }, { TERSE_KV_Q8, TERSE_KV_Q8 } };
    static const terse_eval_rule wrong = { .stop = "never" };
    static const int32_t no_token[400] = { -1 };
    terse_pareto_opts o = grid(path);
    o.n_ctx = 1;
    o.ctx = one;
    refuse(&o, "contexts of 1 tokens");
    o.ctx = much;
    refuse(&o, "contexts of 1048576 tokens");
    o.ctx = most;
    refuse(&o, "a window of 4000 needs");
    o = grid(path);
    o.scored = 256;
    refuse(&o, "1 to 255");
    o = grid(path);
    o.windows = 1000;
    refuse(&o, "1000 windows");
    o = grid(path);
    o.type = twice;
    refuse(&o, "q8 is in the grid twice");
    o = grid(path);
    o.rules = &wrong;
    o.n_rule = 1;
    refuse(&o, "'never'");
    o = grid(path);
    o.token = no_token;
    o.n_token = 400;
    o.windows = 1;
    refuse(&o, "token id -1");
    assert_int_equal(access(path, F_OK), -1); /* nothing was begun */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(f16_is_what_eval_finds),
        cmocka_unit_test(q8_is_held_against_f16),
        cmocka_unit_test(prompts_are_what_eval_finds),
        cmocka_unit_test(a_cut_journal_goes_on),
        cmocka_unit_test(an_interrupted_grid_keeps_its_parts),
        cmocka_unit_test(another_grid_is_refused),
        cmocka_unit_test(bad_journals_are_refused),
        cmocka_unit_test(bad_grids_are_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
