/* attend/walk.h: the working memory of one thread's walks. */
#ifndef TERSE_ATTEND_WALK_H
#define TERSE_ATTEND_WALK_H

#include "attend/stop.h"
#include "kv/store.h"
#include "simd/kernels.h"

#include <math.h>
#include <string.h>

enum { TERSE_MAX_GROUP = 256, TERSE_MAX_STRANDS = 64 };

/* The accumulator of some of the pages. */
typedef struct {
    float *m, *l;            /* [max_row] largest score, sum of weights relative to it */
    float *o;                /* [max_row][dim_v] sum of weight x value */
    int32_t n_read, n_token; /* pages walked, their tokens */
    float bound;             /* of a rule that proves one */
    float *rel;              /* [n_row] brings estimates (plan.c) to the scale of l */
    double *rest;            /* [2][n_row] MASS: weight of what is unread, sum of weight^2 */
    double *all;             /* [n_row] rest as it was at first */
    size_t spared;           /* bytes of the walked pages' keys that were not read */
    float *left;             /* [n_row] sift.c: weight of tokens whose values were left out */
    size_t bytes_v;          /* sift.c: values that were read */
    int32_t n_mixed, n_some; /* their tokens, their pages */
    int32_t *alone;          /* [n_row] pages that the head alone would have walked; 0: not done yet */
} terse_part;

/* What a walk goes by. */
typedef struct {
    const terse_rule *rule;
    terse_order order;
    bool apart; /* keys first, values later */
    bool sifts; /* values of tokens with shares of at most `light` are left out at once */
    float light;
    int32_t n_held; /* pages at the front whose values wait for what is known of the others */
    bool rank;      /* the order is made from weights, and there is something to order */
    terse_kv_view view;
    int32_t n_token;    /* of the sequence: what dense attention would see */
    int32_t n_page;     /* in the list */
    int32_t every;      /* so many pages the rule is asked; 0: never */
    int32_t sure;       /* pages that it wants in any case */
    int32_t known;      /* pages at the front of the list that nobody chose */
    int32_t n_strand;   /* that share the others; 1: there are none */
    size_t bytes;       /* of summaries */
    float softcap;      /* terse_attend_layer */
    const float *sinks; /* [n_row] or NULL */
    bool turned;        /* long-term pages meet other queries than recent ones */
    bool graded;        /* ranked pages are scored from as many channels as they are worth */
} terse_course;

/* How many channels of a page's keys are read: keys.c. */
enum { TERSE_LEVELS = 4 };
typedef struct {
    float left;                         /* how much a page may be off */
    terse_channels level[TERSE_LEVELS]; /* the last one is all channels */
    uint16_t *at;                       /* [TERSE_LEVELS][pieces] their numbers */
    float *rest;                        /* [TERSE_LEVELS][n_row] of the scores' variance, in other channels */
    float *share;                       /* [n_row][pieces] of the scores' variance */
    char *query;                        /* [TERSE_LEVELS][n_row] prepared rows, of q8 and q4 keys */
    int32_t *of;                        /* [stride] by place: its level */
} terse_grade;

/* How threads share the pages of a KV head. */
typedef struct {
    int32_t most; /* strands at most; 1: none */
    bool even;    /* there is a head for every thread: strands even out what a page rule makes of the heads, in
                   * walks that are long enough */
} terse_split;

/* Values that are chosen page by page: sift.c. */
enum { TERSE_WAITING = 4 }; /* a power of two; one less pages wait to be mixed */
typedef struct {
    float *weights; /* [n_row][P] */
    const char *values;
    uint32_t tokens;
} terse_sifted;
typedef struct {
    terse_sifted waiting[TERSE_WAITING]; /* by their number modulo TERSE_WAITING */
    int32_t n_waiting, n_mixed;          /* pages with values to read, and mixed ones, so far */
    float *keep;                         /* [n_row] what brings o to the maximum of now */
} terse_sift;

