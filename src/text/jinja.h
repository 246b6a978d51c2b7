/* text/jinja.h: the inside of the template engine. Source -> tokens (jinja_lex) -> nodes (jinja_parse,
 * jinja_expr) -> text (jinja_run, jinja_eval). Values live in an arena that is dropped after each rendering, so
 * nothing is counted or freed one by one. The first failure sticks in the engine: after it every function
 * returns at once with some value, and loops ask terse_jinja_ok().
 *
 * Where a comment says "as Python", Python 3.11 and Jinja2 3.1 are the definition. */
#ifndef TERSE_TEXT_JINJA_H
#define TERSE_TEXT_JINJA_H

#include "terse/template.h"

#include <string.h>

/* Memory that is freed as a whole. */
typedef struct terse_chunk terse_chunk;
typedef struct {
    terse_chunk *last;
    size_t used, limit; /* bytes asked for; a limit of 0 is none */
} terse_arena;
/* n bytes, zeroed, 16-byte aligned; NULL without memory or beyond the limit. */
void *terse_arena_get(terse_arena *a, size_t n);
void terse_arena_free(terse_arena *a);

/* ---- tokens ---- */
typedef enum {
    TERSE_TOK_DATA,
    TERSE_TOK_VAR_BEGIN,
    TERSE_TOK_VAR_END,
    TERSE_TOK_BLOCK_BEGIN,
    TERSE_TOK_BLOCK_END,
    TERSE_TOK_NAME,
    TERSE_TOK_STR,
    TERSE_TOK_INT,
    TERSE_TOK_FLOAT,
    TERSE_TOK_OP,
    TERSE_TOK_END
} terse_tok_kind;
typedef struct {
    terse_tok_kind kind;
    uint32_t at, len; /* where in the source */
    terse_str s;      /* DATA, STR: the decoded text; NAME, INT, FLOAT, OP: as written */
} terse_tok;

/* ---- values ---- */
typedef enum {
    TERSE_VAL_MISSING, /* an argument that was not given */
    TERSE_VAL_UNDEFINED,
    TERSE_VAL_NONE,
    TERSE_VAL_BOOL,
    TERSE_VAL_INT,
    TERSE_VAL_FLOAT,
    TERSE_VAL_STR,
    TERSE_VAL_SEQ, /* lists, tuples and what else is gone through in order; see terse_seq */
    TERSE_VAL_DICT,
    TERSE_VAL_SPACE, /* namespace() */
    TERSE_VAL_CALL,  /* a function of the engine, or a method with its self */
    TERSE_VAL_MACRO,
    TERSE_VAL_LOOP,
    TERSE_VAL_CYCLER,
    TERSE_VAL_JOINER
} terse_val_kind;
typedef enum {
    TERSE_SEQ_LIST,
    TERSE_SEQ_TUPLE,
    TERSE_SEQ_RANGE,
    TERSE_SEQ_KEYS, /* views of a dict */
    TERSE_SEQ_VALUES,
    TERSE_SEQ_ITEMS,
    TERSE_SEQ_ITER /* what Python makes step by step: has no length and is used up by going through it */
} terse_seq_kind;

typedef struct terse_seq terse_seq;
typedef struct terse_dict terse_dict;
typedef struct terse_bound terse_bound;
typedef struct terse_macro terse_macro;
typedef struct terse_loop terse_loop;
typedef struct {
    uint8_t kind;   /* terse_val_kind */
    uint8_t markup; /* of STR: what |safe and |escape make; + escapes what it is joined with */
    uint32_t n;     /* of STR: bytes */
    union {
        bool b;
        int64_t i;
        double f;
        const char *p; /* STR: UTF-8, not terminated. UNDEFINED: what is missing, terminated; may be NULL */
        terse_seq *seq;
        terse_dict *dict; /* DICT, SPACE */
        terse_bound *call;
        terse_macro *macro;
        terse_loop *loop;
    } u;
} terse_val;

