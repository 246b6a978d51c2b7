/* cli/answer.c: prefill in pieces with a progress bar, then token by token. The first token comes from the
 * prompt's last logits; each further one costs a decode step. */
#include "answer.h"

#include "interrupt.h"
#include "progress.h"
#include "prompt_cache.h"
#include "terminal.h"

#include <string.h>
#include <unistd.h>

static double seconds_since(int64_t start)
{
    return (double)(terse_now_ns() - start) * 1e-9;
}

static terse_status prefill(terse_runner *r, const int32_t *prompt, int32_t n, const float **logits,
                            terse_error *err)
{
    const int32_t chunk = r->opts.chunk;
    terse_progress bar;
    terse_status st = TERSE_OK;
    terse_progress_begin(&bar, "prefill", "tokens", !r->o->run.quiet);
    for (int32_t t = 0; t < n && st == TERSE_OK;) {
        const int32_t m = n - t < chunk ? n - t : chunk;
        terse_progress_update(&bar, t, n);
        st = terse_session_prefill(r->session, prompt + t, m, t + m == n ? logits : NULL, NULL, err);
        t += m;
    }
    terse_progress_end(&bar);
    return st;
}

/* Tokens of the text that the session holds. */
static int32_t held(const terse_runner *r)
{
    return r->draft ? terse_draft_count(r->draft) : terse_session_count(r->session);
}

/* The text ends after the reverse prompt, if that has just been completed; from: what was there before. */
static bool cut_at_reverse(terse_answer *a, const char *reverse, size_t from)
{
    const size_t n = reverse ? strlen(reverse) : 0, back = from >= n ? from - n + 1 : 0;
    const char *hit = n && a->text.n > back ? memmem(a->text.p + back, a->text.n - back, reverse, n) : NULL;
    if (!hit)
        return false;
    a->text.n = (size_t)(hit - a->text.p) + n;
    a->text.p[a->text.n] = '\0';
    return true;
}

/* Writes the text from byte from on; false if stdout took it not. */
static bool show(const terse_answer *a, const terse_runner *r, size_t from)
{
    if (r->o->run.json || a->text.n <= from)
        return true;
    if (terse_terminal_is(STDOUT_FILENO))
        terse_terminal_write(stdout, a->text.p + from, a->text.n - from);
    else
        fwrite(a->text.p + from, 1, a->text.n - from, stdout);
    return fflush(stdout) == 0 && !ferror(stdout);
}

/* Takes the token into the answer; *over and a->finish if it is the last. */
static terse_status take(terse_answer *a, terse_runner *r, int32_t id, terse_stream *stream, bool *over,
                         terse_error *err)
{
    const terse_run_values *o = &r->o->run;
    const terse_vocab *v = terse_model_vocab(r->model);
    const size_t from = a->text.n;
    terse_status st = TERSE_OK;
    *over = true;
    if ((terse_vocab_is_end(v, id) || id == r->end) && !o->ignore_eos) {
        a->finish = TERSE_FINISH_STOP;
        return TERSE_OK;
    }
    terse_sampler_accept(r->sampler, id);
    if ((st = terse_tokens_push(&a->ids, id, err)) != TERSE_OK ||
        (st = terse_stream_push(stream, v, id, &a->text, err)) != TERSE_OK)
        return st;
    const bool reversed = cut_at_reverse(a, o->reverse, from);
    if (reversed)
        *stream = (terse_stream){ 0 };
    if (!show(a, r, from))
        a->finish = TERSE_FINISH_LOST;
    else if (reversed)
        a->finish = TERSE_FINISH_STOP;
    else if (o->n_predict >= 0 && a->ids.n >= (size_t)o->n_predict)
        a->finish = TERSE_FINISH_LENGTH;
    else if (held(r) >= terse_session_ctx(r->session))
        a->finish = TERSE_FINISH_FULL;
    else
        *over = false;
    return TERSE_OK;
}

