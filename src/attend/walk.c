/* attend/walk.c: the loop. Pages in order; score, weigh, mix; ask the stop rule.
 *
 * A walk has parts. The first has the sinks and the recent window and goes on over all other pages, unless
 * these are split: then every strand takes each n_strand-th page of the list and decides for itself when to
 * stop, and the accumulators are merged in a fixed order. Strands may run on several threads. */
#include "attend/walk.h"
#include "attend/policy.h"
#include "attend/turn.h"

#include "simd/expf.h"

#include <math.h>
#include <string.h>

static const terse_rule none = { .stop = &terse_stop_none };

/* ---- parts ---- */

void terse_part_start(terse_part *a, int32_t n_row, int32_t dim)
{
    a->n_read = a->n_token = a->n_mixed = a->n_some = 0;
    a->spared = a->bytes_v = 0;
    memset(a->o, 0, (size_t)n_row * (size_t)dim * sizeof *a->o);
    for (int32_t r = 0; r < n_row; r++) {
        a->m[r] = -INFINITY;
        a->l[r] = 0.0f;
    }
}

void terse_walk_shape(terse_walk *w, int32_t layer, int32_t head)
{
    const terse_attend_layer *y = w->attend->layer ? &w->attend->layer[layer] : NULL;
    w->course.softcap = y ? y->softcap : 0.0f;
    w->course.sinks = y && y->sinks ? y->sinks + head * w->n_row : NULL;
}

/* A sink is a key of that score whose value is 0. */
void terse_walk_start(terse_walk *w, int32_t n_row)
{
    terse_part *a = &w->part[0];
    terse_part_start(a, n_row, w->kv->opts.dim_v);
    for (int32_t r = 0; w->course.sinks && r < n_row; r++) {
        a->m[r] = w->course.sinks[r % w->n_row];
        a->l[r] = 1.0f;
    }
}

/* A strand goes on from the maximum of the first part, to which estimates are relative. */
void terse_part_strand(terse_part *a, const terse_part *first, int32_t n_row, int32_t dim)
{
    terse_part_start(a, n_row, dim);
    memcpy(a->m, first->m, (size_t)n_row * sizeof *a->m);
}

/* Brings the strands to the first part. */
void terse_part_merge(terse_part *part, int32_t n_strand, int32_t n_row, int32_t dim)
{
    for (int32_t r = 0; r < n_row; r++) {
        float *o = part[0].o + r * dim, m = part[0].m[r];
        for (int32_t s = 1; s <= n_strand; s++)
            m = part[s].m[r] > m ? part[s].m[r] : m;
        const float keep = terse_expf(part[0].m[r] - m);
        part[0].m[r] = m;
        part[0].l[r] *= keep;
        for (int32_t d = 0; d < dim; d++)
            o[d] *= keep;
        for (int32_t s = 1; s <= n_strand; s++) {
            const float f = terse_expf(part[s].m[r] - m);
            part[0].l[r] = fmaf(part[s].l[r], f, part[0].l[r]);
            for (int32_t d = 0; d < dim; d++)
                o[d] = fmaf(part[s].o[r * dim + d], f, o[d]);
        }
    }
}

void terse_walk_whole(const terse_walk *lead, const terse_part *a, float *whole)
{
    const terse_course *c = &lead->course;
    const terse_part *first = &lead->part[0];
    for (int32_t r = 0; r < lead->n_row; r++) {
        const float mine = c->rank ? a->l[r] + (float)a->rest[r] * a->rel[r] : a->l[r];
        whole[r] = a == first ? mine : first->l[r] * a->rel[r] + (float)c->n_strand * mine;
    }
}

/* ---- pages ---- */

/* The share of all pages that a rule is told about: a strand takes itself for a fair sample, but does not
 * believe that the other strands have more than it has or than is estimated of them. */
static void extrapolate(terse_walk *w, const terse_walk *lead, const terse_part *a)
{
    const terse_course *c = &lead->course;
    const terse_part *first = &lead->part[0];
    const int32_t rows = w->n_row;
    const float n = (float)c->n_strand;
    for (int32_t r = 0; r < rows; r++) {
        const float rel = a->rel[r], mine = a->l[r] + w->unread[r];
        const float estimated = (float)(first->rest[r] - a->all[r]) * rel, sample = (n - 1.0f) * mine;
        const float others = c->rank && estimated < sample ? estimated : sample;
        w->unread[r] *= n;
        w->unread[rows + r] *= n;
        const float total = first->l[r] * rel + mine + others;
        w->sum[r] = total > w->unread[r] ? total - w->unread[r] : 0.0f;
    }
}

