/* lab/pareto_journal.c: see the header. A line is written with one call and synced; a line without its newline
 * is one that a crash has cut, and is taken away. Everything in a line is checked before it is used. */
#include "base/path.h"
#include "lab/pareto_parts.h"
#include "lab/tasks.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

enum { VERSION = 1, DIGITS = 17, HASH_TEXT = 17 };

static terse_status no_memory(terse_error *err)
{
    return terse_fail(err, TERSE_NOMEM, "no memory for the journal");
}

static terse_status fail_errno(const terse_pareto *p, const char *what, terse_error *err)
{
    return terse_fail(err, TERSE_IO, "%s: %s: %s", terse_path_shown(p->opts.journal), what, strerror(errno));
}

/* ---- the first line ---- */

static json_t *json_of_hash(XXH64_hash_t h)
{
    char text[HASH_TEXT];
    snprintf(text, sizeof text, "%016llx", (unsigned long long)h);
    return json_string(text);
}

/* Of all that decides what a prompt is and how it is judged; null without tasks. */
static json_t *json_of_tasks(const terse_tasks *t)
{
    XXH3_state_t *s = t ? XXH3_createState() : NULL;
    if (!t)
        return json_null();
    if (!s)
        return NULL;
    (void)XXH3_64bits_reset(s);
    bool good = true;
    for (int32_t i = 0; i < t->n && good; i++) {
        const terse_task *k = &t->item[i];
        const int32_t numbers[] = { k->task, k->n, k->n_dense, k->n_max, (int32_t)k->judge };
        char *answers = json_dumps(k->answers, JSON_COMPACT);
        good = answers != NULL;
        (void)XXH3_64bits_update(s, numbers, sizeof numbers);
        (void)XXH3_64bits_update(s, k->ids, (size_t)k->n * sizeof *k->ids);
        if (good)
            (void)XXH3_64bits_update(s, answers, strlen(answers));
        free(answers);
    }
    json_t *hash = good ? json_of_hash(XXH3_64bits_digest(s)) : NULL;
    XXH3_freeState(s);
    return hash;
}

/* Appends value, which it takes over; *list becomes NULL on failure. */
static void append(json_t **list, json_t *value)
{
    if (*list && json_array_append_new(*list, value) == 0)
        return;
    if (!*list)
        json_decref(value);
    json_decref(*list);
    *list = NULL;
}

static json_t *json_of_grid(const terse_pareto *p)
{
    const terse_pareto_opts *o = &p->opts;
    json_t *ctx = json_array(), *windows = json_array(), *types = json_array(), *rules = json_array();
    char name[64];
    for (int32_t i = 0; i < o->n_ctx; i++) {
        append(&ctx, json_integer(o->ctx[i]));
        append(&windows, json_integer(p->windows[i]));
    }
    for (int32_t i = 0; i < o->n_type; i++) {
        snprintf(name, sizeof name, "%s/%s", terse_kv_type_name(o->type[i].type_k),
                 terse_kv_type_name(o->type[i].type_v));
        append(&types, json_string(name));
    }
    for (int32_t i = 0; i < o->n_rule; i++)
        append(&rules, json_sprintf("%s %s", o->rules[i].policy ? o->rules[i].policy : "dense", p->stop[i]));
    return json_pack("{s:i, s:s, s:s, s:o, s:o, s:i, s:o, s:o, s:o, s:o}", "version", VERSION, "terse",
                     terse_version(), "model", p->hash, "text",
                     json_of_hash(XXH3_64bits(o->token, o->n_token * sizeof *o->token)), "prompts",
                     json_of_tasks(o->tasks), "scored", o->scored, "contexts", ctx, "windows", windows, "types",
                     types, "settings", rules);
}

/* One value of the first line that is not what it has to be. */
static terse_status differs(const terse_pareto *p, const char *key, const json_t *there, const json_t *here,
                            terse_error *err)
{
    char which[32] = "";
    if (json_is_array(there) && json_array_size(there) != json_array_size(here)) {
        return terse_fail(
            err, TERSE_BAD_INPUT,
            "%s is of another run: %zu %s there, %zu here; name another folder or remove this one",
            terse_path_shown(p->opts.journal), json_array_size(there), key, json_array_size(here));
    }
    for (size_t i = 0; json_is_array(there) && i < json_array_size(here); i++)
        if (!json_equal(json_array_get(there, i), json_array_get(here, i))) {
            there = json_array_get(there, i);
            here = json_array_get(here, i);
            snprintf(which, sizeof which, " %zu", i + 1);
        }
    char *a = json_dumps(there, JSON_ENCODE_ANY), *b = json_dumps(here, JSON_ENCODE_ANY);
    const terse_status st = terse_fail(
        err, TERSE_BAD_INPUT,
        "%s is of another run: \"%s\"%s is %.90s there, %.90s here; name another folder or remove this one",
        terse_path_shown(p->opts.journal), key, which, a ? a : "nothing", b ? b : "nothing");
    free(a);
    free(b);
    return st;
}

