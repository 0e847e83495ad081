"""The prompts that E5-V was trained with, as token ids, with a text in them that can only be text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from commonscale.core.errors import EncoderError
from commonscale.core.extras import require
from commonscale.encoders.fingerprint import TOKENIZER_LOCK

# The authors' template, token for token (github.com/kongds/E5-V, README):
#   <|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n \n
# where {} is "<image>\nSummary above image in one word: " or "{text}\nSummary above sentence in one word: ".
_MARKS = ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
_ABOVE_TEXT = "\nSummary above sentence in one word: "
_ABOVE_IMAGE = "\nSummary above image in one word: "


class Prompts:
    """Makes the ids of prompts.

    Marks enter as ids and everything else through a tokenizer that knows no marks, so ``<image>`` or ``<|eot_id|>``
    in a text are the characters they are. For texts without such strings the ids are those of the authors' code,
    which tokenizes the whole prompt at once.

    Args:
        tokenizer: the checkpoint's, of transformers.
        name: the checkpoint, for errors.

    Raises:
        EncoderError: if it is not a tokenizer of Llama 3.
    """

    def __init__(self, tokenizer: Any, name: str) -> None:
        with TOKENIZER_LOCK:
            start, end, over = (_single(tokenizer, mark, name) for mark in _MARKS)
            begin = list(tokenizer("", verbose=False)["input_ids"])
            self._plain = _without_marks(tokenizer)
        self._head = [*begin, start, *self._ids("user"), end]
        self._tail = [over, start, *self._ids("assistant"), end, *self._ids("\n\n \n")]

    def of_text(self, text: str) -> list[int]:
        """Return the ids of the prompt for a text."""
        # In one piece: the blank lines around a text may share a token with its first or last characters.
        return [*self._head, *self._ids(f"\n\n{text}{_ABOVE_TEXT}"), *self._tail]

    def around_image(self) -> tuple[list[int], list[int]]:
        """Return the ids before and after a picture."""
        return [*self._head, *self._ids("\n\n")], [*self._ids(_ABOVE_IMAGE), *self._tail]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Count the tokens of each text by itself, without the prompt around it."""
        return [len(encoding.ids) for encoding in self._plain.encode_batch(list(texts), add_special_tokens=False)]

    def cut(self, text: str, limit: int) -> str:
        """Return as much of a text as its first ``limit`` tokens hold, in whole characters."""
        encoding = self._plain.encode(text, add_special_tokens=False)
        return text if len(encoding.ids) <= limit else text[: encoding.offsets[limit][0]]

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._plain.encode(text, add_special_tokens=False).ids
        return ids


def _single(tokenizer: Any, mark: str, name: str) -> int:
    number = tokenizer.get_vocab().get(mark)
    if number is None:
        raise EncoderError(
            f"{name!r} is a LLaVA-NeXT, but no E5-V: its tokenizer has no token {mark!r} of Llama 3, which the prompts "
            "of E5-V are made of. Use 'royokong/e5-v' or a model trained from it."
        )
    return int(number)


def _without_marks(tokenizer: Any) -> Any:
    """Copy the tokenizer's rules and vocabulary without its added tokens, and without what it adds at the ends."""
    rules = json.loads(tokenizer.backend_tokenizer.to_str())
    rules |= {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
    return require("tokenizers", "encoders").Tokenizer.from_str(json.dumps(rules))
