/* bench/example_attend.c: how to use terse's page store and its walk that stops early in an engine of your own.
 * Only two public headers are needed; link with `pkg-config --libs terse` or CMake's find_package(terse).
 *
 *   example_attend [STOP-RULE] [TOKENS]        example_attend stability:tau=1e-3 100000
 *
 * One KV head with four query heads over it. An engine would have a store per sequence, with all its layers and
 * heads, and a walk per thread. */
#include <terse/attend.h>
#include <terse/kv.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { DIM = 64, ROWS = 4, SINKS = 4, NEEDLES = 3 };

/* Rows of queries and results begin at multiples of 64 bytes. */
typedef struct {
    _Alignas(64) float x[ROWS][DIM];
} rows;

/* A number from -1 to 1. */
static float noise(void)
{
    return (float)rand() / (float)RAND_MAX * 2.0f - 1.0f;
}

/* A token as models make them: the first ones are attention sinks, whose values say little; the last ones are
 * alike, and the query looks for them; some needles far back are what it is really after; the rest is noise.
 * The logit of a token is likes * |goal|^2 / sqrt(DIM) = likes * 8 / 3 or so, give or take 0.4. */
static void make_token(const float *goal, int t, int n, float *k, float *v)
{
    float likes = n - t <= 64 ? 1.5f : 0.0f;
    if (t < SINKS)
        likes = 3.5f;
    for (int i = 1; i <= NEEDLES; i++)
        likes = t == n * i / (NEEDLES + 1) ? 3.5f : likes;
    for (int d = 0; d < DIM; d++) {
        k[d] = likes * goal[d] + noise();
        v[d] = t < SINKS ? 0.1f * noise() : 0.5f + noise();
    }
}

/* 1. A store, and n tokens in it. A prompt is stored the same way as one new token: room, values, commit. Keys
 * come with their positions already turned into them (RoPE). */
static terse_status fill(terse_kv **kv, const float *goal, int n, terse_error *err)
{
    const terse_kv_opts opts = { .n_layer = 1, .n_head = 1, .dim_k = DIM, .dim_v = DIM, .ctx = n };
    float k[DIM], v[DIM];
    terse_status st = terse_kv_open(kv, &opts, err); /* f16, pages as they are needed, no limit */
    if (st == TERSE_OK)
        st = terse_kv_reserve(*kv, n, err); /* all that can fail, before anything is stored */
    if (st != TERSE_OK)
        return st;
    for (int t = 0; t < n; t++) {
        make_token(goal, t, n, k, v);
        terse_kv_put(*kv, 0, 0, t, k, v);
    }
    terse_kv_commit(*kv, n);
    return TERSE_OK;
}

/* 2. A rule, a walk, the attention of one token in one (layer, KV head): all query heads of the group share one
 * read of the pages. Rule and walk are opened once; terse_walk_decode is what an engine calls for every token,
 * and takes no memory. */
static terse_status attend(terse_kv *kv, const char *rule, const rows *q, rows *out, terse_attend_stats *stats,
                           bool *bounded, terse_error *err)
{
    terse_attend *a = NULL;
    terse_walk *w = NULL;
    *stats = (terse_attend_stats){ 0 }; /* walks add to it */
    terse_status st = terse_attend_open(&a, "dense", rule, 0, err);
    if (st == TERSE_OK)
        st = terse_kv_summarize(kv, terse_attend_needs(a),
                                err); /* once after a prompt: what the rule looks at */
    if (st == TERSE_OK)
        st = terse_walk_open(&w, kv, a, ROWS, 0, err);
    if (st == TERSE_OK) {
        terse_walk_decode(w, 0, 0, terse_kv_count(kv), 1.0f / sqrtf(DIM), q->x[0], out->x[0], stats);
        *bounded = terse_attend_bounded(a);
    }
    terse_walk_close(&w); /* closing what was never opened is fine */
    terse_attend_close(&a);
    return st;
}

/* |a - b| / |b| */
static double distance(const float *a, const float *b)
{
    double off = 0.0, all = 0.0;
    for (int d = 0; d < DIM; d++) {
        off += ((double)a[d] - (double)b[d]) * ((double)a[d] - (double)b[d]);
        all += (double)b[d] * (double)b[d];
    }
    return sqrt(off / all);
}

/* 3. What was read, what it costs in error, and what the rule promised. */
static void report(const char *rule, const rows *out, const rows *exact, const terse_attend_stats *s,
                   bool bounded)
{
    double error = 0.0;
    for (int r = 0; r < ROWS; r++)
        error = fmax(error, distance(out->x[r], exact->x[r]));
    const int64_t bytes = s->bytes_k + s->bytes_v + s->bytes_summary;
    printf("rule   %s\n", rule);
    printf("pages  %lld listed, %lld with keys read, %lld with values read\n", (long long)s->pages_listed,
           (long long)s->pages_scored, (long long)s->pages_read);
    printf("bytes  %lld of %lld = %.3f\n", (long long)bytes, (long long)s->bytes_dense,
           (double)bytes / (double)s->bytes_dense);
    printf("error  %.6f of the output's norm, the worst of %d heads\n", error, ROWS);
    if (bounded)
        printf("bound  %.6f, proved\n", (double)s->bound_max);
    else
        printf("bound  none: this rule proves nothing\n");
}

int main(int argc, char **argv)
{
    const char *rule = argc > 1 ? argv[1] : "value-skip:eps=0.1";
    const int n = argc > 2 ? atoi(argv[2]) : 8192;
    float goal[DIM];
    rows q, out, exact;
    terse_kv *kv = NULL;
    terse_attend_stats stats;
    terse_error err;
    bool bounded = false;
    srand(1);
    for (int d = 0; d < DIM; d++)
        goal[d] = noise();
    for (int r = 0; r < ROWS; r++)
        for (int d = 0; d < DIM; d++)
            q.x[r][d] = goal[d] + 0.5f * noise(); /* the heads of a group look for much the same */
    terse_status st = fill(&kv, goal, n, &err);
    if (st == TERSE_OK)
        st = attend(kv, "none", &q, &exact, &stats, &bounded, &err);
    if (st == TERSE_OK)
        st = attend(kv, rule, &q, &out, &stats, &bounded, &err);
    if (st == TERSE_OK)
        report(rule, &out, &exact, &stats, bounded);
    else
        fprintf(stderr, "%s\n", err.text);
    terse_kv_close(&kv);
    return terse_status_exit(st);
}
