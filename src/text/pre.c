/* text/pre.c: the pre-tokenizers by their names in tokenizer.ggml.pre. The patterns are those that the makers
 * of the vocabularies published. Only the spelling differs: white space is written out, because \s in PCRE2
 * includes U+180E; an intersection with a class that is left out is written as the complement of the rest; a
 * group that repeats is possessive, so that it takes no stack. */
#include "text/split.h"

#include <string.h>

#define SPACE       "\\p{Z}\\t-\\r\\x{85}"
#define BLANKS      "[" SPACE "]+(?![^" SPACE "])|[" SPACE "]+"
#define OTHER       "[^" SPACE "\\p{L}\\p{N}]+"
#define CONTRACTION "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
#define LINES       "[" SPACE "]*[\\r\\n]+"
#define NO_LETTER   "[^\\r\\n\\p{L}\\p{N}]?"

/* Radford et al. 2019 */
#define GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?" OTHER "|" BLANKS
/* cl100k and its relatives, which differ in how many digits make a word */
#define WORDS(digits)  NO_LETTER "\\p{L}+|" digits "| ?" OTHER "[\\r\\n]*|" LINES "|" BLANKS
#define CL100K(digits) CONTRACTION "|" WORDS(digits)
/* Relatives of cl100k: marks belong to letters; symbols keep off line breaks; one line break at a time; words
 * go on behind single blanks. */
#define QWEN35                                                                                                 \
    CONTRACTION "|" NO_LETTER "[\\p{L}\\p{M}]+|\\p{N}| ?[^" SPACE "\\p{L}\\p{M}\\p{N}]+[\\r\\n]*|" LINES       \
                "|" BLANKS
#define SEED_CODER                                                                                             \
    CONTRACTION "|" NO_LETTER "\\p{L}+|\\p{N}| ?[^" SPACE "\\p{L}\\p{N}\\r\\n]+|" LINES "|" BLANKS
#define BAILING CONTRACTION "|" NO_LETTER "\\p{L}+|\\p{N}| ?" OTHER "[\\r\\n]*|[" SPACE "]*[\\r\\n]|" BLANKS
#define EXAONE_MOE                                                                                             \
    CONTRACTION "|" NO_LETTER "\\p{L}[\\p{L}\\p{M}]*(?: \\p{L}[\\p{L}\\p{M}]*+)*+|\\p{N}|"                     \
                " ?" OTHER "[\\r\\n/]?|[" SPACE "]*[\\r\\n]|" BLANKS
/* o200k: a word is capitals, then small letters; what has no case or is a mark goes with either. */
#define CAPITAL "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]"
#define SMALL   "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"
/* digits: of numbers; end: what a word may end with */
#define CASED(capital, small, end) NO_LETTER capital "*" small "+" end "|" NO_LETTER capital "+" small "*" end
#define SYMBOLS                    "| ?" OTHER "[\\r\\n/]*|" LINES "|" BLANKS
#define O200K(end, digits)         CASED(CAPITAL, SMALL, end) "|" digits SYMBOLS
/* The same without Han characters, which are words of their own: Lu Lt Lm Lo M, and Ll Lm Lo M, less Han */
#define CAPITAL_NO_HAN "[^\\p{sc:Han}\\p{Ll}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}]"
#define SMALL_NO_HAN   "[^\\p{sc:Han}\\p{Lu}\\p{Lt}\\p{N}\\p{P}\\p{S}\\p{Z}\\p{C}]"
#define KIMI_K2                                                                                                \
    "\\p{sc:Han}+|" CASED(CAPITAL_NO_HAN, SMALL_NO_HAN, CONTRACTION "?") "|\\p{N}{1,3}|"                       \
                                                                         " ?" OTHER "[\\r\\n]*|" LINES         \
                                                                         "|" BLANKS
