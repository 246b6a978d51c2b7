/* attend/stop.h: what a stop rule is. One file each (stop_*.c), one line in the registry (attend.c).
 *
 * A page rule says when no more pages are needed. A key rule says how much the scores of a page may be off, so
 * that channels of its keys need not be read. A value rule says how much of the weight of the scored tokens may
 * be left without their values. */
#ifndef TERSE_ATTEND_STOP_H
#define TERSE_ATTEND_STOP_H

#include "simd/attn.h"
#include "terse/attend.h"

enum {
    TERSE_STOP_PARAMS = 6,
    TERSE_SURE_PAGES = 6, /* sinks and recent window: walked before a rule is asked (attend/plan.c) */
};

typedef struct {
    const char *name;
    double value, low, high;  /* default and range */
    const char *const *names; /* words for 0, 1, 2 ..., ended by NULL; NULL: a number */
} terse_stop_param;

/* How shares of pages or tokens add up to a limit: their sum, or the root of the sum of their squares. */
enum { TERSE_NORM_RMS, TERSE_NORM_SUM };
extern const char *const terse_norms[];

/* In which order pages are walked. Sinks and the recent window always come first, but in OLDEST. */
typedef enum {
    TERSE_ORDER_AUTO,   /* what suits the rule */
    TERSE_ORDER_NEWEST, /* newest first */
    TERSE_ORDER_OLDEST, /* from first to last: the baseline of the literature */
    TERSE_ORDER_MASS,   /* by estimated share of the softmax */
    TERSE_ORDER_BOX,    /* by the largest score that a page can hold (Quest) */
    TERSE_ORDER_RANDOM, /* the floor that any order has to beat */
    TERSE_ORDER_ORACLE  /* by the true share, which costs reading all keys unseen: the ceiling */
} terse_order;

/* Is the order made from weights of pages, estimated or true? */
static inline bool terse_order_weighs(terse_order o)
{
    return o == TERSE_ORDER_MASS || o == TERSE_ORDER_BOX || o == TERSE_ORDER_ORACLE;
}

/* The accumulator of a group of query heads after a page. Rows are heads; nothing is normalised by l yet. All
 * weights are on the scale of l. */
typedef struct {
    int32_t n_row, dim;
    int32_t n_read, n_page; /* pages walked so far, and in the sequence */
    const float *l;         /* [n_row] sum of weights of the scored pages */
    const float *z;         /* [n_row] sum of this page's weights */
    const float *keep;      /* [n_row] what this page multiplied o by, before it added to it */
    const float *o; /* [n_row][dim] sum of weight x value; NULL for a page rule that does not ask for it */
    /* [n_row] weight of the pages that have not been walked: what is expected under MASS, at most that under
     * BOX, 0 under orders that know nothing. */
    const float *unread;
    const float *unread_squares; /* [n_row] sum over those pages of weight^2 */
    int32_t asked;               /* value rules: how often before in this walk */
    /* Value rules: weight of scored tokens whose values are not in o yet. [n_row] */
    const float *left;
    float radius;        /* largest |v - c| in their pages; page rules: of all pages that are not walked */
    const float *center; /* [dim] c */
    const terse_attn_kernels *kernels;
} terse_acc;

