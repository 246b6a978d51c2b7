/* lab/ruler_documents.c: questions whose answer stands in one document (qa_1) or takes two (qa_2: where
 * somebody lives, and what is said of that town), among documents of other people and towns. */
#include "lab/ruler.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SENTENCES ((uint64_t)1 << 32) /* from the dice of facts */

enum { MAX_NAME = 64, MAX_SENTENCES = 32, REMARKS = 2 };

/* All that is known of one person and the town where the person lives. */
typedef struct {
    char full[2 * MAX_NAME + 2], town[2 * MAX_NAME + 1], river[2 * MAX_NAME + 1], year[16], built[16];
    terse_str job, animal, pet, goods;
} facts;

/* Where names come from: different for each person. */
typedef struct {
    terse_deck names, towns, rivers;
    uint64_t seed;
} register_of;

static int32_t pairs(const terse_ruler_prompt *p, terse_ruler_section a, terse_ruler_section b)
{
    const int64_t n = (int64_t)p->text->section[a].n * p->text->section[b].n;
    return (int32_t)(n < 1 << 26 ? n : 1 << 26);
}

int32_t terse_ruler_most_documents(const terse_ruler_prompt *p)
{
    const int32_t people = pairs(p, TERSE_RULER_FIRST_NAMES, TERSE_RULER_LAST_NAMES),
                  towns = pairs(p, TERSE_RULER_TOWN_HEADS, TERSE_RULER_TOWN_TAILS);
    return people < towns ? people : towns;
}

/* The i-th pair of a line of a and one of b. */
static void join(const terse_ruler_prompt *p, const terse_deck *c, int32_t i, terse_ruler_section a,
                 const char *between, char *to, size_t size)
{
    const terse_ruler_lines *heads = &p->text->section[a], *tails = &p->text->section[a + 1];
    const int64_t k = terse_deck_at(c, i);
    const terse_str head = heads->line[k % heads->n], tail = tails->line[k / heads->n];
    snprintf(to, size, "%.*s%s%.*s", (int)head.n, head.p, between, (int)tail.n, tail.p);
}

/* The facts do not depend on how many documents there are. The dice of the prompt is left alone. */
static facts facts_of(const terse_ruler_prompt *p, const register_of *r, int32_t i)
{
    terse_ruler_prompt own = { .text = p->text, .dice = { r->seed + (uint64_t)i } };
    facts f;
    join(p, &r->names, i, TERSE_RULER_FIRST_NAMES, " ", f.full, sizeof f.full);
    join(p, &r->towns, i, TERSE_RULER_TOWN_HEADS, "", f.town, sizeof f.town);
    join(p, &r->rivers, i, TERSE_RULER_RIVER_HEADS, "", f.river, sizeof f.river);
    f.job = terse_ruler_pick(&own, TERSE_RULER_JOBS);
    f.animal = terse_ruler_pick(&own, TERSE_RULER_ANIMALS);
    f.pet = terse_ruler_pick(&own, TERSE_RULER_PETS);
    f.goods = terse_ruler_pick(&own, TERSE_RULER_GOODS);
    snprintf(f.year, sizeof f.year, "%d", 1800 + terse_dice_below(&own.dice, 200));
    snprintf(f.built, sizeof f.built, "%d", 1400 + terse_dice_below(&own.dice, 500));
    return f;
}

/* ---- sentences with facts in braces ---- */

static terse_str slot_of(const facts *f, terse_str name)
{
    const struct {
        const char *name;
        terse_str s;
    } slots[] = {
        { "full", { f->full, strlen(f->full) } },
        { "town", { f->town, strlen(f->town) } },
        { "river", { f->river, strlen(f->river) } },
        { "year", { f->year, strlen(f->year) } },
        { "built", { f->built, strlen(f->built) } },
        { "job", f->job },
        { "animal", f->animal },
        { "pet", f->pet },
        { "goods", f->goods },
    };
    for (size_t i = 0; i < sizeof slots / sizeof *slots; i++)
        if (strlen(slots[i].name) == name.n && !memcmp(slots[i].name, name.p, name.n))
            return slots[i].s;
    return (terse_str){ NULL, 0 };
}

static void expand(terse_ruler_prompt *p, terse_text *to, terse_str s, const facts *f)
{
    for (const char *at = s.p, *end = s.p + s.n; at < end && p->st == TERSE_OK;) {
        const char *open = memchr(at, '{', (size_t)(end - at));
        const char *close = open ? memchr(open, '}', (size_t)(end - open)) : NULL;
        terse_ruler_add(p, to, (terse_str){ at, (size_t)((open ? open : end) - at) });
        if (!open)
            return;
        const terse_str name = { open + 1, close ? (size_t)(close - open) - 1 : 0 }, fact = slot_of(f, name);
        if (!fact.p)
            p->st = terse_fail(p->err, TERSE_BAD_INPUT, "no fact of the text is called so: %.*s",
                               (int)(s.n < 80 ? s.n : 80), open);
        else
            terse_ruler_add(p, to, fact);
        at = close ? close + 1 : end;
    }
}

/* The i-th part of a line between bars; empty if there is none. */
static terse_str part_of(terse_str line, int32_t i)
{
    for (;; i--) {
        const char *bar = memchr(line.p, '|', line.n);
        const size_t n = bar ? (size_t)(bar - line.p) : line.n;
        if (i == 0)
            return (terse_str){ line.p, n };
        if (!bar)
            return (terse_str){ line.p, 0 };
        line = (terse_str){ bar + 1, line.n - n - 1 };
    }
}