/* Asks the page rule after position i, or knows that it will not have enough. Notes which heads would have
 * stopped here alone. */
static bool settled(terse_walk *w, terse_walk *lead, terse_part *a, int32_t i)
{
    const terse_kv *kv = w->kv;
    const terse_course *c = &lead->course;
    const int32_t dim = kv->opts.dim_v, rows = w->n_row, strands = a == lead->part ? 1 : c->n_strand;
    const int32_t read = c->known + (a->n_read - (strands == 1 ? c->known : 0)) * strands;
    const bool weighs = c->rank && (strands == 1 || c->order != TERSE_ORDER_BOX);
    if (weighs)
        terse_walk_spend(lead, a, i);
    if (read < c->sure)
        return false;
    if (weighs)
        terse_walk_unread(w, lead, a, i + 1);
    else
        memset(w->unread, 0, 2 * (size_t)rows * sizeof *w->unread);
    if (strands > 1)
        extrapolate(w, lead, a);
    const terse_acc acc = { .n_row = rows,
                            .dim = dim,
                            .n_read = read < c->n_page ? read : c->n_page,
                            .n_page = c->n_page,
                            .l = strands > 1 ? w->sum : a->l,
                            .z = w->z,
                            .o = c->apart ? NULL : a->o,
                            .keep = w->keep,
                            .unread = w->unread,
                            .unread_squares = w->unread + rows,
                            .radius = c->rank && c->order == TERSE_ORDER_BOX ? lead->radius[i + 1] : INFINITY,
                            .center = kv->center + c->view.unit * (size_t)dim,
                            .kernels = &w->kernels };
    const bool all = terse_walk_enough(w, c->rule, w->state, &acc, &a->bound);
    for (int32_t r = 0; r < rows; r++)
        if (w->done[r] && !a->alone[r])
            a->alone[r] = a->n_read;
    return all;
}

/* Scores and weighs position i of the lead's list. */
static void score_page(terse_walk *w, const terse_walk *lead, terse_part *a, int32_t i, const char *ahead,
                       int32_t first, float *s)
{
    const terse_kv *kv = w->kv;
    w->kernels.score[kv->type_k](s, terse_walk_query(lead, lead->list[i]), terse_walk_block(lead, i), w->n_row,
                                 kv->opts.dim_k, ahead);
    terse_walk_cap(w, &lead->course, s, w->n_row);
    terse_walk_mask(s, w->n_row, first);
    w->kernels.weigh(s, w->n_row, w->n, a->m, a->l, w->keep, w->z);
}

/* Walks positions from, from + step, ... below end of the lead's list until the rule has enough; it is asked
 * from position `ask` on. The scratch memory is that of w. */
static void walk_part(terse_walk *w, terse_walk *lead, terse_part *a, int32_t from, int32_t step, int32_t end,
                      int32_t ask)
{
    const terse_kv *kv = w->kv;
    const terse_course *c = &lead->course;
    const uint32_t all = terse_tokens_first(TERSE_PAGE);
    const int32_t rows = w->n_row,
                  reach = step * (c->apart || c->sifts ? 2 : 1); /* keys alone are soon done with */
    int32_t filled = -1;
    for (int32_t i = from; i < end; i += step) {
        const char *page = terse_walk_block(lead, i),
                   *ahead = i + reach < end ? terse_walk_block(lead, i + reach) : NULL;
        int32_t first;
        const int32_t fill = terse_kv_fill(kv, &c->view, lead->list[i], &first);
        float *s = c->apart   ? lead->weights + (size_t)i * (size_t)rows * TERSE_PAGE
                   : c->sifts ? terse_sift_weights(w, lead, i)
                              : w->s;
        for (int32_t r = 0; fill != filled && r < rows; r++)
            w->n[r] = fill;
        filled = fill;
        if (c->graded && i >= c->known)
            terse_walk_keys(w, lead, a, i, ahead ? i + reach : -1, s);
        else
            score_page(w, lead, a, i, ahead, first, s);
        if (c->apart || i < c->n_held)
            memcpy(lead->top + i * rows, a->m, (size_t)rows * sizeof *a->m);
        else if (c->sifts)
            terse_sift_rise(w);
        else
            w->kernels.mix[kv->type_v](a->o, w->keep, s, page + kv->block_k, terse_tokens_first(fill), rows,
                                       kv->opts.dim_v, ahead ? ahead + kv->block_k : NULL, all);
        for (int32_t r = 0; (c->rank || c->sifts) && r < rows; r++)
            a->rel[r] *= w->keep[r];
        a->n_read++;
        a->n_token += fill - first;
        const bool enough = i >= ask && c->every && a->n_read % c->every == 0 && settled(w, lead, a, i);
        if (c->sifts && i >= c->n_held)
            terse_sift_page(w, lead, a, i, terse_tokens_first(fill) & ~terse_tokens_first(first));
        if (enough)
            break;
    }
}

