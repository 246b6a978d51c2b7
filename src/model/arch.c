/* model/arch.c: the architectures. A row says what differs from llama. */
#include "model/arch.h"

#include <stddef.h>
#include <string.h>

static const terse_norm_names sandwich = { "attn_norm", "post_attention_norm", "ffn_norm", "post_ffw_norm" };
static const terse_norm_names post_only = { NULL, "post_attention_norm", NULL, "post_ffw_norm" };
static const terse_norm_names one_only = { "attn_norm", NULL, NULL, NULL };
static const terse_norm_names named_post = { "attn_norm", NULL, "post_attention_norm", NULL };

static const terse_arch archs[] = {
    { .name = "llama", .router = TERSE_ROUTER_SOFTMAX },
    { .name = "internlm2" },
    { .name = "orion", .rope_halves = true, .layer_norm = true, .norm_bias = true },
    { .name = "stablelm",
      .rope_halves = true,
      .layer_norm = true,
      .norm_bias = true,
      .qk_norm = TERSE_QK_EACH,
      .parallel = TERSE_PARALLEL_UNNORMED },
    { .name = "qwen2", .rope_halves = true },
    { .name = "qwen3", .rope_halves = true, .qk_norm = TERSE_QK_HEAD },
    { .name = "qwen3moe", .rope_halves = true, .qk_norm = TERSE_QK_HEAD, .router = TERSE_ROUTER_SOFTMAX },
    { .name = "gemma", .rope_halves = true, .act = TERSE_ACT_GELU, .embed_root = true },
    { .name = "gemma2",
      .rope_halves = true,
      .act = TERSE_ACT_GELU,
      .embed_root = true,
      .norms = &sandwich,
      .softcaps = true,
      .attn_cap = 50.0f,
      .logits_cap = 30.0f,
      .window_period = 2,
      .window = 4096,
      .wide_scale = 46 },
    { .name = "gemma3",
      .rope_halves = true,
      .act = TERSE_ACT_GELU,
      .embed_root = true,
      .norms = &sandwich,
      .qk_norm = TERSE_QK_HEAD,
      .softcaps = true,
      .window_period = 6,
      .window_plain_rope = true,
      .window_rope_base = 10000.0f,
      .wide_scale = 62 },
    { .name = "phi3", .rope_halves = true, .fused_ff = true, .rope_factors = true },
    { .name = "granite", .multipliers = true, .logits_scale = -1 },
    { .name = "granitemoe", .multipliers = true, .logits_scale = -1, .router = TERSE_ROUTER_SOFTMAX },
    { .name = "smollm3", .rope_skip = 4 },
    { .name = "gpt-oss",
      .norms = &named_post,
      .rope_halves = true,
      .act = TERSE_ACT_SWIGLU_CLAMPED,
      .window_period = 2,
      .sinks = true,
      .router = TERSE_ROUTER_CHOSEN },
    { .name = "deepseek2", .latent = true, .router = TERSE_ROUTER_SOFTMAX, .router_keys = true },
    { .name = "glm4", .norms = &sandwich, .fused_ff = true },
    { .name = "command-r",
      .norms = &one_only,
      .layer_norm = true,
      .parallel = TERSE_PARALLEL,
      .qk_norm = TERSE_QK_EACH,
      .logits_scale = 1 },
    { .name = "cohere2",
      .norms = &one_only,
      .layer_norm = true,
      .parallel = TERSE_PARALLEL,
      .logits_scale = 1,
      .window_period = 4,
      .rope_skip = 4 },
    { .name = "olmo2",
      .norms = &post_only,
      .rope_halves = true,
      .qk_norm = TERSE_QK_ALL,
      .window_period = 4,
      .window_plain_rope = true },
};

const terse_arch *terse_arch_at(int32_t i)
{
    return i >= 0 && (size_t)i < sizeof archs / sizeof *archs ? &archs[i] : NULL;
}

const terse_arch *terse_arch_find(const char *name, uint64_t n)
{
    for (size_t i = 0; i < sizeof archs / sizeof *archs; i++)
        if (strlen(archs[i].name) == n && !memcmp(archs[i].name, name, n))
            return &archs[i];
    return NULL;
}