struct terse_seq {
    terse_val *v;
    uint32_t n;
    uint32_t at; /* ITER, CYCLER, JOINER: how many have been taken */
    terse_seq_kind kind;
    int64_t start, stop, step; /* RANGE */
};
/* In the order of insertion. */
struct terse_dict {
    terse_val *keys, *values;
    uint32_t n, cap;
};

/* Arguments of a call as they were written. */
typedef struct {
    const terse_val *v;
    uint32_t n;
    const terse_str *names; /* of the keyword arguments */
    const terse_val *named;
    uint32_t n_named;
} terse_args;

typedef struct terse_jinja terse_jinja;
enum { TERSE_MAX_PARAMS = 6 };
/* A row of a table: a filter, a test, a method or a function. params: their names in order, separated by
 * blanks; those after "?" may be left out (then they are MISSING); a leading "/" forbids naming them; "*" takes
 * anything, to be found in all. run is NULL for what Python has and this engine has not. */
typedef struct {
    const char *name;
    const char *params;
    terse_val (*run)(terse_jinja *j, terse_val self, const terse_val *arg, const terse_args *all);
} terse_jinja_row;

struct terse_bound {
    const terse_jinja_row *row;
    terse_val self;
};

/* ---- nodes ---- */
typedef enum {
    /* expressions */
    TERSE_NODE_CONST,
    TERSE_NODE_NAME,
    TERSE_NODE_LIST,   /* list */
    TERSE_NODE_TUPLE,  /* list */
    TERSE_NODE_DICT,   /* list: key, value, key, value */
    TERSE_NODE_ATTR,   /* a.name */
    TERSE_NODE_ITEM,   /* a[b] */
    TERSE_NODE_SLICE,  /* a:b:c, inside ITEM */
    TERSE_NODE_CALL,   /* a(list) */
    TERSE_NODE_FILTER, /* a|name(list); a is NULL in a filter block */
    TERSE_NODE_TEST,   /* a is name(list) */
    TERSE_NODE_NOT,
    TERSE_NODE_NEG,
    TERSE_NODE_POS,
    TERSE_NODE_AND,
    TERSE_NODE_OR,
    TERSE_NODE_BINARY,  /* a op b */
    TERSE_NODE_COMPARE, /* a, then list of OPERAND */
    TERSE_NODE_OPERAND, /* op a */
    TERSE_NODE_COND,    /* b if a else c */
    TERSE_NODE_CONCAT,  /* list */
    TERSE_NODE_NAMED,   /* name=a, an argument */
    TERSE_NODE_STAR,    /* *a */
    TERSE_NODE_STARS,   /* **a */
    /* statements; body and other are lists */
    TERSE_NODE_DATA,
    TERSE_NODE_PRINT,
    TERSE_NODE_IF,      /* list of branches (IF with a and body), other */
    TERSE_NODE_FOR,     /* for a in b if c: body, other */
    TERSE_NODE_SET,     /* a = b */
    TERSE_NODE_CAPTURE, /* a = body, through the filters b */
    TERSE_NODE_MACRO,   /* name(list of NAME, with a their default) body */
    TERSE_NODE_CALLS,   /* call(list) b: body */
    TERSE_NODE_FILTERS, /* body through the filters a */
    TERSE_NODE_WITH,    /* list of SET, body */
    TERSE_NODE_SCOPE,   /* body */
    TERSE_NODE_BREAK,
    TERSE_NODE_CONTINUE
} terse_node_kind;
typedef enum {
    TERSE_OP_ADD,
    TERSE_OP_SUB,
    TERSE_OP_MUL,
    TERSE_OP_DIV,
    TERSE_OP_FLOORDIV,
    TERSE_OP_MOD,
    TERSE_OP_POW,
    TERSE_OP_EQ,
    TERSE_OP_NE,
    TERSE_OP_LT,
    TERSE_OP_LE,
    TERSE_OP_GT,
    TERSE_OP_GE,
    TERSE_OP_IN,
    TERSE_OP_NOT_IN
} terse_op;