static void finish_part(terse_walk *w, const terse_walk *lead, terse_part *a)
{
    if (lead->course.sifts)
        terse_sift_end(w, a);
}

/* What is estimated of a strand's pages. */
static void claim(const terse_walk *lead, terse_part *a, int32_t s)
{
    const terse_course *c = &lead->course;
    const int32_t rows = lead->n_row;
    for (int32_t r = 0; r < rows; r++) {
        double sum = 0.0, squares = 0.0;
        for (int32_t i = c->known + s; c->rank && c->order != TERSE_ORDER_BOX && i < c->n_page;
             i += c->n_strand) {
            const double x = TERSE_PAGE * (double)lead->fair[(size_t)r * lead->stride + (size_t)lead->list[i]];
            sum += x;
            squares += x * x;
        }
        a->all[r] = a->rest[r] = sum;
        a->rest[rows + r] = squares;
        a->rel[r] = 1.0f;
    }
}

/* ---- a walk ---- */

/* The rules of this (layer, head): sets w->key and w->value, returns the page rule. */
static const terse_rule *choose_rules(terse_walk *w, int32_t layer, int32_t head)
{
    const terse_attend *a = w->attend;
    w->key = &a->key;
    w->value = &a->value;
    if (!a->scale)
        return &a->page;
    w->scaled[0] = terse_attend_scaled(a, &a->page, layer, head);
    w->scaled[1] = terse_attend_scaled(a, &a->key, layer, head);
    w->scaled[2] = terse_attend_scaled(a, &a->value, layer, head);
    w->key = &w->scaled[1];
    w->value = &w->scaled[2];
    return &w->scaled[0];
}

static void begin_rule(terse_walk *w, const terse_course *c, terse_part *a)
{
    a->bound = 0.0f;
    memset(a->alone, 0, (size_t)w->n_row * sizeof *a->alone);
    memset(w->unread, 0, 2 * (size_t)w->n_row * sizeof *w->unread);
    if (c->rule->stop->begin)
        c->rule->stop->begin(w->state, c->rule->param, w->n_row, w->kv->opts.dim_v);
}

/* Into how many strands the pages behind the first n_known are split. */
int32_t terse_walk_strands(const terse_walk *w, const terse_rule *rule, int32_t n_known, int32_t n_page)
{
    enum { LEAST = 8, LONG = 96 }; /* pages of a strand; of one that only evens out */
    const bool even = w->split.even;
    const int32_t most = (n_page - n_known) / (even ? LONG : LEAST);
    const int32_t n = w->split.most < most ? w->split.most : most;
    return n > 1 && rule->stop->strands && (!even || rule->stop->enough) ? n : 1;
}

/* A policy that reads the pages that are worth most in one order: the others leave the list. */
static void choose(terse_walk *w)
{
    terse_course *c = &w->course;
    const terse_attend *a = w->attend;
    const double *param = a->policy.param;
    const int32_t want = terse_kv_pages_of(terse_policy_budget(param[1], param[0], c->n_token));
    if (c->known == c->n_page)
        return;
    c->bytes += terse_walk_rank(w, a->select, c->known, c->n_page);
    if (want < c->n_page)
        c->n_page = want > c->known ? want : c->known;
}

