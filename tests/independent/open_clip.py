"""OpenCLIP's models (mlfoundations/open_clip, model.py and transformer.py) and its transform for inference."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file

from independent.transformer import (
    Array,
    Weights,
    attend,
    bert,
    embed_patches,
    gelu,
    layer_norm,
    linear,
    quick_gelu,
    unit,
)


class OpenClip:
    """A checkpoint as ``open_clip.push_to_hf_hub`` saves it: a CLIP, or a SigLIP with an image tower of timm."""

    def __init__(self, folder: Path) -> None:
        saved = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
        self.config, self.pixels = saved["model_cfg"], saved["preprocess_cfg"]
        self.weights = Weights(load_file(folder / "open_clip_model.safetensors"))
        self.activation = quick_gelu if self.config.get("quick_gelu") else gelu

    def text(self, ids: list[int]) -> Array:
        """Read the vector of ids, filled up to the tower's length, at the highest id or at the last position."""
        settings = self.config["text_cfg"]
        if "hf_model_name" in settings:
            return self._mean_of_bert([number for number in ids if number != 0])
        tower = self.weights.at("text") if self.config.get("custom_text") else self.weights
        x = tower["token_embedding.weight"][ids] + tower["positional_embedding"]
        epsilon = settings.get("norm_kwargs", {}).get("eps", 1e-5)
        free = settings.get("no_causal_mask", False)
        hidden = None if free else np.triu(np.ones((len(ids), len(ids)), dtype=bool), k=1)
        layers = tower.layers("transformer.resblocks")
        x = layer_norm(
            _blocks(x, layers, settings["heads"], self.activation, epsilon, hidden), tower.at("ln_final"), epsilon
        )
        pooled = x[-1] if settings.get("pool_type") == "last" else x[int(np.argmax(ids))]
        if settings.get("proj_bias"):
            return unit(linear(pooled, tower.at("text_projection")))
        return unit(pooled @ tower["text_projection"])

    def _mean_of_bert(self, ids: list[int]) -> Array:
        """Pool a BERT's hidden states of the tokens that are no padding, through two layers with gelu."""
        pooled = bert(ids, self.weights.at("text.transformer"), 4, 1e-12).mean(axis=0)
        return unit(linear(gelu(linear(pooled, self.weights.at("text.proj.0"))), self.weights.at("text.proj.2")))

    def image(self, rgb: Array) -> Array:
        """Read the vector of a picture, shape (height, width, 3)."""
        pixels = self.transformed(rgb)
        if "timm_model_name" in self.config["vision_cfg"]:
            return unit(_siglip_tower(pixels, self.weights.at("visual.trunk"), heads=2))
        tower, settings = self.weights.at("visual"), self.config["vision_cfg"]
        x = (
            np.vstack([tower["class_embedding"], embed_patches(pixels, tower.at("conv1"))])
            + tower["positional_embedding"]
        )
        x = layer_norm(x, tower.at("ln_pre"), 1e-5)
        heads = settings["width"] // settings["head_width"]
        x = _blocks(x, tower.layers("transformer.resblocks"), heads, self.activation, 1e-5, None)
        return unit(layer_norm(x[0], tower.at("ln_post"), 1e-5) @ tower["proj"])

    def transformed(self, rgb: Array) -> Array:
        """Resize (the short side and the middle square of it, or all to one size), and normalize."""
        size = self.config["vision_cfg"]["image_size"]
        high, wide = rgb.shape[:2]
        if self.pixels.get("resize_mode") == "squash":
            high = wide = size
        else:
            high, wide = (int(size * high / wide), size) if wide <= high else (size, int(size * wide / high))
        resized = np.asarray(Image.fromarray(rgb).resize((wide, high), Image.Resampling.BICUBIC)).astype(np.float64)
        top, left = round((high - size) / 2), round((wide - size) / 2)
        scaled = resized[top : top + size, left : left + size] / 255
        return ((scaled - np.array(self.pixels["mean"])) / np.array(self.pixels["std"])).transpose(2, 0, 1)


def _blocks(
    x: Array,
    layers: Iterator[Weights],
    heads: int,
    activation: Callable[[Array], Array],
    epsilon: float,
    hidden: Array | None,
) -> Array:
    """Run x += attention(norm(x)); x += mlp(norm(x)), with q, k and v in one matrix."""
    for layer in layers:
        joined = layer_norm(x, layer.at("ln_1"), epsilon) @ layer["attn.in_proj_weight"].T + layer["attn.in_proj_bias"]
        x = x + linear(attend(*np.split(joined, 3, axis=1), heads, hidden), layer.at("attn.out_proj"))
        wide = activation(linear(layer_norm(x, layer.at("ln_2"), epsilon), layer.at("mlp.c_fc")))
        x = x + linear(wide, layer.at("mlp.c_proj"))
    return x


def _siglip_tower(pixels: Array, tower: Weights, heads: int) -> Array:
    """Compute timm's ViT with attention pooling, which SigLIP has (Zhai et al. 2023, arXiv 2303.15343)."""
    x = embed_patches(pixels, tower.at("patch_embed.proj")) + tower["pos_embed"][0]
    for layer in tower.layers("blocks"):
        joined = linear(layer_norm(x, layer.at("norm1"), 1e-6), layer.at("attn.qkv"))
        x = x + linear(attend(*np.split(joined, 3, axis=1), heads), layer.at("attn.proj"))
        x = x + _mlp(layer_norm(x, layer.at("norm2"), 1e-6), layer.at("mlp"))
    x = layer_norm(x, tower.at("norm"), 1e-6)
    pool = tower.at("attn_pool")
    keys, values = np.split(linear(x, pool.at("kv")), 2, axis=1)
    pooled = linear(attend(linear(pool["latent"][0], pool.at("q")), keys, values, heads), pool.at("proj"))[0]
    return pooled + _mlp(layer_norm(pooled, pool.at("norm"), 1e-6), pool.at("mlp"))


def _mlp(x: Array, weights: Weights) -> Array:
    return linear(gelu(linear(x, weights.at("fc1"))), weights.at("fc2"))
