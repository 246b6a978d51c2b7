/* cli/calibrate_heads.c: see the header. */
#include "calibrate_heads.h"

#include "files.h"
#include "generate.h"
#include "interrupt.h"
#include "progress.h"
#include "terse/calibrate.h"
#include "unxz.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CTX = 4096, PROMPTS = 2 };

terse_status terse_profile_update(const terse_profile_info *info, const char *path, const terse_model *m,
                                  terse_error *err)
{
    terse_profile *old = NULL, *p = NULL;
    terse_profile_info all = *info;
    if (terse_profile_open(&old, path, m, NULL) == TERSE_OK) {
        const terse_profile_info *o = terse_profile_about(old);
        if (!all.streaming) {
            all.streaming = o->streaming;
            all.streaming_of = o->streaming_of;
        }
        if (!all.scale) {
            const terse_profile_info heads = all;
            all = *o;
            all.streaming = heads.streaming;
            all.streaming_of = heads.streaming_of;
        }
    }
    terse_status st = terse_profile_make(&p, m, &all, err);
    if (st == TERSE_OK)
        st = terse_profile_save(p, path, err);
    terse_profile_close(&p);
    terse_profile_close(&old);
    return st;
}

/* Lines of all tasks with needles: what they ask for lies anywhere in the context. */
static terse_status make_prompts(terse_text *out, const terse_calibrate_heads_values *o, const terse_model *m,
                                 terse_error *err)
{
    terse_status st = TERSE_OK;
    if (o->file) {
        st = terse_file_read(o->file, out, err);
        return st == TERSE_OK ? terse_unxz(out, o->file, err) : st;
    }
    const char *name;
    for (int32_t i = 0; (name = terse_ruler_task_at(i)) && st == TERSE_OK; i++) {
        const terse_ruler_opts ruler = { .task = name,
                                         .ctx = o->opts.ctx,
                                         .limit = o->prompts ? o->prompts : PROMPTS };
        if (strncmp(name, "niah", 4) == 0)
            st = terse_generate(out, terse_model_vocab(m), NULL, &ruler, err);
    }
    return st;
}

static void print_heads(const terse_profile_info *p, const terse_heads_result *r)
{
    const int32_t n = p->n_layer * p->n_head;
    printf("%s; dense attention answers %.1f of %d\n\n| layer | head | change alone | rank |\n"
           "| ----: | ---: | -----------: | ---: |\n",
           p->streaming_of, r->score.correct, r->score.n);
    for (int32_t u = 0; u < n; u++) {
        int32_t rank = 1;
        for (int32_t i = 0; i < n; i++)
            rank += p->streaming[i] > p->streaming[u];
        printf("| %5d | %4d | %12.4f | %4d |\n", u / p->n_head, u % p->n_head, (double)p->streaming[u], rank);
    }
    printf(
        "\nchange alone: mean |o_full - o| / |o_full| if the head saw the first and the last tokens alone\n");
    if (r->score.correct < 0.5 * r->score.n)
        printf("The model does not find most of the needles: such a profile says little.\n");
}

static terse_status measure(float *change, const terse_calibrate_heads_values *o, const terse_model *m,
                            const terse_tasks *t, terse_error *err)
{
    const terse_model_info *about = terse_model_about(m);
    terse_progress bar;
    terse_heads_result result;
    char what[160];
    const int32_t sinks = o->sinks ? o->sinks : TERSE_DUO_SINKS,
                  window = o->window ? o->window : TERSE_DUO_WINDOW;
    const terse_heads_opts opts = { .session = o->opts,
                                    .sinks = sinks,
                                    .window = window,
                                    .progress = terse_progress_show,
                                    .progress_ctx = &bar };
    terse_progress_begin(&bar, "calibrate", "tokens", true);
    const terse_status st = terse_heads_measure(change, &result, m, t, &opts, err);
    terse_progress_end(&bar);
    if (st != TERSE_OK)
        return st;
    snprintf(what, sizeof what, "%d prompts of up to %d tokens, sinks %d, window %d, %lld decoded tokens",
             terse_tasks_count(t), terse_tasks_ctx(t), sinks, window, (long long)result.tokens);
    const terse_profile_info info = {
        .n_layer = about->n_layer, .n_head = about->n_head_kv, .streaming = change, .streaming_of = what
    };
    print_heads(&info, &result);
    return terse_profile_update(&info, o->path, m, err);
}

terse_status terse_calibrate_heads(const terse_calibrate_heads_values *o, const terse_model *m,
                                   terse_error *err)
{
    const terse_model_info *about = terse_model_about(m);
    static const terse_tasks_opts all;
    terse_calibrate_heads_values own = *o;
    terse_text text = { 0 };
    terse_tasks *t = NULL;
    float *change = calloc((size_t)about->n_layer * (size_t)about->n_head_kv, sizeof *change);
    if (!change)
        return terse_fail(err, TERSE_NOMEM, "no memory to measure heads");
    if (!own.file && !own.opts.ctx)
        own.opts.ctx = about->ctx_train < CTX ? about->ctx_train : CTX;
    terse_status st = make_prompts(&text, &own, m, err);
    if (st == TERSE_OK)
        st = terse_tasks_open(&t, terse_model_vocab(m), own.file ? own.file : "generated prompts", text.p,
                              text.n, &all, err);
    if (st == TERSE_OK)
        st = measure(change, &own, m, t, err);
    if (st == TERSE_OK)
        printf("written to %s; --kv-policy duo:profile=FILE,share=0.5 uses it\n", own.path);
    terse_tasks_close(&t);
    terse_text_free(&text);
    free(change);
    return st;
}
