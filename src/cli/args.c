/* cli/args.c: tables only. The ranges that matter to sampling are checked by terse_sample_check. */
#include "args.h"

#include "profile_option.h"

#include <float.h>
#include <stdlib.h>

#define COUNT(a) (int32_t)(sizeof(a) / sizeof *(a))

enum { MAX_TOKENS = 1 << 24, MAX_THREADS = 1024 };

#define AT(field) offsetof(terse_args_model, field)
static const terse_option model_options[] = {
    { "-m --model", TERSE_OPTION_STRING, AT(model), .value = "FILE", .help = "the model, a GGUF file" },
    { "-c --ctx-size", TERSE_OPTION_INT, AT(ctx), 0, MAX_TOKENS, "N", .preset = "the model's own",
      .help = "tokens that the context may hold" },
    { "-t --threads", TERSE_OPTION_INT, AT(threads), 0, MAX_THREADS, "N",
      .preset = "physical cores, within the CPU quota", .help = "threads" },
    { "--strands", TERSE_OPTION_INT, AT(strands), 0, 64, "N", .preset = "0, what the cores need",
      .help =
          "parts into which the pages of a KV head are split for threads to share; the last bits of results "
          "depend on it" },
    { "-b --batch-size", TERSE_OPTION_INT, AT(batch), 1, MAX_TOKENS, "N",
      .help = "the same as -ub, which is the one that counts unless this one is smaller" },
    { "-ub --ubatch-size", TERSE_OPTION_INT, AT(ubatch), 1, MAX_TOKENS, "N",
      .help = "tokens of the prompt computed at once" },
};
#undef AT

#define AT(field) offsetof(terse_args_kv, field)
static const terse_option kv_options[] = {
    { "-ctk --cache-type-k", TERSE_OPTION_STRING, AT(type_k), .value = "TYPE",
      .choices = "f32 f16 bf16 q8 q4 q8_0 q4_0", .preset = "f16", .help = "storage of keys" },
    { "-ctv --cache-type-v", TERSE_OPTION_STRING, AT(type_v), .value = "TYPE",
      .choices = "f32 f16 bf16 q8 q4 q8_0 q4_0", .preset = "f16", .help = "storage of values" },
    { "--kv-policy", TERSE_OPTION_STRING, AT(policy), .value = "NAME",
      .preset = "dense; spkv, if the model has a gate",
      .help = "what stays in the cache and which pages attention reads; " TERSE_POLICIES_HELP },
    { "--kv-budget", TERSE_OPTION_STRING, AT(budget), .value = "N", .preset = "what the policy says",
      .help = "tokens that the policy may keep: a number, a share as 20%, or bytes as 64MiB" },
    { "--kv-gate", TERSE_OPTION_STRING, AT(gate), .value = "FILE", .preset = "the model's own",
      .help = "a GGUF file that predicts the utility of tokens, for the policy spkv" },
    { "--stop", TERSE_OPTION_STRING, AT(stop), .value = "RULE", .preset = "what --quality says",
      .help =
          "when attention has read enough; RULE:key=value,.. with none: when all is read. mass:delta=X: when "
          "the "
          "unread pages are estimated to matter less than X. budget:share=X: after a share of all pages. "
          "weight:tau=X, stability:tau=X,phi=X,patience=N: when pages in a row have changed the output little. "
          "certified:eps=X: when the error is proved to be at most X of the output. Behind one of these or "
          "alone, "
          "joined by +: value-share:left=X and, with proof, value-skip:eps=X leave out values of keys that "
          "were "
          "read. Between mass and these: +key-share:left=X reads some channels of the keys of pages with small "
          "shares" },
    { "--quality", TERSE_OPTION_STRING, AT(quality), .value = "LEVEL", .choices = "exact safe fast",
      .preset = "safe", .help = TERSE_QUALITY_HELP "; --kv-policy and --stop win over it" },
    { "--profile", TERSE_OPTION_STRING, AT(profile), .value = "FILE", .preset = "none",
      .help = TERSE_PROFILE_HELP "; without --stop, under the rule that it was made for" },
    { "--kv-limit", TERSE_OPTION_SIZE, AT(limit), .value = "SIZE", .preset = "none",
      .help = "memory that keys and values may take" },
    { "--audit", TERSE_OPTION_INT, AT(audit), 0, INT32_MAX, "N", .preset = "0, never",
      .help = "read everything on every N-th walk and measure the true error of the stop rule" },
};
#undef AT

