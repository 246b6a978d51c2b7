/* cli/report_html.c: the report of terse eval pareto as one page that needs nothing else: tables, plots, maps.
 * It is well-formed XML too, so that tools can read it. */
#include "pareto_report.h"
#include "report_style.h"
#include "svg.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { TIP = 256 };

/* ---- curves ---- */

/* What a plot shows of a result. */
typedef double terse_pareto_report_value(const terse_pareto_result *x);

static double kl_mean(const terse_pareto_result *x)
{
    return x->kl;
}

static double kl_p999(const terse_pareto_result *x)
{
    return x->p999;
}

static double top1_lost(const terse_pareto_result *x)
{
    return 1.0 - x->top1;
}

static double right(const terse_pareto_result *x)
{
    return x->n > 0 ? x->correct / x->n : (double)NAN;
}

/* The curves of one group and storage type. */
typedef struct {
    terse_svg_curve curve[TERSE_MAX_FAMILIES];
    terse_svg_point point[TERSE_MAX_SETTINGS];
    char tip[TERSE_MAX_SETTINGS][TIP];
} curves;

static void sort_points(terse_svg_point *p, int32_t n)
{
    for (int32_t i = 1; i < n; i++) {
        const terse_svg_point x = p[i];
        int32_t k = i;
        for (; k > 0 && p[k - 1].x > x.x; k--)
            p[k] = p[k - 1];
        p[k] = x;
    }
}

static void fill_curves(curves *c, const terse_pareto_report *r, int32_t group, int32_t type,
                        terse_pareto_report_value *y)
{
    int32_t used = 0;
    for (int32_t f = 0; f < r->grid->n_family; f++) {
        terse_svg_curve *to = &c->curve[f];
        *to = (terse_svg_curve){ .name = r->grid->family[f].name,
                                 .class = terse_grid_role_name(r->grid->family[f].role),
                                 .look = f % TERSE_LOOKS,
                                 .point = c->point + used };
        for (int32_t s = 0; s < r->grid->n; s++) {
            if (r->grid->setting[s].family != f)
                continue;
            const terse_pareto_result *x = terse_pareto_report_result(r, group, type, s);
            const bool kl = y == kl_mean, tasks = y == right;
            snprintf(c->tip[s], TIP, "%s %s: %.1f %%, %.3g", r->grid->rule[s].policy, r->grid->rule[s].stop,
                     100.0 * x->ratio, y(x));
            c->point[used++] = (terse_svg_point){ .x = x->ratio,
                                                  .y = y(x),
                                                  .low = kl      ? x->low
                                                         : tasks ? x->share_low
                                                                 : (double)NAN,
                                                  .high = kl      ? x->high
                                                          : tasks ? x->share_high
                                                                  : (double)NAN,
                                                  .tip = c->tip[s],
                                                  .label = r->grid->setting[s].label };
            to->n++;
        }
        sort_points(to->point, to->n);
    }
}

/* Room on the right for the largest share of bytes, in tenths. */
static double widest(const terse_pareto_report *r, int32_t group, int32_t type)
{
    double max = 0.1;
    for (int32_t s = 0; s < r->grid->n; s++) {
        const double x = terse_pareto_report_result(r, group, type, s)->ratio;
        max = isfinite(x) && x > max ? x : max;
    }
    return ceil(max * 10.0 - 0.05) / 10.0;
}

/* One plot for each storage type; logarithmic ones share their decades. */
static void put_plots(FILE *f, const terse_pareto_report *r, curves *c, int32_t group, const char *what,
                      const char *unit, terse_pareto_report_value *y)
{
    double low = INFINITY, high = 0.0;
    const bool log = y != right;
    for (int32_t t = 0; t < r->opts->n_type; t++) {
        double a, b;
        fill_curves(c, r, group, t, y);
        terse_svg_decades(c->curve, r->grid->n_family, &a, &b);
        low = fmin(low, a);
        high = fmax(high, b);
    }
    fputs("<div class=\"row\">\n", f);
    for (int32_t t = 0; t < r->opts->n_type; t++) {
        char title[128], type[32];
        fill_curves(c, r, group, t, y);
        snprintf(title, sizeof title, "%s, %s cache", what, terse_pareto_report_type(r, t, type));
        const terse_svg_axes a = { .title = title,
                                   .x_title = "KV bytes read per decoded token, % of dense f16",
                                   .y_title = unit,
                                   .x_max = widest(r, group, t),
                                   .y_min = log ? low : 0.0,
                                   .y_max = log ? high : 1.0,
                                   .log = log };
        terse_svg_plot(f, &a, c->curve, r->grid->n_family);
    }
    fputs("</div>\n", f);
}

/* ---- tables ---- */

