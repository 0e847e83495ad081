"""Any image tower and any text tower joined by two projections: transformers' VisionTextDualEncoderModel."""

from __future__ import annotations

from typing import ClassVar

from commonscale.encoders.models.dual import DualEncoder
from commonscale.encoders.request import LoadRequest


class VisionTextEncoder(DualEncoder):
    """A VisionTextDualEncoderModel checkpoint, for example ``clip-italian/clip-italian``."""

    model_class: ClassVar[str] = "VisionTextDualEncoderModel"


def load(request: LoadRequest) -> VisionTextEncoder:
    """Load a checkpoint; see :func:`commonscale.load_encoder`."""
    return VisionTextEncoder(request.checkpoint(), request.options)
