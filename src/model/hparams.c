/* model/hparams.c: an architecture's numbers from the metadata. Nothing is divided by, allocated for or looped
 * over before it has passed its check here. */
#include "model/model.h"
#include "terse/kv.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_LAYERS = 512, MAX_WIDTH = 1 << 20, MAX_HEADS = 4096, MAX_DIM = 512, MAX_EXPERTS = 1024 };
enum { MAX_CTX = 1 << 24 };

void terse_model_key(const terse_model *m, const char *name, char key[TERSE_KEY])
{
    snprintf(key, TERSE_KEY, "%s.%s", m->arch->name, name);
}

terse_status terse_model_integer(const terse_model *m, const char *name, bool required, int32_t low,
                                 int32_t high, int32_t *value, terse_error *err)
{
    char key[TERSE_KEY];
    terse_model_key(m, name, key);
    const terse_status st = terse_gguf_get_i32(m->gguf, key, required, value, err);
    if (st != TERSE_OK)
        return st;
    if (*value < low || *value > high)
        return terse_fail(err, TERSE_BAD_INPUT, "%s: key '%s' is %d, expected %d to %d",
                          terse_gguf_path(m->gguf), key, *value, low, high);
    return TERSE_OK;
}

terse_status terse_model_number(const terse_model *m, const char *name, bool required, float low, float high,
                                float *value, terse_error *err)
{
    char key[TERSE_KEY];
    terse_model_key(m, name, key);
    const terse_status st = terse_gguf_get_f32(m->gguf, key, required, value, err);
    if (st != TERSE_OK)
        return st;
    if (!(*value >= low && *value <= high))
        return terse_fail(err, TERSE_BAD_INPUT, "%s: key '%s' is %g, expected %g to %g",
                          terse_gguf_path(m->gguf), key, (double)*value, (double)low, (double)high);
    return TERSE_OK;
}

static terse_status find_arch(terse_model *m, terse_error *err)
{
    terse_str name = { 0 };
    char known[256] = "";
    const terse_status st = terse_gguf_get_str(m->gguf, "general.architecture", true, &name, err);
    if (st != TERSE_OK)
        return st;
    m->arch = terse_arch_find(name.p, name.n);
    if (m->arch) {
        m->info.arch = m->arch->name;
        return TERSE_OK;
    }
    const terse_arch *a;
    size_t at = 0;
    for (int32_t i = 0; (a = terse_arch_at(i)) && at + strlen(a->name) + 2 < sizeof known; i++)
        at += (size_t)snprintf(known + at, sizeof known - at, " %s", a->name);
    return terse_fail(err, TERSE_UNSUPPORTED,
                      "%s: key 'general.architecture' is '%.*s', which is not supported; this build knows:%s",
                      terse_gguf_path(m->gguf), (int)(name.n < 64 ? name.n : 64), name.p, known);
}

/* Query and KV heads, and channels of keys and values as the file gives them. */
static terse_status heads(terse_model *m, terse_error *err)
{
    terse_model_info *i = &m->info;
    terse_status st;
    if ((st = terse_model_integer(m, "attention.head_count", true, 1, MAX_HEADS, &i->n_head, err)) != TERSE_OK)
        return st;
    i->n_head_kv = i->n_head;
    if ((st = terse_model_integer(m, "attention.head_count_kv", false, 1, i->n_head, &i->n_head_kv, err)) !=
        TERSE_OK)
        return st;
    if (i->n_head % i->n_head_kv)
        return terse_fail(err, TERSE_BAD_INPUT,
                          "%s: key '%s.attention.head_count_kv' is %d, which does not divide %d query heads",
                          terse_gguf_path(m->gguf), m->arch->name, i->n_head_kv, i->n_head);
    if (i->n_embd % i->n_head == 0)
        i->dim_k = i->dim_v = i->n_embd / i->n_head;
    const bool given = i->dim_k == 0;
    const int32_t most = m->arch->latent ? TERSE_KV_DIM : MAX_DIM;
    if ((st = terse_model_integer(m, "attention.key_length", given, 1, most, &i->dim_k, err)) != TERSE_OK)
        return st;
    if ((st = terse_model_integer(m, "attention.value_length", given, 1, most, &i->dim_v, err)) != TERSE_OK)
        return st;
    if (i->dim_k > most || i->dim_v > most)
        return terse_fail(err, TERSE_UNSUPPORTED, "%s: heads of %d and %d channels; up to %d are supported",
                          terse_gguf_path(m->gguf), i->dim_k, i->dim_v, most);
    m->dim_q = i->dim_k;
    m->dim_o = i->dim_v;
    return TERSE_OK;
}

