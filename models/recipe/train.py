"""Trains the dense model, or adapts it to SP-KV, for a given time on one GPU.

    train.py dense START.gguf TOKENS.npy OUT.gguf ...   next-token loss; START gives shape and tokenizer
    train.py spkv  START.gguf TOKENS.npy OUT.gguf ...   gates against the dense START (or --teacher) as teacher
    train.py --smoke                                    a toy, on a CPU, in a minute
"""

import argparse
import math
import os
import sys
import time
from typing import Callable, Iterator, NamedTuple

try:
    import numpy as np
    import torch
except ImportError as missing:
    print(f"train.py needs PyTorch and NumPy: {missing}; pip install torch numpy", file=sys.stderr)
    sys.exit(2)
import torch.nn.functional as F
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

import corpus
import gguf
import model as models
import tasks
from optimizer import Optimizer
from tokenizer import Tokenizer

DENSE_MIX = {"single": 22, "multikey": 22, "multivalue": 9, "multiquery": 9, "variables": 8, "common_words": 5,
             "key_value": 9, "copy": 6, "facts": 10}
GATE_MIX = {"single": 10, "multikey": 14, "multivalue": 15, "multiquery": 15, "variables": 15,
            "common_words": 2, "key_value": 17, "copy": 3, "facts": 9}
LONG_SHARE = 0.6      # of tasks that fill a good part of their row
WARM_UP = 50          # steps
REPORT = 50           # steps
PRESSURE_GAIN = 0.3   # of its logarithm, per ten steps and unit of density
DENSITY_FROM = 0.25   # progress at which the wanted density is reached and gates begin to sharpen
SHARPEST = 10.0       # factor of a utility's logit just before gates harden


class Stage(NamedTuple):
    start: float  # progress
    tokens: int   # of a row
    rows: int     # of a step


class Plan(NamedTuple):
    seconds: float
    steps: int          # if not 0, they and not the seconds end the training
    stages: list[Stage]
    rate: float
    gate_rate: float    # the predictors'
    decay_from: float
    density: float      # wanted share of kept keys; 1: no pressure
    soft_until: float   # progress at which gates begin to harden and predictors stop learning
    hard_from: float
    answer: float       # weight of answers beside that of all tokens
    task_share: float
    price: float = 0.003  # of a kept key, at the start
    sharpest: float = SHARPEST  # 1: gates are not sharpened

    def progress(self, steps: int, seconds: float) -> float:
        return steps / self.steps if self.steps else seconds / self.seconds

    def stage(self, progress: float) -> Stage:
        return [s for s in self.stages if s.start <= progress][-1]

    def learning_rate(self, step: int, progress: float) -> float:
        left = min(1.0, (1 - progress) / (1 - self.decay_from))
        return self.rate * max(0.02, left) * min(1.0, (step + 1) / WARM_UP)

    def sharpness(self, progress: float) -> float:
        part = (progress - DENSITY_FROM) / max(self.soft_until - DENSITY_FROM, 1e-9)
        return self.sharpest ** min(1.0, max(0.0, part))

    def predictor_rate(self, step: int, progress: float) -> float:
        """Falls as gates sharpen, which makes a step count for more; 0 when they harden."""
        if progress >= self.soft_until:
            return 0.0
        return self.gate_rate * min(1.0, (step + 1) / WARM_UP) / self.sharpness(progress) ** 0.5

    def hardness(self, progress: float) -> float:
        if progress < self.soft_until:
            return 0.0
        return min(1.0, (progress - self.soft_until) / max(self.hard_from - self.soft_until, 1e-9))

    def wanted(self, progress: float) -> float:
        return max(self.density, 1 - (1 - self.density) * progress / DENSITY_FROM)


Batch = tuple[torch.Tensor, torch.Tensor]  # tokens and weights [rows][tokens + 1]


