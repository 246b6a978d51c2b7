/* lab/ruler_text.c: the text file that prompts are made from, and chance. */
#include "lab/ruler.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_NAME = 64, MAX_LINE = 4096 };

static const char *const section_names[TERSE_RULER_SECTIONS] = {
    [TERSE_RULER_HAYSTACK] = "haystack",
    [TERSE_RULER_NOISE] = "noise",
    [TERSE_RULER_ADJECTIVES] = "adjectives",
    [TERSE_RULER_NOUNS] = "nouns",
    [TERSE_RULER_LABELS] = "labels",
    [TERSE_RULER_FIRST_NAMES] = "first names",
    [TERSE_RULER_LAST_NAMES] = "last names",
    [TERSE_RULER_TOWN_HEADS] = "town heads",
    [TERSE_RULER_TOWN_TAILS] = "town tails",
    [TERSE_RULER_RIVER_HEADS] = "river heads",
    [TERSE_RULER_RIVER_TAILS] = "river tails",
    [TERSE_RULER_JOBS] = "jobs",
    [TERSE_RULER_ANIMALS] = "animals",
    [TERSE_RULER_PETS] = "pets",
    [TERSE_RULER_GOODS] = "goods",
    [TERSE_RULER_PERSON] = "person",
    [TERSE_RULER_TOWN] = "town",
    [TERSE_RULER_PERSON_QUESTIONS] = "person questions",
    [TERSE_RULER_TOWN_QUESTIONS] = "town questions",
    [TERSE_RULER_TWO_QUESTIONS] = "questions over two documents",
};

/* ---- chance ---- */