typedef struct terse_node terse_node;
struct terse_node {
    uint8_t kind, op;
    uint8_t uses; /* MACRO, CALLS: which of caller, kwargs, varargs the body mentions */
    uint32_t at;  /* in the source: what an error points to */
    uint32_t n;   /* length of list */
    terse_node *next;
    terse_node *a, *b, *c, *list, *body, *other;
    const char *name;           /* interned: equal names are the same pointer */
    terse_val value;            /* CONST, DATA; ATTR, NAMED: the name as a string */
    const terse_jinja_row *row; /* FILTER, TEST; NULL: there is none */
};
enum { TERSE_USES_CALLER = 1, TERSE_USES_KWARGS = 2, TERSE_USES_VARARGS = 4 };

/* ---- parsing ---- */
typedef struct {
    terse_arena *arena;
    terse_str source; /* newlines are \n */
    terse_error *err;
    terse_status st;
    terse_tok *toks, *t; /* t: the current one */
    size_t n_tok, cap_tok;
    const char **names; /* interned */
    size_t n_name, cap_name;
    int32_t depth, in_loop;
    uint8_t uses;
    terse_str missing; /* the first filter or test that is not built in */
} terse_parser;

terse_status terse_jinja_lex(terse_parser *p);
terse_node *terse_jinja_parse(terse_parser *p);
/* Fails at byte at; the token there is named. Returns NULL. */
void *terse_parse_fail(terse_parser *p, uint32_t at, const char *fmt, ...) TERSE_PRINTF(3, 4);
void *terse_parse_get(terse_parser *p, size_t n);
terse_node *terse_parse_node(terse_parser *p, terse_node_kind kind, uint32_t at);
/* One more level; false (and a failure) if there are too many. Leave with p->depth--. */
bool terse_parse_enter(terse_parser *p);
bool terse_parse_is(const terse_parser *p, terse_tok_kind kind, const char *text);
bool terse_parse_skip(terse_parser *p, terse_tok_kind kind, const char *text);
bool terse_parse_expect(terse_parser *p, terse_tok_kind kind, const char *text);
const char *terse_parse_name(terse_parser *p); /* takes a name; interned */
const char *terse_intern(terse_parser *p, terse_str s);
terse_node *terse_parse_expr(terse_parser *p, bool with_cond);
/* A tuple without parentheses, or a single expression. */
terse_node *terse_parse_tuple(terse_parser *p, bool with_cond);
terse_node *terse_parse_postfix(terse_parser *p, terse_node *a, bool calls_only);
terse_node *terse_parse_primary(terse_parser *p);
terse_node *terse_parse_unary(terse_parser *p, bool with_filter);
/* "|" and what follows; first: the name comes at once. */
terse_node *terse_parse_filters(terse_parser *p, terse_node *a, bool first);
void terse_parse_args(terse_parser *p, terse_node *call);
/* What an assignment writes to: names, tuples of them and, if attr, ns.name. */
terse_node *terse_parse_target(terse_parser *p, bool attr, bool tuple);
/* "template 3:14" */
void terse_source_place(terse_str source, uint32_t at, char place[40]);
/* The token at this byte, quoted, for messages. */
void terse_source_token(terse_str source, uint32_t at, char quoted[48]);

/* ---- running ---- */
/* A text that grows in the arena. */
typedef struct {
    char *p;
    size_t n, cap;
} terse_sink;
typedef struct terse_binding terse_binding;
struct terse_binding {
    const char *name; /* interned */
    terse_val value;
    terse_binding *next;
};
/* A scope. Macros keep the one that they were made in. */
typedef struct terse_frame terse_frame;
struct terse_frame {
    terse_binding *first;
    terse_frame *up;
};
struct terse_macro {
    const terse_node *node;
    terse_frame *up;
};
struct terse_loop {
    const terse_node *node;
    terse_frame *up; /* around the loop */
    terse_seq *seq;  /* what is gone through */
    uint32_t at;     /* the next one in it to look at */
    terse_val before, now, after;
    bool has_before, has_after;
    bool filtered;     /* seq holds only what the condition lets through */
    int64_t index;     /* from 0 */
    int64_t length;    /* -1: not known yet */
    terse_val changed; /* what changed() was last told; MISSING at first */
};

