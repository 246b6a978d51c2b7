/* cli/rules.h: --kv-policy, --stop and --quality as lists: the settings that one run compares. */
#ifndef TERSE_CLI_RULES_H
#define TERSE_CLI_RULES_H

#include "engine_options.h"
#include "terse/eval.h"

enum { TERSE_MAX_RULES = 64, TERSE_KV_OPTIONS = 16 };

typedef struct {
    terse_eval_rule rule[TERSE_MAX_RULES];
    int32_t n;
    char *text[2]; /* owned: the words */
} terse_rules;

/* The group "kv and attention" with help for lists; rows is room for its options. */
terse_option_group terse_rules_group(terse_engine_options *o, terse_option rows[TERSE_KV_OPTIONS]);
/* Every policy with every stop rule (';' between them), or every level of quality (',' between them). Each is
 * checked. Close it in any case. */
terse_status terse_rules_open(terse_rules *r, const terse_engine_options *o, terse_error *err);
void terse_rules_close(terse_rules *r);

#endif
