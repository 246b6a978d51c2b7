"""Muon (momentum, orthogonalised) for the matrices, AdamW for embedding, norms and predictors."""

import torch

from model import Model

MOMENTUM = 0.95


def orthogonalise(g: torch.Tensor) -> torch.Tensor:
    """Five Newton-Schulz steps towards the nearest orthogonal matrices; g: [count][rows][columns]."""
    wide = g.shape[-2] <= g.shape[-1]
    x = g.bfloat16() if g.is_cuda else g
    x = x if wide else x.transpose(-1, -2)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.transpose(-1, -2)
        x = 3.4445 * x + (2.0315 * (a @ a) - 4.7750 * a) @ x
    return (x if wide else x.transpose(-1, -2)).float()


class Muon:
    """Matrices of one shape are updated together. An update is as large as AdamW's (root mean square 0.2)."""

    def __init__(self, matrices: list[torch.nn.Parameter], decay: float):
        self.decay = decay
        self.groups: dict[torch.Size, list[torch.nn.Parameter]] = {}
        for p in matrices:
            self.groups.setdefault(p.shape, []).append(p)
        self.momentum = {s: torch.zeros(len(ps), *s, device=ps[0].device) for s, ps in self.groups.items()}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        for shape, parameters in self.groups.items():
            g, m = torch.stack([p.grad for p in parameters]), self.momentum[shape]
            m.lerp_(g, 1 - MOMENTUM)
            update = orthogonalise(g.lerp(m, MOMENTUM)) * (0.2 * max(shape) ** 0.5)
            for p, u in zip(parameters, update):
                p.mul_(1 - rate * self.decay).sub_(u, alpha=rate)


class Optimizer:
    def __init__(self, model: Model, decay: float):
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        predictors = [p for name, p in named.items() if "util" in name]
        backbone = {name: p for name, p in named.items() if "util" not in name}
        matrices = [p for name, p in backbone.items() if p.dim() == 2 and "embd" not in name]
        rest = [p for name, p in backbone.items() if p.dim() == 1 or "embd" in name]
        groups = [{"params": rest, "gates": False}, {"params": predictors, "gates": True}]
        self.parameters = list(named.values())
        self.muon = Muon(matrices, decay)
        self.adam = torch.optim.AdamW([g for g in groups if g["params"]], betas=(0.9, 0.95), eps=1e-10,
                                      weight_decay=0.0)

    def step(self, rate: float, gate_rate: float) -> None:
        """One step from the gradients, which it clears; gate_rate is the predictors'."""
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        for group in self.adam.param_groups:
            group["lr"] = gate_rate if group["gates"] else rate
        self.adam.step()
        self.muon.step(rate)
        self.clear()

    def clear(self) -> None:
        for p in self.parameters:
            p.grad = None
