/* cli/inspect_snapshot.c: what a snapshot of a session holds. */
#include "inspect_snapshot.h"

#include "terse/session.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum { MAGIC = 4 };

bool terse_is_snapshot(const char *path)
{
    char head[MAGIC] = { 0 };
    FILE *f = fopen(path, "rb");
    const bool read = f && fread(head, 1, MAGIC, f) == MAGIC;
    if (f)
        fclose(f);
    return read && memcmp(head, "TSNP", MAGIC) == 0;
}

static void print_text(const terse_snapshot_info *i)
{
    const double share = (double)i->n_held / ((double)i->n_token * i->n_layer * i->n_head);
    printf("snapshot of a session\n");
    printf("  tokens   %d\n", i->n_token);
    printf("  held     %.1f %% of them in each of %d layers with %d KV heads, on average\n", 100.0 * share,
           i->n_layer, i->n_head);
    printf("  keys     %s, %d channels\n", terse_kv_type_name(i->type_k), i->dim_k);
    printf("  values   %s, %d channels\n", terse_kv_type_name(i->type_v), i->dim_v);
    printf("  pages    %.1f MiB\n", (double)i->page_bytes / 0x1p20);
    printf("  model    ");
    for (int k = 0; k < 16; k++)
        printf("%02x", i->model[k]);
    printf("\n");
}

static terse_status print_json(const terse_snapshot_info *i, terse_error *err)
{
    char model[33];
    for (int k = 0; k < 16; k++)
        snprintf(model + 2 * k, 3, "%02x", i->model[k]);
    json_t *root =
        json_pack("{s:s, s:i, s:I, s:i, s:i, s:s, s:s, s:i, s:i, s:I, s:s}", "kind", "snapshot", "tokens",
                  i->n_token, "held", (json_int_t)i->n_held, "layers", i->n_layer, "kv_heads", i->n_head,
                  "type_k", terse_kv_type_name(i->type_k), "type_v", terse_kv_type_name(i->type_v), "dim_k",
                  i->dim_k, "dim_v", i->dim_v, "page_bytes", (json_int_t)i->page_bytes, "model", model);
    if (!root)
        return terse_fail(err, TERSE_NOMEM, "no memory for JSON");
    json_dumpf(root, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(root);
    return TERSE_OK;
}

terse_status terse_inspect_snapshot(const char *path, bool json, terse_error *err)
{
    terse_snapshot_info info;
    const terse_status st = terse_snapshot_about(path, &info, err);
    if (st == TERSE_OK && json)
        return print_json(&info, err);
    if (st == TERSE_OK)
        print_text(&info);
    return st;
}
