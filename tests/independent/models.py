"""From token ids and pixels to unit vectors: CLIP, BLIP, SigLIP, SigLIP 2 NaFlex, and a ViT beside a BERT."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from independent.transformer import (
    Array,
    Weights,
    attend,
    bert,
    embed_patches,
    gelu,
    layer_norm,
    linear,
    pre_norm_blocks,
    quick_gelu,
    read_checkpoint,
    tanh_gelu,
    unit,
)


class Clip:
    """Radford et al. 2021, arXiv 2103.00020, as OpenAI's CLIP repository computes it (clip/model.py)."""

    def __init__(self, folder: Path) -> None:
        self.weights, config = read_checkpoint(folder)
        self.text_heads = config["text_config"]["num_attention_heads"]
        self.image_heads = config["vision_config"]["num_attention_heads"]

    def text(self, ids: list[int]) -> Array:
        """Read the text vector at the highest id, the end mark, under a causal mask."""
        tower = self.weights.at("text_model")
        x = tower["embeddings.token_embedding.weight"][ids]
        x = x + tower["embeddings.position_embedding.weight"][: len(ids)]
        future = np.triu(np.ones((len(ids), len(ids)), dtype=bool), k=1)
        x = pre_norm_blocks(x, tower.layers("encoder.layers"), self.text_heads, quick_gelu, 1e-5, future)
        end = layer_norm(x[int(np.argmax(ids))], tower.at("final_layer_norm"), 1e-5)
        return unit(linear(end, self.weights.at("text_projection")))

    def image(self, pixels: Array) -> Array:
        """Read the picture's vector at the class token."""
        return self._image(self.weights.at("vision_model"), pixels)

    def _image(self, tower: Weights, pixels: Array) -> Array:
        rows = embed_patches(pixels, tower.at("embeddings.patch_embedding"))
        x = np.vstack([tower["embeddings.class_embedding"], rows]) + tower["embeddings.position_embedding.weight"]
        x = layer_norm(x, tower.at("pre_layrnorm"), 1e-5)
        x = pre_norm_blocks(x, tower.layers("encoder.layers"), self.image_heads, quick_gelu, 1e-5)
        pooled = layer_norm(x[0], tower.at("post_layernorm"), 1e-5)
        return unit(linear(pooled, self.weights.at("visual_projection")))


class Blip:
    """Li et al. 2022, arXiv 2201.12086: the contrastive pair of models/blip_itm.py (match_head="itc")."""

    def __init__(self, folder: Path) -> None:
        self.weights, config = read_checkpoint(folder)
        self.text_heads = config["text_config"]["num_attention_heads"]
        self.image_heads = config["vision_config"]["num_attention_heads"]

    def text(self, ids: list[int]) -> Array:
        """Project BERT's state at [CLS]; no picture takes part, and every token sees every other."""
        states = bert(ids, self.weights.at("text_encoder"), self.text_heads, 1e-12)
        return unit(linear(states[0], self.weights.at("text_proj")))

    def image(self, pixels: Array) -> Array:
        """Project the ViT's class token after its last norm."""
        tower = self.weights.at("vision_model")
        rows = embed_patches(pixels, tower.at("embeddings.patch_embedding"))
        x = np.vstack([tower["embeddings.class_embedding"][0], rows]) + tower["embeddings.position_embedding"][0]
        for layer in tower.layers("encoder.layers"):
            normed = layer_norm(x, layer.at("layer_norm1"), 1e-5)
            parts = np.split(linear(normed, layer.at("self_attn.qkv")), 3, axis=-1)
            x = x + linear(attend(*parts, self.image_heads), layer.at("self_attn.projection"))
            normed = layer_norm(x, layer.at("layer_norm2"), 1e-5)
            x = x + linear(gelu(linear(normed, layer.at("mlp.fc1"))), layer.at("mlp.fc2"))
        pooled = layer_norm(x, tower.at("post_layernorm"), 1e-5)[0]
        return unit(linear(pooled, self.weights.at("vision_proj")))