/* What this walk goes by. Returns whether a policy chooses pages. */
static bool set_course(terse_walk *w, int32_t layer, int32_t head, int32_t n_token)
{
    const terse_kv *kv = w->kv;
    const terse_attend *a = w->attend;
    const size_t unit = terse_kv_unit(kv, layer, head);
    const terse_rule *rule = choose_rules(w, layer, head);
    const bool all = n_token < a->from || terse_kv_span(kv, unit),
               select = !all && a->select != TERSE_ORDER_AUTO;
    terse_course *c = &w->course;
    *c = all ? (terse_course){ .rule = &none, .order = TERSE_ORDER_NEWEST }
             : (terse_course){ .rule = rule,
                               .order = a->order,
                               .apart = a->value.stop && !a->value.stop->light,
                               .sifts = a->value.stop && a->value.stop->light };
    const terse_stop *stop = c->rule->stop;
    c->every = !stop->enough ? 0 : stop->every ? stop->every(c->rule->param) : 1;
    terse_walk_shape(w, layer, head);
    c->n_token = n_token;
    c->view = terse_kv_view_at(kv, unit, n_token - 1);
    c->n_page = c->view.n_page;
    c->light = c->sifts ? a->value.stop->light(w->value->param, terse_kv_view_tokens(&c->view)) : 0.0f;
    c->known = terse_walk_plan(w, select ? a->select : c->order, &c->view);
    c->rank = c->known < c->n_page && (select || terse_order_weighs(c->order));
    c->n_strand = terse_walk_strands(w, c->rule, c->known, c->n_page);
    return select;
}

/* Ranks the pages behind the known ones, which have been walked. */
static void rank(terse_walk *w, bool select)
{
    terse_course *c = &w->course;
    const terse_attend *a = w->attend;
    const terse_stop *stop = c->rule->stop;
    if (select)
        choose(w);
    c->sure = stop->sure ? stop->sure(c->rule->param, c->n_page) : 0;
    c->rank = c->known < c->n_page && terse_order_weighs(c->order);
    if (c->rank) {
        const size_t bytes = terse_walk_rank(w, c->order, c->known, c->n_page);
        c->bytes += select && a->select == c->order ? 0 : bytes; /* those have been read */
        c->graded = a->key.stop != NULL;
        if (c->graded)
            terse_walk_grade(w, (float)w->key->param[0]);
    }
    c->n_strand = terse_walk_strands(w, c->rule, c->known, c->n_page);
}

int32_t terse_walk_begin(terse_walk *w, int32_t layer, int32_t head, int32_t n_token, float scale,
                         const float *q)
{
    const terse_kv *kv = w->kv;
    terse_course *c = &w->course;
    terse_part *a = &w->part[0];
    const bool select = set_course(w, layer, head, n_token), one = c->n_strand == 1 && !c->rank;
    const int32_t *table = kv->table + c->view.unit * (size_t)kv->cap, end = one ? c->n_page : c->known;
    for (int32_t p = 0; c->rank && p < c->n_page; p += 16) /* ranked pages come from anywhere in the table */
        __builtin_prefetch(&table[p]);
    terse_query_prepare(kv->type_k, w->query, q, w->n_row, kv->opts.dim_k, scale);
    c->turned = terse_walk_turn(w, layer, &c->view, n_token, scale, q, 0);
    terse_walk_start(w, w->n_row);
    begin_rule(w, c, a);
    if (c->sifts)
        terse_sift_start(w, a);
    c->n_held = c->sifts ? end : 0;
    walk_part(w, w, a, 0, 1, end, one ? c->known - 1 : c->n_page);
    if (!one)
        rank(w, select);
    if (c->sifts)
        terse_sift_held(w, a);
    if (!one && c->n_strand == 1)
        walk_part(w, w, a, c->known, 1, c->n_page, c->known);
    finish_part(w, w, a);
    return c->n_strand > 1 ? c->n_strand : 0;
}

void terse_walk_strand(terse_walk *lead, terse_walk *w, int32_t s)
{
    const terse_course *c = &lead->course;
    terse_part *a = &lead->part[1 + s];
    terse_part_strand(a, &lead->part[0], w->n_row, w->kv->opts.dim_v);
    begin_rule(w, c, a);
    claim(lead, a, s);
    if (c->sifts)
        terse_sift_start(w, a);
    walk_part(w, lead, a, c->known + s, c->n_strand, c->n_page, c->known);
    finish_part(w, lead, a);
}

