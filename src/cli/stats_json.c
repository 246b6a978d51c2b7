/* cli/stats_json.c: see the header. */
#include "stats_json.h"

#include "json_real.h"

void terse_json_put(json_t **root, const char *key, json_t *value)
{
    if (*root && json_object_set_new(*root, key, value) == 0)
        return;
    if (!*root)
        json_decref(value);
    json_decref(*root);
    *root = NULL;
}

/* Takes value over. */
static void append(json_t **list, json_t *value)
{
    if (*list && json_array_append_new(*list, value) == 0)
        return;
    if (!*list)
        json_decref(value);
    json_decref(*list);
    *list = NULL;
}

static json_t *json_of_bins(const int64_t *count)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < TERSE_AUDIT_BINS; i++)
        append(&list, json_integer(count[i]));
    return list;
}

static json_t *json_of_edges(void)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < TERSE_AUDIT_BINS; i++)
        append(&list, json_real(terse_audit_bin_low(i)));
    return list;
}

static json_t *json_of_audit(const terse_attend_stats *s, bool bounded, bool bins)
{
    const double n = (double)s->audits;
    json_t *root =
        json_pack("{s:I, s:I, s:{s:o, s:o, s:o}, s:{s:o}, s:{s:o}}", "n", (json_int_t)s->audits, "violations",
                  (json_int_t)s->audit_violations, "error", "max", terse_json_real((double)s->audit_error_max),
                  "mean", terse_json_real(s->audit_error_sum / n), "histogram", json_of_bins(s->audit_error),
                  bounded ? "bound" : "estimate", "histogram", json_of_bins(s->audit_bound), "left_true",
                  "mean", terse_json_real(s->audit_left_sum / n));
    if (bins)
        terse_json_put(&root, "bins", json_of_edges());
    return root;
}

json_t *terse_json_of_stats(const terse_attend_stats *s, bool bounded, bool bins)
{
    json_t *root = json_pack(
        "{s:{s:I, s:I, s:I, s:I, s:I}, s:{s:I, s:I}, s:{s:I, s:I}, s:{s:I, s:I, s:I, s:o}, s:{s:o, s:o}}",
        "bytes", "k", (json_int_t)s->bytes_k, "v", (json_int_t)s->bytes_v, "summary",
        (json_int_t)s->bytes_summary, "dense_kv", (json_int_t)s->bytes_dense, "kept_kv",
        (json_int_t)s->bytes_kept, "held", "dense", (json_int_t)s->tokens_dense, "kept",
        (json_int_t)s->tokens_kept, "values", "dense", (json_int_t)s->tokens_dense, "read",
        (json_int_t)s->tokens_read, "pages", "listed", (json_int_t)s->pages_listed, "scored",
        (json_int_t)s->pages_scored, "read", (json_int_t)s->pages_read, "alone",
        terse_json_real(s->pages_alone), "left", "max", terse_json_real((double)s->left_max), "mean",
        terse_json_real(s->walks > 0 ? s->left_sum / (double)s->walks : 0.0));
    if (s->audits > 0)
        terse_json_put(&root, "audit", json_of_audit(s, bounded, bins));
    return root;
}

json_t *terse_json_of_heads(terse_stats_of *of, const void *ctx, bool bounded)
{
    json_t *layers = json_array();
    const terse_attend_stats *s;
    for (int32_t l = 0; of(ctx, l, 0); l++) {
        json_t *heads = json_array();
        for (int32_t h = 0; (s = of(ctx, l, h)); h++)
            append(&heads, terse_json_of_stats(s, bounded, false));
        append(&layers, heads);
    }
    return layers;
}