static terse_status check_first(const terse_pareto *p, const json_t *there, const json_t *here,
                                terse_error *err)
{
    static const char *const keys[] = { "version", "terse",    "model",   "text",  "prompts",
                                        "scored",  "contexts", "windows", "types", "settings" };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const json_t *a = json_object_get(there, keys[i]), *b = json_object_get(here, keys[i]);
        if (!a || !json_equal(a, b))
            return differs(p, keys[i], a, b, err);
    }
    return TERSE_OK;
}

/* ---- the other lines ---- */

/* A number that counts something; sets *good to false for anything else. */
static int64_t count_of(const json_t *x, bool *good)
{
    *good &= json_is_integer(x) && json_integer_value(x) >= 0;
    return json_integer_value(x);
}

/* A number; null is infinite. */
static double number_of(const json_t *x, bool *good)
{
    *good &= json_is_number(x) || json_is_null(x);
    return json_is_null(x) ? INFINITY : json_number_value(x);
}

/* Whether the cell is what it should be, with its numbers taken. The part's clearing frees what it has. */
static bool read_cell(const terse_pareto *p, const terse_pareto_part *part, const json_t *from,
                      terse_pareto_cell *c)
{
    const json_t *kl = json_object_get(from, "kl"), *bytes = json_object_get(from, "bytes");
    const json_t *heads = json_object_get(from, "heads"), *score = json_object_get(from, "score");
    const size_t n = (size_t)part->n, n_head = 2 * (size_t)p->n_unit;
    bool good = json_array_size(kl) == n && json_array_size(bytes) == 4 && json_array_size(heads) == n_head &&
                (part->ctx >= 0 || json_array_size(score) == 4);
    c->kl = good ? calloc(n, sizeof *c->kl) : NULL;
    c->head = good ? calloc(n_head, sizeof *c->head) : NULL;
    if (!c->kl || !c->head)
        return false;
    for (size_t i = 0; i < n; i++) {
        c->kl[i] = number_of(json_array_get(kl, i), &good);
        good &= c->kl[i] >= 0.0;
    }
    for (size_t i = 0; i < n_head; i++)
        c->head[i] = count_of(json_array_get(heads, i), &good);
    c->agree = count_of(json_object_get(from, "agree"), &good);
    c->nll = number_of(json_object_get(from, "nll"), &good);
    c->k = count_of(json_array_get(bytes, 0), &good);
    c->v = count_of(json_array_get(bytes, 1), &good);
    c->summary = count_of(json_array_get(bytes, 2), &good);
    c->dense = count_of(json_array_get(bytes, 3), &good);
    if (part->ctx >= 0)
        return good;
    c->n_score = (int32_t)count_of(json_array_get(score, 0), &good);
    c->correct = number_of(json_array_get(score, 1), &good);
    c->lost = (int32_t)count_of(json_array_get(score, 2), &good);
    c->gained = (int32_t)count_of(json_array_get(score, 3), &good);
    return good;
}

/* The part that a line is of; NULL if there is none such. */
static terse_pareto_part *find_part(terse_pareto *p, const json_t *line)
{
    bool good = true;
    const int64_t ctx = count_of(json_object_get(line, "ctx"), &good);
    const int64_t index = count_of(json_object_get(line, "index"), &good);
    const int64_t type = count_of(json_object_get(line, "type"), &good);
    for (int32_t i = 0; i < p->n_part && good; i++) {
        const terse_pareto_part *a = &p->part[i];
        if (a->index == index && a->type == type && (a->ctx < 0 ? 0 : p->opts.ctx[a->ctx]) == ctx)
            return &p->part[i];
    }
    return NULL;
}

/* Takes a line in; false if it is no part of this grid, or without memory. */
static bool take(terse_pareto *p, const json_t *line)
{
    terse_pareto_part *part = find_part(p, line);
    const json_t *cells = json_object_get(line, "cells");
    const size_t n_rule = (size_t)p->opts.n_rule;
    bool good = part && !part->done && json_array_size(cells) == n_rule;
    const int64_t n = good ? count_of(json_object_get(line, "tokens"), &good) : 0;
    if (!good || n < 1 || n > INT32_MAX)
        return false;
    part->n = (int32_t)n;
    part->nll_dense = number_of(json_object_get(line, "nll_dense"), &good);
    part->cell = calloc(n_rule, sizeof *part->cell);
    good &= part->cell != NULL;
    for (size_t r = 0; r < n_rule && good; r++)
        good = read_cell(p, part, json_array_get(cells, r), &part->cell[r]);
    if (!good) {
        terse_pareto_part_clear(part, p->opts.n_rule);
        return false;
    }
    part->done = true;
    p->n_done++;
    return true;
}

