/* kv/snapshot.h: the tokens of a store as sections of a file. */
#ifndef TERSE_KV_SNAPSHOT_H
#define TERSE_KV_SNAPSHOT_H

#include "base/sections.h"
#include "terse/kv.h"

/* At least one token is held. */
terse_status terse_kv_save(const terse_kv *kv, terse_sections_out *out, terse_error *err);
/* What the store held is gone. The shape and the types must be its own, its ctx large enough. Walks of it must
 * be opened again. On failure it is empty. */
terse_status terse_kv_load(terse_kv *kv, terse_sections_in *in, terse_error *err);

/* What the sections hold, read to their end; sizes are those of the file. */
typedef struct {
    int32_t n_layer, n_head;
    terse_kv_type type_k, type_v;
    int32_t dim_k, dim_v;
    int64_t n_held;
    uint64_t page_bytes;
} terse_kv_saved_info;
terse_status terse_kv_saved(terse_sections_in *in, terse_kv_saved_info *info, terse_error *err);

#endif
