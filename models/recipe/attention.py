"""Causal attention with gated keys.

score(i, j) = q_i . k_j / sqrt(dim) + (gate_j where i - j >= window, else 0) for j <= i; gate is the logarithm
of a key's utility, one row per KV head. q: [batch, heads, tokens, dim]; k, v: [batch, kv_heads, tokens, dim];
gate: [batch, kv_heads, tokens] float32 or None for plain attention. Sinks have gate 0: the caller sees to it.
"""

import math

import torch
import torch.nn.functional as F

if torch.cuda.is_available():
    from attention_cuda import attend_gated


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, gate: torch.Tensor | None,
           window: int) -> torch.Tensor:
    if not q.is_cuda:
        return attend_by_definition(q, k, v, gate, window)
    if gate is None:
        return F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return attend_gated(q.contiguous(), k.contiguous(), v.contiguous(), gate.contiguous(), window)[0]


def attend_by_definition(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, gate: torch.Tensor | None,
                         window: int) -> torch.Tensor:
    """The specification: all scores at once."""
    group, tokens = q.shape[1] // k.shape[1], q.shape[2]
    k, v = k.repeat_interleave(group, 1), v.repeat_interleave(group, 1)
    score = (q @ k.transpose(-1, -2)).float() / math.sqrt(q.shape[-1])
    place = torch.arange(tokens, device=q.device)
    distance = place[:, None] - place[None, :]
    if gate is not None:
        score = score + gate.repeat_interleave(group, 1)[:, :, None, :] * (distance >= window)
    return torch.softmax(score.masked_fill(distance < 0, -math.inf), -1).to(v.dtype) @ v