/* A latent in the cache stands for one KV head; what heads see of it is in keys of its own. */
static terse_status latent(terse_model *m, terse_error *err)
{
    terse_model_info *i = &m->info;
    terse_latent *a = &m->latent;
    terse_status st;
    if (!m->arch->latent)
        return TERSE_OK;
    int32_t dim_k = 0, dim_v = 0;
    if ((st = terse_model_integer(m, "attention.kv_lora_rank", true, 1, MAX_DIM, &a->kv_rank, err)) !=
            TERSE_OK ||
        (st = terse_model_integer(m, "attention.q_lora_rank", false, 0, MAX_WIDTH, &a->q_rank, err)) !=
            TERSE_OK ||
        (st = terse_model_integer(m, "attention.key_length_mla", false, 0, MAX_DIM, &dim_k, err)) != TERSE_OK ||
        (st = terse_model_integer(m, "attention.value_length_mla", dim_k > 0, dim_k > 0, MAX_DIM, &dim_v,
                                  err)) != TERSE_OK)
        return st;
    a->latent = dim_k > 0;
    if (a->latent) {
        m->dim_q = dim_k;
        m->dim_o = dim_v;
    }
    if ((st = terse_model_integer(m, "rope.dimension_count", true, 2, m->dim_q - 1, &a->turn, err)) != TERSE_OK)
        return st;
    a->still = m->dim_q - a->turn;
    a->dim_v = m->dim_o;
    const bool fits = a->latent
                          ? i->n_head_kv == 1 && i->dim_k == a->kv_rank + a->turn && i->dim_v == a->kv_rank
                          : i->n_head_kv == i->n_head;
    if (!fits)
        return terse_fail(err, TERSE_BAD_INPUT,
                          "%s: %d KV heads of %d and %d channels do not go with latents of %d and %d",
                          terse_gguf_path(m->gguf), i->n_head_kv, i->dim_k, i->dim_v, a->kv_rank, a->turn);
    return TERSE_OK;
}

static terse_status routing(terse_model *m, terse_error *err)
{
    static const terse_router kinds[] = { TERSE_ROUTER_SOFTMAX, TERSE_ROUTER_SOFTMAX, TERSE_ROUTER_SIGMOID,
                                          TERSE_ROUTER_CHOSEN };
    terse_routing *r = &m->routing;
    int32_t kind = 0;
    char key[TERSE_KEY];
    r->kind = m->arch->router;
    r->scale = 1.0f;
    r->norm = r->kind == TERSE_ROUTER_SOFTMAX;
    r->n_group = r->n_group_used = 1;
    if (!m->arch->router_keys)
        return TERSE_OK;
    r->norm = false;
    terse_model_key(m, "expert_weights_norm", key);
    terse_status st = terse_gguf_get_bool(m->gguf, key, false, &r->norm, err);
    if (st != TERSE_OK ||
        (st = terse_model_number(m, "expert_weights_scale", false, 0.0f, 1e6f, &r->scale, err)) != TERSE_OK ||
        (st = terse_model_integer(m, "expert_gating_func", false, 0, 3, &kind, err)) != TERSE_OK ||
        (st = terse_model_integer(m, "expert_group_count", false, 1, MAX_EXPERTS, &r->n_group, err)) !=
            TERSE_OK ||
        (st = terse_model_integer(m, "expert_group_used_count", false, 1, r->n_group, &r->n_group_used, err)) !=
            TERSE_OK)
        return st;
    r->kind = kinds[kind];
    if (r->scale == 0.0f) /* as files say that there is none */
        r->scale = 1.0f;
    const int32_t per_group = m->info.n_expert / r->n_group;
    if (m->info.n_expert % r->n_group || per_group * r->n_group_used < m->info.n_expert_used)
        return terse_fail(err, TERSE_BAD_INPUT, "%s: %d of %d groups of experts do not hold %d of %d experts",
                          terse_gguf_path(m->gguf), r->n_group_used, r->n_group, m->info.n_expert_used,
                          m->info.n_expert);
    return TERSE_OK;
}

