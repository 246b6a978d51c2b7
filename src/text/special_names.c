/* text/special_names.c: what the texts of special tokens tell. Files often call such tokens normal or
 * user-defined, or forget to name those that end a generation; engines of the field know them by their texts.
 */
#include "text/vocab.h"

#include <string.h>

/* Tokens that end a generation and are control tokens whatever the file says. */
static const char ENDS[] =
    "<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> <|endoftext|> </s> "
    "<|eom_id|> <EOT> _<EOT> [EOT] [EOS] <|end_of_text|> <end_of_utterance> <eos> <turn|> <|tool_response> "
    "<\xEF\xBD\x9C"
    "end\xE2\x96\x81of\xE2\x96\x81sentence\xEF\xBD\x9C> [e~[";

/* Tokens for filling in the middle: control tokens known by their texts unless the file names their ids.
 * Padding and the borders of files and repositories end a generation in either case. */
static const struct {
    const char *key, *texts;
    bool ends;
} FILL_IN[] = {
    { "tokenizer.ggml.fim_pre_token_id",
      "<|fim_prefix|> <fim-prefix> <fim_prefix> <\xEF\xBD\x9C"
      "fim\xE2\x96\x81"
      "begin\xEF\xBD\x9C> <PRE> \xE2\x96\x81<PRE> <|code_prefix|> <|prefix|>",
      false },
    { "tokenizer.ggml.fim_suf_token_id",
      "<|fim_suffix|> <fim-suffix> <fim_suffix> <\xEF\xBD\x9C"
      "fim\xE2\x96\x81hole\xEF\xBD\x9C> <SUF> \xE2\x96\x81<SUF> <|code_suffix|> <|suffix|>",
      false },
    { "tokenizer.ggml.fim_mid_token_id",
      "<|fim_middle|> <fim-middle> <fim_middle> <\xEF\xBD\x9C"
      "fim\xE2\x96\x81"
      "end\xEF\xBD\x9C> <MID> \xE2\x96\x81<MID> <|code_middle|> <|middle|>",
      false },
    { "tokenizer.ggml.fim_pad_token_id", "<|fim_pad|> <fim-pad> <fim_pad> <PAD> [PAD]", true },
    { "tokenizer.ggml.fim_rep_token_id", "<|fim_repo|> <|repo_name|> <fim-repo> <REPO> <reponame>", true },
    { "tokenizer.ggml.fim_sep_token_id", "<|file_sep|>", true },
};

/* Parts of messages in the format of gpt-oss: text to show, not control. */
static const char ALWAYS_SHOWN[] = "<|channel|> <|message|> <|start|> <|constrain|>";

static terse_token *find(const terse_vocab *v, terse_str text)
{
    const int32_t id = terse_vocab_find(v, text);
    return id < 0 ? NULL : &v->tokens[id];
}

static terse_token *find_text(const terse_vocab *v, const char *text)
{
    return find(v, (terse_str){ text, strlen(text) });
}

/* Sets the type of all tokens in a list of texts, and that they end a generation if they do. */
static void mark(const terse_vocab *v, const char *texts, uint8_t type, bool ends)
{
    for (const char *p = texts; *p;) {
        const size_t n = strcspn(p, " ");
        terse_token *t = find(v, (terse_str){ p, n });
        if (t) {
            t->type = type;
            t->end = t->end || ends;
        }
        p += n + (p[n] == ' ');
    }
}

static bool ends(const terse_vocab *v, const char *text)
{
    const terse_token *t = find_text(v, text);
    return t && t->end;
}

/* Where these tokens stand side by side, one of them has another meaning. */
static void mark_exceptions(const terse_vocab *v)
{
    terse_token *end = find_text(v, "<|end|>"), *s = find_text(v, "</s>");
    const bool call = ends(v, "<|call|>") || ends(v, "<|calls|>");
    if (end && ((ends(v, "<|return|>") && call) || (ends(v, "<|flush|>") && call))) {
        end->end = false; /* of a message, after which the turn goes on */
        end->type = TERSE_TOKEN_USER_DEFINED;
    }
    if (s && ends(v, "<|tool_response>")) {
        s->end = false; /* of an HTML element */
        s->type = TERSE_TOKEN_NORMAL;
    }
}

terse_status terse_special_names(terse_vocab *v, const terse_gguf *g, terse_error *err)
{
    static const char *const keys[] = { "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id" };
    terse_status st;
    int32_t id;
    for (size_t i = 0; i < sizeof FILL_IN / sizeof FILL_IN[0]; i++) {
        if ((st = terse_vocab_get_id(v, g, FILL_IN[i].key, -1, &id, err)) != TERSE_OK)
            return st;
        if (id < 0)
            mark(v, FILL_IN[i].texts, TERSE_TOKEN_CONTROL, FILL_IN[i].ends);
        else if (FILL_IN[i].ends)
            v->tokens[id].end = true;
    }
    mark(v, ENDS, TERSE_TOKEN_CONTROL, true);
    mark(v, ALWAYS_SHOWN, TERSE_TOKEN_USER_DEFINED, false);
    mark_exceptions(v);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if ((st = terse_vocab_get_id(v, g, keys[i], -1, &id, err)) != TERSE_OK)
            return st;
        if (id >= 0)
            v->tokens[id].end = true;
    }
    if (v->eos >= 0)
        v->tokens[v->eos].end = true;
    return TERSE_OK;
}
