"""Random weights in which every parameter matters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch


def randomize(model: torch.nn.Module, seed: int) -> None:
    """Fill every parameter from a seed: matrices of unit gain, biases and shifts that are not zero.

    The classes' own initialization leaves biases and layer norms at their neutral values (BLIP's image tower at
    1e-10), so a computation that forgot one of them would still agree.
    """
    import torch

    with torch.random.fork_rng(), torch.no_grad():
        torch.manual_seed(seed)
        for name, weights in sorted(model.named_parameters()):
            noise = torch.randn(weights.shape)
            if weights.dim() < 2:
                scales = "norm" in name.lower() and name.endswith("weight")
                weights.copy_(1 + 0.2 * noise if scales else 0.1 * noise)
            else:
                weights.copy_(noise / _fan_in(name, weights) ** 0.5)


def _fan_in(name: str, weights: Any) -> float:
    return 4.0 if "embedding" in name and "patch" not in name else float(weights[0].numel())
