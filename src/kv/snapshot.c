/* kv/snapshot.c: a store's tokens in a file. Pages are written as they lie in memory, in the order of the
 * tables; nothing in a file is trusted: shape, counts and positions are checked before they are used. */
#include "kv/snapshot.h"

#include "kv/store.h"

#include <string.h>

enum { HEAD = TERSE_KIND('K', 'V', 'H', 'D'), GONE = TERSE_KIND('G', 'O', 'N', 'E') };
enum { SLOTS = TERSE_KIND('S', 'L', 'O', 'T'), POSITIONS = TERSE_KIND('P', 'O', 'S', 'N') };
enum { RADII = TERSE_KIND('R', 'A', 'D', 'I'), MARKS = TERSE_KIND('M', 'A', 'R', 'K') };
enum { PAGES = TERSE_KIND('P', 'A', 'G', 'E') };

/* The order of values in a page changes with the layout's number. */
enum { LAYOUT = 1 };

typedef struct {
    int32_t layout, page, n_layer, n_head, dim_k, dim_v, type_k, type_v;
    int32_t n_token, n_ring, window, recent, n_block, marks, reserved[2];
} kv_head;

static size_t units(const terse_kv *kv)
{
    return (size_t)kv->opts.n_layer * (size_t)kv->opts.n_head;
}

static kv_head head_of(const terse_kv *kv)
{
    return (kv_head){ .layout = LAYOUT,
                      .page = TERSE_PAGE,
                      .n_layer = kv->opts.n_layer,
                      .n_head = kv->opts.n_head,
                      .dim_k = kv->opts.dim_k,
                      .dim_v = kv->opts.dim_v,
                      .type_k = (int32_t)kv->type_k,
                      .type_v = (int32_t)kv->type_v,
                      .n_token = kv->n_token,
                      .n_ring = kv->n_ring,
                      .window = kv->window,
                      .recent = kv->recent,
                      .n_block = kv->n_block,
                      .marks = kv->mark != NULL };
}

/* ---- writing ---- */

typedef struct {
    const terse_kv *kv;
    terse_sections_out *out;
    terse_error *err;
    terse_status st;
} saving;

static void save_radius(void *ctx, size_t at)
{
    saving *s = ctx;
    if (s->st == TERSE_OK)
        s->st = terse_section_put(s->out, &s->kv->radius[at], sizeof *s->kv->radius, s->err);
}

static void save_page(void *ctx, size_t at)
{
    saving *s = ctx;
    if (s->st == TERSE_OK)
        s->st =
            terse_section_put(s->out, terse_kv_block(s->kv, s->kv->table[at]), s->kv->pool->page_size, s->err);
}

/* Slots of every (layer, head), and the positions of their tokens. */
static terse_status save_slots(const terse_kv *kv, terse_sections_out *out, terse_error *err)
{
    uint64_t n = 0;
    for (size_t u = 0; u < units(kv); u++)
        n += (uint64_t)kv->n_long[u];
    terse_status st = terse_section_write(out, SLOTS, kv->n_long, units(kv) * sizeof *kv->n_long, err);
    if (st == TERSE_OK)
        st = terse_section_begin(out, POSITIONS, n * sizeof *kv->pos, err);
    for (size_t u = 0; u < units(kv) && st == TERSE_OK; u++)
        st = terse_section_put(out, terse_kv_positions(kv, u), (size_t)kv->n_long[u] * sizeof *kv->pos, err);
    return st;
}

