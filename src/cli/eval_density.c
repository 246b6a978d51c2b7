/* cli/eval_density.c: terse eval density MODEL -f TEXT: what a policy that drops tokens leaves in each head, as
 * a table, as JSON and as a picture. */
#include "commands.h"
#include "engine_options.h"
#include "files.h"
#include "interrupt.h"
#include "json_real.h"
#include "progress.h"
#include "stats_json.h"
#include "svg.h"
#include "terminal.h"
#include "terse/eval.h"
#include "unxz.h"

#include <stdio.h>
#include <string.h>

#define COUNT(a) (int32_t)(sizeof(a) / sizeof *(a))

enum { MAX_COUNT = 1 << 24, CTX = 4096 };

typedef struct {
    const char *file, *svg;
    int32_t windows;
    bool json;
} density_values;

#define AT(field) offsetof(density_values, field)
static const terse_option density_options[] = {
    { "-f --file", TERSE_OPTION_STRING, AT(file), .value = "FILE", .help = "the text; - is stdin" },
    { "--windows", TERSE_OPTION_INT, AT(windows), 1, MAX_COUNT, "N", .preset = "as many as fit, at most 4",
      .help = "windows of -c tokens, spread evenly over the text" },
    { "--svg", TERSE_OPTION_STRING, AT(svg), .value = "FILE", .preset = "none", .help = "draw them, too" },
    { "--json", TERSE_OPTION_ON, AT(json), .help = "print JSON" },
};
#undef AT

/* A cell per layer and head: the darker, the more is kept. */
static void draw(FILE *f, const terse_density *d, const char *title)
{
    enum { CELL_W = 56, CELL_H = 22, LEFT = 70, TOP = 64 };
    const int32_t width = LEFT + d->n_head * CELL_W + 30, height = TOP + d->n_layer * CELL_H + 20;
    fprintf(f,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" font-family=\"sans-serif\" "
            "font-size=\"12\">\n<rect width=\"100%%\" height=\"100%%\" fill=\"white\"/>\n",
            width < 420 ? 420 : width, height);
    fputs("<text x=\"12\" y=\"20\" font-size=\"14\">", f);
    terse_html_text(f, title);
    fprintf(f,
            "</text>\n<text x=\"12\" y=\"38\">older tokens kept, %%, by layer and KV head; %.1f %% of all are "
            "held</text>\n",
            100.0 * d->held);
    for (int32_t h = 0; h < d->n_head; h++)
        fprintf(f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">head %d</text>\n",
                LEFT + h * CELL_W + CELL_W / 2, TOP - 8, h);
    for (int32_t l = 0; l < d->n_layer; l++) {
        const int32_t y = TOP + l * CELL_H;
        fprintf(f, "<text x=\"12\" y=\"%d\">layer %d</text>\n", y + 15, l);
        for (int32_t h = 0; h < d->n_head; h++) {
            const double x = d->share[l * d->n_head + h];
            const int shade = 245 - (int)(x * 200.0 + 0.5);
            fprintf(f,
                    "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"rgb(%d,%d,245)\"/>"
                    "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\" fill=\"%s\">%.1f</text>\n",
                    LEFT + h * CELL_W, y, CELL_W - 2, CELL_H - 2, shade, shade,
                    LEFT + h * CELL_W + CELL_W / 2 - 1, y + 15, x > 0.5 ? "white" : "black", 100.0 * x);
        }
    }
    fputs("</svg>\n", f);
}

static terse_status draw_file(const char *path, const terse_density *d, const char *title, terse_error *err)
{
    terse_output out = { 0 };
    const terse_status st = terse_output_open(&out, path, err);
    if (st != TERSE_OK)
        return st;
    draw(out.f, d, title);
    return terse_output_close(&out, true, err);
}

static void print_table(const terse_density *d)
{
    printf("%s, %d windows of %d tokens: older tokens kept, %%\n\n| layer |", d->policy, d->windows, d->ctx);
    for (int32_t h = 0; h < d->n_head; h++)
        printf(" head %d |", h);
    printf("\n| ----: |");
    for (int32_t h = 0; h < d->n_head; h++)
        printf(" -----: |");
    for (int32_t l = 0; l < d->n_layer; l++) {
        printf("\n| %5d |", l);
        for (int32_t h = 0; h < d->n_head; h++)
            printf(" %6.1f |", 100.0 * d->share[l * d->n_head + h]);
    }
    double sum = 0.0;
    for (int32_t u = 0; u < d->n_layer * d->n_head; u++)
        sum += d->share[u] / (d->n_layer * d->n_head);
    printf("\n\nmean %.1f %% of the older tokens, %.1f %% of all; %.1f MiB of pages\n", 100.0 * sum,
           100.0 * d->held, d->bytes / 0x1p20);
}