static bool same_fact(terse_str a, terse_str b)
{
    const terse_str x = part_of(a, 0), y = part_of(b, 0);
    return x.n == y.n && !memcmp(x.p, y.p, x.n);
}

/* ---- documents ---- */

/* One sentence of each fact, and remarks, as indices into the lines. Returns how many. */
static int32_t choose(terse_ruler_prompt *p, const terse_ruler_lines *from, int32_t chosen[MAX_SENTENCES])
{
    int32_t n = 0;
    for (int32_t i = 0, next; i < from->n; i = next) {
        const terse_str name = part_of(from->line[i], 0);
        for (next = i + 1; next < from->n && same_fact(from->line[i], from->line[next]); next++) {
        }
        const int32_t count = next - i, first = terse_dice_below(&p->dice, count);
        const int32_t wanted = name.n == 1 && name.p[0] == '-' ? REMARKS : 1;
        for (int32_t k = 0; k < wanted && k < count && n < MAX_SENTENCES; k++)
            chosen[n++] = i + (first + k * (1 + (count - 1) / 2)) % count;
    }
    return n;
}

static void write_document(terse_ruler_prompt *p, const facts *f, bool town)
{
    const terse_ruler_lines *from = &p->text->section[town ? TERSE_RULER_TOWN : TERSE_RULER_PERSON];
    int32_t chosen[MAX_SENTENCES];
    const int32_t n = choose(p, from, chosen);
    terse_dice_shuffle(&p->dice, chosen, n);
    for (int32_t i = 0; i < n; i++) {
        terse_ruler_put(p, &p->context, "%s", i ? " " : "");
        expand(p, &p->context, part_of(from->line[chosen[i]], 1), f);
    }
}

static void ask(terse_ruler_prompt *p, int32_t i, const facts *f, terse_ruler_section questions)
{
    const terse_str line = terse_ruler_pick(p, questions);
    terse_text answer = { 0 };
    terse_ruler_put(p, &p->question[i], "\n\nQuestion: ");
    expand(p, &p->question[i], part_of(line, 1), f);
    terse_ruler_put(p, &p->prefix[i], "\nAnswer: ");
    expand(p, &p->prefix[i], part_of(line, 2), f);
    expand(p, &answer, part_of(line, 3), f);
    if (p->st == TERSE_OK && answer.n == 0)
        p->st = terse_fail(p->err, TERSE_BAD_INPUT, "a question of the text has no answer: %.*s",
                           (int)(line.n < 80 ? line.n : 80), line.p);
    if (p->st == TERSE_OK)
        terse_ruler_answer(p, i, answer.p);
    terse_text_free(&answer);
}

/* Puts the document to where the depth wants it and that one to its place. */
static void place(int32_t *order, int32_t n, int32_t document, int32_t depth)
{
    const int32_t to = (int32_t)((int64_t)depth * (n - 1) / (TERSE_RULER_SLOTS - 1));
    int32_t from = 0;
    while (order[from] != document)
        from++;
    order[from] = order[to];
    order[to] = document;
}

/* Document d is about the person or the town of facts d / per_facts. */
static void write_documents(terse_ruler_prompt *p, int32_t per_facts)
{
    const register_of r = { terse_deck_of(&p->dice, pairs(p, TERSE_RULER_FIRST_NAMES, TERSE_RULER_LAST_NAMES)),
                            terse_deck_of(&p->dice, pairs(p, TERSE_RULER_TOWN_HEADS, TERSE_RULER_TOWN_TAILS)),
                            terse_deck_of(&p->dice, pairs(p, TERSE_RULER_RIVER_HEADS, TERSE_RULER_RIVER_TAILS)),
                            terse_dice_next(&p->dice) };
    const int32_t turned =
        per_facts == 1 ? p->nth % 2 : 0; /* one question about people, the next about towns */
    int32_t depth[TERSE_RULER_SLOTS], *order = terse_ruler_alloc(p, p->size, sizeof *order);
    if (!order)
        return;
    terse_ruler_depths(p, depth, 1);
    for (int32_t i = 0; i < p->n_ask; i++) {
        const facts f = facts_of(p, &r, i);
        ask(p, i, &f,
            per_facts == 2          ? TERSE_RULER_TWO_QUESTIONS
            : (i + turned) % 2 == 0 ? TERSE_RULER_PERSON_QUESTIONS
                                    : TERSE_RULER_TOWN_QUESTIONS);
    }
    for (int32_t d = 0; d < p->size; d++)
        order[d] = d;
    terse_dice_shuffle(&p->dice, order, p->size);
    for (int32_t i = 0; i < p->n_ask; i++)
        place(order, p->size, i * per_facts, depth[i]);
    terse_ruler_put(p, &p->context, "Read the documents below. There will be questions about them.\n");
    for (int32_t i = 0; i < p->size && p->st == TERSE_OK; i++) {
        const facts f = facts_of(p, &r, order[i] / per_facts);
        terse_ruler_put(p, &p->context, "\nDocument %d:\n", i + 1);
        p->dice.state = r.seed + (uint64_t)order[i] + SENTENCES; /* a document is the same among any others */
        write_document(p, &f, (order[i] + turned) % 2 != 0);
        terse_ruler_put(p, &p->context, "%s", i < p->size - 1 ? "\n" : "");
    }
    free(order);
}

void terse_ruler_qa_1(terse_ruler_prompt *p)
{
    write_documents(p, 1);
}

void terse_ruler_qa_2(terse_ruler_prompt *p)
{
    write_documents(p, 2);
}