struct terse_template {
    terse_arena arena;
    terse_str source;
    terse_node *root;
    const char **names; /* interned: an open-addressed hash of cap_name places */
    size_t cap_name;
    const char *caller, *kwargs, *varargs, *loop; /* interned */
    terse_str missing;
};
/* The interned name; NULL if the template does not mention it. */
const char *terse_find_name(const terse_template *t, terse_str s);
struct terse_jinja {
    const terse_template *t;
    const terse_template_input *in;
    terse_arena arena;
    terse_sink *out;
    terse_frame *frame;
    terse_frame globals; /* the outermost scope */
    terse_template_limits limit;
    size_t steps;
    int32_t depth;
    enum { TERSE_FLOW_ON, TERSE_FLOW_BREAK, TERSE_FLOW_CONTINUE } flow;
    uint32_t at;       /* of the node at work, for messages */
    const char *doing; /* name of the filter, test or function at work; may be NULL */
    bool raised;       /* by raise_exception */
    terse_status st;
    terse_error *err;
};

static inline bool terse_jinja_ok(const terse_jinja *j)
{
    return j->st == TERSE_OK;
}
/* The first failure counts: template line:column, the token there, then the text. Returns UNDEFINED. */
terse_val terse_jinja_fail(terse_jinja *j, const char *fmt, ...) TERSE_PRINTF(2, 3);
terse_val terse_jinja_refuse(terse_jinja *j, const char *fmt, ...) TERSE_PRINTF(2, 3); /* TERSE_UNSUPPORTED */
/* Counts n bytes of work. False after a failure. */
bool terse_jinja_work(terse_jinja *j, size_t n);
/* The same for n bytes that are searched, which takes longer than copying them. */
static inline bool terse_jinja_scan(terse_jinja *j, size_t n)
{
    return terse_jinja_work(j, n > SIZE_MAX / 8 ? n : n * 8);
}
/* count * size bytes, zeroed; NULL after a failure. */
void *terse_jinja_get(terse_jinja *j, size_t count, size_t size);
/* One more level; false if there are too many. Leave with j->depth--, also after a failure. */
bool terse_jinja_enter(terse_jinja *j);

/* jinja_run.c */
void terse_jinja_run(terse_jinja *j, const terse_node *list);
/* The text that the list writes, in a scope of its own. */
terse_val terse_jinja_capture(terse_jinja *j, const terse_node *list);
terse_frame *terse_frame_push(terse_jinja *j, terse_frame *up);
void terse_frame_set(terse_jinja *j, terse_frame *f, const char *name, terse_val value);
terse_val *terse_frame_find(terse_frame *f, const char *name); /* in f and above; NULL */
bool terse_loop_next(terse_jinja *j, terse_loop *l);           /* moves on; false at the end */
terse_val terse_loop_attr(terse_jinja *j, terse_loop *l, terse_str name, terse_val self);

/* jinja_eval.c */
terse_val terse_jinja_eval(terse_jinja *j, const terse_node *node);
bool terse_jinja_args(terse_jinja *j, const terse_node *list, const terse_val *first, terse_args *a);
terse_val terse_jinja_call(terse_jinja *j, terse_val what, const terse_args *a);
terse_val terse_jinja_call_row(terse_jinja *j, const terse_jinja_row *row, terse_val self, const terse_args *a);
terse_val terse_jinja_macro(terse_jinja *j, const terse_macro *m, const terse_args *a);
/* A filter or test by its name, as map and select call it. */
terse_val terse_jinja_filter(terse_jinja *j, terse_str name, terse_val self, const terse_args *a);
bool terse_jinja_test(terse_jinja *j, terse_str name, terse_val self, const terse_args *a);

