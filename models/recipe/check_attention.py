"""The kernels of attention_cuda.py against the definition, and their speed. Needs a GPU."""

import sys

import torch
import triton

import attention_cuda
from attention import attend_by_definition

WINDOW = 128


def inputs(batch: int, tokens: int) -> list[torch.Tensor]:
    """q, k, v of 8 heads on 2 KV heads of 64 channels; gates of which some are all but shut."""
    def draw(heads: int) -> torch.Tensor:
        return torch.randn(batch, heads, tokens, 64, device="cuda", dtype=torch.bfloat16)
    gate = torch.log(torch.rand(batch, 2, tokens, device="cuda") ** 4 + 1e-6)
    return [x.requires_grad_() for x in (draw(8) * 2, draw(2), draw(2), gate)]


def outcome(attend, given: list[torch.Tensor], dout: torch.Tensor) -> list[torch.Tensor]:
    out = attend(*given, WINDOW)
    return [out, *torch.autograd.grad(out, given, dout)]


def largest_error(tokens: int) -> float:
    """|got - expected| / |expected| in float32 of the output and the four gradients."""
    given = inputs(2, tokens)
    dout = torch.randn_like(given[0])
    got = outcome(lambda *a: attention_cuda.attend_gated(*a)[0], given, dout)
    exact = [x.detach().float().requires_grad_() for x in given]
    expected = outcome(attend_by_definition, exact, dout.float())
    return max(((a.float() - b).norm() / b.norm()).item() for a, b in zip(got, expected))


def speed(batch: int, tokens: int) -> tuple[float, float]:
    """Milliseconds of the forward pass, and of both."""
    given = inputs(batch, tokens)
    dout = torch.randn_like(given[0])
    both = triton.testing.do_bench(lambda: outcome(lambda *a: attention_cuda.attend_gated(*a)[0], given, dout))
    with torch.no_grad():
        forward = triton.testing.do_bench(lambda: attention_cuda.attend_gated(*given, WINDOW))
    return forward, both


def main() -> None:
    torch.manual_seed(0)
    for tokens in (128, 512, 1920):
        error = largest_error(tokens)
        print(f"{tokens} tokens: error {error:.1e}")
        if not error < 0.02:
            sys.exit(f"the kernels are wrong at {tokens} tokens")
    for batch, tokens in ((16, 4096), (8, 16384)):
        forward, both = speed(batch, tokens)
        print(f"{batch} rows of {tokens}: forward {forward:.2f} ms, both {both:.2f} ms")


if __name__ == "__main__":
    main()
