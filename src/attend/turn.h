/* attend/turn.h: rotary positions (Su et al. 2021). */
#ifndef TERSE_ATTEND_TURN_H
#define TERSE_ATTEND_TURN_H

#include "attend/walk.h"

/* cs[n] = cosine and sine, times magnitude, of the angles pos * freq[n / 2], laid out for the kernel of the
 * kind (simd/vec.h). In double with SLEEF's portable functions: the same bits on every machine. */
void terse_turn_angles(float *cs, const double *freq, int32_t n, bool halves, int32_t pos, double magnitude);

/* The queries q[n_row][dim_k] of the newest token of the view, which has n_token tokens before and with it, as
 * older tokens are to meet them, prepared into row i of w->turned. False: they meet them as they are. */
bool terse_walk_turn(terse_walk *w, int32_t layer, const terse_kv_view *view, int32_t n_token, float scale,
                     const float *q, int32_t i);

#endif