/* jinja_op.c: arithmetic and order, as Python */
terse_val terse_val_binary(terse_jinja *j, terse_op op, terse_val a, terse_val b);
terse_val terse_val_negate(terse_jinja *j, terse_val a, bool negative);
bool terse_val_compare(terse_jinja *j, terse_op op, terse_val a, terse_val b);
bool terse_val_equal(terse_jinja *j, terse_val a, terse_val b);
bool terse_val_in(terse_jinja *j, terse_val a, terse_val in);
bool terse_val_same(terse_val a, terse_val b); /* "is" */

/* jinja_attr.c */
terse_val terse_val_attr(terse_jinja *j, terse_val a, terse_val name);     /* a.name */
terse_val terse_val_item(terse_jinja *j, terse_val a, terse_val key);      /* a[key] */
terse_val terse_val_own_attr(terse_jinja *j, terse_val a, terse_str name); /* without a["name"]; MISSING */
terse_val terse_val_slice(terse_jinja *j, terse_val a, terse_val start, terse_val stop, terse_val step);

/* jinja_value.c */
static inline terse_str terse_lit(const char *s)
{
    return (terse_str){ s, strlen(s) };
}
static inline bool terse_str_is(terse_str s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}
static inline terse_val terse_none(void)
{
    return (terse_val){ .kind = TERSE_VAL_NONE };
}
static inline terse_val terse_bool(bool b)
{
    return (terse_val){ .kind = TERSE_VAL_BOOL, .u.b = b };
}
static inline terse_val terse_int(int64_t i)
{
    return (terse_val){ .kind = TERSE_VAL_INT, .u.i = i };
}
static inline terse_val terse_float(double f)
{
    return (terse_val){ .kind = TERSE_VAL_FLOAT, .u.f = f };
}
/* The bytes are borrowed for as long as the engine lives. */
static inline terse_val terse_string(terse_str s)
{
    return (terse_val){ .kind = TERSE_VAL_STR, .n = (uint32_t)s.n, .u.p = s.n ? s.p : "" };
}
static inline terse_str terse_str_of(terse_val v) /* of a STR */
{
    return (terse_str){ v.u.p, v.n };
}
static inline bool terse_is_seq(terse_val v, terse_seq_kind kind)
{
    return v.kind == TERSE_VAL_SEQ && v.u.seq->kind == kind;
}
static inline bool terse_given(terse_val v)
{
    return v.kind != TERSE_VAL_MISSING;
}
terse_val terse_undefined(terse_jinja *j, const char *fmt, ...) TERSE_PRINTF(2, 3);
terse_val terse_copy_string(terse_jinja *j, terse_str s);
const char *terse_type_name(terse_val v); /* as Python: "str" */
bool terse_truth(terse_val v);
/* Room for n values, all UNDEFINED; the length is n. NULL after a failure. */
terse_seq *terse_seq_make(terse_jinja *j, terse_seq_kind kind, size_t n);
bool terse_seq_push(terse_jinja *j, terse_seq *s, terse_val v); /* of one that was made with n = 0 */
static inline terse_val terse_seq_val(terse_seq *s)
{
    return s ? (terse_val){ .kind = TERSE_VAL_SEQ, .u.seq = s } : (terse_val){ .kind = TERSE_VAL_UNDEFINED };
}
/* What iterating over v gives, as a sequence that may be v's own: do not change it. Uses up an ITER. NULL and a
 * failure if v cannot be iterated over. */
terse_seq *terse_iterate(terse_jinja *j, terse_val v);
bool terse_iterable(terse_val v);
/* len(); -1 and a failure if v has none. */
int64_t terse_length(terse_jinja *j, terse_val v);
bool terse_has_length(terse_val v);
terse_dict *terse_dict_make(terse_jinja *j, size_t cap);
bool terse_dict_set(terse_jinja *j, terse_dict *d, terse_val key, terse_val value);
terse_val *terse_dict_find(terse_jinja *j, const terse_dict *d, terse_val key); /* NULL: not there */
terse_val terse_dict_get(terse_jinja *j, const terse_dict *d, const char *key); /* UNDEFINED: not there */
terse_val terse_dict_view(terse_jinja *j, const terse_dict *d, terse_seq_kind kind);
/* True if v can be a key; otherwise fails. */
bool terse_hashable(terse_jinja *j, terse_val v);
/* Sorts in place, stable; keys[n] decide. */
void terse_val_sort(terse_jinja *j, terse_val *v, terse_val *keys, uint32_t n, bool reverse);

