"""CLIP (Radford et al. 2021, arXiv 2103.00020), as transformers' CLIPModel."""

from __future__ import annotations

from typing import ClassVar

from commonscale.core.errors import EncoderError
from commonscale.encoders.checkpoint import Checkpoint
from commonscale.encoders.fingerprint import TOKENIZER_LOCK
from commonscale.encoders.models.dual import DualEncoder
from commonscale.encoders.options import EncodingOptions
from commonscale.encoders.request import LoadRequest

# CLIPTextModel's sign for "the end of a text is its highest token id", from configs written before 4.31.
_HIGHEST_ID = 2


class CLIPEncoder(DualEncoder):
    """A CLIP checkpoint, for example ``openai/clip-vit-base-patch32``."""

    model_class: ClassVar[str] = "CLIPModel"

    def __init__(self, checkpoint: Checkpoint, options: EncodingOptions) -> None:
        super().__init__(checkpoint, options)
        self._check_end_token()

    def _check_end_token(self) -> None:
        """Refuse a tokenizer that never writes the token at which the model reads off its text vector.

        CLIPTextModel takes the hidden state at the first ``eos_token_id``; where there is none it takes the
        start token, and every text gets the same vector without any error.
        """
        end = self.checkpoint.config.text_config.eos_token_id
        with TOKENIZER_LOCK:
            with_marks = self._tokenizer("a", verbose=False)["input_ids"]
        found = end in with_marks if end != _HIGHEST_ID else max(with_marks) == with_marks[-1]
        if not found:
            raise EncoderError(
                f"The tokenizer of {self.checkpoint.name!r} ends a text with token {with_marks[-1]}, but the model "
                f"reads its text vector at token {end}, so all texts would get one vector. Use the tokenizer that "
                "the model was trained with."
            )


def load(request: LoadRequest) -> CLIPEncoder:
    """Load a checkpoint; see :func:`commonscale.load_encoder`."""
    return CLIPEncoder(request.checkpoint(), request.options)
