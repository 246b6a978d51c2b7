"""Gated attention on a GPU: the online softmax over tiles (Dao 2022, 2023) with a gate per key outside the
window.

A program of the forward pass owns M queries and walks over tiles of N keys: first those that lie outside the
window of all its queries, then the rest with masks. The backward pass recomputes the weights, once per tile of
keys (dk, dv and the gate's gradient, summed over queries and heads of the group without atomics) and once per
tile of queries. Scores are in units of log2. Shapes as in attention.py; tokens must be a multiple of TILE.
"""

import math

import torch
import triton
import triton.language as tl

TILE = 128
LOG2E = math.log2(math.e)
FORWARD = {"M": 128, "N": 64, "num_warps": 4, "num_stages": 3}
BACKWARD_KEYS = {"M": 64, "N": 128, "num_warps": 8, "num_stages": 2}
BACKWARD_QUERIES = {"M": 128, "N": 64, "num_warps": 8, "num_stages": 2}


@triton.jit
def masked_scores(s, gate, distance, WINDOW: tl.constexpr):
    s = s + tl.where(distance >= WINDOW, gate, 0.0)
    return tl.where(distance >= 0, s, -float("inf"))


@triton.jit
def absorb(s, v, top, total, out):
    """One tile of scores into maximum, sum and output."""
    new = tl.maximum(top, tl.max(s, 1))
    p = tl.exp2(s - new[:, None])
    keep = tl.exp2(top - new)
    return new, total * keep + tl.sum(p, 1), tl.dot(p.to(v.dtype), v, out * keep[:, None])