terse_status terse_kv_save(const terse_kv *kv, terse_sections_out *out, terse_error *err)
{
    const kv_head head = head_of(kv);
    saving s = { kv, out, err, TERSE_OK };
    const uint64_t n = (uint64_t)terse_kv_pages_held(kv);
    terse_status st = terse_section_write(out, HEAD, &head, sizeof head, err);
    if (st == TERSE_OK)
        st = terse_section_write(out, GONE, kv->n_gone,
                                 kv->n_gone ? (size_t)kv->opts.n_layer * sizeof *kv->n_gone : 0, err);
    if (st == TERSE_OK && kv->n_ring)
        st = save_slots(kv, out, err);
    if (st == TERSE_OK && kv->mark)
        st = terse_section_begin(out, MARKS, units(kv) * (size_t)kv->n_token * sizeof *kv->mark, err);
    for (size_t u = 0; u < units(kv) && kv->mark && st == TERSE_OK; u++)
        st = terse_section_put(out, terse_kv_mark(kv, u, 0), (size_t)kv->n_token * sizeof *kv->mark, err);
    if (st == TERSE_OK)
        st = terse_section_begin(out, RADII, n * sizeof *kv->radius, err);
    s.st = st;
    terse_kv_each_page(kv, save_radius, &s);
    if (s.st == TERSE_OK)
        s.st = terse_section_begin(out, PAGES, n * kv->pool->page_size, err);
    terse_kv_each_page(kv, save_page, &s);
    return s.st;
}

/* ---- reading ---- */

static terse_status unlike(const terse_sections_in *in, const char *what, int32_t its, int32_t own,
                           terse_error *err)
{
    return terse_fail(err, TERSE_BAD_INPUT, "%s was saved with %s %d, here it is %d", in->path, what, its, own);
}

static terse_status check_shape(const terse_kv *kv, const terse_sections_in *in, const kv_head *h,
                                terse_error *err)
{
    const kv_head own = head_of(kv);
    const struct {
        const char *name;
        int32_t its, own;
    } same[] = {
        { "page layout", h->layout, own.layout },        { "a page size of", h->page, own.page },
        { "a layer count of", h->n_layer, own.n_layer }, { "a KV head count of", h->n_head, own.n_head },
        { "a key width of", h->dim_k, own.dim_k },       { "a value width of", h->dim_v, own.dim_v }
    };
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        if (same[i].its != same[i].own)
            return unlike(in, same[i].name, same[i].its, same[i].own, err);
    if (h->type_k != own.type_k || h->type_v != own.type_v)
        return terse_fail(err, TERSE_BAD_INPUT,
                          "%s was saved with other cache types: give them by -ctk and -ctv", in->path);
    if (h->n_token < 1 || h->n_token > kv->opts.ctx)
        return terse_fail(err, TERSE_BAD_INPUT, "%s holds %d tokens, the context %d: use a larger one (-c)",
                          in->path, h->n_token, kv->opts.ctx);
    return TERSE_OK;
}

static terse_status wrong(const terse_sections_in *in, const char *what, terse_error *err)
{
    return terse_fail(err, TERSE_BAD_INPUT, "%s: %s: delete the file and make it again", in->path, what);
}

/* Recent pages must hold what the next token sees of them, and no more of them than there are places. */
static bool sound(const kv_head *h, const terse_kv *kv)
{
    if (h->n_ring == 0)
        return h->window == 0 && h->recent == 0 && h->n_block == 0;
    const int32_t first = h->recent / TERSE_PAGE,
                  end = h->recent < h->n_token ? terse_kv_pages_of(h->n_token) : first;
    return !kv->opts.span && h->n_ring > 0 && h->window >= 1 && h->recent >= 0 && h->recent <= h->n_token &&
           h->n_block == end && end - first <= h->n_ring && h->n_ring <= kv->cap + (1 << 20);
}

static terse_status load_gone(terse_kv *kv, terse_sections_in *in, const kv_head *h, terse_error *err)
{
    const void *data;
    const size_t n = kv->n_gone ? (size_t)kv->opts.n_layer : 0;
    const terse_status st = terse_section_read(in, GONE, n * sizeof(int32_t), &data, err);
    const int32_t *gone = data;
    for (size_t l = 0; l < n && st == TERSE_OK; l++) {
        const int32_t span = kv->opts.span[l], seen = span && span <= h->n_token ? h->n_token + 1 - span : 0;
        if (gone[l] < 0 || gone[l] > seen / TERSE_PAGE)
            return wrong(in, "pages are missing", err);
        kv->n_gone[l] = gone[l];
    }
    return st;
}

