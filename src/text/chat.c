/* text/chat.c: the chat formats that are built in. Each writes what the models' own templates write, byte for
 * byte; a template in a file only tells which one it is. */
#include "terse/text.h"
#include <string.h>
#include <utf8proc.h>

/* A text being written. The first failure sticks. */
typedef struct {
    terse_text *out;
    terse_str bos, eos; /* empty if the vocabulary has none */
    terse_status st;
    terse_error *err;
} writer;

struct terse_chat_format {
    const char *name;
    const char *all[3];    /* a template of this format contains these texts, */
    const char *none[3];   /* and none of these */
    const char *bos, *eos; /* the usual ones */
    bool writes_bos;
    bool turns; /* user and assistant take turns; a system message goes into the first user turn */
    void (*message)(writer *w, terse_str role, terse_str content);
    void (*finish)(writer *w, bool generate); /* may be NULL */
};

static bool is(terse_str s, const char *text)
{
    return s.n == strlen(text) && memcmp(s.p, text, s.n) == 0;
}

static void put_str(writer *w, terse_str s)
{
    if (w->st == TERSE_OK)
        w->st = terse_text_append(w->out, s.p, s.n, w->err);
}
static void put(writer *w, const char *text)
{
    put_str(w, (terse_str){ text, strlen(text) });
}

