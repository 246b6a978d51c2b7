/* cli/args.h: the options that several commands share, as groups for terse_options_parse, under the names that
 * users of llama.cpp know. Start from the defaults, then hand out the group. */
#ifndef TERSE_CLI_ARGS_H
#define TERSE_CLI_ARGS_H

#include "options.h"
#include "terse/sample.h"

/* Model and threads. */
typedef struct {
    const char *model;
    int32_t ctx;     /* 0: the model's own */
    int32_t threads; /* 0: terse_cpu_threads */
    int32_t strands; /* as in terse_session_opts */
    int32_t batch, ubatch;
} terse_args_model;
terse_args_model terse_args_model_defaults(void);
terse_option_group terse_args_model_group(terse_args_model *a);

/* KV and attention. NULL: the library's default. */
typedef struct {
    const char *type_k, *type_v;
    const char *policy, *stop, *quality; /* quality names a policy and a stop rule; those given by name win */
    const char *profile;                 /* terse_profile_find */
    const char *gate;                    /* a file */
    const char *budget;                  /* of policies that have one */
    size_t limit;                        /* bytes; 0: none */
    int32_t audit;                       /* 0: never */
} terse_args_kv;
terse_option_group terse_args_kv_group(terse_args_kv *a);

/* The policies, as help of --kv-policy; terse_attend_open says more. */
#define TERSE_POLICIES_HELP                                                                                    \
    "dense: every token; order=newest, oldest, mass, box, random or oracle says how pages are walked. "        \
    "quest:keep=X, oracle:keep=X: every token, a share of the pages per query. spkv:threshold=X: what the "    \
    "model predicts to be useful. window:keep=X: the first and the last tokens. h2o:keep=X: what received "    \
    "most attention. tova:keep=X: what the last query looks at. snapkv:keep=X, pyramidkv:keep=X: what the "    \
    "end of the prompt looks at. duo:profile=FILE,share=X: everything in a share of the heads. "               \
    "random:keep=X: a floor. "                                                                                 \
    "auto: dense (spkv, if the model has a gate), if it fits into --kv-limit, else duo with a profile that "   \
    "knows the heads, else tova. keep is a share of the prompt; budget=N, a number of tokens, wins over "      \
    "it"

/* The stop rules that --quality names. */
#define TERSE_QUALITY_EXACT "none"
#define TERSE_QUALITY_SAFE  "mass:delta=0.005,from=3072+value-share:left=0.008"
#define TERSE_QUALITY_FAST  "mass:delta=0.015+value-share:left=0.024"
#define TERSE_QUALITY       "safe" /* unless a policy, a stop rule or a profile is named */
#define TERSE_QUALITY_HELP                                                                                     \
    "short for a --stop: exact is " TERSE_QUALITY_EXACT ", safe is " TERSE_QUALITY_SAFE                        \
    ", fast is " TERSE_QUALITY_FAST

/* Sampling: from terse_sample_defaults; a seed of UINT64_MAX asks for any. */
terse_option_group terse_args_sample_group(terse_sample_opts *a);

/* What other programs have and a CPU engine does not need. */
terse_option_group terse_args_ignored_group(void);

/* The kernel tiers that TERSE_ISA allows ("scalar", "avx2", "avx512", "neon", "dotprod", "i8mm"; unset: all).
 */
terse_status terse_args_isa(uint32_t *cpu, terse_error *err);

#endif