class Siglip:
    """Zhai et al. 2023, arXiv 2303.15343, as big_vision computes it (models/proj/image_text, models/vit.py)."""

    def __init__(self, folder: Path) -> None:
        self.weights, config = read_checkpoint(folder)
        self.text_heads = config["text_config"]["num_attention_heads"]
        self.image_heads = config["vision_config"]["num_attention_heads"]

    def text(self, ids: list[int]) -> Array:
        """Project the state at the last place; ids fill every place, padding included, and all see all."""
        tower = self.weights.at("text_model")
        table = tower["embeddings.position_embedding.weight"]
        assert len(ids) == len(table)
        x = tower["embeddings.token_embedding.weight"][ids] + table
        x = pre_norm_blocks(x, tower.layers("encoder.layers"), self.text_heads, tanh_gelu, 1e-6)
        return unit(linear(layer_norm(x[-1], tower.at("final_layer_norm"), 1e-6), tower.at("head")))

    def image(self, pixels: Array) -> Array:
        """Let a learned probe attend to the patches of a picture of fixed size."""
        tower = self.weights.at("vision_model")
        rows = embed_patches(pixels, tower.at("embeddings.patch_embedding"))
        return self._pool(tower, rows + tower["embeddings.position_embedding.weight"])

    def _pool(self, tower: Weights, x: Array) -> Array:
        """Run the encoder and its MAP head (Lee et al. 2018, arXiv 1810.00825; Zhai et al. 2021, 2106.04560)."""
        x = pre_norm_blocks(x, tower.layers("encoder.layers"), self.image_heads, tanh_gelu, 1e-6)
        x = layer_norm(x, tower.at("post_layernorm"), 1e-6)
        head = tower.at("head")
        kernels = np.split(head["attention.in_proj_weight"], 3)
        biases = np.split(head["attention.in_proj_bias"], 3)
        inputs = (head["probe"][0], x, x)
        parts = [rows @ kernel.T + bias for rows, kernel, bias in zip(inputs, kernels, biases, strict=True)]
        pooled = linear(attend(*parts, self.image_heads), head.at("attention.out_proj"))
        normed = layer_norm(pooled, head.at("layernorm"), 1e-6)
        pooled = pooled + linear(tanh_gelu(linear(normed, head.at("mlp.fc1"))), head.at("mlp.fc2"))
        return unit(pooled[0])


class Naflex(Siglip):
    """Tschannen et al. 2025, arXiv 2502.14786, section 2.4.2: a picture keeps its aspect; its table is resized."""

    def image(self, pixels: Array) -> Array:
        """Take the patches of a picture whose sides are whole patches; nothing is padded here."""
        tower = self.weights.at("vision_model")
        kernel = tower.at("embeddings.patch_embedding")
        table = tower["embeddings.position_embedding.weight"]
        side = round(len(table) ** 0.5)
        size = round((kernel["weight"].shape[1] / 3) ** 0.5)
        high, wide = pixels.shape[1] // size, pixels.shape[2] // size
        # A patch's row runs over height, width, channel.
        cut = pixels.reshape(3, high, size, wide, size).transpose(1, 3, 2, 4, 0).reshape(high * wide, -1)
        square = table.reshape(side, side, -1)
        resized = np.einsum("ai,bj,ijd->abd", tent(side, high), tent(side, wide), square)
        return self._pool(tower, linear(cut, kernel) + resized.reshape(high * wide, -1))


def tent(before: int, after: int) -> Array:
    """Return the matrix (after, before) that resizes a line bilinearly with antialiasing.

    A row weighs the old points by a triangle around the new point's place; when shrinking, the triangle is as wide
    as two new points.
    """
    scale = before / after
    reach = max(scale, 1.0)
    centers = (np.arange(after)[:, None] + 0.5) * scale
    weights = np.maximum(0.0, 1 - np.abs(np.arange(before) + 0.5 - centers) / reach)
    return weights / weights.sum(axis=1, keepdims=True)


class VitBert:
    """A ViT (Dosovitskiy et al. 2020, arXiv 2010.11929) beside a BERT, each with its tanh pooler and a projection."""

    def __init__(self, folder: Path) -> None:
        self.weights, config = read_checkpoint(folder)
        self.text_heads = config["text_config"]["num_attention_heads"]
        self.image_heads = config["vision_config"]["num_attention_heads"]
        self.image_epsilon = config["vision_config"]["layer_norm_eps"]

    def text(self, ids: list[int]) -> Array:
        """Project BERT's pooled [CLS]."""
        tower = self.weights.at("text_model")
        pooled = np.tanh(linear(bert(ids, tower, self.text_heads, 1e-12)[0], tower.at("pooler.dense")))
        return unit(linear(pooled, self.weights.at("text_projection")))

    def image(self, pixels: Array) -> Array:
        """Project the ViT's pooled class token."""
        tower, epsilon = self.weights.at("vision_model"), self.image_epsilon
        rows = embed_patches(pixels, tower.at("embeddings.patch_embeddings.projection"))
        x = np.vstack([tower["embeddings.cls_token"][0], rows]) + tower["embeddings.position_embeddings"][0]
        for layer in tower.layers("encoder.layer"):
            normed = layer_norm(x, layer.at("layernorm_before"), epsilon)
            parts = [linear(normed, layer.at(f"attention.attention.{name}")) for name in ("query", "key", "value")]
            x = x + linear(attend(*parts, self.image_heads), layer.at("attention.output.dense"))
            normed = layer_norm(x, layer.at("layernorm_after"), epsilon)
            x = x + linear(gelu(linear(normed, layer.at("intermediate.dense"))), layer.at("output.dense"))
        pooled = np.tanh(linear(layer_norm(x[0], tower.at("layernorm"), epsilon), tower.at("pooler.dense")))
        return unit(linear(pooled, self.weights.at("visual_projection")))


class ClipVitBert(Clip):
    """CLIP's image tower beside a BERT with its tanh pooler."""

    text = VitBert.text

    def image(self, pixels: Array) -> Array:
        """Read the picture's vector at the class token; the tower's prefix depends on the version that saved it."""
        doubled = "vision_model.vision_model.embeddings.class_embedding" in self.weights
        return self._image(self.weights.at("vision_model.vision_model" if doubled else "vision_model"), pixels)