#define AT(field) offsetof(terse_sample_opts, field)
static const terse_option sample_options[] = {
    { "-s --seed", TERSE_OPTION_SEED, AT(seed), .value = "N", .preset = "-1",
      .help = "of the draws; -1: a new one every time" },
    { "--temp --temperature", TERSE_OPTION_FLOAT, AT(temp), .value = "X",
      .help = "temperature; 0 or less: greedy" },
    { "--top-k", TERSE_OPTION_INT, AT(top_k), .value = "N",
      .help = "keep the N likeliest tokens; 0 or less: all" },
    { "--top-p", TERSE_OPTION_FLOAT, AT(top_p), 0, 1, "X",
      .help = "keep the likeliest tokens that together reach probability X; 1: all" },
    { "--min-p", TERSE_OPTION_FLOAT, AT(min_p), 0, 1, "X",
      .help = "keep tokens at least X times as likely as the likeliest; 0: all" },
    { "--typical", TERSE_OPTION_FLOAT, AT(typical_p), 0, 1, "X", .help = "locally typical sampling; 1: off" },
    { "--top-nsigma", TERSE_OPTION_FLOAT, AT(top_n_sigma), .value = "X",
      .help = "keep tokens within X standard deviations of the largest logit; 0 or less: all" },
    { "--repeat-last-n", TERSE_OPTION_INT, AT(penalty_last_n), -1, 4096, "N",
      .help = "tokens that the penalties look back at; 0: off, -1: 4096" },
    { "--repeat-penalty", TERSE_OPTION_FLOAT, AT(penalty_repeat), FLT_MIN, FLT_MAX, "X",
      .help = "divides the logit of tokens seen before; 1: off" },
    { "--presence-penalty", TERSE_OPTION_FLOAT, AT(penalty_presence), .value = "X",
      .help = "taken once from the logit of tokens seen before; 0: off" },
    { "--frequency-penalty", TERSE_OPTION_FLOAT, AT(penalty_frequency), .value = "X",
      .help = "taken from the logit once for each time the token was seen; 0: off" },
};
#undef AT

static const terse_option ignored_options[] = {
    { "-ngl --n-gpu-layers", TERSE_OPTION_IGNORED, .value = "N", .help = "terse runs on CPUs only" },
    { "-fa --flash-attn", TERSE_OPTION_IGNORED, .value = "on|off|auto", .choices = "on off auto 1 0",
      .help = "attention never stores its weights here" },
};

terse_args_model terse_args_model_defaults(void)
{
    return (terse_args_model){ .batch = 2048, .ubatch = 512 };
}

terse_option_group terse_args_model_group(terse_args_model *a)
{
    return (terse_option_group){ "model and threads", model_options, COUNT(model_options), a };
}

terse_option_group terse_args_kv_group(terse_args_kv *a)
{
    return (terse_option_group){ "kv and attention", kv_options, COUNT(kv_options), a };
}

terse_option_group terse_args_sample_group(terse_sample_opts *a)
{
    return (terse_option_group){ "sampling", sample_options, COUNT(sample_options), a };
}

terse_option_group terse_args_ignored_group(void)
{
    return (terse_option_group){ "for compatibility", ignored_options, COUNT(ignored_options), NULL };
}

terse_status terse_args_isa(uint32_t *cpu, terse_error *err)
{
    terse_error why;
    const terse_status st = terse_cpu_tiers_upto(getenv("TERSE_ISA"), cpu, &why);
    return st == TERSE_OK ? st : terse_fail(err, st, "TERSE_ISA: %s", why.text);
}
