"""BLIP (Li et al. 2022, arXiv 2201.12086), the contrastive pair of transformers' BlipForImageTextRetrieval.

A vector is the state at the first place of a tower, projected by ``text_proj`` or ``vision_proj``. The text tower is
called without a picture, as an encoder. BLIP's other heads need text and picture together and give no vectors.

The text tower has 512 places and reads that many tokens; it was trained on captions of at most 35 (BLIP repository,
models/blip_itm.py). ``max_tokens=35`` cuts texts as its authors did.
"""

from __future__ import annotations

from typing import Any, ClassVar

from commonscale.core.errors import EncoderError
from commonscale.encoders.models.dual import DualEncoder
from commonscale.encoders.request import LoadRequest


class BlipEncoder(DualEncoder):
    """A BLIP checkpoint for retrieval, for example ``Salesforce/blip-itm-base-coco``."""

    model_class: ClassVar[str] = "BlipForImageTextRetrieval"
    text_inputs: ClassVar[tuple[str, ...]] = ("input_ids", "attention_mask")

    @property
    def dimension(self) -> int:
        """Length of every vector: the width of the two projections."""
        # Not projection_dim: that is the width of BlipModel's own projections, which these checkpoints lack.
        return int(self.checkpoint.config.image_text_hidden_size)

    def _text_features(self, **inputs: Any) -> Any:
        return self._model.text_proj(self._model.text_encoder(**inputs).last_hidden_state[:, 0])

    def _image_features(self, **inputs: Any) -> Any:
        return self._model.vision_proj(self._model.vision_model(**inputs).last_hidden_state[:, 0])


def load(request: LoadRequest) -> BlipEncoder:
    """Load a checkpoint; see :func:`commonscale.load_encoder`.

    Raises:
        EncoderError: if it holds another model of BLIP, for captions or questions: it lacks the projections.
    """
    checkpoint = request.checkpoint()
    saved_from = checkpoint.config.architectures or [BlipEncoder.model_class]
    if BlipEncoder.model_class not in saved_from:
        raise EncoderError(
            f"{checkpoint.name!r} holds a {', '.join(saved_from)}, which has no common space of texts and pictures; a "
            f"{BlipEncoder.model_class} is needed. Use a checkpoint for retrieval, such as "
            "'Salesforce/blip-itm-base-coco'."
        )
    return BlipEncoder(checkpoint, request.options)
