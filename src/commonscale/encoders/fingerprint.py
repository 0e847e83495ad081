"""One short text that changes whenever an encoder's vectors would."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from typing import Any

from commonscale.core.extras import require
from commonscale.encoders.forward_settings import forward_settings

# The Rust tokenizers keep padding and truncation as state and refuse two borrowers at once ("Already borrowed"), so
# every use of one holds this lock. One for all encoders, so that an encoder can still be copied and sent to another
# process.
TOKENIZER_LOCK = threading.Lock()

# What a processor's settings say about its own class and files, not about pixels.
_NOT_PIXELS = frozenset(
    {"image_processor_type", "processor_class", "feature_extractor_type", "name_or_path", "device"}
    | {"return_tensors", "data_format", "input_data_format", "disable_grouping"}
)

# Case, accents, compatibility forms, blanks, digits, punctuation, other scripts, an unknown sign and a long word:
# two tokenizers with one vocabulary that differ in any rule for these give other ids.
PROBES = (
    "A photo of two Dogs, running!",
    "caf\u00e9 cafe\u0301 \ufb01ne \u00c5ngstr\u00f6m \u017fi\u00df",
    "  tabs\tand\nlines  12345 3.14 it's e-mail@example.org #tag",
    "\u72ac\u304c\u8d70\u308b \u0441\u043e\u0431\u0430\u043a\u0430 \u0643\u0644\u0628 \U0001f415",
    "antidisestablishmentarianism internationalization",
    "",
)


def fingerprint_of(
    model: Any, tokenizer: Any, image_processor: Any, max_tokens: int, canonical: Callable[[str], str] = str
) -> str:
    """Hash everything that decides a vector.

    Weights enter with shape, type and bytes, in the type they are computed in, so a bfloat16 encoder has
    another fingerprint than a float32 one; the device does not enter. Their names do not enter either:
    transformers 5 renamed layers (of ViT, for one) without changing a vector, and an upgrade must not
    invalidate a calibration. Of the config enters what weights do not tell, such as activations and the number of
    heads. The tokenizer enters by its vocabulary and by what it makes of six probe texts, because its serialized
    form differs between versions that tokenize alike.

    Args:
        model: a torch module with a transformers config.
        tokenizer: a transformers tokenizer.
        image_processor: a transformers image processor.
        max_tokens: where texts are cut.
        canonical: what is done to a text before it is tokenized.

    Returns:
        ``"<model type>-<32 hex digits>"``, a 128-bit BLAKE2b digest: equal on every machine.
    """
    parts = {
        "model_type": model.config.model_type,
        "weights": digest_of_weights(model.state_dict()),
        "towers": forward_settings(model.config),
        "tokenizer": _digest_of_tokenizer(tokenizer, canonical),
        "max_tokens": max_tokens,
        "pixels": pixel_settings(image_processor.to_dict()),
    }
    return fingerprint_from(model.config.model_type, parts)


def fingerprint_from(kind: str, parts: Mapping[str, Any]) -> str:
    """Hash all that decides a vector, given in parts that JSON can hold.

    Args:
        kind: the kind of model; it begins the fingerprint.
        parts: anything; where JSON has no form for a value, its text counts.

    Returns:
        ``"<kind>-<32 hex digits>"``, a 128-bit BLAKE2b digest.
    """
    return f"{kind}-{_digest(_as_bytes(parts))}"


def pixel_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Keep of an image processor's settings what changes pixels, without the ones left at None."""
    return {
        key: value
        for key, value in settings.items()
        if value is not None and key not in _NOT_PIXELS and not key.startswith("_")
    }


def digest_of_weights(state: Mapping[str, Any]) -> str:
    """Hash tensors by shape, type and bytes; neither their names nor their order count."""
    torch = require("torch", "encoders")
    tensors = []
    for tensor in state.values():
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        digest = hashlib.blake2b(_as_bytes([list(tensor.shape), str(tensor.dtype)]), digest_size=16)
        digest.update(memoryview(flat.view(torch.uint8).numpy()))
        tensors.append(digest.hexdigest())
    return _digest(_as_bytes(sorted(tensors)))


def _digest_of_tokenizer(tokenizer: Any, canonical: Callable[[str], str]) -> str:
    with TOKENIZER_LOCK:
        probes = [tokenizer(canonical(text), verbose=False)["input_ids"] for text in PROBES]
        vocabulary = tokenizer.get_vocab()
    return _digest(_as_bytes([vocabulary, probes]))


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _as_bytes(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, default=_plain).encode()


def _plain(value: Any) -> Any:
    """Turn the mapping-like SizeDict of transformers 5 into a dict, and anything else into its text."""
    try:
        return {key: item for key, item in dict(value).items() if item is not None}
    except (TypeError, ValueError):
        return str(value)
