/* cli/calibrate.c: terse calibrate MODEL -f TEXT: audits of a text become a profile beside the model; with
 * --heads it says which heads look things up. */
#include "terse/calibrate.h"
#include "calibrate_heads.h"
#include "commands.h"
#include "engine_options.h"
#include "files.h"
#include "interrupt.h"
#include "progress.h"
#include "terminal.h"

#include <stdio.h>
#include <string.h>

#define COUNT(a) (int32_t)(sizeof(a) / sizeof *(a))

enum { MAX_COUNT = 1 << 24, CTX = 4096 };

typedef struct {
    terse_engine_options engine; /* model, threads, types and rule only */
    const char *text, *out;
    terse_eval_windows windows;
    float target;
    bool heads;
    int32_t prompts, sinks, window;
} calibrate_values;

#define AT(field) offsetof(calibrate_values, field)
static const terse_option calibrate_options[] = {
    { "-m --model", TERSE_OPTION_STRING, AT(engine.model.model), .value = "FILE",
      .help = "the model, a GGUF file" },
    { "-f --file", TERSE_OPTION_STRING, AT(text), .value = "FILE",
      .help =
          "the text; - is stdin. The profile is made from its first half and checked on the second, if both "
          "hold a window. With --heads: prompts, as eval tasks reads them" },
    { "-c --ctx-size", TERSE_OPTION_INT, AT(engine.model.ctx), 2, MAX_COUNT, "N",
      .preset = "4096, or the model's own if less", .help = "tokens of a window" },
    { "--scored", TERSE_OPTION_INT, AT(windows.scored), 1, MAX_COUNT, "N", .preset = "64",
      .help = "tokens at the end of each window that are decoded" },
    { "--windows", TERSE_OPTION_INT, AT(windows.windows), 1, MAX_COUNT, "N",
      .preset = "as many as fit, at most 8", .help = "windows of each half" },
    { "--target", TERSE_OPTION_FLOAT, AT(target), 0, 10, "E",
      .preset = "the mean error that the rule has as it is",
      .help = "mean error |o_full - o| / |o_full| that every head may have" },
    { "--stop", TERSE_OPTION_STRING, AT(engine.kv.stop), .value = "RULE",
      .help = "the rule; one part of it must be mass or value-share" },
    { "--kv-policy", TERSE_OPTION_STRING, AT(engine.kv.policy), .value = "NAME", .preset = "dense",
      .help = "which pages attention reads, in what order" },
    { "--heads", TERSE_OPTION_ON, AT(heads),
      .help = "instead: how much the output of each head changes if it sees the first and the last tokens "
              "alone, measured on prompts with needles; for --kv-policy duo. Needs no text" },
    { "--prompts", TERSE_OPTION_INT, AT(prompts), 1, MAX_COUNT, "N", .preset = "2",
      .help = "of each of the eight kinds, with --heads" },
    { "--sinks", TERSE_OPTION_INT, AT(sinks), 1, MAX_COUNT, "N", .preset = "64",
      .help = "first tokens that a head still sees, with --heads" },
    { "--window", TERSE_OPTION_INT, AT(window), 1, MAX_COUNT, "N", .preset = "256",
      .help = "last tokens that a head still sees, with --heads" },
    { "-ctk --cache-type-k", TERSE_OPTION_STRING, AT(engine.kv.type_k), .value = "TYPE",
      .choices = "f32 f16 bf16 q8 q4 q8_0 q4_0", .preset = "f16", .help = "storage of keys" },
    { "-ctv --cache-type-v", TERSE_OPTION_STRING, AT(engine.kv.type_v), .value = "TYPE",
      .choices = "f32 f16 bf16 q8 q4 q8_0 q4_0", .preset = "f16", .help = "storage of values" },
    { "-t --threads", TERSE_OPTION_INT, AT(engine.model.threads), 0, 1024, "N",
      .preset = "physical cores, within the CPU quota", .help = "threads" },
    { "-o --output", TERSE_OPTION_STRING, AT(out), .value = "FILE",
      .preset = "beside the model, where --profile auto finds it", .help = "where the profile goes" },
};
#undef AT

static void print_point(const char *what, const terse_calibrate_point *p)
{
    printf("| %-9s | %5.1f %% | %10.3e | %9.2e | %8.2e .. %8.2e |\n", what, 100.0 * p->read, p->error, p->kl,
           p->kl_low, p->kl_high);
}

