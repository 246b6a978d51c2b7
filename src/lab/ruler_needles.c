/* lab/ruler_needles.c: short statements hidden in a long text: values of keys (niah) and variables that are
 * assigned each other (vt). */
#include "lab/ruler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { UUID = 37, MAX_LABEL = 65, MAX_KEY = 2 * 64 + 8, MAX_NEEDLE = 512, HOPS = 4, NAME = 5, LETTERS = 26 };

/* A statement and how deep it lies. */
typedef struct {
    int32_t depth; /* of TERSE_RULER_SLOTS */
    char text[MAX_NEEDLE];
} needle;

typedef struct {
    needle at[TERSE_RULER_SLOTS];
    int32_t n;
} needles;

/* Sorted by depth: each goes in front of the first that is deeper. */
static needle *insert(needles *all, int32_t depth)
{
    int32_t i = all->n++;
    for (; i > 0 && all->at[i - 1].depth > depth; i--)
        all->at[i] = all->at[i - 1];
    all->at[i].depth = depth;
    return &all->at[i];
}

/* ---- filling ---- */

typedef struct {
    char label[MAX_LABEL];
    terse_deck keys;
} vocabulary;

static void uuid(terse_dice *d, char to[UUID])
{
    const uint64_t a = terse_dice_next(d), b = terse_dice_next(d);
    snprintf(to, UUID, "%08x-%04x-%04x-%04x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16 & 0xffff),
             (unsigned)(a & 0xffff), (unsigned)(b >> 48), (unsigned long long)(b & 0xffffffffffffu));
}

/* Different for each i. */
static void key_at(terse_ruler_prompt *p, const vocabulary *v, int32_t i, char to[MAX_KEY])
{
    const terse_ruler_lines *adjectives = &p->text->section[TERSE_RULER_ADJECTIVES],
                            *nouns = &p->text->section[TERSE_RULER_NOUNS];
    if (p->task->uuid_key) {
        uuid(&p->dice, to);
        return;
    }
    const int64_t k = terse_deck_at(&v->keys, i);
    const terse_str a = adjectives->line[k % adjectives->n], b = nouns->line[k / adjectives->n];
    snprintf(to, MAX_KEY, "the %.*s %.*s", (int)a.n, a.p, (int)b.n, b.p);
}

static void value_of(terse_ruler_prompt *p, char to[UUID])
{
    if (p->task->uuid_value)
        uuid(&p->dice, to);
    else
        snprintf(to, UUID, "%d", 1000000 + terse_dice_below(&p->dice, 9000000));
}

static void state(const terse_ruler_prompt *p, const vocabulary *v, const char *key, const char *value,
                  char to[MAX_NEEDLE])
{
    snprintf(to, MAX_NEEDLE, "%s %s for %.*s is %s.", p->task->n_value > 1 ? "One" : "The", v->label,
             MAX_KEY - 1, key, value);
}

/* A statement or sentence behind what is there. */
static void append(terse_ruler_prompt *p, const char *between, terse_str s)
{
    const terse_text *c = &p->context;
    if (c->n > 0 && c->p[c->n - 1] != '\n')
        terse_ruler_put(p, &p->context, "%s", between);
    terse_ruler_add(p, &p->context, s);
}

/* size sentences of the haystack, of noise or needles of other keys, all other needles among them. */
static void fill(terse_ruler_prompt *p, const needles *all, const vocabulary *v, int32_t n_key, int32_t size)
{
    const terse_ruler_fill kind = p->task->fill;
    const terse_ruler_lines *from =
        &p->text->section[kind == TERSE_FILL_HAYSTACK ? TERSE_RULER_HAYSTACK : TERSE_RULER_NOISE];
    const char *between = kind == TERSE_FILL_NEEDLES ? "\n" : " ";
    const int32_t start = kind == TERSE_FILL_HAYSTACK ? terse_dice_below(&p->dice, from->n) : 0;
    for (int32_t i = 0, next = 0; i <= size && p->st == TERSE_OK; i++) {
        for (; next < all->n && (int64_t)all->at[next].depth * size / (TERSE_RULER_SLOTS - 1) <= i; next++)
            append(p, between, (terse_str){ all->at[next].text, strlen(all->at[next].text) });
        if (i == size)
            break;
        if (kind == TERSE_FILL_NEEDLES) {
            char key[MAX_KEY], value[UUID], text[MAX_NEEDLE];
            key_at(p, v, n_key + i, key);
            value_of(p, value);
            state(p, v, key, value, text);
            append(p, between, (terse_str){ text, strlen(text) });
            continue;
        }
        const terse_str s = from->line[((int64_t)start + i) % from->n];
        if (s.n > 0 || i < size - 1)
            append(p, s.n ? between : "\n\n", s);
        if (kind == TERSE_FILL_NOISE && i % from->n == from->n - 1)
            append(p, "\n", (terse_str){ "", 0 });
    }
}

