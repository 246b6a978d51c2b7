/* cli/render.c: terse template MODEL: what the model is told of a conversation, byte for byte. */
#include "chat_template.h"
#include "commands.h"
#include "files.h"
#include "terminal.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *model, *file;
    bool no_generate, show;
    terse_chat_values chat;
} template_values;

/* What the file holds, as JSON texts; NULL: not there. */
typedef struct {
    char *messages, *tools, *documents, *variables;
} conversation;

static terse_status take(const json_t *root, const char *key, char **text, terse_error *err)
{
    const json_t *value = json_object_get(root, key);
    if (!value || json_is_null(value))
        return TERSE_OK;
    *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    return *text ? TERSE_OK : terse_fail(err, TERSE_NOMEM, "template: no memory for %s", key);
}

/* An array of messages, or an object with them and more. */
static terse_status read_conversation(const char *path, conversation *c, terse_error *err)
{
    terse_text text = { 0 };
    json_error_t why;
    terse_status st = terse_file_read(path, &text, err);
    if (st != TERSE_OK)
        return st;
    json_t *root = json_loadb(text.p, text.n, JSON_ALLOW_NUL, &why);
    if (!root) {
        st = terse_fail(err, TERSE_BAD_INPUT, "template: %.200s is not JSON: line %d, column %d: %s",
                        path ? path : "stdin", why.line, why.column, why.text);
    } else if (json_is_array(root)) {
        c->messages = json_dumps(root, JSON_COMPACT);
        st = c->messages ? TERSE_OK : terse_fail(err, TERSE_NOMEM, "template: no memory for messages");
    } else if ((st = take(root, "messages", &c->messages, err)) == TERSE_OK &&
               (st = take(root, "tools", &c->tools, err)) == TERSE_OK &&
               (st = take(root, "documents", &c->documents, err)) == TERSE_OK)
        st = take(root, "chat_template_kwargs", &c->variables, err);
    if (st == TERSE_OK && !c->messages)
        st = terse_fail(err, TERSE_BAD_INPUT,
                        "template: %.200s is neither an array of messages nor an object with \"messages\"",
                        path ? path : "stdin");
    json_decref(root);
    terse_text_free(&text);
    return st;
}

static terse_str str(const char *s)
{
    return (terse_str){ s, s ? strlen(s) : 0 };
}

static terse_status work(const template_values *o, terse_error *err)
{
    terse_gguf *g = NULL;
    terse_vocab *v = NULL;
    terse_chat chat = { 0 };
    conversation c = { 0 };
    terse_text out = { 0 };
    bool folded = false;
    terse_status st = o->show ? TERSE_OK : read_conversation(o->file, &c, err);
    if (st == TERSE_OK && (st = terse_gguf_open(&g, o->model, err)) == TERSE_OK)
        st = terse_vocab_open(&v, g, err);
    if (st == TERSE_OK)
        st = terse_chat_open(&chat, g, v, &o->chat, c.tools != NULL, o->show ? &out : NULL, err);
    if (st == TERSE_OK && !o->show) {
        if (!o->chat.variables)
            chat.variables = str(c.variables);
        st = terse_chat_render(&chat, str(c.messages), str(c.tools), str(c.documents), !o->no_generate, &out,
                               &folded, err);
    }
    if (st == TERSE_OK && folded)
        terse_complain("note: %s refuses a system message; its text stands in front of the first user's",
                       chat.origin);
    if (st == TERSE_OK)
        fwrite(out.p, 1, out.n, stdout);
    char *const texts[] = { c.messages, c.tools, c.documents, c.variables };
    for (int i = 0; i < 4; i++)
        free(texts[i]);
    terse_text_free(&out);
    terse_chat_close(&chat);
    terse_vocab_close(&v);
    terse_gguf_close(&g);
    return st;
}

/* TERSE_GO_ON, or the exit code. */
static int read_options(int argc, char **argv, template_values *o)
{
    static const terse_option options[] = {
        { "-m --model", TERSE_OPTION_STRING, offsetof(template_values, model), .value = "FILE",
          .help = "the model, a GGUF file" },
        { "-f --file", TERSE_OPTION_STRING, offsetof(template_values, file), .value = "FILE", .preset = "stdin",
          .help =
              "the conversation: OpenAI's array of messages, or an object with messages, tools, documents and "
              "chat_template_kwargs" },
        { "--no-generation-prompt", TERSE_OPTION_ON, offsetof(template_values, no_generate),
          .help = "end after the last message, do not begin an answer" },
        { "--show", TERSE_OPTION_ON, offsetof(template_values, show),
          .help = "print the template itself; no conversation is read" },
    };
    const terse_option_group groups[] = { { "options", options, sizeof options / sizeof *options, o },
                                          terse_chat_template_group(&o->chat) };
    const terse_options accepted = { "template MODEL [OPTION]...",
                                     "Prints a conversation as the model's chat template writes it.", groups, 2,
                                     1 };
    const int code = terse_options_parse(&accepted, &argc, argv);
    if (code != TERSE_GO_ON)
        return code;
    if (argc == 2 && o->model) {
        terse_complain("template: two models, -m %.200s and %.200s", o->model, argv[1]);
        return 2;
    }
    o->model = argc == 2 ? argv[1] : o->model;
    if (!o->model) {
        terse_complain("template: which model? terse template --help says more");
        return 2;
    }
    if (o->chat.name && o->chat.file) {
        terse_complain("template: --chat-template and --chat-template-file exclude each other");
        return 2;
    }
    return TERSE_GO_ON;
}

int terse_cmd_template(int argc, char **argv)
{
    template_values o = { 0 };
    terse_error err;
    const int code = read_options(argc, argv, &o);
    if (code != TERSE_GO_ON)
        return code;
    if (work(&o, &err) != TERSE_OK)
        return terse_complain_error(&err);
    return fflush(stdout) != 0 || ferror(stdout) ? 74 : 0; /* main says why */
}
