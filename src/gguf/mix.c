/* gguf/mix.c: the rules of llama.cpp's quantizer for the types that there are encoders for, so that a file
 * called Q4_K_M has the size and the quality that the name stands for. */
#include "gguf/mix.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

static const terse_mix mixes[] = {
    { "Q4_K_M", 15, TERSE_TYPE_Q4_K, TERSE_MIX_M, "Q4_K, Q6_K for half of the value and down matrices" },
    { "Q4_K_S", 14, TERSE_TYPE_Q4_K, TERSE_MIX_S, "Q4_K, Q5_K for a few of them" },
    { "Q5_K_M", 17, TERSE_TYPE_Q5_K, TERSE_MIX_M, "Q5_K, Q6_K for half of the value and down matrices" },
    { "Q5_K_S", 16, TERSE_TYPE_Q5_K, TERSE_MIX_S, "Q5_K" },
    { "Q6_K", 18, TERSE_TYPE_Q6_K, TERSE_MIX_PLAIN, "6.6 bits per weight" },
    { "Q8_0", 7, TERSE_TYPE_Q8_0, TERSE_MIX_PLAIN, "8.5 bits per weight" },
    { "Q4_0", 2, TERSE_TYPE_Q4_0, TERSE_MIX_PLAIN, "4.5 bits per weight, Q6_K for the output" },
    { "Q4_1", 3, TERSE_TYPE_Q4_1, TERSE_MIX_PLAIN, "5 bits per weight, Q6_K for the output" },
    { "Q5_0", 8, TERSE_TYPE_Q5_0, TERSE_MIX_PLAIN, "5.5 bits per weight, Q6_K for the output" },
    { "Q5_1", 9, TERSE_TYPE_Q5_1, TERSE_MIX_PLAIN, "6 bits per weight, Q6_K for the output" },
    { "F16", 1, TERSE_TYPE_F16, TERSE_MIX_PLAIN, "16 bits" },
    { "BF16", 32, TERSE_TYPE_BF16, TERSE_MIX_PLAIN, "16 bits with the range of F32" },
    { "F32", 0, TERSE_TYPE_F32, TERSE_MIX_PLAIN, "32 bits" },
    { "Q4_K", 15, TERSE_TYPE_Q4_K, TERSE_MIX_M, "the same as Q4_K_M" },
    { "Q5_K", 17, TERSE_TYPE_Q5_K, TERSE_MIX_M, "the same as Q5_K_M" },
};
enum { N_MIX = sizeof mixes / sizeof *mixes };

const terse_mix *terse_mix_at(int32_t i)
{
    return i >= 0 && i < N_MIX ? &mixes[i] : NULL;
}

const terse_mix *terse_mix_named(const char *name)
{
    for (int32_t i = 0; i < N_MIX; i++)
        if (strcasecmp(mixes[i].name, name) == 0)
            return &mixes[i];
    return NULL;
}

static bool has(terse_str name, const char *part)
{
    return memmem(name.p, name.n, part, strlen(part)) != NULL;
}

static bool is(terse_str name, const char *whole)
{
    return name.n == strlen(whole) && memcmp(name.p, whole, name.n) == 0;
}

static bool ends_in(terse_str name, const char *end)
{
    const size_t n = strlen(end);
    return name.n >= n && memcmp(name.p + name.n - n, end, n) == 0;
}

static bool is_value(terse_str name)
{
    return has(name, "attn_v.weight") || has(name, "attn_qkv.weight") || has(name, "attn_kv_b.weight");
}

/* Small, and much hangs on it: vectors, norms, routers. */
static bool is_delicate(const terse_tensor *t)
{
    return (t->ne[1] == 1 && t->ne[2] == 1 && t->ne[3] == 1) || has(t->name, "_norm.weight") ||
           has(t->name, "ffn_gate_inp");
}

/* One choice of the caller, PART=TYPE. */
typedef struct {
    char part[64];
    const terse_mix *mix; /* its type counts; NULL: there is none of that name */
} own_choice;

/* Reads the choice at *at and steps over it; false behind the last. */
static bool next_choice(const char **at, own_choice *c)
{
    char type[16];
    if (!*at || !**at)
        return false;
    const size_t n = strcspn(*at, ","), part = strcspn(*at, "=,");
    const bool fits = part > 0 && part < n && part < sizeof c->part && n - part - 1 < sizeof type;
    snprintf(c->part, sizeof c->part, "%.*s", fits ? (int)part : 0, *at);
    snprintf(type, sizeof type, "%.*s", fits ? (int)(n - part - 1) : 0, *at + (fits ? part + 1 : 0));
    c->mix = terse_mix_named(type);
    *at += n + ((*at)[n] == ',');
    return true;
}

static bool is_matrix(const terse_tensor *t)
{
    return !is_delicate(t) && ends_in(t->name, "weight");
}

static terse_status check_choices(const char *own, const terse_gguf *g, terse_error *err)
{
    own_choice c;
    const char *at = own;
    for (const char *start = at; next_choice(&at, &c); start = at) {
        bool found = false;
        if (!c.mix)
            return terse_fail(err, TERSE_BAD_INPUT, "tensor type \"%.60s\": to be PART=TYPE, as in ffn_up=Q5_K",
                              start);
        for (int32_t i = 0; i < terse_gguf_n_tensor(g) && !found; i++)
            found = is_matrix(terse_gguf_tensor(g, i)) && has(terse_gguf_tensor(g, i)->name, c.part);
        if (!found)
            return terse_fail(err, TERSE_BAD_INPUT, "%s: no matrix has \"%s\" in its name", terse_gguf_path(g),
                              c.part);
    }
    return TERSE_OK;
}