struct terse_walk {
    const terse_kv *kv;
    const terse_attend *attend;
    terse_attn_kernels kernels;
    terse_summary_kernels summary;
    void (*softcap)(float *x, int32_t n, float cap); /* simd/vec.h */
    void (*axpy)(float *y, float a, const float *x, int32_t n);
    void (*rope[2])(float *x, const float *cs, int32_t n); /* there too: pairs, halves */
    int32_t n_row;                                         /* query heads per KV head */
    int32_t max_row;                                       /* n_row * TERSE_PAGE: a page of prefill tokens */
    terse_split split;
    int32_t cap; /* places of a (layer, head) */
    terse_course course;
    terse_part *part; /* the first part, then [split.most] strands if there may be more than one */
    size_t map_size;  /* bytes of the mapping that all arrays below live in */
    char *map;

    char *query;                   /* [max_row] prepared rows */
    char *turned;                  /* [max_row] as older tokens meet them (turn.c); NULL: as they are */
    float *turning;                /* [n_row][dim_k] a query on its way there */
    float *s;                      /* [max_row][P] scores, then weights */
    float *keep, *z;               /* [max_row] */
    int32_t *n;                    /* [max_row] tokens of the page that a row sees */
    int32_t *list;                 /* [cap] places of pages (kv/store.h) in walking order */
    int32_t *other;                /* [cap] places that are to be ranked, while they are */
    float *full;                   /* [n_row][dim_v] what an audit finds */
    char *state;                   /* of the page rule */
    const terse_rule *key, *value; /* attend's, or scaled[1] and [2] */
    terse_rule scaled[3];          /* page, key and value rule of this (layer, head), with a profile */
    float *score[3]; /* of a scoring policy: [ctx] what slots compete with, and a copy to select in; and
                      * [max_row] what brings weights to shares of their softmax */
    bool *done;      /* [n_row] heads that could stop */

    /* Orders that estimate (plan.c). Weights are relative to the maximum when the pages were ranked. */
    char *moments_query;    /* [n_row] */
    float *x;               /* [n_row][dim_k] the query as f32 */
    float *mean, *variance; /* [n_row][stride] of a page's scores; kept for a key rule only */
    float *fair, *high;     /* [n_row][stride] weight of a page: expected, and with the benefit of the doubt */
    float *prior;           /* [stride] by place: largest high / l of the heads */
    float *gather;          /* [cap] some of these weights in the order of other */
    float *behind;          /* [cap + 1][n_row] BOX: weight from this place in list on */
    float *radius;          /* [cap + 1] BOX: largest page radius from this place in list on */
    uint16_t *sort_key;     /* [cap, or the pieces of a key if these are more] */
    float *unread; /* [2][n_row] weight of what is unread, sum of weight^2, as l; zeros without estimates */
    float *sum;    /* [n_row] what a strand thinks that all have read */
    size_t stride; /* cap, rounded up to whole tiles */
    int32_t n_estimate; /* places of which there are estimates, those of whole tiles from the first on */

    /* Key rules. */
    terse_grade grade;
    float *was; /* [4][n_row] m, l and the weight of all pages before a page, and the mean it is to have */

    terse_sift sift;

    /* Value rules; by position in list. */
    float *weights;   /* [cap][n_row][P]; sift.c: then of pages that wait */
    float *top;       /* [cap][n_row] the maximum that these are relative to */
    uint32_t *tokens; /* [cap] bits of those whose values have been read */
    uint32_t *fresh;  /* [cap] of those that are being read, page by page */
    int32_t *some;    /* [cap] positions of these pages */
    float *left;      /* [n_row] weight of those that have not been read */
    float *lane;      /* [n_row][16] sums */
};

/* attend/walk_open.c: as terse_walk_open_split, with room for what becomes of the store under a's policy and
 * for a store of cap places in place of kv. */
terse_status terse_walk_open_for(terse_walk **out, const terse_kv *kv, const terse_attend *a, int32_t n_row,
                                 terse_split split, int32_t cap, uint32_t cpu, terse_error *err);

/* attend/walk.c, for prefill.c: caps and sinks of (layer, head) into the course; the first part with nothing
 * but the sinks in its rows; scores s of a page, capped; an empty part of rows; a strand, which goes on from
 * the maximum of the first part, to which estimates are relative; the strands into the first part; how many
 * there are; the K block of position i in the list. */
