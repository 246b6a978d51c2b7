/* attend/policy_dense.c: every token stays. */
#include "attend/policy.h"

const char *const terse_orders[] = { "auto", "newest", "oldest", "mass", "box", "random", "oracle", NULL };

const terse_policy terse_policy_dense = { .name = "dense",
                                          .help =
                                              "keep every token; order=newest, oldest, mass, box, random or "
                                              "oracle says how pages are walked",
                                          .param = { { "order", 0, 0, 6, terse_orders } } };
