/* cli/run_report.c: bytes are those that attention and the weights cost in decode steps; the prefill reads
 * everything and is told by its speed. */
#include "run_report.h"

#include "json_real.h"
#include "stats_json.h"

#include <inttypes.h>
#include <jansson.h>

static double mib(double bytes)
{
    return bytes / (1 << 20);
}

static double per(double x, double y)
{
    return y > 0 ? x / y : 0.0;
}

static void print_read(const char *what, int64_t read, int64_t dense, int32_t steps)
{
    const double x = mib((double)read), y = mib((double)dense), share = 100.0 * per(x, y);
    fprintf(stderr, "  %-8s %10.2f %10.2f %10.2f %10.2f %9.1f%% %8.1f%%\n", what, per(x, steps), per(y, steps),
            x, y, share, 100.0 - share);
}

/* All K blocks have one size, so what dense attention reads of K follows from the pages; the rest is V. */
static int64_t dense_k(const terse_attend_stats *s)
{
    return s->pages_scored > 0 ? s->bytes_k / s->pages_scored * s->pages_listed : 0;
}

void terse_report_audit(const terse_runner *r, const terse_answer *a)
{
    const terse_attend_stats *s = &a->read;
    if (s->audits == 0)
        return;
    fprintf(stderr, "%-10s %" PRId64 " walks repeated in full: error at most %.3g, %.3g in the mean", "audit",
            s->audits, (double)s->audit_error_max, s->audit_error_sum / (double)s->audits);
    if (terse_session_bounded(r->session))
        fprintf(stderr, "; %" PRId64 " above the bound", s->audit_violations);
    fprintf(stderr, "; heads that share pages read %.2f times what each needs\n",
            per((double)s->pages_scored, s->pages_alone));
}

static void print_kv(const terse_runner *r, const terse_answer *a)
{
    const terse_attend_stats *s = &a->read;
    const int64_t k = dense_k(s), v = s->bytes_dense - k;
    fprintf(stderr, "%-10s %10s %10s %10s %10s %10s %9s\n", "kv in MiB", "per token", "dense", "in all",
            "dense", "read", "saved");
    print_read("keys", s->bytes_k, k, a->n_decoded);
    print_read("values", s->bytes_v, v, a->n_decoded);
    if (s->bytes_summary > 0)
        fprintf(stderr, "  %-8s %10.2f %10s %10.2f\n", "summary", mib((double)s->bytes_summary / a->n_decoded),
                "", mib((double)s->bytes_summary)); /* summaries: dense attention has none */
    print_read("all", s->bytes_k + s->bytes_v + s->bytes_summary, s->bytes_dense, a->n_decoded);
    fprintf(stderr, "%-10s %" PRId64 " listed, %" PRId64 " with keys read, %" PRId64 " with values read\n",
            "pages", s->pages_listed, s->pages_scored, s->pages_read);
    fprintf(stderr, "%-10s %" PRId64 ", values of %" PRId64 " read\n", "tokens", s->tokens_dense,
            s->tokens_read);
    if (s->left_sum > 0.0)
        fprintf(stderr, "%-10s %.2g of the softmax in the mean, at most %.2g of any head's\n", "left out",
                per(s->left_sum, (double)s->walks), (double)s->left_max);
    if (terse_session_bounded(r->session))
        fprintf(stderr, "%-10s error of attention%s proved at most %.3g of its output\n", "bound",
                s->tokens_kept < s->tokens_dense ? " over what the policy keeps" : "", (double)s->bound_max);
    terse_report_audit(r, a);
}

void terse_report_stats(const terse_runner *r, const terse_answer *a)
{
    const terse_kv_type k = r->opts.type_k ? r->opts.type_k : TERSE_KV_F16,
                        v = r->opts.type_v ? r->opts.type_v : TERSE_KV_F16;
    const terse_model_info *m = terse_model_about(r->model);
    const double weights = (double)m->token_bytes;
    fprintf(stderr, "\n%-10s %.2f s\n", "load", r->load);
    fprintf(stderr, "%-10s %d tokens, %.2f s, %.1f tokens/s; first token after %.2f s\n", "prefill",
            a->n_prompt, a->prefill, per(a->n_prompt, a->prefill), a->first);
    fprintf(stderr, "%-10s %d tokens, %.2f s, %.1f tokens/s\n", "decode", a->n_decoded, a->decode,
            per(a->n_decoded, a->decode));
    fprintf(stderr, "%-10s %d threads%s, %s, stop rule %s, keys %s, values %s, seed %" PRIu64 "\n", "with",
            terse_session_threads(r->session), terse_session_pinned(r->session) ? " bound to cores" : "",
            terse_session_tier(r->session), terse_session_stop(r->session), terse_kv_type_name(k),
            terse_kv_type_name(v), r->seed);
    if (m->n_windowed)
        fprintf(stderr, "%-10s %d of %d layers see the newest %d tokens: read whole, no stop rule there\n",
                "windows", m->n_windowed, m->n_layer, m->window);
    if (r->draft)
        fprintf(stderr, "%-10s %" PRId64 " steps, %" PRId64 " tokens guessed, %" PRId64 " of them right\n",
                "draft", a->draft.steps, a->draft.guessed, a->draft.accepted);
    if (a->n_decoded > 0) {
        fprintf(stderr, "%-10s %.2f MiB per token, %.2f GB/s\n", "weights",
                mib(per(weights * a->n_step, a->n_decoded)), per(weights * a->n_step, a->decode) * 1e-9);
        print_kv(r, a);
    }
    const int64_t units = (int64_t)m->n_layer * m->n_head_kv, held = terse_session_held(r->session);
    const char *why = terse_session_policy_why(r->session);
    fprintf(stderr, "%-10s %s%s%s%s; %.1f of %d tokens held per head, %.1f %%\n", "kv policy",
            terse_session_policy(r->session), *why ? " (auto: " : "", why, *why ? ")" : "",
            per((double)held, (double)units), terse_session_count(r->session),
            100.0 * per((double)held, (double)units * terse_session_count(r->session)));
    fprintf(stderr, "%-10s %.1f MiB at the peak, %.1f MiB of that for %d tokens of keys and values\n", "memory",
            mib((double)terse_peak_rss()), mib((double)terse_session_kv_bytes(r->session)),
            terse_session_count(r->session));
}

