/* attend/plan.c: which page next. Sinks and the recent window, then the rest: newest first, or by what page
 * summaries tell about their weight.
 *
 * A page's weight is estimated twice. `high` takes the keys of a page for Gaussian without end: it overrates
 * pages with a large variance, among them those with one spiky key, and so ranks them first. `fair` knows that
 * a page has 32 keys (simd/summary.h); its sum over what is unread is what rules may believe. */
#include "attend/walk.h"

#include <math.h>
#include <string.h>

/* The pages behind the first n_known in a random order, another one for every unit and page count. The
 * generator is a 64-bit linear congruential one (Knuth's MMIX constants). */
static void shuffle(terse_walk *w, size_t unit, int32_t n_known, int32_t n_page)
{
    uint64_t x = (uint64_t)unit * 0x9e3779b97f4a7c15u + (uint64_t)n_page;
    for (int32_t i = n_page - 1; i > n_known; i--) {
        x = x * 6364136223846793005u + 1442695040888963407u;
        const int32_t j = n_known + (int32_t)((x >> 33) % (uint64_t)(i - n_known + 1)), p = w->list[i];
        w->list[i] = w->list[j];
        w->list[j] = p;
    }
}

/* The pages of ages 1 to one less than this may be ranked, as far as long-term pages go: those without a
 * summary and the newest may not, nor the first, whose sinks nobody may leave out. */
static int32_t rankable_end(const terse_walk *w, terse_order order, const terse_kv_view *view)
{
    const terse_kv *kv = w->kv;
    const int32_t old = view->n_page - (TERSE_ARMED - 1), full = view->n_long / TERSE_PAGE;
    const int32_t end = old < full ? old : full,
                  known = order == TERSE_ORDER_ORACLE ? end : kv->n_summary[view->unit];
    return end < known ? end : known;
}

/* May the recent page of age a be ranked? */
static bool rankable_recent(const terse_walk *w, terse_order order, const terse_kv_view *view, int32_t a)
{
    const terse_kv *kv = w->kv;
    if (a < 1 || a >= view->n_page - (TERSE_ARMED - 1))
        return false;
    const int32_t block = terse_kv_block_in(kv, view, terse_kv_place(kv, view, a));
    return view->from <= block * TERSE_PAGE &&
           (order == TERSE_ORDER_ORACLE || block < kv->ring_summary[view->unit]);
}

int32_t terse_walk_plan(terse_walk *w, terse_order order, const terse_kv_view *view)
{
    const terse_kv *kv = w->kv;
    const int32_t n_page = view->n_page;
    if (order == TERSE_ORDER_OLDEST) {
        for (int32_t a = 0; a < n_page; a++)
            w->list[a] = terse_kv_place(kv, view, a);
        return n_page < TERSE_ARMED ? n_page : TERSE_ARMED;
    }
    const bool told = order == TERSE_ORDER_ORACLE || (order == TERSE_ORDER_BOX ? kv->box : kv->moments);
    const bool weighs = terse_order_weighs(order), ranks = weighs && told;
    const int32_t long_end = ranks ? rankable_end(w, order, view) : 1, base = terse_kv_place(kv, view, 0);
    int32_t known = 1, end = n_page, a = n_page - 1;
    w->list[0] = base;
    for (; a > 0 && a >= long_end; a--)
        if (ranks && a >= view->n_long_page && rankable_recent(w, order, view, a))
            w->list[--end] = terse_kv_place(kv, view, a);
        else
            w->list[known++] = terse_kv_place(kv, view, a);
    for (; a > 0; a--)
        w->list[--end] = base + a;
    if (weighs || n_page <= TERSE_ARMED)
        return known;
    if (order == TERSE_ORDER_RANDOM)
        shuffle(w, view->unit, TERSE_ARMED, n_page);
    return TERSE_ARMED;
}

enum { BUCKETS = 1024 }; /* exponent and two bits of the mantissa of a float that is not negative */

void terse_walk_sort(terse_walk *w, int32_t *out, const float *x, int32_t n)
{
    int32_t count[BUCKETS] = { 0 };
    int32_t low = BUCKETS, high = -1;
    for (int32_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &x[i], sizeof bits);
        w->sort_key[i] = (uint16_t)(BUCKETS - 1 - (bits >> 21 & (BUCKETS - 1)));
    }
    for (int32_t i = 0; i < n; i++) {
        const int32_t k = w->sort_key[i];
        low = k < low ? k : low;
        high = k > high ? k : high;
        count[k]++;
    }
    for (int32_t k = low, at = 0; k <= high; k++) {
        const int32_t here = count[k];
        count[k] = at;
        at += here;
    }
    for (int32_t i = 0; i < n; i++)
        out[count[w->sort_key[i]]++] = i;
}