static terse_status generate(terse_answer *a, terse_runner *r, const float *logits, bool chat, int64_t start,
                             terse_error *err)
{
    terse_stream stream = { .started = !chat };
    terse_status st = TERSE_OK;
    int64_t decode_start = start;
    bool over = r->o->run.n_predict == 0;
    a->finish = TERSE_FINISH_LENGTH;
    while (!over && st == TERSE_OK) {
        const int32_t id = terse_sampler_next(r->sampler, logits);
        if (id < 0)
            return terse_fail(err, TERSE_INTERNAL, "after %d tokens the model gives no number for any token",
                              held(r));
        st = take(a, r, id, &stream, &over, err);
        if (a->n_decoded == 0) {
            a->first = seconds_since(start);
            decode_start = terse_now_ns();
        }
        if (over || st != TERSE_OK)
            break;
        st = r->draft ? terse_draft_decode(r->draft, id, &logits, err)
                      : terse_session_decode(r->session, id, &logits, err);
        a->n_decoded += st == TERSE_OK;
    }
    a->decode = a->n_decoded ? seconds_since(decode_start) : 0.0;
    if (st == TERSE_INTERRUPTED) {
        a->finish = TERSE_FINISH_INTERRUPTED;
        st = TERSE_OK;
    }
    const size_t from = a->text.n;
    if (st == TERSE_OK && (st = terse_stream_end(&stream, &a->text, err)) == TERSE_OK && !show(a, r, from))
        a->finish = TERSE_FINISH_LOST;
    return st;
}

static terse_status check_room(const terse_runner *r, size_t n, size_t held, terse_error *err)
{
    const int32_t ctx = terse_session_ctx(r->session);
    if (n == held)
        return terse_fail(err, TERSE_BAD_INPUT, "the prompt is empty");
    if (n <= (size_t)ctx)
        return TERSE_OK;
    return terse_fail(err, TERSE_BAD_INPUT,
                      held ? "the context is full: %zu more tokens, room for %d of %d"
                           : "the prompt has %zu tokens, the context holds %d (-c); the model was made for %d",
                      n - held, ctx - (int32_t)held, held ? ctx : terse_model_about(r->model)->ctx_train);
}

terse_status terse_answer_get(terse_answer *a, terse_runner *r, const int32_t *prompt, size_t n, size_t held,
                              bool chat, terse_error *err)
{
    const int64_t start = terse_now_ns();
    const float *logits = NULL;
    *a = (terse_answer){ .ids = a->ids, .text = a->text }; /* keeps their memory */
    a->ids.n = a->text.n = 0;
    terse_status st = check_room(r, n, held, err);
    if (st != TERSE_OK)
        return st;
    terse_session_stats_reset(r->session);
    if (r->draft)
        terse_draft_stats_reset(r->draft);
    st = prefill(r, prompt + held, (int32_t)(n - held), &logits, err);
    a->n_held = (int32_t)held;
    a->n_prompt = (int32_t)(n - held);
    a->prefill = seconds_since(start);
    if (st == TERSE_OK && n - held > 1) /* else the file has all of it */
        st = terse_prompt_cache_save(r, prompt, n, NULL, err);
    if (st == TERSE_OK) {
        for (size_t i = held; i < n; i++)
            terse_sampler_accept(r->sampler, prompt[i]);
        if (r->draft)
            terse_draft_tell(r->draft, prompt + held, (int32_t)(n - held));
        st = generate(a, r, logits, chat, start, err);
    }
    a->read = terse_session_stats(r->session);
    a->n_step = a->n_decoded;
    if (r->draft) {
        terse_draft_settle(r->draft);
        a->draft = terse_draft_stats_of(r->draft);
        a->n_step = (int32_t)a->draft.steps;
    }
    if (st != TERSE_OK) {
        if (!terse_session_truncate(r->session, (int32_t)held))
            terse_session_truncate(r->session, 0);
        a->n_decoded = 0;
        a->ids.n = 0;
    }
    if (st != TERSE_INTERRUPTED)
        return st;
    a->finish = TERSE_FINISH_INTERRUPTED;
    return TERSE_OK;
}

void terse_answer_free(terse_answer *a)
{
    terse_tokens_free(&a->ids);
    terse_text_free(&a->text);
}

const char *terse_finish_name(terse_finish finish)
{
    static const char *const names[] = { "stop", "length", "length", "interrupted", "interrupted" };
    return names[finish];
}
