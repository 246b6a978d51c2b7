/* cli/run.c: terse run MODEL: a prompt from the command line, a file or stdin gets one answer; a terminal
 * without a prompt gets a chat. */
#include "answer.h"
#include "chat_loop.h"
#include "commands.h"
#include "files.h"
#include "interrupt.h"
#include "prompt_cache.h"
#include "run_report.h"
#include "terminal.h"

#include <string.h>
#include <unistd.h>

/* Appends what the file (NULL: stdin) holds, less one final newline if cut. */
static terse_status read_text(const char *path, bool cut, terse_text *out, terse_error *err)
{
    const terse_status st = terse_file_read(path, out, err);
    if (terse_interrupt_seen())
        return terse_fail(err, TERSE_INTERRUPTED, "interrupted while reading the prompt");
    if (st == TERSE_OK && cut && out->n > 0 && out->p[out->n - 1] == '\n')
        out->p[--out->n] = '\0';
    return st;
}

/* What -f and -p or else stdin say. *given: there is a prompt at all. */
static terse_status read_prompt(const terse_run_values *o, terse_text *out, bool *given, terse_error *err)
{
    terse_status st = TERSE_OK;
    *given = o->prompt || o->file;
    if (!*given && terse_terminal_is(STDIN_FILENO) && !o->raw)
        return TERSE_OK;
    if (!*given) {
        *given = true;
        st = read_text(NULL, true, out, err);
        return st == TERSE_OK && out->n == 0
                   ? terse_fail(err, TERSE_BAD_INPUT,
                                "no prompt: stdin is empty, and neither -p nor -f is given")
                   : st;
    }
    if (o->file)
        st = read_text(o->file, !o->prompt, out, err);
    return st == TERSE_OK && o->prompt ? terse_text_append(out, o->prompt, strlen(o->prompt), err) : st;
}

/* Tells of the answer; returns the exit code. */
static int finish(const terse_runner *r, const terse_answer *a)
{
    const terse_run_values *o = &r->o->run;
    terse_error err;
    if (a->finish == TERSE_FINISH_LOST)
        return 74; /* main says why */
    if (o->json && terse_report_json(r, a, &err) != TERSE_OK)
        return terse_complain_error(&err);
    if (!o->json && a->text.n > 0 && a->text.p[a->text.n - 1] != '\n')
        putchar('\n');
    if (fflush(stdout) != 0 || ferror(stdout))
        return 74;
    if (a->finish == TERSE_FINISH_FULL)
        terse_complain("note: the answer ends here because the context of %d tokens is full",
                       terse_session_ctx(r->session));
    if (o->stats)
        terse_report_stats(r, a);
    else if (!o->json)
        terse_report_audit(r, a);
    return a->finish == TERSE_FINISH_INTERRUPTED ? 130 : 0;
}

/* conversation: NULL to continue the prompt as it is. */
static int answer_once(terse_runner *r, terse_conversation *conversation, const terse_text *prompt)
{
    const terse_vocab *v = terse_model_vocab(r->model);
    const terse_str text = { prompt->p ? prompt->p : "", prompt->n };
    terse_tokens tokens = { 0 };
    terse_answer a = { 0 };
    terse_error err;
    size_t held = 0;
    terse_status st = conversation ? terse_chat_turn(r, conversation, text, &tokens, &held, &err)
                                   : terse_vocab_tokenize(v, text.p, text.n, true, true, &tokens, &err);
    if (st == TERSE_OK)
        st = terse_prompt_cache_use(r, tokens.ids, tokens.n, &held, &err);
    if (st == TERSE_OK)
        st = terse_answer_get(&a, r, tokens.ids, tokens.n, held, conversation != NULL, &err);
    if (st == TERSE_OK && r->o->run.cache_all)
        st = terse_prompt_cache_save(r, tokens.ids, tokens.n, &a.ids, &err);
    const int code = st == TERSE_OK ? finish(r, &a) : terse_complain_error(&err);
    terse_answer_free(&a);
    terse_tokens_free(&tokens);
    return code;
}

static int run(const terse_run_options *o)
{
    terse_text prompt = { 0 };
    terse_runner r = { 0 };
    terse_conversation c = { 0 };
    terse_error err;
    bool given = false;
    int code;
    terse_status st = read_prompt(&o->run, &prompt, &given, &err);
    const bool loop = terse_terminal_is(STDIN_FILENO) && (!given || (o->run.chat && !o->run.single_turn));
    const bool chat = loop || o->run.chat;
    if (st == TERSE_OK && loop && o->run.json)
        st = terse_fail(&err, TERSE_BAD_INPUT,
                        "--json: a chat gives no single answer; give -p, or -st with -cnv");
    if (st == TERSE_OK && loop && o->run.cache)
        st = terse_fail(&err, TERSE_BAD_INPUT,
                        "--prompt-cache: not for a chat on a terminal; give -p, or -st with -cnv");
    if (st == TERSE_OK)
        st = terse_runner_open(&r, o, &err);
    if (st == TERSE_OK && chat)
        st = terse_conversation_open(&c, terse_model_gguf(r.model), terse_model_vocab(r.model), &o->chat, &err);
    if (st == TERSE_OK && chat)
        r.end = c.end;
    if (st != TERSE_OK)
        code = terse_complain_error(&err);
    else if (loop)
        code = terse_chat_loop(&r, &c, (terse_str){ prompt.p ? prompt.p : "", prompt.n });
    else
        code = answer_once(&r, chat ? &c : NULL, &prompt);
    terse_conversation_close(&c);
    terse_runner_close(&r);
    terse_text_free(&prompt);
    return code;
}

int terse_cmd_run(int argc, char **argv)
{
    terse_run_options o;
    const int code = terse_run_options_parse(&o, argc, argv);
    if (code != TERSE_GO_ON)
        return code;
    terse_interrupt_catch();
    return run(&o);
}
