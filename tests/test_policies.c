/* Sessions under policies that drop tokens, on small random models: what they see, what they hold at all times,
 * whatever the way of the tokens into the session. */
#include "engine/session_parts.h"
#include "make_model.h"
#include "terse/terse.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { N_VOCAB = 96, N = 400, LAYERS = 3, HEADS = 2, UNITS = LAYERS * HEADS };

static char path[64], flat_path[64];
static terse_model *model, *flat; /* flat: one layer, whose keys do not depend on what tokens have seen */
static int32_t tokens[N];

static int open_model(terse_model **m, char *name, size_t size, const char *what, const make_model_opts *o)
{
    terse_error err;
    snprintf(name, size, "/tmp/terse-%s-%d.gguf", what, (int)getpid());
    if (make_model(name, o, &err) == TERSE_OK && terse_model_open(m, name, &err) == TERSE_OK)
        return 0;
    print_error("%s\n", err.text);
    return -1;
}

static int setup(void **state)
{
    (void)state;
    make_model_opts o = { .n_layer = LAYERS,
                          .n_embd = 128,
                          .n_head = 8,
                          .n_head_kv = HEADS,
                          .head_dim = 32,
                          .n_ff = 256,
                          .n_vocab = N_VOCAB,
                          .n_ctx = 1024,
                          .q_gain = 4.0f,
                          .seed = 3 };
    for (int32_t t = 0; t < N; t++)
        tokens[t] = (t * t + 37 * t) % N_VOCAB;
    if (open_model(&model, path, sizeof path, "policies", &o))
        return -1;
    o.n_layer = 1;
    return open_model(&flat, flat_path, sizeof flat_path, "flat", &o);
}

static int teardown(void **state)
{
    (void)state;
    terse_model_close(&model);
    terse_model_close(&flat);
    unlink(path);
    unlink(flat_path);
    return 0;
}

