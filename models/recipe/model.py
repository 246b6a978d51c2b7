"""Llama's layers (RMSNorm, interleaved RoPE, grouped queries, SwiGLU, tied embeddings) and SP-KV's gates.

Parameters are called as the tensors of the GGUF file are, so a state dict is a file's tensors.
"""

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

import gguf
from attention import attend

SOFT_FLOOR = 1e-6  # of a utility while gates are soft
OPEN_BIAS = 3.0    # of a fresh predictor's output: sigmoid(3) = 0.95


@dataclass(frozen=True)
class Shape:
    vocab: int = 8192
    width: int = 512
    layers: int = 8
    heads: int = 8
    kv_heads: int = 2
    dim: int = 64
    feed_forward: int = 1536
    context: int = 16384
    rope_base: float = 500000.0
    epsilon: float = 1e-5
    window: int = 128
    sinks: int = 4
    threshold: float = 0.5

    @staticmethod
    def of(meta: dict[str, gguf.Value]) -> "Shape":
        get = {k.removeprefix("llama."): v.data for k, v in meta.items()}
        return Shape(len(meta["tokenizer.ggml.tokens"].data), get["embedding_length"], get["block_count"],
                     get["attention.head_count"], get["attention.head_count_kv"], get["attention.key_length"],
                     get["feed_forward_length"], get["context_length"], get["rope.freq_base"],
                     get["attention.layer_norm_rms_epsilon"], get.get("terse.spkv.window", 128),
                     get.get("terse.spkv.sinks", 4), get.get("terse.spkv.threshold", 0.5))


class Norm(nn.Module):
    def __init__(self, width: int, epsilon: float):
        super().__init__()
        self.weight, self.epsilon = nn.Parameter(torch.ones(width)), epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x.float()
        size = torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + self.epsilon)
        return (y * size * self.weight.float()).to(x.dtype)


def rope_angles(shape: Shape, tokens: int, device: torch.device) -> torch.Tensor:
    """cos and sin [2][tokens][1][dim / 2]."""
    rates = shape.rope_base ** (-torch.arange(0, shape.dim, 2, device=device, dtype=torch.float64) / shape.dim)
    angles = torch.arange(tokens, device=device, dtype=torch.float64)[:, None, None] * rates
    return torch.stack((angles.cos(), angles.sin())).float()


def rotate(x: torch.Tensor, angles: torch.Tensor) -> torch.Tensor:
    """x: [batch][tokens][heads][dim]; pairs are neighbours."""
    a, b = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = angles.unbind(0)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2).to(x.dtype)


class Block(nn.Module):
    def __init__(self, shape: Shape, gated: bool):
        super().__init__()
        self.shape, width = shape, shape.width

        def matrix(n_in: int, n_out: int) -> nn.Linear:
            return nn.Linear(n_in, n_out, bias=False)
        self.attn_norm, self.ffn_norm = Norm(width, shape.epsilon), Norm(width, shape.epsilon)
        self.attn_q = matrix(width, shape.heads * shape.dim)
        self.attn_k = matrix(width, shape.kv_heads * shape.dim)
        self.attn_v = matrix(width, shape.kv_heads * shape.dim)
        self.attn_output = matrix(shape.heads * shape.dim, width)
        self.ffn_gate, self.ffn_up = matrix(width, shape.feed_forward), matrix(width, shape.feed_forward)
        self.ffn_down = matrix(shape.feed_forward, width)
        if gated:
            hidden = width // 4
            self.attn_kv_util = nn.ModuleList([nn.Linear(width, hidden), nn.Linear(hidden, shape.kv_heads)])

    def utility(self, h: torch.Tensor, sharpness: torch.Tensor) -> torch.Tensor:
        """[batch][kv_heads][tokens] in 0 .. 1. Sharpness 1 in the file; more brings it nearer to 0 or 1."""
        first, second = self.attn_kv_util
        return torch.sigmoid(second(F.silu(first(h))).float() * sharpness).transpose(1, 2)

    def log_gate(self, u: torch.Tensor, hardness: torch.Tensor) -> torch.Tensor:
        """Between log u (hardness 0) and log 0 or 1 (hardness 1); 0 for the sinks."""
        mixed = (1 - hardness) * u + hardness * (u >= self.shape.threshold)
        kept = torch.arange(u.shape[-1], device=u.device) < self.shape.sinks
        return torch.log(mixed + SOFT_FLOOR * (1 - hardness) + 1e-30).masked_fill(kept, 0.0)

    def forward(self, x: torch.Tensor, angles: torch.Tensor,
                gating: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The layer's output and, if gates are used, the utilities. gating: their sharpness and hardness."""
        s, (batch, tokens, _) = self.shape, x.shape
        h = self.attn_norm(x)
        q = rotate(self.attn_q(h).view(batch, tokens, s.heads, s.dim), angles).transpose(1, 2)
        k = rotate(self.attn_k(h).view(batch, tokens, s.kv_heads, s.dim), angles).transpose(1, 2)
        v = self.attn_v(h).view(batch, tokens, s.kv_heads, s.dim).transpose(1, 2)
        u = gate = None
        if gating is not None:
            sharpness, hardness = gating.unbind(0)
            u = self.utility(h, sharpness)
            gate = self.log_gate(u, hardness)
        out = attend(q, k, v, gate, s.window).transpose(1, 2).reshape(batch, tokens, -1)
        x = x + self.attn_output(out)
        h = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h)), u


