/* lab/ruler.c: makes prompts as long as the context allows. A prompt of any size can be made from its seed;
 * the largest one that fits is searched, as the tokenizer counts. */
#include "lab/ruler.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NIAH(uuid_key, uuid_value, fill, n_key, n_value, n_query, second)                                      \
    terse_ruler_niah, terse_ruler_most_keys, 1, second, fill, uuid_key, uuid_value, n_key, n_value, n_query

static int32_t any_number(const terse_ruler_prompt *p)
{
    (void)p;
    return 1 << 26;
}

const terse_ruler_task terse_ruler_tasks[TERSE_RULER_TASKS] = {
    { "niah_single_1", NIAH(false, false, TERSE_FILL_NOISE, 1, 1, 1, false) },
    { "niah_single_2", NIAH(false, false, TERSE_FILL_HAYSTACK, 1, 1, 1, false) },
    { "niah_single_3", NIAH(false, true, TERSE_FILL_HAYSTACK, 1, 1, 1, false) },
    { "niah_multikey_1", NIAH(false, false, TERSE_FILL_HAYSTACK, 4, 1, 1, true) },
    { "niah_multikey_2", NIAH(false, false, TERSE_FILL_NEEDLES, 1, 1, 1, true) },
    { "niah_multikey_3", NIAH(true, true, TERSE_FILL_NEEDLES, 1, 1, 1, true) },
    { "niah_multivalue", NIAH(false, false, TERSE_FILL_HAYSTACK, 1, 4, 1, true) },
    { "niah_multiquery", NIAH(false, false, TERSE_FILL_HAYSTACK, 4, 1, 4, true) },
    { "vt", terse_ruler_vt, any_number, 1, .second = true, .fill = TERSE_FILL_NOISE },
    { "cwe", terse_ruler_cwe, any_number, 10, .second = false },
    { "fwe", terse_ruler_fwe, any_number, 100, .second = false },
    { "qa_1", terse_ruler_qa_1, terse_ruler_most_documents, 4, .second = true },
    { "qa_2", terse_ruler_qa_2, terse_ruler_most_documents, 4, .second = true },
};
#undef NIAH

const char *terse_ruler_task_at(int32_t i)
{
    return i >= 0 && i < TERSE_RULER_TASKS ? terse_ruler_tasks[i].name : NULL;
}

/* ---- writing ---- */

void terse_ruler_add(terse_ruler_prompt *p, terse_text *to, terse_str s)
{
    if (p->st == TERSE_OK)
        p->st = terse_text_append(to, s.p, s.n, p->err);
}

/* For texts of names, whose length is limited. */
void terse_ruler_put(terse_ruler_prompt *p, terse_text *to, const char *fmt, ...)
{
    char text[1024];
    va_list args;
    va_start(args, fmt);
    const int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (p->st == TERSE_OK && (n < 0 || (size_t)n >= sizeof text))
        p->st = terse_fail(p->err, TERSE_INTERNAL, "%s: %d bytes at once", p->task->name, n);
    terse_ruler_add(p, to, (terse_str){ text, p->st == TERSE_OK ? (size_t)n : 0 });
}

void terse_ruler_answer(terse_ruler_prompt *p, int32_t i, const char *answer)
{
    if (p->st == TERSE_OK && json_array_append_new(p->answers[i], json_string(answer)) != 0)
        p->st =
            terse_fail(p->err, TERSE_BAD_INPUT, "no memory for this answer, or it is no UTF-8: %.80s", answer);
}

void *terse_ruler_alloc(terse_ruler_prompt *p, int32_t n, size_t size)
{
    void *x = p->st == TERSE_OK ? calloc((size_t)n, size) : NULL;
    if (!x && p->st == TERSE_OK)
        p->st = terse_fail(p->err, TERSE_NOMEM, "no memory for a prompt");
    return x;
}

terse_str terse_ruler_pick(terse_ruler_prompt *p, terse_ruler_section s)
{
    const terse_ruler_lines *from = &p->text->section[s];
    return from->line[terse_dice_below(&p->dice, from->n)];
}