/* ---- niah ---- */

static int32_t keys_of(const terse_ruler_prompt *p)
{
    const terse_ruler_task *t = p->task;
    return t->n_key > t->n_query * p->n_ask ? t->n_key : t->n_query * p->n_ask;
}

static int64_t all_keys(const terse_ruler_text *t)
{
    const int64_t n = (int64_t)t->section[TERSE_RULER_ADJECTIVES].n * (int64_t)t->section[TERSE_RULER_NOUNS].n;
    return n < 1 << 30 ? n : 1 << 30;
}

int32_t terse_ruler_most_keys(const terse_ruler_prompt *p)
{
    if (p->task->fill != TERSE_FILL_NEEDLES || p->task->uuid_key)
        return 1 << 26;
    return (int32_t)(all_keys(p->text) - keys_of(p));
}

/* Question i asks for the keys from i * n_query on: one, "a and b", "a, b and c". */
static void ask(terse_ruler_prompt *p, int32_t i, const vocabulary *v, char (*key)[MAX_KEY])
{
    const terse_ruler_task *t = p->task;
    const char *s = t->n_query > 1 || t->n_value > 1 ? "s" : "", *are = *s ? "are" : "is";
    terse_text list = { 0 };
    for (int32_t k = 0; k < t->n_query; k++)
        terse_ruler_put(p, &list, "%s%s",
                        k == 0                ? ""
                        : k == t->n_query - 1 ? " and "
                                              : ", ",
                        key[i * t->n_query + k]);
    if (p->st == TERSE_OK) {
        terse_ruler_put(p, &p->question[i], "\n\nQuestion: What %s%s the %s%s for ", are,
                        t->n_value > 1 ? " all" : "", v->label, s);
        terse_ruler_add(p, &p->question[i], (terse_str){ list.p, list.n });
        terse_ruler_put(p, &p->question[i], "?");
        terse_ruler_put(p, &p->prefix[i], "\nAnswer: The %s%s for ", v->label, s);
        terse_ruler_add(p, &p->prefix[i], (terse_str){ list.p, list.n });
        terse_ruler_put(p, &p->prefix[i], " %s", are);
    }
    terse_text_free(&list);
}

static int compare_depths(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return (x > y) - (x < y);
}

void terse_ruler_niah(terse_ruler_prompt *p)
{
    const terse_ruler_task *t = p->task;
    const int32_t n_key = keys_of(p);
    const terse_str label = terse_ruler_pick(p, TERSE_RULER_LABELS);
    vocabulary v = { .keys = terse_deck_of(&p->dice, all_keys(p->text)) };
    snprintf(v.label, sizeof v.label, "%.*s", (int)label.n, label.p);
    char key[TERSE_RULER_SLOTS][MAX_KEY], value[UUID];
    int32_t depth[TERSE_RULER_SLOTS];
    needles all = { .n = 0 };
    terse_ruler_depths(p, depth, p->n_ask > 1 ? t->n_query * t->n_value : 0);
    for (int32_t k = 0; k < n_key; k++) {
        key_at(p, &v, k, key[k]);
        qsort(depth + k * t->n_value, (size_t)t->n_value, sizeof *depth, compare_depths);
        for (int32_t i = 0; i < t->n_value; i++) {
            value_of(p, value);
            state(p, &v, key[k], value, insert(&all, depth[k * t->n_value + i])->text);
            if (k / t->n_query < p->n_ask)
                terse_ruler_answer(p, k / t->n_query, value);
        }
    }
    terse_ruler_put(p, &p->context,
                    "Some facts are hidden in the text below. Read it with care: there will be questions "
                    "about them.\n\n");
    fill(p, &all, &v, n_key, p->size);
    for (int32_t i = 0; i < p->n_ask; i++)
        ask(p, i, &v, key);
}