void terse_walk_shape(terse_walk *w, int32_t layer, int32_t head);
void terse_walk_start(terse_walk *w, int32_t n_row);
static inline void terse_walk_cap(const terse_walk *w, const terse_course *c, float *s, int32_t n_row)
{
    if (c->softcap > 0.0f)
        w->softcap(s, n_row * TERSE_PAGE, c->softcap);
}
void terse_part_start(terse_part *a, int32_t n_row, int32_t dim);
void terse_part_strand(terse_part *a, const terse_part *first, int32_t n_row, int32_t dim);
void terse_part_merge(terse_part *part, int32_t n_strand, int32_t n_row, int32_t dim);
int32_t terse_walk_strands(const terse_walk *w, const terse_rule *rule, int32_t n_known, int32_t n_page);
static inline const char *terse_walk_block(const terse_walk *lead, int32_t i)
{
    const terse_kv *kv = lead->kv;
    return terse_kv_block(kv, kv->table[lead->course.view.unit * (size_t)kv->cap + (size_t)lead->list[i]]);
}

/* The prepared rows that the page in a place of the table meets. */
static inline const char *terse_walk_query(const terse_walk *lead, int32_t place)
{
    return lead->course.turned && place >= lead->kv->n_ring ? lead->turned : lead->query;
}

/* attend/prefill.c: one page for tokens t ... t + n - 1 of part a, each of w->n_row rows. query: of all tokens;
 * w->n: tokens of the page that each row sees, but those before first[i] (NULL: 0) for token t + i; most: the
 * largest w->n; ahead: the page that comes next, or NULL. */
void terse_walk_rows(terse_walk *w, const terse_part *a, const char *query, const char *page, int32_t t,
                     int32_t n, const int32_t *first, int32_t most, const char *ahead);

/* attend/shared.c: one token of a sequence, the last of n_token. */
typedef struct {
    const terse_kv *kv;
    int32_t n_token;
    const float *q;            /* [n_row][dim_k] */
    float *out;                /* [n_row][dim_v] */
    terse_attend_stats *stats; /* of its (layer, head) */
} terse_walker;
/* Exact attention of n <= TERSE_PAGE tokens of as many sequences of one pool, which drop nothing and whose
 * layers have no spans. Their tables begin with the same n_shared >= 1 full pages, which count for the first.
 * Same bits as terse_walk_decode under the rule none. */
void terse_walk_shared(terse_walk *w, const terse_walker *s, int32_t n, int32_t n_shared, int32_t layer,
                       int32_t head, float scale);

/* attend/plan.c */

/* Tokens that are always read, from the newest back; more than a page where the newest page is not full. */
enum { TERSE_WINDOW = 128, TERSE_ARMED = 1 + TERSE_WINDOW / TERSE_PAGE + 1 };
_Static_assert((int)TERSE_ARMED == (int)TERSE_SURE_PAGES, "rules count the pages that nobody chose");

/* Places of the view's pages in walking order in w->list: those that are known before anything is read, whose
 * number it returns, then those to be ranked, oldest first. The first part includes the sinks and the recent
 * window; rules are not asked before it has been walked. */
int32_t terse_walk_plan(terse_walk *w, terse_order order, const terse_kv_view *view);
/* Orders the list from n_known on to n_page by what summaries say, once the first part has the pages before it.
 * Returns the bytes of summaries that it read. */
size_t terse_walk_rank(terse_walk *w, terse_order order, int32_t n_known, int32_t n_page);
/* Takes the page in position i of the lead's ranked list, which a has walked, from its rest. */
void terse_walk_spend(const terse_walk *lead, terse_part *a, int32_t i);
/* w->unread, once a has walked its pages of the first i of the lead's ranked list. */
void terse_walk_unread(terse_walk *w, const terse_walk *lead, const terse_part *a, int32_t i);
/* out = positions 0 ... n - 1 by falling x >= 0, up to a quarter of an octave; about equal ones keep their
 * order. */
void terse_walk_sort(terse_walk *w, int32_t *out, const float *x, int32_t n);

/* attend/keys.c: decides, once the pages are ranked, how many channels of each are read if the scores of a page
 * may be off by `left` of the softmax. */
void terse_walk_grade(terse_walk *w, float left);
/* Scores and weighs (s[n_row][P]) the page in position i of the lead's list into a, from so many channels; the
 * one in position `ahead` comes next, if that is not negative. */
