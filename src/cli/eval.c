/* cli/eval.c: terse eval kl|perplexity|tasks MODEL [-f FILE]: what a stop rule costs in quality, beside the
 * bytes it saves. */
#include "commands.h"
#include "eval_print.h"
#include "files.h"
#include "generate.h"
#include "interrupt.h"
#include "profile_option.h"
#include "progress.h"
#include "rules.h"
#include "terminal.h"
#include "unxz.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define COUNT(a) (int32_t)(sizeof(a) / sizeof *(a))

enum { MAX_COUNT = 1 << 24, TEXT_CTX = 4096, KL_FREE = 64, MODEL_OPTIONS = 8 };

typedef struct {
    const char *file;
    bool json;
    terse_eval_windows windows;
    terse_tasks_opts tasks;
    terse_ruler_opts ruler; /* of generated prompts: only the seed is set by an option of its own */
    const char *source, *write;
} eval_values;

#define AT(field) offsetof(eval_values, field)
#define JSON_OPTION                                                                                            \
    {                                                                                                          \
        "--json", TERSE_OPTION_ON, AT(json), .help = "print JSON"                                              \
    }
static const terse_option kl_options[] = {
    { "-f --file", TERSE_OPTION_STRING, AT(file), .value = "FILE", .help = "the text; - is stdin" },
    { "--scored", TERSE_OPTION_INT, AT(windows.scored), 1, MAX_COUNT, "N", .preset = "64",
      .help = "tokens at the end of each window that are decoded and compared" },
    { "--windows", TERSE_OPTION_INT, AT(windows.windows), 1, MAX_COUNT, "N",
      .preset = "as many as fit, at most 16", .help = "windows, spread evenly over the text" },
    { "--free", TERSE_OPTION_INT, AT(windows.free), 0, MAX_COUNT, "N",
      .help = "tokens that each setting then generates on its own, until it leaves what dense "
              "generates; 0: none" },
    JSON_OPTION,
};
static const terse_option perplexity_options[] = {
    { "-f --file", TERSE_OPTION_STRING, AT(file), .value = "FILE", .help = "the text; - is stdin" },
    { "--scored", TERSE_OPTION_INT, AT(windows.scored), 1, MAX_COUNT, "N",
      .preset = "half of the window, or the stride if one is given",
      .help = "tokens at the end of each window that are predicted, each by a decode step" },
    { "--stride", TERSE_OPTION_INT, AT(windows.stride), 1, MAX_COUNT, "N", .preset = "-c",
      .help = "tokens between the beginnings of windows" },
    { "--windows", TERSE_OPTION_INT, AT(windows.windows), 1, MAX_COUNT, "N", .preset = "as many as fit",
      .help = "windows, from the beginning of the text on" },
    JSON_OPTION,
};
static const terse_option tasks_options[] = {
    { "-f --file", TERSE_OPTION_STRING, AT(file), .value = "FILE", .preset = "RULER's 13 tasks, generated",
      .help = "prompts and answers, one JSON object per line; .xz files are read as they are" },
    { "--task", TERSE_OPTION_STRING, AT(tasks.task), .value = "NAME", .preset = "all",
      .help = "only this one" },
    { "--limit", TERSE_OPTION_INT, AT(tasks.limit), 1, MAX_COUNT, "N",
      .preset = "all of a file, 10 generated ones", .help = "prompts of each task" },
    { "--offset", TERSE_OPTION_INT, AT(tasks.offset), 0, MAX_COUNT, "N",
      .help = "leave out the first prompts of each task" },
    { "--second", TERSE_OPTION_ON, AT(tasks.second),
      .help = "ask a second question about another place of the context, if there is one" },
    { "--seed", TERSE_OPTION_SEED, AT(ruler.seed), .value = "N", .help = "of generated prompts" },
    { "--no-example", TERSE_OPTION_ON, AT(ruler.no_example),
      .help = "generate vt and cwe without a solved example in front" },
    { "--source", TERSE_OPTION_STRING, AT(source), .value = "FILE", .preset = "models/ruler.txt, built in",
      .help = "the text to generate prompts from" },
    { "--write", TERSE_OPTION_STRING, AT(write), .value = "FILE",
      .help = "write the generated prompts as -f reads them, and do nothing else" },
    JSON_OPTION,
};
#undef AT