/* Estimates of n pages by capped scores: the cap of a mean weight for the mean of capped weights, which is too
 * much where a page's scores differ. Bounds stay bounds, with room for the rounding of both caps. */
static void cap(terse_walk *w, int32_t r, bool box, int32_t n)
{
    float *high = w->high + (size_t)r * w->stride;
    w->softcap(high, n, w->course.softcap);
    for (int32_t i = 0; i < n && box; i++)
        high[i] += 1e-6f * w->course.softcap;
    if (!box)
        w->softcap(w->fair + (size_t)r * w->stride, n, w->course.softcap);
}

/* Estimates of pages 0 ... 16 n_tile - 1, as weights relative to w->m; returns the bytes read. */
static size_t estimate(terse_walk *w, size_t unit, bool box, int32_t n_tile)
{
    const terse_kv *kv = w->kv;
    const int32_t rows = w->n_row, dim = kv->opts.dim_k;
    const size_t size = box ? terse_box_size(dim) : terse_moments_size(dim);
    const char *tile = (box ? kv->box : kv->moments) + unit * (size_t)kv->n_tile * size;
    terse_query_restore(kv->type_k, w->x, w->query, rows, dim);
    if (!box)
        terse_moments_query(w->moments_query, w->x, rows, dim);
    const bool capped = w->course.softcap > 0.0f, kept = w->attend->key.stop != NULL;
    const float *m = w->part[0].m;
    for (int32_t t = 0; t < n_tile; t++, tile += size) {
        const size_t at = (size_t)t * TERSE_TILE, scratch = kept ? at : 0;
        if (box) {
            w->summary.box(w->high + at, w->stride, w->x, tile, rows, dim);
            continue;
        }
        w->summary.moments(w->mean + scratch, w->variance + scratch, w->stride, w->moments_query, tile, rows,
                           dim);
        w->summary.estimates(w->fair + at, w->high + at, w->mean + scratch, w->variance + scratch, w->stride,
                             rows, capped ? NULL : m);
    }
    for (int32_t r = 0; r < rows && capped; r++)
        cap(w, r, box, w->n_estimate);
    for (int32_t r = 0; r < rows && (box || capped); r++) {
        w->summary.exps(w->high + (size_t)r * w->stride, w->n_estimate, m[r]);
        if (!box)
            w->summary.exps(w->fair + (size_t)r * w->stride, w->n_estimate, m[r]);
    }
    return size * (size_t)n_tile;
}

/* Sums of x[n] and of x^2, times TERSE_PAGE and its square. */
static void total(const float *x, int32_t n, double *sum, double *squares)
{
    float a[16] = { 0.0f }, b[16] = { 0.0f };
    int32_t i = 0;
    *sum = *squares = 0.0;
    for (; i + 16 <= n; i += 16)
        for (int32_t j = 0; j < 16; j++) {
            a[j] += x[i + j];
            b[j] += x[i + j] * x[i + j];
        }
    for (; i < n; i++) {
        *sum += (double)x[i];
        *squares += (double)x[i] * (double)x[i];
    }
    for (int32_t j = 0; j < 16; j++) {
        *sum += (double)a[j];
        *squares += (double)b[j];
    }
    *sum *= TERSE_PAGE;
    *squares *= TERSE_PAGE * TERSE_PAGE;
}

/* BOX: weights and radii behind every place. Bounds are added up from the small end: a difference could fall
 * short. */
static void sum_behind(terse_walk *w, size_t unit, int32_t n_known, int32_t n_page)
{
    const int32_t rows = w->n_row;
    const float *radius = w->kv->radius + unit * (size_t)w->kv->cap;
    float *behind = w->behind + (size_t)n_page * (size_t)rows;
    memset(behind, 0, (size_t)rows * sizeof *behind);
    w->radius[n_page] = 0.0f;
    for (int32_t i = n_page - 1; i >= n_known; i--, behind -= rows) {
        const int32_t p = w->list[i];
        for (int32_t r = 0; r < rows; r++)
            behind[r - rows] = behind[r] + TERSE_PAGE * w->high[(size_t)r * w->stride + (size_t)p];
        w->radius[i] = fmaxf(w->radius[i + 1], radius[p]);
    }
}