/* Puts depth to index i. */
static void bring(int32_t at[TERSE_RULER_SLOTS], int32_t i, int32_t depth)
{
    int32_t from = 0;
    while (at[from] != depth)
        from++;
    at[from] = at[i];
    at[i] = depth;
}

void terse_ruler_depths(terse_ruler_prompt *p, int32_t at[TERSE_RULER_SLOTS], int32_t opposite)
{
    enum { STEP = 11 }; /* no common divisor with the slots, and few prompts are already spread */
    const int32_t n = TERSE_RULER_SLOTS, first = (int32_t)((int64_t)p->nth * STEP % n);
    for (int32_t i = 0; i < n; i++)
        at[i] = i;
    terse_dice_shuffle(&p->dice, at, n);
    bring(at, 0, first);
    if (opposite > 0)
        bring(at, opposite, (first + n / 2) % n);
}

/* ---- one prompt ---- */

static void close_prompt(terse_ruler_prompt *p)
{
    terse_text_free(&p->context);
    for (int i = 0; i < 2; i++) {
        terse_text_free(&p->question[i]);
        terse_text_free(&p->prefix[i]);
        json_decref(p->answers[i]);
    }
}

/* Writes the prompt in this size; the same for the same seed. */
static terse_status write_prompt(terse_ruler_prompt *p, int32_t size, uint64_t seed)
{
    terse_text *all[] = { &p->context, &p->question[0], &p->question[1], &p->prefix[0], &p->prefix[1] };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        all[i]->n = 0;
    p->st = TERSE_OK;
    for (int32_t i = 0; i < 2; i++) {
        json_decref(p->answers[i]);
        p->answers[i] = json_array();
        if (!p->answers[i])
            p->st = terse_fail(p->err, TERSE_NOMEM, "no memory for a prompt");
    }
    p->size = size;
    p->dice.state = seed;
    p->dice.state = terse_dice_next(&p->dice) + (uint64_t)(p->task - terse_ruler_tasks);
    p->dice.state = terse_dice_next(&p->dice) + (uint64_t)p->nth;
    p->task->write(p);
    return p->st;
}

static terse_task_parts parts_of(const terse_ruler_prompt *p)
{
    return (terse_task_parts){ .context = p->context.p,
                               .question = { p->question[0].p, p->question[1].p },
                               .prefix = { p->prefix[0].p, p->prefix[1].p },
                               .answers = { p->answers[0], p->answers[1] },
                               .any = terse_task_any(p->task->name) };
}

/* Tokens of the prompt in this size, up to its last question. */
static terse_status measure(terse_ruler_prompt *p, int32_t size, uint64_t seed, const terse_vocab *v,
                            int32_t *tokens)
{
    terse_text text = { 0 };
    terse_tokens ids = { 0 };
    terse_status st = write_prompt(p, size, seed);
    if (st == TERSE_OK) {
        const terse_task_parts parts = parts_of(p);
        st = terse_task_text(&parts, p->n_ask - 1, &text, p->err);
    }
    if (st == TERSE_OK)
        st = terse_vocab_tokenize(v, text.p, text.n, true, true, &ids, p->err);
    *tokens = (int32_t)ids.n;
    terse_tokens_free(&ids);
    terse_text_free(&text);
    return st;
}

/* The prompt in the largest size with room tokens or less, one more of which would be too many. */
static terse_status fit(terse_ruler_prompt *p, int32_t room, uint64_t seed, const terse_vocab *v,
                        int32_t *tokens)
{
    const int32_t most = p->task->most(p);
    int32_t low = p->task->least, high = low, n;
    terse_status st = measure(p, low, seed, v, &n);
    if (st == TERSE_OK && n > room)
        return terse_fail(p->err, TERSE_BAD_INPUT,
                          "%s needs %d tokens and %d for the answer; there is room for %d", p->task->name, n,
                          p->ctx - room, p->ctx);
    while (st == TERSE_OK && n <= room && high < most) {
        low = high;
        high = high < most / 2 ? 2 * high : most;
        st = measure(p, high, seed, v, &n);
    }
    if (st == TERSE_OK && n <= room)
        return terse_fail(p->err, TERSE_BAD_INPUT, "%s: the text has names for %d tokens, not for %d",
                          p->task->name, n, room);
    while (st == TERSE_OK && high - low > 1) {
        const int32_t middle = low + (high - low) / 2;
        st = measure(p, middle, seed, v, &n);
        *(n <= room ? &low : &high) = middle;
    }
    return st == TERSE_OK ? measure(p, low, seed, v, tokens) : st;
}

