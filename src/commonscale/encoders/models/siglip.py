"""SigLIP (Zhai et al. 2023, arXiv 2303.15343) and SigLIP 2 (Tschannen et al. 2025, arXiv 2502.14786).

===========================  ===================  =====================================================
checkpoints                  model in             pictures
                             transformers
===========================  ===================  =====================================================
google/siglip-*              SiglipModel          resized to the model's square
google/siglip2-*             SiglipModel          the same
google/siglip2-*-naflex      Siglip2Model         at their own aspect, in up to 256 patches
===========================  ===================  =====================================================

Texts were trained in one form only: in lower case, an end mark after the last token, padding on the right up to the
last place (64 in nearly all), and no mask. The vector is read at that last place, so a text padded to another length,
or with its padding masked, gets another vector. transformers' own processors leave parts of this to the caller.

Lower case means A to Z for SigLIP 2, as its authors' code has it (big_vision, the preprocessing op "lower"). SigLIP's
tokenizer in transformers lowers every script and drops punctuation.
"""

from __future__ import annotations

from string import ascii_lowercase, ascii_uppercase
from typing import Any, ClassVar

from commonscale.core.errors import EncoderError, MissingExtraError
from commonscale.core.extras import require
from commonscale.encoders.base import Role
from commonscale.encoders.checkpoint import Checkpoint, explained
from commonscale.encoders.models.dual import DualEncoder, text_limit
from commonscale.encoders.models.naflex import mend_positions
from commonscale.encoders.options import EncodingOptions
from commonscale.encoders.request import LoadRequest

_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


class SiglipEncoder(DualEncoder):
    """A checkpoint for pictures of one size, for example ``google/siglip-base-patch16-224``."""

    model_class: ClassVar[str] = "SiglipModel"
    text_inputs: ClassVar[tuple[str, ...]] = ("input_ids",)

    def __init__(self, checkpoint: Checkpoint, options: EncodingOptions) -> None:
        super().__init__(checkpoint, options)
        # Shorter than this only by the caller's wish, and even then padded to here.
        self._places = text_limit(self._tokenizer, checkpoint.config.text_config, None)
        # Gemma's tokenizer, which SigLIP 2 has, ignores this setting of its files (transformers 4.57 to 5.23).
        self._lowers = self._tokenizer.init_kwargs.get("do_lower_case") is not False
        self._check_marks()

    @property
    def dimension(self) -> int:
        """Length of every vector: the width of the text tower's head, which is that of the image tower."""
        config = self.checkpoint.config.text_config
        return int(getattr(config, "projection_size", None) or config.hidden_size)

    def _canonical(self, text: str) -> str:
        return text.translate(_LOWER) if self._lowers else text

    def _prepare_texts(self, texts: list[str], role: Role) -> dict[str, Any]:
        torch = require("torch", "encoders")
        found = self._tokenized(texts, padding=False, truncation=True, max_length=self.max_tokens)["input_ids"]
        ids = torch.full((len(found), self._places), self._tokenizer.pad_token_id)
        for row, text_ids in zip(ids, found, strict=True):
            row[: len(text_ids)] = torch.tensor(text_ids)
        return {"input_ids": ids}

    def _check_marks(self) -> None:
        """Refuse a tokenizer set up for another model, as Gemma's own is: no end mark, or a start mark."""
        ids = self._tokenized(["a"], verbose=False)["input_ids"][0]
        marks = self._tokenizer.special_tokens_map
        start = marks.get("bos_token")
        starts = start is not None and ids[0] == self._tokenizer.convert_tokens_to_ids(start)
        if starts or ids[-1] != self._tokenizer.eos_token_id:
            raise EncoderError(
                f"The tokenizer of {self.checkpoint.name!r} makes {self._tokenizer.convert_ids_to_tokens(ids)} of 'a'; "
                f"SigLIP was trained on texts without a start mark and with {marks.get('eos_token')!r} at the end. Use "
                "the tokenizer that the model was trained with."
            )


class NaflexEncoder(SiglipEncoder):
    """A SigLIP 2 that keeps the aspect of a picture, for example ``google/siglip2-base-patch16-naflex``."""

    model_class: ClassVar[str] = "Siglip2Model"
    image_inputs: ClassVar[tuple[str, ...]] = ("pixel_values", "pixel_attention_mask", "spatial_shapes")

    def __init__(self, checkpoint: Checkpoint, options: EncodingOptions) -> None:
        super().__init__(checkpoint, options)
        mend_positions(self._model.vision_model.embeddings)

    def _load_tokenizer(self) -> Any:
        # transformers 5 has a class of its own for these checkpoints, which lowers every script; Gemma's lowers none.
        auto = require("transformers", "encoders").AutoTokenizer
        name = self.checkpoint.name
        with explained(name, "the tokenizer"):
            return auto.from_pretrained(name, tokenizer_type="gemma", trust_remote_code=False, **self.checkpoint.hub)


def load(request: LoadRequest) -> SiglipEncoder:
    """Load a checkpoint; see :func:`commonscale.load_encoder`.

    Raises:
        MissingExtraError: if its tokenizer needs SentencePiece, as SigLIP's does and SigLIP 2's does not, and that is
            not installed.
        EncoderError: if its tokenizer is set up for another model.
    """
    checkpoint = request.checkpoint()
    _require_sentencepiece(checkpoint)
    encoder = NaflexEncoder if checkpoint.config.model_type == "siglip2" else SiglipEncoder
    return encoder(checkpoint, request.options)


def _require_sentencepiece(checkpoint: Checkpoint) -> None:
    """Ask for what transformers' SiglipTokenizer needs; without it, a tokenizer with other rules would be loaded."""
    auto = require("transformers.models.auto.tokenization_auto", "encoders")
    with explained(checkpoint.name, "the tokenizer"):
        named = auto.get_tokenizer_config(checkpoint.name, **checkpoint.hub).get("tokenizer_class") or ""
    if named.startswith("SiglipTokenizer"):
        require("sentencepiece", "encoders")
        try:
            require("google.protobuf", "encoders")
        except MissingExtraError:
            raise MissingExtraError("protobuf", "encoders") from None  # its name for pip