void terse_walk_keys(terse_walk *w, const terse_walk *lead, terse_part *a, int32_t i, int32_t ahead, float *s);

/* The weight of all pages as a has it now, what is estimated of unread ones included; a strand takes itself for
 * a fair sample. */
void terse_walk_whole(const terse_walk *lead, const terse_part *a, float *whole);

/* attend/sift.c: w works on part a of the lead's walk. */
void terse_sift_start(terse_walk *w, const terse_part *a);
/* Where the weights of position i belong; good until the next page has been handed in. */
float *terse_sift_weights(terse_walk *w, const terse_walk *lead, int32_t i);
/* After each page that was weighed: maxima may have risen. */
void terse_sift_rise(terse_walk *w);
/* Hands in position i, which was weighed. live: the tokens that count. */
void terse_sift_page(terse_walk *w, const terse_walk *lead, terse_part *a, int32_t i, uint32_t live);
/* Hands in the pages that were held, which a has weighed; w->top has their maxima. */
void terse_sift_held(terse_walk *w, terse_part *a);
void terse_sift_end(terse_walk *w, terse_part *a);

static inline float terse_fold16(const float *lane)
{
    float x[16];
    memcpy(x, lane, sizeof x);
    for (int32_t half = 8; half > 0; half /= 2)
        for (int32_t i = 0; i < half; i++)
            x[i] += x[i + half];
    return x[0];
}

/* attend/values.c: reads values of the n pages whose weights are known, of as many tokens as the value rule
 * wants. w->left is the weight of the others. */
void terse_walk_values(terse_walk *w, int32_t n, terse_attend_stats *stats, float *bound);

/* attend/streaming.c: attention of one token's group, the newest of n_token, over the first `sinks` and the
 * last `window` (>= 1) tokens, itself among them, in a store that drops nothing and a layer without a span. q
 * and out as in terse_walk_decode; nothing is counted. */
void terse_walk_streaming(terse_walk *w, int32_t layer, int32_t head, int32_t n_token, int32_t sinks,
                          int32_t window, float scale, const float *q, float *out);

/* attend/audit.c: the exact answer beside out, the one that w ended with, and whether the bound held. Not
 * counted as bytes of the walk. left: [n_row] weight whose values were not read, or NULL; estimate: the share
 * that the walk believes it left out. */
void terse_walk_audit(terse_walk *w, const float *out, const float *left, float estimate,
                      terse_attend_stats *stats);
/* Does every token read everything, as long as there are at most n_token, and is that all that is asked for?
 * Then those of a batch may share the reading (terse_walk_prefill), which terse_walk_count_dense counts: n
 * tokens of one page, the first at position pos; n_read: first pages that another sequence has read for it.
 * Page counts are of pages read, listed for each token. */
bool terse_walk_is_dense(const terse_walk *w, int32_t layer, int32_t n_token);
void terse_walk_count_dense(const terse_kv *kv, int32_t layer, int32_t pos, int32_t n, int32_t n_read,
                            terse_attend_stats *stats);
/* The walk that w has in its course once more, all of it, into the first part. */
void terse_walk_dense(terse_walk *w);

/* Tokens of a page that do not count any more: the first of each row. */
static inline void terse_walk_mask(float *s, int32_t n_row, int32_t first)
{
    for (int32_t r = 0; r < n_row && first > 0; r++)
        for (int32_t t = 0; t < first; t++)
            s[r * TERSE_PAGE + t] = -INFINITY;
}

/* out = o / l */
static inline void terse_walk_divide(float *out, const float *o, float l, int32_t dim)
{
    const float inv = 1.0f / l;
    for (int32_t d = 0; d < dim; d++)
        out[d] = o[d] * inv;
}

/* Asks a rule: true if every head is done. */
static inline bool terse_walk_enough(terse_walk *w, const terse_rule *rule, void *state, const terse_acc *acc,
                                     float *bound)
{
    bool all = true;
    rule->stop->enough(state, rule->param, acc, w->done, bound);
    for (int32_t r = 0; r < w->n_row; r++)
        all &= w->done[r];
    return all;
}

#endif
