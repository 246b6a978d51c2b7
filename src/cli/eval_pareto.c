/* cli/eval_pareto.c: terse eval pareto MODEL -f TEXT -o DIR: a grid of settings, storage types and contexts,
 * its journal, and the report. */
#include "commands.h"
#include "interrupt.h"
#include "pareto_report.h"
#include "progress.h"
#include "terminal.h"
#include "unxz.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define COUNT(a) (int32_t)(sizeof(a) / sizeof *(a))

enum { MAX_COUNT = 1 << 24, MAX_LIST = 16, QUICK_CTX = 4096, QUICK_WINDOWS = 4, QUICK_SCORED = 32 };

typedef struct {
    terse_engine_options engine; /* model, threads and rules only */
    const char *text, *prompts, *dir, *ctx, *types;
    int32_t scored, windows, limit;
    bool quick;
} pareto_values;

#define AT(field) offsetof(pareto_values, field)
static const terse_option pareto_options[] = {
    { "-m --model", TERSE_OPTION_STRING, AT(engine.model.model), .value = "FILE",
      .help = "the model, a GGUF file" },
    { "-f --file", TERSE_OPTION_STRING, AT(text), .value = "FILE", .help = "the text; - is stdin" },
    { "-o --output", TERSE_OPTION_STRING, AT(dir), .value = "DIR",
      .help = "folder of the journal and the report; a second start goes on where the first one ended" },
    { "-c --ctx-size", TERSE_OPTION_STRING, AT(ctx), .value = "N,..",
      .preset = "4096,16384, as far as the model goes", .help = "tokens of a window" },
    { "--type", TERSE_OPTION_STRING, AT(types), .value = "TYPE,..", .preset = "f16,q8",
      .help = "storage of keys and values: f32 f16 bf16 q8 q4; q8/q4 for q8 keys and q4 values" },
    { "--scored", TERSE_OPTION_INT, AT(scored), 1, MAX_COUNT, "N", .preset = "64",
      .help = "tokens at the end of each window that are decoded and compared" },
    { "--windows", TERSE_OPTION_INT, AT(windows), 1, MAX_COUNT, "N", .preset = "as many as fit, at most 10",
      .help = "windows of each context, spread evenly over the text" },
    { "--prompts", TERSE_OPTION_STRING, AT(prompts), .value = "FILE",
      .help = "prompts with known answers too, one JSON object per line (terse eval tasks); .xz files are read "
              "as they are" },
    { "--limit", TERSE_OPTION_INT, AT(limit), 1, MAX_COUNT, "N", .preset = "all",
      .help = "prompts of each task" },
    { "--quick", TERSE_OPTION_ON, AT(quick),
      .help = "a first look: short for -c 4096 --windows 4 --scored 32" },
    { "--stop", TERSE_OPTION_STRING, AT(engine.kv.stop), .value = "RULE;..",
      .help = "with --kv-policy: only these settings, and dense, in place of the grid" },
    { "--kv-policy", TERSE_OPTION_STRING, AT(engine.kv.policy), .value = "NAME;..", .preset = "dense",
      .help = "which pages attention reads, in what order" },
    { "--quality", TERSE_OPTION_STRING, AT(engine.kv.quality), .value = "LEVEL,..",
      .help = "only these settings, and dense; " TERSE_QUALITY_HELP },
    { "-t --threads", TERSE_OPTION_INT, AT(engine.model.threads), 0, 1024, "N",
      .preset = "physical cores, within the CPU quota", .help = "threads" },
};
#undef AT

/* One run: the grid and what it is made from. */
typedef struct {
    const pareto_values *o;
    const char *path; /* of the model */
    terse_model *model;
    terse_grid *grid;
    terse_text text;
    terse_tokens tokens;
    terse_tasks *tasks;
    int32_t ctx[MAX_LIST];
    terse_pareto_type type[MAX_LIST];
    terse_pareto_opts opts;
    terse_pareto *pareto;
    terse_progress bar;
} job;

static void show_progress(void *ctx, int64_t done, int64_t total)
{
    terse_progress_update(ctx, done, total);
}

/* The file's name without its folders. */
static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return strcmp(path, "-") == 0 ? "stdin" : slash && slash[1] ? slash + 1 : path;
}

/* DIR/NAME, owned by the caller; NULL with the error filled. */
static char *path_in(const char *dir, const char *name, terse_error *err)
{
    const size_t size = strlen(dir) + strlen(name) + 2;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s/%s", dir, name);
    else
        terse_fail(err, TERSE_NOMEM, "no memory for a path");
    return path;
}

/* ---- lists ---- */

