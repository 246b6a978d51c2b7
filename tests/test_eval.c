/* Evaluation: statistics with answers known by hand, the comparison against sessions of each rule's own,
 * prompts in both formats, and what the program says of wrong files. */
#include "lab/statistics.h"
#include "lab/tasks.h"
#include "make_model.h"
#include "terse/terse.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MODEL TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf"
#define DEMO  TERSE_MODEL_DIR "/demo.txt"
#define HARSH "stability:tau=1,phi=1,patience=1" /* stops as soon as it may */
#define CLOSE "value-skip:eps=0.5"

static char directory[] = "/tmp/terse-eval-XXXXXX";
static terse_model *model;
static terse_text demo;
static terse_tokens tokens; /* of the demo, without bos */

static int set_up(void **state)
{
    (void)state;
    terse_error err = { 0 };
    FILE *f = fopen(DEMO, "rb");
    char piece[4096];
    if (!f || !mkdtemp(directory) || terse_model_open(&model, MODEL, &err) != TERSE_OK)
        return -1;
    for (size_t n; (n = fread(piece, 1, sizeof piece, f)) > 0;)
        if (terse_text_append(&demo, piece, n, &err) != TERSE_OK)
            return -1;
    fclose(f);
    return terse_vocab_tokenize(terse_model_vocab(model), demo.p, demo.n, false, true, &tokens, &err);
}

static int tear_down(void **state)
{
    (void)state;
    char line[128];
    terse_tokens_free(&tokens);
    terse_text_free(&demo);
    terse_model_close(&model);
    snprintf(line, sizeof line, "rm -r %s", directory);
    return system(line);
}

static void near(double got, double want, double eps)
{
    if (!(fabs(got - want) <= eps))
        fail_msg("%.9g is not %.9g", got, want);
}

/* ---- text ---- */

