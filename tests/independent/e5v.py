"""E5-V in numpy: Llama, CLIP's image tower, and LLaVA-NeXT's places for tiles, from what was published of each."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from independent.transformer import (
    Array,
    Weights,
    attend,
    embed_patches,
    gelu,
    layer_norm,
    linear,
    pre_norm_blocks,
    quick_gelu,
    read_checkpoint,
    unit,
)

MEAN, STD = np.array([0.48145466, 0.4578275, 0.40821073]), np.array([0.26862954, 0.26130258, 0.27577711])


class PlainE5V:
    """One checkpoint; one text or picture at a time, so nothing is padded."""

    def __init__(self, folder: Path) -> None:
        self.weights, self.config = read_checkpoint(folder)
        self.words = self.weights["language_model.model.embed_tokens.weight"]

    def text(self, ids: list[int]) -> Array:
        """Return the unit vector of a prompt."""
        return self._vector(self.words[ids])

    def image(self, rgb: Array, before: list[int], after: list[int]) -> Array:
        """Return the unit vector of a picture between the two halves of its prompt."""
        places = self.places(rgb)
        return self._vector(np.concatenate([self.words[before], places, self.words[after]]))

    def places(self, rgb: Array) -> Array:
        """Return what stands for a picture: the whole at low resolution, then rows of the tiles with line ends."""
        size, grid = self.config["vision_config"]["image_size"], self._grid
        high, wide = best_resolution(rgb.shape[0], rgb.shape[1], self.config["image_grid_pinpoints"])
        tiled = fitted(rgb, high, wide)
        down, across = high // size, wide // size
        rows = np.empty((down * grid, across * grid, self.words.shape[1]))
        for row in range(down):
            for column in range(across):
                tile = tiled[row * size : (row + 1) * size, column * size : (column + 1) * size]
                states = self._tile(tile).reshape(grid, grid, -1)
                rows[row * grid : (row + 1) * grid, column * grid : (column + 1) * grid] = states
        whole = self._tile(np.asarray(Image.fromarray(rgb).resize((size, size), Image.Resampling.BICUBIC)))
        line_end = self.weights["image_newline"]
        lines = [np.concatenate([line, line_end[None]]) for line in without_margins(rows, *rgb.shape[:2])]
        return np.concatenate([whole, *lines])

    @property
    def _grid(self) -> int:
        vision = self.config["vision_config"]
        return int(vision["image_size"] // vision["patch_size"])

    def _tile(self, rgb: Array) -> Array:
        """Run one tile through CLIP, all layers but the last, without the class, and project each patch."""
        vision, weights = self.config["vision_config"], self.weights.at("vision_tower.vision_model")
        embeddings = weights.at("embeddings")
        x = embed_patches(((rgb / 255 - MEAN) / STD).transpose(2, 0, 1), embeddings.at("patch_embedding"))
        x = np.concatenate([embeddings["class_embedding"][None], x]) + embeddings["position_embedding.weight"]
        x = layer_norm(x, weights.at("pre_layrnorm"), 1e-5)
        layers = list(weights.layers("encoder.layers"))[: self.config["vision_feature_layer"] + 1]
        x = pre_norm_blocks(x, iter(layers), vision["num_attention_heads"], quick_gelu, 1e-5)[1:]
        projector = self.weights.at("multi_modal_projector")
        return linear(gelu(linear(x, projector.at("linear_1"))), projector.at("linear_2"))

    def _vector(self, x: Array) -> Array:
        return unit(llama(x, self.weights.at("language_model.model"), self.config["text_config"])[-1])


def llama(x: Array, weights: Weights, config: dict[str, Any]) -> Array:
    """Return Llama's last states (Touvron et al. 2023, arXiv 2302.13971; grouped queries: 2307.09288)."""
    heads, groups, epsilon = config["num_attention_heads"], config["num_key_value_heads"], config["rms_norm_eps"]
    hidden = np.triu(np.ones((len(x), len(x)), dtype=bool), 1)
    for layer in weights.layers("layers"):
        normed = rms_norm(x, layer["input_layernorm.weight"], epsilon)
        queries = rotated(linear(normed, layer.at("self_attn.q_proj")), heads, config["rope_theta"])
        keys = rotated(linear(normed, layer.at("self_attn.k_proj")), groups, config["rope_theta"])
        values = linear(normed, layer.at("self_attn.v_proj"))
        repeated = [repeat(part, groups, heads // groups) for part in (keys, values)]
        x = x + linear(attend(queries, *repeated, heads, hidden), layer.at("self_attn.o_proj"))
        normed = rms_norm(x, layer["post_attention_layernorm.weight"], epsilon)
        gate = linear(normed, layer.at("mlp.gate_proj"))
        gated = gate / (1 + np.exp(-gate)) * linear(normed, layer.at("mlp.up_proj"))
        x = x + linear(gated, layer.at("mlp.down_proj"))
    return rms_norm(x, weights["norm.weight"], epsilon)


def rms_norm(x: Array, weight: Array, epsilon: float) -> Array:
    """Scale each position by its root mean square (Zhang & Sennrich 2019, arXiv 1910.07467)."""
    return x / np.sqrt((x**2).mean(axis=-1, keepdims=True) + epsilon) * weight


def rotated(x: Array, heads: int, base: float) -> Array:
    """Turn pairs of each head by position times base^(-2i/d) (Su et al. 2021, arXiv 2104.09864).

    The pairs are (i, i + d/2), as in the weights of the hub, not (2i, 2i + 1) as in the paper.
    """
    split = x.reshape(len(x), heads, -1)
    half = split.shape[-1] // 2
    angles = np.arange(len(x))[:, None] * base ** (-np.arange(half) / half)
    turns = np.exp(1j * angles)[:, None]
    turned = (split[..., :half] + 1j * split[..., half:]) * turns
    return np.concatenate([turned.real, turned.imag], axis=-1).reshape(len(x), -1)


def repeat(x: Array, groups: int, times: int) -> Array:
    """Give neighboring heads the keys and values of their group."""
    return x.reshape(len(x), groups, 1, -1).repeat(times, axis=2).reshape(len(x), -1)


def best_resolution(high: int, wide: int, choices: list[list[int]]) -> tuple[int, int]:
    """Return the canvas that keeps most pixels of a picture, and of equal ones the one that wastes least.

    From the description of LLaVA-NeXT's "anyres" (llava-vl.github.io/blog/2024-01-30-llava-next) and its code.
    """

    def worth(choice: list[int]) -> tuple[int, int]:
        scale = min(choice[1] / wide, choice[0] / high)
        kept = min(int(wide * scale) * int(high * scale), wide * high)
        return kept, -(choice[0] * choice[1] - kept)

    found = max(choices, key=worth)
    return found[0], found[1]


def fitted(rgb: Array, high: int, wide: int) -> Array:
    """Scale a picture into a canvas, keeping its aspect, with black margins of equal width."""
    scale = min(wide / rgb.shape[1], high / rgb.shape[0])
    inner_wide, inner_high = (
        min(math.ceil(side * scale), most) for side, most in ((rgb.shape[1], wide), (rgb.shape[0], high))
    )
    scaled = np.asarray(Image.fromarray(rgb).resize((inner_wide, inner_high), Image.Resampling.BICUBIC))
    canvas = np.zeros((high, wide, 3), dtype=np.uint8)
    top, left = (high - inner_high) // 2, (wide - inner_wide) // 2
    canvas[top : top + inner_high, left : left + inner_wide] = scaled
    return canvas


def without_margins(rows: Array, high: int, wide: int) -> Array:
    """Leave out the lines or columns of patches in which there is only margin."""
    down, across = rows.shape[:2]
    if wide / high > across / down:
        margin = (down - int(round(high * across / wide, 7))) // 2
        return rows[margin : down - margin]
    margin = (across - int(round(wide * down / high, 7))) // 2
    return rows[:, margin : across - margin]
