"""The tokenizers of open_clip: its own byte-pair encoding, and those of transformers in its wrapper."""

from __future__ import annotations

from typing import Any

from commonscale.core.errors import InvalidInputError
from commonscale.core.extras import require
from commonscale.encoders.checkpoint import explained
from commonscale.encoders.fingerprint import TOKENIZER_LOCK
from commonscale.encoders.models.open_clip_source import EXTRA, Source

# In the mode "clips", a class token stands behind the padding, beside the marks at both ends.
_CLIPS_MARKS = 3


class OpenCLIPTokens:
    """A tokenizer that gives as many tokens as the text tower has positions.

    Attributes:
        limit: longest text that is read whole, marks included.
    """

    def __init__(self, source: Source, wanted: int | None) -> None:
        """Make the tokenizer that a model was trained with.

        Args:
            source: the model.
            wanted: the caller's limit on the tokens of a text, or None.

        Raises:
            InvalidInputError: if the limit is above the model's, or cannot be set for it.
            EncoderError: if the tokenizer cannot be loaded.
        """
        module = require("open_clip.tokenizer", EXTRA)
        text = source.config["text_cfg"]
        own = dict(text.get("tokenizer_kwargs") or {})
        self._length = source.context_length
        with explained(source.name, "the tokenizer"):
            if source.tokenizer:
                # What is said here wins over what the checkpoint says: it may not allow itself to run code.
                own |= {"trust_remote_code": False, **source.hub}
                mode = text.get("tokenizer_mode")
                self._tokenizer = module.HFTokenizer(
                    source.tokenizer, context_length=self._length, tokenizer_mode=mode, **own
                )
            else:
                # Dropping random words is for training; a text that is too long is cut at its end.
                own.pop("reduction_mask", None)
                self._tokenizer = module.SimpleTokenizer(context_length=self._length, **own)
        self.limit = self._length if wanted is None else wanted
        if self.limit > self._length:
            raise InvalidInputError(f"max_tokens={wanted} is more than the {self._length} tokens that the model reads")
        if self.limit < self._length and self._is_clips:
            raise InvalidInputError(f"{source.name!r} pads its texts in a way of its own: max_tokens cannot be set")

    @property
    def _is_clips(self) -> bool:
        return getattr(self._tokenizer, "tokenizer_mode", "") == "clips"

    def __call__(self, texts: list[str]) -> Any:
        """Return token ids, shape (n, positions of the text tower); what is too long is cut, its end mark kept."""
        with TOKENIZER_LOCK:
            ids = self._tokenizer(texts, context_length=self.limit)
        missing = self._length - self.limit
        if not missing:
            return ids
        inner = getattr(self._tokenizer, "tokenizer", None)
        padding = 0 if inner is None else inner.pad_token_id
        sides = (missing, 0) if inner is not None and inner.padding_side == "left" else (0, missing)
        return require("torch", "encoders").nn.functional.pad(ids, sides, value=padding)

    def count(self, texts: list[str]) -> list[int]:
        """Count the tokens of each whole text, marks included."""
        return [len(ids) for ids in self.ids(texts)]

    def ids(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of each whole text, marks included and nothing cut or padded."""
        if not texts:
            return []
        tokenizer = self._tokenizer
        inner = getattr(tokenizer, "tokenizer", None)
        with TOKENIZER_LOCK:
            if inner is None:
                start, end = tokenizer.sot_token_id, tokenizer.eot_token_id
                return [[start, *tokenizer.encode(text), end] for text in texts]
            cleaned = [tokenizer.clean_fn(text) for text in texts]
            plain = not self._is_clips
            found = inner(cleaned, add_special_tokens=plain, padding=False, truncation=False, verbose=False)[
                "input_ids"
            ]
        return [list(ids) if plain else [*ids, *[0] * _CLIPS_MARKS] for ids in found]

    def vocabulary(self) -> dict[str, int]:
        """Return every token and its number."""
        inner = getattr(self._tokenizer, "tokenizer", None)
        with TOKENIZER_LOCK:
            return dict(self._tokenizer.encoder if inner is None else inner.get_vocab())
