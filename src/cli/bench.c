/* cli/bench.c: terse bench MODEL: how fast prompts and generation are, by depth and setting, beside the bytes
 * that are read and the bandwidth that the machine has. Options and columns are llama-bench's, ours follow. */
#include "bench.h"

#include "commands.h"
#include "engine_options.h"
#include "files.h"
#include "interrupt.h"
#include "profile_option.h"
#include "terminal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (int32_t)(sizeof(a) / sizeof *(a))

enum { MAX_TOKENS = 1 << 24 };

typedef struct {
    const char *model, *prompts, *gens, *depths, *batches, *threads, *types_k, *types_v;
    const char *policies, *stops, *qualities, *profile, *text, *format, *drafts, *fill;
    bool shared;
    int32_t ctx, ubatch, reps, strands;
    size_t probe_size;
    bool warm_up, phases;
    terse_cpu_options cpu;
} bench_values;

#define AT(field) offsetof(bench_values, field)
static const terse_option bench_options[] = {
    { "-m --model", TERSE_OPTION_STRING, AT(model), .value = "FILE", .help = "the model, a GGUF file" },
    { "-p --n-prompt", TERSE_OPTION_STRING, AT(prompts), .value = "N,..",
      .help = "tokens of a prompt; 0: no such test" },
    { "-n --n-gen", TERSE_OPTION_STRING, AT(gens), .value = "N,..",
      .help = "tokens that are generated; 0: no such test" },
    { "-d --n-depth", TERSE_OPTION_STRING, AT(depths), .value = "N,..",
      .help = "tokens that the context holds before" },
    { "-npl --parallel", TERSE_OPTION_STRING, AT(batches), .value = "N,..",
      .help = "sequences that generate together, each with a context of its own; t/s is of all of them" },
    { "-pps --prompt-shared", TERSE_OPTION_ON, AT(shared),
      .help = "they have one context: copies, which share its pages" },
    { "--fill", TERSE_OPTION_STRING, AT(fill), .value = "HOW", .choices = "prompt copy",
      .help =
          "how a depth is reached: by computing its tokens, or by copies of the keys and values of the first "
          "512, in seconds and for speeds only; dense rules only" },
    { "-t --threads", TERSE_OPTION_STRING, AT(threads), .value = "N,..",
      .preset = "physical cores, within the CPU quota", .help = "threads" },
    { "--strands", TERSE_OPTION_INT, AT(strands), 0, 64, "N", .preset = "0, what the cores need",
      .help = "parts into which the pages of a KV head are split for threads to share" },
    { "-c --ctx-size", TERSE_OPTION_INT, AT(ctx), 0, MAX_TOKENS, "N", .preset = "what the tests need",
      .help = "tokens that the context may hold" },
    { "-ub --ubatch-size", TERSE_OPTION_INT, AT(ubatch), 1, 1 << 16, "N",
      .help = "tokens of a prompt computed at once" },
    { "-ctk --cache-type-k", TERSE_OPTION_STRING, AT(types_k), .value = "TYPE,..",
      .help = "storage of keys: f32 f16 bf16 q8 q4" },
    { "-ctv --cache-type-v", TERSE_OPTION_STRING, AT(types_v), .value = "TYPE,..",
      .help = "storage of values: f32 f16 bf16 q8 q4" },
    { "--kv-policy", TERSE_OPTION_STRING, AT(policies), .value = "NAME;..", .preset = "dense",
      .help = "which pages attention reads, in what order" },
    { "--stop", TERSE_OPTION_STRING, AT(stops), .value = "RULE;..", .preset = "what --quality says",
      .help =
          "when attention has read enough (terse run --help lists the rules); several, separated by ';', take "
          "turns" },
    { "--quality", TERSE_OPTION_STRING, AT(qualities), .value = "LEVEL,..", .preset = TERSE_QUALITY,
      .help = TERSE_QUALITY_HELP },
    { "--profile", TERSE_OPTION_STRING, AT(profile), .value = "FILE", .preset = "none",
      .help = TERSE_PROFILE_HELP },
    { "--draft", TERSE_OPTION_STRING, AT(drafts), .value = "HOW,..", .preset = "none",
      .help = "none, ngram (terse run --help): guesses are held against the tokens of -f; several take turns" },
    { "-f --file", TERSE_OPTION_STRING, AT(text), .value = "FILE", .preset = "random tokens",
      .help = "the tokens are those of this text, from its start again where it is too short" },
    { "-r --repetitions", TERSE_OPTION_INT, AT(reps), 1, 10000, "N", .help = "samples of each test" },
    { "--phases", TERSE_OPTION_ON, AT(phases), .help = "show what the time of a generated token goes to" },
    { "--no-warmup", TERSE_OPTION_OFF, AT(warm_up), .help = "do not run each prompt once before it is timed" },
    { "--probe-size", TERSE_OPTION_SIZE, AT(probe_size), .value = "SIZE",
      .preset = "512M or 4 times the last cache", .help = "memory that the bandwidth is measured on" },
    { "-o --output", TERSE_OPTION_STRING, AT(format), .value = "FORMAT", .choices = "md csv json",
      .help = "format of the result" },
};
#undef AT

