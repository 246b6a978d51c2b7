/* cli/stats_json.h: what attention read, as JSON. */
#ifndef TERSE_CLI_STATS_JSON_H
#define TERSE_CLI_STATS_JSON_H

#include "terse/attend.h"

#include <jansson.h>

/* Sets root[key], taking value over. A NULL value or root makes *root NULL, a failure that stays. */
void terse_json_put(json_t **root, const char *key, json_t *value);

/* {"bytes":{k, v, summary, dense_kv, kept_kv}, "tokens":{dense, kept}, "pages":{listed, scored, read, alone},
 * "left":{max, mean}} and, where walks were audited, "audit":{n, violations, error:{max, mean, histogram},
 * bound:{histogram}, left_true:{mean}}; what has no bound has "estimate" for it. bins adds the lower edges of
 * the histograms. NULL without memory. */
json_t *terse_json_of_stats(const terse_attend_stats *s, bool bounded, bool bins);

/* The counters of a (layer, KV head); NULL past the last. */
typedef const terse_attend_stats *terse_stats_of(const void *ctx, int32_t layer, int32_t head);
/* [[{as above} for each head] for each layer]. NULL without memory. */
json_t *terse_json_of_heads(terse_stats_of *of, const void *ctx, bool bounded);

#endif
