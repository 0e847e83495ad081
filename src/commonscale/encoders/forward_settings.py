"""What a model of transformers computes beside its weights, read from its config."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# Names of settings that change what is computed and leave the weights and their shapes as they are: activations,
# epsilons of norms, heads, rotary and relative positions, windows of attention, scales, and the layer, tiles and sizes
# from which a language model takes a picture.
_DECIDES = re.compile(
    r"((^|_)(act|act_fn|activation|activation_function|eps|epsilon)|heads|^n_head|head_dim|feed_forward_proj)$"
    r"|^(position_embedding_type|layer_types|is_causal|scale_embedding|query_pre_attn_scalar|image_size)$"
    r"|softcap|sliding|local_attention|every_n_layers|max_distance|bidirectional|norm_first|parallel_residual"
    r"|^(vision_feature_|image_grid_pinpoints$)|_theta$|_base_freq$"
)
# Token ids that a forward pass looks for: CLIP reads a text's vector at the end mark; RoBERTa and its kin count
# positions from the padding's id.
_TOKENS = {
    "clip_text_model": "eos_token_id",
    **dict.fromkeys(("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "longformer"), "pad_token_id"),
}
# transformers 5 dropped this setting with all of its values but one.
_ONLY_CHOICE = {"position_embedding_type": "absolute"}
_ROTARY = ("rope_parameters", "rope_scaling")
# Of CLIP's configs from before 4.31: the end mark is the highest id in a text.
_HIGHEST_ID = 2


def forward_settings(config: Any) -> dict[str, Any]:
    """Collect the settings of all towers that decide a vector, in a form that versions of transformers share.

    The parsed config has every default filled in, so it does not matter which of them a file spells out. What is
    off (None or False) is left out, because versions differ in whether they name it.

    Args:
        config: a config of transformers.

    Returns:
        Settings by name, and those of a tower in a dict of their own.
    """
    return _of_tower(config.to_dict())


def _of_tower(settings: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if key.endswith("_config") and isinstance(value, Mapping):
            found[key] = _of_tower(value)
        elif key != "rope_theta" and _DECIDES.search(key) and value != _ONLY_CHOICE.get(key):
            found[key] = value
    found["rotary"] = _rotary(settings)
    found["token"] = _token(settings)
    return {key: value for key, value in found.items() if not (value is None or value is False or value == {})}


def _rotary(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return rotary positions in one form: version 4 has two settings for what version 5 puts into one."""
    found: dict[str, Any] = {"rope_theta": settings.get("rope_theta")}
    for key in _ROTARY:
        found |= settings.get(key) or {}
    kind = found.pop("type", None)
    found.setdefault("rope_type", kind)
    if found["rope_type"] in (None, "default"):
        del found["rope_type"]
    else:
        # Several kinds stretch what was trained to this many positions.
        found.setdefault("original_max_position_embeddings", settings.get("max_position_embeddings"))
    return {key: value for key, value in found.items() if value is not None}


def _token(settings: Mapping[str, Any]) -> Any:
    kind = settings.get("model_type")
    token = settings.get(_TOKENS.get(str(kind), ""))
    if kind == "clip_text_model" and token == _HIGHEST_ID:
        return settings["vocab_size"] - 1
    return token