/* What all commands do around their own part. */
typedef struct job job;
struct job {
    const eval_values *o;
    terse_status (*run)(job *, terse_error *); /* their own part */
    terse_rules *rules;
    const char *path, *profile_name;
    terse_session_opts opts;
    terse_model *model;
    terse_profile *profile; /* of all rules; may be NULL */
    terse_text text;        /* of the file, or generated */
    terse_ruler_opts ruler; /* of generated prompts */
    char label[64];         /* of them */
    terse_progress bar;
};

static void show_progress(void *ctx, int64_t done, int64_t total)
{
    terse_progress_update(ctx, done, total);
}

static terse_status open_eval(job *j, terse_eval **e, const char *label, terse_error *err)
{
    const terse_eval_opts opts = { j->opts, show_progress, &j->bar };
    terse_progress_begin(&j->bar, label, "tokens", true);
    return terse_eval_open(e, j->model, &opts, j->rules->rule, j->rules->n, err);
}

/* What is complete after Ctrl-C is worth printing. */
static terse_status finish(job *j, terse_status st, terse_eval_report *r, terse_error *err)
{
    terse_error second;
    terse_eval_result first;
    terse_progress_end(&j->bar);
    r->model = j->path;
    r->file = j->o->file ? j->o->file : j->label;
    r->profile = j->profile_name;
    r->opts = &j->opts;
    r->interrupted = st == TERSE_INTERRUPTED;
    if ((st != TERSE_OK && st != TERSE_INTERRUPTED) || !r->eval ||
        terse_eval_result_of(r->eval, 0, &first, &second) != TERSE_OK || first.n_sample == 0)
        return st;
    terse_error *why = st == TERSE_OK ? err : &second;
    const terse_status printed = j->o->json ? terse_eval_print_json(r, why) : terse_eval_print(r, why);
    return st == TERSE_OK ? printed : st;
}

/* Windows of a text. */
static terse_status run_text(job *j, const terse_eval_windows *w, const char *label, terse_error *err)
{
    terse_tokens t = { 0 };
    terse_eval *e = NULL;
    terse_status st =
        terse_vocab_tokenize(terse_model_vocab(j->model), j->text.p, j->text.n, false, true, &t, err);
    if (st == TERSE_OK)
        st = open_eval(j, &e, label, err);
    if (st == TERSE_OK)
        st = terse_eval_text(e, t.ids, t.n, w, err);
    terse_eval_report r = { .eval = e, .windows = w };
    st = finish(j, st, &r, err);
    terse_eval_close(&e);
    terse_tokens_free(&t);
    return st;
}

static int32_t text_ctx(const job *j)
{
    const int32_t own = terse_model_about(j->model)->ctx_train;
    return j->opts.ctx ? j->opts.ctx : own < TEXT_CTX ? own : TEXT_CTX;
}

static terse_status run_kl(job *j, terse_error *err)
{
    terse_eval_windows w = j->o->windows;
    w.ctx = text_ctx(j);
    j->opts.ctx = w.ctx + w.free; /* more than is needed: room costs nothing until it is used */
    return run_text(j, &w, "kl", err);
}

/* A window has -c tokens with the last one, which is only predicted. */
static terse_status run_perplexity(job *j, terse_error *err)
{
    terse_eval_windows w = j->o->windows;
    const int32_t n = j->opts.ctx = text_ctx(j);
    if (n < 3)
        return terse_fail(err, TERSE_BAD_INPUT, "-c %d: a window takes at least 3 tokens", n);
    if (w.scored == 0)
        w.scored = w.stride == 0 || w.stride > n - 2 ? (n - 1) / 2 : w.stride;
    if (w.scored > n - 2)
        return terse_fail(err, TERSE_BAD_INPUT, "--scored %d: windows of %d tokens have 1 to %d", w.scored, n,
                          n - 2);
    w.stride = w.stride ? w.stride : n;
    w.ctx = n - 1;
    w.ppl_only = true;
    return run_text(j, &w, "perplexity", err);
}

