/* attend/audit.c: the true error of a walk, found by doing it again in full. */
#include "attend/walk.h"

#include <math.h>

/* |x - y|, or |x| if y is NULL. */
static double distance(const float *x, const float *y, int32_t n)
{
    double sum = 0.0;
    for (int32_t d = 0; d < n; d++) {
        const double diff = (double)x[d] - (y ? (double)y[d] : 0.0);
        sum += diff * diff;
    }
    return sqrt(sum);
}

static int32_t bin_of(double x)
{
    int32_t bin = 0;
    while (bin + 1 < TERSE_AUDIT_BINS && x >= terse_audit_bin_low(bin + 1))
        bin++;
    return bin;
}

void terse_walk_audit(terse_walk *w, const float *out, const float *left, float estimate,
                      terse_attend_stats *stats)
{
    const int32_t dim = w->kv->opts.dim_v;
    const bool bounded = terse_attend_bounded(w->attend);
    const terse_part *a = &w->part[0];
    const double bound = (double)a->bound;
    /* The maximum that the walk ended with and, relative to it, the weight whose values it had read. */
    float m[TERSE_MAX_GROUP], l[TERSE_MAX_GROUP], worst = 0.0f;
    double missed = 0.0;
    bool broken = false;
    for (int32_t r = 0; r < w->n_row; r++) {
        m[r] = a->m[r];
        l[r] = a->l[r] - (left ? left[r] : 0.0f);
    }
    terse_walk_dense(w);
    for (int32_t r = 0; r < w->n_row; r++) {
        float *full = w->full + r * dim;
        const float *got = out + r * dim;
        terse_walk_divide(full, a->o + r * dim, a->l[r], dim);
        const double size = distance(full, NULL, dim), error = distance(full, got, dim);
        if (error != 0.0) /* fmaxf drops NaN */
            worst = fmaxf(worst, isnan(error) ? INFINITY : (float)(error / size));
        /* The bound is on exact arithmetic: leave room for the rounding of two f32 sums. NaN is a violation. */
        broken |= !(error <= bound * distance(got, NULL, dim) * 1.0001 + 1e-4 * size);
        missed = fmax(missed, 1.0 - exp((double)m[r] - (double)a->m[r]) * (double)l[r] / (double)a->l[r]);
    }
    stats->audits++;
    stats->audit_violations += bounded && broken;
    stats->audit_error_max = fmaxf(stats->audit_error_max, worst);
    stats->audit_error_sum += (double)worst;
    stats->audit_left_sum += missed;
    stats->audit_error[bin_of((double)worst)]++;
    stats->audit_bound[bin_of(bounded ? bound : (double)estimate)]++;
}