uint64_t terse_dice_next(terse_dice *d)
{
    uint64_t z = d->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

int32_t terse_dice_below(terse_dice *d, int32_t n)
{
    return (int32_t)((terse_dice_next(d) >> 32) * (uint64_t)n >> 32);
}

void terse_dice_shuffle(terse_dice *d, int32_t *x, int32_t n)
{
    for (int32_t i = n - 1; i > 0; i--) {
        const int32_t j = terse_dice_below(d, i + 1), kept = x[i];
        x[i] = x[j];
        x[j] = kept;
    }
}

/* Three times an odd factor, an offset and the upper bits onto the lower ones: each of these permutes the
 * numbers below a power of two. What comes out too large is permuted again, until it is not. */
terse_deck terse_deck_of(terse_dice *d, int64_t n)
{
    terse_deck c = { .n = n, .mask = 1 };
    int32_t bits = 1;
    for (; c.mask < (uint64_t)n; bits++)
        c.mask = 2 * c.mask + 1;
    c.shift = (bits + 1) / 2;
    for (int i = 0; i < 3; i++) {
        c.factor[i] = terse_dice_next(d) | 1;
        c.offset[i] = terse_dice_next(d);
    }
    return c;
}

int64_t terse_deck_at(const terse_deck *c, int64_t i)
{
    uint64_t x = (uint64_t)(i % c->n);
    do
        for (int k = 0; k < 3; k++) {
            x = (x * c->factor[k] + c->offset[k]) & c->mask;
            x ^= x >> c->shift;
        }
    while (x >= (uint64_t)c->n);
    return (int64_t)x;
}

/* ---- sections ---- */

static int32_t section_of(terse_str name)
{
    for (int32_t s = 0; s < TERSE_RULER_SECTIONS; s++)
        if (strlen(section_names[s]) == name.n && !memcmp(section_names[s], name.p, name.n))
            return s;
    return -1;
}

static terse_status check_line(terse_str s, int32_t section, int32_t nth, terse_error *err)
{
    const size_t most = section >= TERSE_RULER_ADJECTIVES && section <= TERSE_RULER_GOODS ? MAX_NAME : MAX_LINE;
    if (section < 0)
        return terse_fail(err, TERSE_BAD_INPUT, "line %d of the text stands before the first [section]", nth);
    if (s.n > most)
        return terse_fail(err, TERSE_BAD_INPUT, "line %d of the text is longer than %zu bytes", nth, most);
    if (memchr(s.p, 0, s.n))
        return terse_fail(err, TERSE_BAD_INPUT, "line %d of the text has a zero byte", nth);
    if (section >= TERSE_RULER_PERSON && !memchr(s.p, '|', s.n))
        return terse_fail(err, TERSE_BAD_INPUT, "line %d of the text is not fact|sentence", nth);
    return TERSE_OK;
}

/* Lines of one section lie together in t->line. */
static terse_status read_sections(terse_ruler_text *t, const char *text, size_t n, terse_error *err)
{
    int32_t section = -1, used = 0, nth = 0;
    for (const char *p = text, *end = text + n; p < end;) {
        const char *stop = memchr(p, '\n', (size_t)(end - p));
        terse_str s = { p, (size_t)((stop ? stop : end) - p) };
        p += s.n + 1;
        nth++;
        s.n -= s.n > 0 && s.p[s.n - 1] == '\r';
        if ((s.n > 0 && s.p[0] == '#') || (s.n == 0 && section != TERSE_RULER_HAYSTACK))
            continue;
        if (s.n > 2 && s.p[0] == '[' && s.p[s.n - 1] == ']') {
            section = section_of((terse_str){ s.p + 1, s.n - 2 });
            if (section < 0 || t->section[section].line)
                return terse_fail(err, TERSE_BAD_INPUT, "line %d of the text: section %.*s is %s", nth,
                                  (int)(s.n < MAX_NAME ? s.n : MAX_NAME), s.p,
                                  section < 0 ? "not known" : "there twice");
            t->section[section].line = t->line + used;
            continue;
        }
        const terse_status st = check_line(s, section, nth, err);
        if (st != TERSE_OK)
            return st;
        t->line[used++] = s;
        t->section[section].n++;
    }
    for (int32_t s = 0; s < TERSE_RULER_SECTIONS; s++)
        if (t->section[s].n == 0)
            return terse_fail(err, TERSE_BAD_INPUT, "the text has no section [%s]", section_names[s]);
    return TERSE_OK;
}

/* ---- words ---- */

static bool small(char c)
{
    return c >= 'a' && c <= 'z';
}

static bool letter(char c)
{
    return small(c) || (c >= 'A' && c <= 'Z') || c == '\'' || c == '-' || (c & 0x80);
}

/* Words of the haystack go to word, if that is not NULL. Returns how many there are. */
static int32_t find_words(const terse_ruler_lines *hay, terse_str *word)
{
    int32_t n = 0;
    for (int32_t i = 0; i < hay->n; i++)
        for (const char *p = hay->line[i].p, *end = p + hay->line[i].n; p < end;) {
            const char *from = p;
            bool plain = true;
            for (; p < end && letter(*p); p++)
                plain &= small(*p);
            const size_t len = (size_t)(p - from);
            if (plain && len >= 4 && len <= 10) {
                if (word)
                    word[n] = (terse_str){ from, len };
                n++;
            }
            p += len == 0;
        }
    return n;
}

static int compare_words(const void *a, const void *b)
{
    const terse_str *x = a, *y = b;
    const int order = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return order ? order : (x->n > y->n) - (x->n < y->n);
}

static terse_status collect_words(terse_ruler_text *t, terse_error *err)
{
    enum { LEAST = 100 }; /* common words and others, of an example too */
    const terse_ruler_lines *hay = &t->section[TERSE_RULER_HAYSTACK];
    const int32_t all = find_words(hay, NULL);
    int32_t n = 0;
    if (all < LEAST || !(t->word = calloc((size_t)all, sizeof *t->word)))
        return all < LEAST ? terse_fail(err, TERSE_BAD_INPUT, "the [haystack] is too short: %d words", all)
                           : terse_fail(err, TERSE_NOMEM, "no memory for the words of a text");
    find_words(hay, t->word);
    qsort(t->word, (size_t)all, sizeof *t->word, compare_words);
    for (int32_t i = 0; i < all; i++)
        if (n == 0 || compare_words(&t->word[n - 1], &t->word[i]) != 0)
            t->word[n++] = t->word[i];
    t->words = (terse_ruler_lines){ t->word, n };
    if (n < LEAST)
        return terse_fail(err, TERSE_BAD_INPUT, "the [haystack] has only %d different words", n);
    return TERSE_OK;
}

terse_status terse_ruler_text_open(terse_ruler_text *t, const char *text, size_t n, terse_error *err)
{
    size_t n_line = 1;
    *t = (terse_ruler_text){ 0 };
    if (n > 1u << 30)
        return terse_fail(err, TERSE_BAD_INPUT, "the text has more than 1 GiB");
    for (size_t i = 0; i < n; i++)
        n_line += text[i] == '\n';
    t->line = calloc(n_line, sizeof *t->line);
    if (!t->line)
        return terse_fail(err, TERSE_NOMEM, "no memory for a text of %zu lines", n_line);
    terse_status st = read_sections(t, text, n, err);
    if (st == TERSE_OK)
        st = collect_words(t, err);
    if (st != TERSE_OK)
        terse_ruler_text_close(t);
    return st;
}

void terse_ruler_text_close(terse_ruler_text *t)
{
    free(t->line);
    free(t->word);
    *t = (terse_ruler_text){ 0 };
}