class Model(nn.Module):
    def __init__(self, shape: Shape, gated: bool):
        super().__init__()
        self.shape, self.gated = shape, gated
        self.token_embd = nn.Embedding(shape.vocab, shape.width)
        self.blk = nn.ModuleList(Block(shape, gated) for _ in range(shape.layers))
        self.output_norm = Norm(shape.width, shape.epsilon)
        self.start()

    def start(self) -> None:
        """Small random matrices; the ones that write to the residual stream are smaller still; gates open."""
        for name, p in self.named_parameters():
            if p.dim() == 2:
                writes = "attn_output" in name or "ffn_down" in name
                nn.init.normal_(p, 0, 0.02 / (2 * self.shape.layers) ** 0.5 if writes else 0.02)
            elif name.endswith("bias"):
                nn.init.constant_(p, OPEN_BIAS if "util.1" in name else 0.0)
            else:
                nn.init.ones_(p)

    def forward(self, ids: torch.Tensor, angles: torch.Tensor,
                gating: torch.Tensor | None = None) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Logits [batch][tokens][vocab] and the utilities of every layer [batch][kv_heads][tokens]."""
        x, utilities = self.token_embd(ids), []
        for block in self.blk:
            x, u = block(x, angles, gating)
            utilities += [] if u is None else [u]
        return F.linear(self.output_norm(x), self.token_embd.weight), utilities


def load(path: str, gated: bool, device: torch.device) -> tuple[Model, dict[str, gguf.Value]]:
    """A model from a GGUF file, in float32. Predictors that the file does not have are fresh."""
    meta, tensors = gguf.read(path)
    model = Model(Shape.of(meta), gated)
    kept = {name: torch.from_numpy(x) for name, x in tensors.items() if gated or "util" not in name}
    absent, unknown = model.load_state_dict(kept, strict=False)
    if unknown or any("util" not in name for name in absent):
        raise ValueError(f"{path}: tensors {absent + unknown} are absent or unknown")
    return model.to(device), meta


def save(path: str, model: Model, meta: dict[str, gguf.Value], kind: int) -> None:
    """Matrices in `kind`; predictors F16; vectors F32. `meta` is that of the file the model began with."""
    def stored(name: str, x: torch.Tensor) -> int:
        return gguf.F32 if x.dim() == 1 else gguf.F16 if "util" in name else kind
    if model.gated:
        s, name = model.shape, meta["general.name"].data.removesuffix(" SP-KV")
        meta = meta | {"general.name": gguf.Value(gguf.STRING, name + " SP-KV"),
                       "terse.spkv.window": gguf.Value(gguf.UINT32, s.window),
                       "terse.spkv.threshold": gguf.Value(gguf.FLOAT32, s.threshold),
                       "terse.spkv.sinks": gguf.Value(gguf.UINT32, s.sinks)}
    meta = meta | {"general.file_type": gguf.Value(gguf.UINT32, {gguf.F32: 0, gguf.F16: 1, gguf.Q8_0: 7}[kind])}
    gguf.write(path, meta, {name: (x.detach().float().cpu().numpy(), stored(name, x))
                            for name, x in model.state_dict().items()})