/* Copies the next word of a list with commas; false at its end. An empty word is one, too. */
static bool next_word(const char **list, char word[32])
{
    if (!*list)
        return false;
    const size_t n = strcspn(*list, ",");
    snprintf(word, 32, "%.*s", (int)(n < 31 ? n : 31), *list);
    *list = (*list)[n] ? *list + n + 1 : NULL;
    return true;
}

static terse_status too_many(const char *option, terse_error *err)
{
    return terse_fail(err, TERSE_BAD_INPUT, "%s: more than %d values", option, MAX_LIST);
}

static terse_status read_contexts(job *j, terse_error *err)
{
    const char *list = j->o->ctx;
    char word[32];
    while (next_word(&list, word)) {
        char *end;
        const long n = strtol(word, &end, 10);
        if (end == word || *end || n < 2 || n > MAX_COUNT)
            return terse_fail(err, TERSE_BAD_INPUT, "-c: '%s' is no number of tokens from 2 to %d", word,
                              MAX_COUNT);
        if (j->opts.n_ctx == MAX_LIST)
            return too_many("-c", err);
        for (int32_t i = 0; i < j->opts.n_ctx; i++)
            if (j->ctx[i] == (int32_t)n)
                return terse_fail(err, TERSE_BAD_INPUT, "-c: %ld is there twice", n);
        j->ctx[j->opts.n_ctx++] = (int32_t)n;
    }
    return TERSE_OK;
}

/* The usual contexts, as far as the model goes. */
static void choose_contexts(job *j)
{
    static const int32_t usual[] = { 4096, 16384 };
    const int32_t own = terse_model_about(j->model)->ctx_train;
    const int32_t n = j->o->quick ? 1 : COUNT(usual);
    for (int32_t i = 0; i < n; i++)
        if (usual[i] <= own)
            j->ctx[j->opts.n_ctx++] = usual[i];
    if (j->opts.n_ctx == 0)
        j->ctx[j->opts.n_ctx++] = own;
}

static terse_status read_types(job *j, terse_error *err)
{
    const char *list = j->o->types ? j->o->types : "f16,q8";
    terse_status st = TERSE_OK;
    char word[32];
    while (st == TERSE_OK && next_word(&list, word)) {
        terse_pareto_type t;
        char *slash = strchr(word, '/');
        if (slash)
            *slash++ = '\0';
        if (j->opts.n_type == MAX_LIST)
            return too_many("--type", err);
        st = terse_kv_type_parse(word, &t.type_k, err);
        if (st == TERSE_OK)
            st = terse_kv_type_parse(slash ? slash : word, &t.type_v, err);
        j->type[j->opts.n_type++] = t;
    }
    return st;
}

/* ---- the run ---- */

static terse_status read_prompts(job *j, terse_error *err)
{
    const terse_tasks_opts opts = { .limit = j->o->limit };
    const char *name = j->o->prompts;
    terse_text text = { 0 };
    terse_status st = terse_file_read(name, &text, err);
    if (st == TERSE_OK)
        st = terse_unxz(&text, name, err);
    if (st == TERSE_OK)
        st = terse_tasks_open(&j->tasks, terse_model_vocab(j->model), name, text.p, text.n, &opts, err);
    terse_text_free(&text);
    return st;
}

static terse_status read_inputs(job *j, terse_error *err)
{
    terse_status st = terse_model_open(&j->model, j->path, err);
    if (st == TERSE_OK)
        st = terse_file_read(j->o->text, &j->text, err);
    if (st == TERSE_OK)
        st = terse_unxz(&j->text, j->o->text, err);
    if (st == TERSE_OK)
        st = terse_vocab_tokenize(terse_model_vocab(j->model), j->text.p, j->text.n, false, true, &j->tokens,
                                  err);
    if (st == TERSE_OK && j->o->prompts)
        st = read_prompts(j, err);
    return st;
}

static terse_status open_pareto(job *j, const char *journal, terse_error *err)
{
    const pareto_values *o = j->o;
    terse_pareto_opts *p = &j->opts;
    p->rules = j->grid->rule;
    p->n_rule = j->grid->n;
    p->ctx = j->ctx;
    p->type = j->type;
    p->scored = o->scored ? o->scored : o->quick ? QUICK_SCORED : 0;
    p->windows = o->windows ? o->windows : o->quick ? QUICK_WINDOWS : 0;
    p->token = j->tokens.ids;
    p->n_token = j->tokens.n;
    p->tasks = j->tasks;
    p->journal = journal;
    p->progress = show_progress;
    p->progress_ctx = &j->bar;
    p->session.threads = o->engine.model.threads;
    p->session.abort = terse_interrupt_flag();
    terse_status st = terse_args_isa(&p->session.cpu, err);
    if (st == TERSE_OK && mkdir(o->dir, 0777) != 0 && errno != EEXIST)
        st = terse_fail(err, TERSE_BAD_INPUT, "cannot make the folder %.200s: %s", o->dir, strerror(errno));
    return st == TERSE_OK ? terse_pareto_open(&j->pareto, j->model, p, err) : st;
}

