/* attend/turn.c: queries at other positions. StreamingLLM turns the i-th key that is left by i and the query by
 * the number of them less one. All but the first few keys follow one another in the text as well, so that only
 * the distance from the query to these differs from the one in the text: it is shorter by the number of tokens
 * that are gone. The query turned back by as many positions meets them at the paper's distance. Keys stay as
 * they were stored: nothing is rounded twice, whatever their type. */
#include "attend/turn.h"
#include "attend/policy.h"

#include <sleef.h>
#include <string.h>

void terse_turn_angles(float *cs, const double *freq, int32_t n, bool halves, int32_t pos, double magnitude)
{
    const int32_t half = n / 2, step = halves ? 1 : 2, sine = halves ? half : 1;
    for (int32_t i = 0; i < half; i++) {
        const Sleef_double_2 sc = Sleef_cinz_sincosd1_u10purec(pos * freq[i]);
        cs[step * i] = (float)(sc.y * magnitude);
        cs[step * i + sine] = (float)(sc.x * magnitude);
    }
}

bool terse_walk_turn(terse_walk *w, int32_t layer, const terse_kv_view *view, int32_t n_token, float scale,
                     const float *q, int32_t i)
{
    const terse_kv *kv = w->kv;
    const int32_t dim = kv->opts.dim_k, gone = n_token - view->n_long - (view->to - view->from);
    const terse_attend_layer *y = w->turned ? &w->attend->layer[layer] : NULL;
    const bool moved = gone > 0 && view->n_long > 0;
    float cs[TERSE_KV_DIM];
    if (!y || !y->freq)
        return false;
    memcpy(w->turning, q, (size_t)w->n_row * (size_t)dim * sizeof *q);
    if (moved)
        terse_turn_angles(cs, y->freq, y->n_turn, y->halves, -gone, 1.0);
    for (int32_t r = 0; r < w->n_row && moved; r++)
        w->rope[y->halves](w->turning + r * dim, cs, y->n_turn);
    terse_query_prepare(kv->type_k,
                        w->turned + (size_t)i * (size_t)w->n_row * terse_query_size(kv->type_k, dim),
                        w->turning, w->n_row, dim, scale);
    return moved;
}
