/* text/vocab.h: the inside of a vocabulary, shared by the files of this folder. Token texts stay in the mapped
 * file; the vocabulary adds one 16-byte record per token and two open-addressed hash tables. */
#ifndef TERSE_TEXT_VOCAB_H
#define TERSE_TEXT_VOCAB_H

#include "terse/text.h"
#include "text/charsmap.h"
#include "text/merge.h"
#include "text/prefixes.h"
#include "text/split.h"

/* Token types; the numbers are the file format's. */
enum {
    TERSE_TOKEN_UNDEFINED,
    TERSE_TOKEN_NORMAL,
    TERSE_TOKEN_UNKNOWN,
    TERSE_TOKEN_CONTROL,
    TERSE_TOKEN_USER_DEFINED,
    TERSE_TOKEN_UNUSED,
    TERSE_TOKEN_BYTE,
    TERSE_TOKEN_TYPE_COUNT
};

typedef enum { TERSE_VOCAB_NONE, TERSE_VOCAB_BPE, TERSE_VOCAB_SPM, TERSE_VOCAB_UNIGRAM } terse_vocab_model;

typedef struct {
    const char *p; /* in the mapping */
    uint32_t n;    /* bytes */
    uint8_t type;
    uint8_t byte; /* value of a TERSE_TOKEN_BYTE */
    bool end;     /* ends a generation */
    bool rstrip;  /* swallows white space on its right when parsed */
} terse_token;

/* A slot of the text -> id table; all zero: empty. The whole hash stands here, so that look-ups need not follow
 * the id to a text that lies anywhere in the file. */
typedef struct {
    uint64_t hash;
    int32_t next; /* id + 1 */
} terse_vocab_slot;

/* A slot of the BPE table (left, right) -> (rank, merged); all zero: empty. */
typedef struct {
    int32_t left, right;
    uint32_t order; /* rank + 1 */
    int32_t merged;
} terse_bpe_rule;

struct terse_vocab {
    terse_vocab_model model;
    int32_t n;
    terse_token *tokens;     /* [n] */
    terse_vocab_slot *slots; /* [slot_mask + 1] */
    size_t slots_size;       /* bytes */
    uint32_t slot_mask;
    uint32_t longest; /* bytes of the longest token */
    bool doubles;     /* some texts belong to several tokens; look-ups find the last one */
    int32_t bos, eos, unk;
    bool adds_bos, adds_eos;
    bool cuts_at_blanks;     /* SPM: no token has a blank after another character, so words do not interact */
    bool space_prefix;       /* SPM, unigram: a blank goes before text at the start and after special tokens */
    bool merges_blanks;      /* unigram: runs of blanks become one, those at both ends none */
    terse_charsmap charsmap; /* unigram: how characters are normalized */
    terse_prefixes pieces;   /* unigram: what a text is put together from */
    double unknown_score;    /* unigram: of a character that no piece covers */
    int32_t byte_ids[256];   /* token of a lone byte, or -1 */
    terse_meta_array scores; /* SPM, unigram; n = 0: all scores are 0 */
    terse_bpe_rule *rules;   /* BPE [rule_mask + 1] */
    size_t rules_size;       /* bytes */
    uint32_t rule_mask;
    const terse_pre *pre; /* BPE */
    terse_split *split;   /* BPE */
    terse_prefixes specials;
    uint8_t special_start[256]; /* which kinds of special token start with this byte: SPECIAL_* of special.c */
};

enum { TERSE_TEXT_MAX = 1 << 29 }; /* bytes of one text to tokenize */

/* vocab.c: zeroed memory for a table, in huge pages: look-ups are scattered all over it. size grows to what was
 * taken; NULL without memory. */
void *terse_table_map(size_t *size);
uint64_t terse_vocab_hash(terse_str text);
/* Brings the slot of a hash into the cache: for callers with many texts, whose waits for memory then overlap.
 */
void terse_vocab_warm(const terse_vocab *v, uint64_t hash);
/* Id of the token with this hash, or -1. Exact for the texts of tokens: no two of them share a hash. */
int32_t terse_vocab_find_hash(const terse_vocab *v, uint64_t hash);

/* special_names.c: marks what ends a generation, and sets right the types of tokens that files often get wrong.
 */
terse_status terse_special_names(terse_vocab *v, const terse_gguf *g, terse_error *err);
/* vocab.c: an id that the file may name; def (which may be -1) if it does not. Both must be tokens. */
terse_status terse_vocab_get_id(const terse_vocab *v, const terse_gguf *g, const char *key, int32_t def,
                                int32_t *id, terse_error *err);

/* special.c: fills specials and special_start from the token types. */
terse_status terse_special_index(terse_vocab *v, terse_error *err);

/* token_bpe.c: reads the merges, finds the byte tokens. */
terse_status terse_bpe_load(terse_vocab *v, const terse_gguf *g, terse_error *err);
/* Appends the text of a normal token: the byte alphabet turned back into bytes. */
terse_status terse_bpe_piece(const terse_token *t, terse_text *out, terse_error *err);
/* token_spm.c */
terse_status terse_spm_load(terse_vocab *v, terse_error *err);
/* Every score is a number. */
terse_status terse_spm_check_scores(const terse_vocab *v, terse_error *err);
/* Fills byte_ids with the tokens <0x00> .. <0xFF>. */
void terse_spm_find_bytes(terse_vocab *v);
/* Copies text with U+2581 for blanks to to[3 * text.n]. Returns the bytes written. */
size_t terse_spell_blanks(char *to, terse_str text);
/* Appends the tokens of the bytes of a character that is no token. */
terse_status terse_push_bytes(const terse_vocab *v, terse_str bytes, terse_tokens *out, terse_error *err);
/* Length of a character by its first byte alone: what follows is not checked, as in the original. */
static inline uint32_t terse_char_len(uint8_t first)
{
    return first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
}
terse_status terse_spm_piece(const terse_token *t, terse_text *out, terse_error *err);

/* token_unigram.c */
terse_status terse_unigram_load(terse_vocab *v, const terse_gguf *g, terse_error *err);

/* All append the tokens of one fragment of plain text; m is kept from fragment to fragment. */
terse_status terse_bpe_encode(const terse_vocab *v, terse_merge *m, terse_str text, terse_tokens *out,
                              terse_error *err);
terse_status terse_spm_encode(const terse_vocab *v, terse_merge *m, terse_str text, bool prefix,
                              terse_tokens *out, terse_error *err);
terse_status terse_unigram_encode(const terse_vocab *v, terse_str text, terse_tokens *out, terse_error *err);

#endif
