/* attend/policy_oracle.c: the ceiling of every policy that chooses pages: those with the largest true share of
 * the softmax, which costs reading all keys unseen and uncounted. */
#include "attend/policy.h"

const terse_policy terse_policy_oracle = {
    .name = "oracle",
    .help = "keep every token, read the pages with the largest true share: the ceiling, for comparisons",
    .param = { { "keep", 0.2, 0, 1, NULL }, { "budget", 0, 0, 1 << 24, NULL } },
    .select = TERSE_ORDER_ORACLE,
};
