/* cli/conversation.c: every turn renders the conversation as a whole, since only the template knows what a turn
 * does to those before it. A text that goes on as before keeps its tokens.
 *
 * What people type may spell control tokens. A mark is put into such spellings before the template sees them,
 * and the rendered text is tokenised in pieces between the marks. */
#include "conversation.h"

#include <stdlib.h>
#include <string.h>

/* Characters that Unicode keeps out of texts. */
static const char MARK[] = "\xEF\xB7\x90", ANSWER[] = "\xEF\xB7\x91";
enum { MARK_SIZE = 3 };

static terse_status is_control(const terse_vocab *v, int32_t id, terse_text *spelled, bool *is,
                               terse_error *err)
{
    spelled->n = 0;
    terse_status st = terse_vocab_piece(v, id, false, spelled, err);
    const bool silent = spelled->n == 0;
    if (st == TERSE_OK && silent)
        st = terse_vocab_piece(v, id, true, spelled, err);
    *is = silent && spelled->n > 0;
    return st;
}

/* Tokens of text[n], less the marks in it. */
static terse_status tokenize(const terse_vocab *v, const char *text, size_t n, terse_tokens *out,
                             terse_error *err)
{
    terse_status st = TERSE_OK;
    while (st == TERSE_OK && n > 0) {
        const char *mark = memmem(text, n, MARK, MARK_SIZE);
        const size_t piece = mark ? (size_t)(mark - text) : n, all = mark ? piece + MARK_SIZE : n;
        if (piece > 0)
            st = terse_vocab_tokenize(v, text, piece, false, true, out, err);
        text += all;
        n -= all;
    }
    return st;
}

/* Appends text to *out with a mark in every control token that it spells. *found: there was one. */
static terse_status mark_once(const terse_vocab *v, terse_str text, terse_text *out, bool *found,
                              terse_error *err)
{
    terse_tokens t = { 0 };
    terse_text spelled = { 0 };
    const char *from = text.p, *end = text.p + text.n;
    *found = false;
    terse_status st = tokenize(v, text.p, text.n, &t, err);
    for (size_t i = 0; i < t.n && st == TERSE_OK; i++) {
        bool control;
        st = is_control(v, t.ids[i], &spelled, &control, err);
        const char *hit =
            st == TERSE_OK && control ? memmem(from, (size_t)(end - from), spelled.p, spelled.n) : NULL;
        if (!hit)
            continue;
        size_t first = 1; /* bytes of its first character: the mark comes after that */
        while (first < spelled.n && ((uint8_t)spelled.p[first] & 0xC0) == 0x80)
            first++;
        *found = true;
        if ((st = terse_text_append(out, from, (size_t)(hit - from) + first, err)) == TERSE_OK)
            st = terse_text_append(out, MARK, MARK_SIZE, err);
        from = hit + first;
    }
    if (st == TERSE_OK)
        st = terse_text_append(out, from, (size_t)(end - from), err);
    terse_text_free(&spelled);
    terse_tokens_free(&t);
    return st;
}

/* A control token of a single character cannot be broken; then the second pass would find it again and again.
 */
enum { MOST_PASSES = 4 };

static terse_status mark_controls(const terse_vocab *v, terse_str text, terse_text *out, terse_error *err)
{
    bool found = true;
    terse_status st = terse_text_append(out, text.p ? text.p : "", text.n, err);
    for (int pass = 0; found && pass < MOST_PASSES && st == TERSE_OK; pass++) {
        terse_text marked = { 0 };
        st = mark_once(v, (terse_str){ out->p, out->n }, &marked, &found, err);
        terse_text_free(out);
        *out = marked;
    }
    return st;
}

static terse_status push_message(json_t *messages, const char *role, const char *text, size_t n,
                                 terse_error *err)
{
    json_t *content = json_stringn(text, n);
    if (!content)
        return terse_fail(err, TERSE_BAD_INPUT, "the %s's text is not UTF-8", role);
    json_t *message = json_object();
    json_object_set_new(message, "role", json_string(role));
    json_object_set_new(message, "content", content);
    return json_array_append_new(messages, message) == 0
               ? TERSE_OK
               : terse_fail(err, TERSE_NOMEM, "no memory for the conversation");
}

terse_status terse_conversation_say(terse_conversation *c, const char *role, terse_str text, terse_error *err)
{
    terse_text marked = { 0 };
    if (strcmp(role, "assistant") == 0)
        return push_message(c->messages, role, text.p ? text.p : "", text.n, err);
    terse_status st = mark_controls(c->v, text, &marked, err);
    if (st == TERSE_OK)
        st = push_message(c->messages, role, marked.p, marked.n, err);
    terse_text_free(&marked);
    return st;
}

void terse_conversation_cut(terse_conversation *c, size_t n)
{
    while (json_array_size(c->messages) > n)
        json_array_remove(c->messages, json_array_size(c->messages) - 1);
    if (n == 0)
        c->held.n = c->ids.n = 0;
}

