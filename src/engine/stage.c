/* engine/stage.c: the stages of engine/stage.h.
 *
 * Definitions are the field's (llama.cpp); the arithmetic is ours and gives the same bits everywhere: sums run
 * in list order in double, and exp, log and pow are SLEEF's deterministic scalar forms without FMA, which need
 * no feature beyond the baseline of the architecture and do not change with the C library.
 *
 * Nothing is sorted that a cut throws away: arrange() brings the k best to the front by radix selection and
 * sorts only those. */
#include "engine/stage.h"

#include <float.h>
#include <math.h>
#include <sleef.h>
#include <string.h>

static float exp_(float x)
{
    return Sleef_cinz_expf1_u10purec(x);
}
static float log_(float x)
{
    return Sleef_cinz_logf1_u10purec(x);
}
static float pow_(float x, float y)
{
    return Sleef_cinz_powf1_u10purec(x, y);
}

/* What a list is ordered by. */
typedef struct {
    bool by_distance; /* false: highest logit first; true: smallest distance from mean first */
    float mean;
} order;

/* Larger is better, and no two candidates are equal: the ordered bits of the score above the inverted id. */
static inline uint64_t key(const terse_cand *c, order o)
{
    const float score = (o.by_distance ? -fabsf(c->logit - o.mean) : c->logit) + 0.0f; /* -0 becomes +0 */
    uint32_t bits;
    memcpy(&bits, &score, sizeof bits);
    bits ^= bits >> 31 ? UINT32_MAX : UINT32_C(1) << 31;
    return (uint64_t)bits << 32 | (UINT32_MAX - (uint32_t)c->id);
}

static inline void swap(terse_cand *a, terse_cand *b)
{
    const terse_cand t = *a;
    *a = *b;
    *b = t;
}

/* Heap sort, best first: no recursion, no memory, never quadratic. The root of the heap is the worst. */
static void sift(terse_cand *c, int32_t n, int32_t i, order o)
{
    for (int32_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && key(&c[child + 1], o) < key(&c[child], o))
            child++;
        if (key(&c[i], o) <= key(&c[child], o))
            return;
        swap(&c[i], &c[child]);
    }
}

static void sort(terse_cand *c, int32_t n, order o)
{
    for (int32_t i = n / 2 - 1; i >= 0; i--)
        sift(c, n, i, o);
    for (int32_t i = n - 1; i > 0; i--) {
        swap(&c[0], &c[i]);
        sift(c, i, 0, o);
    }
}

enum { DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };

static inline uint32_t digit(const terse_cand *c, order o, int shift)
{
    return (uint32_t)(key(c, o) >> shift) & (DIGITS - 1);
}

/* Moves the candidates of c[lo, hi) whose digit is at least min to the front; returns where they end. */
static int32_t gather(terse_cand *c, int32_t lo, int32_t hi, order o, int shift, uint32_t min)
{
    for (int32_t i = lo; i < hi; i++)
        if (digit(&c[i], o, shift) >= min)
            swap(&c[lo++], &c[i]);
    return lo;
}

/* The k best come to the front, sorted; 0 < k <= n. Each round looks at the next digit of the keys that are
 * still undecided, c[lo, hi): before lo all belong to the best, from hi on none does. */
static void arrange(terse_cands *l, int32_t k, order o)
{
    int32_t lo = 0, hi = l->n;
    for (int shift = 64 - DIGIT_BITS; hi > k + 64 && shift >= 0; shift -= DIGIT_BITS) {
        int32_t count[DIGITS] = { 0 };
        for (int32_t i = lo; i < hi; i++)
            count[digit(&l->c[i], o, shift)]++;
        uint32_t d = DIGITS - 1;
        for (int32_t seen = lo + count[d]; seen < k; seen += count[d])
            d--;
        hi = gather(l->c, lo, hi, o, shift, d);
        if (d + 1 < DIGITS)
            lo = gather(l->c, lo, hi, o, shift, d + 1);
    }
    sort(l->c, hi, o);
}

static const order by_logit = { false, 0.0f };

static float max_logit(const terse_cands *l)
{
    float max = -INFINITY;
    for (int32_t i = 0; i < l->n; i++)
        max = l->c[i].logit > max ? l->c[i].logit : max;
    return max;
}

/* exp(logit - max), right also when both are infinite */
static float weight(float logit, float max)
{
    return logit == -INFINITY ? 0.0f : logit == max ? 1.0f : exp_(logit - max);
}

/* p = softmax, up to the factor that is returned */
static double weigh(terse_cands *l)
{
    const float max = max_logit(l);
    double sum = 0.0;
    for (int32_t i = 0; i < l->n; i++)
        sum += l->c[i].p = weight(l->c[i].logit, max);
    return sum;
}

void terse_stage_softmax(terse_cands *l)
{
    const double sum = weigh(l);
    for (int32_t i = 0; i < l->n && sum > 0.0; i++)
        l->c[i].p = (float)(l->c[i].p / sum);
}

void terse_stage_penalties(terse_cands *l, const int32_t *count, float repeat, float frequency, float presence)
{
    for (int32_t i = 0; i < l->n; i++) {
        terse_cand *c = &l->c[i];
        if (count[c->id] == 0 || c->logit == -INFINITY)
            continue;
        float x = c->logit <= 0.0f ? c->logit * repeat : c->logit / repeat;
        x -= (float)count[c->id] * frequency + presence;
        /* A penalty makes a token unlikely, never impossible, and never makes a NaN of the next stage. */
        c->logit = fminf(fmaxf(x, -FLT_MAX), FLT_MAX);
    }
}

void terse_stage_logit_bias(terse_cands *l, const int32_t *ids, const float *biases, int32_t n)
{
    for (int32_t b = 0; b < n; b++)
        for (int32_t i = 0; i < l->n; i++)
            if (l->c[i].id == ids[b])
                l->c[i].logit += biases[b];
}