/* Fills the text, unless that is all that is asked for. -c is their length. */
static terse_status generate(job *j, terse_error *err)
{
    const terse_vocab *v = terse_model_vocab(j->model);
    j->ruler = j->o->ruler;
    j->ruler.ctx = text_ctx(j);
    j->ruler.task = j->o->tasks.task;
    j->ruler.limit = j->o->tasks.limit;
    j->ruler.offset = j->o->tasks.offset;
    j->ruler.second = j->o->tasks.second;
    snprintf(j->label, sizeof j->label, "generated, %d tokens, seed %" PRIu64, j->ruler.ctx, j->ruler.seed);
    return j->o->write ? terse_generate_file(j->o->write, v, j->o->source, &j->ruler, err)
                       : terse_generate(&j->text, v, j->o->source, &j->ruler, err);
}

static terse_status run_tasks(job *j, terse_error *err)
{
    terse_tasks *t = NULL;
    terse_eval *e = NULL;
    const bool generated = !j->o->file;
    terse_status st = generated ? generate(j, err) : TERSE_OK;
    if (st != TERSE_OK || j->o->write)
        return st;
    terse_tasks_opts chosen = j->o->tasks;
    if (generated) /* chosen when they were made, some without a second question */
        chosen = (terse_tasks_opts){ .second = chosen.second && strstr(j->text.p, "\"question2\":") };
    st = terse_tasks_open(&t, terse_model_vocab(j->model), generated ? j->label : j->o->file, j->text.p,
                          j->text.n, &chosen, err);
    if (st == TERSE_OK && j->opts.ctx == 0)
        j->opts.ctx = terse_tasks_ctx(t);
    if (st == TERSE_OK)
        st = open_eval(j, &e, "tasks", err);
    if (st == TERSE_OK)
        st = terse_eval_tasks(e, t, err);
    terse_eval_report r = { .eval = e, .tasks = t, .ruler = generated ? &j->ruler : NULL };
    st = finish(j, st, &r, err);
    terse_eval_close(&e);
    terse_tasks_close(&t);
    return st;
}

static terse_status work(job *j, terse_error *err)
{
    terse_status st = terse_model_open(&j->model, j->path, err);
    if (st == TERSE_OK)
        st = terse_profile_find(&j->profile, j->profile_name, j->model, err);
    for (int32_t i = 0; i < j->rules->n; i++)
        j->rules->rule[i].profile = j->profile;
    if (st == TERSE_OK && j->o->file)
        st = terse_file_read(j->o->file, &j->text, err);
    if (st == TERSE_OK && j->o->file)
        st = terse_unxz(&j->text, j->o->file, err);
    if (st == TERSE_OK)
        st = j->run(j, err);
    terse_text_free(&j->text);
    terse_profile_close(&j->profile);
    terse_model_close(&j->model);
    return st;
}

typedef struct {
    const char *name; /* "eval kl" */
    const char *file; /* of the usage */
    const terse_option *options;
    int32_t n_option;
    const char *ctx; /* what help says of -c's default */
    terse_status (*run)(job *, terse_error *);
    const char *about;
} kind;
#define TEXT_PRESET "4096, or the model's own if less"
static const kind kinds[] = {
    { "eval kl", "-f FILE", kl_options, COUNT(kl_options), TEXT_PRESET, run_kl,
      "Compares the next-token distributions of decoding under each setting with those of dense decoding, "
      "at the end of windows of a text; then each generates greedily from there. -c is the length of a "
      "window." },
    { "eval perplexity", "-f FILE", perplexity_options, COUNT(perplexity_options), TEXT_PRESET, run_perplexity,
      "Perplexity of a text, densely and under each setting. Windows of -c tokens follow one another; each "
      "begins with the model's bos and is computed densely up to its last --scored tokens, which are then "
      "predicted one by one by decode steps. With the defaults these are the tokens that llama-perplexity "
      "scores." },
    { "eval tasks", "[-f FILE]", tasks_options, COUNT(tasks_options),
      "what the prompts need, 4096 for generated ones", run_tasks,
      "Answers prompts with known answers: the context computed densely, question and answer decoded "
      "densely and under each setting. Without a file, prompts of -c tokens in the shapes of RULER." },
};