static terse_status experts(terse_model *m, terse_error *err)
{
    terse_model_info *i = &m->info;
    terse_routing *r = &m->routing;
    terse_status st;
    int32_t shared = 0;
    if ((st = terse_model_integer(m, "expert_count", false, 0, MAX_EXPERTS, &i->n_expert, err)) != TERSE_OK ||
        !i->n_expert)
        return st;
    if (m->arch->router == TERSE_ROUTER_NONE)
        return terse_fail(err, TERSE_UNSUPPORTED, "%s: experts in architecture %s", terse_gguf_path(m->gguf),
                          m->arch->name);
    r->n_ff = i->n_ff;
    if ((st = terse_model_integer(m, "expert_used_count", true, 1, i->n_expert, &i->n_expert_used, err)) !=
            TERSE_OK ||
        (st = terse_model_integer(m, "expert_feed_forward_length", false, 1, MAX_WIDTH, &r->n_ff, err)) !=
            TERSE_OK ||
        (st = terse_model_integer(m, "expert_shared_count", false, 0, MAX_WIDTH / r->n_ff, &shared, err)) !=
            TERSE_OK)
        return st;
    r->n_shared = shared * r->n_ff;
    if ((st = terse_model_integer(m, "expert_shared_feed_forward_length", false, 0, MAX_WIDTH, &r->n_shared,
                                  err)) != TERSE_OK ||
        (st = terse_model_integer(m, "leading_dense_block_count", false, 0, i->n_layer, &r->n_dense, err)) !=
            TERSE_OK)
        return st;
    return routing(m, err);
}

/* Constants that an architecture multiplies by. */
static terse_status scales(terse_model *m, terse_error *err)
{
    const terse_arch *a = m->arch;
    const terse_model_info *i = &m->info;
    float logits = 1.0f, attn = 0.0f;
    terse_status st;
    m->embed_scale = a->embed_root ? sqrtf((float)i->n_embd) : 1.0f;
    m->branch_scale = 1.0f;
    if (a->multipliers &&
        ((st = terse_model_number(m, "embedding_scale", false, 1e-6f, 1e6f, &m->embed_scale, err)) !=
             TERSE_OK ||
         (st = terse_model_number(m, "residual_scale", false, 1e-6f, 1e6f, &m->branch_scale, err)) !=
             TERSE_OK ||
         (st = terse_model_number(m, "attention.scale", false, 0.0f, 1e6f, &attn, err)) != TERSE_OK))
        return st;
    if (a->logits_scale &&
        (st = terse_model_number(m, "logit_scale", false, 1e-6f, 1e6f, &logits, err)) != TERSE_OK)
        return st;
    m->logits_scale = a->logits_scale < 0 ? 1.0f / logits : logits;
    const int32_t wide = i->n_layer == a->wide_scale ? i->n_embd / i->n_head : m->dim_q;
    m->scale = attn > 0.0f ? attn : 1.0f / sqrtf((float)wide);
    if (!a->softcaps)
        return TERSE_OK;
    m->attn_cap = a->attn_cap;
    m->logits_cap = a->logits_cap;
    if ((st = terse_model_number(m, "attn_logit_softcapping", false, 0.0f, 1e6f, &m->attn_cap, err)) !=
        TERSE_OK)
        return st;
    return terse_model_number(m, "final_logit_softcapping", false, 0.0f, 1e6f, &m->logits_cap, err);
}

static terse_status windows(terse_model *m, terse_error *err)
{
    m->window_period = m->arch->window_period;
    if (!m->window_period)
        return TERSE_OK;
    m->info.window = m->arch->window;
    return terse_model_integer(m, "attention.sliding_window", false, 0, MAX_CTX, &m->info.window, err);
}

terse_status terse_model_hparams(terse_model *m, terse_error *err)
{
    terse_model_info *i = &m->info;
    terse_status st;
    char key[TERSE_KEY];
    if ((st = find_arch(m, err)) != TERSE_OK)
        return st;
    if ((st = terse_model_integer(m, "block_count", true, 1, MAX_LAYERS, &i->n_layer, err)) != TERSE_OK)
        return st;
    if ((st = terse_model_integer(m, "context_length", true, 1, MAX_CTX, &i->ctx_train, err)) != TERSE_OK)
        return st;
    if ((st = terse_model_integer(m, "embedding_length", true, 1, MAX_WIDTH, &i->n_embd, err)) != TERSE_OK)
        return st;
    if ((st = terse_model_integer(m, "feed_forward_length", true, 1, MAX_WIDTH, &i->n_ff, err)) != TERSE_OK)
        return st;
    if ((st = heads(m, err)) != TERSE_OK || (st = latent(m, err)) != TERSE_OK)
        return st;
    if ((st = experts(m, err)) != TERSE_OK || (st = scales(m, err)) != TERSE_OK ||
        (st = windows(m, err)) != TERSE_OK)
        return st;
    terse_model_key(
        m, m->arch->layer_norm ? "attention.layer_norm_epsilon" : "attention.layer_norm_rms_epsilon", key);
    if ((st = terse_gguf_get_f32(m->gguf, key, true, &m->norm_eps, err)) != TERSE_OK)
        return st;
    if (!(m->norm_eps > 0.0f && m->norm_eps < 1.0f))
        return terse_fail(err, TERSE_BAD_INPUT, "%s: key '%s' is %g, expected a number between 0 and 1",
                          terse_gguf_path(m->gguf), key, (double)m->norm_eps);
    return TERSE_OK;
}