void terse_stage_top_n_sigma(terse_cands *l, float n_sigma, int32_t min_keep)
{
    if (n_sigma <= 0.0f)
        return;
    double sum = 0.0, squares = 0.0;
    int32_t n = 0;
    for (int32_t i = 0; i < l->n; i++)
        if (l->c[i].logit > -INFINITY) {
            sum += l->c[i].logit;
            n++;
        }
    const double mean = sum / (n ? n : 1);
    for (int32_t i = 0; i < l->n; i++)
        if (l->c[i].logit > -INFINITY)
            squares += (l->c[i].logit - mean) * (l->c[i].logit - mean);
    const double least = max_logit(l) - n_sigma * sqrt(squares / (n ? n : 1));
    int32_t keep = 0; /* candidates at the front that stay whatever their logit */
    for (int32_t i = 0; i < l->n; i++)
        keep += l->c[i].logit >= least;
    if (keep < min_keep) {
        keep = min_keep < l->n ? min_keep : l->n;
        arrange(l, keep, by_logit);
    } else {
        keep = 0;
    }
    for (int32_t i = keep; i < l->n; i++)
        if (l->c[i].logit < least)
            l->c[i].logit = -INFINITY;
}

void terse_stage_top_k(terse_cands *l, int32_t k)
{
    if (k <= 0 || k >= l->n)
        return;
    arrange(l, k, by_logit);
    l->n = k;
}

/* Keeps the first candidates in the order o whose weights add up to want, the one that crosses it included.
 * The sorted front grows as it is needed: a peaked distribution never sorts the whole vocabulary. */
static void cut_nucleus(terse_cands *l, order o, double want, int32_t min_keep)
{
    enum { FIRST = 128, GROWTH = 8 };
    double sum = 0.0;
    int32_t i = 0, sorted = 0;
    while (i < l->n) {
        if (i == sorted) {
            sorted = sorted == 0 ? FIRST : sorted > l->n / GROWTH ? l->n : sorted * GROWTH;
            sorted = sorted < l->n ? sorted : l->n;
            arrange(l, sorted, o);
        }
        sum += l->c[i++].p;
        if (sum >= want && i >= min_keep)
            break;
    }
    l->n = i;
}

void terse_stage_top_p(terse_cands *l, float p, int32_t min_keep)
{
    if (p < 1.0f)
        cut_nucleus(l, by_logit, p * weigh(l), min_keep);
}

/* Locally typical sampling (Meister 2022) orders by | -log p - H |. With log p = logit - log Z and the entropy
 * H = log Z - E[logit] that is the distance of a logit from its expectation. */
void terse_stage_typical(terse_cands *l, float p, int32_t min_keep)
{
    if (p >= 1.0f)
        return;
    const double sum = weigh(l);
    double mean = 0.0;
    for (int32_t i = 0; i < l->n; i++)
        if (l->c[i].p > 0.0f)
            mean += l->c[i].p / sum * l->c[i].logit;
    cut_nucleus(l, (order){ true, (float)mean }, p * sum, min_keep);
}

void terse_stage_min_p(terse_cands *l, float p, int32_t min_keep)
{
    if (p <= 0.0f)
        return;
    const float least = max_logit(l) + log_(p);
    int32_t keep = 0;
    for (int32_t i = 0; i < l->n; i++)
        keep += l->c[i].logit >= least;
    if (keep < min_keep) {
        terse_stage_top_k(l, min_keep);
        return;
    }
    int32_t n = 0;
    for (int32_t i = 0; i < l->n; i++)
        if (l->c[i].logit >= least)
            l->c[n++] = l->c[i];
    l->n = n;
}

/* Index of the best candidate. */
static int32_t best(const terse_cands *l)
{
    int32_t b = 0;
    for (int32_t i = 1; i < l->n; i++)
        if (l->c[i].logit > l->c[b].logit || (l->c[i].logit == l->c[b].logit && l->c[i].id < l->c[b].id))
            b = i;
    return b;
}

void terse_stage_temp(terse_cands *l, float temp)
{
    if (temp <= 0.0f) {
        const int32_t b = best(l);
        for (int32_t i = 0; i < l->n; i++)
            if (i != b)
                l->c[i].logit = -INFINITY;
        return;
    }
    const float max = max_logit(l);
    /* The softmax does not care where the zero is; move it only where the quotient would overflow. */
    const float zero = isfinite(max) && !isfinite(max / temp) ? max : 0.0f;
    for (int32_t i = 0; i < l->n; i++)
        l->c[i].logit = (l->c[i].logit - zero) / temp;
}

void terse_stage_temp_ext(terse_cands *l, float temp, float range, float exponent)
{
    if (range <= 0.0f) {
        terse_stage_temp(l, temp);
        return;
    }
    if (l->n == 1)
        return;
    terse_stage_softmax(l);
    double entropy = 0.0;
    for (int32_t i = 0; i < l->n; i++)
        if (l->c[i].p > 0.0f)
            entropy -= (double)l->c[i].p * log_(l->c[i].p);
    const float least = temp > range ? temp - range : 0.0f;
    const float share = (float)(entropy / log_((float)l->n));
    terse_stage_temp(l, least + (temp + range - least) * pow_(share, exponent));
}

int32_t terse_stage_greedy(const terse_cands *l)
{
    return l->c[best(l)].id;
}

int32_t terse_stage_draw(terse_cands *l, double u)
{
    const double want = u * weigh(l);
    double sum = 0.0;
    for (int32_t i = 0; i < l->n; i++) {
        sum += l->c[i].p;
        if (sum > want)
            return l->c[i].id;
    }
    return terse_stage_greedy(l);
}
