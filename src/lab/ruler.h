/* lab/ruler.h: the 13 shapes of RULER (Hsieh et al. 2024, arXiv 2404.06654) in words of our own. The shape, a
 * row of a table, decides what is hidden and what is asked; the text file gives haystack, names and sentences;
 * everything else comes from a seed by integer arithmetic, so that any machine makes the same prompts. */
#ifndef TERSE_LAB_RULER_H
#define TERSE_LAB_RULER_H

#include "lab/tasks.h"

/* ---- chance: SplitMix64 (Steele, Lea, Flood 2014, fig. 13) ---- */

typedef struct {
    uint64_t state;
} terse_dice;
uint64_t terse_dice_next(terse_dice *d);
/* 0 .. n-1; n >= 1. */
int32_t terse_dice_below(terse_dice *d, int32_t n);
void terse_dice_shuffle(terse_dice *d, int32_t *x, int32_t n);

/* 0 .. n-1 in an order of its own: what must not repeat is drawn from one of these. n from 1 to 2^30. */
typedef struct {
    int64_t n;
    uint64_t mask, factor[3], offset[3];
    int32_t shift;
} terse_deck;
terse_deck terse_deck_of(terse_dice *d, int64_t n);
int64_t terse_deck_at(const terse_deck *c, int64_t i); /* the i-th of them, i mod n */

/* ---- the text file ---- */

typedef enum {
    TERSE_RULER_HAYSTACK, /* sentences; an empty line ends a paragraph */
    TERSE_RULER_NOISE,
    TERSE_RULER_ADJECTIVES,
    TERSE_RULER_NOUNS,
    TERSE_RULER_LABELS, /* what a value is called; plural with s */
    TERSE_RULER_FIRST_NAMES,
    TERSE_RULER_LAST_NAMES,
    TERSE_RULER_TOWN_HEADS,
    TERSE_RULER_TOWN_TAILS,
    TERSE_RULER_RIVER_HEADS,
    TERSE_RULER_RIVER_TAILS,
    TERSE_RULER_JOBS,
    TERSE_RULER_ANIMALS,
    TERSE_RULER_PETS,
    TERSE_RULER_GOODS,
    TERSE_RULER_PERSON, /* fact|sentence, those of one fact together */
    TERSE_RULER_TOWN,
    TERSE_RULER_PERSON_QUESTIONS, /* fact|question|beginning of the answer|answer */
    TERSE_RULER_TOWN_QUESTIONS,
    TERSE_RULER_TWO_QUESTIONS,
    TERSE_RULER_SECTIONS
} terse_ruler_section;

typedef struct {
    const terse_str *line; /* [n], n >= 1 */
    int32_t n;
} terse_ruler_lines;

typedef struct {
    terse_ruler_lines section[TERSE_RULER_SECTIONS];
    terse_ruler_lines words; /* the haystack's, each once, 4 to 10 small letters */
    terse_str *line;         /* owned: of all sections */
    terse_str *word;         /* owned */
} terse_ruler_text;

/* text[n] is borrowed until close. All zero is closed. */
terse_status terse_ruler_text_open(terse_ruler_text *t, const char *text, size_t n, terse_error *err);
void terse_ruler_text_close(terse_ruler_text *t);

/* ---- a prompt ---- */

struct terse_ruler_task;

/* Being written. What is appended after a failure is dropped. */
typedef struct {
    const terse_ruler_text *text;
    const struct terse_ruler_task *task;
    int32_t ctx, nth; /* tokens asked for; which prompt of the task, from 0 */
    int32_t n_ask;    /* questions: 1 or 2 */
    bool example;     /* a solved one in front */
    int32_t size;     /* sentences, needles, words or documents of filling */
    terse_dice dice;
    terse_text context, question[2], prefix[2]; /* owned, as all below */
    json_t *answers[2];
    terse_status st;
    terse_error *err;
} terse_ruler_prompt;

typedef enum { TERSE_FILL_NOISE, TERSE_FILL_HAYSTACK, TERSE_FILL_NEEDLES } terse_ruler_fill;

typedef struct terse_ruler_task {
    const char *name;
    void (*write)(terse_ruler_prompt *p);
    int32_t (*most)(const terse_ruler_prompt *p); /* the largest size that the text has names for */
    int32_t least;                                /* the smallest size that makes sense */
    bool second;                                  /* there is something else to ask */
    terse_ruler_fill fill;                        /* of the needles, as what follows */
    bool uuid_key, uuid_value;
    int32_t n_key, n_value, n_query;
} terse_ruler_task;

enum { TERSE_RULER_TASKS = 13, TERSE_RULER_SLOTS = 40 };
extern const terse_ruler_task terse_ruler_tasks[TERSE_RULER_TASKS];

/* The families, one function each. */
void terse_ruler_niah(terse_ruler_prompt *p);
void terse_ruler_vt(terse_ruler_prompt *p);
void terse_ruler_cwe(terse_ruler_prompt *p);
void terse_ruler_fwe(terse_ruler_prompt *p);
void terse_ruler_qa_1(terse_ruler_prompt *p);
void terse_ruler_qa_2(terse_ruler_prompt *p);
int32_t terse_ruler_most_keys(const terse_ruler_prompt *p);
int32_t terse_ruler_most_documents(const terse_ruler_prompt *p);

/* For them. */
void terse_ruler_put(terse_ruler_prompt *p, terse_text *to, const char *fmt, ...) TERSE_PRINTF(3, 4);
void terse_ruler_add(terse_ruler_prompt *p, terse_text *to, terse_str s);
/* One more answer to question i. */
void terse_ruler_answer(terse_ruler_prompt *p, int32_t i, const char *answer);
/* n elements of the size; NULL after a failure. Owned by the caller: free(). */
void *terse_ruler_alloc(terse_ruler_prompt *p, int32_t n, size_t size);
/* n different depths out of TERSE_RULER_SLOTS. at[0] goes evenly through all of them from prompt to prompt,
 * at[opposite], if that is not 0, is half a context away from it. */
void terse_ruler_depths(terse_ruler_prompt *p, int32_t at[TERSE_RULER_SLOTS], int32_t opposite);
/* Some line of a section. */
terse_str terse_ruler_pick(terse_ruler_prompt *p, terse_ruler_section s);

#endif
