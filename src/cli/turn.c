/* cli/turn.c: the format is rendered with a mark in place of what people say. Between the marks is the format's
 * own text; what people say is put in after that has been cut. */
#include "turn.h"

#include <string.h>

/* No format writes this byte or takes it for a blank. */
static const terse_str MARK = { "\x01", 1 };
static const terse_str SYSTEM = { "system", 6 }, USER = { "user", 4 }, ASSISTANT = { "assistant", 9 };

/* Does the text spell a special token? */
static terse_status spells_special(const terse_vocab *v, terse_str text, bool *does, terse_error *err)
{
    terse_tokens plain = { 0 }, parsed = { 0 };
    terse_status st = terse_vocab_tokenize(v, text.p, text.n, false, false, &plain, err);
    if (st == TERSE_OK)
        st = terse_vocab_tokenize(v, text.p, text.n, false, true, &parsed, err);
    *does = st == TERSE_OK && (plain.n != parsed.n ||
                               (plain.n && memcmp(plain.ids, parsed.ids, plain.n * sizeof *plain.ids) != 0));
    terse_tokens_free(&plain);
    terse_tokens_free(&parsed);
    return st;
}

/* The rendered turn, which stands after n_skip marks of *text, with said[] put in for the other marks. What
 * people say is tokenised together with its surroundings, as the model has learnt it; only if it spells a
 * special token it is cut out and tokenised apart. */
static terse_status put_together(const terse_vocab *v, const terse_text *text, int32_t n_skip,
                                 const terse_str *said, terse_tokens *out, terse_error *err)
{
    terse_text run = { 0 }; /* not tokenised yet */
    terse_status st = TERSE_OK;
    const char *p = text->p, *end = text->p + text->n;
    for (int32_t i = 0; i < n_skip; i++)
        p = (const char *)memchr(p, MARK.p[0], (size_t)(end - p)) + 1;
    while (st == TERSE_OK) {
        bool apart = false;
        const char *mark = memchr(p, MARK.p[0], (size_t)(end - p));
        st = terse_text_append(&run, p, (size_t)((mark ? mark : end) - p), err);
        if (st == TERSE_OK && mark)
            st = spells_special(v, *said, &apart, err);
        if (st == TERSE_OK && mark && !apart)
            st = terse_text_append(&run, said->p, said->n, err);
        if (st == TERSE_OK && (!mark || apart)) {
            st = terse_vocab_tokenize(v, run.p ? run.p : "", run.n, false, true, out, err);
            run.n = 0;
        }
        if (st == TERSE_OK && apart)
            st = terse_vocab_tokenize(v, said->p, said->n, false, false, out, err);
        if (!mark)
            break;
        p = mark + 1;
        said++;
    }
    terse_text_free(&run);
    return st;
}

terse_status terse_turn_tokens(const terse_chat_format *f, const terse_vocab *v, bool first, const char *system,
                               terse_str user, terse_tokens *out, terse_error *err)
{
    const bool with_system = first && system;
    const terse_message opening[] = { { SYSTEM, MARK }, { USER, MARK } };
    const terse_message later[] = { { USER, MARK }, { ASSISTANT, MARK }, { USER, MARK } };
    const terse_str said[] = { { system, system ? strlen(system) : 0 }, user };
    const size_t before = out->n;
    terse_text text = { 0 };
    bool has_bos;
    terse_status st =
        first ? terse_chat_render(f, v, opening + !with_system, 1 + with_system, true, &text, &has_bos, err)
              : terse_chat_render(f, v, later, 3, true, &text, &has_bos, err);
    if (st == TERSE_OK && first && !has_bos && terse_vocab_adds_bos(v))
        st = terse_tokens_push(out, terse_vocab_bos(v), err);
    if (st == TERSE_OK)
        st = put_together(v, &text, first ? 0 : 2, said + !with_system, out, err);
    if (st != TERSE_OK)
        out->n = before;
    terse_text_free(&text);
    return st;
}