static terse_status write_report(job *j, terse_error *err)
{
    static const struct {
        const char *name;
        terse_status (*write)(const terse_pareto_report *r, const char *path, terse_error *err);
    } files[] = { { "results.json", terse_pareto_report_json },
                  { "results.csv", terse_pareto_report_csv },
                  { "report.html", terse_pareto_report_html } };
    terse_pareto_report r = { .pareto = j->pareto,
                              .opts = &j->opts,
                              .model = j->model,
                              .grid = j->grid,
                              .model_name = file_name(j->path),
                              .text_name = file_name(j->o->text),
                              .prompts_name = j->o->prompts ? file_name(j->o->prompts) : NULL };
    terse_status st = terse_pareto_report_make(&r, err);
    for (int32_t i = 0; i < COUNT(files) && st == TERSE_OK; i++) {
        char *path = path_in(j->o->dir, files[i].name, err);
        st = path ? files[i].write(&r, path, err) : TERSE_NOMEM;
        if (st == TERSE_OK)
            printf("%s\n", path);
        free(path);
    }
    terse_pareto_report_clear(&r);
    return st;
}

static terse_status work(job *j, terse_error *err)
{
    char *journal = path_in(j->o->dir, "journal.jsonl", err);
    terse_status st = journal ? read_contexts(j, err) : TERSE_NOMEM;
    if (st == TERSE_OK)
        st = read_types(j, err);
    if (st == TERSE_OK)
        st = read_inputs(j, err);
    if (st == TERSE_OK && j->opts.n_ctx == 0)
        choose_contexts(j);
    if (st == TERSE_OK)
        st = open_pareto(j, journal, err);
    if (st == TERSE_OK) {
        const int32_t n = terse_pareto_parts(j->pareto), done = terse_pareto_done(j->pareto);
        if (done > 0)
            terse_complain("%.200s has %d of %d parts: %s", journal, done, n,
                           done < n ? "going on from there" : "only the report is left");
        terse_progress_begin(&j->bar, "pareto", "tokens", true);
        st = terse_pareto_run(j->pareto, err);
        terse_progress_end(&j->bar);
        if (st == TERSE_INTERRUPTED)
            terse_complain("%d of %d parts are in %.200s: the same command goes on from there",
                           terse_pareto_done(j->pareto), n, journal);
    }
    if (st == TERSE_OK)
        st = write_report(j, err);
    terse_pareto_close(&j->pareto);
    terse_tasks_close(&j->tasks);
    terse_tokens_free(&j->tokens);
    terse_text_free(&j->text);
    terse_model_close(&j->model);
    free(journal);
    return st;
}

/* The grid, or the settings that were named. */
static terse_status make_grid(terse_grid *g, terse_rules *rules, const terse_engine_options *e,
                              terse_error *err)
{
    if (!e->kv.stop && !e->kv.policy && !e->kv.quality) {
        terse_grid_default(g);
        return TERSE_OK;
    }
    const terse_status st = terse_rules_open(rules, e, err);
    if (st == TERSE_OK)
        terse_grid_given(g, rules);
    return st;
}

int terse_cmd_eval_pareto(int argc, char **argv)
{
    pareto_values o = { .engine = terse_engine_defaults() };
    const terse_option_group groups[] = { { "pareto", pareto_options, COUNT(pareto_options), &o } };
    const terse_options accepted = {
        "eval pareto MODEL -f TEXT -o DIR [OPTION]...",
        "Quality beside bytes, for a grid of settings, storage types and contexts, with floors and ceilings: "
        "writes results.json, results.csv and report.html into DIR. What is finished is kept there.",
        groups, COUNT(groups), 1
    };
    const int code = terse_options_parse(&accepted, &argc, argv);
    if (code != TERSE_GO_ON)
        return code;
    job j = { .o = &o, .path = terse_engine_model(&o.engine, argc, argv) };
    if (!j.path)
        return 2;
    if (!o.text || !o.dir) {
        terse_complain(o.text ? "%s: where does the report go? -o DIR" : "%s: which text? -f FILE", argv[0]);
        return 2;
    }
    terse_error err;
    terse_grid grid;
    terse_rules rules = { 0 };
    j.grid = &grid;
    terse_interrupt_catch();
    terse_status st = make_grid(&grid, &rules, &o.engine, &err);
    if (st == TERSE_OK)
        st = work(&j, &err);
    terse_rules_close(&rules);
    return st == TERSE_OK ? 0 : terse_complain_error(&err);
}
