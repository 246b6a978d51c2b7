/* cli/pareto_report.c: see the header: results gathered, JSON and CSV. */
#include "pareto_report.h"

#include "json_real.h"
#include "stats_json.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- results ---- */

terse_status terse_pareto_report_make(terse_pareto_report *r, terse_error *err)
{
    const int32_t n_type = r->opts->n_type, n = r->grid->n;
    int32_t n_task = 0;
    while (r->opts->tasks && terse_tasks_name_at(r->opts->tasks, n_task))
        n_task++;
    r->n_group = r->opts->n_ctx + (n_task > 0 ? 1 + n_task : 0);
    r->result = calloc((size_t)r->n_group * (size_t)n_type * (size_t)n, sizeof *r->result);
    terse_pareto_result *to = r->result;
    if (!to)
        return terse_fail(err, TERSE_NOMEM, "no memory for the report");
    for (int32_t g = 0; g < r->n_group; g++)
        for (int32_t t = 0; t < n_type; t++)
            for (int32_t s = 0; s < n; s++) {
                const terse_status st =
                    terse_pareto_result_of(r->pareto, terse_pareto_report_at(r, g, t, s), to++, err);
                if (st != TERSE_OK)
                    return st;
            }
    return TERSE_OK;
}

void terse_pareto_report_clear(terse_pareto_report *r)
{
    free(r->result);
    r->result = NULL;
}

terse_pareto_at terse_pareto_report_at(const terse_pareto_report *r, int32_t group, int32_t type,
                                       int32_t setting)
{
    const int32_t n_ctx = r->opts->n_ctx;
    return (terse_pareto_at){ .ctx = group < n_ctx ? group : -1,
                              .task = group < n_ctx ? -1 : group - n_ctx - 1,
                              .type = type,
                              .rule = setting };
}

const terse_pareto_result *terse_pareto_report_result(const terse_pareto_report *r, int32_t group, int32_t type,
                                                      int32_t setting)
{
    return &r->result[((size_t)group * (size_t)r->opts->n_type + (size_t)type) * (size_t)r->grid->n +
                      (size_t)setting];
}

const char *terse_pareto_report_type(const terse_pareto_report *r, int32_t type, char text[32])
{
    const terse_pareto_type *t = &r->opts->type[type];
    if (t->type_k == t->type_v)
        return terse_kv_type_name(t->type_k);
    snprintf(text, 32, "%s/%s", terse_kv_type_name(t->type_k), terse_kv_type_name(t->type_v));
    return text;
}

bool terse_pareto_report_has(const terse_pareto_report *r, int32_t group)
{
    return terse_pareto_report_result(r, group, 0, 0)->n_sample > 0;
}

const char *terse_pareto_report_task(const terse_pareto_report *r, int32_t group)
{
    const int32_t task = group - r->opts->n_ctx - 1;
    return task >= 0 ? terse_tasks_name_at(r->opts->tasks, task) : NULL;
}

terse_status terse_pareto_report_finish(terse_output *out, terse_error *err)
{
    const char *path = out->path;
    const bool failed = fflush(out->f) != 0 || ferror(out->f);
    const int why = errno;
    const terse_status st = terse_output_close(out, !failed, err);
    return failed ? terse_fail(err, TERSE_IO, "cannot write %.200s: %s", path, strerror(why)) : st;
}

/* ---- JSON ---- */

/* A name from outside may be no UTF-8. */
static json_t *json_of_name(const char *name)
{
    json_t *text = name ? json_string(name) : NULL;
    return text ? text : json_null();
}

static json_t *json_of_kl(const terse_pareto_result *x)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "mean", terse_json_real(x->kl), "low",
                     terse_json_real(x->low), "high", terse_json_real(x->high), "p50", terse_json_real(x->p50),
                     "p90", terse_json_real(x->p90), "p99", terse_json_real(x->p99), "p999",
                     terse_json_real(x->p999), "max", terse_json_real(x->max));
}