/* jinja_print.c */
bool terse_sink_put(terse_jinja *j, terse_sink *s, const char *p, size_t n);
static inline bool terse_sink_str(terse_jinja *j, terse_sink *s, terse_str t)
{
    return terse_sink_put(j, s, t.p, t.n);
}
static inline bool terse_sink_text(terse_jinja *j, terse_sink *s, const char *text)
{
    return terse_sink_put(j, s, text, strlen(text));
}
terse_val terse_sink_val(const terse_sink *s);                /* what it holds, as a string */
void terse_print(terse_jinja *j, terse_sink *s, terse_val v); /* str() */
void terse_print_repr(terse_jinja *j, terse_sink *s, terse_val v);
terse_str terse_text_of(terse_jinja *j, terse_val v); /* str(), borrowed from v or the arena */
enum { TERSE_FLOAT_ROOM = 32 };
void terse_print_float(double f, char text[TERSE_FLOAT_ROOM]); /* repr() */
bool terse_parse_float(terse_str s, double *f);                /* all of s, after Python's rules */
bool terse_parse_int(terse_str s, int32_t base, int64_t *i);   /* the same; false also if it does not fit */

/* jinja_json.c */
terse_val terse_json_read(terse_jinja *j, terse_str json, const char *what);
typedef struct {
    bool ascii, sort;
    bool has_indent;
    terse_str indent, item, key; /* item and key: the separators */
} terse_json_style;
void terse_json_write(terse_jinja *j, terse_sink *s, terse_val v, const terse_json_style *style);

/* jinja_str.c: strings by code point */
bool terse_is_space(int32_t c);
int32_t terse_char_at(terse_str s, size_t at, size_t *n); /* the code point; *n its bytes, at least 1 */
size_t terse_char_before(terse_str s, size_t end);        /* where the one that ends at end begins */
int64_t terse_char_count(terse_str s);
size_t terse_char_offset(terse_str s, int64_t index); /* byte where character index begins, at most s.n */
typedef enum { TERSE_STRIP_LEFT = 1, TERSE_STRIP_RIGHT = 2, TERSE_STRIP_BOTH = 3 } terse_strip_sides;
terse_str terse_strip(terse_str s, const terse_str *chars, terse_strip_sides sides);
typedef enum { TERSE_CASE_LOWER, TERSE_CASE_UPPER, TERSE_CASE_TITLE } terse_case;
void terse_put_case(terse_jinja *j, terse_sink *s, terse_str t, terse_case to);
terse_val terse_cased(terse_jinja *j, terse_str t, terse_case to);
void terse_put_char(terse_jinja *j, terse_sink *s, int32_t c);
terse_val terse_replace(terse_jinja *j, terse_str s, terse_str old, terse_str new, int64_t count);
terse_seq *terse_split_lines(terse_jinja *j, terse_str s, bool keep);
terse_val terse_escape(terse_jinja *j, terse_str s); /* & < > ' " */

/* jinja_format.c */
terse_val terse_percent(terse_jinja *j, terse_str format, terse_val arg);         /* format % arg */
terse_val terse_format(terse_jinja *j, terse_str format, const terse_args *args); /* format.format() */

/* The tables; each ends with a row without a name. */
extern const terse_jinja_row terse_jinja_filters[], terse_jinja_filters_seq[], terse_jinja_tests[],
    terse_jinja_functions[], terse_jinja_str_methods[], terse_jinja_str_methods_more[],
    terse_jinja_dict_methods[], terse_jinja_list_methods[], terse_jinja_tuple_methods[],
    terse_jinja_loop_methods[], terse_jinja_cycler_methods[];
const terse_jinja_row *terse_jinja_find(const terse_jinja_row *table, terse_str name);
const terse_jinja_row *terse_jinja_find_filter(terse_str name);

#endif