static terse_session *open_on(const terse_model *m, terse_session_opts o)
{
    terse_session *s;
    terse_error err;
    o.ctx = o.ctx ? o.ctx : N + 40;
    o.threads = 2;
    if (terse_session_open(&s, m, &o, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return s;
}

static void prefill(terse_session *s, const int32_t *ids, int32_t n, const float **logits)
{
    terse_error err;
    if (terse_session_prefill(s, ids, n, logits, NULL, &err) != TERSE_OK)
        fail_msg("%s", err.text);
}

static void decode(terse_session *s, int32_t id, const float **logits)
{
    terse_error err;
    if (terse_session_decode(s, id, logits, &err) != TERSE_OK)
        fail_msg("%s", err.text);
}

/* ---- window:rotate=1 ---- */

/* StreamingLLM by its definition: the sinks and the last tokens are a text of their own. */
static void compact(const int32_t *ids, int32_t n, int32_t sinks, int32_t budget, float *logits)
{
    int32_t left[N], n_left = 0;
    const float *last;
    for (int32_t t = 0; t < n; t++)
        if (t < sinks || t >= n - (budget - sinks))
            left[n_left++] = ids[t];
    terse_session *s = open_on(flat, (terse_session_opts){ .type_k = TERSE_KV_F32, .type_v = TERSE_KV_F32 });
    prefill(s, left, n_left, &last);
    memcpy(logits, last, N_VOCAB * sizeof *last);
    terse_session_close(&s);
}

static float furthest(const float *a, const float *b)
{
    float most = 0.0f;
    for (int32_t i = 0; i < N_VOCAB; i++)
        most = fmaxf(most, fabsf(a[i] - b[i]));
    return most;
}

static void rotated_windows_are_short_texts(void **state)
{
    (void)state;
    static const struct {
        const char *policy;
        int32_t sinks, budget;
    } all[] = { { "window:budget=80,rotate=1", 4, 80 }, { "window:budget=150,sinks=32,rotate=1", 32, 150 } };
    for (int i = 0; i < 2; i++) {
        const terse_session_opts o = {
            .policy = all[i].policy, .type_k = TERSE_KV_F32, .type_v = TERSE_KV_F32, .chunk = 48
        };
        terse_session *s = open_on(flat, o);
        const float *last;
        float want[N_VOCAB], rows[20 * N_VOCAB];
        terse_error err;
        prefill(s, tokens, 60, NULL); /* nothing is gone yet; then something is */
        prefill(s, tokens + 60, 240, &last);
        compact(tokens, 300, all[i].sinks, all[i].budget, want);
        assert_float_equal(furthest(last, want), 0.0f, 2e-3f);
        for (int32_t t = 300; t < 320; t++)
            decode(s, tokens[t], &last);
        compact(tokens, 320, all[i].sinks, all[i].budget, want);
        assert_float_equal(furthest(last, want), 0.0f, 2e-3f);
        assert_int_equal(terse_session_decode_many(s, tokens + 320, 20, rows, &err), TERSE_OK);
        compact(tokens, 340, all[i].sinks, all[i].budget, want);
        assert_float_equal(furthest(rows + 19 * N_VOCAB, want), 0.0f, 2e-3f);
        assert_int_equal(terse_session_held(s), 2 * all[i].budget);
        terse_session_close(&s);
        /* And it is not what the window alone does: the sinks are further away there. */
        terse_session_opts plain = o;
        char name[64];
        snprintf(name, sizeof name, "window:budget=%d,sinks=%d", (int)all[i].budget, (int)all[i].sinks);
        plain.policy = name;
        s = open_on(flat, plain);
        prefill(s, tokens, 340, &last);
        assert_true(furthest(last, want) > 0.05f);
        terse_session_close(&s);
    }
}

static void what_cannot_rotate_is_refused(void **state)
{
    (void)state;
    static const char *const bad[] = { "window:rotate=1,sinks=33", "window:rotate=2", "window:rotate=yes" };
    for (int i = 0; i < 3; i++) {
        terse_session *s = NULL;
        terse_error err = { 0 };
        const terse_session_opts o = { .policy = bad[i], .ctx = 100 };
        assert_int_equal(terse_session_open(&s, flat, &o, &err), TERSE_BAD_INPUT);
        assert_null(s);
        assert_non_null(strstr(err.text, "rotate"));
    }
}

/* Keys of latent attention are made of the latents when they are read. */
static void latents_do_not_rotate(void **state)
{
    (void)state;
    terse_model *m;
    terse_session *s = NULL;
    terse_error err = { 0 };
    const terse_session_opts o = { .policy = "window:rotate=1", .ctx = 100 };
    if (access(TERSE_SHARED_DIR "/golden/models/deepseek2-mla.gguf", R_OK) != 0) {
        print_message("SKIPPED: no " TERSE_SHARED_DIR "/golden/models/deepseek2-mla.gguf\n");
        skip();
    }
    if (terse_model_open(&m, TERSE_SHARED_DIR "/golden/models/deepseek2-mla.gguf", &err) != TERSE_OK)
        fail_msg("%s", err.text);
    assert_int_equal(terse_session_open(&s, m, &o, &err), TERSE_UNSUPPORTED);
    assert_non_null(strstr(err.text, "rotate"));
    terse_model_close(&m);
}

/* ---- duo ---- */

static terse_profile *profile_of(const float *change)
{
    const terse_profile_info info = { .n_layer = LAYERS, .n_head = HEADS, .streaming = change };
    terse_profile *p;
    terse_error err;
    if (terse_profile_make(&p, model, &info, &err) != TERSE_OK)
        fail_msg("%s", err.text);
    return p;
}

static void heads_that_need_it_keep_everything(void **state)
{
    (void)state;
    static const float change[UNITS] = { 0.3f, 0.1f, 0.7f, 0.3f, 0.0f, 0.2f };
    static const struct {
        const char *policy;
        bool whole[UNITS];
    } all[] = { { "duo:window=40,sinks=2", { true, false, true, true } },
                { "duo:window=40,sinks=2,share=0.34", { true, false, true } }, /* of equal ones the first */
                { "duo:window=40,sinks=2,share=0", { false } } };
    static const char *const stops[] = { "none", "mass:from=0,delta=0.05", "certified:eps=0.5",
                                         "stability:tau=1e-3,phi=1e-3", "value-share:left=0.01" };
    terse_profile *p = profile_of(change);
    terse_error err;
    for (int i = 0; i < 3; i++)
        for (int k = 0; k < 5; k++) {
            const terse_session_opts o = {
                .policy = all[i].policy, .stop = stops[k], .profile = p, .chunk = 96, .audit = 3, .strands = 1
            };
            terse_session *a = open_on(model, o), *b = open_on(model, o);
            const float *x, *y;
            float rows[40 * N_VOCAB];
            prefill(a, tokens, 300, NULL);
            prefill(b, tokens, 170, NULL);
            prefill(b, tokens + 170, 130, NULL);
            for (int32_t t = 300; t < 340; t++)
                decode(a, tokens[t], &x);
            assert_int_equal(terse_session_decode_many(b, tokens + 300, 40, rows, &err), TERSE_OK);
            y = rows + 39 * N_VOCAB;
            assert_memory_equal(x, y, N_VOCAB * sizeof *x);
            for (int32_t u = 0; u < UNITS; u++) {
                const terse_kv_held_info held = terse_session_held_of(a, u / HEADS, u % HEADS);
                assert_int_equal(held.recent + held.older, all[i].whole[u] ? 340 : 42);
            }
            assert_int_equal(terse_session_stats(a).audit_violations, 0);
            terse_session_close(&a);
            terse_session_close(&b);
        }
    terse_profile_close(&p);
}

static void duo_without_heads_is_refused(void **state)
{
    (void)state;
    float scale[UNITS] = { 1, 1, 1, 1, 1, 1 };
    const terse_profile_info info = { .n_layer = LAYERS, .n_head = HEADS, .scale = scale };
    terse_profile *p;
    terse_error err = { 0 };
    assert_int_equal(terse_profile_make(&p, model, &info, &err), TERSE_OK);
    const struct {
        terse_session_opts o;
        const char *why;
    } bad[] = { { { .policy = "duo" }, "which heads" },
                { { .policy = "duo", .profile = p }, "knows no heads" },
                { { .policy = "duo:profile=/missing/file" }, "/missing/file" },
                { { .policy = "duo:profile=,share=0.5" }, "name of the profile" },
                { { .policy = "duo:share=2", .profile = p }, "share" },
                { { .policy = "window:profile=x" }, "does not know" },
                { { .policy = "duo", .budget = "20%", .profile = p }, "budget" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        terse_session *s = NULL;
        assert_int_equal(terse_session_open(&s, model, &bad[i].o, &err), TERSE_BAD_INPUT);
        assert_null(s);
        if (!strstr(err.text, bad[i].why))
            fail_msg("'%s' does not say '%s'", err.text, bad[i].why);
    }
    terse_profile_close(&p);
}

/* Within the first and the last tokens nothing changes; beyond them something does, in every head. */
static void heads_are_measured(void **state)
{
    (void)state;
    static const struct {
        int32_t sinks, window;
        bool changes;
    } all[] = { { 2, 20, true }, { 30, 80, false } };
    char name[64];
    terse_model *m;
    terse_tasks *t = NULL;
    terse_error err = { 0 };
    static const terse_tasks_opts every;
    static const char lines[] =
        "{\"task\":\"a\",\"length\":1,\"prompt\":\"abcdefghijklmnopqrstuvwxyz0123456789abcdefghijklmnopqrst"
        "uvwxyz0123456789\",\"answer\":\"abcd\"}\n";
    snprintf(name, sizeof name, "%s", TERSE_MODEL_DIR "/terse-28m-16k-q8_0.gguf");
    assert_int_equal(terse_model_open(&m, name, &err), TERSE_OK);
    assert_int_equal(terse_tasks_open(&t, terse_model_vocab(m), "lines", lines, sizeof lines - 1, &every, &err),
                     TERSE_OK);
    for (int i = 0; i < 2; i++) {
        const terse_heads_opts o = { .session = { .threads = 2 },
                                     .sinks = all[i].sinks,
                                     .window = all[i].window };
        float change[16];
        terse_heads_result r;
        if (terse_heads_measure(change, &r, m, t, &o, &err) != TERSE_OK)
            fail_msg("%s", err.text);
        assert_true(r.tokens >= 32 && r.score.n == 1);
        for (int32_t u = 0; u < 16; u++)
            assert_true(all[i].changes ? change[u] > 1e-4f : change[u] >= 0.0f && change[u] < 1e-5f);
    }
    terse_tasks_close(&t);
    terse_model_close(&m);
}

/* ---- auto ---- */

/* What auto chooses holds as many tokens as the session may have within the limit. */
static void auto_stays_within_its_limit(void **state)
{
    (void)state;
    enum { CTX = 8192 }; /* 6 MiB of f16, that come 2 MiB at a time */
    static const float change[UNITS] = { 0.3f, 0.1f, 0.7f, 0.3f, 0.0f, 0.2f };
    static const struct {
        int32_t mib, chunk; /* 0: 512 */
        bool heads;
        const char *policy, *why;
    } all[] = { { 6, 64, false, "dense", "fit into" },
                { 5, 64, true, "duo", "3 of 6 heads" },
                { 5, 0, true, "duo:share=0.333333", "2 of 6 heads" },
                { 2, 64, true, "tova:budget=2346", "too few heads whole" },
                { 4, 0, false, "tova:budget=4181", "of 8192 tokens" } };
    terse_profile *p = profile_of(change);
    static int32_t ids[CTX];
    for (int32_t t = 0; t < CTX; t++)
        ids[t] = (t * t + 37 * t) % N_VOCAB;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        const size_t limit = (size_t)all[i].mib << 20;
        terse_session *s = open_on(model, (terse_session_opts){ .policy = "auto",
                                                                .ctx = CTX,
                                                                .chunk = all[i].chunk,
                                                                .kv_limit = limit,
                                                                .profile = all[i].heads ? p : NULL });
        assert_string_equal(terse_session_policy(s), all[i].policy);
        if (!strstr(terse_session_policy_why(s), all[i].why))
            fail_msg("'%s' does not say '%s'", terse_session_policy_why(s), all[i].why);
        prefill(s, ids, CTX - 5, NULL);
        for (int32_t t = CTX - 5; t < CTX; t++)
            decode(s, ids[t], NULL);
        assert_true(terse_session_kv_bytes(s) <= limit);
        terse_session_close(&s);
    }
    terse_session *s = open_on(model, (terse_session_opts){ .policy = "dense" });
    assert_string_equal(terse_session_policy_why(s), "");
    terse_session_close(&s);
    terse_profile_close(&p);
}

/* ---- any way of the tokens into a session ---- */

enum { DIM = 32, GROUP = 4, LONG = 600 };

static int32_t text[LONG];
static uint64_t rng;

static int32_t below(int32_t n)
{
    rng = rng * 6364136223846793005u + 1442695040888963407u;
    return (int32_t)((rng >> 33) % (uint64_t)n);
}

/* What decode steps are held against: keys and values of the whole text in a store that drops nothing. */
typedef struct {
    const terse_kv *all, *kv; /* f32; kv: of the session that is looked at */
    double worst[HEADS];      /* |out - reference| / |reference| */
    int32_t n[HEADS];
} witness;

static const float *key(const terse_kv *kv, int32_t head, int32_t pos)
{
    return (const float *)(const void *)terse_kv_block(kv, terse_kv_table(kv, 0, head)[pos / TERSE_PAGE]) +
           pos % TERSE_PAGE;
}

static const float *value(const terse_kv *kv, int32_t head, int32_t pos)
{
    const char *page = terse_kv_block(kv, terse_kv_table(kv, 0, head)[pos / TERSE_PAGE]);
    return (const float *)(const void *)(page + kv->block_k) + pos % TERSE_PAGE * DIM;
}

/* Positions that the token at pos sees, in held[]; returns how many. Fails if one is there twice. */
static int32_t held_by(const terse_kv *kv, int32_t head, int32_t pos, int32_t *held)
{
    const size_t u = terse_kv_unit(kv, 0, head);
    const terse_kv_view v = terse_kv_view_at(kv, u, pos);
    bool seen[LONG] = { false };
    int32_t n = 0;
    for (int32_t s = 0; s < v.n_long; s++)
        held[n++] = kv->n_ring ? terse_kv_positions(kv, u)[s] : s;
    for (int32_t j = v.from; j < v.to; j++)
        held[n++] = j;
    for (int32_t i = 0; i < n; i++) {
        if (held[i] > pos || seen[held[i]])
            fail_msg("token %d holds %d twice or too early", (int)pos, (int)held[i]);
        seen[held[i]] = true;
    }
    return n;
}

/* Softmax attention over what is held, in float64. The flat model's keys and values do not depend on what the
 * tokens have seen. */
static void look(void *ctx, int32_t layer, int32_t head, int32_t pos, const float *q, const float *out)
{
    witness *w = ctx;
    int32_t held[LONG];
    const int32_t n = held_by(w->kv, head, pos, held);
    (void)layer;
    for (int32_t r = 0; r < GROUP; r++) {
        double s[LONG], o[DIM] = { 0.0 }, top = -INFINITY, sum = 0.0, diff = 0.0, size = 0.0;
        for (int32_t i = 0; i < n; i++) {
            s[i] = 0.0;
            for (int32_t d = 0; d < DIM; d++)
                s[i] += (double)q[r * DIM + d] * (double)key(w->all, head, held[i])[d * TERSE_PAGE];
            s[i] /= sqrt(DIM);
            top = fmax(top, s[i]);
        }
        for (int32_t i = 0; i < n; i++) {
            sum += exp(s[i] - top);
            for (int32_t d = 0; d < DIM; d++)
                o[d] += exp(s[i] - top) * (double)value(w->all, head, held[i])[d];
        }
        for (int32_t d = 0; d < DIM; d++) {
            diff += pow((double)out[r * DIM + d] - o[d] / sum, 2.0);
            size += pow(o[d] / sum, 2.0);
        }
        w->worst[head] = fmax(w->worst[head], sqrt(diff / size));
    }
    w->n[head]++;
}

typedef struct {
    const char *policy;
    int32_t budget; /* tokens of a head; 0: all */
    int32_t over;   /* decoded tokens that may come on top; 0: the budget holds after prompts too */
    bool exact;     /* decided token by token: what is held does not depend on the way */
} kind;

static void check_held(const terse_session *s, const kind *k, bool decoded)
{
    const terse_kv *kv = s->seq.kv;
    const int32_t n = terse_session_count(s);
    int64_t held = 0, page = 0;
    for (int32_t h = 0; h < HEADS; h++) {
        const terse_kv_held_info x = terse_session_held_of(s, 0, h);
        const int32_t most = !k->budget || k->budget + k->over > n ? n : k->budget + k->over;
        if ((decoded || !k->over) && x.recent + x.older > most)
            fail_msg("%s: %d of %d tokens held", k->policy, (int)(x.recent + x.older), (int)n);
        if (k->exact && k->budget && x.recent + x.older != most)
            fail_msg("%s: %d tokens held, not %d", k->policy, (int)(x.recent + x.older), (int)most);
        held += x.recent + x.older;
        page += (x.older + TERSE_PAGE - 1) / TERSE_PAGE + (x.recent + 64) / TERSE_PAGE + 3;
    }
    assert_int_equal(held, terse_session_held(s));
    assert_true(kv->pool->n_slab * TERSE_SLAB_PAGES - kv->pool->n_free <= page);
}

/* Prompts, single steps, batches, a few tokens taken back: at random until the text is through. */
static void wander(terse_session *s, const kind *k)
{
    static float rows[24 * N_VOCAB];
    terse_error err;
    for (int32_t n; (n = terse_session_count(s)) < LONG - 1;) {
        const int32_t what = below(8), left = LONG - 1 - n;
        int32_t m = what < 2 ? 1 + below(120) : what < 4 ? 1 : 1 + below(24);
        m = m < left ? m : left;
        if (what < 2)
            prefill(s, text + n, m, NULL);
        else if (what < 4)
            decode(s, text[n], NULL);
        else if (what < 7)
            assert_int_equal(terse_session_decode_many(s, text + n, m, rows, &err), TERSE_OK);
        else
            assert_true(terse_session_truncate(s, n > m ? n - m : n));
        check_held(s, k, what >= 2 && what < 7);
    }
    decode(s, text[LONG - 1], NULL); /* whatever came last */
    check_held(s, k, true);
}

static void policies_hold_what_they_say_on_any_way(void **state)
{
    (void)state;
    static const kind kinds[] = { { "dense", 0, 0, true },
                                  { "window:budget=100", 100, 0, true },
                                  { "random:keep=0.3,window=50", 0, 0, true },
                                  { "duo:share=0.5,window=60,sinks=5", 0, 0, true },
                                  { "h2o:budget=100", 100, 0, false },
                                  { "tova:budget=100", 100, 0, false },
                                  { "snapkv:budget=150", 150, 64, false },
                                  { "pyramidkv:budget=150", 150, 64, false } };
    static const float change[HEADS] = { 0.1f, 0.2f };
    const terse_profile_info info = { .n_layer = 1, .n_head = HEADS, .streaming = change };
    terse_profile *p;
    terse_error err;
    for (int32_t t = 0; t < LONG; t++)
        text[t] = (t * t * 5 + 11 * t + t / 7) % N_VOCAB;
    const terse_session_opts plain = { .type_k = TERSE_KV_F32, .type_v = TERSE_KV_F32, .ctx = LONG };
    terse_session *all = open_on(flat, plain);
    assert_int_equal(terse_profile_make(&p, flat, &info, &err), TERSE_OK);
    prefill(all, text, LONG, NULL);
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        for (rng = 1; rng < 3; rng++) {
            terse_session_opts o = plain;
            const uint64_t seed = rng;
            o.policy = kinds[i].policy;
            o.profile = p;
            o.chunk = 1 + below(90);
            terse_session *s = open_on(flat, o);
            witness w = { .all = all->seq.kv, .kv = s->seq.kv };
            s->seq.tap = (terse_tap){ .attended = look, .ctx = &w };
            wander(s, &kinds[i]);
            for (int32_t h = 0; h < HEADS; h++)
                if (w.n[h] < 50 || !(w.worst[h] < 1e-5))
                    fail_msg("%s, way %d: off by %g in %d steps", kinds[i].policy, (int)seed, w.worst[h],
                             (int)w.n[h]);
            assert_true(terse_session_truncate(s, 0)); /* all memory comes back, and the session goes on */
            assert_int_equal(s->seq.kv->pool->n_slab * TERSE_SLAB_PAGES, s->seq.kv->pool->n_free);
            prefill(s, text, 200, NULL);
            decode(s, text[200], NULL);
            check_held(s, &kinds[i], true);
            terse_session_close(&s);
            rng = seed;
        }
    terse_profile_close(&p);
    terse_session_close(&all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rotated_windows_are_short_texts),
        cmocka_unit_test(what_cannot_rotate_is_refused),
        cmocka_unit_test(latents_do_not_rotate),
        cmocka_unit_test(heads_that_need_it_keep_everything),
        cmocka_unit_test(duo_without_heads_is_refused),
        cmocka_unit_test(heads_are_measured),
        cmocka_unit_test(auto_stays_within_its_limit),
        cmocka_unit_test(policies_hold_what_they_say_on_any_way),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
