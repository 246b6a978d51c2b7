/* text/jinja_json.c: JSON in, by jansson, and out, as Python's json.dumps. */
#include "text/jinja.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>

static terse_val from_json(terse_jinja *j, json_t *json);

static terse_val from_object(terse_jinja *j, json_t *json)
{
    terse_dict *d = terse_dict_make(j, json_object_size(json));
    const char *key;
    json_t *value;
    json_object_foreach(json, key, value)
    {
        const terse_val k = terse_copy_string(j, (terse_str){ key, strlen(key) });
        const terse_val v = from_json(j, value);
        if (!terse_jinja_ok(j))
            break;
        d->keys[d->n] = k; /* they differ: jansson keeps the last of equal ones */
        d->values[d->n++] = v;
    }
    return (terse_val){ .kind = TERSE_VAL_DICT, .u.dict = d };
}

static terse_val from_array(terse_jinja *j, json_t *json)
{
    terse_seq *s = terse_seq_make(j, TERSE_SEQ_LIST, json_array_size(json));
    for (uint32_t i = 0; s && i < s->n && terse_jinja_ok(j); i++)
        s->v[i] = from_json(j, json_array_get(json, i));
    return terse_seq_val(s);
}

static terse_val from_json(terse_jinja *j, json_t *json)
{
    terse_val v = terse_none();
    if (!terse_jinja_enter(j)) {
        j->depth--;
        return v;
    }
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        v = from_object(j, json);
        break;
    case JSON_ARRAY:
        v = from_array(j, json);
        break;
    case JSON_STRING:
        v = terse_copy_string(j, (terse_str){ json_string_value(json), json_string_length(json) });
        break;
    case JSON_INTEGER:
        v = terse_int(json_integer_value(json));
        break;
    case JSON_REAL:
        v = terse_float(json_real_value(json));
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        v = terse_bool(json_is_true(json));
        break;
    case JSON_NULL:
        break;
    }
    j->depth--;
    return v;
}

terse_val terse_json_read(terse_jinja *j, terse_str json, const char *what)
{
    json_error_t why;
    if (!terse_jinja_ok(j))
        return terse_none();
    json_t *root = json_loadb(json.p, json.n, JSON_DECODE_ANY | JSON_ALLOW_NUL, &why);
    if (!root) {
        const bool memory = json_error_code(&why) == json_error_out_of_memory;
        j->st = terse_fail(j->err, memory ? TERSE_NOMEM : TERSE_BAD_INPUT,
                           "%s: not JSON: line %d, column %d: %s", what, why.line, why.column, why.text);
        return terse_none();
    }
    const terse_val v = from_json(j, root);
    json_decref(root);
    return v;
}

/* As Python writes it: by code point; beyond U+FFFF as two escapes. */
static void write_string(terse_jinja *j, terse_sink *s, terse_str t, bool ascii)
{
    static const char from[] = "\"\\\n\r\t\f\b", into[] = "\"\\nrtfb";
    size_t plain = 0, n;
    terse_sink_text(j, s, "\"");
    for (size_t at = 0; at < t.n && terse_jinja_ok(j); at += n) {
        char code[16];
        const int32_t c = terse_char_at(t, at, &n);
        const char *hit = c > 0 && c < 0x80 ? strchr(from, c) : NULL;
        if (c >= 0x20 && !hit && (c < 0x7F || !ascii))
            continue;
        if (hit)
            snprintf(code, sizeof code, "\\%c", into[hit - from]);
        else if (c < 0x10000)
            snprintf(code, sizeof code, "\\u%04x", (unsigned)c);
        else
            snprintf(code, sizeof code, "\\u%04x\\u%04x", 0xD800 + (unsigned)(c - 0x10000) / 0x400,
                     0xDC00 + (unsigned)(c - 0x10000) % 0x400);
        terse_sink_put(j, s, t.p + plain, at - plain);
        terse_sink_text(j, s, code);
        plain = at + n;
    }
    terse_sink_put(j, s, t.p + plain, t.n - plain);
    terse_sink_text(j, s, "\"");
}

static void write_value(terse_jinja *j, terse_sink *s, terse_val v, const terse_json_style *style,
                        int32_t level);

static void write_newline(terse_jinja *j, terse_sink *s, const terse_json_style *style, int32_t level)
{
    if (!style->has_indent)
        return;
    terse_sink_text(j, s, "\n");
    for (int32_t i = 0; i < level; i++)
        terse_sink_str(j, s, style->indent);
}