/* ---- lists ---- */

typedef struct {
    char *text; /* owned: the words, each ended by NUL */
    const char *word[TERSE_BENCH_LIST];
    int32_t n;
} words;

static terse_status split(words *w, const char *option, const char *list, char separator, terse_error *err)
{
    *w = (words){ .text = strdup(list) };
    if (!w->text)
        return terse_fail(err, TERSE_NOMEM, "no memory for a list");
    for (char *p = w->text; p;) {
        char *end = strchr(p, separator);
        if (w->n == TERSE_BENCH_LIST)
            return terse_fail(err, TERSE_BAD_INPUT, "%s: more than %d values", option, TERSE_BENCH_LIST);
        if (end)
            *end++ = '\0';
        w->word[w->n++] = p;
        p = end;
    }
    return TERSE_OK;
}

/* The numbers of a list, as they come. */
static terse_status numbers(int32_t to[TERSE_BENCH_LIST], int32_t *n, const char *option, const char *list,
                            int32_t max, terse_error *err)
{
    words w;
    terse_status st = split(&w, option, list, ',', err);
    *n = 0;
    for (int32_t i = 0; i < w.n && st == TERSE_OK; i++) {
        char *end;
        errno = 0;
        const long x = strtol(w.word[i], &end, 10);
        if (end == w.word[i] || *end || errno || x < 0 || x > max)
            st = terse_fail(err, TERSE_BAD_INPUT, "%s: \"%.40s\" is not a number from 0 to %d", option,
                            w.word[i], max);
        else
            to[(*n)++] = (int32_t)x;
    }
    free(w.text);
    return st;
}

