/* lab/tasks.c: runs prompts. As long as a rule chooses dense's tokens, comparing it with dense and letting it
 * answer are the same steps; its own way is gone only from the first token on that differs. */
#include "lab/tasks.h"

#include "lab/compare.h"
#include "lab/statistics.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* ---- judging ---- */

/* Upper and lower case of ASCII letters are the same. */
static bool occurs(const char *text, size_t n, const char *word, size_t n_word)
{
    for (size_t i = 0; i + n_word <= n; i++) {
        size_t j = 0;
        while (j < n_word && tolower((unsigned char)text[i + j]) == tolower((unsigned char)word[j]))
            j++;
        if (j == n_word)
            return true;
    }
    return false;
}

double terse_task_score(const terse_task *t, const char *text, size_t n, bool *decided)
{
    if (t->judge == TERSE_JUDGE_PREFIX) {
        const json_t *answer = json_array_get(t->answers, 0);
        const size_t len = json_string_length(answer), both = n < len ? n : len;
        const bool same = both == 0 || !memcmp(text, json_string_value(answer), both);
        *decided = !same || n >= len;
        return same && n >= len ? 1.0 : 0.0;
    }
    const size_t n_answer = json_array_size(t->answers);
    size_t found = 0;
    for (size_t i = 0; i < n_answer; i++) {
        const json_t *answer = json_array_get(t->answers, i);
        found += occurs(text, n, json_string_value(answer), json_string_length(answer));
    }
    const bool any = t->judge == TERSE_JUDGE_ANY;
    *decided = any ? found > 0 : found == n_answer;
    return any ? found > 0 : (double)found / (double)n_answer;
}

/* ---- one prompt ---- */

typedef struct {
    terse_eval *e;
    const terse_task *task;
    terse_tokens answer; /* dense's output */
    terse_text text;     /* of the output at hand */
    double dense_score;
} prompt;

/* Takes a token into the output, which has n tokens with it; *over if it is the last. */
static terse_status take(prompt *p, int32_t id, int32_t n, double *score, bool *over, terse_error *err)
{
    const terse_status st = terse_vocab_piece(terse_model_vocab(p->e->model), id, false, &p->text, err);
    bool decided = false;
    if (st == TERSE_OK)
        *score = terse_task_score(p->task, p->text.p, p->text.n, &decided);
    *over = decided || n >= p->task->n_max;
    return st;
}

/* Greedy decoding from the choice id on, the n-th token of the output. keep: this is dense's run. */
static terse_status go_on(prompt *p, int32_t id, int32_t n, bool keep, double *score, terse_error *err)
{
    terse_eval *e = p->e;
    terse_status st = TERSE_OK;
    bool over = terse_vocab_is_end(terse_model_vocab(e->model), id);
    for (; !over && st == TERSE_OK; n++) {
        const float *logits;
        if (keep)
            st = terse_tokens_push(&p->answer, id, err);
        if (st == TERSE_OK)
            st = take(p, id, n, score, &over, err);
        if (over || st != TERSE_OK)
            break;
        st = terse_compare_decode(e, id, &logits, err);
        if (st == TERSE_OK && keep)
            st = terse_compare_keep(e, logits, err);
        id = st == TERSE_OK ? terse_logits_best(logits, e->n_vocab) : 0;
        if (id < 0)
            return terse_fail(err, TERSE_INTERNAL, "after %d tokens the model gives no number for some token",
                              terse_session_count(e->now));
        over = terse_vocab_is_end(terse_model_vocab(e->model), id);
    }
    return st;
}

static terse_status run_dense(prompt *p, terse_error *err)
{
    terse_eval *e = p->e;
    const terse_task *k = p->task;
    terse_status st = terse_compare_rule(e, -1, k->n_dense, err);
    p->text.n = 0;
    for (int32_t t = k->n_dense; t < k->n && st == TERSE_OK; t++) {
        const float *logits;
        if ((st = terse_compare_decode(e, k->ids[t], &logits, err)) == TERSE_OK)
            st = terse_compare_keep(e, logits, err);
    }
    return st == TERSE_OK ? go_on(p, e->best[e->n_row - 1], 1, true, &p->dense_score, err) : st;
}

/* Row i comes after token i of question and dense's answer. */
static int32_t token_of(const prompt *p, int32_t i)
{
    const int32_t n_question = p->task->n - p->task->n_dense;
    return i < n_question ? p->task->ids[p->task->n_dense + i] : p->answer.ids[i - n_question];
}

/* To behind the row where the rule chose otherwise. What was dropped since does not come back by itself. */
static terse_status go_back(prompt *p, int32_t r, int32_t row, terse_error *err)
{
    terse_eval *e = p->e;
    if (!e->tally[r].drops) {
        terse_session_truncate(e->now, p->task->n_dense + row + 1);
        return TERSE_OK;
    }
    terse_status st = terse_compare_rule(e, r, p->task->n_dense, err);
    for (int32_t i = 0; i <= row && st == TERSE_OK; i++)
        st = terse_session_decode(e->now, token_of(p, i), NULL, err);
    return st;
}