static void print_result(const terse_calibration_info *c, const char *path)
{
    const terse_profile_info *p = terse_profile_about(c->profile);
    printf("%s, %lld decoded tokens, target %.3e\n\n", p->rule, (long long)p->tokens, c->target);
    printf("| layer | head | scale | error at 1 | with it, checked |\n"
           "| ----: | ---: | ----: | ---------: | ---------------: |\n");
    const double *at_one = c->error + TERSE_LADDER / 2 * p->n_layer * p->n_head;
    for (int32_t u = 0; u < p->n_layer * p->n_head; u++)
        printf("| %5d | %4d | %5.2f | %10.3e | %16.3e |\n", u / p->n_head, u % p->n_head, (double)p->scale[u],
               at_one[u], (double)p->error[u]);
    printf("\n| setting   | KV read | mean error |   KL mean |      95 %% of the mean |\n"
           "| --------- | ------: | ---------: | --------: | -------------------: |\n");
    for (int32_t i = 0; i < TERSE_LADDER; i++) {
        char name[32];
        snprintf(name, sizeof name, "all x%g", c->scale[i]);
        print_point(name, &c->ladder[i]);
    }
    print_point("before", &c->before);
    print_point("after", &c->after);
    printf("\nbefore and after: without and with the profile, on %s\nwritten to %s\n",
           c->unseen ? "the half of the text that it was not made from" : "the text that it was made from",
           path);
}

/* Where the profile goes: -o, or beside the model. *text is what the name lies in. */
static terse_status find_output(const char **path, terse_text *text, const calibrate_values *o,
                                const terse_model *m, terse_error *err)
{
    const terse_status st = o->out ? TERSE_OK : terse_profile_path(m, text, err);
    *path = o->out ? o->out : text->p;
    return st;
}

static terse_status make(terse_calibration **c, const calibrate_values *o, const terse_model *m,
                         terse_error *err)
{
    const int32_t own = terse_model_about(m)->ctx_train;
    terse_calibrate_opts opts = { .windows = o->windows, .target = (double)o->target, .text = o->text };
    terse_text text = { 0 };
    terse_tokens t = { 0 };
    terse_progress bar;
    terse_status st = terse_engine_session(&o->engine, &opts.session, err);
    opts.session.abort = terse_interrupt_flag();
    opts.windows.ctx = opts.session.ctx = opts.session.ctx ? opts.session.ctx : own < CTX ? own : CTX;
    opts.progress = terse_progress_show;
    opts.progress_ctx = &bar;
    if (st == TERSE_OK)
        st = terse_file_read(o->text, &text, err);
    if (st == TERSE_OK)
        st = terse_vocab_tokenize(terse_model_vocab(m), text.p, text.n, false, true, &t, err);
    terse_progress_begin(&bar, "calibrate", "tokens", true);
    if (st == TERSE_OK)
        st = terse_calibrate(c, m, t.ids, t.n, &opts, err);
    terse_progress_end(&bar);
    terse_tokens_free(&t);
    terse_text_free(&text);
    return st;
}

static terse_status work(const calibrate_values *o, const char *model, terse_error *err)
{
    terse_model *m = NULL;
    terse_calibration *c = NULL;
    terse_text name = { 0 };
    const char *path = NULL;
    terse_status st = terse_model_open(&m, model, err);
    if (st == TERSE_OK)
        st = find_output(&path, &name, o, m, err);
    if (st == TERSE_OK && o->heads) {
        terse_calibrate_heads_values heads = {
            .file = o->text, .prompts = o->prompts, .sinks = o->sinks, .window = o->window, .path = path
        };
        st = terse_engine_session(&o->engine, &heads.opts, err);
        heads.opts.abort = terse_interrupt_flag();
        heads.opts.policy = heads.opts.stop = NULL;
        st = st == TERSE_OK ? terse_calibrate_heads(&heads, m, err) : st;
    }
    if (st == TERSE_OK && !o->heads)
        st = make(&c, o, m, err);
    if (st == TERSE_OK && c)
        st = terse_profile_update(terse_profile_about(terse_calibration_about(c)->profile), path, m, err);
    if (st == TERSE_OK && c)
        print_result(terse_calibration_about(c), path);
    terse_calibration_close(&c);
    terse_text_free(&name);
    terse_model_close(&m);
    return st;
}

int terse_cmd_calibrate(int argc, char **argv)
{
    calibrate_values o = { .engine = terse_engine_defaults() };
    o.engine.kv.stop = "mass+value-share";
    const terse_option_group groups[] = { { "calibrate", calibrate_options, COUNT(calibrate_options), &o } };
    const terse_options accepted = {
        "calibrate MODEL -f FILE|--heads [OPTION]...",
        "Measures on a text how large an error each head of the model makes under a rule that estimates, and "
        "writes a profile with which all make about the same. --profile of other commands uses it.",
        groups, COUNT(groups), 1
    };
    terse_error err;
    const int code = terse_options_parse(&accepted, &argc, argv);
    if (code != TERSE_GO_ON)
        return code;
    const char *model = terse_engine_model(&o.engine, argc, argv);
    if (!model)
        return 2;
    if (!o.text && !o.heads) {
        terse_complain("calibrate: which text? -f FILE; or --heads");
        return 2;
    }
    terse_interrupt_catch();
    return work(&o, model, &err) == TERSE_OK ? 0 : terse_complain_error(&err);
}