/* ORACLE: the true mean weights of n pages. What it reads for that is not counted: no walk could know. */
static void reveal(terse_walk *w, size_t unit, const int32_t *place, int32_t n)
{
    const terse_kv *kv = w->kv;
    const int32_t *table = kv->table + unit * (size_t)kv->cap, rows = w->n_row;
    const float most = 1e30f; /* of weights that are far above the maximum so far: sums stay finite */
    for (int32_t i = 0; i < n; i++) {
        const int32_t p = place[i];
        w->kernels.score[kv->type_k](w->s, w->query, terse_kv_block(kv, table[p]), rows, kv->opts.dim_k, NULL);
        terse_walk_cap(w, &w->course, w->s, rows);
        for (int32_t r = 0; r < rows; r++) {
            float sum = 0.0f;
            for (int32_t t = 0; t < TERSE_PAGE; t++)
                sum += expf(w->s[r * TERSE_PAGE + t] - w->part[0].m[r]);
            const size_t at = (size_t)r * w->stride + (size_t)p;
            w->fair[at] = w->high[at] = fminf(sum / TERSE_PAGE, most);
        }
    }
}

/* Weights of the pages to be ranked, in their order, of x[stride]. Where nothing was dropped or chosen they are
 * pages 1 ... n and lie as they should. */
static const float *gathered(terse_walk *w, const float *x, int32_t n)
{
    if (w->other[0] == 1 && w->other[n - 1] == n && w->kv->n_ring == 0)
        return x + 1;
    for (int32_t i = 0; i < n; i++)
        w->gather[i] = x[w->other[i]];
    return w->gather;
}

/* prior[n_estimate] = the largest of the heads' high / l */
static void prioritize(terse_walk *w)
{
    const int32_t rows = w->n_row;
    float inv[TERSE_MAX_GROUP];
    for (int32_t r = 0; r < rows; r++)
        inv[r] = 1.0f / w->part[0].l[r];
    for (int32_t p = 0; p < w->n_estimate; p += TERSE_TILE) {
        float most[TERSE_TILE] = { 0.0f };
        const float *high = w->high + p;
        for (int32_t r = 0; r < rows; r++, high += w->stride)
            for (int32_t i = 0; i < TERSE_TILE; i++) {
                const float share = high[i] * inv[r];
                most[i] = share > most[i] ? share : most[i];
            }
        memcpy(w->prior + p, most, sizeof most);
    }
}

static int32_t largest(const int32_t *x, int32_t n)
{
    int32_t most = 0;
    for (int32_t i = 0; i < n; i++)
        most = x[i] > most ? x[i] : most;
    return most;
}

size_t terse_walk_rank(terse_walk *w, terse_order order, int32_t n_known, int32_t n_page)
{
    const terse_kv_view *view = &w->course.view;
    const bool box = order == TERSE_ORDER_BOX;
    const int32_t rows = w->n_row, n = n_page - n_known;
    int32_t *list = w->list + n_known;
    size_t bytes = 0;
    memcpy(w->other, list, (size_t)n * sizeof *list);
    const int32_t n_tile = largest(w->other, n) / TERSE_TILE + 1;
    w->n_estimate = n_tile * TERSE_TILE;
    if (order == TERSE_ORDER_ORACLE)
        reveal(w, view->unit, w->other, n);
    else
        bytes = estimate(w, view->unit, box, n_tile);
    for (int32_t r = 0; r < rows; r++) {
        w->part[0].rel[r] = 1.0f;
        w->part[0].rest[r] = w->part[0].rest[rows + r] = 0.0;
        if (!box)
            total(gathered(w, w->fair + (size_t)r * w->stride, n), n, &w->part[0].rest[r],
                  &w->part[0].rest[rows + r]);
    }
    prioritize(w);
    terse_walk_sort(w, list, gathered(w, w->prior, n), n);
    for (int32_t i = 0; i < n; i++)
        list[i] = w->other[list[i]];
    if (box)
        sum_behind(w, view->unit, n_known, n_page);
    return bytes + (box ? (size_t)n * sizeof(float) : 0);
}

void terse_walk_spend(const terse_walk *lead, terse_part *a, int32_t i)
{
    const int32_t rows = lead->n_row;
    const float *fair = lead->fair + lead->list[i];
    double *rest = a->rest, *squares = rest + rows;
    for (int32_t r = 0; lead->course.order != TERSE_ORDER_BOX && r < rows; r++, fair += lead->stride) {
        const double x = TERSE_PAGE * (double)*fair, one = rest[r] - x, two = squares[r] - x * x;
        rest[r] = one > 0.0 ? one : 0.0;
        squares[r] = two > 0.0 ? two : 0.0;
    }
}

void terse_walk_unread(terse_walk *w, const terse_walk *lead, const terse_part *a, int32_t i)
{
    const int32_t rows = w->n_row;
    const bool box = lead->course.order == TERSE_ORDER_BOX;
    for (int32_t r = 0; r < rows; r++) {
        const double rel = (double)a->rel[r];
        w->unread[r] = box ? lead->behind[i * rows + r] * a->rel[r] : (float)(a->rest[r] * rel);
        w->unread[rows + r] = box ? 0.0f : (float)(a->rest[rows + r] * rel * rel);
    }
}
