"""Text to tokens. Documents are separated by NUL; each becomes <|bos|> tokens <|eos|>."""

import argparse
import os
import re
import time
from multiprocessing import Pool

import numpy as np

import gguf
from tokenizer import Tokenizer

PIECE = 1 << 20  # characters a process gets at a time
tokenizer: Tokenizer


def pieces(paths: list[str]) -> list[str]:
    """Documents with their separators, cut at lines so that every process gets some."""
    out = []
    for path in paths:
        with open(path, encoding="utf-8", errors="replace") as file:
            for document in file.read().split("\0"):
                start = 0
                while start < len(document):
                    cut = document.find("\n", start + PIECE) + 1 or len(document)
                    out.append(("<|bos|>" if start == 0 else "") + document[start:cut]
                               + ("<|eos|>" if cut == len(document) else ""))
                    start = cut
    return out


def start_process(model: str) -> None:
    global tokenizer
    tokenizer = Tokenizer(gguf.read(model)[0])


def encode(piece: str) -> np.ndarray:
    """Only the marks that pieces() put at the ends are special: a text cannot forge them."""
    first, last = piece.startswith("<|bos|>"), piece.endswith("<|eos|>")
    ids = tokenizer.encode(piece[7 if first else 0:-7 if last else None])
    return np.array([tokenizer.bos] * first + ids + [tokenizer.eos] * last, np.uint16)


def tokenize(model: str, paths: list[str], processes: int) -> np.ndarray:
    with Pool(processes, start_process, (model,)) as pool:
        return np.concatenate(pool.map(encode, pieces(paths), chunksize=1))


def sentence_starts(tokens: np.ndarray, tokenizer: Tokenizer) -> np.ndarray:
    """Places where a sentence starts: a token that ends one, then one that opens a capitalised word."""
    last = np.array([bool(re.search(r"[.!?][\"')]?$", t)) for t in tokenizer.tokens])
    first = np.array([bool(re.match("\u0120(\"|[A-Z])", t)) for t in tokenizer.tokens])
    return np.nonzero(last[tokens[:-1]] & first[tokens[1:]])[0] + 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", help="GGUF file whose tokenizer to use")
    parser.add_argument("out", help="tokens as uint16 (.npy)")
    parser.add_argument("text", nargs="+")
    parser.add_argument("--processes", type=int, default=os.cpu_count())
    args = parser.parse_args()
    start = time.time()
    tokens = tokenize(args.model, args.text, args.processes)
    np.save(args.out, tokens)
    print(f"{len(tokens)} tokens in {time.time() - start:.1f} s")


if __name__ == "__main__":
    main()