/* bloom: white space, punctuation and "|", "(" and ")" end a word */
#define BLOOM " ?[^(" SPACE "|.,!?\\x{2026}\\x{3002}\\x{FF0C}\\x{3001}\\x{964}\\x{6D4}\\x{60C})]+"
/* DeepSeek-LLM spells out the letters that have case. */
#define CASED_LETTERS                                                                                          \
    "A-Za-z\\x{B5}\\x{C0}-\\x{D6}\\x{D8}-\\x{F6}\\x{F8}-\\x{1BA}\\x{1BC}-\\x{1BF}\\x{1C4}-\\x{293}"            \
    "\\x{295}-\\x{2AF}\\x{370}-\\x{373}\\x{376}\\x{377}\\x{37B}-\\x{37D}\\x{37F}\\x{386}\\x{388}-\\x{38A}"     \
    "\\x{38C}\\x{38E}-\\x{3A1}\\x{3A3}-\\x{3F5}\\x{3F7}-\\x{481}\\x{48A}-\\x{52F}\\x{531}-\\x{556}"            \
    "\\x{10A0}-\\x{10C5}\\x{13A0}-\\x{13F5}\\x{13F8}-\\x{13FD}\\x{1C90}-\\x{1CBA}\\x{1CBD}-\\x{1CBF}"          \
    "\\x{1D00}-\\x{1D2B}\\x{1D6B}-\\x{1D77}\\x{1D79}-\\x{1D9A}\\x{1E00}-\\x{1F15}\\x{1F18}-\\x{1F1D}"          \
    "\\x{1F20}-\\x{1F45}\\x{1F48}-\\x{1F4D}\\x{1F50}-\\x{1F57}\\x{1F59}\\x{1F5B}\\x{1F5D}"                     \
    "\\x{1F5F}-\\x{1F7D}\\x{1F80}-\\x{1FB4}\\x{1FB6}-\\x{1FBC}\\x{1FBE}\\x{1FC2}-\\x{1FC4}"                    \
    "\\x{1FC6}-\\x{1FCC}\\x{1FD0}-\\x{1FD3}\\x{1FD6}-\\x{1FDB}\\x{1FE0}-\\x{1FEC}\\x{1FF2}-\\x{1FF4}"          \
    "\\x{1FF6}-\\x{1FFC}\\x{2102}\\x{2107}\\x{210A}-\\x{2113}\\x{2115}\\x{2119}-\\x{211D}\\x{2124}"            \
    "\\x{2126}\\x{2128}\\x{212A}-\\x{212D}\\x{212F}-\\x{2134}\\x{2139}\\x{213C}-\\x{213F}"                     \
    "\\x{2145}-\\x{2149}\\x{214E}\\x{2183}\\x{2184}\\x{2C00}-\\x{2C7B}\\x{2C7E}-\\x{2CE4}"                     \
    "\\x{2CEB}-\\x{2CEE}\\x{2CF2}\\x{2CF3}\\x{A640}-\\x{A66D}\\x{A680}-\\x{A69B}\\x{A722}-\\x{A76F}"           \
    "\\x{A771}-\\x{A787}\\x{A78B}-\\x{A78E}\\x{AB70}-\\x{ABBF}\\x{FB00}-\\x{FB06}\\x{FB13}-\\x{FB17}"          \
    "\\x{FF21}-\\x{FF3A}\\x{FF41}-\\x{FF5A}\\x{10400}-\\x{1044F}\\x{104B0}-\\x{104D3}"                         \
    "\\x{104D8}-\\x{104FB}\\x{10C80}-\\x{10CB2}\\x{10CC0}-\\x{10CF2}\\x{118A0}-\\x{118DF}"                     \
    "\\x{1E900}-\\x{1E943}"
#define HAN_AND_HANGUL "[\\x{4E00}-\\x{9FA5}\\x{800}-\\x{4E00}\\x{AC00}-\\x{D7FF}]+"
#define HAN_AND_KANA   "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+"
#define YOUTU_SCRIPTS                                                                                          \
    "[\\x{AC00}-\\x{D7A3}\\x{3131}-\\x{318E}]+|"                                                               \
    "[\\x{FF01}\\x{2026}\\x{201C}\\x{201D}\\x{2018}\\x{2019}\\x{2014}\\x{FF1A}\\x{FF1B}\\x{FF0C}"              \
    "\\x{3001}-\\x{303F}\\x{FE30}-\\x{FE4F}]+|[\\x{3105}-\\x{312F}]+|" HAN_AND_KANA
#define DEEPSEEK_SYMBOLS "!-/:-~\\x{FF01}-\\x{FF0F}\\x{FF1A}-\\x{FF5E}\\x{2018}-\\x{201F}\\x{3000}-\\x{3002}"
#define DEEPSEEK3(lines)                                                                                       \
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+|"       \
    " ?[\\p{P}\\p{S}]+" lines "|" BLANKS

