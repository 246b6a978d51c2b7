/* model/forward.h: one pass of a batch of tokens, of one sequence or of several, through the layers, by a team
 * of threads.
 *
 * The pass is a row of phases (base/team.h), each cut into pieces by shape. A piece's result does not depend on
 * who computes it, and a token's result not on the tokens beside it, so the bits are the same for any number of
 * threads and any chunking of a prompt. A decode step of a llama layer has 5 phases, 6 where KV heads are
 * split. */
#ifndef TERSE_MODEL_FORWARD_H
#define TERSE_MODEL_FORWARD_H

#include "attend/walk.h"
#include "base/team.h"
#include "model/gate.h"
#include "terse/attend.h"

/* Experts at work: every (token, chosen expert) is a slot; slots of one expert lie together. */
typedef struct {
    int32_t *pick;              /* [chunk][n_used] experts of a token, best first */
    float *share;               /* [chunk][n_used] their weights */
    int32_t *slot;              /* [chunk][n_used] where they went */
    int32_t *token;             /* [chunk * n_used] token of a slot */
    int32_t *first;             /* [n_expert + 1] first slot of an expert */
    terse_acts in, mid;         /* quantised inputs and gate outputs of the slots */
    float *score;               /* [chunk][2][n_expert] router scores, and what the choice goes by */
    float *x, *gate, *up, *out; /* [chunk * n_used][...] */
} terse_moe;

/* Sees what attention of a decoded token worked on: the group's rotated queries [n_row][dim_k], not scaled, and
 * its result [n_row][dim_v], both borrowed for the call. Called by the thread that had the KV head; calls for
 * other heads may come at the same time. */
typedef struct {
    void (*attended)(void *ctx, int32_t layer, int32_t head, int32_t pos, const float *q, const float *out);
    void *ctx;
} terse_tap;

/* A timeline of tokens: what attention works on. */
typedef struct {
    terse_kv *kv;
    const terse_attend *attend; /* its policy decides what stays in kv */
    terse_walk **walk;          /* [n_thread], then [n_head_kv] leads if n_strand > 1 */
    terse_attend_stats *stats;  /* [n_layer][n_head_kv]; decode adds to it */
    terse_tap tap;              /* attended NULL: nobody looks */
    float *seen; /* [n_layer][TERSE_SEEN][n_head][pages' channels] queries of the last tokens, of position p at
                  * p % TERSE_SEEN; NULL: nobody asks for them */
    int32_t n_seen; /* how many of them are of this sequence */
    bool judged;    /* marks hold the sums since the first token */
} terse_sequence;

/* Consecutive tokens of a sequence in a batch; a sequence has one segment at most. */
typedef struct {
    terse_sequence *seq;
    int32_t row, n; /* rows of the batch: row ... row + n - 1 */
    int32_t pos;    /* position of the first */
    bool decode;    /* each under the stop rule, one after the other; else under exact attention */
} terse_segment;

/* Segments of one token that read everything, and whose sequences have their first pages in common, read these
 * together (share.c). */
typedef struct {
    int32_t leader;   /* the first segment of the group; of a segment in no group: itself */
    int32_t n;        /* of the leader: segments of the group; of others 0 */
    int32_t n_shared; /* of the leader: pages */
} terse_group;

/* Whose token a row of the batch is, and where. */
typedef struct {
    terse_sequence *seq;
    int32_t pos;
} terse_row;

/* The walk of a segment's KV head, whose pages threads share. */
typedef struct {
    terse_phase begun;    /* as many pieces as there were layers */
    int32_t n_strand;     /* 0: this walk was not split */
    _Atomic int32_t left; /* strands that are not done */
} terse_split_head;

