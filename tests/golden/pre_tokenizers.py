#!/usr/bin/env python3
"""Makes pre_tokenizers.json: where the published patterns cut strings, as another regular expression engine sees it
(the Python module "regex"). The patterns are those of the tokenizer.json or tokenizer.py of each family. Usage:
pre_tokenizers.py > pre_tokenizers.json"""
import json
import random

import regex

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def cl100k(digits):
    return (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits +
            r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def o200k(end, digits):
    return (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+" + end +
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*" + end + "|" + digits +
            r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


END = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
HAN = r"[\p{Han}]+"
NO_HAN_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
NO_HAN_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
KIMI = (HAN + r"|[^\r\n\p{L}\p{N}]?" + NO_HAN_UPPER + "*" + NO_HAN_LOWER + "+" + END +
        r"|[^\r\n\p{L}\p{N}]?" + NO_HAN_UPPER + "+" + NO_HAN_LOWER + "*" + END +
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
CASED = (
    "A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-\u1f7dᾀ-ᾴᾶ-ᾼ\u1fbe"
    "ῂ-ῄῆ-ῌῐ-\u1fd3ῖ-\u1fdbῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤ\u2126ℨ\u212a-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ"
    "𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃")
HAN_KANA = "[一-龥぀-ゟ゠-ヿ]+"
HAN_HANGUL = "[一-龥ࠀ-一가-퟿]+"
DEEPSEEK3 = (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^" + "\r\n" + r"\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+|"
             r" ?[\p{P}\p{S}]+[" + "\r\n" + r"]*|\s*[" + "\r\n" + r"]+|\s+(?!\S)|\s+")
BLOOM = " ?[^(\\s|.,!?…。，、।۔،)]+"

PRES = {
    "gpt-2": [GPT2],
    "starcoder": [r"\p{N}", GPT2],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "llama-bpe": [cl100k(r"\p{N}{1,3}")],
    "minicpm5": [r"\p{N}{1,3}", cl100k(r"\p{N}+")],
    "qwen2": [cl100k(r"\p{N}")],
    "laguna": [r"[^\n]+|[\n]+", cl100k(r"\p{N}")],
    "qwen35": [r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"
               r"\s*[\r\n]+|\s+(?!\S)|\s+"],
    "ufakzeka": [r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "seed-coder": [r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|"
                   r"\s+(?!\S)|\s+"],
    "bailingmoe": [r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|"
                   r"\s+(?!\S)|\s+"],
    "exaone-moe": [r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}|"
                   r" ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+"],
    "tekken": [o200k("", r"\p{N}")],
    "gpt-4o": [o200k(END, r"\p{N}{1,3}")],
    "tiny_aya": [r"\d{1,3}(?=(?:\d{3})*\b)", o200k(END, r"\p{N}{1,3}")],
    "kimi-k2": [KIMI],
    "youtu": ["[가-힣ㄱ-ㆎ]+|[！…“”‘’—：；，、-〿︰-﹏]+|[ㄅ-ㄯ]+|" + HAN_KANA, o200k(END, r"\p{N}")],
    "superbpe": [r"\p{N}+", r"(?=(\d{3})+(?!\d))"],
    "deepseek-llm": ["[\r\n]", r"\s?[" + CASED + "]+", r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", HAN_HANGUL, r"\p{N}+"],
    "deepseek-coder": ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", HAN_HANGUL, r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", HAN_KANA, DEEPSEEK3],
    "spark2_5": [r"\p{N}{1,3}", HAN_KANA,
                 DEEPSEEK3.replace("[\r\n]*|\\s*[\r\n]+", "|[\r\n]"), r"\p{N}"],
    "bloom": [BLOOM],
    "viking": [BLOOM, r"\p{N}"],
    "chameleon": ["<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", "([\\t\\n]|    |  )", r"\p{N}",
                  r"[\p{P}!-/:-@\[-`{-~]", GPT2],
    "gemma4": [r"[^\n]+|[\n]+"],
}

PARTS = ("a b A B z Z the The THE don't I'LL we'Re x's 'll ' '' \" - _ __ . , ... ? ! ( ) [ ] { } / // \\ | ` ~ ^ $ + < = "
         "> & * # @ % <sentinel:12> IMGIMGABZ 0 1 12 123 1234 12345 1234567 3.14 1,000 ½ ² Ⅷ ٣ ٣٤٥٦ ९ é É ñ Straße Ǆ ǅ ʰ "
         "ª ß Ω µ Привет МИР ДА שלום مرحبا नमस्ते कि สวัสดี ำ 中文 漢字 々 〇 。 、 ！ ， ‘ ’ “ ” … — かな カナ ー 한국 ㄱ ㄅ "
         "😀 👍🏽 e\u0301 \u0301 \u0301\u0301 ⃝ ། ཱ a\u0300\u0301b ™ № ° × ﬁ Ａ ａ １ ａＢ １２ ۔ । ،").split(" ")
BLANKS = [" ", "  ", "   ", "    ", " " * 9, "\n", "\n\n", "\r\n", "\t", "\t\t", " \n", "\n ", " \n \n ", "\u3000",
          "\u00a0", "\u2003", "\u0085", "\u2028", "\v\f", "\r"]
ODD = ["\u0001", "\u0000", "\u200b", "\u00ad", "\ue000", "\ufffd", "\U000e0001", "\u2060"]


def strings():
    rng = random.Random(20261122)
    yield from (w + t for w in ("", " ", "x ") for t in ("", "it's 2,024!\n\n  Ok  ", "a1b22c333d4444", "\n" * 7))
    for i in range(108):
        n = rng.randint(2, 14)
        yield "".join(rng.choice(PARTS) if r < 0.62 else rng.choice(BLANKS) if r < 0.96 else rng.choice(ODD)
                      for r in (rng.random() for _ in range(n)))


def cut(pieces, pattern):
    """Each piece becomes the matches of the pattern and what lies between them."""
    out = []
    for piece in pieces:
        at = 0
        for m in pattern.finditer(piece):
            for end in (m.start(), m.end()):
                if end > at:
                    out.append(piece[at:end])
                    at = end
        if at < len(piece):
            out.append(piece[at:])
    return out


def main():
    texts = list(strings())
    splits = {}
    for name, patterns in PRES.items():
        compiled = [regex.compile(p, regex.V1) for p in patterns]
        splits[name] = []
        for text in texts:
            pieces = [text] if text else []
            for pattern in compiled:
                pieces = cut(pieces, pattern)
            splits[name].append(" ".join(str(len(p.encode())) for p in pieces))
    lines = ['{"strings": [' + ",\n".join(json.dumps(t) for t in texts) + "],", '"splits": {']
    lines += [",\n".join(json.dumps(n) + ": " + json.dumps(s) for n, s in splits.items()), "}}"]
    print("\n".join(lines))


main()
