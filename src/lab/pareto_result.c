/* lab/pareto_result.c: results of the grid, from the parts that are done. */
#include "lab/pareto_parts.h"
#include "lab/statistics.h"
#include "lab/tasks.h"
#include "simd/page.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of a page's keys or values. */
static double block_size(terse_kv_type type, int32_t dim)
{
    static const terse_page_type page[] = {
        [TERSE_KV_DEFAULT] = TERSE_PAGE_F16, [TERSE_KV_F32] = TERSE_PAGE_F32,   [TERSE_KV_F16] = TERSE_PAGE_F16,
        [TERSE_KV_Q8] = TERSE_PAGE_Q8,       [TERSE_KV_BF16] = TERSE_PAGE_BF16, [TERSE_KV_Q4] = TERSE_PAGE_Q4
    };
    return (double)terse_page_block_size(page[type], dim);
}

/* How much larger an f16 cache is than one of this type. Of bytes that were counted it is exact if keys and
 * values have one type: an unfinished page counts in full for keys and by its tokens for values. */
static double f16_factor(const terse_pareto *p, int32_t type)
{
    const terse_model_info *m = terse_model_about(p->model);
    const terse_pareto_type *t = &p->opts.type[type];
    return (block_size(TERSE_KV_F16, m->dim_k) + block_size(TERSE_KV_F16, m->dim_v)) /
           (block_size(t->type_k, m->dim_k) + block_size(t->type_v, m->dim_v));
}

static bool is_at(const terse_pareto *p, const terse_pareto_part *part, terse_pareto_at at)
{
    if (!part->done || part->ctx != at.ctx || part->type != at.type)
        return false;
    return part->ctx >= 0 || at.task < 0 || p->opts.tasks->item[part->index].task == at.task;
}

/* Sums over parts. */
typedef struct {
    double *kl;  /* [n] */
    size_t *end; /* [n_sample] */
    int32_t n_sample;
    int64_t n, agree, k, v, summary, dense;
    double nll, nll_dense;
} sums;

/* The parts that are looked at, counted. */
static void count(const terse_pareto *p, terse_pareto_at at, sums *s)
{
    for (int32_t i = 0; i < p->n_part; i++)
        if (is_at(p, &p->part[i], at)) {
            s->n_sample++;
            s->n += p->part[i].n;
        }
}

static void gather(const terse_pareto *p, terse_pareto_at at, sums *s, terse_pareto_result *out)
{
    size_t n = 0;
    int32_t sample = 0;
    for (int32_t i = 0; i < p->n_part; i++) {
        const terse_pareto_part *part = &p->part[i];
        if (!is_at(p, part, at))
            continue;
        const terse_pareto_cell *c = &part->cell[at.rule];
        memcpy(s->kl + n, c->kl, (size_t)part->n * sizeof *s->kl);
        n += (size_t)part->n;
        s->end[sample++] = n;
        s->agree += c->agree;
        s->k += c->k;
        s->v += c->v;
        s->summary += c->summary;
        s->dense += c->dense;
        s->nll += c->nll;
        s->nll_dense += part->nll_dense;
        out->n += c->n_score;
        out->correct += c->correct;
        out->lost += c->lost;
        out->gained += c->gained;
    }
}

static void take_bytes(const sums *s, double f16, terse_pareto_result *out)
{
    const double n = (double)s->n, dense = (double)s->dense * f16;
    out->k = (double)s->k / n;
    out->v = (double)s->v / n;
    out->summary = (double)s->summary / n;
    out->dense_f16 = dense / n;
    out->ratio = dense > 0.0 ? (double)(s->k + s->v + s->summary) / dense : NAN;
}

static void take_kl(sums *s, terse_pareto_result *out)
{
    const size_t n = (size_t)s->n;
    const terse_interval mean = terse_mean_interval(s->kl, s->end, s->n_sample);
    double sum = 0.0;
    for (size_t i = 0; i < n; i++)
        sum += s->kl[i];
    terse_sort(s->kl, n);
    out->kl = sum / (double)n;
    out->low = mean.low;
    out->high = mean.high;
    out->p50 = terse_quantile(s->kl, n, 0.5);
    out->p90 = terse_quantile(s->kl, n, 0.9);
    out->p99 = terse_quantile(s->kl, n, 0.99);
    out->p999 = terse_quantile(s->kl, n, 0.999);
    out->max = s->kl[n - 1];
    out->top1 = (double)s->agree / (double)n;
    out->ppl = exp(s->nll / (double)n);
    out->ppl_dense = exp(s->nll_dense / (double)n);
}

terse_status terse_pareto_result_of(const terse_pareto *p, terse_pareto_at at, terse_pareto_result *out,
                                    terse_error *err)
{
    sums s = { 0 };
    *out = (terse_pareto_result){ .ratio = NAN,
                                  .k = NAN,
                                  .v = NAN,
                                  .summary = NAN,
                                  .dense_f16 = NAN,
                                  .kl = NAN,
                                  .low = NAN,
                                  .high = NAN,
                                  .p50 = NAN,
                                  .p90 = NAN,
                                  .p99 = NAN,
                                  .p999 = NAN,
                                  .max = NAN,
                                  .top1 = NAN,
                                  .ppl = NAN,
                                  .ppl_dense = NAN,
                                  .share_low = NAN,
                                  .share_high = NAN };
    count(p, at, &s);
    if (s.n == 0)
        return TERSE_OK;
    s.kl = malloc((size_t)s.n * sizeof *s.kl);
    s.end = malloc((size_t)s.n_sample * sizeof *s.end);
    if (s.kl && s.end) {
        gather(p, at, &s, out);
        take_bytes(&s, f16_factor(p, at.type), out);
        out->n_sample = s.n_sample;
        out->n_token = s.n;
        if (at.ctx >= 0)
            take_kl(&s, out);
        const terse_interval share = terse_share_interval(out->correct, out->n);
        out->share_low = share.low;
        out->share_high = share.high;
    }
    const bool good = s.kl && s.end;
    free(s.kl);
    free(s.end);
    return good ? TERSE_OK : terse_fail(err, TERSE_NOMEM, "no memory for the results of the grid");
}

double terse_pareto_head(const terse_pareto *p, terse_pareto_at at, int32_t layer, int32_t head)
{
    const terse_model_info *m = terse_model_about(p->model);
    const int32_t u = layer * m->n_head_kv + head;
    int64_t read = 0, dense = 0;
    for (int32_t i = 0; i < p->n_part; i++)
        if (is_at(p, &p->part[i], at)) {
            read += p->part[i].cell[at.rule].head[2 * u];
            dense += p->part[i].cell[at.rule].head[2 * u + 1];
        }
    return dense > 0 ? (double)read / ((double)dense * f16_factor(p, at.type)) : NAN;
}