typedef struct {
    const terse_model *model;
    terse_kernels kernels;
    const terse_gate *utility; /* predicts utilities; NULL: there are none */
    int32_t ctx;               /* tokens that a sequence may hold */
    int32_t dim_k, dim_v;      /* channels of the pages, of all sequences */
    terse_split split;         /* of the pages of a KV head; the bits depend on it */
    terse_team *team;
    int32_t n_thread, chunk;
    const cpu_set_t
        *place; /* [n_thread] where the team's threads run (terse_team_open_at); not looked at later */
    const terse_rope
        *rope[2];             /* TERSE_ROPE_FULL or TERSE_ROPE_LONG, as the context asks; TERSE_ROPE_WINDOWED */
    const atomic_bool *abort; /* may be NULL */
    bool watch;               /* batches of decoded tokens alone add to spent */
    terse_spending spent;

    /* The batch: n <= chunk tokens, those of the segments one behind the other. */
    const int32_t *tokens;
    int32_t n;
    const terse_segment *segment; /* [n_segment] */
    int32_t n_segment;
    int32_t *wanted; /* [chunk], ours; n_wanted rows that logits are asked for, rising: filled by the caller */
    int32_t n_wanted;
    float *logits; /* [n_wanted][n_vocab] */
    bool decode;   /* all segments; set by terse_forward_run */

    /* Working memory, token-major, in one mapping: it is committed as longer batches touch it. */
    char *map;
    size_t map_size;
    float *x, *h, *q, *k, *v, *att, *gate;
    float *cs[2];         /* [chunk][n] of rope[TERSE_ROPE_FULL] and [TERSE_ROPE_WINDOWED] */
    float *query, *mixed; /* [chunk][n_head][pages' channels] what walks take and give: q and att, where these
                           * have as many channels */
    float *branch;        /* [chunk][n_embd] of layers that norm it before it is added */
    float *low, *kv_low, *kv_all; /* model/mla.c: [chunk][...] compressed queries; latents and the key parts
                                   * that turn; every head's keys and values */
    float *utility_in;            /* [chunk][...] results of the gate's first matrix */
    terse_row *rows;              /* [chunk] */
    terse_group *group;           /* [chunk] of the segments */
    terse_split_head *split_head; /* [terse_split_heads] if split.most > 1: of (segment, KV head) */
    float *piece;    /* [n_thread][chunk][TERSE_PIECE_ROWS] results of a piece that are used up at once */
    terse_acts acts; /* shared by the team: a chunk of tokens */
    terse_acts *own; /* [n_thread] one token, for decode: a copy each saves a phase */
    float *own_x;    /* [n_thread][width] */
    size_t width;    /* of own_x and the widest input of a matrix */
    terse_moe moe;
    terse_spending *own_spent; /* [n_thread] in this step, but for the waiting */
    int64_t began;             /* ns, this step */
    terse_phase *phase;        /* [n_phase] in the order in which they come */
    int32_t n_phase;
    atomic_bool aborted;
} terse_forward;

/* Segments are split one at a time, or fewer (segment, KV head) than there are threads. */
static inline int32_t terse_split_heads(const terse_forward *f)
{
    const int32_t heads = f->model->info.n_head_kv;
    return f->split.most < 2 ? 0 : heads > f->n_thread ? heads : f->n_thread;
}

/* Bytes of working memory. As little is set by the caller as for terse_forward_open, which calls it. */
size_t terse_forward_measure(terse_forward *f);
/* Takes all working memory and the team. Everything down to abort but the team and rope is set by the caller.
 */
terse_status terse_forward_open(terse_forward *f, terse_error *err);
void terse_forward_close(terse_forward *f);
/* Computes the batch. False if it was aborted: what was put into the KV pages is then not to be committed. */
bool terse_forward_run(terse_forward *f);

/* A thread on its way through the phases. */
typedef struct {
    terse_forward *f;
    int32_t thread;
    int32_t phase; /* phases begun so far */
    int32_t split; /* layers so far whose KV heads were split */
    int64_t at;    /* ns, until when its time is accounted for; 0: nobody watches */
} terse_worker;

/* What w did since the last call was for that. */
static inline void terse_spend(terse_worker *w, terse_spent what)
{
    if (w->at == 0)
        return;
    const int64_t now = terse_now_ns();
    w->f->own_spent[w->thread].ns[what] += now - w->at;
    w->at = now;
}

static inline terse_phase *terse_next_phase(terse_worker *w)
{
    return &w->f->phase[w->phase++];
}

/* A piece of a matrix: neighbours lie one behind the other. */
static inline int32_t terse_take_rows(const terse_worker *w, terse_phase *p, int32_t n)
{
    return terse_phase_take_near(p, w->thread, w->f->n_thread, n);
}

/* Waits for the end of a phase of n pieces, whose work was for that. */
static inline void terse_end_phase(terse_worker *w, terse_phase *p, int32_t n, terse_spent what)
{
    terse_spend(w, what);
    terse_phase_wait(p, n);
    terse_spend(w, TERSE_SPENT_WAIT);
}

/* The inputs of a matrix: n_token rows of src, after a norm if norm is not NULL and has weights, quantised.
 * Several tokens are prepared in a phase of their own; a single one by every thread for itself, when it has a
 * piece to use it for.
 */
