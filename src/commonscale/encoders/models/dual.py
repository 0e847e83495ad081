"""Dual encoders of transformers: a text tower and an image tower projected into one space."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from numpy.typing import NDArray

from commonscale.core.errors import InvalidInputError
from commonscale.core.extras import require
from commonscale.encoders.base import Role
from commonscale.encoders.batched import BatchedEncoder
from commonscale.encoders.checkpoint import Checkpoint
from commonscale.encoders.checks import listed_texts
from commonscale.encoders.fingerprint import TOKENIZER_LOCK, fingerprint_of
from commonscale.encoders.options import EncodingOptions
from commonscale.encoders.vectors import features_of

if TYPE_CHECKING:
    from PIL.Image import Image

# A tokenizer without a limit of its own says 1e30.
_ABSURD_LIMIT = 1_000_000

# What CLIP's tokenizer says by itself, also beside models that were given more positions, such as Long-CLIP.
_CLIP_TOKENS = 77

# RoBERTa and its kin number positions from pad_token_id + 1, so as many of them hold no token.
_OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "mpnet", "longformer"})


class DualEncoder(BatchedEncoder):
    """A model with ``get_text_features`` and ``get_image_features``, loaded from a checkpoint.

    A subclass names the class of transformers. Texts are cut at ``max_tokens``: the smaller of the
    tokenizer's limit and the number of positions of the text tower.

    Attributes:
        model_class: the class of transformers.
        text_inputs: what the text tower is given of what the tokenizer makes.
        image_inputs: what the image tower is given of what the image processor makes.
    """

    model_class: ClassVar[str]
    text_inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask", "token_type_ids")
    image_inputs: ClassVar[tuple[str, ...]] = ("pixel_values",)

    def __init__(self, checkpoint: Checkpoint, options: EncodingOptions) -> None:
        super().__init__(options)
        self.checkpoint = checkpoint
        self._model = checkpoint.load_model(self.model_class)
        self._tokenizer = self._load_tokenizer()
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token or self._tokenizer.unk_token
        self._image_processor = checkpoint.load_image_processor()
        self._max_tokens = text_limit(self._tokenizer, checkpoint.config.text_config, checkpoint.max_tokens)

    def __repr__(self) -> str:
        """Show where the model came from and where it runs."""
        place = f"{self.checkpoint.name!r}, device={self.device!r}, dtype={self.checkpoint.dtype!r}"
        return f"{type(self).__name__}({place}, dimension={self.dimension})"

    @property
    def dimension(self) -> int:
        """Length of every vector: the width of the projections."""
        return int(self.checkpoint.config.projection_dim)

    @property
    def device(self) -> str:
        """Where the model runs, as torch names it."""
        return self.checkpoint.device

    @property
    def max_tokens(self) -> int:
        """Longest text that is read whole, in the tokens that :meth:`count_tokens` counts."""
        return self._max_tokens

    @cached_property
    def fingerprint(self) -> str:
        """Identity of the vectors: weights, compute type, tokenizer, text limit and image settings.

        Computed when first asked for (about two seconds per GB of weights) and kept. The device is left out: it
        changes a vector only by rounding. The compute type is in: bfloat16 weights are other weights.
        """
        return fingerprint_of(self._model, self._tokenizer, self._image_processor, self.max_tokens, self._canonical)

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each whole text, the start and end marks included.

        Args:
            texts: any number of strings.

        Returns:
            One count per text; a text is read whole if its count is at most ``max_tokens``.
        """
        listed = listed_texts(texts, "count_tokens")
        if not listed:
            return []
        ids = self._tokenized(listed, padding=False, truncation=False, verbose=False)["input_ids"]
        return [len(text_ids) for text_ids in ids]

    def _load_tokenizer(self) -> Any:
        return self.checkpoint.load_tokenizer()

    def _canonical(self, text: str) -> str:
        """Return the form of a text that the tokenizer is to see."""
        return text

    def _tokenized(self, texts: list[str], **settings: Any) -> Any:
        with TOKENIZER_LOCK:
            return self._tokenizer([self._canonical(text) for text in texts], **settings)

    def _prepare_texts(self, texts: list[str], role: Role) -> dict[str, Any]:
        tokens = self._tokenized(texts, padding=True, truncation=True, max_length=self.max_tokens, return_tensors="pt")
        return {name: tokens[name] for name in self.text_inputs if name in tokens}

    def _embed_texts(self, prepared: dict[str, Any], role: Role) -> NDArray[Any]:
        return self._features(self._text_features, prepared)

    def _text_features(self, **inputs: Any) -> Any:
        return self._model.get_text_features(**inputs)

    def _prepare_image(self, image: Image) -> dict[str, Any]:
        # Said outright, because a picture 1 or 3 pixels high looks like channels-first to a guess.
        made = self._image_processor(images=[image], return_tensors="pt", input_data_format="channels_last")
        return {name: made[name][0] for name in self.image_inputs}

    def _embed_images(self, prepared: list[dict[str, Any]]) -> NDArray[Any]:
        torch = require("torch", "encoders")
        inputs = {name: torch.stack([picture[name] for picture in prepared]) for name in self.image_inputs}
        inputs["pixel_values"] = inputs["pixel_values"].to(self._model.dtype)
        return self._features(self._image_features, inputs)

    def _image_features(self, **inputs: Any) -> Any:
        return self._model.get_image_features(**inputs)

    def _features(self, method: Any, inputs: dict[str, Any]) -> NDArray[Any]:
        torch = require("torch", "encoders")
        with torch.inference_mode():
            output = features_of(method(**{name: tensor.to(self.device) for name, tensor in inputs.items()}))
        features: NDArray[Any] = output.float().cpu().numpy()
        return features


def text_limit(tokenizer: Any, text_config: Any, wanted: int | None) -> int:
    """Return how many tokens of a text the model reads.

    Args:
        tokenizer: its ``model_max_length`` counts unless it is absurd (transformers writes 1e30 for "none"), or the
            77 of CLIP beside a CLIP with more positions.
        text_config: its ``max_position_embeddings`` counts if present, less the positions that RoBERTa skips.
        wanted: the caller's own limit, or None.

    Returns:
        The smallest of the limits.

    Raises:
        InvalidInputError: if there is no limit at all, or if the caller's lies above the model's.
    """
    limits = []
    positions = getattr(text_config, "max_position_embeddings", None)
    stretched = text_config.model_type == "clip_text_model" and (positions or 0) > _CLIP_TOKENS
    if tokenizer.model_max_length < _ABSURD_LIMIT and not (stretched and tokenizer.model_max_length == _CLIP_TOKENS):
        limits.append(int(tokenizer.model_max_length))
    if positions is not None and positions > 0:
        skipped = text_config.pad_token_id + 1 if text_config.model_type in _OFFSET_POSITIONS else 0
        limits.append(int(positions) - skipped)
    if wanted is None and not limits:
        raise InvalidInputError(
            "Neither the tokenizer nor the config of this model says how long a text may be; give max_tokens=..."
        )
    if wanted is not None and limits and wanted > min(limits):
        raise InvalidInputError(f"max_tokens={wanted} is more than the {min(limits)} tokens that the model reads")
    return min(limits) if wanted is None else wanted
