"""The optimizer: Muon for matrices and convolutions, AdamW for everything else.

Muon (Jordan et al., 2024) takes the momentum of a weight's gradient to the nearest orthogonal matrix by a few
Newton-Schulz iterations; the step is scaled to the size of AdamW's (Liu et al., arXiv 2502.16982), so that one learning
rate serves both. Small networks learn with it in half the steps.
"""

import torch

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)


def orthogonal(g, iterations=5):
    """[N, out, in] to nearby matrices with singular values near one."""
    a, b, c = NEWTON_SCHULZ
    tall = g.shape[1] > g.shape[2]
    x = g.mT if tall else g
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(iterations):
        gram = x @ x.mT
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """`step` over all parameters of `network`s: Muon where there are two dimensions or more, AdamW elsewhere."""

    def __init__(self, parameters, lr, momentum=0.95, betas=(0.9, 0.99), weight_decay=0.0, adam=lambda p: p.ndim < 2):
        parameters = list(parameters)
        groups = [
            {"params": [p for p in parameters if not adam(p)], "adam": False},
            {"params": [p for p in parameters if adam(p)], "adam": True},
        ]
        super().__init__(groups, dict(lr=lr, full_lr=lr, momentum=momentum, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            (self.adam_step if group["adam"] else self.muon_step)(group)

    def muon_step(self, group):
        by_shape = {}
        for p in group["params"]:
            if p.grad is not None:
                by_shape.setdefault(p.flatten(1).shape, []).append(p)
        for (rows, columns), alike in by_shape.items():
            updates = []
            for p in alike:
                state = self.state[p]
                mean = state.setdefault("mean", torch.zeros_like(p.grad))
                mean.mul_(group["momentum"]).add_(p.grad)
                updates.append((p.grad + group["momentum"] * mean).flatten(1))
            steps = orthogonal(torch.stack(updates)) * (0.2 * max(rows, columns) ** 0.5 * group["lr"])
            for p, step in zip(alike, steps):
                p.mul_(1 - group["lr"] * group["weight_decay"]).sub_(step.view(p.shape))

    def adam_step(self, group):
        parameters = [p for p in group["params"] if p.grad is not None]
        if not parameters:
            return
        grads, (b1, b2) = [p.grad for p in parameters], group["betas"]
        for p in parameters:
            if not self.state[p]:
                self.state[p] = {"mean": torch.zeros_like(p), "square": torch.zeros_like(p)}
        means, squares = ([self.state[p][key] for p in parameters] for key in ("mean", "square"))
        steps = group["steps"] = group.get("steps", 0) + 1
        torch._foreach_lerp_(means, grads, 1 - b1)
        torch._foreach_mul_(squares, b2)
        torch._foreach_addcmul_(squares, grads, grads, 1 - b2)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_mul_(roots, (1 - b2**steps) ** -0.5)
        torch._foreach_add_(roots, 1e-8)
        torch._foreach_addcdiv_(parameters, means, roots, -group["lr"] / (1 - b1**steps))