/* A number, or a dash. */
static void put_cell(FILE *f, const char *format, double x)
{
    fputs("<td>", f);
    if (isfinite(x))
        fprintf(f, format, x);
    else
        fputs("–", f);
    fputs("</td>", f);
}

/* A KL: 0.0012, 3.1e-05. */
static void put_kl(FILE *f, double x)
{
    put_cell(f, x == 0.0 ? "%.0f" : fabs(x) < 1e-4 ? "%.1e" : x < 0.1 ? "%.4f" : "%.3f", x);
}

/* A row's beginning: its cell is left open. */
static void put_family(FILE *f, const terse_pareto_report *r, int32_t family)
{
    fprintf(f, "<tr><td class=\"name k%d\"><span class=\"dot\"></span>", family % TERSE_LOOKS);
    terse_html_text(f, r->grid->family[family].name);
}

static void put_setting(FILE *f, const terse_pareto_report *r, int32_t s)
{
    const terse_grid_setting *setting = &r->grid->setting[s];
    put_family(f, r, setting->family);
    fputs("</td><td class=\"name\"><code>", f);
    terse_html_text(f, r->grid->rule[s].stop);
    fputs("</code>", f);
    if (setting->label) {
        fputs(" <b>", f);
        terse_html_text(f, setting->label);
        fputs("</b>", f);
    }
    if (terse_pareto_bounded(r->pareto, s))
        fputs(" <small>proved</small>", f);
    fputs("</td>", f);
}

static void put_table(FILE *f, const terse_pareto_report *r, int32_t group, int32_t type)
{
    char name[32];
    fprintf(f, "<details><summary>All settings, %s cache</summary>\n<div class=\"wide\"><table>\n<thead>",
            terse_pareto_report_type(r, type, name));
    fputs("<tr><th>method</th><th class=\"name\">setting</th><th>bytes, %</th><th>keys, KiB</th><th>values, "
          "KiB</th>"
          "<th>summaries, KiB</th><th>KL mean</th><th>95 %, from</th><th>to</th><th>KL 99 %</th>"
          "<th>99.9 %</th><th>most</th><th>top-1, %</th><th>perplexity</th></tr></thead>\n<tbody>\n",
          f);
    for (int32_t s = 0; s < r->grid->n; s++) {
        const terse_pareto_result *x = terse_pareto_report_result(r, group, type, s);
        put_setting(f, r, s);
        put_cell(f, "%.1f", 100.0 * x->ratio);
        put_cell(f, "%.1f", x->k / 1024.0);
        put_cell(f, "%.1f", x->v / 1024.0);
        put_cell(f, "%.1f", x->summary / 1024.0);
        put_kl(f, x->kl);
        put_kl(f, x->low);
        put_kl(f, x->high);
        put_kl(f, x->p99);
        put_kl(f, x->p999);
        put_kl(f, x->max);
        put_cell(f, "%.1f", 100.0 * x->top1);
        put_cell(f, "%.3f", x->ppl);
        fputs("</tr>\n", f);
    }
    fputs("</tbody></table></div></details>\n", f);
}

/* KL of a curve where it reads a share of the bytes, on a straight line (logarithm of KL) between the settings
 * beside it; NAN beyond its ends. */
static double kl_at(const terse_svg_curve *c, double share)
{
    for (int32_t i = 0; i + 1 < c->n; i++) {
        const terse_svg_point *a = &c->point[i], *b = a + 1;
        if (!(a->x <= share && share <= b->x) || !(a->y > 0.0) || !(b->y > 0.0) || a->x == b->x)
            continue;
        return a->y * pow(b->y / a->y, (share - a->x) / (b->x - a->x));
    }
    return NAN;
}

static void put_equal_bytes(FILE *f, const terse_pareto_report *r, curves *c, int32_t group, int32_t type)
{
    static const double shares[] = { 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8 };
    enum { N = sizeof shares / sizeof *shares };
    bool column[N] = { false }, row[TERSE_MAX_FAMILIES] = { false }, any = false;
    char name[32];
    fill_curves(c, r, group, type, kl_mean);
    for (int32_t k = 0; k < r->grid->n_family; k++)
        for (int32_t i = 0; i < N; i++)
            if (isfinite(kl_at(&c->curve[k], shares[i])))
                column[i] = row[k] = any = true;
    if (!any)
        return;
    fprintf(f, "<div class=\"wide\"><table>\n<caption>Mean KL at equal bytes, %s cache</caption>\n<thead><tr>",
            terse_pareto_report_type(r, type, name));
    fputs("<th>method</th>", f);
    for (int32_t i = 0; i < N; i++)
        if (column[i])
            fprintf(f, "<th>%.0f %%</th>", 100.0 * shares[i]);
    fputs("</tr></thead>\n<tbody>\n", f);
    for (int32_t k = 0; k < r->grid->n_family; k++) {
        if (!row[k])
            continue;
        put_family(f, r, k);
        fprintf(f, " <small>%s</small></td>", terse_grid_role_name(r->grid->family[k].role));
        for (int32_t i = 0; i < N; i++)
            if (column[i])
                put_kl(f, kl_at(&c->curve[k], shares[i]));
        fputs("</tr>\n", f);
    }
    fputs("</tbody></table></div>\n", f);
}