@triton.jit
def forward_kernel(Q, K, V, GATE, OUT, LSE, scale, tokens, GROUP: tl.constexpr, DIM: tl.constexpr,
                   WINDOW: tl.constexpr, M: tl.constexpr, N: tl.constexpr):
    tile, head = tl.num_programs(0) - 1 - tl.program_id(0), tl.program_id(1)
    i, d, j0 = tile * M + tl.arange(0, M), tl.arange(0, DIM), tl.arange(0, N)
    at_q, at_k = head * tokens * DIM, head // GROUP * tokens * DIM
    q = tl.load(Q + at_q + i[:, None] * DIM + d[None, :])
    top = tl.full([M], -float("inf"), tl.float32)
    total = tl.zeros([M], tl.float32)
    out = tl.zeros([M, DIM], tl.float32)
    far = tl.maximum(tile * M - WINDOW + 1, 0) // N
    for n in range(0, far):
        j = n * N + j0
        k = tl.load(K + at_k + j[:, None] * DIM + d[None, :])
        v = tl.load(V + at_k + j[:, None] * DIM + d[None, :])
        gate = tl.load(GATE + head // GROUP * tokens + j)
        s = tl.dot(q, tl.trans(k)) * scale + gate[None, :]
        top, total, out = absorb(s, v, top, total, out)
    for n in range(far, tl.cdiv((tile + 1) * M, N)):
        j = n * N + j0
        k = tl.load(K + at_k + j[:, None] * DIM + d[None, :])
        v = tl.load(V + at_k + j[:, None] * DIM + d[None, :])
        gate = tl.load(GATE + head // GROUP * tokens + j)
        s = tl.dot(q, tl.trans(k)) * scale
        s = masked_scores(s, gate[None, :], i[:, None] - j[None, :], WINDOW)
        top, total, out = absorb(s, v, top, total, out)
    tl.store(OUT + at_q + i[:, None] * DIM + d[None, :], (out / total[:, None]).to(OUT.dtype.element_ty))
    tl.store(LSE + head * tokens + i, top + tl.log2(total))


@triton.jit
def backward_keys_kernel(Q, K, V, GATE, LSE, DELTA, DOUT, DK, DV, DGATE, scale, tokens, GROUP: tl.constexpr,
                         DIM: tl.constexpr, WINDOW: tl.constexpr, M: tl.constexpr, N: tl.constexpr):
    tile, kv_head = tl.program_id(0), tl.program_id(1)
    j, d, i0 = tile * N + tl.arange(0, N), tl.arange(0, DIM), tl.arange(0, M)
    at_k = kv_head * tokens * DIM
    k = tl.load(K + at_k + j[:, None] * DIM + d[None, :])
    v = tl.load(V + at_k + j[:, None] * DIM + d[None, :])
    gate = tl.load(GATE + kv_head * tokens + j)
    dk = tl.zeros([N, DIM], tl.float32)
    dv = tl.zeros([N, DIM], tl.float32)
    dgate = tl.zeros([N], tl.float32)
    tiles = tokens // M
    far = tl.minimum(tl.cdiv(tile * N + N - 1 + WINDOW, M), tiles)
    for g in range(0, GROUP):
        head = kv_head * GROUP + g
        for m in range(tile * N // M, far):
            i = m * M + i0
            q = tl.load(Q + head * tokens * DIM + i[:, None] * DIM + d[None, :])
            do = tl.load(DOUT + head * tokens * DIM + i[:, None] * DIM + d[None, :])
            lse = tl.load(LSE + head * tokens + i)
            delta = tl.load(DELTA + head * tokens + i)
            distance = i[None, :] - j[:, None]
            s = masked_scores(tl.dot(k, tl.trans(q)) * scale, gate[:, None], distance, WINDOW)
            p = tl.exp2(s - lse[None, :])
            dv = tl.dot(p.to(do.dtype), do, dv)
            ds = p * (tl.dot(v, tl.trans(do)) - delta[None, :])
            dgate += tl.sum(tl.where(distance >= WINDOW, ds, 0.0), 1)
            dk = tl.dot(ds.to(q.dtype), q, dk)
        for m in range(far, tiles):
            i = m * M + i0
            q = tl.load(Q + head * tokens * DIM + i[:, None] * DIM + d[None, :])
            do = tl.load(DOUT + head * tokens * DIM + i[:, None] * DIM + d[None, :])
            lse = tl.load(LSE + head * tokens + i)
            delta = tl.load(DELTA + head * tokens + i)
            p = tl.exp2(tl.dot(k, tl.trans(q)) * scale + gate[:, None] - lse[None, :])
            dv = tl.dot(p.to(do.dtype), do, dv)
            ds = p * (tl.dot(v, tl.trans(do)) - delta[None, :])
            dgate += tl.sum(ds, 1)
            dk = tl.dot(ds.to(q.dtype), q, dk)
    natural = 0.6931471805599453 * scale  # 1 / sqrt(dim)
    tl.store(DK + at_k + j[:, None] * DIM + d[None, :], (dk * natural).to(DK.dtype.element_ty))
    tl.store(DV + at_k + j[:, None] * DIM + d[None, :], dv.to(DV.dtype.element_ty))
    tl.store(DGATE + kv_head * tokens + j, dgate)


@triton.jit
def backward_queries_kernel(Q, K, V, GATE, LSE, DELTA, DOUT, DQ, scale, tokens, GROUP: tl.constexpr,
                            DIM: tl.constexpr, WINDOW: tl.constexpr, M: tl.constexpr, N: tl.constexpr):
    tile, head = tl.num_programs(0) - 1 - tl.program_id(0), tl.program_id(1)
    i, d, j0 = tile * M + tl.arange(0, M), tl.arange(0, DIM), tl.arange(0, N)
    at_q, at_k = head * tokens * DIM, head // GROUP * tokens * DIM
    q = tl.load(Q + at_q + i[:, None] * DIM + d[None, :])
    do = tl.load(DOUT + at_q + i[:, None] * DIM + d[None, :])
    lse = tl.load(LSE + head * tokens + i)
    delta = tl.load(DELTA + head * tokens + i)
    dq = tl.zeros([M, DIM], tl.float32)
    far = tl.maximum(tile * M - WINDOW + 1, 0) // N
    for n in range(0, far):
        j = n * N + j0
        k = tl.load(K + at_k + j[:, None] * DIM + d[None, :])
        v = tl.load(V + at_k + j[:, None] * DIM + d[None, :])
        gate = tl.load(GATE + head // GROUP * tokens + j)
        p = tl.exp2(tl.dot(q, tl.trans(k)) * scale + gate[None, :] - lse[:, None])
        ds = p * (tl.dot(do, tl.trans(v)) - delta[:, None])
        dq = tl.dot(ds.to(k.dtype), k, dq)
    for n in range(far, tl.cdiv((tile + 1) * M, N)):
        j = n * N + j0
        k = tl.load(K + at_k + j[:, None] * DIM + d[None, :])
        v = tl.load(V + at_k + j[:, None] * DIM + d[None, :])
        gate = tl.load(GATE + head // GROUP * tokens + j)
        s = masked_scores(tl.dot(q, tl.trans(k)) * scale, gate[None, :], i[:, None] - j[None, :], WINDOW)
        p = tl.exp2(s - lse[:, None])
        ds = p * (tl.dot(do, tl.trans(v)) - delta[:, None])
        dq = tl.dot(ds.to(k.dtype), k, dq)
    natural = 0.6931471805599453 * scale
    tl.store(DQ + at_q + i[:, None] * DIM + d[None, :], (dq * natural).to(DQ.dtype.element_ty))


def sizes(q: torch.Tensor, k: torch.Tensor, window: int) -> dict[str, int]:
    if q.shape[2] % TILE:
        raise ValueError(f"{q.shape[2]} tokens: the kernels take multiples of {TILE}")
    return {"GROUP": q.shape[1] // k.shape[1], "DIM": q.shape[3], "WINDOW": window}


@torch.library.custom_op("terse::attend_gated", mutates_args=())
def attend_gated(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, gate: torch.Tensor,
                 window: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The output and log2 of the sum of exponentials [batch, heads, tokens]. Contiguous inputs."""
    batch, heads, tokens, dim = q.shape
    out = torch.empty_like(q)
    lse = torch.empty(batch, heads, tokens, device=q.device, dtype=torch.float32)
    forward_kernel[(tokens // FORWARD["M"], batch * heads)](
        q, k, v, gate * LOG2E, out, lse, LOG2E / math.sqrt(dim), tokens, **sizes(q, k, window), **FORWARD)
    return out, lse


@attend_gated.register_fake
def _(q, k, v, gate, window):
    return torch.empty_like(q), q.new_empty(q.shape[:3], dtype=torch.float32)


@torch.library.custom_op("terse::attend_gated_backward", mutates_args=())
def attend_gated_backward(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, gate: torch.Tensor,
                          lse: torch.Tensor, delta: torch.Tensor, dout: torch.Tensor,
                          window: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    batch, heads, tokens, dim = q.shape
    dq, dk, dv, dgate = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), torch.empty_like(gate)
    gate, scale = gate * LOG2E, LOG2E / math.sqrt(dim)
    backward_keys_kernel[(tokens // BACKWARD_KEYS["N"], batch * k.shape[1])](
        q, k, v, gate, lse, delta, dout, dk, dv, dgate, scale, tokens, **sizes(q, k, window), **BACKWARD_KEYS)
    backward_queries_kernel[(tokens // BACKWARD_QUERIES["M"], batch * heads)](
        q, k, v, gate, lse, delta, dout, dq, scale, tokens, **sizes(q, k, window), **BACKWARD_QUERIES)
    return dq, dk, dv, dgate


@attend_gated_backward.register_fake
def _(q, k, v, gate, lse, delta, dout, window):
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v), torch.empty_like(gate)


def keep_for_backward(ctx, inputs, output):
    q, k, v, gate, ctx.window = inputs
    ctx.save_for_backward(q, k, v, gate, *output)


def backward(ctx, dout, dlse):
    q, k, v, gate, out, lse = ctx.saved_tensors
    dout = dout.contiguous()
    delta = (dout.float() * out.float()).sum(-1)
    return *attend_gated_backward(q, k, v, gate, lse, delta, dout, ctx.window), None


attend_gated.register_autograd(backward, setup_context=keep_for_backward)
