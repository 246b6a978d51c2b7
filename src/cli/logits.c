/* cli/logits.c: terse logits MODEL: the numbers that a model gives for a sequence of tokens, for comparisons.
 * Raw little-endian f32: one row of n_vocab per token with --all, else the last one. */
#include "commands.h"
#include "engine_options.h"
#include "files.h"
#include "fit.h"
#include "interrupt.h"
#include "json_real.h"
#include "profile_option.h"
#include "progress.h"
#include "terminal.h"

#include <ctype.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define COUNT(a) (int32_t)(sizeof(a) / sizeof *(a))

enum { ROWS_SIZE = 64 << 20 }; /* bytes of rows computed together with --all */

typedef struct {
    const char *ids, *ids_file, *text_file, *out;
    int32_t decode_from; /* < 0: nothing is decoded */
    bool all, stats;
} logits_values;

#define AT(field) offsetof(logits_values, field)
static const terse_option logits_options[] = {
    { "--ids", TERSE_OPTION_STRING, AT(ids), .value = "LIST", .help = "the tokens: ids separated by commas" },
    { "--ids-file", TERSE_OPTION_STRING, AT(ids_file), .value = "FILE",
      .help = "the tokens: a file of ids separated by commas or blanks" },
    { "-f --file", TERSE_OPTION_STRING, AT(text_file), .value = "FILE",
      .help = "the tokens: those of a text, as the model's tokenizer makes them" },
    { "--all", TERSE_OPTION_ON, AT(all), .help = "a row for each token, not only for the last" },
    { "--decode-from", TERSE_OPTION_INT, AT(decode_from), 0, 1 << 24, "K", .preset = "none",
      .help = "tokens from position K on go through decoding, one by one, where policy and stop rule apply" },
    { "-o --output", TERSE_OPTION_STRING, AT(out), .value = "FILE", .help = "where the rows go; -: stdout" },
    { "--stats", TERSE_OPTION_ON, AT(stats),
      .help = "say on stderr, as JSON, what attention read while decoding" },
};
#undef AT

static terse_status parse_ids(const char *text, const char *from, terse_tokens *t, terse_error *err)
{
    static const char blanks[] = " \t\r\n";
    const char *p = text + strspn(text, blanks);
    while (*p) {
        char *end = NULL;
        errno = 0;
        const long long id = isdigit((unsigned char)*p) ? strtoll(p, &end, 10) : -1;
        if (id < 0 || errno || id > INT32_MAX)
            return terse_fail(err, TERSE_BAD_INPUT, "%.200s: \"%.20s\" is not a token id", from, p);
        const terse_status st = terse_tokens_push(t, (int32_t)id, err);
        if (st != TERSE_OK)
            return st;
        p = end + strspn(end, blanks);
        if (*p == ',') {
            p += 1 + strspn(p + 1, blanks);
            if (!*p)
                return terse_fail(err, TERSE_BAD_INPUT, "%.200s: no token id after the last comma", from);
        } else if (*p && p == end) {
            return terse_fail(err, TERSE_BAD_INPUT, "%.200s: \"%.20s\" is not a separator", from, p);
        }
    }
    return TERSE_OK;
}

static terse_status read_tokens(const logits_values *o, const terse_model *m, terse_tokens *t, terse_error *err)
{
    terse_text text = { 0 };
    const char *from = o->ids ? "--ids" : o->ids_file ? o->ids_file : o->text_file;
    terse_status st = o->ids ? TERSE_OK : terse_file_read(from, &text, err);
    if (st == TERSE_OK && o->text_file)
        st = terse_vocab_tokenize(terse_model_vocab(m), text.p, text.n, true, true, t, err);
    else if (st == TERSE_OK && o->ids_file && memchr(text.p, 0, text.n))
        st = terse_fail(err, TERSE_BAD_INPUT, "%.200s: a file of ids has no zero bytes", from);
    else if (st == TERSE_OK)
        st = parse_ids(o->ids ? o->ids : text.p, from, t, err);
    terse_text_free(&text);
    if (st == TERSE_OK && (t->n == 0 || t->n > INT32_MAX))
        st = terse_fail(err, TERSE_BAD_INPUT, "%.200s: %zu tokens", from, t->n);
    return st;
}