typedef struct {
    const char *name;
    const char *help;
    terse_stop_param param[TERSE_STOP_PARAMS]; /* ended by a NULL name */
    bool values;                               /* a value rule */
    bool keys;                                 /* a key rule */
    bool output;                               /* a page rule that looks at o */
    bool bounded;                              /* *bound of enough() is a proof */
    bool steered;                              /* the order cannot be chosen */
    bool scaled;                               /* a profile multiplies the first parameter */
    bool strands;                              /* a page rule that a part of the pages can go by */
    terse_order order;                         /* that suits a page rule */
    uint32_t needs;                            /* TERSE_KV_*; what the order needs comes on top */
    /* After how many pages, time and again, the rule is asked; NULL: after each. */
    int32_t (*every)(const double *param);
    /* Pages of n_page before which it never has enough, and need not be asked; NULL: 0. */
    int32_t (*sure)(const double *param, int32_t n_page);
    /* Tokens below which every page is read without asking; NULL: 0. */
    int32_t (*from)(const double *param);
    size_t (*state_size)(int32_t n_row, int32_t dim);
    void (*begin)(void *state, const double *param, int32_t n_row, int32_t dim);
    /* Asked after a page: done[r] where the walk could end here if there were no other heads. *bound is
     * what the error |o_full - o| / |o| is at most if it ends here (bounded rules). */
    void (*enough)(void *state, const double *param, const terse_acc *acc, bool *done, float *bound);
    /* A value rule: the weight that may be left out of each row, most[n_row]. Asked before any value is read,
     * when o is 0 and all that l counts is left, and then each time when what it asked for has been read; true:
     * no more is needed. A limit that is no number allows nothing.
     */
    bool (*allow)(const double *param, const terse_acc *acc, float *most, float *bound);
    /* A value rule that needs no more than a token's share of the softmax to leave its value out: the largest
     * such share where n_token compete. NULL: allow() decides when all weights are known. */
    float (*light)(const double *param, int32_t n_token);
} terse_stop;

extern const terse_stop terse_stop_none, terse_stop_stability, terse_stop_weight, terse_stop_mass,
    terse_stop_budget, terse_stop_certified, terse_stop_key_share, terse_stop_value_skip,
    terse_stop_value_share;

/* One rule with its parameters. */
typedef struct {
    const terse_stop *stop;
    double param[TERSE_STOP_PARAMS];
} terse_rule;

/* A policy with its parameters (attend/policy.h). */
typedef struct terse_policy terse_policy;
typedef struct {
    const terse_policy *policy;
    double param[TERSE_STOP_PARAMS];
    char profile[256]; /* the file that a policy of heads names; "": none */
} terse_policy_rule;

/* What terse_attend_open parsed. */
struct terse_attend {
    terse_policy_rule policy;
    terse_rule page, key, value; /* the stop of the last two is NULL where there is no such rule */
    terse_order order;           /* never AUTO */
    terse_order select;          /* AUTO, or the order in which a policy chooses pages */
    uint32_t needs;
    int32_t from;
    int32_t audit;
    char text[256];
    char policy_text[448];
    char why[160]; /* a session's, that chose the policy itself */
    bool *whole;   /* [whole_layer][whole_head] owned: heads that keep everything; NULL: not told */
    int32_t whole_layer, whole_head;
    float *scale; /* [n_layer][n_head] owned; NULL without a profile */
    int32_t n_layer, n_head;
    terse_attend_layer *layer; /* [n_shaped] owned; NULL: no caps, no sinks */
    int32_t n_shaped;
};

/* attend/parse.c */
terse_status terse_attend_parse(terse_attend *a, const char *policy, const char *stop, terse_error *err);
/* a->policy_text again. */
void terse_attend_describe(terse_attend *a);

/* The parameters `param` of something with that name from text, key=value between commas behind a
 * colon, that ends at end; and appended to a text again, those that differ from what they are by default. */
terse_status terse_params_parse(const char *name, const terse_stop_param *param, double *value,
                                const char *text, const char *end, terse_error *err);
void terse_params_text(char *text, size_t size, const terse_stop_param *param, const double *value, bool all);

/* attend/attend.c: the rule as (layer, head) of the profile has it. */
terse_rule terse_attend_scaled(const terse_attend *a, const terse_rule *rule, int32_t layer, int32_t head);

static inline float terse_fold8(const float *lane)
{
    return ((lane[0] + lane[4]) + (lane[2] + lane[6])) + ((lane[1] + lane[5]) + (lane[3] + lane[7]));
}

#endif