terse_status terse_mixer_begin(terse_mixer *m, const terse_mix *mix, const char *own, const terse_gguf *g,
                               terse_error *err)
{
    terse_str arch = { "", 0 };
    char key[128];
    *m = (terse_mixer){ .mix = mix, .tied = !terse_gguf_find_tensor(g, "output.weight"), .own = own };
    terse_status st = terse_gguf_get_str(g, "general.architecture", true, &arch, err);
    if (st == TERSE_OK)
        st = check_choices(own, g, err);
    const int n = arch.n < 64 ? (int)arch.n : 64;
    snprintf(key, sizeof key, "%.*s.block_count", n, arch.p);
    if (st == TERSE_OK)
        st = terse_gguf_get_i32(g, key, false, &m->n_layer, err);
    snprintf(key, sizeof key, "%.*s.expert_count", n, arch.p);
    if (st == TERSE_OK)
        st = terse_gguf_get_i32(g, key, false, &m->n_expert, err);
    for (int32_t i = 0; i < terse_gguf_n_tensor(g); i++) {
        m->n_value += is_value(terse_gguf_tensor(g, i)->name);
        m->n_down += has(terse_gguf_tensor(g, i)->name, "ffn_down");
    }
    return st;
}

/* The layers in which the M mixes spend more: the first and the last eighth, every third between. */
static bool gets_more(int32_t i, int32_t n)
{
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

/* The layer that a name tells, -1 if none. */
static int32_t layer_of(terse_str name)
{
    int32_t layer = 0;
    if (name.n < 5 || memcmp(name.p, "blk.", 4) != 0)
        return -1;
    for (size_t i = 4; i < name.n && name.p[i] >= '0' && name.p[i] <= '9' && layer < 1 << 20; i++)
        layer = 10 * layer + (name.p[i] - '0');
    return layer;
}

static terse_type type_of_value(const terse_mixer *m, int32_t i)
{
    const terse_mix *mix = m->mix;
    terse_type type = mix->type;
    if (m->n_expert == 8) /* small beside the experts */
        return TERSE_TYPE_Q8_0;
    if (mix->size == TERSE_MIX_M && gets_more(i, m->n_value))
        type = TERSE_TYPE_Q6_K;
    else if (mix->size == TERSE_MIX_S && type == TERSE_TYPE_Q4_K && i < 4)
        type = TERSE_TYPE_Q5_K;
    if (m->n_layer == 80 && type == TERSE_TYPE_Q4_K) /* 70B: eight heads share the values */
        type = TERSE_TYPE_Q5_K;
    return type;
}

static terse_type type_of_down(const terse_mixer *m, int32_t layer)
{
    const terse_mix *mix = m->mix;
    if (mix->size == TERSE_MIX_M && gets_more(layer, m->n_down))
        return TERSE_TYPE_Q6_K;
    return mix->size == TERSE_MIX_S && mix->type == TERSE_TYPE_Q4_K && layer < m->n_down / 8 ? TERSE_TYPE_Q5_K
                                                                                             : mix->type;
}

/* The mix's choice, whatever the shape. */
static terse_type choose(terse_mixer *m, const terse_tensor *t)
{
    const terse_mix *mix = m->mix;
    const terse_str name = t->name;
    if (terse_type_of(mix->type)->block_len == 1)
        return mix->type;
    if (is(name, "output.weight") || (m->tied && is(name, "token_embd.weight")))
        return mix->type == TERSE_TYPE_Q8_0 || t->ne[0] % 256 ? TERSE_TYPE_Q8_0 : TERSE_TYPE_Q6_K;
    if (is(name, "token_embd.weight"))
        return mix->type;
    if (has(name,
            ".attn_kv_util.")) /* SP-KV's predictors: small, and they decide which keys are there at all */
        return TERSE_TYPE_Q8_0;
    if (is_value(name))
        return type_of_value(m, m->i_value++);
    if (has(name, "attn_k.weight") && m->n_expert == 8)
        return TERSE_TYPE_Q8_0;
    if (has(name, "ffn_down"))
        return type_of_down(m, layer_of(name));
    if (has(name, "attn_output.weight") && m->n_expert == 8 && mix->type == TERSE_TYPE_Q4_K)
        return TERSE_TYPE_Q5_K;
    return mix->type;
}

uint32_t terse_mixer_type(terse_mixer *m, const terse_tensor *t)
{
    const bool is_float = t->type == TERSE_TYPE_F16 || t->type == TERSE_TYPE_BF16;
    if (!is_matrix(t))
        return is_float && is_delicate(t) ? TERSE_TYPE_F32 : t->type;
    terse_type type = choose(m, t);
    own_choice c;
    for (const char *at = m->own; next_choice(&at, &c);)
        if (c.mix && has(t->name, c.part)) {
            type = c.mix->type;
            break;
        }
    if (t->ne[0] % terse_type_of(type)->block_len == 0)
        return type;
    if (t->ne[0] % 32) /* the shortest blocks */
        return TERSE_TYPE_F16;
    return type == TERSE_TYPE_Q4_K   ? TERSE_TYPE_Q5_0
           : type == TERSE_TYPE_Q5_K ? TERSE_TYPE_Q5_1
                                     : TERSE_TYPE_Q8_0;
}