class Stream(IterableDataset):
    """Endless batches; every worker has its own seed. `at`, shared with them, is the stage to make them for."""

    def __init__(self, tokenizer: Tokenizer, tokens: np.ndarray, mix: dict[str, float], plan: Plan):
        self.hay = tasks.Haystack(tokens, corpus.sentence_starts(tokens, tokenizer))
        self.tokenizer, self.mix, self.plan = tokenizer, mix, plan
        self.at = torch.zeros(1, dtype=torch.int64).share_memory_()

    def batch(self, writer: tasks.Writer, stage: Stage) -> Batch:
        rows = tasks.Rows(writer, stage.tokens + 1, self.plan.task_share, LONG_SHARE)
        ids, weights = rows.batch(stage.rows)
        return torch.from_numpy(ids), torch.from_numpy(weights)

    def writer(self, seed: int) -> tasks.Writer:
        return tasks.Writer(self.tokenizer, self.hay, seed, self.mix)

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        writer = self.writer(worker.id if worker else 0)
        while True:
            yield self.batch(writer, self.plan.stages[int(self.at)])


class Batches:
    """Batches of a stream, made by worker processes. One pool serves all stages: processes that are forked when
    threads run already can hang. After a change of stage some batches of the old one are still under way."""

    def __init__(self, stream: Stream, workers: int):
        self.stream = stream
        self.loader = iter(DataLoader(stream, batch_size=None, num_workers=workers,
                                      pin_memory=torch.cuda.is_available()))

    def examples(self) -> list[Batch]:
        """One batch of every stage."""
        return [self.stream.batch(self.stream.writer(-1), stage) for stage in self.stream.plan.stages]

    def next(self, progress: float) -> Batch:
        stages = self.stream.plan.stages
        self.stream.at[0] = stages.index(self.stream.plan.stage(progress))
        return next(self.loader)


Loss = tuple[torch.Tensor, torch.Tensor]  # what to minimise, and figures to report


def dense_loss(logits: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor) -> Loss:
    """The weighted mean cross entropy. Figures: that of text, of answers."""
    loss = F.cross_entropy(logits.float().flatten(0, 1), ids.flatten(), reduction="none")
    w = weights.flatten()
    text, answer = (w == tasks.TEXT).float(), (w == tasks.ANSWER).float()
    figures = [(loss * kind).sum() / kind.sum().clamp(1) for kind in (text, answer)]
    return (loss * w).sum() / w.sum().clamp(1), torch.stack(figures).detach()


def gated_loss(logits: torch.Tensor, teacher: torch.Tensor, ids: torch.Tensor, weights: torch.Tensor,
               answer_weight: float) -> Loss:
    """KL(teacher || student) of all tokens and again, with the cross entropy, of answers. Figures: KL, how much
    the cross entropy of text is above the teacher's, that of answers, the teacher's."""
    ours, theirs = (torch.log_softmax(x.float().flatten(0, 1), -1) for x in (logits, teacher))
    kl = (theirs.exp() * (theirs - ours)).sum(-1)
    loss, base = (-x.gather(1, ids.flatten()[:, None])[:, 0] for x in (ours, theirs))
    w = weights.flatten()
    text, answer = (w == tasks.TEXT).float(), (w == tasks.ANSWER).float()
    n_text, n_answer = text.sum().clamp(1), answer.sum().clamp(1)
    figures = torch.stack((kl.mean(), ((loss - base) * text).sum() / n_text, (loss * answer).sum() / n_answer,
                           (base * answer).sum() / n_answer))
    return kl.mean() + answer_weight * ((kl + loss) * answer).sum() / n_answer, figures.detach()


class Pressure:
    """The price of a kept key, steered so that the share of kept keys follows the plan."""

    def __init__(self, plan: Plan):
        self.plan, self.price, self.seen = plan, plan.price if plan.density < 1 else 0.0, []

    def of(self, utilities: list[torch.Tensor], threshold: float, progress: float) -> torch.Tensor:
        u = torch.stack(utilities)
        self.seen.append(torch.stack((u.detach().mean(), (u >= threshold).float().mean())))
        return u.mean() * (self.price if progress < self.plan.soft_until else 0.0)

    def steer(self, progress: float) -> None:
        density = torch.stack(self.seen[-10:])[:, 1].mean().item()
        if progress < self.plan.soft_until:
            change = math.exp(PRESSURE_GAIN * (density - self.plan.wanted(progress)))
            self.price = min(1.0, max(1e-4, self.price * change)) if self.price else 0.0


