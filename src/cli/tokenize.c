/* cli/tokenize.c: terse tokenize MODEL: text to token ids and back. */
#include "commands.h"
#include "files.h"
#include "options.h"
#include "terminal.h"
#include "terse/text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const char *model, *file;
    bool no_bos, no_parse, json, decode, hex_lines;
} tokenize_values;

static void print_ids(const terse_tokens *t)
{
    fputs("{\"ids\":[", stdout);
    for (size_t i = 0; i < t->n; i++)
        printf(i ? ",%d" : "%d", t->ids[i]);
    fputs("]}\n", stdout);
}

/* 'piece', with escapes: one line, whatever the bytes are. */
static void print_piece(const terse_text *piece)
{
    static const char special[] = "\n\t\r'\\", letters[] = "ntr'\\";
    size_t start = 0;
    putchar('\'');
    for (size_t i = 0; i < piece->n; i++) {
        const char *at = memchr(special, piece->p[i], sizeof special - 1);
        if (!at)
            continue;
        terse_terminal_write(stdout, piece->p + start, i - start);
        start = i + 1;
        putchar('\\');
        putchar(letters[at - special]);
    }
    terse_terminal_write(stdout, piece->p + start, piece->n - start);
    putchar('\'');
}

static terse_status print_pieces(const terse_vocab *v, const terse_tokens *t, terse_error *err)
{
    terse_text piece = { 0 };
    terse_status st = terse_text_append(&piece, "", 0, err);
    for (size_t i = 0; i < t->n && st == TERSE_OK; i++) {
        piece.n = 0;
        if ((st = terse_vocab_piece(v, t->ids[i], true, &piece, err)) != TERSE_OK)
            break;
        printf("%d\t", t->ids[i]);
        print_piece(&piece);
        putchar('\n');
    }
    terse_text_free(&piece);
    return st;
}

static terse_status encode(const terse_vocab *v, const tokenize_values *o, const terse_text *text,
                           terse_error *err)
{
    terse_tokens t = { 0 };
    terse_status st = terse_vocab_tokenize(v, text->p, text->n, !o->no_bos, !o->no_parse, &t, err);
    if (st == TERSE_OK && (o->json || o->hex_lines))
        print_ids(&t);
    else if (st == TERSE_OK)
        st = print_pieces(v, &t, err);
    terse_tokens_free(&t);
    return st;
}

static int hex_digit(char c)
{
    static const char digits[] = "0123456789abcdef0123456789ABCDEF";
    const char *at = memchr(digits, c, sizeof digits - 1);
    return at ? (int)((at - digits) % 16) : -1;
}

/* Appends the bytes that hex[n] stands for. */
static terse_status from_hex(const char *hex, size_t n, size_t line, terse_text *text, terse_error *err)
{
    terse_status st = terse_text_append(text, "", 0, err);
    for (size_t i = 0; i < n && st == TERSE_OK; i += 2) {
        const int high = hex_digit(hex[i]), low = i + 1 < n ? hex_digit(hex[i + 1]) : -1;
        if (high < 0 || low < 0)
            return terse_fail(err, TERSE_BAD_INPUT, "tokenize: line %zu is not pairs of hexadecimal digits",
                              line);
        const char c = (char)(high * 16 + low);
        st = terse_text_append(text, &c, 1, err);
    }
    return st;
}

static terse_status encode_hex_lines(const terse_vocab *v, const tokenize_values *o, terse_error *err)
{
    char *line = NULL;
    size_t cap = 0, number = 0;
    FILE *in;
    terse_text text = { 0 };
    terse_error second;
    ssize_t n;
    terse_status st = terse_input_open(&in, o->file, err);
    while (st == TERSE_OK && !ferror(stdout) && (n = getline(&line, &cap, in)) >= 0) {
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r'))
            n--;
        text.n = 0;
        if ((st = from_hex(line, (size_t)n, ++number, &text, err)) == TERSE_OK)
            st = encode(v, o, &text, err);
        fflush(stdout); /* a program that waits for each answer gets it */
    }
    const terse_status closed = terse_input_close(in, o->file, st == TERSE_OK ? err : &second);
    terse_text_free(&text);
    free(line);
    return st == TERSE_OK ? closed : st;
}