/* ---- the file ---- */

static terse_status write_line(const terse_pareto *p, const char *text, size_t n, terse_error *err)
{
    while (n > 0) {
        const ssize_t done = write(p->fd, text, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return fail_errno(p, "cannot write", err);
        text += done;
        n -= (size_t)done;
    }
    return fdatasync(p->fd) == 0 || errno == EINVAL ? TERSE_OK : fail_errno(p, "cannot sync", err);
}

/* Writes an object as a line; *back is what a reader of the file gets, owned by the caller. */
static terse_status write_json(const terse_pareto *p, const json_t *line, json_t **back, terse_error *err)
{
    json_error_t why;
    char *text = json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(DIGITS));
    *back = text ? json_loads(text, 0, &why) : NULL;
    if (!*back) {
        free(text);
        return no_memory(err);
    }
    const size_t n = strlen(text);
    text[n] = '\n'; /* the line counts when all of it is there, so it ends with the last byte of the call */
    const terse_status st = write_line(p, text, n + 1, err);
    free(text);
    return st;
}

terse_status terse_pareto_journal_add(terse_pareto *p, int32_t i, const json_t *line, terse_error *err)
{
    json_t *back = NULL;
    terse_status st = write_json(p, line, &back, err);
    if (st == TERSE_OK && (!take(p, back) || !p->part[i].done))
        st = terse_fail(err, TERSE_INTERNAL, "part %d of the grid cannot be read back", i);
    json_decref(back);
    return st;
}

/* One complete line, without its newline. */
static terse_status read_line(terse_pareto *p, const char *text, size_t n, int32_t number, const json_t *grid,
                              terse_error *err)
{
    json_error_t why = { 0 };
    json_t *line = json_loadb(text, n, 0, &why);
    terse_status st = TERSE_OK;
    if (!line || !json_is_object(line) || (number > 1 && !take(p, line)))
        st = terse_fail(err, TERSE_BAD_INPUT, "%s, line %d: damaged%s%.80s; remove the line or the file",
                        terse_path_shown(p->opts.journal), number, line ? "" : ": ", why.text);
    else if (number == 1)
        st = check_first(p, line, grid, err);
    json_decref(line);
    return st;
}

static terse_status read_lines(terse_pareto *p, const json_t *grid, int32_t *n_line, terse_error *err)
{
    const int copy = dup(p->fd);
    FILE *f = copy >= 0 ? fdopen(copy, "rb") : NULL;
    if (!f) {
        const terse_status st = fail_errno(p, "cannot read", err);
        if (copy >= 0)
            close(copy);
        return st;
    }
    terse_status st = TERSE_OK;
    char *text = NULL;
    size_t cap = 0;
    off_t end = 0;
    ssize_t n;
    while (st == TERSE_OK && (n = getline(&text, &cap, f)) > 0 && text[n - 1] == '\n') {
        st = read_line(p, text, (size_t)n - 1, ++*n_line, grid, err);
        end += n;
    }
    if (st == TERSE_OK && ferror(f))
        st = fail_errno(p, "cannot read", err);
    if (st == TERSE_OK && ftruncate(p->fd, end) != 0)
        st = fail_errno(p, "cannot remove the end of a line", err);
    free(text);
    fclose(f);
    return st;
}

terse_status terse_pareto_journal_open(terse_pareto *p, terse_error *err)
{
    struct stat s;
    p->fd = open(p->opts.journal, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (p->fd < 0 || fstat(p->fd, &s) != 0)
        return terse_fail(err, TERSE_BAD_INPUT, "cannot open %s: %s", terse_path_shown(p->opts.journal),
                          strerror(errno));
    if (!S_ISREG(s.st_mode))
        return terse_fail(err, TERSE_BAD_INPUT, "%s: not a regular file", terse_path_shown(p->opts.journal));
    if (flock(p->fd, LOCK_EX | LOCK_NB) != 0)
        return errno == EWOULDBLOCK ? terse_fail(err, TERSE_BAD_INPUT, "%s is being written by another run",
                                                 terse_path_shown(p->opts.journal))
                                    : fail_errno(p, "cannot lock", err);
    json_t *grid = json_of_grid(p), *back = NULL;
    int32_t n_line = 0;
    terse_status st = grid ? read_lines(p, grid, &n_line, err) : no_memory(err);
    if (st == TERSE_OK && n_line == 0)
        st = write_json(p, grid, &back, err);
    json_decref(back);
    json_decref(grid);
    return st;
}