typedef struct {
    const float *src;
    const terse_norm *norm;
    terse_acts acts;
    bool ready;
} terse_inputs;
terse_inputs terse_inputs_begin(terse_worker *w, const float *src, size_t stride, int32_t n_token, int32_t n,
                                const terse_norm *norm);
/* Call with a piece in hand. */
const terse_acts *terse_inputs_get(terse_worker *w, terse_inputs *in);
/* The phase that prepares inputs for all threads. */
terse_acts terse_shared_inputs(terse_worker *w, const float *src, size_t stride, int32_t n_token, int32_t n,
                               const terse_norm *norm);

/* y[n] = norm(x), of row `row` where rows have weights of their own; y may be x. */
void terse_norm_row(const terse_forward *f, float *y, const float *x, const terse_norm *norm, int32_t row,
                    int32_t n);
/* Matrix i of a stack. */
terse_linear terse_stack_at(const terse_stack *s, int32_t i);
/* Turns the first channels of x by the angles of token t of the batch; TERSE_ROPE_NONE: leaves them. */
void terse_turn(const terse_forward *f, int32_t rope, int32_t t, float *x);

/* y[t * stride + i] = row r0 + i of m . a, with its bias, for i in [0, n). */
void terse_linear_rows(const terse_forward *f, const terse_linear *m, int32_t r0, int32_t n,
                       const terse_acts *a, float *y, size_t stride);
/* Rows of a matrix that make one piece of work (at most TERSE_PIECE_ROWS), and how many pieces that gives. */
enum { TERSE_PIECE_ROWS = 512 };
int32_t terse_piece_rows(const terse_linear *m);
int32_t terse_pieces(const terse_linear *m);
/* The view of *a for rows of n values. */
terse_acts terse_acts_of(const terse_acts *a, int32_t n, int32_t n_token, const float *x, size_t x_stride);
/* Tokens [first, first + n) of a. */
terse_acts terse_acts_slice(const terse_acts *a, int32_t first, int32_t n);
/* One layer (layer.c): x += attention, x += feed-forward. */
void terse_layer_run(terse_worker *w, int32_t l);
/* The feed-forward of a layer with experts (moe.c): x += experts(norm(x)). */
void terse_moe_run(terse_worker *w, const terse_layer *layer);
/* The projections of all matrices m[n_mat] of one input: out[i] gets rows of m[i]->n_out. */
void terse_project(terse_worker *w, const terse_linear *const *m, float *const *out, int32_t n_mat,
                   const float *src, const terse_norm *norm);
/* Row of query head `head` of token t, as walks take it: [pages' channels]. */
float *terse_query(const terse_forward *f, int32_t t, int32_t head);
/* Stores k[dim_k] and v[dim_v] of row t. */
void terse_put(terse_forward *f, int32_t l, int32_t head, int32_t t, const float *k, const float *v);
/* Latent attention (mla.c): queries and latents of all tokens; key and value of token t into the pages; what
 * heads make of the latents that their walks have mixed. */
void terse_mla_project(terse_worker *w, const terse_layer *layer);
void terse_mla_put(terse_forward *f, int32_t l, int32_t head, int32_t t);
void terse_mla_values(terse_worker *w, const terse_layer *layer);
/* x += branch, times the model's branch_scale */
static inline void terse_add_branch(const terse_forward *f, float *x, const float *branch, int32_t n)
{
    if (f->model->branch_scale == 1.0f)
        f->kernels.vec.add(x, branch, n);
    else
        f->kernels.vec.axpy(x, f->model->branch_scale, branch, n);
}
/* gate = act(gate) * up, by the architecture's activation */
void terse_activate(const terse_forward *f, float *gate, const float *up, int32_t n);

/* Finds groups of segments that read pages together (share.c). Before the pass, by one thread. */
void terse_share_pages(terse_forward *f);

/* What a scoring policy does behind the attention of layer l (judge.c). */
enum { TERSE_SEEN = 64 };
void terse_judge(terse_worker *w, int32_t l);
/* Marks of a (layer, head) of a sequence by the queries that are remembered, before the first step behind a
 * prompt. */
void terse_judge_survey(const terse_forward *f, const terse_sequence *s, terse_walk *walk, int32_t l,
                        int32_t head);

/* Room for the activations of n_token tokens, and for the experts (terse_place: base NULL measures). */
void terse_acts_place(terse_acts *a, char *base, size_t *at, size_t n_token, size_t width);
void terse_moe_place(terse_forward *f, char *base, size_t *at);

#endif
