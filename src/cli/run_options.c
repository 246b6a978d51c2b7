/* cli/run_options.c: tables only; the names are llama.cpp's where it has them. */
#include "run_options.h"

#include "terminal.h"

#define COUNT(a)  (int32_t)(sizeof(a) / sizeof *(a))
#define AT(field) offsetof(terse_run_values, field)

static const terse_option prompt_options[] = {
    { "-p --prompt", TERSE_OPTION_STRING, AT(prompt), .value = "TEXT",
      .help = "the text to continue; special tokens in it count as such" },
    { "-f --file", TERSE_OPTION_STRING, AT(file), .value = "FILE",
      .help =
          "the same from a file, less one final newline; what -p gives comes after it. Without -p and -f the "
          "prompt is what stdin holds, or a chat if that is a terminal" },
    { "-n --predict --n-predict", TERSE_OPTION_INT, AT(n_predict), -2, INT32_MAX, "N",
      .preset = "-1, until the model or the context ends", .help = "most tokens of an answer" },
    { "-r --reverse-prompt", TERSE_OPTION_STRING, AT(reverse), .value = "TEXT",
      .help = "end the answer after this text" },
    { "--ignore-eos", TERSE_OPTION_ON, AT(ignore_eos), .help = "go on after the model's end of text" },
    { "--prompt-cache", TERSE_OPTION_STRING, AT(cache), .value = "FILE",
      .help = "go on from the keys and values that FILE holds, as far as they are of the same tokens, and "
              "leave those "
              "of this prompt there" },
    { "--prompt-cache-all", TERSE_OPTION_ON, AT(cache_all), .help = "those of the answer as well" },
    { "--prompt-cache-ro", TERSE_OPTION_ON, AT(cache_ro), .help = "leave the file as it is" },
    { "--no-display-prompt", TERSE_OPTION_IGNORED, .help = "the prompt is never shown" },
};

static const terse_option chat_options[] = {
    { "-cnv --conversation", TERSE_OPTION_ON, AT(chat),
      .help = "the prompt is a user's turn in the model's chat template; on a terminal the chat goes on" },
    { "-no-cnv --no-conversation", TERSE_OPTION_ON, AT(raw),
      .help = "never a chat: continue the prompt as it is" },
    { "-st --single-turn", TERSE_OPTION_ON, AT(single_turn), .help = "one turn only" },
    { "-sys --system-prompt --system", TERSE_OPTION_STRING, AT(system), .value = "TEXT",
      .help = "what the chat starts with; implies -cnv" },
};

static const terse_option output_options[] = {
    { "--json", TERSE_OPTION_ON, AT(json), .help = "one JSON object at the end instead of a stream of text" },
    { "--stats", TERSE_OPTION_ON, AT(stats), .help = "say on stderr how fast it was and what was read" },
    { "--no-progress", TERSE_OPTION_ON, AT(quiet), .help = "no progress bar" },
};

static const terse_option draft_options[] = {
    { "--draft", TERSE_OPTION_STRING, AT(draft), .value = "HOW", .choices = "none ngram",
      .help = "guess ahead and check the guess in one pass over the weights; the answer is the same. ngram: "
              "that the text goes on as it did where its last tokens stood before" },
    { "--draft-max --draft-n", TERSE_OPTION_INT, AT(drafts.max), 1, TERSE_DRAFT_MOST, "N", .preset = "16",
      .help = "most tokens of a guess" },
    { "--draft-min --draft-n-min", TERSE_OPTION_INT, AT(drafts.min), 0, TERSE_DRAFT_MOST, "N", .preset = "1",
      .help = "no guess of fewer tokens" },
    { "--draft-ngram --spec-ngram-size-n", TERSE_OPTION_INT, AT(drafts.ngram), 1, 32, "N", .preset = "3",
      .help = "last tokens that must have stood there before" },
};
#undef AT

static int check(terse_run_options *o)
{
    terse_error err;
    terse_run_values *r = &o->run;
    const bool template = o->chat.name || o->chat.file || o->chat.variables;
    if (r->raw && (r->chat || r->system || template)) {
        terse_complain("-no-cnv contradicts %s", r->chat ? "-cnv" : r->system ? "-sys" : "a chat template");
        return 2;
    }
    if (o->chat.name && o->chat.file) {
        terse_complain("--chat-template and --chat-template-file exclude each other");
        return 2;
    }
    if (!r->cache && (r->cache_all || r->cache_ro)) {
        terse_complain("--prompt-cache-%s: no file is given by --prompt-cache", r->cache_all ? "all" : "ro");
        return 2;
    }
    r->chat |= r->system || template;
    if (r->reverse && !*r->reverse)
        r->reverse = NULL;
    return terse_sample_check(&o->sample, &err) == TERSE_OK ? TERSE_GO_ON : terse_complain_error(&err);
}

int terse_run_options_parse(terse_run_options *o, int argc, char **argv)
{
    *o = (terse_run_options){ .engine = terse_engine_defaults(),
                              .sample = terse_sample_defaults(),
                              .run = { .n_predict = -1, .draft = "none" } };
    o->sample.seed = UINT64_MAX;
    terse_option_group groups[TERSE_ENGINE_GROUPS + 7] = {
        { "prompt and answer", prompt_options, COUNT(prompt_options), &o->run },
        { "chat", chat_options, COUNT(chat_options), &o->run },
        { "output", output_options, COUNT(output_options), &o->run },
    };
    terse_engine_groups(&o->engine, groups + 3);
    groups[3 + TERSE_ENGINE_GROUPS] = terse_args_sample_group(&o->sample);
    groups[4 + TERSE_ENGINE_GROUPS] =
        (terse_option_group){ "drafts", draft_options, COUNT(draft_options), &o->run };
    groups[5 + TERSE_ENGINE_GROUPS] = terse_chat_template_group(&o->chat);
    groups[6 + TERSE_ENGINE_GROUPS] = terse_args_ignored_group();
    const terse_options accepted = { "run MODEL [OPTION]...",
                                     "Continues a text or chats. stdout gets the answer and nothing else. "
                                     "Ctrl-C ends the answer, a second one "
                                     "the program.",
                                     groups, COUNT(groups), 1 };
    const int code = terse_options_parse(&accepted, &argc, argv);
    if (code != TERSE_GO_ON)
        return code;
    o->model = terse_engine_model(&o->engine, argc, argv);
    return o->model ? check(o) : 2;
}