/* The scored positions of all strands, one behind the other, for the value rule. */
static void gather(terse_walk *w)
{
    const terse_course *c = &w->course;
    const size_t rows = (size_t)w->n_row, page = rows * TERSE_PAGE;
    for (int32_t i = c->known, to = c->known; i < c->n_page; i++) {
        if ((i - c->known) / c->n_strand >= w->part[1 + (i - c->known) % c->n_strand].n_read)
            continue;
        if (i != to) {
            const size_t from = (size_t)i, at = (size_t)to;
            w->list[to] = w->list[i];
            memcpy(w->weights + at * page, w->weights + from * page, page * sizeof *w->weights);
            memcpy(w->top + at * rows, w->top + from * rows, rows * sizeof *w->top);
        }
        to++;
    }
}

/* Puts what the strands know together. */
static void join(terse_walk *w)
{
    const terse_course *c = &w->course;
    const int32_t rows = w->n_row;
    terse_part *first = &w->part[0];
    float before[TERSE_MAX_GROUP];
    if (c->apart)
        gather(w);
    memcpy(before, first->m, (size_t)rows * sizeof *before);
    terse_part_merge(first, c->n_strand, rows, w->kv->opts.dim_v);
    for (int32_t r = 0; r < rows; r++) {
        double unread = 0.0;
        int32_t alone = first->n_read;
        for (int32_t s = 1; s <= c->n_strand; s++) {
            unread += w->part[s].rest[r];
            alone += w->part[s].alone[r] ? w->part[s].alone[r] : w->part[s].n_read;
        }
        w->unread[r] = (float)(unread * exp((double)before[r] - (double)first->m[r]));
        float left = c->sifts ? first->left[r] * terse_expf(before[r] - first->m[r]) : 0.0f;
        for (int32_t s = 1; c->sifts && s <= c->n_strand; s++)
            left += w->part[s].left[r] * terse_expf(w->part[s].m[r] - first->m[r]);
        first->left[r] = left;
        first->alone[r] = alone;
    }
    for (int32_t s = 1; s <= c->n_strand; s++) {
        first->n_read += w->part[s].n_read;
        first->n_token += w->part[s].n_token;
        first->bound = fmaxf(first->bound, w->part[s].bound);
        first->spared += w->part[s].spared;
        first->bytes_v += w->part[s].bytes_v;
        first->n_mixed += w->part[s].n_mixed;
        first->n_some += w->part[s].n_some;
    }
}

/* out = (o + fill c) / (l + unread): what was left out weighs as much as is known of it, and is worth c. */
static float finish(terse_walk *w, const float *left, float *out)
{
    const int32_t dim = w->kv->opts.dim_v;
    const float *c = w->kv->center + w->course.view.unit * (size_t)dim;
    const terse_part *a = &w->part[0];
    float worst = 0.0f;
    for (int32_t r = 0; r < w->n_row; r++) {
        const float fill = w->unread[r] + (left ? left[r] : 0.0f), inv = 1.0f / (a->l[r] + w->unread[r]);
        const float *o = a->o + r * dim;
        memcpy(out + r * dim, o, (size_t)dim * sizeof *o);
        if (fill != 0.0f)
            w->axpy(out + r * dim, fill, c, dim);
        for (int32_t d = 0; d < dim; d++)
            out[r * dim + d] *= inv;
        worst = fmaxf(worst, fill * inv);
    }
    return worst;
}

/* What dense attention reads (of a layer with a span: that), and attention over all that the policy keeps. */
static void count(terse_attend_stats *stats, const terse_kv *kv, const terse_kv_view *view, int32_t n_token)
{
    const int64_t k = (int64_t)kv->block_k, v = (int64_t)(kv->block_v / TERSE_PAGE);
    const int32_t kept = terse_kv_view_tokens(view);
    const int32_t pages = terse_kv_pages_of(n_token) - view->first / TERSE_PAGE;
    stats->pages_listed += pages;
    stats->bytes_dense += k * pages + v * (n_token - view->first);
    stats->bytes_kept += k * view->n_page + v * kept;
    stats->tokens_dense += n_token - view->first;
    stats->tokens_kept += kept;
}

