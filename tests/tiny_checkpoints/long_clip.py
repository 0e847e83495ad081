"""A tiny Long-CLIP in the layout of the published longclip-B.pt, and the conversions that others make of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

POSITIONS = 248
TEXT_WIDTH = 128
VISION_WIDTH = 192
DIMENSION = 80
IMAGE_SIZE = 32
PATCH = 8
LAYERS = 2


def long_clip_state(vocabulary: int, seed: int = 0, positions: int = POSITIONS) -> dict[str, torch.Tensor]:
    """Return random weights by their published names: two heads for texts, three for pictures, two layers each."""
    import torch

    draws = torch.Generator().manual_seed(seed)

    def random(*shape: int, scale: float) -> torch.Tensor:
        return torch.randn(shape, generator=draws) * scale

    def norm(name: str, width: int) -> dict[str, torch.Tensor]:
        return {f"{name}.weight": 1 + random(width, scale=0.2), f"{name}.bias": random(width, scale=0.1)}

    def linear(name: str, rows: int, columns: int, dot: str = ".") -> dict[str, torch.Tensor]:
        matrix = random(rows, columns, scale=columns**-0.5)
        return {f"{name}{dot}weight": matrix, f"{name}{dot}bias": random(rows, scale=0.1)}

    def transformer(name: str, width: int) -> dict[str, torch.Tensor]:
        weights: dict[str, torch.Tensor] = {}
        for layer in range(LAYERS):
            block = f"{name}.resblocks.{layer}"
            weights |= linear(f"{block}.attn.in_proj", 3 * width, width, dot="_")
            weights |= linear(f"{block}.attn.out_proj", width, width)
            weights |= norm(f"{block}.ln_1", width) | norm(f"{block}.ln_2", width)
            weights |= linear(f"{block}.mlp.c_fc", 4 * width, width) | linear(f"{block}.mlp.c_proj", width, 4 * width)
        return weights

    return {
        "positional_embedding": random(positions, TEXT_WIDTH, scale=0.5),
        "positional_embedding_res": random(positions, TEXT_WIDTH, scale=0.5),
        "text_projection": random(TEXT_WIDTH, DIMENSION, scale=TEXT_WIDTH**-0.5),
        "logit_scale": torch.tensor(4.6),
        "visual.class_embedding": random(VISION_WIDTH, scale=0.5),
        "visual.positional_embedding": random((IMAGE_SIZE // PATCH) ** 2 + 1, VISION_WIDTH, scale=0.5),
        "visual.proj": random(VISION_WIDTH, DIMENSION, scale=VISION_WIDTH**-0.5),
        "visual.conv1.weight": random(VISION_WIDTH, 3, PATCH, PATCH, scale=(3 * PATCH**2) ** -0.5),
        **norm("visual.ln_pre", VISION_WIDTH),
        **transformer("visual.transformer", VISION_WIDTH),
        **norm("visual.ln_post", VISION_WIDTH),
        **transformer("transformer", TEXT_WIDTH),
        "token_embedding.weight": random(vocabulary, TEXT_WIDTH, scale=0.5),
        **norm("ln_final", TEXT_WIDTH),
    }


def save_conversion(folder: Path, state: dict[str, torch.Tensor], *, tables: int, positions: int = POSITIONS) -> Path:
    """Write a conversion in the format of transformers, without tokenizer and image settings.

    Args:
        folder: made if it is not there.
        state: weights by their published names.
        tables: 2 for both tables under the names of creative-graphic-design/LongCLIP-B, whose config needs code of
            its own; 1 for a plain CLIPModel with the table that is read.
        positions: what the config says.

    Returns:
        The folder.
    """
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    wrapped = (lambda tower: f"{tower}.{tower}") if tables == 2 else str
    weights = _converted(state, wrapped)
    first, second = state["positional_embedding"], state["positional_embedding_res"]
    embeddings = f"{wrapped('text_model')}.embeddings"
    if tables == 2:
        weights |= {f"{embeddings}.position_embedding.weight": first, f"{embeddings}.position_embedding_res": second}
    else:
        table = first.clone()
        table[20:] = second[20:]
        weights[f"{embeddings}.position_embedding.weight"] = table
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, folder / "model.safetensors")
    config = json.dumps(_config(state, tables, positions), indent=1)
    (folder / "config.json").write_text(config, encoding="utf-8")
    return folder


def _converted(state: dict[str, torch.Tensor], wrapped: Any) -> dict[str, torch.Tensor]:
    import torch

    text, vision = wrapped("text_model"), wrapped("vision_model")
    weights = {
        "logit_scale": state["logit_scale"],
        "text_projection.weight": state["text_projection"].T,
        "visual_projection.weight": state["visual.proj"].T,
        f"{text}.embeddings.token_embedding.weight": state["token_embedding.weight"],
        f"{vision}.embeddings.class_embedding": state["visual.class_embedding"],
        f"{vision}.embeddings.patch_embedding.weight": state["visual.conv1.weight"],
        f"{vision}.embeddings.position_embedding.weight": state["visual.positional_embedding"],
        f"{vision}.embeddings.position_ids": torch.arange((IMAGE_SIZE // PATCH) ** 2 + 1)[None],
    }
    norms = (
        ("ln_final", f"{text}.final_layer_norm"),
        ("visual.ln_pre", f"{vision}.pre_layrnorm"),
        ("visual.ln_post", f"{vision}.post_layernorm"),
    )
    for old, new in norms:
        weights |= {f"{new}.{kind}": state[f"{old}.{kind}"] for kind in ("weight", "bias")}
    for old, new in (("transformer", text), ("visual.transformer", vision)):
        for layer in range(LAYERS):
            for kind in ("weight", "bias"):
                block, to = f"{old}.resblocks.{layer}", f"{new}.encoder.layers.{layer}"
                query, key, value = state[f"{block}.attn.in_proj_{kind}"].chunk(3)
                weights |= {
                    f"{to}.self_attn.q_proj.{kind}": query,
                    f"{to}.self_attn.k_proj.{kind}": key,
                    f"{to}.self_attn.v_proj.{kind}": value,
                    f"{to}.self_attn.out_proj.{kind}": state[f"{block}.attn.out_proj.{kind}"],
                    f"{to}.layer_norm1.{kind}": state[f"{block}.ln_1.{kind}"],
                    f"{to}.layer_norm2.{kind}": state[f"{block}.ln_2.{kind}"],
                    f"{to}.mlp.fc1.{kind}": state[f"{block}.mlp.c_fc.{kind}"],
                    f"{to}.mlp.fc2.{kind}": state[f"{block}.mlp.c_proj.{kind}"],
                }
    return weights


def _config(state: dict[str, torch.Tensor], tables: int, positions: int) -> dict[str, Any]:
    own = tables == 2
    vocabulary = len(state["token_embedding.weight"])
    text = {
        "model_type": "longclip_text_model" if own else "clip_text_model",
        "hidden_size": TEXT_WIDTH,
        "intermediate_size": 4 * TEXT_WIDTH,
        "num_attention_heads": TEXT_WIDTH // 64,
        "num_hidden_layers": LAYERS,
        "vocab_size": vocabulary,
        "max_position_embeddings": positions,
        "bos_token_id": vocabulary - 2,
        "eos_token_id": vocabulary - 1,
        "hidden_act": "quick_gelu",
    }
    vision = {
        "model_type": "longclip_vision_model" if own else "clip_vision_model",
        "hidden_size": VISION_WIDTH,
        "intermediate_size": 4 * VISION_WIDTH,
        "num_attention_heads": VISION_WIDTH // 64,
        "num_hidden_layers": LAYERS,
        "image_size": IMAGE_SIZE,
        "patch_size": PATCH,
        "hidden_act": "quick_gelu",
    }
    if own:
        text |= {"use_position_interpolation": True, "interpolation_keep_length": 20}
    general = {"model_type": "longclip" if own else "clip", "projection_dim": DIMENSION}
    if own:
        code = {"AutoConfig": "configuration_longclip.LongCLIPConfig", "AutoModel": "modeling_longclip.LongCLIPModel"}
        general |= {"architectures": ["LongCLIPModel"], "auto_map": code}
    return general | {"text_config": text, "vision_config": vision}