static json_t *json_of_ids(const terse_tokens *t)
{
    json_t *ids = json_array();
    for (size_t i = 0; i < t->n; i++)
        if (json_array_append_new(ids, json_integer(t->ids[i])) != 0) {
            json_decref(ids);
            return NULL;
        }
    return ids;
}

static const terse_attend_stats *stats_of(const void *session, int32_t layer, int32_t head)
{
    return terse_session_stats_of(session, layer, head);
}

/* What it cost: seconds, bytes, pages, ..., and per head where there were audits. */
static json_t *json_of_costs(const terse_runner *r, const terse_answer *a)
{
    const json_int_t weights = (json_int_t)terse_model_about(r->model)->token_bytes * a->n_step;
    const bool bounded = terse_session_bounded(r->session);
    json_t *root = terse_json_of_stats(&a->read, bounded, true);
    json_t *bytes = json_object_get(root, "bytes");
    if (bytes && json_object_set_new(bytes, "weights", json_integer(weights)) != 0) {
        json_decref(root);
        root = NULL;
    }
    terse_json_put(&root, "seconds",
                   json_pack("{s:o, s:o, s:o, s:o}", "load", terse_json_real(r->load), "prefill",
                             terse_json_real(a->prefill), "first_token", terse_json_real(a->first), "decode",
                             terse_json_real(a->decode)));
    terse_json_put(&root, "stop",
                   json_pack("{s:s, s:o}", "rule", terse_session_stop(r->session), "bound_max",
                             bounded ? terse_json_real((double)a->read.bound_max) : json_null()));
    const terse_model_info *m = terse_model_about(r->model);
    if (m->n_windowed)
        terse_json_put(&root, "windows",
                       json_pack("{s:i, s:i}", "layers", (int)m->n_windowed, "tokens", (int)m->window));
    terse_json_put(&root, "kv",
                   json_pack("{s:s, s:I, s:I}", "policy", terse_session_policy(r->session), "held_tokens",
                             (json_int_t)terse_session_held(r->session), "held_bytes",
                             (json_int_t)terse_session_kv_bytes(r->session)));
    if (r->draft)
        terse_json_put(&root, "draft",
                       json_pack("{s:I, s:I, s:I}", "steps", (json_int_t)a->draft.steps, "guessed",
                                 (json_int_t)a->draft.guessed, "accepted", (json_int_t)a->draft.accepted));
    if (a->read.audits > 0)
        terse_json_put(&root, "heads", terse_json_of_heads(stats_of, r->session, bounded));
    return root;
}

terse_status terse_report_json(const terse_runner *r, const terse_answer *a, terse_error *err)
{
    json_t *root = json_object(), *costs = json_of_costs(r, a);
    json_t *name = json_string(r->o->model); /* a path may be no UTF-8 */
    terse_json_put(&root, "model", name ? name : json_null());
    terse_json_put(&root, "text", json_stringn(a->text.n ? a->text.p : "", a->text.n));
    terse_json_put(&root, "ids", json_of_ids(&a->ids));
    terse_json_put(&root, "prompt_tokens", json_integer(a->n_held + a->n_prompt));
    terse_json_put(&root, "cached_tokens", json_integer(a->n_held));
    terse_json_put(&root, "generated_tokens", json_integer((json_int_t)a->ids.n));
    terse_json_put(&root, "finish_reason", json_string(terse_finish_name(a->finish)));
    if (root && (!costs || json_object_update(root, costs) != 0)) {
        json_decref(root);
        root = NULL;
    }
    json_decref(costs);
    if (r->o->engine.kv.profile) {
        json_t *profile = json_string(r->o->engine.kv.profile);
        terse_json_put(&root, "profile", profile ? profile : json_null());
    }
    terse_json_put(&root, "seed",
                   r->seed <= INT64_MAX ? json_integer((json_int_t)r->seed)
                                        : json_sprintf("%" PRIu64, r->seed));
    terse_json_put(&root, "threads", json_integer(terse_session_threads(r->session)));
    terse_json_put(&root, "isa", json_string(terse_session_tier(r->session)));
    if (!root)
        return terse_fail(err, TERSE_NOMEM, "no memory for the JSON");
    json_dumpf(root, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(root);
    return TERSE_OK;
}
