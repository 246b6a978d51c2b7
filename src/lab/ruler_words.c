/* lab/ruler_words.c: what is most frequent in a list of words (cwe) or in a coded text (fwe). */
#include "lab/ruler.h"

#include <stdio.h>
#include <stdlib.h>

/* ---- cwe: ten words stand in the list more often than the others ---- */

enum { COMMON = 10, LONG = 4096, MAX_WORD = 24 };

/* Words of a list: how often the common ones stand in it, how many others and how often those. */
typedef struct {
    int32_t common, n_other, other;
    int64_t first; /* its first word in the deck */
} list;

/* The i-th word; where single words end, pairs begin. */
static void word_at(const terse_ruler_prompt *p, const terse_deck *words, int64_t i, char to[MAX_WORD])
{
    const terse_ruler_lines *w = &p->text->words;
    const terse_str a = w->line[terse_deck_at(words, i)], b = w->line[i / w->n % w->n];
    if (i < w->n)
        snprintf(to, MAX_WORD, "%.*s", (int)a.n, a.p);
    else
        snprintf(to, MAX_WORD, "%.*s-%.*s", (int)a.n, a.p, (int)b.n, b.p);
}

static const char cwe_intro[] =
    "Below is a numbered list of words. Some of them stand in it more often than others: remember those.\n";
static const char cwe_question[] = "\n\nQuestion: What are the 10 most common words in the list above?";
static const char cwe_prefix[] = "\nAnswer: The 10 most common words in the list are:";

static void write_list(terse_ruler_prompt *p, const terse_deck *words, const list *l)
{
    const int32_t n = COMMON * l->common + l->n_other * l->other;
    int32_t *entry = terse_ruler_alloc(p, n, sizeof *entry);
    if (!entry)
        return;
    for (int32_t i = 0; i < n; i++)
        entry[i] = i < COMMON * l->common ? i / l->common : COMMON + (i - COMMON * l->common) / l->other;
    terse_dice_shuffle(&p->dice, entry, n);
    terse_ruler_put(p, &p->context, cwe_intro);
    for (int32_t i = 0; i < n && p->st == TERSE_OK; i++) {
        char word[MAX_WORD];
        word_at(p, words, l->first + entry[i], word);
        terse_ruler_put(p, &p->context, "%s%d. %s", i ? " " : "", i + 1, word);
    }
    free(entry);
}

/* The common words of a list. */
static void write_answer(terse_ruler_prompt *p, const terse_deck *words, const list *l, bool into_context)
{
    for (int32_t i = 0; i < COMMON; i++) {
        char word[MAX_WORD];
        word_at(p, words, l->first + i, word);
        if (into_context)
            terse_ruler_put(p, &p->context, "%s %s", i ? "," : "", word);
        else
            terse_ruler_answer(p, 0, word);
    }
}

void terse_ruler_cwe(terse_ruler_prompt *p)
{
    const bool room = p->ctx >= LONG;
    const list example = { room ? 10 : 3, room ? 40 - COMMON : 20 - COMMON, room ? 3 : 1, 0 },
               asked = { room ? 30 : 6, p->size, room ? 3 : 1, COMMON + example.n_other };
    const terse_deck words = terse_deck_of(&p->dice, p->text->words.n);
    if (p->example) {
        write_list(p, &words, &example);
        terse_ruler_put(p, &p->context, "%s%s", cwe_question, cwe_prefix);
        write_answer(p, &words, &example, true);
        terse_ruler_put(p, &p->context, ".\n\n");
    }
    write_list(p, &words, &asked);
    terse_ruler_put(p, &p->question[0], cwe_question);
    terse_ruler_put(p, &p->prefix[0], cwe_prefix);
    write_answer(p, &words, &asked, false);
}

/* ---- fwe: the k-th word of a coded text has a share of 1 / (zeta(2) k^2); the first is noise ---- */

enum { CODED = 6, LETTERS = 26, ASKED = 3, TOKENS_PER_WORD = 50, LEAST_WORDS = 8 };

/* floor(n / (zeta(2) k^2)), 1 / zeta(2) = 0.607927 */
static int32_t zeta_count(int32_t n, int32_t k)
{
    return (int32_t)((int64_t)n * 607927 / 1000000 / ((int64_t)k * k));
}

static void coded_word(const terse_deck *codes, int32_t k, char to[CODED + 1])
{
    int64_t code = terse_deck_at(codes, k);
    for (int32_t i = 0; i < CODED; i++, code /= LETTERS)
        to[i] = (char)('a' + code % LETTERS);
    to[CODED] = '\0';
}

void terse_ruler_fwe(terse_ruler_prompt *p)
{
    const terse_deck codes =
        terse_deck_of(&p->dice, LETTERS * LETTERS * LETTERS * LETTERS * LETTERS * (int64_t)LETTERS);
    const int32_t n_word = p->ctx / TOKENS_PER_WORD > LEAST_WORDS ? p->ctx / TOKENS_PER_WORD : LEAST_WORDS;
    int32_t n = 0, *entry = terse_ruler_alloc(p, p->size, sizeof *entry);
    char word[CODED + 1];
    if (!entry)
        return;
    for (int32_t k = 1; k <= n_word; k++) /* the sum of all shares is less than 1 */
        for (int32_t i = 0; i < zeta_count(p->size, k); i++)
            entry[n++] = k;
    terse_dice_shuffle(&p->dice, entry, n);
    terse_ruler_put(p, &p->context,
                    "Below is a coded text. Count how often each coded word stands in it; the dots \"...\" are "
                    "noise and no word.\n\n");
    for (int32_t i = 0; i < n && p->st == TERSE_OK; i++) {
        coded_word(&codes, entry[i], word);
        terse_ruler_put(p, &p->context, "%s%s", i ? " " : "", entry[i] == 1 ? "..." : word);
    }
    for (int32_t k = 2; k < 2 + ASKED; k++) {
        coded_word(&codes, k, word);
        terse_ruler_answer(p, 0, word);
    }
    terse_ruler_put(p, &p->question[0],
                    "\n\nQuestion: What are the 3 most frequent words in the coded text above?");
    terse_ruler_put(p, &p->prefix[0], "\nAnswer: The 3 most frequent words in the coded text are:");
    free(entry);
}
