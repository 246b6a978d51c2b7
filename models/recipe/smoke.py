"""A toy of two layers through the recipe on a CPU: tokens, tasks, dense training, gates, file, figures."""

import os
import sys
import tempfile
import time

import torch

import corpus
import gguf
import model as models
from evaluate import Evaluation
from tokenizer import Tokenizer
from train import DENSE_MIX, GATE_MIX, Batches, Plan, Stage, Stream, Trainer

MODELS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SHAPE = models.Shape(width=64, layers=2, heads=4, kv_heads=2, dim=16, feed_forward=128, context=512, window=32)
STEPS = 60


def plan(**changes: float) -> Plan:
    base = Plan(0.0, STEPS, [Stage(0, 256, 4)], 5e-3, 5e-3, 0.6, 1.0, 0.6, 0.7, 0.2, 0.4)
    return base._replace(**changes)


def mean_loss(model: models.Model, ids: list[int]) -> float:
    angles = models.rope_angles(model.shape, 256, torch.device("cpu"))
    rows = torch.tensor(ids[:257])
    with torch.no_grad():
        logits = model(rows[None, :-1], angles, torch.ones(2) if model.gated else None)[0][0]
    return torch.nn.functional.cross_entropy(logits, rows[1:]).item()


def check(good: bool, what: str) -> None:
    print(("ok: " if good else "FAILED: ") + what)
    if not good:
        sys.exit(1)


def smoke() -> None:
    torch.manual_seed(1)
    torch.set_num_threads(1)  # matrices are too small to share
    start = time.time()
    base = os.path.join(MODELS, "terse-28m-16k-q8_0.gguf")
    meta = gguf.read(base)[0]
    sizes = {"embedding_length": SHAPE.width, "block_count": SHAPE.layers, "context_length": SHAPE.context,
             "feed_forward_length": SHAPE.feed_forward, "rope.dimension_count": SHAPE.dim,
             "attention.head_count": SHAPE.heads, "attention.head_count_kv": SHAPE.kv_heads,
             "attention.key_length": SHAPE.dim, "attention.value_length": SHAPE.dim}
    meta |= {f"llama.{name}": gguf.Value(gguf.UINT32, n) for name, n in sizes.items()}
    tokenizer = Tokenizer(meta)
    tokens = corpus.tokenize(base, [os.path.join(MODELS, "ruler.txt")], 1)
    cpu = torch.device("cpu")
    dense = models.Model(SHAPE, False)
    before = mean_loss(dense, tokens.tolist())
    Trainer(dense, None, plan(), cpu).run(Batches(Stream(tokenizer, tokens, DENSE_MIX, plan()), 0))
    after = mean_loss(dense, tokens.tolist())
    check(after < before - 1, f"dense training: loss of text {before:.2f} -> {after:.2f}")
    gated = models.Model(SHAPE, True)
    gated.load_state_dict(dense.state_dict(), strict=False)
    dense.requires_grad_(False)
    goal = plan(density=0.5, gate_rate=2e-2, price=1.0)
    Trainer(gated, dense, goal, cpu).run(Batches(Stream(tokenizer, tokens, GATE_MIX, goal), 0))
    final = mean_loss(gated, tokens.tolist())
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "toy.gguf")
        models.save(path, gated, meta, gguf.F32)
        again = Evaluation(path, cpu)
        figures = again.perplexity(tokens.tolist(), 256, 4)
    read = mean_loss(again.model, tokens.tolist())
    check(abs(read - final) < 0.01, f"file and model agree: loss {read:.3f}, {final:.3f}")
    check(final < after + 0.5, f"hard gates: loss {after:.2f} -> {final:.2f}")
    check(0 < figures["kept"] < 0.95, f"pressure: {figures['kept']:.2f} of the keys are kept")
    print(f"smoke: {time.time() - start:.0f} s")