static terse_status load_slots(terse_kv *kv, terse_sections_in *in, const kv_head *h, terse_error *err)
{
    const void *data;
    terse_status st = terse_section_read(in, SLOTS, units(kv) * sizeof(int32_t), &data, err);
    if (st != TERSE_OK)
        return st;
    const int32_t *n_long = data;
    uint64_t n = 0;
    for (size_t u = 0; u < units(kv); u++) {
        if (n_long[u] < 0 || n_long[u] > h->n_token)
            return wrong(in, "a KV head holds more tokens than there are", err);
        n += (uint64_t)n_long[u];
    }
    if ((st = terse_section_read(in, POSITIONS, n * sizeof(int32_t), &data, err)) != TERSE_OK)
        return st;
    const int32_t *pos = data;
    for (uint64_t i = 0; i < n; i++)
        if (pos[i] < 0 || pos[i] >= h->n_token)
            return wrong(in, "a token has a position behind the last one", err);
    for (size_t u = 0; u < units(kv); pos += n_long[u++]) {
        kv->n_long[u] = n_long[u];
        kv->n_long_page[u] = terse_kv_pages_of(n_long[u]);
        memcpy((int32_t *)terse_kv_positions(kv, u), pos, (size_t)n_long[u] * sizeof *pos);
    }
    return TERSE_OK;
}

static terse_status load_marks(terse_kv *kv, terse_sections_in *in, const kv_head *h, terse_error *err)
{
    const void *data;
    if (!h->marks)
        return TERSE_OK;
    const size_t row = (size_t)h->n_token * sizeof *kv->mark;
    const terse_status st = terse_section_read(in, MARKS, units(kv) * row, &data, err);
    for (size_t u = 0; u < units(kv) && kv->mark && st == TERSE_OK; u++)
        memcpy(terse_kv_mark(kv, u, 0), (const char *)data + u * row, row);
    return st;
}

typedef struct {
    terse_kv *kv;
    const float *radius;
    const char *page;
} loading;

static void load_page(void *ctx, size_t at)
{
    loading *l = ctx;
    l->kv->table[at] = terse_kv_take(l->kv);
    l->kv->radius[at] = *l->radius++;
    memcpy(terse_kv_block(l->kv, l->kv->table[at]), l->page, l->kv->pool->page_size);
    l->page += l->kv->pool->page_size;
}

/* The counts are those of the file by now, the tables are empty. */
static terse_status load_pages(terse_kv *kv, terse_sections_in *in, terse_error *err)
{
    const int64_t n = terse_kv_pages_held(kv);
    const void *radius, *page;
    terse_status st = terse_section_read(in, RADII, (uint64_t)n * sizeof *kv->radius, &radius, err);
    if (st == TERSE_OK)
        st = terse_section_read(in, PAGES, (uint64_t)n * kv->pool->page_size, &page, err);
    if (st == TERSE_OK)
        st = terse_kv_grow(kv, n, err);
    if (st != TERSE_OK)
        return st;
    loading l = { kv, radius, page };
    terse_kv_each_page(kv, load_page, &l);
    return TERSE_OK;
}

/* No pages: what a store that was not loaded after all has. */
static void empty(terse_kv *kv)
{
    kv->n_token = kv->n_page = kv->recent = kv->n_block = 0;
    for (size_t u = 0; kv->n_ring && u < units(kv); u++)
        kv->n_long[u] = kv->n_long_page[u] = 0;
    for (int32_t l = 0; kv->n_gone && l < kv->opts.n_layer; l++)
        kv->n_gone[l] = 0;
}