/* All that can be wrong with the tokens, before hours are spent on the first of them. */
static terse_status check_tokens(const logits_values *o, const terse_session *s, const terse_model *m,
                                 const terse_tokens *t, terse_error *err)
{
    const int32_t n_vocab = terse_model_about(m)->n_vocab;
    for (size_t i = 0; i < t->n; i++)
        if (t->ids[i] >= n_vocab)
            return terse_fail(err, TERSE_BAD_INPUT, "token id %d is not in the vocabulary of %d", t->ids[i],
                              n_vocab);
    if (t->n > (size_t)terse_session_ctx(s))
        return terse_fail(err, TERSE_BAD_INPUT, "%zu tokens, but the context holds %d; -c %zu makes it larger",
                          t->n, terse_session_ctx(s), t->n);
    if (o->decode_from > (int32_t)t->n)
        return terse_fail(err, TERSE_BAD_INPUT, "--decode-from %d, but there are only %zu tokens",
                          o->decode_from, t->n);
    return TERSE_OK;
}

typedef struct {
    const logits_values *o;
    const terse_tokens *t;
    terse_session *s;
    terse_output *out;
    terse_progress *progress;
    size_t row;    /* bytes */
    int32_t chunk; /* tokens per prefill */
    float *rows;   /* [chunk][n_vocab] with --all */
} job;

static terse_status prefill(job *j, int32_t n, const float **last, terse_error *err)
{
    terse_status st = TERSE_OK;
    for (int32_t t = 0; t < n && st == TERSE_OK;) {
        const int32_t m = n - t < j->chunk ? n - t : j->chunk;
        st = terse_session_prefill(j->s, j->t->ids + t, m, t + m == n ? last : NULL, j->rows, err);
        if (st == TERSE_OK && j->rows)
            st = terse_output_write(j->out, j->rows, (size_t)m * j->row, err);
        t += m;
        terse_progress_update(j->progress, t, (int64_t)j->t->n);
    }
    return st;
}

static terse_status evaluate(job *j, terse_error *err)
{
    const int32_t n = (int32_t)j->t->n, from = j->o->decode_from < 0 ? n : j->o->decode_from;
    const float *last = NULL;
    terse_status st = prefill(j, from, &last, err);
    for (int32_t t = from; t < n && st == TERSE_OK; t++) {
        st = terse_session_decode(j->s, j->t->ids[t], &last, err);
        if (st == TERSE_OK && j->o->all)
            st = terse_output_write(j->out, last, j->row, err);
        terse_progress_update(j->progress, t + 1, n);
    }
    return st == TERSE_OK && !j->o->all ? terse_output_write(j->out, last, j->row, err) : st;
}

static terse_status print_stats(const terse_session *s, terse_error *err)
{
    const terse_attend_stats a = terse_session_stats(s);
    json_t *root =
        json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:{s:I, s:I, s:I}, s:I, s:o, s:I, s:o, s:o, s:I}",
                  "stop", terse_session_stop(s), "bounded", terse_session_bounded(s), "walks",
                  (json_int_t)a.walks, "stops", (json_int_t)a.stops, "bytes_k", (json_int_t)a.bytes_k,
                  "bytes_v", (json_int_t)a.bytes_v, "bytes_summary", (json_int_t)a.bytes_summary, "bytes_dense",
                  (json_int_t)a.bytes_dense, "pages", "listed", (json_int_t)a.pages_listed, "scored",
                  (json_int_t)a.pages_scored, "read", (json_int_t)a.pages_read, "tokens_read",
                  (json_int_t)a.tokens_read, "bound_max", terse_json_real((double)a.bound_max), "audits",
                  (json_int_t)a.audits, "audit_error_max", terse_json_real((double)a.audit_error_max),
                  "audit_error_mean", terse_json_real(a.audits ? a.audit_error_sum / (double)a.audits : 0.0),
                  "audit_violations", (json_int_t)a.audit_violations);
    if (!root)
        return terse_fail(err, TERSE_NOMEM, "no memory for the statistics");
    const int written = json_dumpf(root, stderr, JSON_REAL_PRECISION(9));
    fputc('\n', stderr);
    json_decref(root);
    return written == 0 ? TERSE_OK : terse_fail(err, TERSE_IO, "cannot write the statistics");
}