static int by_value(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

static int32_t largest(const int32_t *x, int32_t n)
{
    int32_t max = 0;
    for (int32_t i = 0; i < n; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

/* ---- settings ---- */

/* All lists of one command line; threads x types x rules are the settings. */
typedef struct {
    terse_bench_plan plan;
    int32_t threads[TERSE_BENCH_LIST], n_thread;
    words types_k, types_v, policies, stops, qualities, drafts;
    bool by_quality;
    terse_tokens tokens;
    terse_profile *profile; /* of all rules; may be NULL */
} bench_job;

static int32_t n_rule(const bench_job *j)
{
    return j->by_quality ? j->qualities.n : j->policies.n * j->stops.n;
}

static terse_status read_lists(bench_job *j, const bench_values *o, terse_error *err)
{
    terse_bench_plan *p = &j->plan;
    terse_status st = numbers(p->prompts, &p->n_prompt, "-p", o->prompts, MAX_TOKENS, err);
    if (st == TERSE_OK)
        st = numbers(p->gens, &p->n_gen, "-n", o->gens, MAX_TOKENS, err);
    if (st == TERSE_OK)
        st = numbers(p->depths, &p->n_depth, "-d", o->depths, MAX_TOKENS, err);
    if (st == TERSE_OK)
        st = numbers(p->batches, &p->n_batch, "-npl", o->batches, TERSE_BENCH_BATCH, err);
    if (st == TERSE_OK)
        st = numbers(j->threads, &j->n_thread, "-t", o->threads, 1024, err);
    if (st == TERSE_OK)
        st = split(&j->types_k, "-ctk", o->types_k, ',', err);
    if (st == TERSE_OK)
        st = split(&j->types_v, "-ctv", o->types_v, ',', err);
    if (st == TERSE_OK)
        st = split(&j->policies, "--kv-policy", o->policies ? o->policies : "dense", ';', err);
    if (st == TERSE_OK)
        st = split(&j->stops, "--stop", o->stops ? o->stops : "none", ';', err);
    if (st == TERSE_OK)
        st = split(&j->qualities, "--quality", o->qualities ? o->qualities : TERSE_QUALITY, ',', err);
    if (st == TERSE_OK)
        st = split(&j->drafts, "--draft", o->drafts ? o->drafts : "none", ',', err);
    if (st != TERSE_OK)
        return st;
    if (o->qualities && (o->policies || o->stops))
        return terse_fail(err, TERSE_BAD_INPUT, "--quality names a policy and a stop rule; %s is one too many",
                          o->stops ? "--stop" : "--kv-policy");
    j->by_quality = !o->policies && !o->stops;
    if (n_rule(j) * j->drafts.n > TERSE_BENCH_LIST)
        return terse_fail(err, TERSE_BAD_INPUT, "more than %d settings of policy, stop rule and draft",
                          TERSE_BENCH_LIST);
    p->copies = strcmp(o->fill, "copy") == 0;
    p->shared = o->shared;
    qsort(p->depths, (size_t)p->n_depth, sizeof *p->depths, by_value);
    const int32_t most_prompt = largest(p->prompts, p->n_prompt), most_gen = largest(p->gens, p->n_gen);
    const int32_t longest = most_prompt > most_gen ? most_prompt : most_gen;
    for (int32_t i = 0; i < p->n_batch; i++)
        if (p->batches[i] == 0)
            return terse_fail(err, TERSE_BAD_INPUT, "-npl: a batch of 0 sequences");
    if (longest == 0)
        return terse_fail(err, TERSE_BAD_INPUT, "-p 0 and -n 0 leave nothing to measure");
    const int32_t deepest = p->depths[p->n_depth - 1] + longest, widest = largest(p->batches, p->n_batch);
    p->ctx = deepest > widest ? deepest : widest; /* a batch has at most as many tokens as a context */
    if (p->ctx > MAX_TOKENS || (o->ctx > 0 && o->ctx < p->ctx))
        return terse_fail(err, TERSE_BAD_INPUT, "the tests need a context of %d tokens, not %d", p->ctx,
                          o->ctx > 0 && o->ctx < MAX_TOKENS ? o->ctx : MAX_TOKENS);
    return TERSE_OK;
}

/* Rule i as words of the options of other commands. */
static void name_rule(const bench_job *j, int32_t i, terse_args_kv *kv)
{
    if (j->by_quality) {
        kv->quality = j->qualities.word[i];
        return;
    }
    kv->policy = j->policies.word[i / j->stops.n];
    kv->stop = j->stops.word[i % j->stops.n];
}

static bool is_dense(const terse_session_opts *o)
{
    return (!o->stop || strcmp(o->stop, "none") == 0) && (!o->policy || strcmp(o->policy, "dense") == 0);
}

/* All words, before minutes are spent on the first of them. */
static terse_status check_words(const bench_job *j, terse_error *err)
{
    terse_kv_type type;
    terse_status st = TERSE_OK;
    for (int32_t i = 0; i < j->types_k.n && st == TERSE_OK; i++)
        st = terse_kv_type_parse(j->types_k.word[i], &type, err);
    for (int32_t i = 0; i < j->types_v.n && st == TERSE_OK; i++)
        st = terse_kv_type_parse(j->types_v.word[i], &type, err);
    for (int32_t i = 0; i < j->drafts.n && st == TERSE_OK; i++)
        if (strcmp(j->drafts.word[i], "none") != 0 && strcmp(j->drafts.word[i], "ngram") != 0)
            st = terse_fail(err, TERSE_BAD_INPUT, "--draft: \"%.40s\" is none of: none ngram",
                            j->drafts.word[i]);
    for (int32_t i = 0; i < j->drafts.n && st == TERSE_OK; i++)
        if (strcmp(j->drafts.word[i], "ngram") == 0 &&
            (j->plan.copies || largest(j->plan.batches, j->plan.n_batch) > 1))
            st = terse_fail(err, TERSE_BAD_INPUT,
                            "--draft ngram guesses for one sequence whose text it knows: "
                            "leave out %s",
                            j->plan.copies ? "--fill copy" : "-npl");
    for (int32_t i = 0; i < n_rule(j) && st == TERSE_OK; i++) {
        terse_engine_options e = terse_engine_defaults();
        terse_session_opts opts;
        terse_attend *attend = NULL;
        name_rule(j, i, &e.kv);
        if ((st = terse_engine_session(&e, &opts, err)) == TERSE_OK)
            st = terse_attend_open(&attend, opts.policy, opts.stop, 0, err);
        if (st == TERSE_OK && j->plan.copies && !is_dense(&opts))
            st = terse_fail(err, TERSE_BAD_INPUT,
                            "--fill copy: rules that look at keys would see the same ones "
                            "again and again; use --quality exact");
        terse_attend_close(&attend);
    }
    return st;
}

/* ---- tokens ---- */

static terse_status random_tokens(bench_job *j, const terse_model *m, terse_error *err)
{
    const uint64_t n_vocab = (uint64_t)terse_model_about(m)->n_vocab;
    uint64_t seed = 1;
    terse_status st = TERSE_OK;
    for (int32_t i = 0; i < j->plan.ctx && st == TERSE_OK; i++) {
        uint64_t z = seed += 0x9e3779b97f4a7c15; /* splitmix64 (Steele 2014) */
        z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
        z = (z ^ z >> 27) * 0x94d049bb133111eb;
        st = terse_tokens_push(&j->tokens, (int32_t)((z ^ z >> 31) % n_vocab), err);
    }
    if (st == TERSE_OK && terse_vocab_bos(terse_model_vocab(m)) >= 0)
        j->tokens.ids[0] = terse_vocab_bos(terse_model_vocab(m));
    return st;
}

static terse_status text_tokens(bench_job *j, const terse_model *m, const char *path, terse_error *err)
{
    terse_text text = { 0 };
    terse_status st = terse_file_read(path, &text, err);
    if (st == TERSE_OK && text.n == 0) /* a bos alone says nothing about the text */
        st = terse_fail(err, TERSE_BAD_INPUT, "%.200s is empty", path);
    if (st == TERSE_OK)
        st = terse_vocab_tokenize(terse_model_vocab(m), text.p, text.n, true, true, &j->tokens, err);
    terse_text_free(&text);
    const size_t n = j->tokens.n;
    if (st == TERSE_OK && n == 0)
        st = terse_fail(err, TERSE_BAD_INPUT, "%.200s: no tokens in it", path);
    while (st == TERSE_OK && j->tokens.n < (size_t)j->plan.ctx)
        st = terse_tokens_push(&j->tokens, j->tokens.ids[j->tokens.n - n], err);
    return st;
}

/* ---- the command ---- */

/* Sessions that differ in their rules and guesses only. */
static terse_status run_group(const bench_job *j, const bench_values *o, int32_t threads, const char *type_k,
                              const char *type_v, terse_bench_out *out, terse_error *err)
{
    terse_bench_setting settings[TERSE_BENCH_LIST];
    const int32_t n = n_rule(j) * j->drafts.n;
    terse_status st = TERSE_OK;
    for (int32_t i = 0; i < n && st == TERSE_OK; i++) {
        terse_engine_options e = terse_engine_defaults();
        e.model.ctx = o->ctx ? o->ctx : j->plan.ctx;
        e.model.threads = threads;
        e.model.strands = o->strands;
        e.cpu = o->cpu;
        e.model.batch = e.model.ubatch = o->ubatch;
        e.kv.type_k = type_k;
        e.kv.type_v = type_v;
        name_rule(j, i / j->drafts.n, &e.kv);
        st = terse_engine_session(&e, &settings[i].opts, err);
        settings[i].opts.abort = terse_interrupt_flag();
        settings[i].opts.profile = j->profile;
        settings[i].opts.watch = o->phases;
        settings[i].draft = strcmp(j->drafts.word[i % j->drafts.n], "ngram") == 0;
    }
    return st == TERSE_OK ? terse_bench_run(&j->plan, settings, n, out, err) : st;
}

static terse_status run_groups(const bench_job *j, const bench_values *o, terse_bench_out *out,
                               terse_error *err)
{
    terse_status st = TERSE_OK;
    terse_bench_begin(out);
    for (int32_t t = 0; t < j->n_thread; t++)
        for (int32_t k = 0; k < j->types_k.n; k++)
            for (int32_t v = 0; v < j->types_v.n && st == TERSE_OK; v++)
                st = run_group(j, o, j->threads[t], j->types_k.word[k], j->types_v.word[v], out, err);
    terse_bench_end(out);
    return st;
}

static terse_status run(bench_job *j, const bench_values *o, const char *path, terse_error *err)
{
    terse_model *m = NULL;
    uint32_t cpu;
    terse_status st = terse_args_isa(&cpu, err);
    if (st == TERSE_OK)
        st = read_lists(j, o, err);
    if (st == TERSE_OK)
        st = check_words(j, err);
    if (st == TERSE_OK)
        st = terse_model_open(&m, path, err);
    if (st == TERSE_OK)
        st = terse_profile_find(&j->profile, o->profile, m, err);
    if (st == TERSE_OK)
        st = o->text ? text_tokens(j, m, o->text, err) : random_tokens(j, m, err);
    if (st == TERSE_OK) {
        j->plan.model = m;
        j->plan.path = path;
        j->plan.tokens = j->tokens.ids;
        j->plan.source = o->text ? o->text : "random";
        j->plan.reps = o->reps;
        j->plan.warm_up = o->warm_up;
        j->plan.probe_size = o->probe_size;
        terse_bench_out out = { .plan = &j->plan,
                                .format = strcmp(o->format, "md") == 0    ? TERSE_BENCH_MD
                                          : strcmp(o->format, "csv") == 0 ? TERSE_BENCH_CSV
                                                                          : TERSE_BENCH_JSON,
                                .stops = o->qualities || o->stops,
                                .policies = o->policies,
                                .drafts = o->drafts,
                                .phases = o->phases };
        st = run_groups(j, o, &out, err);
    }
    terse_profile_close(&j->profile);
    terse_model_close(&m);
    return st;
}

int terse_cmd_bench(int argc, char **argv)
{
    bench_values o = { .prompts = "512",
                       .gens = "128",
                       .depths = "0",
                       .batches = "1",
                       .fill = "prompt",
                       .threads = "0",
                       .types_k = "f16",
                       .types_v = "f16",
                       .format = "md",
                       .ubatch = 512,
                       .reps = 5,
                       .warm_up = true };
    const terse_option_group groups[] = { { "bench", bench_options, COUNT(bench_options), &o },
                                          terse_cpu_group(&o.cpu),
                                          terse_args_ignored_group() };
    const terse_options accepted = {
        "bench MODEL [OPTION]...",
        "Measures prompts (pp) and generation (tg) for every combination of the lists given, with the bytes "
        "read per "
        "token and the share of the memory bandwidth that is reached. Stop rules work on generation only.",
        groups, COUNT(groups), 1
    };
    bench_job j = { 0 };
    terse_error err;
    const int code = terse_options_parse(&accepted, &argc, argv);
    if (code != TERSE_GO_ON)
        return code;
    const terse_engine_options named = { .model.model = o.model };
    const char *path = terse_engine_model(&named, argc, argv);
    if (!path)
        return 2;
    terse_interrupt_catch();
    const terse_status st = run(&j, &o, path, &err);
    terse_tokens_free(&j.tokens);
    free(j.types_k.text);
    free(j.types_v.text);
    free(j.policies.text);
    free(j.stops.text);
    free(j.qualities.text);
    free(j.drafts.text);
    if (st == TERSE_OK)
        return 0;
    return ferror(stdout) ? 74 : terse_complain_error(&err); /* of stdout main says it */
}
