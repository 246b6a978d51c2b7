/* cli/record.c: terse record MODEL: keeps what attention works on for a text, so that terse replay and
 * bench_attend can try other rules and types without the model. */
#include "terse/record.h"
#include "args.h"
#include "commands.h"
#include "engine_options.h"
#include "files.h"
#include "interrupt.h"
#include "progress.h"
#include "terminal.h"

#include <string.h>

#define COUNT(a) (int32_t)(sizeof(a) / sizeof *(a))

enum { MAX_TOKENS = (1 << 24) - (1 << 16), MAX_STEPS = 1 << 16 };

typedef struct {
    terse_engine_options engine; /* some of them: there is no default quality here */
    const char *text, *out;
    int32_t n_step, every;
} record_values;

#define AT(field) offsetof(record_values, field)
static const terse_option record_options[] = {
    { "-m --model", TERSE_OPTION_STRING, AT(engine.model.model), .value = "FILE",
      .help = "the model, a GGUF file" },
    { "-f --file", TERSE_OPTION_STRING, AT(text), .value = "FILE",
      .help = "the text; -: stdin. Its first N + S * K tokens are used" },
    { "-c --ctx-size", TERSE_OPTION_INT, AT(engine.model.ctx), 0, MAX_TOKENS, "N",
      .preset = "the model's own, less S * K", .help = "tokens before the first step" },
    { "--steps", TERSE_OPTION_INT, AT(n_step), 1, MAX_STEPS, "S", .help = "steps whose queries are kept" },
    { "--every", TERSE_OPTION_INT, AT(every), 1, MAX_STEPS, "K",
      .help = "tokens decoded for each of them; the queries of the last one are kept" },
    { "--kv-policy", TERSE_OPTION_STRING, AT(engine.kv.policy), .value = "NAME", .preset = "dense",
      .help = "of the decoded tokens" },
    { "--stop", TERSE_OPTION_STRING, AT(engine.kv.stop), .value = "RULE", .preset = "none",
      .help = "under which they are decoded: replay of the same rule is what the model did" },
    { "-o --output", TERSE_OPTION_STRING, AT(out), .value = "FILE", .help = "where the recording goes" },
    { "-t --threads", TERSE_OPTION_INT, AT(engine.model.threads), 0, 1024, "N",
      .preset = "physical cores, within the CPU quota", .help = "threads" },
    { "--strands", TERSE_OPTION_INT, AT(engine.model.strands), 0, TERSE_REPLAY_STRANDS, "N", .preset = "1",
      .help = "parts of a KV head's pages that threads share (terse run)" },
    { "-ctk --cache-type-k", TERSE_OPTION_STRING, AT(engine.kv.type_k), .value = "TYPE", .preset = "f16",
      .help = "storage of keys while the text is computed; the recording has f16 for f16, else f32" },
    { "-ctv --cache-type-v", TERSE_OPTION_STRING, AT(engine.kv.type_v), .value = "TYPE", .preset = "f16",
      .help = "the same for values" },
};
#undef AT

static void show_progress(void *ctx, int32_t done, int32_t total)
{
    terse_progress_update(ctx, done, total);
}

/* The first tokens of the text, as many as the recording takes. */
static terse_status read_tokens(const record_values *o, const terse_model *m, int32_t n, terse_tokens *t,
                                terse_error *err)
{
    terse_text text = { 0 };
    terse_status st = terse_file_read(o->text, &text, err);
    if (st == TERSE_OK)
        st = terse_vocab_tokenize(terse_model_vocab(m), text.p, text.n, true, true, t, err);
    terse_text_free(&text);
    if (st == TERSE_OK && t->n < (size_t)n)
        st = terse_fail(err, TERSE_BAD_INPUT,
                        "%.200s: %zu tokens, but %d before the steps and %d of these need %d", o->text, t->n,
                        n - o->n_step * o->every, o->n_step, n);
    return st;
}

static terse_status work(const record_values *o, const char *path, terse_error *err)
{
    terse_model *m = NULL;
    terse_tokens t = { 0 };
    terse_session_opts so;
    terse_progress progress;
    terse_status st = terse_engine_session(&o->engine, &so, err);
    if (st == TERSE_OK && (int64_t)o->n_step * o->every > MAX_STEPS)
        st = terse_fail(err, TERSE_BAD_INPUT, "--steps %d --every %d: more than %d tokens", o->n_step, o->every,
                        MAX_STEPS);
    const int32_t n_decoded = st == TERSE_OK ? o->n_step * o->every : 0;
    if (st == TERSE_OK)
        st = terse_model_open(&m, path, err);
    if (st == TERSE_OK && !so.ctx)
        so.ctx = terse_model_about(m)->ctx_train - n_decoded;
    if (st == TERSE_OK && so.ctx < 1)
        st = terse_fail(err, TERSE_BAD_INPUT, "--steps %d: the model's context holds %d tokens", o->n_step,
                        terse_model_about(m)->ctx_train);
    if (st == TERSE_OK)
        st = read_tokens(o, m, so.ctx + n_decoded, &t, err);
    if (st == TERSE_OK) {
        const terse_record_opts ro = { .n_prefill = so.ctx,
                                       .n_step = o->n_step,
                                       .every = o->every,
                                       .policy = o->engine.kv.policy,
                                       .stop = o->engine.kv.stop,
                                       .threads = so.threads,
                                       .strands = so.strands,
                                       .type_k = so.type_k,
                                       .type_v = so.type_v,
                                       .cpu = so.cpu,
                                       .abort = terse_interrupt_flag(),
                                       .progress = show_progress,
                                       .ctx = &progress };
        terse_progress_begin(&progress, "record", "tokens", true);
        st = terse_record_make(o->out, m, t.ids, &ro, err);
        terse_progress_end(&progress);
    }
    terse_tokens_free(&t);
    terse_model_close(&m);
    return st;
}

int terse_cmd_record(int argc, char **argv)
{
    record_values o = { .engine = terse_engine_defaults(), .n_step = 16, .every = 1 };
    const terse_option_group groups[] = { { "record", record_options, COUNT(record_options), &o } };
    const terse_options accepted = {
        "record MODEL -f FILE -o FILE [OPTION]...",
        "Runs a text through the model and keeps its keys and values, and the queries of its last tokens, for "
        "terse replay and bench_attend --recording.",
        groups, COUNT(groups), 1
    };
    terse_error err;
    const int code = terse_options_parse(&accepted, &argc, argv);
    if (code != TERSE_GO_ON)
        return code;
    const char *path = terse_engine_model(&o.engine, argc, argv);
    if (!path)
        return 2;
    if (!o.text || !o.out) {
        terse_complain(o.text ? "record: where to? -o FILE" : "record: which text? -f FILE");
        return 2;
    }
    terse_interrupt_catch();
    return work(&o, path, &err) == TERSE_OK ? 0 : terse_complain_error(&err);
}