/* [[share of what dense f16 reads, for each KV head] for each layer] */
static json_t *json_of_heads(const terse_pareto_report *r, terse_pareto_at at)
{
    const terse_model_info *m = terse_model_about(r->model);
    json_t *layers = json_array();
    for (int32_t l = 0; l < m->n_layer; l++) {
        json_t *heads = json_array();
        for (int32_t h = 0; h < m->n_head_kv; h++)
            if (json_array_append_new(heads, terse_json_real(terse_pareto_head(r->pareto, at, l, h))) != 0) {
                json_decref(heads);
                heads = NULL;
            }
        if (json_array_append_new(layers, heads) != 0) {
            json_decref(layers);
            return NULL;
        }
    }
    return layers;
}

static json_t *json_of_result(const terse_pareto_report *r, int32_t group, int32_t type, int32_t s)
{
    const terse_pareto_result *x = terse_pareto_report_result(r, group, type, s);
    const terse_grid_setting *setting = &r->grid->setting[s];
    const terse_grid_family *family = &r->grid->family[setting->family];
    const bool text = group < r->opts->n_ctx;
    json_t *root = json_object();
    if (text)
        terse_json_put(&root, "ctx", json_integer(r->opts->ctx[group]));
    else
        terse_json_put(&root, "task", json_of_name(terse_pareto_report_task(r, group)));
    terse_json_put(&root, "type_k", json_string(terse_kv_type_name(r->opts->type[type].type_k)));
    terse_json_put(&root, "type_v", json_string(terse_kv_type_name(r->opts->type[type].type_v)));
    terse_json_put(&root, "family", json_of_name(family->name));
    terse_json_put(&root, "role", json_string(terse_grid_role_name(family->role)));
    terse_json_put(&root, "label", json_of_name(setting->label));
    terse_json_put(&root, "policy", json_string(r->grid->rule[s].policy));
    terse_json_put(&root, "stop", json_string(terse_pareto_stop(r->pareto, s)));
    terse_json_put(&root, "bounded", json_boolean(terse_pareto_bounded(r->pareto, s)));
    terse_json_put(&root, text ? "windows" : "prompts", json_integer(x->n_sample));
    terse_json_put(&root, "tokens", json_integer(x->n_token));
    terse_json_put(&root, "bytes_ratio", terse_json_real(x->ratio));
    terse_json_put(&root, "bytes_per_token",
                   json_pack("{s:o, s:o, s:o, s:o}", "k", terse_json_real(x->k), "v", terse_json_real(x->v),
                             "summary", terse_json_real(x->summary), "dense_f16",
                             terse_json_real(x->dense_f16)));
    if (text) {
        terse_json_put(&root, "kl", json_of_kl(x));
        terse_json_put(&root, "top1", terse_json_real(x->top1));
        terse_json_put(&root, "ppl", terse_json_real(x->ppl));
        terse_json_put(&root, "ppl_dense", terse_json_real(x->ppl_dense));
        terse_json_put(&root, "heads", json_of_heads(r, terse_pareto_report_at(r, group, type, s)));
    } else {
        terse_json_put(&root, "n", json_integer(x->n));
        terse_json_put(&root, "correct", terse_json_real(x->correct));
        terse_json_put(&root, "low", terse_json_real(x->share_low));
        terse_json_put(&root, "high", terse_json_real(x->share_high));
        terse_json_put(&root, "lost", json_integer(x->lost));
        terse_json_put(&root, "gained", json_integer(x->gained));
    }
    return root;
}

static json_t *json_of_groups(const terse_pareto_report *r, int32_t from, int32_t to)
{
    json_t *all = json_array();
    for (int32_t g = from; g < to; g++)
        for (int32_t t = 0; t < r->opts->n_type && terse_pareto_report_has(r, g); t++)
            for (int32_t s = 0; s < r->grid->n; s++)
                if (json_array_append_new(all, json_of_result(r, g, t, s)) != 0) {
                    json_decref(all);
                    return NULL;
                }
    return all;
}

