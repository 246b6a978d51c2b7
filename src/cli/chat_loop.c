/* cli/chat_loop.c: turns of one session. The session keeps what was said; a turn adds the new tokens, after
 * what the template leaves as it was. */
#include "chat_loop.h"

#include "interrupt.h"
#include "run_report.h"
#include "terminal.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    terse_runner *r;
    terse_conversation *conversation;
    terse_tokens prompt; /* of the whole conversation */
    terse_answer last;
    bool begun;
} chat;

static const char help[] = "/clear  forget the conversation\n"
                           "/stats  what the last answer cost\n"
                           "/help   this list\n"
                           "/exit   leave (also Ctrl-D)\n"
                           "Ctrl-C  stop the answer; at the prompt: leave\n";

terse_status terse_chat_turn(terse_runner *r, terse_conversation *c, terse_str user, terse_tokens *prompt,
                             size_t *held, terse_error *err)
{
    const char *system = r->o->run.system;
    const size_t n_before = json_array_size(c->messages);
    const size_t n_held = (size_t)terse_session_count(r->session);
    terse_status st = TERSE_OK;
    if (n_before == 0 && system)
        st = terse_conversation_say(c, "system", (terse_str){ system, strlen(system) }, err);
    if (st == TERSE_OK)
        st = terse_conversation_say(c, "user", user, err);
    if (st == TERSE_OK)
        st = terse_conversation_prompt(c, prompt, err);
    if (st != TERSE_OK) {
        terse_conversation_cut(c, n_before);
        return st;
    }
    if (c->folded && !c->noted)
        terse_complain("note: %s refuses a system message; its text stands in front of the first user's",
                       c->chat.origin);
    c->noted |= c->folded;
    size_t n = 0;
    while (n < n_held && n < c->ids.n && n + 1 < prompt->n && prompt->ids[n] == c->ids.ids[n])
        n++;
    *held = (size_t)terse_runner_back(r, (int32_t)n);
    return TERSE_OK;
}

/* Nothing was said. False ends the chat. */
static bool failed(const chat *c, const terse_error *err, int *code)
{
    *code = terse_complain_error(err);
    if (err->status == TERSE_BAD_INPUT && c->begun)
        fputs("(/clear starts anew)\n", stderr);
    return err->status == TERSE_BAD_INPUT;
}

/* Keeps what was answered. False ends the chat. */
static bool keep(chat *c, int *code)
{
    const terse_run_values *o = &c->r->o->run;
    terse_error err;
    c->begun = true;
    const terse_status st =
        terse_conversation_answered(c->conversation, &c->prompt, &c->last.ids,
                                    (terse_str){ c->last.text.p, c->last.text.n }, !o->reverse, &err);
    if (st != TERSE_OK) {
        *code = terse_complain_error(&err);
        return false;
    }
    if (c->last.finish == TERSE_FINISH_FULL)
        terse_complain("note: the context of %d tokens is full; /clear starts anew",
                       terse_session_ctx(c->r->session));
    if (o->stats)
        terse_report_stats(c->r, &c->last);
    return true;
}

/* One turn. False ends the chat, with *code. */
static bool turn(chat *c, terse_str text, int *code)
{
    const size_t n_before = json_array_size(c->conversation->messages);
    terse_error err;
    size_t held;
    terse_status st = terse_chat_turn(c->r, c->conversation, text, &c->prompt, &held, &err);
    if (st != TERSE_OK)
        return failed(c, &err, code);
    st = terse_answer_get(&c->last, c->r, c->prompt.ids, c->prompt.n, held, true, &err);
    terse_interrupt_clear(); /* a Ctrl-C up to here was meant for the answer */
    const bool silent = st != TERSE_OK || (c->last.finish == TERSE_FINISH_INTERRUPTED && c->last.ids.n == 0);
    if (silent)
        terse_conversation_cut(c->conversation, n_before);
    if (st != TERSE_OK)
        return failed(c, &err, code);
    if (c->last.finish == TERSE_FINISH_LOST) {
        *code = 74;
        return false;
    }
    putchar('\n');
    fflush(stdout);
    return silent || keep(c, code);
}

/* A line that starts with a slash. False ends the chat. */
static bool command(chat *c, const char *line)
{
    if (strcmp(line, "/exit") == 0)
        return false;
    if (strcmp(line, "/clear") == 0) {
        terse_session_truncate(c->r->session, 0);
        terse_sampler_reset(c->r->sampler);
        terse_conversation_cut(c->conversation, 0);
        c->begun = false;
    } else if (strcmp(line, "/stats") == 0 && c->begun) {
        terse_report_stats(c->r, &c->last);
    } else if (strcmp(line, "/stats") == 0) {
        fputs("nothing has been answered yet\n", stderr);
    } else if (strcmp(line, "/help") == 0) {
        fputs(help, stderr);
    } else {
        terse_complain("unknown command \"%.40s\"; /help lists them", line);
    }
    return true;
}

/* Waits for a line. False if Ctrl-C came, also if it came before: the signal is let in only while waiting, so
 * that none is lost between looking and waiting. */
static bool wait_for_line(void)
{
    struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
    sigset_t interrupt, before;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    sigprocmask(SIG_BLOCK, &interrupt, &before);
    while (!terse_interrupt_seen() && ppoll(&input, 1, NULL, &before) < 0 && errno == EINTR)
        ; /* another signal: wait on */
    sigprocmask(SIG_SETMASK, &before, NULL);
    return !terse_interrupt_seen();
}

/* Reads a line without its newline; its length, or -1 at the end or after Ctrl-C. */
static ssize_t read_line(char **line, size_t *cap)
{
    fputs("> ", stderr);
    fflush(stderr);
    ssize_t n = wait_for_line() ? getline(line, cap, stdin) : -1;
    if (n < 0)
        fputc('\n', stderr);
    else if (n > 0 && (*line)[n - 1] == '\n')
        (*line)[--n] = '\0';
    return n;
}

int terse_chat_loop(terse_runner *r, terse_conversation *conversation, terse_str opening)
{
    chat c = { .r = r, .conversation = conversation };
    char *line = NULL;
    size_t cap = 0;
    int code = 0;
    fprintf(stderr, "chat by %s; /help lists the commands\n", conversation->chat.origin);
    setvbuf(stdin, NULL, _IONBF, 0); /* a line that is there must show when waiting for it */
    bool go_on = opening.n == 0 || turn(&c, opening, &code);
    while (go_on) {
        const ssize_t n = read_line(&line, &cap);
        if (n < 0) {
            code = terse_interrupt_seen() ? 130 : ferror(stdin) ? 74 : 0;
            break;
        }
        code = 0; /* what went wrong in an earlier turn has been told */
        if (line[0] == '/')
            go_on = command(&c, line);
        else if (line[strspn(line, " \t")])
            go_on = turn(&c, (terse_str){ line, (size_t)n }, &code) && !r->o->run.single_turn;
    }
    free(line);
    terse_tokens_free(&c.prompt);
    terse_answer_free(&c.last);
    return code;
}