/* ---- maps ---- */

static void put_maps(FILE *f, const terse_pareto_report *r, int32_t group, double *share)
{
    const terse_model_info *m = terse_model_about(r->model);
    char type[32];
    fprintf(f,
            "<h3>Bytes read by layer and KV head, %% of dense f16, %s cache</h3>\n"
            "<p>Rows are layers, columns KV heads.</p>\n<div class=\"maps\">\n",
            terse_pareto_report_type(r, 0, type));
    for (int32_t s = 0; s < r->grid->n; s++) {
        const terse_grid_setting *setting = &r->grid->setting[s];
        if (!setting->map)
            continue;
        for (int32_t l = 0; l < m->n_layer; l++)
            for (int32_t h = 0; h < m->n_head_kv; h++)
                share[l * m->n_head_kv + h] =
                    terse_pareto_head(r->pareto, terse_pareto_report_at(r, group, 0, s), l, h);
        const char *title = setting->label ? setting->label : r->grid->family[setting->family].name;
        fputs("<figure>", f);
        terse_svg_map(f, title, share, m->n_layer, m->n_head_kv);
        fputs("<figcaption><code>", f);
        terse_html_text(f, r->grid->rule[s].stop);
        fputs("</code></figcaption></figure>\n", f);
    }
    fputs("</div>\n", f);
}

/* ---- sections ---- */

static void put_text_section(FILE *f, const terse_pareto_report *r, curves *c, int32_t group, double *share)
{
    const terse_pareto_result *first = terse_pareto_report_result(r, group, 0, 0);
    fprintf(f,
            "<section>\n<h2>Text, contexts of %d tokens</h2>\n<p>%d windows, %" PRId64
            " decoded tokens for each setting and cache type; perplexity of dense f16 %.3f.</p>\n",
            r->opts->ctx[group], first->n_sample, first->n_token, first->ppl_dense);
    put_plots(f, r, c, group, "Mean KL from dense f16", "KL, nats per token", kl_mean);
    for (int32_t t = 0; t < r->opts->n_type; t++)
        put_equal_bytes(f, r, c, group, t);
    put_plots(f, r, c, group, "99.9 % quantile of KL", "KL, nats per token", kl_p999);
    put_plots(f, r, c, group, "Another likeliest token than dense f16", "share of tokens", top1_lost);
    put_maps(f, r, group, share);
    for (int32_t t = 0; t < r->opts->n_type; t++)
        put_table(f, r, group, t);
    fputs("</section>\n", f);
}

static void put_scores(FILE *f, const terse_pareto_report *r, int32_t type)
{
    const int32_t all = r->opts->n_ctx;
    char name[32];
    fprintf(f, "<div class=\"wide\"><table>\n<caption>Answers, %s cache</caption>\n<thead><tr>",
            terse_pareto_report_type(r, type, name));
    fputs("<th>method</th><th class=\"name\">setting</th><th>bytes, %</th><th>right</th><th>of</th><th>95 %, "
          "from</th>"
          "<th>to</th><th>lost</th><th>gained</th>",
          f);
    for (int32_t g = all + 1; g < r->n_group; g++)
        if (terse_pareto_report_has(r, g)) {
            fputs("<th>", f);
            terse_html_text(f, terse_pareto_report_task(r, g));
            fprintf(f, " <small>of %d</small></th>", terse_pareto_report_result(r, g, type, 0)->n);
        }
    fputs("</tr></thead>\n<tbody>\n", f);
    for (int32_t s = 0; s < r->grid->n; s++) {
        const terse_pareto_result *x = terse_pareto_report_result(r, all, type, s);
        put_setting(f, r, s);
        put_cell(f, "%.1f", 100.0 * x->ratio);
        put_cell(f, "%.4g", x->correct);
        put_cell(f, "%.0f", x->n);
        put_cell(f, "%.1f %%", 100.0 * x->share_low);
        put_cell(f, "%.1f %%", 100.0 * x->share_high);
        put_cell(f, "%.0f", x->lost);
        put_cell(f, "%.0f", x->gained);
        for (int32_t g = all + 1; g < r->n_group; g++)
            if (terse_pareto_report_has(r, g))
                put_cell(f, "%.4g", terse_pareto_report_result(r, g, type, s)->correct);
        fputs("</tr>\n", f);
    }
    fputs("</tbody></table></div>\n", f);
}