void terse_walk_end(terse_walk *w, float *out, terse_attend_stats *stats)
{
    const terse_kv *kv = w->kv;
    const terse_course c = w->course;
    terse_part *a = &w->part[0];
    if (c.n_strand > 1)
        join(w);
    const int32_t scored = a->n_read;
    for (int32_t r = 0; r < w->n_row; r++)
        stats->pages_alone += (double)(a->alone[r] ? a->alone[r] : scored) / w->n_row;
    /* Under BOX it is a bound of the weight, not an estimate of it; and where all was read, a rounding error.
     */
    if (c.order == TERSE_ORDER_BOX || scored == c.n_page)
        memset(w->unread, 0, 2 * (size_t)w->n_row * sizeof *w->unread);
    stats->bytes_k += (int64_t)kv->block_k * scored - (int64_t)a->spared;
    stats->bytes_summary += (int64_t)c.bytes;
    const int64_t before = stats->tokens_read;
    if (c.apart) {
        terse_walk_values(w, scored, stats, &a->bound);
    } else if (c.sifts) {
        stats->bytes_v += (int64_t)a->bytes_v;
        stats->tokens_read += a->n_mixed;
        stats->pages_read += a->n_some;
    } else {
        stats->bytes_v += (int64_t)(kv->block_v / TERSE_PAGE) * a->n_token;
        stats->tokens_read += a->n_token;
        stats->pages_read += scored;
    }
    const float *left = c.apart ? w->left : c.sifts ? a->left : NULL;
    const float estimate = finish(w, left, out);
    if (estimate > 0.0f && !c.apart) /* terse_walk_values counts its own */
        stats->bytes_summary += (int64_t)sizeof(float) * kv->opts.dim_v;
    stats->left_max = fmaxf(stats->left_max, estimate);
    stats->left_sum += (double)estimate;
    stats->bound_max = fmaxf(stats->bound_max, a->bound);
    if (w->attend->audit && stats->walks % w->attend->audit == 0)
        terse_walk_audit(w, out, left, estimate, stats);
    stats->walks++;
    stats->pages_scored += scored;
    stats->stops += scored < c.n_page || stats->tokens_read - before < a->n_token;
    count(stats, kv, &c.view, c.n_token);
}

void terse_walk_decode(terse_walk *w, int32_t layer, int32_t head, int32_t n_token, float scale, const float *q,
                       float *out, terse_attend_stats *stats)
{
    const int32_t n = terse_walk_begin(w, layer, head, n_token, scale, q);
    for (int32_t s = 0; s < n; s++)
        terse_walk_strand(w, w, s);
    terse_walk_end(w, out, stats);
}

void terse_walk_dense(terse_walk *w)
{
    terse_course *c = &w->course;
    *c = (terse_course){ .rule = &none,
                         .order = TERSE_ORDER_NEWEST,
                         .view = c->view,
                         .n_token = c->n_token,
                         .n_strand = 1,
                         .softcap = c->softcap,
                         .sinks = c->sinks,
                         .turned = c->turned };
    c->n_page = c->view.n_page;
    terse_walk_plan(w, c->order, &c->view);
    terse_walk_start(w, w->n_row);
    walk_part(w, w, &w->part[0], 0, 1, c->n_page, c->n_page);
}

bool terse_walk_is_dense(const terse_walk *w, int32_t layer, int32_t n_token)
{
    const terse_attend *a = w->attend;
    if (a->audit || w->kv->n_ring)
        return false;
    return terse_kv_span(w->kv, terse_kv_unit(w->kv, layer, 0)) ||
           (a->select == TERSE_ORDER_AUTO &&
            (n_token < a->from || (a->page.stop == &terse_stop_none && !a->value.stop)));
}

void terse_walk_count_dense(const terse_kv *kv, int32_t layer, int32_t pos, int32_t n, int32_t n_read,
                            terse_attend_stats *stats)
{
    const size_t u = terse_kv_unit(kv, layer, 0);
    const int32_t seen = terse_kv_view_at(kv, u, pos).first, shared = n_read * TERSE_PAGE;
    const int32_t first = seen > shared ? seen : shared,
                  pages = terse_kv_pages_of(pos + n) - first / TERSE_PAGE;
    const int64_t value = (int64_t)(kv->block_v / TERSE_PAGE);
    stats->bytes_k += (int64_t)kv->block_k * pages;
    stats->bytes_v += value * (pos + n - first);
    stats->tokens_read += pos + n - first;
    stats->pages_scored += pages;
    stats->pages_read += pages;
    stats->pages_alone += pages;
    stats->walks += n;
    for (int32_t t = 0; t < n; t++) {
        const terse_kv_view view = terse_kv_view_at(kv, u, pos + t);
        count(stats, kv, &view, pos + t + 1);
    }
}
