/* cli/runner.c: loading. The weights are a mapping: they are touched here, with a bar for who waits, so that
 * the first answer does not wait for the disk. */
#include "runner.h"

#include "fit.h"
#include "interrupt.h"
#include "profile_option.h"
#include "progress.h"

#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

enum { TOUCH = 4096, SLICE = 4 << 20 };

/* Reads a byte of every page of the weights, unless they are more than the machine's memory: then the first
 * ones would be gone again before they are used. */
static void touch_weights(const terse_model *m, bool quiet)
{
    const terse_gguf *g = terse_model_gguf(m);
    const size_t total = terse_model_about(m)->weight_bytes;
    const long pages = sysconf(_SC_PHYS_PAGES), page_size = sysconf(_SC_PAGESIZE);
    if (pages > 0 && page_size > 0 && total / (size_t)page_size > (size_t)pages / 10 * 9)
        return;
    terse_progress bar;
    terse_progress_begin(&bar, "loading", "MiB", !quiet);
    size_t done = 0;
    for (int32_t i = 0; i < terse_gguf_n_tensor(g) && !terse_interrupt_seen(); i++) {
        const terse_tensor *t = terse_gguf_tensor(g, i);
        const volatile char *p = t->data;
        for (size_t at = 0; at < t->size && !terse_interrupt_seen(); at += TOUCH) {
            (void)p[at];
            if (at % SLICE == 0)
                terse_progress_update(&bar, (int64_t)((done + at) >> 20), (int64_t)(total >> 20));
        }
        done += t->size;
    }
    terse_progress_end(&bar);
}

static terse_status any_seed(uint64_t *seed, terse_error *err)
{
    uint32_t bits; /* short enough to type again, and exact in any reader of JSON */
    if (getrandom(&bits, sizeof bits, 0) != sizeof bits)
        return terse_fail(err, TERSE_IO, "no random seed from the system; -s gives one");
    *seed = bits;
    return TERSE_OK;
}

terse_status terse_runner_open(terse_runner *r, const terse_run_options *o, terse_error *err)
{
    const int64_t start = terse_now_ns();
    *r = (terse_runner){ .o = o, .end = -1 };
    terse_sample_opts sample = o->sample;
    terse_status st = terse_engine_session(&o->engine, &r->opts, err);
    r->opts.abort = terse_interrupt_flag();
    if (st == TERSE_OK)
        st = terse_model_open(&r->model, o->model, err);
    if (st == TERSE_OK)
        st = terse_profile_use(&r->profile, o->engine.kv.profile, r->model, &r->opts, err);
    if (st == TERSE_OK)
        st = terse_fit_here(r->model, &r->opts, 1, 1, err);
    if (st == TERSE_OK)
        st = terse_session_open(&r->session, r->model, &r->opts, err);
    if (st == TERSE_OK && *terse_session_policy_why(r->session))
        fprintf(stderr, "KV policy auto: %s, since %s\n", terse_session_policy(r->session),
                terse_session_policy_why(r->session));
    if (st == TERSE_OK)
        terse_cpu_note(r->session, &r->opts);
    if (st == TERSE_OK && strcmp(o->run.draft, "none") != 0)
        st = terse_draft_open(&r->draft, r->session, &o->run.drafts, err);
    if (st == TERSE_OK && sample.seed == UINT64_MAX)
        st = any_seed(&sample.seed, err);
    r->seed = sample.seed;
    if (st == TERSE_OK)
        st = terse_sampler_open(&r->sampler, &sample, terse_model_about(r->model)->n_vocab, err);
    if (st != TERSE_OK) {
        terse_runner_close(r);
        return st;
    }
    touch_weights(r->model, o->run.quiet);
    r->load = (double)(terse_now_ns() - start) * 1e-9;
    return TERSE_OK;
}

int32_t terse_runner_back(terse_runner *r, int32_t n)
{
    const terse_model_info *i = terse_model_about(r->model);
    const int32_t count = terse_session_count(r->session);
    const bool dropped = terse_session_held(r->session) < (int64_t)count * i->n_layer * i->n_head_kv;
    if ((count - n > TERSE_KV_BACK && dropped) || !terse_session_truncate(r->session, n)) {
        terse_session_truncate(r->session, 0);
        return 0;
    }
    return n;
}

void terse_runner_close(terse_runner *r)
{
    terse_sampler_close(&r->sampler);
    terse_draft_close(&r->draft);
    terse_session_close(&r->session);
    terse_profile_close(&r->profile);
    terse_model_close(&r->model);
}