class Trainer:
    def __init__(self, student: models.Model, teacher: models.Model | None, plan: Plan, device: torch.device):
        self.student, self.teacher, self.plan, self.device = student, teacher, plan, device
        self.optimizer = Optimizer(student, 0.0 if teacher else 0.1)
        self.pressure = Pressure(plan)
        self.angles = {s.tokens: models.rope_angles(student.shape, s.tokens, device) for s in plan.stages}
        self.figures: list[torch.Tensor] = []
        self.losses = (gated_loss, dense_loss)
        if device.type == "cuda":
            self.losses = tuple(torch.compile(f, dynamic=False) for f in self.losses)
            for m in (student, teacher):
                for block in m.blk if m else []:
                    block.compile(dynamic=False)

    def loss(self, ids: torch.Tensor, weights: torch.Tensor, progress: float) -> torch.Tensor:
        inputs, targets, weights = ids[:, :-1], ids[:, 1:], weights[:, 1:]
        angles = self.angles[inputs.shape[1]]
        gated, dense = self.losses
        if not self.teacher:
            loss, figures = dense(self.student(inputs, angles)[0], targets, weights)
        else:
            with torch.no_grad():
                theirs = self.teacher(inputs, angles)[0]
            gating = torch.stack([torch.full((), x, device=self.device)
                                  for x in (self.plan.sharpness(progress), self.plan.hardness(progress))])
            logits, utilities = self.student(inputs, angles, gating)
            loss, figures = gated(logits, theirs, targets, weights, self.plan.answer)
            loss = loss + self.pressure.of(utilities, self.student.shape.threshold, progress)
        self.figures.append(figures)
        return loss

    def gradients(self, batch: Batch, progress: float) -> None:
        ids, weights = (x.to(self.device, non_blocking=True) for x in batch)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.device.type == "cuda"):
            loss = self.loss(ids.long(), weights, progress)
        loss.backward()

    def step(self, n: int, progress: float, batch: Batch) -> None:
        self.gradients(batch, progress)
        self.optimizer.step(self.plan.learning_rate(n, progress), self.plan.predictor_rate(n, progress))
        if self.teacher and n % 10 == 9:
            self.pressure.steer(progress)

    def report(self, n: int, tokens: int, progress: float, seconds: float) -> None:
        names = ["kl", "text+", "answers", "teacher"] if self.teacher else ["text", "answers"]
        means = torch.stack(self.figures).mean(0).tolist()
        line = [f"step {n} progress {progress:.3f} tokens {tokens / 1e6:.1f}M {tokens / seconds / 1e3:.0f}K/s"]
        line += [f"{name} {x:.4f}" for name, x in zip(names, means)]
        if self.teacher:
            u, density = torch.stack(self.pressure.seen[-len(self.figures):]).mean(0).tolist()
            line.append(f"utility {u:.3f} kept {density:.3f} price {self.pressure.price:.4f}")
        print(" ".join(line), flush=True)
        self.figures.clear()
        self.pressure.seen.clear()

    def warm_up(self, examples: list[Batch]) -> None:
        """Compiles what the stages need, so that it does not count."""
        start = time.time()
        for batch in examples:
            self.gradients(batch, 0.0)
            self.optimizer.clear()
        self.figures.clear()
        self.pressure.seen.clear()
        print(f"compiled in {time.time() - start:.0f} s", flush=True)

    def run(self, batches: Batches, when_hardening: Callable[[], None] = lambda: None) -> None:
        """Trains to the end of the plan; the call is made once, when gates begin to harden."""
        self.warm_up(batches.examples())
        n = tokens = 0
        progress, start, soft = 0.0, time.time(), True
        while progress < 1:
            if soft and progress >= self.plan.soft_until:
                soft = False
                when_hardening()
            batch = batches.next(progress)
            self.step(n, progress, batch)
            n, tokens = n + 1, tokens + batch[0][:, 1:].numel()
            if n % REPORT == 0:
                self.report(n, tokens, progress, time.time() - start)
            progress = self.plan.progress(n, time.time() - start)
        print(f"done: {n} steps, {tokens / 1e6:.1f}M tokens, {time.time() - start:.0f} s", flush=True)