terse_status terse_kv_load(terse_kv *kv, terse_sections_in *in, terse_error *err)
{
    const void *data;
    terse_kv_truncate(kv, 0);
    terse_status st = terse_section_read(in, HEAD, sizeof(kv_head), &data, err);
    const kv_head *h = data;
    if (st == TERSE_OK && (st = check_shape(kv, in, h, err)) == TERSE_OK && !sound(h, kv))
        st = wrong(in, "its pages do not fit together", err);
    if (st == TERSE_OK)
        st = terse_kv_shape(kv, h->n_ring, err);
    if (st != TERSE_OK)
        return st;
    st = load_gone(kv, in, h, err);
    if (st == TERSE_OK && h->n_ring)
        st = load_slots(kv, in, h, err);
    if (st == TERSE_OK)
        st = load_marks(kv, in, h, err);
    kv->n_token = h->n_token;
    kv->n_page = h->n_ring ? 0 : terse_kv_pages_of(h->n_token);
    kv->window = h->window < kv->opts.ctx ? h->window : kv->opts.ctx;
    kv->recent = h->recent;
    kv->n_block = h->n_block;
    if (st == TERSE_OK)
        st = load_pages(kv, in, err);
    if (st != TERSE_OK) {
        empty(kv);
        return st;
    }
    /* Steps may be longer here than where it was saved. */
    if (kv->n_ring && (st = terse_kv_ragged(kv, kv->window, err)) != TERSE_OK)
        terse_kv_truncate(kv, 0);
    return st;
}

/* ---- without a store ---- */

static terse_kv_type public_type(int32_t type)
{
    for (int t = TERSE_KV_F32; t <= TERSE_KV_Q4; t++)
        if ((int32_t)terse_kv_page_type((terse_kv_type)t) == type)
            return (terse_kv_type)t;
    return TERSE_KV_DEFAULT;
}

terse_status terse_kv_saved(terse_sections_in *in, terse_kv_saved_info *info, terse_error *err)
{
    const void *data;
    uint64_t size;
    terse_status st = terse_section_read(in, HEAD, sizeof(kv_head), &data, err);
    if (st != TERSE_OK)
        return st;
    const kv_head *h = data;
    *info = (terse_kv_saved_info){
        h->n_layer, h->n_head, public_type(h->type_k), public_type(h->type_v), h->dim_k, h->dim_v, 0, 0
    };
    const int64_t unit = (int64_t)h->n_layer * h->n_head;
    if (h->n_layer < 1 || h->n_head < 1 || unit > 1 << 24 || h->n_token < 1 ||
        info->type_k == TERSE_KV_DEFAULT || info->type_v == TERSE_KV_DEFAULT)
        return wrong(in, "its shape is none", err);
    if (h->n_ring < 0 || (h->n_ring && (h->window < 1 || h->recent < 0 || h->recent > h->n_token)))
        return wrong(in, "its pages do not fit together", err);
    if ((st = terse_section_any(in, GONE, &data, &size, err)) != TERSE_OK)
        return st;
    const int32_t from = h->n_ring ? h->n_token - h->window : 0;
    info->n_held = unit * (h->n_ring ? h->n_token - (from > h->recent ? from : h->recent) : h->n_token);
    if (h->n_ring) {
        if ((st = terse_section_read(in, SLOTS, (uint64_t)unit * sizeof(int32_t), &data, err)) != TERSE_OK)
            return st;
        for (int64_t u = 0; u < unit; u++)
            info->n_held += ((const int32_t *)data)[u];
        if ((st = terse_section_any(in, POSITIONS, &data, &size, err)) != TERSE_OK)
            return st;
    }
    if (h->marks && (st = terse_section_any(in, MARKS, &data, &size, err)) != TERSE_OK)
        return st;
    if ((st = terse_section_any(in, RADII, &data, &size, err)) != TERSE_OK)
        return st;
    return terse_section_any(in, PAGES, &data, &info->page_bytes, err);
}