static terse_status print_json(const terse_density *d, terse_error *err)
{
    json_t *root = json_object(), *layers = json_array();
    for (int32_t l = 0; l < d->n_layer && layers; l++) {
        json_t *heads = json_array();
        for (int32_t h = 0; h < d->n_head && heads; h++)
            if (json_array_append_new(heads, terse_json_real(d->share[l * d->n_head + h])) != 0) {
                json_decref(heads);
                heads = NULL;
            }
        if (json_array_append_new(layers, heads) != 0) {
            json_decref(layers);
            layers = NULL;
        }
    }
    terse_json_put(&root, "policy", json_string(d->policy));
    terse_json_put(&root, "ctx", json_integer(d->ctx));
    terse_json_put(&root, "windows", json_integer(d->windows));
    terse_json_put(&root, "kept", layers);
    terse_json_put(&root, "held", terse_json_real(d->held));
    terse_json_put(&root, "bytes", terse_json_real(d->bytes));
    if (!root)
        return terse_fail(err, TERSE_NOMEM, "no memory for the result");
    json_dumpf(root, stdout, JSON_REAL_PRECISION(9));
    putchar('\n');
    json_decref(root);
    return TERSE_OK;
}

static void show_progress(void *ctx, int64_t done, int64_t total)
{
    terse_progress_update(ctx, done, total);
}

static terse_status measure(terse_density *d, const density_values *o, const terse_eval_opts *eo,
                            const terse_model *m, terse_error *err)
{
    terse_text text = { 0 };
    terse_tokens t = { 0 };
    terse_status st = terse_file_read(o->file, &text, err);
    if (st == TERSE_OK)
        st = terse_unxz(&text, o->file, err);
    if (st == TERSE_OK)
        st = terse_vocab_tokenize(terse_model_vocab(m), text.p, text.n, false, true, &t, err);
    terse_progress_begin(eo->progress_ctx, "density", "tokens", true);
    if (st == TERSE_OK)
        st = terse_eval_density(d, m, eo, t.ids, t.n, o->windows, err);
    terse_progress_end(eo->progress_ctx);
    terse_tokens_free(&t);
    terse_text_free(&text);
    return st;
}

static terse_status work(const density_values *o, const terse_engine_options *engine, const char *path,
                         terse_error *err)
{
    terse_model *m = NULL;
    terse_density d = { 0 };
    terse_progress bar;
    terse_eval_opts eo = { .progress = show_progress, .progress_ctx = &bar };
    terse_status st = terse_engine_session(engine, &eo.session, err);
    eo.session.abort = terse_interrupt_flag();
    if (st == TERSE_OK)
        st = terse_model_open(&m, path, err);
    if (st == TERSE_OK && !eo.session.ctx) {
        const int32_t own = terse_model_about(m)->ctx_train;
        eo.session.ctx = own < CTX ? own : CTX;
    }
    if (st == TERSE_OK)
        st = measure(&d, o, &eo, m, err);
    if (st == TERSE_OK && o->svg)
        st = draw_file(o->svg, &d, d.policy, err);
    if (st == TERSE_OK && o->json)
        st = print_json(&d, err);
    else if (st == TERSE_OK)
        print_table(&d);
    terse_density_free(&d);
    terse_model_close(&m);
    return st;
}

int terse_cmd_eval_density(int argc, char **argv)
{
    density_values o = { 0 };
    terse_engine_options engine = terse_engine_defaults();
    terse_option_group groups[1 + TERSE_ENGINE_GROUPS] = { { "density", density_options, COUNT(density_options),
                                                             &o } };
    terse_engine_groups(&engine, groups + 1);
    const terse_options accepted = {
        "eval density MODEL -f FILE [OPTION]...",
        "How many of the tokens that have left the window every layer and head still holds at the end of "
        "windows "
        "of a text, under a policy that drops tokens. -c is the length of a window.",
        groups, COUNT(groups), 1
    };
    terse_error err;
    const int code = terse_options_parse(&accepted, &argc, argv);
    if (code != TERSE_GO_ON)
        return code;
    const char *path = terse_engine_model(&engine, argc, argv);
    if (!path)
        return 2;
    if (!o.file) {
        terse_complain("%s: which file? -f FILE", argv[0]);
        return 2;
    }
    terse_interrupt_catch();
    if (!engine.kv.stop && !engine.kv.quality)
        engine.kv.stop = "none"; /* one token is decoded: rules do not matter */
    if (work(&o, &engine, path, &err) == TERSE_OK)
        return 0;
    return ferror(stdout) ? 74 : terse_complain_error(&err); /* of stdout main says it */
}
