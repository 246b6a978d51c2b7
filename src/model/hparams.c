/* model/hparams.c: an architecture's numbers from the metadata. Nothing is divided by, allocated for or looped
 * over before it has passed its check here. */
#include "model/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const terse_arch archs[] = {
    { .name = "llama", .experts = true },
};

enum { MAX_LAYERS = 512, MAX_WIDTH = 1 << 20, MAX_HEADS = 4096, MAX_DIM = 512, MAX_EXPERTS = 1024 };
enum { MAX_CTX = 1 << 24 };

/* "llama.block_count" and its value between low and high. */
static terse_status integer(const terse_model *m, const char *name, bool required, int32_t low, int32_t high,
                            int32_t *value, terse_error *err)
{
    char key[128];
    snprintf(key, sizeof key, "%s.%s", m->arch->name, name);
    const terse_status st = terse_gguf_get_i32(m->gguf, key, required, value, err);
    if (st != TERSE_OK)
        return st;
    if (*value < low || *value > high)
        return terse_fail(err, TERSE_BAD_INPUT, "%s: key '%s' is %d, expected %d to %d",
                          terse_gguf_path(m->gguf), key, *value, low, high);
    return TERSE_OK;
}

static terse_status find_arch(terse_model *m, terse_error *err)
{
    terse_str name = { 0 };
    const terse_status st = terse_gguf_get_str(m->gguf, "general.architecture", true, &name, err);
    if (st != TERSE_OK)
        return st;
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (strlen(archs[i].name) == name.n && !memcmp(archs[i].name, name.p, name.n)) {
            m->arch = &archs[i];
            m->info.arch = archs[i].name;
            return TERSE_OK;
        }
    return terse_fail(
        err, TERSE_UNSUPPORTED,
        "%s: key 'general.architecture' is '%.*s', which is not supported; this build knows: llama",
        terse_gguf_path(m->gguf), (int)(name.n < 64 ? name.n : 64), name.p);
}

static terse_status heads(terse_model *m, terse_error *err)
{
    terse_model_info *i = &m->info;
    terse_status st;
    if ((st = integer(m, "attention.head_count", true, 1, MAX_HEADS, &i->n_head, err)) != TERSE_OK)
        return st;
    i->n_head_kv = i->n_head;
    if ((st = integer(m, "attention.head_count_kv", false, 1, i->n_head, &i->n_head_kv, err)) != TERSE_OK)
        return st;
    if (i->n_head % i->n_head_kv)
        return terse_fail(err, TERSE_BAD_INPUT,
                          "%s: key '%s.attention.head_count_kv' is %d, which does not divide %d query heads",
                          terse_gguf_path(m->gguf), m->arch->name, i->n_head_kv, i->n_head);
    if (i->n_embd % i->n_head == 0)
        i->dim_k = i->dim_v = i->n_embd / i->n_head;
    const bool given = i->dim_k == 0;
    if ((st = integer(m, "attention.key_length", given, 1, MAX_DIM, &i->dim_k, err)) != TERSE_OK)
        return st;
    if ((st = integer(m, "attention.value_length", given, 1, MAX_DIM, &i->dim_v, err)) != TERSE_OK)
        return st;
    if (i->dim_k % 16 || i->dim_v % 16)
        return terse_fail(err, TERSE_UNSUPPORTED,
                          "%s: heads of %d and %d channels; multiples of 16 are supported",
                          terse_gguf_path(m->gguf), i->dim_k, i->dim_v);
    m->scale = 1.0f / sqrtf((float)i->dim_k);
    return TERSE_OK;
}

static terse_status experts(terse_model *m, terse_error *err)
{
    terse_model_info *i = &m->info;
    terse_status st;
    if ((st = integer(m, "expert_count", false, 0, MAX_EXPERTS, &i->n_expert, err)) != TERSE_OK || !i->n_expert)
        return st;
    if (!m->arch->experts)
        return terse_fail(err, TERSE_UNSUPPORTED, "%s: experts in architecture %s", terse_gguf_path(m->gguf),
                          m->arch->name);
    return integer(m, "expert_used_count", true, 1, i->n_expert, &i->n_expert_used, err);
}

terse_status terse_model_hparams(terse_model *m, terse_error *err)
{
    terse_model_info *i = &m->info;
    terse_status st;
    char key[128];
    if ((st = find_arch(m, err)) != TERSE_OK)
        return st;
    if ((st = integer(m, "block_count", true, 1, MAX_LAYERS, &i->n_layer, err)) != TERSE_OK)
        return st;
    if ((st = integer(m, "context_length", true, 1, MAX_CTX, &i->ctx_train, err)) != TERSE_OK)
        return st;
    if ((st = integer(m, "embedding_length", true, 1, MAX_WIDTH, &i->n_embd, err)) != TERSE_OK)
        return st;
    if ((st = integer(m, "feed_forward_length", true, 1, MAX_WIDTH, &i->n_ff, err)) != TERSE_OK)
        return st;
    if ((st = heads(m, err)) != TERSE_OK)
        return st;
    if ((st = experts(m, err)) != TERSE_OK)
        return st;
    snprintf(key, sizeof key, "%s.attention.layer_norm_rms_epsilon", m->arch->name);
    if ((st = terse_gguf_get_f32(m->gguf, key, true, &m->norm_eps, err)) != TERSE_OK)
        return st;
    if (!(m->norm_eps > 0.0f && m->norm_eps < 1.0f))
        return terse_fail(err, TERSE_BAD_INPUT, "%s: key '%s' is %g, expected a number between 0 and 1",
                          terse_gguf_path(m->gguf), key, (double)m->norm_eps);
    return TERSE_OK;
}