static const terse_pre PRES[] = {
    { .names =
          "gpt-2 phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum modern-bert exaone4 mpt "
          "olmo jais",
      .stages = { GPT2 },
      .clean_up = true },
    { .names = "trillion granite-docling", .stages = { GPT2 } },
    { .names = "starcoder refact codeshell exaone minerva-7b mellum2",
      .stages = { "\\p{N}", GPT2 },
      .clean_up = true },
    { .names = "command-r smollm", .stages = { "\\p{N}", GPT2 } },
    { .names = "default",
      .stages = { "[\\p{P}$+<=>^~|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]" },
      .clean_up = true },
    { .names = "falcon", .stages = { "[\\p{P}$+<=>^~|`]+", GPT2, "[0-9][0-9][0-9]" }, .clean_up = true },
    { .names = "llama-bpe llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 jina-v5-nano",
      .stages = { CL100K("\\p{N}{1,3}") },
      .whole_words = true,
      .adds_bos = true,
      .clean_up = true },
    { .names = "dbrx smaug-bpe glm4 chatglm-bpe", .stages = { CL100K("\\p{N}{1,3}") }, .clean_up = true },
    { .names = "minicpm5",
      .stages = { "\\p{N}{1,3}", CL100K("\\p{N}+") },
      .whole_words = true,
      .clean_up = true },
    { .names = "qwen2 deepseek-r1-qwen kormo f2llmv2 hunyuan solar-open grok-2",
      .stages = { CL100K("\\p{N}") } },
    { .names = "stablelm2 megrez", .stages = { CL100K("\\p{N}") }, .clean_up = true },
    { .names = "laguna", .stages = { "[^\\n]+|[\\n]+", CL100K("\\p{N}") } },
    { .names = "qwen35", .stages = { QWEN35 } },
    { .names = "ufakzeka", .stages = { WORDS("\\p{N}") } },
    { .names = "seed-coder", .stages = { SEED_CODER } },
    { .names = "bailingmoe bailingmoe2 llada-moe", .stages = { BAILING } },
    { .names = "exaone-moe", .stages = { EXAONE_MOE } },
    { .names = "tekken", .stages = { O200K("", "\\p{N}") }, .whole_words = true, .adds_bos = true },
    { .names = "gpt-4o llama4 kanana2 talkie minimax-m2", .stages = { O200K(CONTRACTION "?", "\\p{N}{1,3}") } },
    { .names = "tiny_aya cohere2moe",
      .stages = { TERSE_DIGITS_OF_WORD, O200K(CONTRACTION "?", "\\p{N}{1,3}") } },
    { .names = "kimi-k2", .stages = { KIMI_K2 } },
    { .names = "youtu", .stages = { YOUTU_SCRIPTS, O200K(CONTRACTION "?", "\\p{N}") }, .whole_words = true },
    { .names = "superbpe", .stages = { "\\p{N}+", TERSE_DIGITS } },
    { .names = "deepseek-llm",
      .stages = { "[\\r\\n]", "[" SPACE "]?[" CASED_LETTERS "]+", "[" SPACE "]?[" DEEPSEEK_SYMBOLS "]+",
                  "(?<![" SPACE "])[" SPACE "]++\\z", HAN_AND_HANGUL, "\\p{N}+" } },
    { .names = "deepseek-coder",
      .stages = { "[\\r\\n]", "[" SPACE "]?\\p{L}+", "[" SPACE "]?\\p{P}+", HAN_AND_HANGUL, "\\p{N}" } },
    { .names = "deepseek-v3 hunyuan-dense hy_v4 joyai-llm",
      .stages = { "\\p{N}{1,3}", HAN_AND_KANA, DEEPSEEK3("[\\r\\n]*|" LINES) } },
    { .names = "spark2_5", .stages = { "\\p{N}{1,3}", HAN_AND_KANA, DEEPSEEK3("|[\\r\\n]"), "\\p{N}" } },
    { .names = "bloom gpt3-finnish", .stages = { BLOOM }, .clean_up = true },
    { .names = "poro-chat", .stages = { BLOOM } },
    { .names = "viking", .stages = { BLOOM, "\\p{N}" } },
    { .names = "chameleon",
      .stages = { "<sentinel:[0-9]+>", "IMGIMG[A-I]{1,4}Z", "[\\t\\n]|    |  ", "\\p{N}",
                  "[\\p{P}!-/:-@\\[-`{-~]", GPT2 },
      .adds_bos = true },
    { .names = "gemma4 granite-embed-multi-311m",
      .stages = { "[^\\n]+|[\\n]+" },
      .raw = true,
      .whole_breaks = true,
      .always_bos = true,
      .clean_up = true },
    { .names = "sarvam-moe", .stages = { "[^\\n]+|[\\n]+" }, .raw = true },
};

static bool lists(const char *names, terse_str name)
{
    for (const char *p = names; *p;) {
        const size_t n = strcspn(p, " ");
        if (n == name.n && memcmp(p, name.p, n) == 0)
            return true;
        p += n + (p[n] == ' ');
    }
    return false;
}

const terse_pre *terse_pre_find(terse_str name)
{
    for (size_t i = 0; i < sizeof PRES / sizeof PRES[0]; i++)
        if (lists(PRES[i].names, name))
            return &PRES[i];
    return NULL;
}

const terse_pre *terse_pre_at(int32_t i)
{
    return i >= 0 && (size_t)i < sizeof PRES / sizeof PRES[0] ? &PRES[i] : NULL;
}
