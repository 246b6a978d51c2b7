/* cli/inspect.c: terse inspect FILE: what is in a GGUF file and whether it can run, for people or as JSON. */
#include "commands.h"
#include "inspect_snapshot.h"
#include "options.h"
#include "terminal.h"
#include "terse/model.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    N_FIRST = 5,       /* elements shown of an array */
    STRING_SHOWN = 60, /* bytes shown of a string, in the listing for people */
    KEY_WIDTH = 44,
    N_TYPE = TERSE_TYPE_COUNT
};

typedef struct {
    bool json, tensors;
} inspect_values;

/* Tensors of one type. */
typedef struct {
    int32_t count;
    uint64_t bytes;
} share;

typedef struct {
    share by_type[N_TYPE];
    uint64_t n_parameter, bytes;
} totals;

static totals totals_of(const terse_gguf *g)
{
    totals t = { 0 };
    for (int32_t i = 0; i < terse_gguf_n_tensor(g); i++) {
        const terse_tensor *x = terse_gguf_tensor(g, i);
        t.by_type[x->type].count++;
        t.by_type[x->type].bytes += x->size;
        t.bytes += x->size;
        t.n_parameter +=
            (uint64_t)(x->ne[0] * x->ne[1] * x->ne[2] * x->ne[3]); /* the reader saw that it fits */
    }
    return t;
}

static uint64_t alignment_of(const terse_gguf *g)
{
    const terse_meta *m = terse_gguf_find_meta(g, "general.alignment");
    return m ? m->v.u : 32;
}

static const char *type_name(terse_meta_type type)
{
    static const char *const names[] = { "u8",   "i8",  "u16",   "i16", "u32", "i32", "f32",
                                         "bool", "str", "array", "u64", "i64", "f64" };
    return names[type];
}

static bool is_float(terse_meta_type type)
{
    return type == TERSE_META_F32 || type == TERSE_META_F64;
}

static bool is_signed(terse_meta_type type)
{
    return type == TERSE_META_I8 || type == TERSE_META_I16 || type == TERSE_META_I32 || type == TERSE_META_I64;
}

/* Element i of a numeric array, as a value of its own. */
static terse_meta element(const terse_meta_array *a, uint64_t i)
{
    terse_meta m = { .type = a->type };
    if (is_float(a->type)) {
        m.v.f = terse_meta_array_f64(a, i);
    } else if (a->type == TERSE_META_U64) {
        memcpy(&m.v.u, a->data + i * sizeof m.v.u, sizeof m.v.u); /* as int64 the largest would be cut */
    } else {
        m.v.i = terse_meta_array_i64(a, i);
    }
    return m;
}