static terse_status render(terse_conversation *c, const json_t *messages, bool generate, terse_text *out,
                           terse_error *err)
{
    const terse_str none = { NULL, 0 };
    char *json = json_dumps(messages, JSON_COMPACT);
    if (!json)
        return terse_fail(err, TERSE_NOMEM, "no memory for the conversation");
    const terse_status st = terse_chat_render(&c->chat, (terse_str){ json, strlen(json) }, none, none, generate,
                                              out, &c->folded, err);
    free(json);
    return st;
}

/* The template's own end of an answer: the first token after it, if that is a control token. A template that
 * cannot show it (because it wants other messages) tells nothing. */
static terse_status find_end(terse_conversation *c, terse_error *err)
{
    json_t *messages = json_array();
    terse_text text = { 0 }, spelled = { 0 };
    terse_tokens t = { 0 };
    terse_error why;
    bool control = false;
    c->end = -1;
    terse_status st = push_message(messages, "user", "?", 1, err);
    if (st == TERSE_OK)
        st = push_message(messages, "assistant", ANSWER, MARK_SIZE, err);
    if (st == TERSE_OK && render(c, messages, false, &text, &why) == TERSE_OK && text.n > 0) {
        const char *hit = memmem(text.p, text.n, ANSWER, MARK_SIZE);
        if (hit)
            st = tokenize(c->v, hit + MARK_SIZE, text.n - (size_t)(hit - text.p) - MARK_SIZE, &t, err);
    }
    if (st == TERSE_OK && t.n > 0 && (st = is_control(c->v, t.ids[0], &spelled, &control, err)) == TERSE_OK &&
        control)
        c->end = t.ids[0];
    terse_tokens_free(&t);
    terse_text_free(&spelled);
    terse_text_free(&text);
    json_decref(messages);
    return st;
}

terse_status terse_conversation_open(terse_conversation *c, const terse_gguf *g, const terse_vocab *v,
                                     const terse_chat_values *o, terse_error *err)
{
    *c = (terse_conversation){ .v = v, .messages = json_array() };
    terse_status st = terse_chat_open(&c->chat, g, v, o, false, NULL, err);
    if (st == TERSE_OK)
        st = find_end(c, err);
    if (st != TERSE_OK)
        terse_conversation_close(c);
    return st;
}

void terse_conversation_close(terse_conversation *c)
{
    json_decref(c->messages);
    c->messages = NULL;
    terse_chat_close(&c->chat);
    terse_text_free(&c->next);
    terse_text_free(&c->held);
    terse_tokens_free(&c->ids);
}

/* The tokens so far and those of what follows. Only where a control token follows: it parts what is before it
 * from what comes after it. *done: that was so. */
static terse_status go_on(terse_conversation *c, terse_tokens *out, bool *done, terse_error *err)
{
    terse_text spelled = { 0 };
    terse_status st = TERSE_OK;
    *done = false;
    if (c->ids.n == 0 || c->next.n <= c->held.n || memcmp(c->next.p, c->held.p, c->held.n) != 0)
        return TERSE_OK;
    for (size_t i = 0; i < c->ids.n && st == TERSE_OK; i++)
        st = terse_tokens_push(out, c->ids.ids[i], err);
    if (st == TERSE_OK)
        st = tokenize(c->v, c->next.p + c->held.n, c->next.n - c->held.n, out, err);
    if (st == TERSE_OK && out->n > c->ids.n)
        st = is_control(c->v, out->ids[c->ids.n], &spelled, done, err);
    terse_text_free(&spelled);
    return st;
}

terse_status terse_conversation_prompt(terse_conversation *c, terse_tokens *out, terse_error *err)
{
    const int32_t bos = terse_vocab_bos(c->v);
    bool done;
    out->n = c->next.n = 0;
    terse_status st = render(c, c->messages, true, &c->next, err);
    if (st == TERSE_OK)
        st = go_on(c, out, &done, err);
    if (st != TERSE_OK || done)
        return st;
    /* A template may write bos itself; a vocabulary may ask for it; never twice. */
    out->n = 0;
    if (terse_vocab_adds_bos(c->v) && bos >= 0 &&
        (c->chat.bos.n == 0 || c->next.n < c->chat.bos.n ||
         memcmp(c->next.p, c->chat.bos.p, c->chat.bos.n) != 0))
        st = terse_tokens_push(out, bos, err);
    return st == TERSE_OK ? tokenize(c->v, c->next.p ? c->next.p : "", c->next.n, out, err) : st;
}

terse_status terse_conversation_answered(terse_conversation *c, const terse_tokens *prompt,
                                         const terse_tokens *ids, terse_str text, bool exact, terse_error *err)
{
    terse_status st = terse_conversation_say(c, "assistant", text, err);
    c->held.n = c->ids.n = 0;
    if (st == TERSE_OK && exact) {
        const terse_tokens *parts[] = { prompt, ids };
        for (int k = 0; k < 2; k++)
            for (size_t i = 0; i < parts[k]->n && st == TERSE_OK; i++)
                st = terse_tokens_push(&c->ids, parts[k]->ids[i], err);
        if (st == TERSE_OK && (st = terse_text_append(&c->held, c->next.p, c->next.n, err)) == TERSE_OK)
            st = terse_text_append(&c->held, text.p ? text.p : "", text.n, err);
    }
    return st;
}