def train(args: argparse.Namespace, plan: Plan, mix: dict[str, float]) -> None:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    gated = args.what == "spkv"
    student, meta = models.load(args.start, gated, torch.device("cpu"))
    batches = Batches(Stream(Tokenizer(meta), np.load(args.tokens), mix, plan), args.workers)
    if args.what == "dense" and not args.resume:
        student.start()
    if args.freeze_backbone:
        for name, p in student.named_parameters():
            p.requires_grad_("util" in name)
    teacher = models.load(args.teacher or args.start, False, device)[0].requires_grad_(False) if gated else None
    kind = {"f16": gguf.F16, "q8_0": gguf.Q8_0}[args.type]

    def keep_soft() -> None:
        if args.keep_soft:
            models.save(args.keep_soft, student, meta, kind)
    Trainer(student.to(device), teacher, plan, device).run(batches, keep_soft)
    models.save(args.out, student, meta, kind)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("what", choices=("dense", "spkv"))
    add("start", help="GGUF file to begin with (F32, F16 or Q8_0)")
    add("tokens", help="from corpus.py")
    add("out", help="GGUF file to write")
    add("--seconds", type=float, default=420)
    add("--steps", type=int, default=0, help="train for so many steps, however long they take")
    add("--stages", default="0:4096:16,0.45:16384:4", help="progress:tokens of a row:rows of a step, ...")
    add("--rate", type=float, help="learning rate (dense: 3e-3, spkv: 2.5e-4)")
    add("--gate-rate", type=float, default=2.5e-3, help="learning rate of the predictors")
    add("--decay-from", type=float, default=0.6, help="progress at which the rate begins to fall")
    add("--task-share", type=float, default=0.4, help="share of rows that hold tasks")
    add("--type", choices=("f16", "q8_0"), default="f16", help="of the matrices in OUT")
    add("--workers", type=int, default=max(1, (os.cpu_count() or 2) - 2))
    add("--resume", action="store_true", help="dense: from the weights of START, not from random ones")
    add("--teacher", help="spkv: dense GGUF file to stay close to; START unless given")
    add("--density", type=float, default=0.25, help="spkv: wanted share of kept keys; 1: no pressure")
    add("--sharpest", type=float, default=SHARPEST,
        help="spkv: factor of a utility's logit just before gates harden; 1: gates are not sharpened")
    add("--soft-until", type=float, default=0.6, help="spkv: progress at which gates begin to harden")
    add("--hard-from", type=float, default=0.65, help="spkv: progress from which gates are 0 or 1")
    add("--answer-weight", type=float, default=0.2, help="spkv: weight of answers beside that of all tokens")
    add("--keep-soft", help="spkv: GGUF file for the model as it is when gates begin to harden")
    add("--freeze-backbone", action="store_true", help="spkv: train the predictors only")
    return parser.parse_args()


def main() -> None:
    if sys.argv[1:] == ["--smoke"]:
        from smoke import smoke
        smoke()
        return
    args = parse()
    stages = [Stage(float(a), int(b), int(c)) for a, b, c in (s.split(":") for s in args.stages.split(","))]
    rate = args.rate or (2.5e-4 if args.what == "spkv" else 3e-3)
    plan = Plan(args.seconds, args.steps, stages, rate, args.gate_rate, args.decay_from, args.density,
                args.soft_until, args.hard_from, args.answer_weight, args.task_share,
                sharpest=args.sharpest)
    train(args, plan, GATE_MIX if args.what == "spkv" else DENSE_MIX)


if __name__ == "__main__":
    main()