static terse_status append_line(terse_text *out, const terse_ruler_prompt *p, int32_t tokens, int32_t n_answer,
                                terse_error *err)
{
    json_t *line =
        json_pack("{s:s, s:i, s:i, s:s, s:s, s:s, s:O, s:i}", "task", p->task->name, "length", p->ctx,
                  "n_tokens", tokens, "context", p->context.p, "question", p->question[0].p, "answer_prefix",
                  p->prefix[0].p, "answers", p->answers[0], "max_new_tokens", n_answer);
    json_t *more = p->n_ask < 2 ? json_object()
                                : json_pack("{s:s, s:s, s:O}", "question2", p->question[1].p, "answer_prefix2",
                                            p->prefix[1].p, "answers2", p->answers[1]);
    char *text = line && more && json_object_update(line, more) == 0 ? json_dumps(line, JSON_COMPACT) : NULL;
    terse_status st =
        text ? terse_text_append(out, text, strlen(text), err)
             : terse_fail(err, TERSE_BAD_INPUT, "%s: no memory, or the text is no UTF-8", p->task->name);
    if (st == TERSE_OK)
        st = terse_text_append(out, "\n", 1, err);
    free(text);
    json_decref(line);
    json_decref(more);
    return st;
}

/* ---- all of them ---- */

static terse_status make_task(terse_text *out, const terse_vocab *v, const terse_ruler_text *text,
                              const terse_ruler_task *task, const terse_ruler_opts *o, terse_error *err)
{
    const int32_t n_answer = terse_task_tokens(task->name), limit = o->limit ? o->limit : TERSE_RULER_PROMPTS;
    terse_ruler_prompt p = { .text = text, .task = task, .ctx = o->ctx, .err = err };
    p.n_ask = o->second && task->second ? 2 : 1;
    p.example = !o->no_example;
    terse_status st = TERSE_OK;
    for (int32_t i = 0; i < limit && st == TERSE_OK; i++) {
        int32_t tokens = 0;
        p.nth = o->offset + i;
        st = fit(&p, o->ctx - n_answer, o->seed, v, &tokens);
        if (st == TERSE_OK)
            st = append_line(out, &p, tokens, n_answer, err);
    }
    close_prompt(&p);
    return st;
}

static terse_status check(const terse_ruler_opts *o, terse_error *err)
{
    char known[512] = "";
    size_t used = 0;
    if (o->ctx < 1 || o->limit < 0 || o->offset < 0 || o->limit > INT32_MAX - o->offset)
        return terse_fail(err, TERSE_BAD_INPUT, "%d tokens, limit %d and offset %d: no prompts are like that",
                          o->ctx, o->limit, o->offset);
    for (int32_t i = 0; i < TERSE_RULER_TASKS; i++) {
        if (!o->task || !strcmp(o->task, terse_ruler_tasks[i].name))
            return TERSE_OK;
        used += (size_t)snprintf(known + used, sizeof known - used, " %s", terse_ruler_tasks[i].name);
    }
    return terse_fail(err, TERSE_BAD_INPUT, "no task is called '%.40s'; there are%s", o->task, known);
}

terse_status terse_ruler_make(terse_text *out, const terse_vocab *v, const char *text, size_t n,
                              const terse_ruler_opts *o, terse_error *err)
{
    terse_ruler_text material = { 0 };
    terse_status st = check(o, err);
    if (st == TERSE_OK)
        st = terse_ruler_text_open(&material, text, n, err);
    for (int32_t i = 0; i < TERSE_RULER_TASKS && st == TERSE_OK; i++)
        if (!o->task || !strcmp(o->task, terse_ruler_tasks[i].name))
            st = make_task(out, v, &material, &terse_ruler_tasks[i], o, err);
    terse_ruler_text_close(&material);
    return st;
}
