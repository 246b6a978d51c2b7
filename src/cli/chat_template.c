/* cli/chat_template.c: a file's template goes before a built-in one's, and that before the model's own. */
#include "chat_template.h"

#include "files.h"

#include <stdio.h>
#include <string.h>

terse_option_group terse_chat_template_group(terse_chat_values *values)
{
    static const terse_option options[] = {
        { "--chat-template", TERSE_OPTION_STRING, offsetof(terse_chat_values, name), .value = "NAME",
          .choices = "chatml llama3 mistral gemma phi3 zephyr", .preset = "the one in the model file",
          .help = "a built-in chat template" },
        { "--chat-template-file", TERSE_OPTION_STRING, offsetof(terse_chat_values, file), .value = "FILE",
          .help = "a chat template in Jinja, in place of the model's" },
        { "--chat-template-kwargs", TERSE_OPTION_STRING, offsetof(terse_chat_values, variables),
          .value = "JSON",
          .help = "an object of variables for the chat template: '{\"enable_thinking\": false}'" },
    };
    return (terse_option_group){ "chat template", options, sizeof options / sizeof *options, values };
}

static terse_status missing(terse_error *err)
{
    char known[128] = "";
    for (int32_t i = 0; terse_chat_name(i); i++)
        snprintf(known + strlen(known), sizeof known - strlen(known), " %s", terse_chat_name(i));
    return terse_fail(
        err, TERSE_UNSUPPORTED,
        "the model has no chat template; --chat-template-file names one, --chat-template takes one of:%s",
        known);
}

static terse_status find_source(terse_chat *c, const terse_gguf *g, const terse_chat_values *o, bool tools,
                                terse_text *out, terse_error *err)
{
    static const char key[] = "tokenizer.chat_template", tool_key[] = "tokenizer.chat_template.tool_use";
    terse_str own = { NULL, 0 };
    if (o->file) {
        snprintf(c->origin, sizeof c->origin, "the chat template in %.120s", o->file);
        return terse_file_read(o->file, out, err);
    }
    if (o->name) {
        snprintf(c->origin, sizeof c->origin, "the chat template %s", o->name);
        own = terse_chat_template(o->name);
        return terse_text_append(out, own.p, own.n, err);
    }
    snprintf(c->origin, sizeof c->origin, "the model's chat template");
    terse_status st = tools ? terse_gguf_get_str(g, tool_key, false, &own, err) : TERSE_OK;
    if (st == TERSE_OK && own.n == 0)
        st = terse_gguf_get_str(g, key, false, &own, err);
    if (st == TERSE_OK && own.n == 0)
        st = missing(err);
    return st == TERSE_OK ? terse_text_append(out, own.p, own.n, err) : st;
}

static terse_status token_text(const terse_vocab *v, int32_t id, terse_text *out, terse_error *err)
{
    return id < 0 ? TERSE_OK : terse_vocab_piece(v, id, true, out, err);
}

terse_status terse_chat_open(terse_chat *c, const terse_gguf *g, const terse_vocab *v,
                             const terse_chat_values *o, bool tools, terse_text *source, terse_error *err)
{
    terse_text own = { 0 }, *text = source ? source : &own;
    terse_error why;
    *c = (terse_chat){ .variables = { o->variables, o->variables ? strlen(o->variables) : 0 } };
    terse_status st = find_source(c, g, o, tools, text, err);
    if (st == TERSE_OK &&
        (st = terse_template_open(&c->template, (terse_str){ text->p, text->n }, &why)) != TERSE_OK)
        st = terse_fail(err, st, "%s: %s%s", c->origin, why.text,
                        o->file || o->name ? "" : "; --chat-template NAME takes a built-in one");
    if (st == TERSE_OK && (st = token_text(v, terse_vocab_bos(v), &c->bos, err)) == TERSE_OK)
        st = token_text(v, terse_vocab_eos(v), &c->eos, err);
    terse_text_free(&own);
    if (st != TERSE_OK)
        terse_chat_close(c);
    return st;
}

void terse_chat_close(terse_chat *c)
{
    terse_template_close(&c->template);
    terse_text_free(&c->bos);
    terse_text_free(&c->eos);
}

terse_status terse_chat_render(const terse_chat *c, terse_str messages, terse_str tools, terse_str documents,
                               bool generate, terse_text *out, bool *folded, terse_error *err)
{
    const terse_template_input input = { .messages = messages,
                                         .tools = tools,
                                         .documents = documents,
                                         .variables = c->variables,
                                         .bos = { c->bos.p, c->bos.n },
                                         .eos = { c->eos.p, c->eos.n },
                                         .generate = generate,
                                         .fold_system = true };
    terse_error why;
    const terse_status st = terse_template_render(c->template, &input, out, folded, &why);
    return st == TERSE_OK ? st : terse_fail(err, st, "%s: %s", c->origin, why.text);
}
