"""From the weights of Long-CLIP, as they were published and as others converted them, to those of CLIPModel.

Long-CLIP (Zhang et al. 2024, arXiv 2403.15378) keeps two tables of 248 positions. The first 20 positions are read
from the first table, where CLIP was trained well, and all others from the second, which training stretched and
changed (section 3.2, and ``encode_text`` of the authors' model_longclip.py). One table with the rows that are read
gives the same vectors, so an ordinary CLIPModel can serve.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from commonscale.core.errors import EncoderError
from commonscale.core.extras import require

State = Mapping[str, Any]
"""Tensors by name."""

KEPT = 20
"""Positions that are read from the first table."""

_HEAD_WIDTH = 64  # of every CLIP; the weights do not tell it

_BLOCK = re.compile(r"(visual\.)?transformer\.resblocks\.(\d+)\.(.+)")
_IN_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "attn.out_proj": "self_attn.out_proj",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
}
_OUTSIDE = {
    "logit_scale": "logit_scale",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
}
_TRANSPOSED = {"text_projection": "text_projection.weight", "visual.proj": "visual_projection.weight"}
_TABLES = ("positional_embedding", "positional_embedding_res")
# What OpenAI's archives list beside the weights.
_NO_WEIGHTS = frozenset({"input_resolution", "context_length", "vocab_size"})
_SIZING = ("token_embedding.weight", "positional_embedding", "text_projection", "visual.conv1.weight", "visual.proj")

_POSITIONS = "text_model.embeddings.position_embedding"


def from_openai(state: State, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Turn a state dict in the layout of OpenAI's CLIP into the config and the weights of a CLIPModel.

    Args:
        state: tensors by name; a ``positional_embedding_res`` makes it a Long-CLIP.
        name: where it comes from, for errors.

    Returns:
        Arguments of CLIPConfig, and tensors by the names of CLIPModel, in the types they were stored in.

    Raises:
        EncoderError: if it is a CLIP with a ResNet, or holds other weights than a CLIP has.
    """
    if any(key.startswith(("visual.layer1", "visual.attnpool")) for key in state):
        raise EncoderError(f"{name!r} is a CLIP with a ResNet as its image tower; only Vision Transformers are served.")
    missing = [key for key in (*_SIZING, "visual.positional_embedding") if key not in state]
    if missing:
        raise EncoderError(
            f"{name!r} lacks {missing[0]!r}, so it is no state dict of a CLIP or Long-CLIP in OpenAI's layout. Give "
            "longclip-B.pt or longclip-L.pt as published, or a folder in the format of transformers."
        )
    first, second = _TABLES
    converted: dict[str, Any] = {f"{_POSITIONS}.weight": _positions(state[first], state.get(second), KEPT, name)}
    for key, tensor in state.items():
        if key not in _TABLES and key not in _NO_WEIGHTS:
            converted.update(_renamed(key, tensor, name))
    return _config(state, converted, name), converted


