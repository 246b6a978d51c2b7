/* attend/policy_quest.c: Quest (arXiv 2406.10774): every query reads the pages whose keys could score highest,
 * by boxes of their keys, and no others. Nothing is dropped. */
#include "attend/policy.h"

const terse_policy terse_policy_quest = {
    .name = "quest",
    .help = "keep every token, read the pages whose keys could score highest (Quest)",
    .param = { { "keep", 0.2, 0, 1, NULL }, { "budget", 0, 0, 1 << 24, NULL } },
    .select = TERSE_ORDER_BOX,
};