static void write_key(terse_jinja *j, terse_sink *s, terse_val key, const terse_json_style *style)
{
    char text[TERSE_FLOAT_ROOM];
    switch (key.kind) {
    case TERSE_VAL_STR:
        write_string(j, s, terse_str_of(key), style->ascii);
        return;
    case TERSE_VAL_BOOL:
        snprintf(text, sizeof text, "\"%s\"", key.u.b ? "true" : "false");
        break;
    case TERSE_VAL_NONE:
        snprintf(text, sizeof text, "\"null\"");
        break;
    case TERSE_VAL_INT:
        snprintf(text, sizeof text, "\"%lld\"", (long long)key.u.i);
        break;
    case TERSE_VAL_FLOAT:
        terse_sink_text(j, s, "\"");
        terse_print_float(key.u.f, text);
        terse_sink_text(j, s, text);
        snprintf(text, sizeof text, "\"");
        break;
    default:
        terse_jinja_fail(j, "keys must be str, int, float, bool or None, not %s", terse_type_name(key));
        return;
    }
    terse_sink_text(j, s, text);
}

static void write_dict(terse_jinja *j, terse_sink *s, const terse_dict *d, const terse_json_style *style,
                       int32_t level)
{
    terse_val *keys = terse_jinja_get(j, d->n, sizeof *keys),
              *values = terse_jinja_get(j, d->n, sizeof *values);
    if (!keys || !values)
        return;
    if (d->n) {
        memcpy(keys, d->keys, d->n * sizeof *keys);
        memcpy(values, d->values, d->n * sizeof *values);
    }
    if (style->sort)
        terse_val_sort(j, values, keys, d->n, false);
    terse_sink_text(j, s, "{");
    for (uint32_t i = 0; i < d->n && terse_jinja_ok(j); i++) {
        if (i)
            terse_sink_str(j, s, style->item);
        write_newline(j, s, style, level + 1);
        write_key(j, s, keys[i], style);
        terse_sink_str(j, s, style->key);
        write_value(j, s, values[i], style, level + 1);
    }
    if (d->n)
        write_newline(j, s, style, level);
    terse_sink_text(j, s, "}");
}

static void write_list(terse_jinja *j, terse_sink *s, const terse_seq *q, const terse_json_style *style,
                       int32_t level)
{
    terse_sink_text(j, s, "[");
    for (uint32_t i = 0; i < q->n && terse_jinja_ok(j); i++) {
        if (i)
            terse_sink_str(j, s, style->item);
        write_newline(j, s, style, level + 1);
        write_value(j, s, q->v[i], style, level + 1);
    }
    if (q->n)
        write_newline(j, s, style, level);
    terse_sink_text(j, s, "]");
}

static void write_value(terse_jinja *j, terse_sink *s, terse_val v, const terse_json_style *style,
                        int32_t level)
{
    char text[TERSE_FLOAT_ROOM];
    if (!terse_jinja_enter(j)) {
        j->depth--;
        return;
    }
    if (v.kind == TERSE_VAL_NONE) {
        terse_sink_text(j, s, "null");
    } else if (v.kind == TERSE_VAL_BOOL) {
        terse_sink_text(j, s, v.u.b ? "true" : "false");
    } else if (v.kind == TERSE_VAL_STR) {
        write_string(j, s, terse_str_of(v), style->ascii);
    } else if (v.kind == TERSE_VAL_FLOAT && !isfinite(v.u.f)) {
        terse_sink_text(j, s, isnan(v.u.f) ? "NaN" : v.u.f < 0 ? "-Infinity" : "Infinity");
    } else if (v.kind == TERSE_VAL_FLOAT) {
        terse_print_float(v.u.f, text);
        terse_sink_text(j, s, text);
    } else if (v.kind == TERSE_VAL_INT) {
        terse_print(j, s, v);
    } else if (terse_is_seq(v, TERSE_SEQ_LIST) || terse_is_seq(v, TERSE_SEQ_TUPLE)) {
        write_list(j, s, v.u.seq, style, level);
    } else if (v.kind == TERSE_VAL_DICT) {
        write_dict(j, s, v.u.dict, style, level);
    } else {
        terse_jinja_fail(j, "an object of type %s has no form in JSON%s%s", terse_type_name(v),
                         v.kind == TERSE_VAL_UNDEFINED && v.u.p ? ": " : "",
                         v.kind == TERSE_VAL_UNDEFINED && v.u.p ? v.u.p : "");
    }
    j->depth--;
}

void terse_json_write(terse_jinja *j, terse_sink *s, terse_val v, const terse_json_style *style)
{
    write_value(j, s, v, style, 0);
}
