"""What a model can do with its gates hard: perplexity, tasks, kept keys per layer and head.

All in PyTorch, by whole prompts: an answer is right if every token of it is the likeliest after the right ones
before it.
"""

import argparse
import json
import lzma
import math
import os

import torch
import torch.nn.functional as F

import gguf
import model as models
from tokenizer import Tokenizer

TILE = 128


class Evaluation:
    def __init__(self, path: str, device: torch.device, hardness: float = 1.0):
        gated = any("util" in name for name in gguf.read(path)[1])
        self.model, meta = models.load(path, gated, device)
        self.tokenizer, self.device = Tokenizer(meta), device
        self.angles = models.rope_angles(self.model.shape, self.model.shape.context + TILE, device)
        self.gating = torch.tensor((1.0, hardness), device=device) if gated else None

    @torch.no_grad()
    def run(self, ids: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits [tokens][vocab] and which keys are kept [layers][kv_heads][tokens] (empty: a dense model)."""
        padded = torch.tensor(ids + [0] * (-len(ids) % TILE), device=self.device)[None]
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            logits, utilities = self.model(padded, self.angles[:, :padded.shape[1]], self.gating)
        kept = [u[0, :, :len(ids)] >= self.model.shape.threshold for u in utilities]
        return logits[0, :len(ids)], torch.stack(kept).float() if kept else torch.empty(0)

    def perplexity(self, ids: list[int], context: int, windows: int) -> dict[str, object]:
        """llama-perplexity's: windows side by side, each with <|bos|> first, its second half scored."""
        loss, n, kept = 0.0, 0, []
        for w in range(min(windows, len(ids) // context)):
            window = [self.tokenizer.bos] + ids[w * context + 1:(w + 1) * context]
            logits, keep = self.run(window)
            first = context // 2
            target = torch.tensor(window[first + 1:], device=self.device)
            loss += F.cross_entropy(logits[first:-1].float(), target, reduction="sum").item()
            n += len(target)
            kept.append(keep)
        return {"perplexity": round(math.exp(loss / n), 3), "windows": w + 1} | self.density(kept)

    def density(self, kept: list[torch.Tensor]) -> dict[str, object]:
        """Share of kept keys, in all and per head; and of what a cache holds at the end (with the window)."""
        if not kept[0].numel():
            return {}
        s = self.model.shape
        held = []
        for k in kept:
            k = k.clone()
            k[..., :s.sinks] = k[..., -s.window:] = 1
            held.append(k.mean())
        heads = torch.stack([k.mean(-1) for k in kept]).mean(0)
        return {"kept": round(heads.mean().item(), 4), "held": round(torch.stack(held).mean().item(), 4),
                "heads": [[round(x, 3) for x in row] for row in heads.tolist()]}

    def prompts(self, path: str) -> dict[str, object]:
        """Right answers per task of a file of prompts."""
        right: dict[str, list[bool]] = {}
        kept = []
        with (lzma.open if path.endswith(".xz") else open)(path, "rt", encoding="utf-8") as file:
            for line in map(json.loads, file):
                prompt = [self.tokenizer.bos] + self.tokenizer.encode(line["prompt"], special=True)
                both = prompt[:1] + self.tokenizer.encode(line["prompt"] + line["answer"], special=True)
                logits, keep = self.run(both)
                got = logits[len(prompt) - 1:-1].argmax(-1).tolist()
                right.setdefault(line["task"], []).append(got == both[len(prompt):])
                kept.append(keep)
        return {"right": {task: f"{sum(r)}/{len(r)}" for task, r in right.items()}} | self.density(kept)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--text", help="perplexity of this file")
    parser.add_argument("--windows", default="2048:2,2048:4,4096:1000", help="context:windows, ...")
    parser.add_argument("--prompts", nargs="*", default=[], help="JSON lines, .xz or not: task, prompt, answer")
    parser.add_argument("--soft", action="store_true", help="gates as they are before they harden")
    parser.add_argument("--json", help="file to write all figures to")
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    evaluation = Evaluation(args.model, device, 0.0 if args.soft else 1.0)
    out: dict[str, object] = {}
    if args.text:
        with open(args.text, encoding="utf-8") as file:
            ids = [evaluation.tokenizer.bos] + evaluation.tokenizer.encode(file.read())
        for context, windows in (map(int, x.split(":")) for x in args.windows.split(",")):
            out[f"text {context} x {windows}"] = evaluation.perplexity(ids, context, windows)
    for path in args.prompts:
        out[os.path.basename(path)] = evaluation.prompts(path)
    for name, figures in out.items():
        print(args.model, name, json.dumps(figures), flush=True)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(out, file, indent=1)


if __name__ == "__main__":
    main()