/* ---- vt ---- */

typedef struct {
    int32_t value;
    char name[HOPS + 1][NAME + 1];
} chain;

/* The i-th name: no two are the same. */
static void name_at(const terse_deck *names, int64_t i, char to[NAME + 1])
{
    int64_t k = terse_deck_at(names, i);
    for (int32_t j = 0; j < NAME; j++, k /= LETTERS)
        to[j] = (char)('A' + k % LETTERS);
    to[NAME] = '\0';
}

/* The nth chain of this prompt, its statements at depths that increase along it. */
static void hide_chain(chain *c, needles *all, int32_t depth[HOPS + 1], const terse_deck *names,
                       const terse_deck *values, int32_t nth)
{
    qsort(depth, HOPS + 1, sizeof *depth, compare_depths);
    c->value = 10000 + (int32_t)terse_deck_at(values, nth);
    for (int32_t i = 0; i <= HOPS; i++) {
        name_at(names, (int64_t)nth * (HOPS + 1) + i, c->name[i]);
        needle *to = insert(all, depth[i]);
        if (i == 0)
            snprintf(to->text, sizeof to->text, "VAR %s = %d.", c->name[0], c->value);
        else
            snprintf(to->text, sizeof to->text, "VAR %s = VAR %s.", c->name[i], c->name[i - 1]);
    }
}

static const vocabulary no_keys;
static const char vt_intro[] =
    "Assignments of variables are hidden in the text below. Follow each of them: there "
    "will be a question about one value.\n\n";
static const char vt_question[] =
    "\n\nQuestion: Find all variables that are assigned the value %d in the text above.";
static const char vt_prefix[] = "\nAnswer: The variables that are assigned the value %d are:";

/* A short text with a chain of its own, question and answer. */
static void write_example(terse_ruler_prompt *p, const terse_deck *names, const terse_deck *values)
{
    enum { EXAMPLE = 8 };
    int32_t depth[TERSE_RULER_SLOTS];
    needles all = { .n = 0 };
    chain c;
    terse_ruler_depths(p, depth, 0);
    hide_chain(&c, &all, depth, names, values, 0);
    terse_ruler_put(p, &p->context, vt_intro);
    fill(p, &all, &no_keys, 0, EXAMPLE);
    terse_ruler_put(p, &p->context, vt_question, c.value);
    terse_ruler_put(p, &p->context, vt_prefix, c.value);
    for (int32_t i = 0; i <= HOPS; i++)
        terse_ruler_put(p, &p->context, "%s %s", i ? "," : "", c.name[i]);
    terse_ruler_put(p, &p->context, ".\n\n");
}

void terse_ruler_vt(terse_ruler_prompt *p)
{
    const terse_deck names = terse_deck_of(&p->dice, LETTERS * LETTERS * LETTERS * LETTERS * LETTERS),
                     values = terse_deck_of(&p->dice, 90000);
    int32_t depth[TERSE_RULER_SLOTS];
    needles all = { .n = 0 };
    chain c;
    if (p->example)
        write_example(p, &names, &values);
    terse_ruler_put(p, &p->context, vt_intro);
    terse_ruler_depths(p, depth, 0);
    for (int32_t i = 0; i < p->n_ask; i++) {
        hide_chain(&c, &all, depth + i * (HOPS + 1), &names, &values, 1 + i);
        terse_ruler_put(p, &p->question[i], vt_question, c.value);
        terse_ruler_put(p, &p->prefix[i], vt_prefix, c.value);
        for (int32_t k = 0; k <= HOPS; k++)
            terse_ruler_answer(p, i, c.name[k]);
    }
    fill(p, &all, &no_keys, 0, p->size);
}
