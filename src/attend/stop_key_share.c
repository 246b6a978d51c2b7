/* attend/stop_key_share.c: leaves out channels of keys. A page whose share of the softmax is small need not be
 * scored exactly: what its scores are off by counts by that share. The channels that carry least of the
 * variance of the scores are left out, as many as keep
 *
 *   (share of the page) * (standard deviation of what the scores are off by) <= left    for every head
 *
 * attend/keys.c has the formulas. Not a bound: shares and deviations are estimates. */
#include "attend/stop.h"

const terse_stop terse_stop_key_share = {
    .name = "key-share",
    .help = "leave out channels of keys in pages with small shares of the softmax; no bound",
    .param = { { "left", 0.0005, 0.0, 1.0, NULL } },
    .keys = true,
    .scaled = true,
};