static bool is_space(utf8proc_int32_t c)
{
    return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 || c == 0x1680 ||
           (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
           c == 0x3000;
}

/* The white-space character at s.p[i] has this many bytes; 0: it is none. */
static size_t space_at(terse_str s, size_t i)
{
    utf8proc_int32_t c = -1;
    const utf8proc_ssize_t n =
        utf8proc_iterate((const utf8proc_uint8_t *)s.p + i, (utf8proc_ssize_t)(s.n - i), &c);
    return n > 0 && is_space(c) ? (size_t)n : 0;
}

/* What the templates' trim does. */
static terse_str trim(terse_str s)
{
    size_t n;
    while (s.n > 0 && (n = space_at(s, 0)) > 0)
        s = (terse_str){ s.p + n, s.n - n };
    while (s.n > 0) {
        size_t last = s.n - 1;
        while (last > 0 && s.n - last < 4 && ((uint8_t)s.p[last] & 0xC0) == 0x80)
            last--;
        if (space_at(s, last) != s.n - last)
            break;
        s.n = last;
    }
    return s;
}

static void chatml_message(writer *w, terse_str role, terse_str content)
{
    put(w, "<|im_start|>");
    put_str(w, role);
    put(w, "\n");
    put_str(w, content);
    put(w, "<|im_end|>\n");
}
static void chatml_finish(writer *w, bool generate)
{
    put(w, generate ? "<|im_start|>assistant\n" : "");
}

static void llama3_message(writer *w, terse_str role, terse_str content)
{
    put(w, "<|start_header_id|>");
    put_str(w, role);
    put(w, "<|end_header_id|>\n\n");
    put_str(w, trim(content));
    put(w, "<|eot_id|>");
}
static void llama3_finish(writer *w, bool generate)
{
    put(w, generate ? "<|start_header_id|>assistant<|end_header_id|>\n\n" : "");
}

static void mistral_message(writer *w, terse_str role, terse_str content)
{
    const bool user = is(role, "user");
    put(w, user ? "[INST] " : "");
    put_str(w, content);
    if (user)
        put(w, " [/INST]");
    else
        put_str(w, w->eos);
}

static void gemma_message(writer *w, terse_str role, terse_str content)
{
    put(w, is(role, "assistant") ? "<start_of_turn>model\n" : "<start_of_turn>user\n");
    put_str(w, trim(content));
    put(w, "<end_of_turn>\n");
}
static void gemma_finish(writer *w, bool generate)
{
    put(w, generate ? "<start_of_turn>model\n" : "");
}

static void bar_role(writer *w, terse_str role, terse_str content)
{
    put(w, "<|");
    put_str(w, role);
    put(w, "|>\n");
    put_str(w, content);
}
static void phi3_message(writer *w, terse_str role, terse_str content)
{
    bar_role(w, role, content);
    put(w, "<|end|>\n");
}
static void phi3_finish(writer *w, bool generate)
{
    if (generate)
        put(w, "<|assistant|>\n");
    else
        put_str(w, w->eos);
}

static void zephyr_message(writer *w, terse_str role, terse_str content)
{
    bar_role(w, role, content);
    put_str(w, w->eos);
    put(w, "\n");
}
static void zephyr_finish(writer *w, bool generate)
{
    put(w, generate ? "<|assistant|>\n" : "");
}

/* In this order a template is compared with them. */
static const terse_chat_format FORMATS[] = {
    { .name = "chatml",
      .all = { "<|im_start|>", "<|im_end|>" },
      .none = { "<|im_sep|>" },
      .bos = "",
      .eos = "<|im_end|>",
      .message = chatml_message,
      .finish = chatml_finish },
    { .name = "llama3",
      .all = { "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>" },
      .bos = "<|begin_of_text|>",
      .eos = "<|eot_id|>",
      .writes_bos = true,
      .message = llama3_message,
      .finish = llama3_finish },
    { .name = "gemma",
      .all = { "<start_of_turn>", "<end_of_turn>" },
      .bos = "<bos>",
      .eos = "<eos>",
      .writes_bos = true,
      .turns = true,
      .message = gemma_message,
      .finish = gemma_finish },
    { .name = "mistral", /* the blank before [/INST] tells it from its successors, <<SYS>> from Llama 2 */
      .all = { "[INST] ", " [/INST]" },
      .none = { "<<SYS>>", "[SYSTEM_PROMPT]", "[AVAILABLE_TOOLS]" },
      .bos = "<s>",
      .eos = "</s>",
      .writes_bos = true,
      .turns = true,
      .message = mistral_message },
    { .name = "phi3",
      .all = { "<|user|>", "<|end|>", "<|assistant|>" },
      .bos = "<s>",
      .eos = "<|endoftext|>",
      .message = phi3_message,
      .finish = phi3_finish },
    { .name = "zephyr",
      .all = { "<|user|>\\n", "<|assistant|>", "eos_token" },
      .none = { "<|end|>", "[gMASK]", "<|im_start|>" },
      .bos = "<s>",
      .eos = "</s>",
      .message = zephyr_message,
      .finish = zephyr_finish },
};
enum { N_FORMATS = sizeof FORMATS / sizeof FORMATS[0] };

const terse_chat_format *terse_chat_by_name(const char *name)
{
    for (int32_t i = 0; i < N_FORMATS && name; i++)
        if (strcmp(FORMATS[i].name, name) == 0)
            return &FORMATS[i];
    return NULL;
}

const char *terse_chat_name(const terse_chat_format *f)
{
    return f->name;
}
const char *terse_chat_name_at(int32_t i)
{
    return i >= 0 && i < N_FORMATS ? FORMATS[i].name : NULL;
}

static bool contains(terse_str s, const char *part)
{
    return memmem(s.p, s.n, part, strlen(part)) != NULL;
}

const terse_chat_format *terse_chat_detect(terse_str template_text)
{
    for (int32_t i = 0; i < N_FORMATS && template_text.n > 0; i++) {
        const terse_chat_format *f = &FORMATS[i];
        bool fits = true;
        for (int32_t k = 0; k < 3; k++) {
            fits = fits && (!f->all[k] || contains(template_text, f->all[k]));
            fits = fits && (!f->none[k] || !contains(template_text, f->none[k]));
        }
        if (fits)
            return f;
    }
    return NULL;
}

static terse_status check_message(const terse_chat_format *f, const terse_message *m, int32_t i,
                                  terse_error *err)
{
    const bool known = is(m->role, "user") || is(m->role, "assistant") || is(m->role, "system");
    if (!known)
        return terse_fail(err, TERSE_BAD_INPUT, "chat: message %d: the role must be system, user or assistant",
                          i);
    if (f->turns && !is(m->role, i % 2 ? "assistant" : "user"))
        return terse_fail(err, TERSE_BAD_INPUT,
                          "chat: message %d: in the format %s user and assistant take turns, the user first", i,
                          f->name);
    return TERSE_OK;
}

/* Formats without a system role: the system text goes in front of the first user's, on a line of its own. */
static terse_status fold_system(const terse_message *messages, int32_t n, terse_text *text, terse_error *err)
{
    if (n < 2 || !is(messages[1].role, "user"))
        return terse_fail(err, TERSE_BAD_INPUT, "chat: a system message must be followed by one of the user");
    const terse_str parts[] = { messages[0].content, { "\n", 1 }, messages[1].content };
    terse_status st = TERSE_OK;
    for (int32_t i = 0; i < 3 && st == TERSE_OK; i++)
        st = terse_text_append(text, parts[i].p, parts[i].n, err);
    return st;
}

static terse_str token_text(const terse_vocab *v, int32_t id, const char *usual, terse_text *room, writer *w)
{
    if (!v)
        return (terse_str){ usual, strlen(usual) };
    if (id >= 0 && w->st == TERSE_OK)
        w->st = terse_vocab_piece(v, id, true, room, w->err);
    return (terse_str){ room->n ? room->p : "", room->n };
}

static void write_all(const terse_chat_format *f, writer *w, const terse_message *messages, int32_t n,
                      bool generate)
{
    terse_text folded = { 0 };
    if (f->writes_bos)
        put_str(w, w->bos);
    if (w->st == TERSE_OK && f->turns && is(messages[0].role, "system")) {
        w->st = fold_system(messages, n, &folded, w->err);
        messages++;
        n--;
    }
    for (int32_t i = 0; i < n && w->st == TERSE_OK; i++) {
        terse_str content = messages[i].content;
        if (i == 0 && folded.p)
            content = (terse_str){ folded.p, folded.n };
        if ((w->st = check_message(f, &messages[i], i, w->err)) == TERSE_OK)
            f->message(w, messages[i].role, content);
    }
    if (f->finish)
        f->finish(w, generate);
    terse_text_free(&folded);
}

terse_status terse_chat_render(const terse_chat_format *f, const terse_vocab *v, const terse_message *messages,
                               int32_t n, bool generate, terse_text *out, bool *has_bos, terse_error *err)
{
    const size_t before = out->n;
    terse_text bos = { 0 }, eos = { 0 };
    writer w = { .out = out, .st = TERSE_OK, .err = err };
    if (has_bos)
        *has_bos = false;
    if (n < 1)
        return terse_fail(err, TERSE_BAD_INPUT, "chat: the conversation is empty");
    w.bos = token_text(v, v ? terse_vocab_bos(v) : -1, f->bos, &bos, &w);
    w.eos = token_text(v, v ? terse_vocab_eos(v) : -1, f->eos, &eos, &w);
    write_all(f, &w, messages, n, generate);
    if (w.st != TERSE_OK && out->n > before) {
        out->n = before;
        out->p[before] = '\0';
    }
    if (has_bos)
        *has_bos = w.st == TERSE_OK && f->writes_bos && w.bos.n > 0;
    terse_text_free(&bos);
    terse_text_free(&eos);
    return w.st;
}
