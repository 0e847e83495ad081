"""Any image tower and any text tower joined by two projections: transformers' VisionTextDualEncoderModel."""

from __future__ import annotations

from typing import ClassVar

from commonscale.encoders.dual import DualEncoder


class VisionTextEncoder(DualEncoder):
    """A VisionTextDualEncoderModel checkpoint, for example ``clip-italian/clip-italian``."""

    model_class: ClassVar[str] = "VisionTextDualEncoderModel"
