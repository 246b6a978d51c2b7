/* lab/task_file.c: lines of JSON become prompts. All lines are read and made tokens before the first prompt
 * runs: a wrong line at the end must not cost hours. */
#include "lab/tasks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TESTED = 32, MAX_LINES = 1 << 24 };

/* Where an error is. */
typedef struct {
    const char *name;
    int32_t line;
} place;

void terse_tasks_close(terse_tasks **p)
{
    terse_tasks *t = p ? *p : NULL;
    if (!t)
        return;
    for (int32_t i = 0; i < t->n; i++) {
        free(t->item[i].ids);
        json_decref(t->item[i].answers);
    }
    for (int32_t i = 0; i < t->n_name; i++)
        free(t->name[i]);
    free(t->item);
    free(t->name);
    free(t->seen);
    free(t);
    *p = NULL;
}

static terse_status no_memory(terse_error *err)
{
    return terse_fail(err, TERSE_NOMEM, "no memory for the tasks");
}

/* The string called key; NULL, with the error filled, if there is none. */
static const char *text_of(const json_t *line, const char *key, const place *at, terse_error *err)
{
    const char *text = json_string_value(json_object_get(line, key));
    if (!text)
        terse_fail(err, TERSE_BAD_INPUT, "%.160s, line %d: \"%s\" must be a string", at->name, at->line, key);
    return text;
}

/* Index of the name, which is added if it is new. -1 without memory. */
static int32_t name_index(terse_tasks *t, const char *name)
{
    for (int32_t i = 0; i < t->n_name; i++)
        if (!strcmp(t->name[i], name))
            return i;
    if (t->n_name == t->cap_name) {
        const int32_t cap = t->cap_name ? 2 * t->cap_name : 16;
        char **names = realloc(t->name, (size_t)cap * sizeof *names);
        t->name = names ? names : t->name;
        int32_t *seen = realloc(t->seen, (size_t)cap * sizeof *seen);
        t->seen = seen ? seen : t->seen;
        if (!names || !seen)
            return -1;
        t->cap_name = cap;
    }
    char *copy = strdup(name);
    if (!copy)
        return -1;
    t->name[t->n_name] = copy;
    t->seen[t->n_name] = 0;
    return t->n_name++;
}

/* The tokens that RULER lets a task have (scripts/data/synthetic/constants.py). */
int32_t terse_task_tokens(const char *name)
{
    static const struct {
        const char *name;
        int32_t n;
    } lengths[] = { { "vt", 30 }, { "cwe", 120 }, { "fwe", 50 }, { "qa", 32 } };
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        if (!strncmp(name, lengths[i].name, strlen(lengths[i].name)))
            return lengths[i].n;
    return 128;
}

bool terse_task_any(const char *name)
{
    return !strncmp(name, "qa", 2);
}

/* {"prompt", "answer"}: no output needs more tokens than the answer has bytes. */
static terse_status read_prefix(terse_task *k, const json_t *line, const terse_vocab *v, const place *at,
                                terse_error *err)
{
    const char *prompt = text_of(line, "prompt", at, err), *answer = NULL;
    terse_tokens ids = { 0 };
    if (!prompt || !(answer = text_of(line, "answer", at, err)))
        return TERSE_BAD_INPUT;
    if (strlen(answer) > INT32_MAX / 2)
        return terse_fail(err, TERSE_BAD_INPUT, "%.160s, line %d: the answer is too long", at->name, at->line);
    k->judge = TERSE_JUDGE_PREFIX;
    k->n_max = (int32_t)strlen(answer);
    k->answers = json_pack("[O]", json_object_get(line, "answer"));
    if (!k->answers)
        return no_memory(err);
    const terse_status st = terse_vocab_tokenize(v, prompt, strlen(prompt), true, true, &ids, err);
    k->ids = ids.ids;
    k->n = (int32_t)ids.n;
    k->n_dense = k->n > TESTED ? k->n - TESTED : 0;
    return st;
}

terse_status terse_task_text(const terse_task_parts *p, int32_t i, terse_text *out, terse_error *err)
{
    terse_status st = terse_text_append(out, p->context, strlen(p->context), err);
    for (int32_t k = 0; k <= i && st == TERSE_OK; k++) {
        st = terse_text_append(out, p->question[k], strlen(p->question[k]), err);
        if (st == TERSE_OK)
            st = terse_text_append(out, p->prefix[k], strlen(p->prefix[k]), err);
        const size_t n = k == i ? 0 : p->any ? 1 : json_array_size(p->answers[k]);
        for (size_t a = 0; a < n && st == TERSE_OK; a++) {
            const json_t *answer = json_array_get(p->answers[k], a);
            st = a == 0 ? terse_text_append(out, " ", 1, err) : terse_text_append(out, ", ", 2, err);
            if (st == TERSE_OK)
                st = terse_text_append(out, json_string_value(answer), json_string_length(answer), err);
        }
        if (n > 0 && st == TERSE_OK)
            st = terse_text_append(out, ".", 1, err);
    }
    return st;
}