/* Quoted, escaped, at most `most` bytes of it. */
static void print_string(terse_str s, size_t most)
{
    size_t n = s.n, start = 0;
    if (n > most)
        for (n = most; n > most - 3 && ((uint8_t)s.p[n] & 0xc0) == 0x80;)
            n--; /* not in the middle of a character */
    putchar('"');
    for (size_t i = 0; i <= n; i++) {
        const char c = i < n ? s.p[i] : '"';
        if (i < n && c != '\n' && c != '\t' && c != '"' && c != '\\')
            continue;
        terse_terminal_write(stdout, s.p + start, i - start);
        start = i + 1;
        if (i < n)
            printf("\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : c);
    }
    putchar('"');
    if (n < s.n)
        printf("... (%zu bytes)", s.n);
}

static void print_scalar(const terse_meta *m)
{
    if (m->type == TERSE_META_STR)
        print_string(m->v.s, STRING_SHOWN);
    else if (m->type == TERSE_META_BOOL)
        fputs(m->v.u ? "true" : "false", stdout);
    else if (is_float(m->type))
        printf("%.*g", m->type == TERSE_META_F32 ? 7 : 15, m->v.f);
    else if (is_signed(m->type))
        printf("%" PRId64, m->v.i);
    else
        printf("%" PRIu64, m->v.u);
}

static void print_array(terse_meta_array a)
{
    const uint64_t n = a.n;
    putchar('[');
    for (uint64_t i = 0; i < n && i < N_FIRST; i++) {
        terse_meta m;
        if (a.type != TERSE_META_STR)
            m = element(&a, i);
        else if (m.type = TERSE_META_STR, !terse_meta_array_next_str(&a, &m.v.s))
            break;
        if (i)
            fputs(", ", stdout);
        print_scalar(&m);
    }
    puts(n > N_FIRST ? ", ...]" : "]");
}

static void print_bytes(uint64_t n)
{
    static const char *const unit[] = { "KiB", "MiB", "GiB", "TiB" };
    double x = (double)n / 1024.0;
    int u = 0;
    for (; x >= 1024.0 && u < 3; u++)
        x /= 1024.0;
    printf("%" PRIu64 " bytes", n);
    if (n >= 1024)
        printf(" (%.1f %s)", x, unit[u]);
}

static void print_name(terse_str name, size_t width)
{
    fputs("  ", stdout);
    terse_terminal_write(stdout, name.p, name.n < 256 ? name.n : 256);
    printf("%*s", name.n < width ? (int)(width - name.n) : 0, "");
}

static void print_metadata(const terse_gguf *g)
{
    printf("\nmetadata (%d)\n", terse_gguf_n_meta(g));
    for (int32_t i = 0; i < terse_gguf_n_meta(g); i++) {
        const terse_meta *m = terse_gguf_meta(g, i);
        char type[32];
        print_name(m->key, KEY_WIDTH);
        if (m->type == TERSE_META_ARRAY)
            snprintf(type, sizeof type, "%s[%" PRIu64 "]", type_name(m->v.a.type), m->v.a.n);
        else
            snprintf(type, sizeof type, "%s", type_name(m->type));
        printf(" %-12s ", type);
        if (m->type == TERSE_META_ARRAY) {
            print_array(m->v.a);
        } else {
            print_scalar(m);
            putchar('\n');
        }
    }
}

static void print_tensors(const terse_gguf *g)
{
    size_t width = 4;
    for (int32_t i = 0; i < terse_gguf_n_tensor(g); i++) {
        const size_t n = terse_gguf_tensor(g, i)->name.n;
        width = n > width ? n : width;
    }
    printf("\ntensors\n  %-*s %-8s %-24s %14s %14s\n", (int)width, "name", "type", "shape", "offset", "bytes");
    for (int32_t i = 0; i < terse_gguf_n_tensor(g); i++) {
        const terse_tensor *t = terse_gguf_tensor(g, i);
        char shape[TERSE_MAX_DIMS * 24];
        int n = 0;
        for (int32_t d = 0; d < t->n_dim; d++)
            n += snprintf(shape + n, sizeof shape - (size_t)n, "%s%" PRId64, d ? " x " : "", t->ne[d]);
        print_name(t->name, width);
        printf(" %-8s %-24s %14" PRIu64 " %14zu\n", terse_type_of(t->type)->name, shape, t->offset, t->size);
    }
}

static void print_support(const terse_gguf *g)
{
    terse_support items[TERSE_SUPPORT_N];
    printf("\nruns       %s\n", terse_model_support(g, items) ? "yes" : "no");
    for (int32_t i = 0; i < TERSE_SUPPORT_N; i++) {
        printf("  %-12s  %-4s ", terse_support_name(i), items[i].ok ? "yes" : items[i].checked ? "NO" : "-");
        terse_terminal_write(stdout, items[i].text, strlen(items[i].text));
        putchar('\n');
    }
}

static void print_parts(const terse_gguf *g)
{
    for (int32_t i = 0; terse_gguf_n_part(g) > 1 && i < terse_gguf_n_part(g); i++) {
        const char *path = terse_gguf_part_path(g, i);
        printf("part %-5d ", i + 1);
        terse_terminal_write(stdout, path, strlen(path));
        putchar('\n');
    }
}

static void print_all(const terse_gguf *g, bool tensors)
{
    const totals t = totals_of(g);
    const char *path = terse_gguf_path(g);
    uint8_t hash[16];
    terse_gguf_hash(g, hash);
    fputs("file       ", stdout);
    terse_terminal_write(stdout, path, strlen(path));
    printf("\nversion    %u\nsize       ", terse_gguf_version(g));
    print_bytes(terse_gguf_size(g));
    printf("\nalignment  %" PRIu64 "\nhash       ", alignment_of(g));
    for (int i = 0; i < 16; i++)
        printf("%02x", hash[i]);
    putchar('\n');
    print_parts(g);
    print_support(g);
    print_metadata(g);
    printf("\ntensor types\n");
    for (int i = 0; i < N_TYPE; i++) {
        if (!t.by_type[i].count)
            continue;
        printf("  %-8s %6d   ", terse_type_of((uint32_t)i)->name, t.by_type[i].count);
        print_bytes(t.by_type[i].bytes);
        putchar('\n');
    }
    printf("  total    %6d   ", terse_gguf_n_tensor(g));
    print_bytes(t.bytes);
    printf("\n  %" PRIu64 " parameters\n", t.n_parameter);
    if (tensors)
        print_tensors(g);
}

/* JSON strings are UTF-8; bytes of a file that are not become \xNN. */
static json_t *json_of_string(terse_str s)
{
    json_t *j = json_stringn(s.p, s.n);
    if (j)
        return j;
    char *text = NULL;
    size_t n = 0;
    FILE *f = open_memstream(&text, &n);
    if (!f)
        return NULL;
    terse_terminal_write(f, s.p, s.n);
    if (fclose(f) == 0)
        j = json_stringn(text, n);
    free(text);
    return j;
}

/* JSON has no NaN and no infinity, and many readers keep integers in 64 bits with sign: those become strings.
 */
static json_t *json_of_scalar(const terse_meta *m)
{
    if (m->type == TERSE_META_STR)
        return json_of_string(m->v.s);
    if (m->type == TERSE_META_BOOL)
        return json_boolean(m->v.u);
    if (is_float(m->type))
        return isfinite(m->v.f) ? json_real(m->v.f) : json_sprintf("%g", m->v.f);
    if (is_signed(m->type))
        return json_integer(m->v.i);
    return m->v.u <= INT64_MAX ? json_integer((json_int_t)m->v.u) : json_sprintf("%" PRIu64, m->v.u);
}

/* Adds to an object or, with key NULL, to an array. One failure (no memory) is remembered in *ok. */
static void put(json_t *to, terse_str key, json_t *value, bool *ok)
{
    char *name = key.p ? strndup(key.p, key.n) : NULL;
    const int rc = !key.p ? json_array_append_new(to, value) : name ? json_object_set_new(to, name, value) : -1;
    if (key.p && !name)
        json_decref(value);
    free(name);
    *ok &= rc == 0;
}

static void put_at(json_t *to, const char *key, json_t *value, bool *ok)
{
    put(to, (terse_str){ key, strlen(key) }, value, ok);
}

static const terse_str no_key = { NULL, 0 };

static json_t *json_of_array(terse_meta_array a, bool *ok)
{
    json_t *o = json_object(), *first = json_array();
    const uint64_t n = a.n;
    put_at(o, "type", json_string(type_name(a.type)), ok);
    put_at(o, "n", json_integer((json_int_t)n), ok);
    for (uint64_t i = 0; i < n && i < N_FIRST; i++) {
        terse_meta m;
        if (a.type != TERSE_META_STR)
            m = element(&a, i);
        else if (m.type = TERSE_META_STR, !terse_meta_array_next_str(&a, &m.v.s))
            break;
        put(first, no_key, json_of_scalar(&m), ok);
    }
    put_at(o, "first", first, ok);
    return o;
}

static json_t *json_of_tensor(const terse_tensor *t, bool *ok)
{
    json_t *o = json_object(), *shape = json_array();
    for (int32_t d = 0; d < t->n_dim; d++)
        put(shape, no_key, json_integer(t->ne[d]), ok);
    put_at(o, "name", json_of_string(t->name), ok);
    put_at(o, "type", json_string(terse_type_of(t->type)->name), ok);
    put_at(o, "shape", shape, ok);
    put_at(o, "part", json_integer(t->part), ok);
    put_at(o, "offset", json_integer((json_int_t)t->offset), ok);
    put_at(o, "bytes", json_integer((json_int_t)t->size), ok);
    return o;
}

static void put_types(json_t *root, const totals *t, bool *ok)
{
    json_t *types = json_object();
    for (int i = 0; i < N_TYPE; i++) {
        if (!t->by_type[i].count)
            continue;
        json_t *one = json_object();
        put_at(one, "count", json_integer(t->by_type[i].count), ok);
        put_at(one, "bytes", json_integer((json_int_t)t->by_type[i].bytes), ok);
        put_at(types, terse_type_of((uint32_t)i)->name, one, ok);
    }
    put_at(root, "types", types, ok);
    put_at(root, "n_parameter", json_integer((json_int_t)t->n_parameter), ok);
    put_at(root, "tensor_bytes", json_integer((json_int_t)t->bytes), ok);
}

static void put_support(json_t *root, const terse_gguf *g, bool *ok)
{
    terse_support items[TERSE_SUPPORT_N];
    json_t *support = json_object();
    put_at(root, "runs", json_boolean(terse_model_support(g, items)), ok);
    for (int32_t i = 0; i < TERSE_SUPPORT_N; i++) {
        json_t *o = json_object();
        put_at(o, "ok", items[i].checked ? json_boolean(items[i].ok) : json_null(), ok);
        put_at(o, "text", json_of_string((terse_str){ items[i].text, strlen(items[i].text) }), ok);
        put_at(support, terse_support_name(i), o, ok);
    }
    put_at(root, "support", support, ok);
}

static void put_parts(json_t *root, const terse_gguf *g, bool *ok)
{
    json_t *parts = json_array();
    for (int32_t i = 0; i < terse_gguf_n_part(g); i++) {
        const char *path = terse_gguf_part_path(g, i);
        put(parts, no_key, json_of_string((terse_str){ path, strlen(path) }), ok);
    }
    put_at(root, "parts", parts, ok);
}

/* NULL without memory. */
static json_t *json_of_file(const terse_gguf *g)
{
    bool ok = true;
    const totals t = totals_of(g);
    const char *path = terse_gguf_path(g);
    json_t *root = json_object(), *meta = json_object(), *tensors = json_array();
    uint8_t hash[16];
    char hex[33];
    terse_gguf_hash(g, hash);
    for (int i = 0; i < 16; i++)
        snprintf(hex + 2 * i, 3, "%02x", hash[i]);
    put_at(root, "file", json_of_string((terse_str){ path, strlen(path) }), &ok);
    put_at(root, "version", json_integer(terse_gguf_version(g)), &ok);
    put_at(root, "size", json_integer((json_int_t)terse_gguf_size(g)), &ok);
    put_at(root, "alignment", json_integer((json_int_t)alignment_of(g)), &ok);
    put_at(root, "data_offset", json_integer((json_int_t)terse_gguf_data_offset(g)), &ok);
    put_at(root, "hash", json_string(hex), &ok);
    put_parts(root, g, &ok);
    put_support(root, g, &ok);
    for (int32_t i = 0; i < terse_gguf_n_meta(g); i++) {
        const terse_meta *m = terse_gguf_meta(g, i);
        put(meta, m->key, m->type == TERSE_META_ARRAY ? json_of_array(m->v.a, &ok) : json_of_scalar(m), &ok);
    }
    put_at(root, "metadata", meta, &ok);
    put_types(root, &t, &ok);
    for (int32_t i = 0; i < terse_gguf_n_tensor(g); i++)
        put(tensors, no_key, json_of_tensor(terse_gguf_tensor(g, i), &ok), &ok);
    put_at(root, "tensors", tensors, &ok);
    if (ok)
        return root;
    json_decref(root);
    return NULL;
}

static terse_status inspect(const terse_gguf *g, const inspect_values *o, terse_error *err)
{
    if (o->json) {
        json_t *root = json_of_file(g);
        if (!root)
            return terse_fail(err, TERSE_NOMEM, "no memory for the JSON");
        /* ASCII: no control character of the file, not even one beyond ASCII, reaches a terminal. A failed
         * write shows in ferror. */
        json_dumpf(root, stdout, JSON_INDENT(2) | JSON_ENSURE_ASCII);
        putchar('\n');
        json_decref(root);
    } else {
        print_all(g, o->tensors);
    }
    if (terse_gguf_broken(g))
        return terse_fail(err, TERSE_IO, "%.200s: truncated while it was read", terse_gguf_path(g));
    return TERSE_OK;
}

int terse_cmd_inspect(int argc, char **argv)
{
    static const terse_option options[] = {
        { "--json", TERSE_OPTION_ON, offsetof(inspect_values, json),
          .help = "one JSON object with everything" },
        { "--tensors", TERSE_OPTION_ON, offsetof(inspect_values, tensors), .help = "list the tensors too" },
    };
    inspect_values values = { 0 };
    const terse_option_group group = { "output", options, sizeof options / sizeof *options, &values };
    const terse_options accepted = {
        "inspect FILE [--json] [--tensors]",
        "Shows whether a GGUF file can run, what is missing if not, and what is in it: metadata, "
        "tensor types, totals. Of a snapshot (run --prompt-cache): what it holds.",
        &group, 1, 1
    };
    const int code = terse_options_parse(&accepted, &argc, argv);
    if (code != TERSE_GO_ON)
        return code;
    if (argc != 2) {
        terse_complain("inspect: which file? terse inspect --help says more");
        return 2;
    }
    terse_gguf *g = NULL;
    terse_error err;
    const bool snapshot = terse_is_snapshot(argv[1]);
    terse_status st =
        snapshot ? terse_inspect_snapshot(argv[1], values.json, &err) : terse_gguf_open(&g, argv[1], &err);
    if (st == TERSE_OK && !snapshot)
        st = inspect(g, &values, &err);
    terse_gguf_close(&g);
    if (st != TERSE_OK)
        return terse_complain_error(&err);
    return fflush(stdout) != 0 || ferror(stdout) ? 74 : 0; /* main says why */
}