/* Reads {"ids":[...]} or the array alone. */
static terse_status read_ids(const terse_text *text, terse_tokens *t, terse_error *err)
{
    json_error_t why;
    terse_status st = TERSE_OK;
    json_t *root = json_loadb(text->p, text->n, 0, &why);
    if (!root)
        return terse_fail(err, TERSE_BAD_INPUT, "tokenize: the input is not JSON: line %d: %s", why.line,
                          why.text);
    const json_t *ids = json_is_object(root) ? json_object_get(root, "ids") : root;
    if (!json_is_array(ids))
        st = terse_fail(err, TERSE_BAD_INPUT, "tokenize: the input is not {\"ids\":[...]}");
    for (size_t i = 0; st == TERSE_OK && i < json_array_size(ids); i++) {
        const json_t *id = json_array_get(ids, i);
        const json_int_t value = json_integer_value(id);
        if (!json_is_integer(id) || value < 0 || value > INT32_MAX)
            st = terse_fail(err, TERSE_BAD_INPUT, "tokenize: ids[%zu] is not a token id", i);
        else
            st = terse_tokens_push(t, (int32_t)value, err);
    }
    json_decref(root);
    return st;
}

static terse_status decode(const terse_vocab *v, const tokenize_values *o, const terse_text *text,
                           terse_error *err)
{
    terse_tokens t = { 0 };
    terse_text out = { 0 };
    terse_status st = read_ids(text, &t, err);
    if (st == TERSE_OK) {
        const size_t skip = o->no_bos && t.n > 0 && t.ids[0] == terse_vocab_bos(v);
        st = terse_vocab_detokenize(v, t.ids + skip, t.n - skip, true, &out, err);
    }
    if (st == TERSE_OK)
        fwrite(out.p, 1, out.n, stdout);
    terse_text_free(&out);
    terse_tokens_free(&t);
    return st;
}

static terse_status work(const tokenize_values *o, terse_error *err)
{
    terse_gguf *g = NULL;
    terse_vocab *v = NULL;
    terse_text text = { 0 };
    terse_status st;
    if ((st = terse_gguf_open(&g, o->model, err)) != TERSE_OK ||
        (st = terse_vocab_open(&v, g, err)) != TERSE_OK)
        goto done;
    if (o->hex_lines)
        st = encode_hex_lines(v, o, err);
    else if ((st = terse_file_read(o->file, &text, err)) == TERSE_OK)
        st = o->decode ? decode(v, o, &text, err) : encode(v, o, &text, err);
    if (st == TERSE_OK && terse_gguf_broken(g))
        st = terse_fail(err, TERSE_IO, "%.200s: truncated while it was read", o->model);
done:
    terse_text_free(&text);
    terse_vocab_close(&v);
    terse_gguf_close(&g);
    return st;
}

/* TERSE_GO_ON, or the exit code. */
static int read_options(int argc, char **argv, tokenize_values *o)
{
    static const terse_option options[] = {
        { "-m --model", TERSE_OPTION_STRING, offsetof(tokenize_values, model), .value = "FILE",
          .help = "the model, a GGUF file" },
        { "-f --file", TERSE_OPTION_STRING, offsetof(tokenize_values, file), .value = "FILE", .preset = "stdin",
          .help = "read from FILE" },
        { "--no-bos", TERSE_OPTION_ON, offsetof(tokenize_values, no_bos),
          .help = "add no bos and eos; with --decode, drop a leading bos" },
        { "--no-parse-special", TERSE_OPTION_ON, offsetof(tokenize_values, no_parse),
          .help = "the text of special tokens is plain text" },
        { "--json", TERSE_OPTION_ON, offsetof(tokenize_values, json), .help = "print {\"ids\":[...]}" },
        { "--decode", TERSE_OPTION_ON, offsetof(tokenize_values, decode),
          .help = "read {\"ids\":[...]} and write the text, special tokens included" },
        { "--hex-lines", TERSE_OPTION_ON, offsetof(tokenize_values, hex_lines),
          .help = "each line is a text in hexadecimal; print its {\"ids\":[...]}" },
    };
    const terse_option_group group = { "options", options, sizeof options / sizeof *options, o };
    const terse_options accepted = { "tokenize MODEL [OPTION]...",
                                     "Turns text into token ids: one line with id and text per token, or JSON.",
                                     &group, 1, 1 };
    const int code = terse_options_parse(&accepted, &argc, argv);
    if (code != TERSE_GO_ON)
        return code;
    if (argc == 2 && o->model) {
        terse_complain("tokenize: two models, -m %.200s and %.200s", o->model, argv[1]);
        return 2;
    }
    o->model = argc == 2 ? argv[1] : o->model;
    if (!o->model) {
        terse_complain("tokenize: which model? terse tokenize --help says more");
        return 2;
    }
    if (o->decode && o->hex_lines) {
        terse_complain("tokenize: --decode and --hex-lines exclude each other");
        return 2;
    }
    return TERSE_GO_ON;
}

int terse_cmd_tokenize(int argc, char **argv)
{
    tokenize_values o = { 0 };
    terse_error err;
    const int code = read_options(argc, argv, &o);
    if (code != TERSE_GO_ON)
        return code;
    if (work(&o, &err) != TERSE_OK)
        return terse_complain_error(&err);
    return fflush(stdout) != 0 || ferror(stdout) ? 74 : 0; /* main says why */
}