/* The prompt up to question i as one text. What the context alone gives may end otherwise than it goes on: the
 * context reaches as far as both agree. */
static terse_status tokenize_parts(terse_task *k, const terse_task_parts *p, int32_t i, const terse_vocab *v,
                                   terse_error *err)
{
    terse_text text = { 0 };
    terse_tokens all = { 0 }, context = { 0 };
    terse_status st = terse_task_text(p, i, &text, err);
    if (st == TERSE_OK)
        st = terse_vocab_tokenize(v, text.p, text.n, true, true, &all, err);
    if (st == TERSE_OK)
        st = terse_vocab_tokenize(v, p->context, strlen(p->context), true, true, &context, err);
    size_t n = 0;
    while (n < all.n && n < context.n && all.ids[n] == context.ids[n])
        n++;
    k->ids = all.ids;
    k->n = (int32_t)all.n;
    k->n_dense = n < all.n || n == 0 ? (int32_t)n : (int32_t)n - 1; /* something must be decoded */
    terse_text_free(&text);
    terse_tokens_free(&context);
    return st;
}

/* Question i, 0 or 1: "question" or "question2" and what belongs to it. */
static terse_status read_question(terse_task_parts *p, const json_t *line, int32_t i, const place *at,
                                  terse_error *err)
{
    static const char *const names[][3] = { { "question", "answers", "answer_prefix" },
                                            { "question2", "answers2", "answer_prefix2" } };
    json_t *answers = json_object_get(line, names[i][1]), *a;
    if (!(p->question[i] = text_of(line, names[i][0], at, err)))
        return TERSE_BAD_INPUT;
    p->prefix[i] = "";
    if (json_object_get(line, names[i][2]) && !(p->prefix[i] = text_of(line, names[i][2], at, err)))
        return TERSE_BAD_INPUT;
    if (json_array_size(answers) == 0)
        return terse_fail(err, TERSE_BAD_INPUT, "%.160s, line %d: \"%s\" must be a list of strings", at->name,
                          at->line, names[i][1]);
    size_t k;
    json_array_foreach(answers, k, a)
    {
        if (json_string_length(a) == 0)
            return terse_fail(err, TERSE_BAD_INPUT, "%.160s, line %d: answer %zu is no text", at->name,
                              at->line, k + 1);
    }
    p->answers[i] = answers;
    return TERSE_OK;
}

/* {"context", "question", "answers"}: question i of it. */
static terse_status read_ruler(terse_task *k, const json_t *line, int32_t i, const terse_vocab *v,
                               const char *task, const place *at, terse_error *err)
{
    terse_task_parts p = { .context = text_of(line, "context", at, err), .any = terse_task_any(task) };
    const json_t *n_max = json_object_get(line, "max_new_tokens");
    terse_status st = p.context ? TERSE_OK : TERSE_BAD_INPUT;
    for (int32_t q = 0; q <= i && st == TERSE_OK; q++)
        st = read_question(&p, line, q, at, err);
    if (st != TERSE_OK)
        return st;
    const json_int_t given = n_max ? json_integer_value(n_max) : terse_task_tokens(task);
    if (given < 1 || given > 1 << 20)
        return terse_fail(err, TERSE_BAD_INPUT, "%.160s, line %d: \"max_new_tokens\" must be from 1 to %d",
                          at->name, at->line, 1 << 20);
    k->n_max = (int32_t)given;
    k->judge = p.any ? TERSE_JUDGE_ANY : TERSE_JUDGE_ALL;
    k->answers = json_incref(p.answers[i]);
    return tokenize_parts(k, &p, i, v, err);
}

/* A new item at the end; NULL without memory. */
static terse_task *new_item(terse_tasks *t, int32_t name)
{
    if (t->n == t->cap) {
        const int32_t cap = t->cap ? 2 * t->cap : 64;
        terse_task *item = realloc(t->item, (size_t)cap * sizeof *item);
        if (!item)
            return NULL;
        t->item = item;
        t->cap = cap;
    }
    t->item[t->n] = (terse_task){ .task = name };
    return &t->item[t->n++];
}

/* The second question of a line is an item behind that of the first. */
static terse_status read_second(terse_tasks *t, const json_t *line, const terse_vocab *v, const char *task,
                                const place *at, terse_error *err)
{
    char both[256];
    snprintf(both, sizeof both, "%.240s 2nd", task);
    const int32_t name = name_index(t, both);
    terse_task *k = name < 0 ? NULL : new_item(t, name);
    if (!k)
        return no_memory(err);
    t->has_second = true;
    const terse_status st = read_ruler(k, line, 1, v, task, at, err);
    const terse_task *first = k - 1;
    k->follows = st == TERSE_OK && k->n_dense == first->n_dense &&
                 !memcmp(k->ids, first->ids, (size_t)k->n_dense * sizeof *k->ids);
    return st;
}

