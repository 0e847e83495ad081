"""The pieces of a transformer (Vaswani et al. 2017, arXiv 1706.03762), on one sequence of shape (length, width)."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

Array = np.ndarray
_erf = np.vectorize(math.erf, otypes=[float])


class Weights:
    """The tensors of a checkpoint below a prefix, in float64."""

    def __init__(self, tensors: dict[str, Array], prefix: str = "") -> None:
        self.tensors = tensors
        self.prefix = prefix

    def __getitem__(self, name: str) -> Array:
        return self.tensors[self.prefix + name].astype(np.float64)

    def __contains__(self, name: str) -> bool:
        return self.prefix + name in self.tensors

    @property
    def bias(self) -> Array | float:
        """The bias beside a matrix, zero where there is none."""
        return self["bias"] if "bias" in self else 0.0  # noqa: SIM401 - this is no dict

    def at(self, name: str) -> Weights:
        """Return what lies below ``name``."""
        return Weights(self.tensors, f"{self.prefix}{name}.")

    def layers(self, name: str) -> Iterator[Weights]:
        """Go through ``name.0``, ``name.1``, ..."""
        number = 0
        while any(key.startswith(f"{self.prefix}{name}.{number}.") for key in self.tensors):
            yield self.at(f"{name}.{number}")
            number += 1


def read_checkpoint(folder: Path) -> tuple[Weights, dict[str, Any]]:
    """Return the weights and the config of a checkpoint of the hub's layout."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    return Weights(load_file(folder / "model.safetensors")), config


def linear(x: Array, weights: Weights) -> Array:
    """Return W x + b."""
    return x @ weights["weight"].T + weights.bias


def layer_norm(x: Array, weights: Weights, epsilon: float) -> Array:
    """Center and scale each position (Ba et al. 2016, arXiv 1607.06450)."""
    centered = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centered**2).mean(axis=-1, keepdims=True) + epsilon)
    return centered / deviation * weights["weight"] + weights["bias"]


def attend(queries: Array, keys: Array, values: Array, heads: int, hidden: Array | None = None) -> Array:
    """Return multi-head attention, softmax(q k' / sqrt(d)) v per head; ``hidden[i, j]``: i may not see j."""
    width = queries.shape[-1] // heads
    out = np.empty_like(queries)
    for head in range(heads):
        part = slice(head * width, (head + 1) * width)
        scores = queries[:, part] @ keys[:, part].T / math.sqrt(width)
        if hidden is not None:
            scores = np.where(hidden, -np.inf, scores)
        exponents = np.exp(scores - scores.max(axis=-1, keepdims=True))
        out[:, part] = exponents / exponents.sum(axis=-1, keepdims=True) @ values[:, part]
    return out


def gelu(x: Array) -> Array:
    """Return x Phi(x) (Hendrycks & Gimpel 2016, arXiv 1606.08415)."""
    return x * 0.5 * (1 + _erf(x / math.sqrt(2)))


def tanh_gelu(x: Array) -> Array:
    """Return the same paper's approximation with tanh."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def quick_gelu(x: Array) -> Array:
    """Return x sigmoid(1.702 x), which CLIP's code has."""
    return x / (1 + np.exp(-1.702 * x))


def pre_norm_blocks(
    x: Array,
    layers: Iterator[Weights],
    heads: int,
    activation: Callable[[Array], Array],
    epsilon: float,
    hidden: Array | None = None,
) -> Array:
    """Run x += attention(norm(x)); x += mlp(norm(x)), in the names of CLIP and SigLIP."""
    for layer in layers:
        normed = layer_norm(x, layer.at("layer_norm1"), epsilon)
        parts = [linear(normed, layer.at(f"self_attn.{name}_proj")) for name in "qkv"]
        x = x + linear(attend(*parts, heads, hidden), layer.at("self_attn.out_proj"))
        normed = layer_norm(x, layer.at("layer_norm2"), epsilon)
        x = x + linear(activation(linear(normed, layer.at("mlp.fc1"))), layer.at("mlp.fc2"))
    return x


def bert(ids: list[int], weights: Weights, heads: int, epsilon: float) -> Array:
    """Return BERT's last hidden states (Devlin et al. 2018, arXiv 1810.04805): norms after each sum, exact gelu."""
    embeddings = weights.at("embeddings")
    x = embeddings["word_embeddings.weight"][ids] + embeddings["position_embeddings.weight"][: len(ids)]
    if "token_type_embeddings.weight" in embeddings:
        x = x + embeddings["token_type_embeddings.weight"][0]
    x = layer_norm(x, embeddings.at("LayerNorm"), epsilon)
    for layer in weights.layers("encoder.layer"):
        parts = [linear(x, layer.at(f"attention.self.{name}")) for name in ("query", "key", "value")]
        summed = x + linear(attend(*parts, heads), layer.at("attention.output.dense"))
        x = layer_norm(summed, layer.at("attention.output.LayerNorm"), epsilon)
        wide = gelu(linear(x, layer.at("intermediate.dense")))
        x = layer_norm(x + linear(wide, layer.at("output.dense")), layer.at("output.LayerNorm"), epsilon)
    return x


def patches(pixels: Array, size: int) -> Array:
    """Cut pixels (3, height, width) into rows (3, size, size), left to right, then down."""
    _, height, width = pixels.shape
    return np.stack(
        [
            pixels[:, top : top + size, left : left + size]
            for top in range(0, height - size + 1, size)
            for left in range(0, width - size + 1, size)
        ]
    )


def embed_patches(pixels: Array, weights: Weights) -> Array:
    """Project square patches with a kernel of shape (width, 3, size, size)."""
    kernel = weights["weight"]
    cut = patches(pixels, kernel.shape[-1]).reshape(-1, kernel[0].size)
    return cut @ kernel.reshape(len(kernel), -1).T + weights.bias


def unit(vector: Array) -> Array:
    """Divide by the Euclidean norm."""
    return vector / np.linalg.norm(vector)