static terse_eval *open_eval(const terse_eval_opts *o, const terse_eval_rule *rules, int32_t n)
{
    terse_error err = { 0 };
    terse_eval *e;
    if (terse_eval_open(&e, model, o, rules, n, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return e;
}

static terse_eval_result result_of(const terse_eval *e, int32_t rule)
{
    terse_error err;
    terse_eval_result k;
    assert_int_equal(terse_eval_result_of(e, rule, &k, &err), TERSE_OK);
    return k;
}

enum { CTX = 384, SCORED = 6, N_WINDOW = 2 };

/* Sum of the KL over one window between a dense session and one of the rule's own. */
static double window_kl(const int32_t *text, const char *stop, double *nll)
{
    terse_error err = { 0 };
    const float *a, *b;
    const terse_session_opts dense = { .ctx = CTX }, other = { .ctx = CTX, .stop = stop };
    const int32_t n = terse_model_about(model)->n_vocab;
    int32_t ids[CTX + 1] = { terse_vocab_bos(terse_model_vocab(model)) };
    terse_session *s[2];
    double kl = 0.0;
    memcpy(ids + 1, text, CTX * sizeof *ids);
    assert_int_equal(terse_session_open(&s[0], model, &dense, &err), TERSE_OK);
    assert_int_equal(terse_session_open(&s[1], model, &other, &err), TERSE_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(terse_session_prefill(s[i], ids, CTX - SCORED, NULL, NULL, &err), TERSE_OK);
    for (int32_t t = CTX - SCORED; t < CTX; t++) {
        assert_int_equal(terse_session_decode(s[0], ids[t], &a, &err), TERSE_OK);
        assert_int_equal(terse_session_decode(s[1], ids[t], &b, &err), TERSE_OK);
        double za = 0.0, zb = 0.0;
        for (int32_t i = 0; i < n; i++) {
            za += exp((double)a[i]);
            zb += exp((double)b[i]);
        }
        for (int32_t i = 0; i < n; i++)
            kl += exp((double)a[i]) / za * ((double)a[i] - log(za) - (double)b[i] + log(zb));
        *nll += log(zb) - (double)b[ids[t + 1]];
    }
    terse_session_close(&s[0]);
    terse_session_close(&s[1]);
    return kl;
}

static void text_gives_what_separate_sessions_give(void **state)
{
    (void)state;
    static const terse_eval_rule rules[] = { { .stop = CLOSE }, { .policy = "dense" }, { .stop = HARSH } };
    const terse_eval_opts o = { .session = { .ctx = CTX, .audit = 3 } };
    const terse_eval_windows w = { .scored = SCORED, .windows = N_WINDOW };
    terse_error err = { 0 };
    terse_eval *e = open_eval(&o, rules, 3);
    assert_int_equal(terse_eval_text(e, tokens.ids, tokens.n, &w, &err), TERSE_OK);
    for (int32_t r = 0; r < 3; r++) {
        const terse_eval_result k = result_of(e, r);
        double kl = 0.0, nll = 0.0;
        for (int32_t i = 0; i < N_WINDOW; i++)
            kl += window_kl(tokens.ids + tokens.n / N_WINDOW * (size_t)i, rules[r].stop, &nll);
        assert_int_equal(k.n_token, N_WINDOW * SCORED);
        assert_int_equal(k.n_sample, N_WINDOW);
        near(k.mean, kl / (N_WINDOW * SCORED), 1e-9 + 1e-6 * kl);
        near(k.ppl, exp(nll / (N_WINDOW * SCORED)), 1e-6 * k.ppl);
        assert_true(k.read.bytes_dense > 0 && k.read.audits > 0);
        assert_true(k.p50 <= k.p90 && k.p90 <= k.p99 && k.p99 <= k.p999 && k.p999 <= k.max);
        if (r == 1) {
            assert_true(k.max == 0.0 && k.top1 == 1.0 && k.ppl == k.ppl_dense && k.high == 0.0);
            assert_int_equal(k.read.bytes_k + k.read.bytes_v + k.read.bytes_summary, k.read.bytes_dense);
        } else {
            assert_true(k.mean > 0.0 && k.low <= k.mean && k.mean <= k.high);
            assert_true(k.read.bytes_k + k.read.bytes_v < k.read.bytes_dense);
        }
        assert_int_equal(k.bounded, r < 2);
    }
    assert_string_equal(result_of(e, 0).stop, CLOSE);
    assert_string_equal(result_of(e, 0).policy, "dense");
    terse_eval_close(&e);
}

typedef struct {
    atomic_bool stop;
    int64_t at, total, last;
} brake;

static void brake_at(void *ctx, int64_t done, int64_t total)
{
    brake *b = ctx;
    assert_true(done >= b->last && done <= total);
    b->last = done;
    b->total = total;
    if (done >= b->at)
        b->stop = true;
}

/* Interrupted in the second window: the first one counts, the rest leaves nothing behind. */
static void complete_windows_survive(void **state)
{
    (void)state;
    const terse_eval_rule rule = { .stop = CLOSE };
    const terse_eval_windows w = { .ctx = 100, .scored = 10, .windows = 3 };
    brake b = { .at = 110 + 100 + 3 };
    const terse_eval_opts o = { { .ctx = 128, .abort = &b.stop }, brake_at, &b };
    terse_error err;
    terse_eval *e = open_eval(&o, &rule, 1);
    assert_int_equal(result_of(e, 0).n_sample, 0);
    assert_true(isnan(result_of(e, 0).mean));
    assert_int_equal(terse_eval_text(e, tokens.ids, 300, &w, &err), TERSE_INTERRUPTED);
    assert_int_equal(b.total, 330);
    const terse_eval_result first = result_of(e, 0);
    assert_int_equal(first.n_sample, 1);
    assert_int_equal(first.n_token, 10);
    terse_eval_close(&e);

    b = (brake){ .at = INT64_MAX };
    const terse_eval_windows one = { .ctx = 100, .scored = 10, .windows = 1 };
    e = open_eval(&o, &rule, 1);
    assert_int_equal(terse_eval_text(e, tokens.ids, 300, &one, &err), TERSE_OK);
    assert_int_equal(b.last, 110);
    const terse_eval_result again = result_of(e, 0);
    assert_true(again.mean == first.mean && again.ppl == first.ppl && isnan(again.low));
    assert_int_equal(again.read.bytes_v, first.read.bytes_v);
    terse_eval_close(&e);
}

static void windows_must_fit(void **state)
{
    (void)state;
    static const terse_eval_windows bad[] = { { .ctx = 129 },    { .ctx = 1 },     { .ctx = -1 },
                                              { .scored = 128 }, { .scored = -1 }, { .windows = 3 },
                                              { .windows = -1 } };
    const terse_eval_rule rule = { 0 };
    const terse_eval_opts o = { .session = { .ctx = 128 } };
    terse_error err;
    terse_eval *e = open_eval(&o, &rule, 1);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(terse_eval_text(e, tokens.ids, 300, &bad[i], &err), TERSE_BAD_INPUT);
    const terse_eval_windows all = { .ctx = 4 };
    assert_int_equal(terse_eval_text(e, tokens.ids, 3, &all, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_eval_text(e, (const int32_t[]){ 1, 2, 3, 1 << 30 }, 4, &all, &err), TERSE_BAD_INPUT);
    assert_int_equal(result_of(e, 0).n_sample, 0);
    assert_int_equal(terse_eval_text(e, tokens.ids, 4, &all, &err), TERSE_OK);
    assert_int_equal(result_of(e, 0).n_token, 3);
    terse_eval_close(&e);
    const terse_eval_rule wrong[] = { { .stop = "none" }, { .stop = "sometimes" } };
    assert_int_equal(terse_eval_open(&e, model, &o, wrong, 2, &err), TERSE_BAD_INPUT);
    assert_null(e);
}

/* One KV head, which a session of two threads would split: an evaluation does so only if it is told to. */
static void figures_do_not_depend_on_cores(void **state)
{
    (void)state;
    enum { LONG = 901 };
    static const make_model_opts one_head = { .n_layer = 1,
                                              .n_embd = 64,
                                              .n_head = 2,
                                              .n_head_kv = 1,
                                              .head_dim = 32,
                                              .n_ff = 64,
                                              .n_vocab = 32,
                                              .n_ctx = 1024,
                                              .q_gain = 8.0f,
                                              .seed = 3 };
    static const struct {
        int32_t threads, strands;
    } runs[] = { { 1, 0 }, { 2, 0 }, { 3, 1 }, { 2, 3 } };
    const terse_eval_rule rule = { .stop = "mass:delta=0.05,floor=0,from=0" };
    const terse_eval_windows w = { .ctx = LONG - 1, .scored = 8, .windows = 1 };
    char path[128];
    int32_t ids[LONG];
    double kl[4];
    int64_t bytes[4];
    terse_error err = { 0 };
    terse_model *m;
    snprintf(path, sizeof path, "%s/one-head.gguf", directory);
    for (int32_t t = 0; t < LONG; t++)
        ids[t] = t * t % 31;
    assert_int_equal(make_model(path, &one_head, &err), TERSE_OK);
    assert_int_equal(terse_model_open(&m, path, &err), TERSE_OK);
    for (int i = 0; i < 4; i++) {
        const terse_eval_opts o = { .session = {
                                        .ctx = 1024, .threads = runs[i].threads, .strands = runs[i].strands } };
        terse_eval *e;
        assert_int_equal(terse_eval_open(&e, m, &o, &rule, 1, &err), TERSE_OK);
        if (terse_eval_text(e, ids, LONG, &w, &err) != TERSE_OK)
            fail_msg("%s", err.text);
        kl[i] = result_of(e, 0).mean;
        bytes[i] = result_of(e, 0).read.bytes_k;
        terse_eval_close(&e);
    }
    assert_true(kl[0] > 0.0);
    for (int i = 1; i < 3; i++) {
        assert_true(kl[i] == kl[0]);
        assert_int_equal(bytes[i], bytes[0]);
    }
    assert_true(kl[3] != kl[0]); /* strands do show here */
    terse_model_close(&m);
}

/* Without bos a window begins with the text, which must then be one token longer. */
static void a_model_may_have_no_bos(void **state)
{
    (void)state;
    static const make_model_opts plain = { .n_layer = 1,
                                           .n_embd = 64,
                                           .n_head = 2,
                                           .n_head_kv = 1,
                                           .head_dim = 32,
                                           .n_ff = 64,
                                           .n_vocab = 32,
                                           .n_ctx = 64,
                                           .seed = 3 };
    const terse_eval_rule rule = { 0 };
    const terse_eval_opts o = { .session = { .ctx = 16 } };
    const terse_eval_windows w = { .scored = 15 };
    const float *logits;
    char path[128];
    int32_t ids[17];
    terse_error err = { 0 };
    terse_model *m;
    terse_eval *e;
    terse_session *s;
    snprintf(path, sizeof path, "%s/plain.gguf", directory);
    for (int32_t t = 0; t < 17; t++)
        ids[t] = t * 7 % 32;
    assert_int_equal(make_model(path, &plain, &err), TERSE_OK);
    assert_int_equal(terse_model_open(&m, path, &err), TERSE_OK);
    assert_false(terse_vocab_adds_bos(terse_model_vocab(m)));
    assert_int_equal(terse_eval_open(&e, m, &o, &rule, 1, &err), TERSE_OK);
    assert_int_equal(terse_eval_text(e, ids, 16, &w, &err), TERSE_BAD_INPUT);
    assert_int_equal(terse_eval_text(e, ids, 17, &w, &err), TERSE_OK);
    double nll = 0.0;
    assert_int_equal(terse_session_open(&s, m, &o.session, &err), TERSE_OK);
    for (int32_t t = 0; t < 16; t++) {
        assert_int_equal(terse_session_decode(s, ids[t], &logits, &err), TERSE_OK);
        nll += t > 0 ? terse_logits_log_sum(logits, 32) - (double)logits[ids[t + 1]] : 0.0;
    }
    near(result_of(e, 0).ppl, exp(nll / 15), 1e-9);
    terse_session_close(&s);
    terse_eval_close(&e);
    terse_model_close(&m);
}

/* ---- prompts ---- */

static terse_status open_tasks(terse_tasks **t, const char *text, const terse_tasks_opts *o, terse_error *err)
{
    static const terse_tasks_opts all;
    return terse_tasks_open(t, terse_model_vocab(model), "FILE", text, strlen(text), o ? o : &all, err);
}

static void wrong_lines_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text, *why;
    } bad[] = {
        { "", "no tasks" },
        { "\n  \r\n\n", "no tasks" },
        { "{\"task\":\"a\",\"prompt\":\"x\",\"answer\":\"y\"}\n{\"task\":\"a\",", "line 2" },
        { "[1]\n", "line 1: not a JSON object" },
        { "{\"prompt\":\"x\",\"answer\":\"y\"}", "\"task\"" },
        { "{\"task\":7,\"prompt\":\"x\",\"answer\":\"y\"}", "\"task\"" },
        { "\n{\"task\":\"a\",\"answer\":\"y\"}", "line 2: \"prompt\"" },
        { "{\"task\":\"a\",\"prompt\":\"x\"}", "\"answer\"" },
        { "{\"task\":\"a\",\"prompt\":\"x\",\"answer\":\"\"}", "answer is empty" },
        { "{\"task\":\"a\",\"prompt\":\"x\",\"answer\":\"a\\u0000b\"}", "line 1" },
        { "{\"task\":\"a\",\"prompt\":\"x\",\"answer\":\"\xff\"}", "line 1" },
        { "{\"task\":\"a\",\"context\":\"x\",\"answers\":[\"y\"]}", "\"question\"" },
        { "{\"task\":\"a\",\"context\":1,\"question\":\"x\",\"answers\":[\"y\"]}", "\"context\"" },
        { "{\"task\":\"a\",\"context\":\"x\",\"question\":\"x\"}", "\"answers\"" },
        { "{\"task\":\"a\",\"context\":\"x\",\"question\":\"x\",\"answers\":\"y\"}", "\"answers\"" },
        { "{\"task\":\"a\",\"context\":\"x\",\"question\":\"x\",\"answers\":[]}", "\"answers\"" },
        { "{\"task\":\"a\",\"context\":\"x\",\"question\":\"x\",\"answers\":[\"y\",\"\"]}", "answer 2" },
        { "{\"task\":\"a\",\"context\":\"x\",\"question\":\"x\",\"answers\":[7]}", "answer 1" },
        { "{\"task\":\"a\",\"context\":\"x\",\"question\":\"x\",\"answer_prefix\":1,\"answers\":[\"y\"]}",
          "\"answer_prefix\"" },
        { "{\"task\":\"a\",\"context\":\"x\",\"question\":\"x\",\"answers\":[\"y\"],\"max_new_tokens\":0}",
          "\"max_new_tokens\"" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        terse_error err = { 0 };
        terse_tasks *t = (terse_tasks *)&err;
        assert_int_equal(open_tasks(&t, bad[i].text, NULL, &err), TERSE_BAD_INPUT);
        assert_null(t);
        if (!strstr(err.text, bad[i].why))
            fail_msg("'%s' does not say %s", err.text, bad[i].why);
    }
}

static void options_choose_prompts(void **state)
{
    (void)state;
    char text[1024] = "";
    for (int i = 0; i < 10; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text),
                 "{\"task\":\"%s\",\"prompt\":\"x\",\"answer\":\"%d\",\"extra\":[]}\n", i % 3 ? "b" : "a", i);
    static const struct {
        terse_tasks_opts o;
        const char *want; /* the answers that are left, first characters */
    } cases[] = { { { 0 }, "0123456789" },     { { .limit = 1 }, "01" },
                  { { .task = "a" }, "0369" }, { { .task = "b", .limit = 2, .offset = 3 }, "57" },
                  { { .offset = 4 }, "78" },   { { .limit = 100, .offset = 3 }, "5789" } };
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        terse_error err = { 0 };
        terse_tasks *t;
        assert_int_equal(open_tasks(&t, text, &cases[c].o, &err), TERSE_OK);
        assert_int_equal(terse_tasks_count(t), strlen(cases[c].want));
        for (int32_t i = 0; i < t->n; i++)
            assert_int_equal(json_string_value(json_array_get(t->item[i].answers, 0))[0], cases[c].want[i]);
        terse_tasks_close(&t);
    }
    terse_error err;
    terse_tasks *t;
    assert_int_equal(open_tasks(&t, text, &(terse_tasks_opts){ .task = "c" }, &err), TERSE_BAD_INPUT);
    assert_non_null(strstr(err.text, "it has a b"));
    assert_int_equal(open_tasks(&t, text, &(terse_tasks_opts){ .offset = 6 }, &err), TERSE_BAD_INPUT);
    assert_int_equal(open_tasks(&t, text, &(terse_tasks_opts){ .limit = -1 }, &err), TERSE_BAD_INPUT);
}

static void check_score(const terse_task *t, const char *text, double want, bool want_decided)
{
    bool decided;
    near(terse_task_score(t, text, strlen(text), &decided), want, 1e-12);
    assert_int_equal(decided, want_decided);
}

static void outputs_are_judged(void **state)
{
    (void)state;
    terse_error err = { 0 };
    terse_tasks *t;
    assert_int_equal(
        open_tasks(
            &t,
            "{\"task\":\"p\",\"prompt\":\"x\",\"answer\":\" 12\"}\n"
            "{\"task\":\"vt\",\"context\":\"x \",\"question\":\"y\",\"answers\":[\"ABC\",\"def\",\"g\"]}\n"
            "{\"task\":\"qa_1\",\"context\":\"\",\"question\":\"x y\",\"answers\":[\"Rome\",\"Paris\"],"
            "\"max_new_tokens\":7}\n",
            NULL, &err),
        TERSE_OK);
    check_score(&t->item[0], "", 0.0, false);
    check_score(&t->item[0], " 1", 0.0, false);
    check_score(&t->item[0], " 12", 1.0, true);
    check_score(&t->item[0], " 123", 1.0, true);
    check_score(&t->item[0], "12", 0.0, true);
    check_score(&t->item[0], " 2", 0.0, true);
    check_score(&t->item[1], "", 0.0, false);
    check_score(&t->item[1], "xabcx", 1.0 / 3.0, false);
    check_score(&t->item[1], "G dEf", 2.0 / 3.0, false);
    check_score(&t->item[1], "g DEF abc", 1.0, true);
    check_score(&t->item[2], "Par is", 0.0, false);
    check_score(&t->item[2], "in paris", 1.0, true);
    assert_int_equal(t->item[1].n_max, 30);
    assert_int_equal(t->item[2].n_max, 7);
    assert_string_equal(terse_tasks_name_at(t, 1), "vt");
    assert_null(terse_tasks_name_at(t, 3));
    terse_tasks_close(&t);
}

/* The tokens of context and question are those of the text as a whole; the context ends where they part. */
static void context_and_question_are_one_text(void **state)
{
    (void)state;
    terse_error err = { 0 };
    terse_tasks *t;
    terse_tokens whole = { 0 };
    static const char text[] = "The captain looked at the sea. What did he see?";
    assert_int_equal(
        terse_vocab_tokenize(terse_model_vocab(model), text, strlen(text), true, true, &whole, &err), TERSE_OK);
    for (size_t cut = 0; cut <= strlen(text); cut++) {
        char line[256];
        snprintf(line, sizeof line,
                 "{\"task\":\"a\",\"context\":\"%.*s\",\"question\":\"%s\",\"answers\":[\"x\"]}", (int)cut,
                 text, text + cut);
        assert_int_equal(open_tasks(&t, line, NULL, &err), TERSE_OK);
        assert_int_equal(t->item[0].n, whole.n);
        assert_memory_equal(t->item[0].ids, whole.ids, whole.n * sizeof *whole.ids);
        assert_in_range(t->item[0].n_dense, 1, whole.n - 1);
        terse_tasks_close(&t);
    }
    terse_tokens_free(&whole);
}

/* Greedy output of a session whose last 32 prompt tokens and output are decoded under the rule. */
static void greedy(const terse_tokens *prompt, const char *stop, int32_t n, char *text, size_t size)
{
    terse_error err = { 0 };
    const float *logits = NULL;
    const terse_session_opts o = { .ctx = 1024, .stop = stop };
    const int32_t n_prompt = (int32_t)prompt->n;
    terse_text out = { 0 };
    terse_session *s;
    assert_int_equal(terse_session_open(&s, model, &o, &err), TERSE_OK);
    assert_int_equal(terse_session_prefill(s, prompt->ids, n_prompt - 32, NULL, NULL, &err), TERSE_OK);
    for (int32_t t = n_prompt - 32; t < n_prompt; t++)
        assert_int_equal(terse_session_decode(s, prompt->ids[t], &logits, &err), TERSE_OK);
    for (int32_t t = 0; t < n; t++) {
        const int32_t id = terse_logits_best(logits, terse_model_about(model)->n_vocab);
        assert_int_equal(terse_vocab_piece(terse_model_vocab(model), id, false, &out, &err), TERSE_OK);
        assert_int_equal(terse_session_decode(s, id, &logits, &err), TERSE_OK);
    }
    assert_in_range(out.n, 1, size - 1);
    memcpy(text, out.p, out.n + 1);
    terse_text_free(&out);
    terse_session_close(&s);
}

static void add_line(terse_text *file, const char *prompt, size_t n, const char *answer)
{
    terse_error err;
    json_t *line = json_pack("{s:s, s:s%, s:s}", "task", "t", "prompt", prompt, n, "answer", answer);
    char *text = json_dumps(line, 0);
    assert_non_null(text);
    assert_int_equal(terse_text_append(file, text, strlen(text), &err), TERSE_OK);
    assert_int_equal(terse_text_append(file, "\n", 1, &err), TERSE_OK);
    free(text);
    json_decref(line);
}

/* What a session of the rule's own answers is right for the rule and wrong for those that answer otherwise. */
static void each_rule_answers_for_itself(void **state)
{
    (void)state;
    static const terse_eval_rule rules[] = { { .stop = HARSH }, { .stop = CLOSE }, { .stop = "none" } };
    enum { N_CHAR = 3000, N_ANSWER = 8 };
    terse_error err = { 0 };
    terse_tokens prompt = { 0 };
    terse_text file = { 0 };
    char dense[256], harsh[256], almost[256];
    assert_int_equal(terse_vocab_tokenize(terse_model_vocab(model), demo.p, N_CHAR, true, true, &prompt, &err),
                     TERSE_OK);
    greedy(&prompt, NULL, N_ANSWER, dense, sizeof dense);
    greedy(&prompt, HARSH, N_ANSWER, harsh, sizeof harsh);
    assert_string_not_equal(dense, harsh); /* or the test tests nothing */
    snprintf(almost, sizeof almost, "%.*s?", (int)strlen(dense) - 1, dense);
    add_line(&file, demo.p, N_CHAR, dense);
    add_line(&file, demo.p, N_CHAR, harsh);
    add_line(&file, demo.p, N_CHAR, almost);

    terse_tasks *t;
    assert_int_equal(open_tasks(&t, file.p, NULL, &err), TERSE_OK);
    assert_int_equal(t->item[0].n_dense, prompt.n - 32);
    const terse_eval_opts o = { .session = { .ctx = terse_tasks_ctx(t) } };
    terse_eval *e = open_eval(&o, rules, 3);
    assert_int_equal(terse_eval_tasks(e, t, &err), TERSE_OK);
    const terse_eval_score d = terse_eval_score_of(e, -1, 0), h = terse_eval_score_of(e, 0, -1),
                           n = terse_eval_score_of(e, 2, -1);
    assert_true(d.n == 3 && d.correct == 1.0 && d.lost == 0 && d.gained == 0);
    assert_true(h.n == 3 && h.correct == 1.0 && h.lost == 1 && h.gained == 1);
    assert_true(n.n == 3 && n.correct == 1.0 && n.lost == 0 && n.gained == 0);
    assert_int_equal(terse_eval_score_of(e, 0, 1).n, 0);
    for (int32_t r = 0; r < 3; r++) {
        const terse_eval_result k = result_of(e, r);
        assert_int_equal(k.n_sample, 3);
        assert_true(k.n_token >= 3 * 32 && isnan(k.ppl));
        assert_int_equal(k.read.walks,
                         k.n_token * 16); /* 8 layers x 2 heads: the rule's own way is not in it */
        assert_true((k.mean > 0.0) == (r < 2));
    }
    terse_eval_close(&e);
    const terse_eval_opts small = { .session = { .ctx = terse_tasks_ctx(t) - 1 } };
    e = open_eval(&small, rules, 1);
    assert_int_equal(terse_eval_tasks(e, t, &err), TERSE_BAD_INPUT);
    terse_eval_close(&e);
    terse_tasks_close(&t);
    terse_tokens_free(&prompt);
    terse_text_free(&file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_gives_what_separate_sessions_give),
        cmocka_unit_test(complete_windows_survive),
        cmocka_unit_test(windows_must_fit),
        cmocka_unit_test(figures_do_not_depend_on_cores),
        cmocka_unit_test(a_model_may_have_no_bos),
        cmocka_unit_test(wrong_lines_are_named),
        cmocka_unit_test(options_choose_prompts),
        cmocka_unit_test(outputs_are_judged),
        cmocka_unit_test(context_and_question_are_one_text),
        cmocka_unit_test(each_rule_answers_for_itself),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