def from_transformers(config: Mapping[str, Any], state: State, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Turn a conversion that needs its own code in transformers into the config and the weights of a CLIPModel.

    Such conversions keep both tables (``position_embedding.weight`` and ``position_embedding_res``) and wrap each
    tower once more; others have one table of 248 positions under a config that says 77.

    Args:
        config: what ``config.json`` says.
        state: tensors by name.
        name: where it comes from, for errors.

    Returns:
        As :func:`from_openai`.

    Raises:
        EncoderError: if it has no table of positions.
    """
    converted: dict[str, Any] = {}
    for key, tensor in state.items():
        tower, _, rest = key.partition(".")
        key = f"{tower}.{rest.removeprefix(tower + '.')}" if rest else key
        if not key.endswith("position_ids"):
            converted[key] = tensor
    text, vision = dict(config.get("text_config") or {}), dict(config.get("vision_config") or {})
    kept = int(text.pop("interpolation_keep_length", KEPT))
    tables = converted.get(f"{_POSITIONS}.weight"), converted.pop(f"{_POSITIONS}_res", None)
    converted[f"{_POSITIONS}.weight"] = positions = _positions(*tables, kept, name)
    text |= {"model_type": "clip_text_model", "max_position_embeddings": len(positions)}
    vision |= {"model_type": "clip_vision_model"}
    settings = {"text_config": text, "vision_config": vision}
    if "projection_dim" in config:
        settings["projection_dim"] = config["projection_dim"]
    return settings, converted


def check_whole(state: State, expected: State, name: str) -> None:
    """Compare converted weights with those of the empty model.

    Raises:
        EncoderError: if one is missing, unknown or of another shape; the learned temperature may be missing.
    """
    shapes = {key: tuple(tensor.shape) for key, tensor in expected.items()}
    missing = sorted(shapes.keys() - state.keys() - {"logit_scale"})
    unknown = sorted(state.keys() - shapes.keys())
    other = sorted(key for key in shapes.keys() & state.keys() if tuple(state[key].shape) != shapes[key])
    for keys, trouble in ((missing, "lacks"), (unknown, "has, beyond a CLIP,"), (other, "has in another shape")):
        if keys:
            raise EncoderError(
                f"{name!r} {trouble} {len(keys)} weights (the first is {keys[0]!r}), so its vectors would be wrong. "
                "Use a whole Long-CLIP or CLIP with a Vision Transformer."
            )


def _positions(table: Any, second: Any, kept: int, name: str) -> Any:
    """Return the rows that are read: the first ``kept`` of the first table and the others of the second."""
    if table is None or table.ndim != 2:
        raise EncoderError(f"{name!r} has no table of positions for its texts, so it is no CLIP.")
    if second is None:
        return table
    if second.shape != table.shape:
        raise EncoderError(
            f"The two tables of positions in {name!r} must have one shape, got {tuple(table.shape)} and "
            f"{tuple(second.shape)}."
        )
    return require("torch", "encoders").cat([table[:kept], second[kept:]])


def _renamed(key: str, tensor: Any, name: str) -> dict[str, Any]:
    """Give a tensor of OpenAI's layout its name in CLIPModel; the joint projection of attention becomes three."""
    if key in _OUTSIDE:
        return {_OUTSIDE[key]: tensor}
    if key in _TRANSPOSED:
        return {_TRANSPOSED[key]: tensor.T}
    block = _BLOCK.fullmatch(key)
    if block:
        visual, layer, inside = block.groups()
        prefix = f"{'vision' if visual else 'text'}_model.encoder.layers.{layer}"
        if inside in ("attn.in_proj_weight", "attn.in_proj_bias"):
            kind = inside.rpartition("_")[2]
            parts = zip("qkv", tensor.chunk(3), strict=True)
            return {f"{prefix}.self_attn.{letter}_proj.{kind}": part for letter, part in parts}
        module, _, kind = inside.rpartition(".")
        if module in _IN_BLOCK:
            return {f"{prefix}.{_IN_BLOCK[module]}.{kind}": tensor}
    raise EncoderError(f"{name!r} holds {key!r}, which no CLIP with a Vision Transformer has; it is another model.")


def _config(state: State, converted: State, name: str) -> dict[str, Any]:
    """Read every size off the shapes of the weights."""
    vocabulary, _ = state["token_embedding.weight"].shape
    patch = state["visual.conv1.weight"].shape[-1]
    grid = math.isqrt(len(state["visual.positional_embedding"]) - 1)
    return {
        "projection_dim": state["text_projection"].shape[1],
        "text_config": {
            **_tower(converted, "text_model", state["token_embedding.weight"].shape[1], name),
            "vocab_size": vocabulary,
            "max_position_embeddings": len(state["positional_embedding"]),
            # The authors pool where the id is highest; in CLIP's vocabulary that is the end mark, its last entry.
            "bos_token_id": vocabulary - 2,
            "eos_token_id": vocabulary - 1,
            "pad_token_id": vocabulary - 1,
        },
        "vision_config": {
            **_tower(converted, "vision_model", len(state["visual.conv1.weight"]), name),
            "image_size": grid * patch,
            "patch_size": patch,
        },
    }


def _tower(converted: State, tower: str, width: int, name: str) -> dict[str, Any]:
    if width % _HEAD_WIDTH:
        raise EncoderError(f"{name!r} has a {tower} {width} wide; the heads of a CLIP are {_HEAD_WIDTH} wide each.")
    first = converted.get(f"{tower}.encoder.layers.0.mlp.fc1.weight")
    if first is None:
        raise EncoderError(f"{name!r} has no layers in its {tower}, so it is no CLIP with a Vision Transformer.")
    numbers = {int(key.split(".")[3]) for key in converted if key.startswith(f"{tower}.encoder.layers.")}
    return {
        "hidden_size": width,
        "intermediate_size": len(first),
        "num_hidden_layers": max(numbers) + 1,
        "num_attention_heads": width // _HEAD_WIDTH,
        "hidden_act": "quick_gelu",
    }
