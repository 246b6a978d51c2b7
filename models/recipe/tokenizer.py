"""The byte-level BPE of a GGUF file (tokenizer.ggml.pre = gpt-2): text to ids and back."""

import re
import sys
import unicodedata

from gguf import Value

CONTROL = 3  # tokenizer.ggml.token_type of special tokens


def byte_letters() -> dict[int, str]:
    """GPT-2's printable stand-ins for the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(rest)}


def category(letter: str) -> str:
    """A character class of all code points whose Unicode category starts with `letter`."""
    ranges, start = [], None
    for c in range(sys.maxunicode + 2):
        inside = c <= sys.maxunicode and unicodedata.category(chr(c)).startswith(letter)
        if inside and start is None:
            start = c
        elif not inside and start is not None:
            ranges.append(f"\\U{start:08x}-\\U{c - 1:08x}")
            start = None
    return "".join(ranges)


def word_pattern() -> re.Pattern[str]:
    letter, number = category("L"), category("N")
    return re.compile(rf"'s|'t|'re|'ve|'m|'ll|'d| ?[{letter}]+| ?[{number}]+|"
                      rf" ?[^\s{letter}{number}]+|\s+(?!\S)|\s+")


class Tokenizer:
    def __init__(self, meta: dict[str, Value]):
        self.tokens: list[str] = meta["tokenizer.ggml.tokens"].data
        kinds = meta["tokenizer.ggml.token_type"].data
        self.special = {t: i for i, t in enumerate(self.tokens) if kinds[i] == CONTROL}
        self.id = {t: i for i, t in enumerate(self.tokens)}
        self.rank = {tuple(m.split(" ")): i for i, m in enumerate(meta["tokenizer.ggml.merges"].data)}
        self.letter = byte_letters()
        self.byte = {c: b for b, c in self.letter.items()}
        self.words = word_pattern()
        self.specials = re.compile("(" + "|".join(map(re.escape, self.special)) + ")")
        self.known: dict[str, list[int]] = {}
        self.bos, self.eos = (meta[f"tokenizer.ggml.{x}_token_id"].data for x in ("bos", "eos"))
        self.turn, self.end = self.id["<|im_start|>"], self.id["<|im_end|>"]

    def word(self, text: str) -> list[int]:
        """Merges the best-ranked pair until none is left. Remembers the words it has seen."""
        if text in self.known:
            return self.known[text]
        parts = [self.letter[b] for b in text.encode()]
        while len(parts) > 1:
            ranks = [self.rank.get(pair, len(self.rank)) for pair in zip(parts, parts[1:])]
            best = min(ranks)
            if best == len(self.rank):
                break
            i = ranks.index(best)
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
        ids = [self.id[p] for p in parts]
        if len(self.known) < 1 << 20:
            self.known[text] = ids
        return ids

    def encode(self, text: str, special: bool = False) -> list[int]:
        """Ids of a text; names of special tokens in it are read as such if `special`."""
        if special:
            pieces = self.specials.split(text)
            return [i for p in pieces for i in ([self.special[p]] if p in self.special else self.encode(p))]
        ids: list[int] = []
        for word in self.words.findall(text):
            ids += self.word(word)
        return ids

    def decode(self, ids: list[int]) -> str:
        raw = b"".join(self.tokens[i].encode() if self.tokens[i] in self.special
                       else bytes(self.byte[c] for c in self.tokens[i]) for i in ids)
        return raw.decode(errors="replace")