/* One object; counted, and kept if the options want it. */
static terse_status read_line(terse_tasks *t, json_t *line, const terse_vocab *v, const terse_tasks_opts *o,
                              const place *at, terse_error *err)
{
    if (!json_is_object(line))
        return terse_fail(err, TERSE_BAD_INPUT, "%.160s, line %d: not a JSON object", at->name, at->line);
    const char *task = text_of(line, "task", at, err);
    if (!task)
        return TERSE_BAD_INPUT;
    const int32_t name = name_index(t, task);
    if (name < 0)
        return no_memory(err);
    const int32_t nth = t->seen[name]++ - o->offset;
    const bool wanted = (!o->task || !strcmp(o->task, task)) && nth >= 0 && (!o->limit || nth < o->limit);
    if (!wanted)
        return TERSE_OK;
    terse_task *k = new_item(t, name);
    if (!k)
        return no_memory(err);
    const bool ruler = json_object_get(line, "context") != NULL;
    const terse_status st = ruler ? read_ruler(k, line, 0, v, task, at, err) : read_prefix(k, line, v, at, err);
    if (st == TERSE_OK && (k->n == 0 || json_string_length(json_array_get(k->answers, 0)) == 0))
        return terse_fail(err, TERSE_BAD_INPUT, "%.160s, line %d: the %s is empty", at->name, at->line,
                          k->n ? "answer" : "prompt");
    if (st == TERSE_OK && ruler && o->second && json_object_get(line, "question2"))
        return read_second(t, line, v, task, at, err);
    return st;
}

static terse_status read_lines(terse_tasks *t, const terse_vocab *v, place *at, const char *text, size_t n,
                               const terse_tasks_opts *o, terse_error *err)
{
    terse_status st = TERSE_OK;
    for (const char *p = text, *end = text + n; p < end && st == TERSE_OK;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        const size_t len = (size_t)((stop ? stop : end) - p);
        json_error_t why;
        if (++at->line == MAX_LINES)
            return terse_fail(err, TERSE_BAD_INPUT, "%.160s has more than %d lines", at->name, MAX_LINES);
        size_t blank = 0;
        while (blank < len && strchr(" \t\r", p[blank]) && p[blank])
            blank++;
        if (blank < len) {
            json_t *line = json_loadb(p, len, 0, &why);
            st = line ? read_line(t, line, v, o, at, err)
                      : terse_fail(err, TERSE_BAD_INPUT, "%.160s, line %d: %.160s", at->name, at->line,
                                   why.text);
            json_decref(line);
        }
        p += len + 1;
    }
    if (st == TERSE_OK && o->second && t->n > 0 && !t->has_second)
        return terse_fail(err, TERSE_BAD_INPUT, "%.160s has no \"question2\" in the lines that were chosen",
                          at->name);
    return st;
}

/* Nothing to run: says why. */
static terse_status none_left(const terse_tasks *t, const place *at, const terse_tasks_opts *o,
                              terse_error *err)
{
    char known[256] = "";
    size_t used = 0;
    bool found = false;
    for (int32_t i = 0; i < t->n_name && used < sizeof known; i++) {
        used += (size_t)snprintf(known + used, sizeof known - used, " %.40s", t->name[i]);
        found |= o->task && !strcmp(o->task, t->name[i]);
    }
    if (t->n_name == 0)
        return terse_fail(err, TERSE_BAD_INPUT, "%.160s has no tasks in it", at->name);
    if (o->task && !found)
        return terse_fail(err, TERSE_BAD_INPUT, "%.100s has no task '%.40s'; it has%s", at->name, o->task,
                          known);
    return terse_fail(err, TERSE_BAD_INPUT, "%.160s: no task has more than %d prompts", at->name, o->offset);
}

terse_status terse_tasks_open(terse_tasks **out, const terse_vocab *v, const char *name, const char *text,
                              size_t n, const terse_tasks_opts *o, terse_error *err)
{
    place at = { .name = name };
    *out = NULL;
    if (o->limit < 0 || o->offset < 0)
        return terse_fail(err, TERSE_BAD_INPUT, "limit %d and offset %d must not be negative", o->limit,
                          o->offset);
    terse_tasks *t = calloc(1, sizeof *t);
    if (!t)
        return no_memory(err);
    terse_status st = read_lines(t, v, &at, text, n, o, err);
    if (st == TERSE_OK && t->n == 0)
        st = none_left(t, &at, o, err);
    if (st == TERSE_OK)
        *out = t;
    else
        terse_tasks_close(&t);
    return st;
}

int32_t terse_tasks_count(const terse_tasks *t)
{
    return t->n;
}

int32_t terse_tasks_ctx(const terse_tasks *t)
{
    int32_t most = 0;
    for (int32_t i = 0; i < t->n; i++) {
        const int32_t need = t->item[i].n + t->item[i].n_max;
        most = need > most ? need : most;
    }
    return most;
}

const char *terse_tasks_name_at(const terse_tasks *t, int32_t i)
{
    return i >= 0 && i < t->n_name ? t->name[i] : NULL;
}