static terse_status run_job(job *j, const terse_model *m, terse_error *err)
{
    terse_progress progress;
    terse_output out = { 0 };
    terse_error second;
    j->row = (size_t)terse_model_about(m)->n_vocab * sizeof(float);
    if (j->o->all && (size_t)j->chunk > ROWS_SIZE / j->row)
        j->chunk = (int32_t)(ROWS_SIZE / j->row) + (ROWS_SIZE < j->row);
    if (j->o->all && !(j->rows = malloc((size_t)j->chunk * j->row)))
        return terse_fail(err, TERSE_NOMEM, "no memory for %d rows of logits", j->chunk);
    terse_status st = terse_output_open(&out, j->o->out, err);
    j->out = &out;
    j->progress = &progress;
    terse_progress_begin(&progress, "logits", "tokens", true);
    if (st == TERSE_OK)
        st = evaluate(j, err);
    terse_progress_end(&progress);
    const terse_status closed = terse_output_close(&out, st == TERSE_OK, st == TERSE_OK ? err : &second);
    free(j->rows);
    if (st == TERSE_OK && closed == TERSE_OK && j->o->stats)
        st = print_stats(j->s, err);
    return st == TERSE_OK ? closed : st;
}

static terse_status work(const terse_engine_options *engine, const logits_values *o, const char *path,
                         terse_error *err)
{
    terse_model *m = NULL;
    terse_profile *profile = NULL;
    terse_tokens t = { 0 };
    terse_session_opts opts;
    job j = { .o = o, .t = &t };
    terse_status st = terse_engine_session(engine, &opts, err);
    opts.abort = terse_interrupt_flag();
    j.chunk = opts.chunk;
    if (st == TERSE_OK)
        st = terse_model_open(&m, path, err);
    if (st == TERSE_OK)
        st = read_tokens(o, m, &t, err);
    if (st == TERSE_OK)
        st = terse_profile_use(&profile, engine->kv.profile, m, &opts, err);
    if (st == TERSE_OK)
        st = terse_fit_here(m, &opts, 1, 1, err);
    if (st == TERSE_OK)
        st = terse_session_open(&j.s, m, &opts, err);
    if (st == TERSE_OK)
        st = check_tokens(o, j.s, m, &t, err);
    if (st == TERSE_OK)
        st = run_job(&j, m, err);
    terse_session_close(&j.s);
    terse_profile_close(&profile);
    terse_tokens_free(&t);
    terse_model_close(&m);
    return st;
}

int terse_cmd_logits(int argc, char **argv)
{
    terse_engine_options engine = terse_engine_defaults();
    logits_values o = { .decode_from = -1 };
    terse_option_group groups[1 + TERSE_ENGINE_GROUPS] = { { "logits", logits_options, COUNT(logits_options),
                                                             &o } };
    terse_engine_groups(&engine, groups + 1);
    const terse_options accepted = {
        "logits MODEL (--ids LIST | --ids-file FILE | -f FILE) -o FILE [OPTION]...",
        "Writes the logits of a sequence of tokens as raw little-endian f32, one row per token or the last "
        "one.",
        groups, COUNT(groups), 1
    };
    terse_error err;
    const int code = terse_options_parse(&accepted, &argc, argv);
    if (code != TERSE_GO_ON)
        return code;
    const char *path = terse_engine_model(&engine, argc, argv);
    if (!path)
        return 2;
    if (!o.ids + !o.ids_file + !o.text_file != 2) {
        terse_complain("logits: which tokens? one of --ids, --ids-file and -f");
        return 2;
    }
    if (!o.out) {
        terse_complain("logits: where to? -o FILE, or -o - for stdout");
        return 2;
    }
    terse_interrupt_catch();
    if (!engine.kv.policy && !engine.kv.stop && !engine.kv.profile && !engine.kv.quality)
        engine.kv.quality = "exact"; /* what other engines' logits are compared with */
    if (work(&engine, &o, path, &err) == TERSE_OK)
        return 0;
    return ferror(stdout) ? 74 : terse_complain_error(&err); /* of stdout main says it */
}