/* The group "model and threads" with another default of -c; rows is room for its options. */
static terse_option_group model_group(terse_engine_options *o, terse_option rows[MODEL_OPTIONS],
                                      const char *ctx)
{
    terse_option_group g = terse_args_model_group(&o->model);
    assert(g.n_option <= MODEL_OPTIONS);
    memcpy(rows, g.options, (size_t)g.n_option * sizeof *rows);
    g.options = rows;
    for (int32_t i = 0; i < g.n_option; i++)
        if (rows[i].at == offsetof(terse_args_model, ctx))
            rows[i].preset = ctx;
    return g;
}

static int run(const kind *k, int argc, char **argv)
{
    eval_values o = { .ruler.seed = 1 };
    terse_engine_options engine = terse_engine_defaults();
    terse_option model_rows[MODEL_OPTIONS], kv_rows[TERSE_KV_OPTIONS];
    const terse_option_group groups[] = {
        { k->name + strlen("eval "), k->options, k->n_option, &o },
        model_group(&engine, model_rows, k->ctx),
        terse_rules_group(&engine, kv_rows),
    };
    char usage[64];
    snprintf(usage, sizeof usage, "%s MODEL %s [OPTION]...", k->name, k->file);
    const terse_options accepted = { usage, k->about, groups, COUNT(groups), 1 };
    o.windows.free = k->run == run_kl ? KL_FREE : 0;
    const int code = terse_options_parse(&accepted, &argc, argv);
    if (code != TERSE_GO_ON)
        return code;
    job j = { .o = &o, .run = k->run, .path = terse_engine_model(&engine, argc, argv) };
    if (!j.path)
        return 2;
    if (!o.file && k->run != run_tasks) {
        terse_complain("%s: which file? -f FILE", argv[0]);
        return 2;
    }
    if (o.file && (o.write || o.source)) {
        terse_complain("%s: --write and --source are for generated prompts, not with -f", argv[0]);
        return 2;
    }
    terse_error err;
    terse_rules rules;
    terse_interrupt_catch();
    terse_status st = terse_rules_open(&rules, &engine, &err);
    j.rules = &rules;
    j.profile_name = engine.kv.profile;
    engine.kv.policy = engine.kv.quality = NULL;
    engine.kv.stop = "none";
    if (st == TERSE_OK)
        st = terse_engine_session(&engine, &j.opts, &err);
    j.opts.abort = terse_interrupt_flag();
    if (st == TERSE_OK)
        st = work(&j, &err);
    terse_rules_close(&rules);
    if (st == TERSE_OK)
        return 0;
    return ferror(stdout) ? 74 : terse_complain_error(&err); /* of stdout main says it */
}

int terse_cmd_eval(int argc, char **argv)
{
    static char pareto[] = "eval pareto", density[] = "eval density";
    if (argc > 1 && strcmp(argv[1], density + strlen("eval ")) == 0) {
        argv[1] = density;
        return terse_cmd_eval_density(argc - 1, argv + 1);
    }
    if (argc > 1 && strcmp(argv[1], pareto + strlen("eval ")) == 0) {
        argv[1] = pareto;
        return terse_cmd_eval_pareto(argc - 1, argv + 1);
    }
    for (int32_t i = 0; argc > 1 && i < COUNT(kinds); i++)
        if (strcmp(argv[1], kinds[i].name + strlen("eval ")) == 0) {
            char name[32];
            snprintf(name, sizeof name, "%s", kinds[i].name);
            argv[1] = name;
            return run(&kinds[i], argc - 1, argv + 1);
        }
    if (argc > 1 && argv[1][0] != '-') {
        terse_complain("eval: \"%.80s\" is none of: density kl pareto perplexity tasks", argv[1]);
        return 2;
    }
    const terse_options accepted = {
        "eval density|kl|pareto|perplexity|tasks MODEL [-f FILE] [OPTION]...",
        "Quality beside bytes. density: what a policy leaves in each head. kl: how far decoding under a stop "
        "rule is from dense decoding on a text. "
        "pareto: a grid of settings, with a report. perplexity: how well they predict the text. tasks: how "
        "many prompts they still answer. Each has a --help of its own.",
        NULL, 0, 0
    };
    const int code = terse_options_parse(&accepted, &argc, argv);
    if (code != TERSE_GO_ON)
        return code;
    terse_complain("eval: what? terse eval --help says more");
    return 2;
}