static void put_tasks_section(FILE *f, const terse_pareto_report *r, curves *c)
{
    const int32_t all = r->opts->n_ctx;
    if (r->n_group <= all || !terse_pareto_report_has(r, all))
        return;
    fputs("<section>\n<h2>Prompts with known answers</h2>\n<p>The context is computed densely, question and "
          "answer are decoded under the setting. Intervals are Wilson's; lost and gained count the questions "
          "with a lower and a higher score than dense attention over the same cache has.</p>\n",
          f);
    put_plots(f, r, c, all, "Answers that are right", "% of the questions", right);
    for (int32_t t = 0; t < r->opts->n_type; t++)
        put_scores(f, r, t);
    fputs("</section>\n", f);
}

static void put_fact(FILE *f, const char *name, const char *value)
{
    fprintf(f, "<dt>%s</dt><dd>", name);
    terse_html_text(f, value);
    fputs("</dd>\n", f);
}

static void put_head(FILE *f, const terse_pareto_report *r)
{
    const terse_model_info *m = terse_model_about(r->model);
    char shape[160];
    fputs("<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n"
          "<meta charset=\"utf-8\"/>\n<meta name=\"viewport\" content=\"width=device-width\"/>\n<title>"
          "Quality beside bytes: ",
          f);
    terse_html_text(f, r->model_name);
    fputs("</title>\n<style>\n", f);
    fputs(terse_pareto_report_style, f);
    fputs("</style>\n</head>\n<body>\n<h1>Quality beside bytes</h1>\n<dl>\n", f);
    put_fact(f, "model", r->model_name);
    snprintf(shape, sizeof shape, "%.20s, %.20s, %d layers, %d heads over %d KV heads, %d channels", m->arch,
             m->type, m->n_layer, m->n_head, m->n_head_kv, m->dim_k);
    put_fact(f, "shape", shape);
    put_fact(f, "hash", terse_pareto_model_hash(r->pareto));
    put_fact(f, "text", r->text_name);
    if (r->prompts_name)
        put_fact(f, "prompts", r->prompts_name);
    snprintf(shape, sizeof shape, "terse %s", terse_version());
    put_fact(f, "program", shape);
    fputs("</dl>\n", f);
}

static void put_legend(FILE *f, const terse_pareto_report *r)
{
    fprintf(
        f,
        "<p>Every window of the text is computed densely; its last %d tokens are then decoded under each "
        "setting, and the distributions of the next token are compared with those of dense attention over "
        "an f16 cache (KL divergence, natural logarithm). Bytes are counted where they are read, page "
        "summaries included, and given as a share of what dense attention over an f16 cache reads. Bars are "
        "95 %% intervals of the mean, from the windows. A KL of about 0.0005 is what any change, however "
        "small, sets off through the rounding of activations.</p>\n"
        "<p>Floors (dashed) are what a method has to beat; ceilings (dotted) know the true shares of all "
        "pages without reading them.</p>\n<table>\n<thead><tr><th>curve</th><th>role</th><th>what it "
        "reads</th></tr></thead>\n<tbody>\n",
        terse_pareto_scored(r->pareto));
    for (int32_t i = 0; i < r->grid->n_family; i++) {
        const terse_grid_family *family = &r->grid->family[i];
        put_family(f, r, i);
        fprintf(f, "</td><td class=\"name\">%s</td><td class=\"name\">", terse_grid_role_name(family->role));
        terse_html_text(f, family->about ? family->about : "");
        fputs("</td></tr>\n", f);
    }
    fputs("</tbody></table>\n", f);
}

terse_status terse_pareto_report_html(const terse_pareto_report *r, const char *path, terse_error *err)
{
    const terse_model_info *m = terse_model_about(r->model);
    terse_output out = { 0 };
    curves *c = calloc(1, sizeof *c);
    double *share = calloc((size_t)m->n_layer * (size_t)m->n_head_kv, sizeof *share);
    terse_status st =
        c && share ? TERSE_OK : terse_fail(err, TERSE_NOMEM, "no memory for the report of %.200s", path);
    if (st == TERSE_OK)
        st = terse_output_open(&out, path, err);
    if (st == TERSE_OK) {
        put_head(out.f, r);
        put_legend(out.f, r);
        for (int32_t g = 0; g < r->opts->n_ctx; g++)
            put_text_section(out.f, r, c, g, share);
        put_tasks_section(out.f, r, c);
        fputs("</body>\n</html>\n", out.f);
        st = terse_pareto_report_finish(&out, err);
    }
    free(c);
    free(share);
    return st;
}
