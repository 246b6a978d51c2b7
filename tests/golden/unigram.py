#!/usr/bin/env python3
"""Makes unigram.json: two small unigram vocabularies trained by SentencePiece on the text given, and what it makes of
strings. Needs the Python module "sentencepiece" 0.1.97. Usage: unigram.py TEXT > unigram.json"""
import io
import json
import random
import sys

import sentencepiece

# source and replacement: some of NFKC, a character that goes, one that becomes a blank, overlapping sequences
RULES = [("\uff21", "A"), ("\ufb01", "fi"), ("\u00bd", "1\u20442"), ("e\u0301", "\u00e9"), ("\u200b", ""), ("\u3000", " "),
         ("\u00a0", " "), ("\t", " "), ("\n", " "), ("\ufdfa", "\u0635\u0644\u0649 \u0627\u0644\u0644\u0647"), ("a\u0301", "\u00e1"),
         ("a\u0301\u0301", "!"), ("\u2460", "1")]
PARTS = ("the The of and in to it was that said house river walked slowly through morning 1 12 2024 , . ; : ! ? ' \" - "
         "( ) \u00e9t\u00e9 e\u0301 a\u0301 a\u0301\u0301 \uff21\uff21 \ufb01n \u00bd \u200b \u2460 \ufdfa \u4e2d\u6587 \U0001f600 x y zz "
         "\u0301 qqq\u00df").split(" ")
BLANKS = [" ", "  ", "   ", "\u3000", "\u00a0", "\t", "\n", " \n ", ""]


def strings():
    rng = random.Random(20261122)
    yield from ("", " ", "   ", "a", " a", "a ", "  a  b  ", "\u200b", " \u200b ", "\ufdfa", "\U0001f600\U0001f601 \U0001f600")
    for _ in range(140):
        yield "".join(rng.choice(PARTS) + rng.choice(BLANKS) for _ in range(rng.randint(1, 12)))


def train(path, **more):
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        input=path, model_writer=out, model_type="unigram", character_coverage=0.9995, pad_id=0, eos_id=1, unk_id=2,
        bos_id=-1, num_threads=1, user_defined_symbols=["<extra_id_0>"], minloglevel=2, **more)
    return out.getvalue()


def fields(blob):
    """The fields of a protocol buffer by number; the last of each."""
    def varint(at):
        value = shift = 0
        while True:
            value |= (blob[at] & 0x7f) << shift
            shift += 7
            at += 1
            if blob[at - 1] < 0x80:
                return value, at
    found, at = {}, 0
    while at < len(blob):
        key, at = varint(at)
        if key & 7 == 2:
            n, at = varint(at)
            found[key >> 3], at = blob[at:at + n], at + n
        elif key & 7 == 5:
            at += 4
        else:
            found[key >> 3], at = varint(at)
    return found


def type_of(sp, i):
    return (2 if sp.is_unknown(i) else 3 if sp.is_control(i) else 5 if sp.is_unused(i) else 6 if sp.is_byte(i)
            else 4 if sp.id_to_piece(i) == "<extra_id_0>" else 1)


def entry(name, blob):
    sp = sentencepiece.SentencePieceProcessor(model_proto=blob)
    spec = fields(fields(blob)[3])  # ModelProto.normalizer_spec
    ids = range(sp.get_piece_size())
    cases = []
    for text in strings():
        tokens = sp.encode(text)
        cases.append([text, tokens, sp.decode(tokens)])
    return {"name": name, "add_space_prefix": bool(spec.get(3, 1)), "remove_extra_whitespaces": bool(spec.get(4, 1)),
            "charsmap": spec.get(2, b"").hex(), "tokens": [sp.id_to_piece(i) for i in ids],
            "scores": [sp.get_score(i) for i in ids], "types": [type_of(sp, i) for i in ids], "cases": cases}


def main():
    with open("rules.tsv", "w", encoding="utf-8") as f:
        for source, target in RULES:
            f.write(" ".join("%X" % ord(c) for c in source) + "\t" + " ".join("%X" % ord(c) for c in target) + "\n")
    entries = [entry("rules", train(sys.argv[1], vocab_size=320, normalization_rule_tsv="rules.tsv")),
               entry("bytes", train(sys.argv[1], vocab_size=560, normalization_rule_name="identity", byte_fallback=True,
                                    add_dummy_prefix=False, remove_extra_whitespaces=False))]
    print("[" + ",\n".join("{" + ",\n".join(json.dumps(k) + ": " + json.dumps(v) for k, v in e.items()) + "}" for e in entries) + "]")


main()