static terse_status run_rule(prompt *p, int32_t r, double *score, terse_error *err)
{
    terse_eval *e = p->e;
    const int32_t n_question = p->task->n - p->task->n_dense;
    int32_t left_at = -1, choice = -1; /* the first row of the answer where the rule chooses otherwise */
    terse_status st = terse_compare_rule(e, r, p->task->n_dense, err);
    for (int32_t i = 0; i < e->n_row && st == TERSE_OK; i++) {
        const float *logits;
        int32_t best = -1;
        if ((st = terse_compare_decode(e, token_of(p, i), &logits, err)) == TERSE_OK)
            st = terse_compare_row(e, r, i, logits, -1, &best, err);
        if (i >= n_question - 1 && left_at < 0 && best != e->best[i]) {
            left_at = i;
            choice = best;
        }
    }
    terse_compare_read(e, r);
    *score = p->dense_score;
    if (left_at < 0 || st != TERSE_OK)
        return st;
    const int32_t n = left_at - n_question + 1; /* tokens that both have */
    bool decided;
    st = go_back(p, r, left_at, err);
    p->text.n = 0;
    for (int32_t i = 0; i < n && st == TERSE_OK; i++)
        st = terse_vocab_piece(terse_model_vocab(e->model), p->answer.ids[i], false, &p->text, err);
    *score = terse_task_score(p->task, p->text.p, p->text.n, &decided);
    return st == TERSE_OK ? go_on(p, choice, n + 1, false, score, err) : st;
}

static terse_status run_prompt(prompt *p, double *score, terse_error *err)
{
    terse_eval *e = p->e;
    p->answer.n = 0;
    p->dense_score = 0.0;
    terse_status st = TERSE_OK;
    if (p->task->follows)
        terse_compare_again(e, p->task->n_dense);
    else
        st = terse_compare_begin(e, p->task->ids, p->task->n_dense, err);
    if (st == TERSE_OK)
        st = run_dense(p, err);
    score[0] = p->dense_score;
    for (int32_t r = 0; r < e->n_rule && st == TERSE_OK; r++)
        st = run_rule(p, r, &score[1 + r], err);
    return st == TERSE_OK ? terse_compare_commit(e, err) : st;
}

/* ---- all of them ---- */

/* Tokens that a prompt costs: the length of the answers is not known before, so it is taken as one token for
 * each 2 bytes or half of what is allowed. For progress only. */
static int64_t cost(const terse_task *k, int32_t n_rule)
{
    const int32_t context = k->follows ? 0 : k->n_dense;
    return context + (int64_t)(k->n - k->n_dense + k->n_max / 2) * (1 + n_rule);
}

terse_status terse_eval_tasks(terse_eval *e, const terse_tasks *t, terse_error *err)
{
    prompt p = { .e = e };
    terse_status st = TERSE_OK;
    if (terse_tasks_ctx(t) > terse_session_ctx(e->session))
        return terse_fail(err, TERSE_BAD_INPUT,
                          "the longest prompt and its answer need %d tokens, the context "
                          "holds %d",
                          terse_tasks_ctx(t), terse_session_ctx(e->session));
    e->score = calloc((size_t)t->n, (size_t)(1 + e->n_rule) * sizeof *e->score);
    if (!e->score)
        return terse_fail(err, TERSE_NOMEM, "no memory for %d prompts", t->n);
    e->tasks = t;
    e->n_done = e->n_total = 0;
    for (int32_t i = 0; i < t->n; i++)
        e->n_total += cost(&t->item[i], e->n_rule);
    for (int64_t done = 0; e->n_score < t->n && st == TERSE_OK;) {
        p.task = &t->item[e->n_score];
        st = run_prompt(&p, e->score + (size_t)e->n_score * (size_t)(1 + e->n_rule), err);
        e->n_score += st == TERSE_OK;
        e->n_done = done += cost(p.task, e->n_rule);
        terse_compare_tick(e, 0);
    }
    terse_tokens_free(&p.answer);
    terse_text_free(&p.text);
    return st;
}

terse_eval_score terse_eval_score_of(const terse_eval *e, int32_t rule, int32_t task)
{
    terse_eval_score s = { 0 };
    for (int32_t i = 0; i < e->n_score; i++) {
        const double *score = e->score + (size_t)i * (size_t)(1 + e->n_rule);
        if (task >= 0 && e->tasks->item[i].task != task)
            continue;
        s.n++;
        s.correct += score[1 + rule];
        s.lost += score[1 + rule] < score[0];
        s.gained += score[1 + rule] > score[0];
    }
    const terse_interval share = terse_share_interval(s.correct, s.n);
    s.low = share.low;
    s.high = share.high;
    return s;
}