terse_status terse_pareto_report_json(const terse_pareto_report *r, const char *path, terse_error *err)
{
    terse_output out = { 0 };
    json_t *root = json_object();
    terse_json_put(&root, "model", json_of_name(r->model_name));
    terse_json_put(&root, "hash", json_string(terse_pareto_model_hash(r->pareto)));
    terse_json_put(&root, "text", json_of_name(r->text_name));
    terse_json_put(&root, "prompts", json_of_name(r->prompts_name));
    terse_json_put(&root, "reference", json_string("dense attention over an f16 cache"));
    terse_json_put(&root, "scored", json_integer(terse_pareto_scored(r->pareto)));
    terse_json_put(&root, "results", json_of_groups(r, 0, r->opts->n_ctx));
    terse_json_put(&root, "tasks", json_of_groups(r, r->opts->n_ctx, r->n_group));
    char *text = root ? json_dumps(root, JSON_INDENT(1) | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(root);
    if (!text)
        return terse_fail(err, TERSE_NOMEM, "no memory for the JSON");
    terse_status st = terse_output_open(&out, path, err);
    if (st == TERSE_OK) {
        fprintf(out.f, "%s\n", text);
        st = terse_pareto_report_finish(&out, err);
    }
    free(text);
    return st;
}

/* ---- CSV ---- */

/* A field in quotes, as RFC 4180 has it. */
static void put_text(FILE *f, const char *text)
{
    putc('"', f);
    for (; text && *text; text++) {
        if (*text == '"')
            putc('"', f);
        putc(*text, f);
    }
    fputs("\",", f);
}

static void put_numbers(FILE *f, const double *x, int32_t n)
{
    for (int32_t i = 0; i < n; i++) {
        if (isfinite(x[i]))
            fprintf(f, "%.9g", x[i]);
        putc(i + 1 < n ? ',' : '\n', f);
    }
}

static void put_row(FILE *f, const terse_pareto_report *r, int32_t group, int32_t type, int32_t s)
{
    const terse_pareto_result *x = terse_pareto_report_result(r, group, type, s);
    const terse_grid_setting *setting = &r->grid->setting[s];
    const bool text = group < r->opts->n_ctx;
    const double none = (double)NAN, score = text ? none : 1.0;
    const double numbers[] = { (double)x->n_sample,
                               (double)x->n_token,
                               x->ratio,
                               x->k,
                               x->v,
                               x->summary,
                               x->dense_f16,
                               x->kl,
                               x->low,
                               x->high,
                               x->p50,
                               x->p90,
                               x->p99,
                               x->p999,
                               x->max,
                               x->top1,
                               x->ppl,
                               x->ppl_dense,
                               score * x->n,
                               score * x->correct,
                               x->share_low,
                               x->share_high,
                               score * x->lost,
                               score * x->gained };
    const char *task = terse_pareto_report_task(r, group);
    fprintf(f, "%s,", text ? "text" : "tasks");
    if (text)
        fprintf(f, "%d", r->opts->ctx[group]);
    putc(',', f);
    put_text(f, task ? task : text ? "" : "all");
    put_text(f, terse_kv_type_name(r->opts->type[type].type_k));
    put_text(f, terse_kv_type_name(r->opts->type[type].type_v));
    put_text(f, r->grid->family[setting->family].name);
    put_text(f, terse_grid_role_name(r->grid->family[setting->family].role));
    put_text(f, setting->label);
    put_text(f, r->grid->rule[s].policy);
    put_text(f, terse_pareto_stop(r->pareto, s));
    put_numbers(f, numbers, sizeof numbers / sizeof *numbers);
}

terse_status terse_pareto_report_csv(const terse_pareto_report *r, const char *path, terse_error *err)
{
    static const char head[] =
        "kind,ctx,task,type_k,type_v,family,role,label,policy,stop,samples,tokens,bytes_ratio,bytes_k,bytes_v,"
        "bytes_summary,bytes_dense_f16,kl_mean,kl_low,kl_high,kl_p50,kl_p90,kl_p99,kl_p999,kl_max,top1,ppl,"
        "ppl_dense,questions,correct,share_low,share_high,lost,gained\n";
    terse_output out = { 0 };
    const terse_status st = terse_output_open(&out, path, err);
    if (st != TERSE_OK)
        return st;
    fputs(head, out.f);
    for (int32_t g = 0; g < r->n_group; g++)
        for (int32_t t = 0; t < r->opts->n_type && terse_pareto_report_has(r, g); t++)
            for (int32_t s = 0; s < r->grid->n; s++)
                put_row(out.f, r, g, t, s);
    return terse_pareto_report_finish(&out, err);
}
